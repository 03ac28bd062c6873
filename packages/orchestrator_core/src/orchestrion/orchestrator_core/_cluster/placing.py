"""Places slots: asks the scheduler, binds what it has decided, and says why the rest has no place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from attrs import define, field, frozen
from orchestrion.orchestrator_core._clock import Deadlines
from orchestrion.orchestrator_core._cluster.decisions import NoDecision, Stalls
from orchestrion.orchestrator_core._cluster.gangs import of_the_whole_gang
from orchestrion.orchestrator_core._cluster.leadership import Leadership
from orchestrion.orchestrator_core._cluster.pending import PendingWork
from orchestrion.orchestrator_core._cluster.plan import WantedSlot, WorkloadPlan, by_node, portions
from orchestrion.orchestrator_core._cluster.pushing import Pusher
from orchestrion.orchestrator_core._cluster.refusals import Refusals
from orchestrion.orchestrator_core._cluster.troubles import Troubles
from orchestrion.orchestrator_core._cluster.view import Placeable, check_room, placed_instance
from orchestrion.orchestrator_core._cluster.writing import Writer, chunks, wanted_still
from orchestrion.orchestrator_core._state.facts import Facts, lacking_nodes
from orchestrion.orchestrator_core._state.records import (
    BindingRecord,
    WorkloadName,
    binding_key,
    instance_key,
)
from orchestrion.orchestrator_core._state.taints import for_new_work
from orchestrion.orchestrator_core._state.world import WorkloadRecord, World
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    Explanation,
    NoPlacement,
    ScheduleDecision,
    Scheduler,
    SchedulerCapability,
    SchedulingRequest,
    SupportsBatches,
    ViewKeeper,
    describe,
)
from orchestrion.shared_types import (
    Binding,
    InstanceKey,
    NodeId,
    SchedulingFailure,
    Uid,
    WorkloadDefinition,
    WorkloadKind,
)
from orchestrion.store_interface import ABSENT, Compare, Operation, Revision


@frozen
class Portion:
    """Slots that are asked for together.

    Attributes:
        slots: Which.
        only_node: The only node that they may go to, or None.
        minimum: How many of them have to get a place for any to get one.
    """

    slots: Sequence[WantedSlot]
    only_node: NodeId | None = None
    minimum: int = 0


@define(eq=False)
class Placer:
    """Gives slots their places, and remembers what has to be said about those that have none.

    Attributes:
        scheduler: Decides where slots go.
        world: The mirror of the store.
        keeper: Knows what is placed where.
        facts: The rest of the world.
        deadlines: The clocks.
        writer: Writes bindings.
        pusher: Pushes out, for slots that find no place.
        pending: The workloads that lack places.
        refusals: Nodes that have no place for a template.
        stalls: What the scheduler has not decided.
        troubles: Told of what has no place.
        explanations: Why slots have no place, by workload and slot.
    """

    scheduler: Scheduler
    world: World
    keeper: ViewKeeper
    facts: Facts
    deadlines: Deadlines
    writer: Writer
    pusher: Pusher
    pending: PendingWork
    refusals: Refusals
    stalls: Stalls
    troubles: Troubles
    explanations: dict[WorkloadName, dict[int, Explanation]] = field(factory=dict, init=False)
    _placeables: dict[WorkloadName, dict[tuple[Uid, int], Placeable]] = field(factory=dict, init=False)

    def said(self, name: WorkloadName) -> object:
        """Return what is to be said about slots without a place, to be compared with what it is later."""
        return self.explanations.get(name), self.stalls.undecided.get(name)

    def satisfied(self, name: WorkloadName) -> None:
        """Note that a workload asks for no places."""
        self.explanations.pop(name, None)
        self.stalls.forget(name)
        self.pending.forget(name)

    def forget(self, name: WorkloadName) -> None:
        """Note that there is no such workload any more."""
        self.satisfied(name)
        self.troubles.forget(name)
        self._placeables.pop(name, None)
        self.refusals.forget_workload(name)

    def placeable(self, name: WorkloadName, template: WorkloadDefinition, generation: int) -> Placeable:
        """Return what an instance of a workload's template reserves; worked out once for each."""
        key = (template.metadata.uid, generation)
        of_workload = self._placeables.setdefault(name, {})
        known = of_workload.get(key)
        if known is None:
            workload = self.world.workloads.get(name)
            for old in [old for old in of_workload if workload is None or old[1] not in workload.templates]:
                del of_workload[old]
            known = of_workload[key] = Placeable.of(template)
        return known

    async def place(self, record: WorkloadRecord, plan: WorkloadPlan, leadership: Leadership) -> None:
        """Place the slots of a plan, as far as there is room.

        Raises:
            SchedulingFailure: The scheduler failed, or decided what may not be.
            RevisionConflict: The world has changed since; nothing of the failed step was written.
            OrchestrationError: A step failed; those before it were done.
        """
        spec = record.spec
        template = record.templates.get(plan.generation)
        if spec is None or template is None:
            msg = f"workload {record.name}: the template of generation {plan.generation} is missing"
            raise SchedulingFailure(msg)
        left = self.stalls.left(record.name, plan)
        if left > 0:
            plan.wake(left)
            return
        news = True
        if template.kind is WorkloadKind.DAEMON:
            unplaced = await self._try_to_place(record, plan, template, leadership)
        else:
            said = self.pending.take(record, plan.generation, plan.minimum)
            news = said is None and not self.pending.is_flushed(record.name)
            if said is not None:
                # It sleeps: what was said of some slots holds for all, since they differ in nothing.
                unplaced = {slot.name.slot: said for slot in plan.place}
            else:
                try:
                    unplaced = await self._try_to_place(record, plan, template, leadership)
                    if unplaced is not None:
                        self._note_unplaced(plan, record.name, template, unplaced)
                finally:
                    self.pending.release(record.name)
            wait = self.pending.next_try(record.name)
            if wait is not None:
                plan.wake(wait)
        if unplaced is not None:
            self._explain_unplaced(record, template, unplaced, news=news)

    async def _try_to_place(
        self, record: WorkloadRecord, plan: WorkloadPlan, template: WorkloadDefinition, leadership: Leadership
    ) -> dict[int, Explanation] | None:
        """Place what can be placed, and return why the other slots could not be; None where that is not known."""
        unplaced = dict[int, Explanation]()
        try:
            groups = list(by_node(plan.place))
            if len(groups) > 1 and SchedulerCapability.BATCH in self.scheduler.capabilities:
                await self._place_on_each(record, plan, template, unplaced, leadership)
                return unplaced
            for node_id, slots in groups:
                asked = 0
                for chunk, minimum in portions(slots, plan.minimum):
                    asking = [Portion(chunk, node_id, minimum)]
                    await self._place_portions(record, plan, template, asking, unplaced, leadership)
                    if unplaced and self.pusher.may_push(template, self.scheduler):
                        await self._push_out(record, plan, template, chunk, minimum, unplaced, leadership)
                    # Not before: one that always answers where there is room, and never who has to go, hangs as well.
                    self.stalls.forget(record.name, decided=True)
                    asked += len(chunk)
                    if all(slot.name.slot in unplaced for slot in chunk):
                        # Slots of one template differ in nothing: what was said of these holds for the others.
                        said = unplaced[chunk[-1].name.slot]
                        unplaced.update((slot.name.slot, said) for slot in slots[asked:])
                        break
        except NoDecision as err:
            wait = self.stalls.note(record.name, plan, err)
            plan.wake(wait)
            self.troubles.tell(record.name, err.message, f"; it is asked again in {wait:g} s")
            return None
        except SchedulingFailure:
            # A failure is an answer, too.
            self.stalls.forget(record.name, decided=True)
            raise
        return unplaced

    async def _place_on_each(
        self,
        record: WorkloadRecord,
        plan: WorkloadPlan,
        template: WorkloadDefinition,
        unplaced: dict[int, Explanation],
        leadership: Leadership,
    ) -> None:
        """Place slots for several nodes, as many at a time as one transaction takes; no gang is among them."""
        for chunk in chunks(plan.place):
            asking = [Portion(slots, node_id) for node_id, slots in by_node(chunk)]
            await self._place_portions(record, plan, template, asking, unplaced, leadership)
            if unplaced and self.pusher.may_push(template, self.scheduler):
                for each in asking:
                    await self._push_out(record, plan, template, each.slots, 0, unplaced, leadership)
            self.stalls.forget(record.name, decided=True)

    def _note_unplaced(
        self,
        plan: WorkloadPlan,
        name: WorkloadName,
        template: WorkloadDefinition,
        unplaced: Mapping[int, Explanation],
    ) -> None:
        if not unplaced:
            self.pending.forget(name)
            return
        lacking = next(slot.name for slot in plan.place if slot.name.slot in unplaced)
        explanation = unplaced[lacking.slot]
        minimum = 0
        keys: tuple[InstanceKey, ...] = (instance_key(lacking, template.metadata.uid),)
        if explanation.gang is not None:
            # It sleeps as one, until something changes that could help the gang as a whole.
            minimum = plan.minimum
            keys = tuple(instance_key(slot.name, template.metadata.uid) for slot in plan.place[:minimum])
        preempts = template.preempts and SchedulerCapability.PREEMPTION in self.scheduler.capabilities
        request = SchedulingRequest(workload=for_new_work(template), slots=keys, minimum=minimum, preempt=preempts)
        self.pending.refused(name, explanation, request, fruitful=len(unplaced) < len(plan.place))

    async def _ask(self, requests: Sequence[SchedulingRequest], view: ClusterView) -> Iterable[ScheduleDecision]:
        if len(requests) > 1 and isinstance(self.scheduler, SupportsBatches):
            return chain.from_iterable(await self.scheduler.schedule_batch(requests, view))
        (request,) = requests
        return await self.scheduler.schedule(request, view)

    async def _place_portions(
        self,
        record: WorkloadRecord,
        plan: WorkloadPlan,
        template: WorkloadDefinition,
        asking: Sequence[Portion],
        unplaced: dict[int, Explanation],
        leadership: Leadership,
    ) -> None:
        """Bind what finds a place of some portions, several of which are a batch, in one transaction."""
        uid = template.metadata.uid
        wanted = {instance_key(slot.name, uid): slot for portion in asking for slot in portion.slots}
        view = self.keeper.view()
        workload = for_new_work(template)
        requests = [
            SchedulingRequest(
                workload=workload,
                slots=tuple(instance_key(slot.name, uid) for slot in portion.slots),
                minimum=portion.minimum,
                only_node=portion.only_node,
            )
            for portion in asking
        ]
        decisions = await self._ask(requests, view)
        generation = plan.generation
        now = self.deadlines.now()
        placeable = self.placeable(record.name, template, generation)
        bound = list[tuple[InstanceKey, BindingRecord]]()
        assigned = dict[NodeId, list[AssignNode]]()
        # All that goes to a node without devices of its own has the same on record, and is written out once.
        alike = dict[NodeId, BindingRecord]()
        for decision in decisions:
            name = wanted[decision.slot].name
            match decision:
                case NoPlacement():
                    unplaced[name.slot] = of_the_whole_gang(decision.explanation, plan.present)
                    only_node = wanted[decision.slot].only_node
                    if only_node is not None:
                        self.refusals.note(record.name, generation, only_node, decision.explanation)
                case AssignNode() if decision.node_id not in self.facts.nodes:
                    # It has left since the view was made: its slots are asked for again at once.
                    plan.wake(0.0)
                case AssignNode():
                    plain = not decision.devices and not decision.device_thousandths
                    value = alike.get(decision.node_id) if plain else None
                    if value is None:
                        binding = Binding(
                            node_id=decision.node_id,
                            generation=generation,
                            devices=decision.devices,
                            device_thousandths=decision.device_thousandths,
                            bound_at=now,
                        )
                        value = BindingRecord(workload_id=template.metadata.uid, binding=binding)
                    if plain:
                        alike[decision.node_id] = value
                    assigned.setdefault(decision.node_id, []).append(decision)
                    bound.append((decision.slot, value))
        for node_id, group in assigned.items():
            check_room(view.get(node_id), group, placeable)
        if not bound:
            return
        compares = wanted_still(record, plan)
        compares += [Compare(binding_key(wanted[key].name), ABSENT) for key, _ in bound]
        revision = await self.writer.write(
            leadership, compares, [self.world.put(binding_key(wanted[key].name), value) for key, value in bound]
        )
        if self.world.revision >= revision:
            # The watch was faster than the reply: places are taken already, and some may be free again.
            return
        for key, value in bound:
            self.keeper.put(value.binding.node_id, placed_instance(key, template, placeable, value.binding))

    async def _push_out(
        self,
        record: WorkloadRecord,
        plan: WorkloadPlan,
        template: WorkloadDefinition,
        slots: Sequence[WantedSlot],
        minimum: int,
        unplaced: dict[int, Explanation],
        leadership: Leadership,
    ) -> None:
        """Let slots of these that found no place have that of instances of lower priority."""
        refused = [slot for slot in slots if slot.name.slot in unplaced]
        if not refused:
            return
        # A gang that was placed has its minimum: those that it lacks beyond that are each for themselves.
        together = minimum if len(refused) == len(slots) else 0

        async def write(compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
            return await self.writer.write(leadership, [*wanted_still(record, plan), *compares], operations)

        # What was just bound holds its place, and what was just told to stop uses up its workload's budget.
        await self.writer.seen(leadership)
        placeable = self.placeable(record.name, template, plan.generation)
        for slot in await self.pusher.push_out(
            template, plan.generation, placeable, refused, together, self.scheduler, write
        ):
            del unplaced[slot]

    def _explain_unplaced(
        self,
        record: WorkloadRecord,
        template: WorkloadDefinition,
        unplaced: dict[int, Explanation],
        *,
        news: bool,
    ) -> None:
        """Note why slots have no place.

        Args:
            record: The workload.
            template: What the slots are to run.
            unplaced: Why, by slot.
            news: Whether anything has changed that could have helped. Without that, another reason for the same number
                of slots is told only to who asks: where nothing happens, nothing is written.
        """
        if template.kind is WorkloadKind.DAEMON:
            lacking = lacking_nodes(record, self.facts)
            if lacking:
                text = describe(next(iter(lacking.values())))
                nodes = "1 node has" if len(lacking) == 1 else f"{len(lacking)} nodes have"
                self.troubles.tell(record.name, f"{nodes} no place for it: {text}")
            else:
                self.troubles.forget(record.name)
            return
        if unplaced:
            as_many = len(self.explanations.get(record.name, {})) == len(unplaced)
            self.explanations[record.name] = unplaced
            if news or not as_many:
                text = describe(next(iter(unplaced.values())))
                have = "1 instance has" if len(unplaced) == 1 else f"{len(unplaced)} instances have"
                self.troubles.tell(record.name, f"{have} no place: {text}")
        else:
            self.explanations.pop(record.name, None)
            self.troubles.forget(record.name)
