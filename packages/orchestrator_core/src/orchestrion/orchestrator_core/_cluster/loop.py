"""The cluster loop: from what is wanted and what is there to bindings. Placement is one serial task."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

import trio
from attrs import define, evolve, field
from orchestrion.cluster_interface import (
    ClusterClosed,
    ClusterEvent,
    ClusterManager,
    NodeAdded,
    NodeRemoved,
    NodeUpdated,
    Resync,
    Snapshot,
)
from orchestrion.orchestrator_core._clock import Deadlines
from orchestrion.orchestrator_core._cluster.decisions import NoDecision, Stalls
from orchestrion.orchestrator_core._cluster.leadership import Campaign, Leadership, LeadershipLost
from orchestrion.orchestrator_core._cluster.pending import PendingWork
from orchestrion.orchestrator_core._cluster.plan import CHUNK, WantedSlot, WorkloadPlan, by_node, refusal_of
from orchestrion.orchestrator_core._cluster.pushing import Pusher
from orchestrion.orchestrator_core._cluster.taint_watch import TaintWatch
from orchestrion.orchestrator_core._cluster.view import Placeable, check_room, placed_instance
from orchestrion.orchestrator_core._cluster.workload_plan import plan_workload
from orchestrion.orchestrator_core._queue import KeyedQueue
from orchestrion.orchestrator_core._state.events import EventRecorder
from orchestrion.orchestrator_core._state.facts import Facts, Refusal, lacking_nodes
from orchestrion.orchestrator_core._state.records import (
    LEADER_KEY,
    BindingRecord,
    InstanceName,
    WorkloadName,
    binding_key,
    control_key,
    instance_key,
    lease_key,
    progress_key,
    spec_key,
    status_key,
    template_key,
)
from orchestrion.orchestrator_core._state.taints import evicting_taints, for_new_work
from orchestrion.orchestrator_core._state.world import InstanceRecord, WorkloadRecord, World
from orchestrion.scheduler_interface import (
    AssignNode,
    Explanation,
    NoPlacement,
    Scheduler,
    SchedulerCapability,
    SchedulingRequest,
    ViewKeeper,
    describe,
)
from orchestrion.shared_types import (
    Binding,
    DesiredState,
    EventSeverity,
    InstanceKey,
    Node,
    NodeId,
    OrchestrationError,
    SchedulingFailure,
    Uid,
    Unavailable,
    WorkloadDefinition,
    WorkloadKind,
)
from orchestrion.store_interface import (
    ABSENT,
    Compare,
    Delete,
    Operation,
    Revision,
    RevisionConflict,
    StateStore,
    StoreClosed,
)

T = TypeVar("T")

CAMPAIGN_PAUSE_SECONDS: Final = 0.1


@define(eq=False)
class ClusterLoop:
    """Reconciles workloads, one after the other, while it leads.

    Attributes:
        store: Where everything is recorded.
        cluster: Knows the nodes.
        scheduler: Decides where slots go.
        world: The mirror of the store.
        recorder: Takes events.
        deadlines: The clocks.
        campaign: Gets the lead.
        random: Draws jitter.
        skew_seconds: By how much two clocks may run apart.
        period_seconds: From one full pass to the next.
        places: Whether slots get places; without, all else is done.
        explanations: Why slots have no place, by workload and slot.
        writes: Transactions written so far.
        pending: The workloads that lack places.
    """

    store: StateStore
    cluster: ClusterManager
    scheduler: Scheduler
    world: World
    recorder: EventRecorder
    deadlines: Deadlines
    campaign: Campaign
    random: random.Random
    skew_seconds: float = 2.0
    period_seconds: float = 30.0
    places: bool = True
    explanations: dict[WorkloadName, dict[int, Explanation]] = field(factory=dict)
    writes: int = 0
    nodes: dict[NodeId, Node] = field(factory=dict)
    leased: set[NodeId] = field(factory=set)
    lost: set[NodeId] = field(factory=set)
    tainted: set[NodeId] = field(factory=set)
    keeper: ViewKeeper = field(factory=ViewKeeper)
    nodes_known: trio.Event = field(factory=trio.Event)
    leading: trio.Event = field(factory=trio.Event)
    has_led: trio.Event = field(factory=trio.Event)
    _queue: KeyedQueue[WorkloadName] = field(init=False)
    _facts: Facts = field(init=False)
    _lost_queue: KeyedQueue[NodeId] = field(init=False)
    _placeables: dict[WorkloadName, dict[tuple[Uid, int], Placeable]] = field(factory=dict)
    _last_write: Revision = Revision(0)
    _node_listeners: list[Callable[[NodeId], None]] = field(factory=list)
    _explained: Callable[[WorkloadName], None] = field(default=lambda _name: None)
    _complaints: dict[WorkloadName, str] = field(factory=dict)
    _failures: dict[WorkloadName, str] = field(factory=dict)
    _refusals: dict[tuple[WorkloadName, int], dict[NodeId, Refusal]] = field(factory=dict)
    _stalls: Stalls = field(factory=Stalls)
    _taint_watch: TaintWatch = field(init=False)
    _pusher: Pusher = field(init=False)
    _observes: bool = False
    pending: PendingWork = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._queue = KeyedQueue(self.random)
        self.pending = PendingWork(self.world, self.keeper, self._queue, self.random, self.deadlines)
        self._queue.rank, self._queue.prepare = self.pending.rank, self.pending.look
        self._lost_queue = KeyedQueue(self.random)
        self._facts = Facts(
            self.nodes,
            self.leased,
            self.lost,
            self.world.workloads,
            self.deadlines,
            self._refusals,
            self._stalls.undecided,
            tainted=self.tainted,
            taints=self.world.taints,
            places=self.places,
        )
        self._pusher = Pusher(self.world, self.keeper, self._facts, self.recorder)
        self._taint_watch = TaintWatch(
            self.store, self.world, self.nodes, self.deadlines.now, KeyedQueue[NodeId](self.random)
        )
        self.world.on_workload(self._workload_changed)
        self.world.on_instance(self._instance_changed)
        self.world.on_lease(self._lease_changed)
        self.world.on_taints(self._look_at_instances)

    @property
    def facts(self) -> Facts:
        """What plans depend on, as of now."""
        return self._facts

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be reconciled now."""
        return self._queue.idle

    def on_node(self, listener: Callable[[NodeId], None]) -> None:
        """Call `listener` with each node that has come, changed or gone."""
        self._node_listeners.append(listener)

    def on_explained(self, listener: Callable[[WorkloadName], None]) -> None:
        """Call `listener` with each workload of which something else is to be said about slots without a place."""
        self._explained = listener

    def pass_over_everything(self) -> None:
        """Look at every workload again."""
        for refused in self._refusals.values():
            # What room there is may have changed unseen; where a template may run changes only with the node.
            for node_id in [node_id for node_id, refusal in refused.items() if not refusal.never]:
                del refused[node_id]
        self.pending.rouse_pushers()
        for name in list(self.world.workloads):
            self._queue.add(name)

    async def run(self) -> None:
        """Follow the cluster, and reconcile while leading, until cancelled.

        Raises:
            OrchestrationError: The store or the cluster manager was closed.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_cluster)
            nursery.start_soon(self._watch_absences)
            await self.world.synced.wait()
            await self.nodes_known.wait()
            while True:
                try:
                    async with self.campaign.lead() as leadership:
                        self.leading.set()
                        self.has_led.set()
                        await self._reconcile_while_leading(leadership)
                except* Unavailable:
                    self.leading = trio.Event()
                    await trio.sleep(CAMPAIGN_PAUSE_SECONDS)

    async def observe(self) -> None:
        """Follow the cluster until cancelled, and do nothing about it: for asking what would be done.

        The nodes that are there count as at work, as they will be once somebody leads.

        Raises:
            OrchestrationError: The cluster manager was closed.
        """
        self._observes = True
        await self._follow_cluster()

    async def _reconcile_while_leading(self, leadership: Leadership) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pass_periodically)
            nursery.start_soon(self._taint_watch.run, leadership)
            self._refusals.clear()
            self.pending.wake_all()
            self.pass_over_everything()
            while True:
                name = await self._queue.take()
                try:
                    wake = await self.reconcile(name, leadership)
                except RevisionConflict as err:
                    if err.key == LEADER_KEY:
                        msg = "another cluster loop leads"
                        raise LeadershipLost(msg) from err
                    # The world has moved on since the plan was made; once that has been seen, plan again.
                    self._queue.failed(name)
                except (StoreClosed, ClusterClosed, LeadershipLost):
                    raise
                except OrchestrationError as err:
                    delay = self._queue.failed(name)
                    self._complain(self._failures, name, err.message, f"; next try in {delay:.1f} s")
                else:
                    self._queue.done(name)
                    self._failures.pop(name, None)
                    if wake is not None:
                        self._queue.add_after(name, wake)
                finally:
                    # The lead may end in the middle, and the queue outlives it.
                    self._queue.release(name)

    async def _pass_periodically(self) -> None:
        while True:
            await trio.sleep(self.period_seconds)
            self.pass_over_everything()

    async def reconcile(self, name: WorkloadName, leadership: Leadership) -> float | None:
        """Plan and do what is to be done about one workload.

        Returns:
            Seconds until time alone may ask for more, or None.

        Raises:
            RevisionConflict: The world has changed since; nothing of the failed step was written.
            OrchestrationError: A step failed; those before it were done.
        """
        with leadership.in_time("to see what was written"):
            await self.world.wait_for(self._last_write)
        record = self.world.workloads.get(name)
        if record is None:
            self._forget_workload(name)
            return None
        plan = plan_workload(record, self._facts)
        said = self.explanations.get(name), self._stalls.undecided.get(name)
        try:
            if not plan.empty:
                await self._execute(record, plan, leadership)
            if not plan.place:
                self.explanations.pop(name, None)
                self._stalls.forget(name)
                self.pending.forget(name)
        finally:
            if (self.explanations.get(name), self._stalls.undecided.get(name)) != said:
                self._explained(name)
        return plan.wake_after

    async def _execute(self, record: WorkloadRecord, plan: WorkloadPlan, leadership: Leadership) -> None:
        await self._lose(plan.lose, leadership)
        await self._stop(record, plan, leadership)
        if plan.purge:
            await self._purge(record, plan, leadership)
            return
        await self._note_progress(record, plan, leadership)
        for notice in plan.notices:
            subject = f"workload/{record.name.name}" if notice.instance is None else f"instance/{notice.instance.short}"
            self.recorder.record(record.name.namespace, subject, notice.reason, notice.message, notice.severity)
        if plan.place:
            await self._place(record, plan, leadership)

    async def _write(
        self, leadership: Leadership, compares: Sequence[Compare], operations: Sequence[Operation]
    ) -> Revision:
        with leadership.in_time("a write"):
            revision = await self.store.transaction((leadership.fence, *compares), operations)
        self._last_write = max(self._last_write, revision)
        self.writes += 1
        return revision

    async def _lose(self, instances: Sequence[InstanceRecord], leadership: Leadership) -> None:
        now = self.deadlines.now()
        for chunk in _chunks(instances):
            compares = dict[str, Compare]()
            operations = list[Operation]()
            for instance in chunk:
                bound = instance.bound
                if bound is None:
                    continue
                reason = f"node {bound.binding.node_id} was away for longer than its lease"
                lost = evolve(
                    bound,
                    binding=evolve(
                        bound.binding,
                        desired=DesiredState.STOP,
                        stop_reason=reason,
                        stop_at=bound.binding.stop_at or now,
                        lost_at=now,
                    ),
                )
                lease = lease_key(bound.binding.node_id)
                compares[lease] = Compare(lease, ABSENT)
                key = binding_key(instance.name)
                compares[key] = Compare(key, instance.binding_revision)
                operations.append(self.world.put(key, lost))
            await self._write(leadership, tuple(compares.values()), operations)
            for instance in chunk:
                self.recorder.record(
                    instance.name.namespace,
                    f"instance/{instance.name.short}",
                    "Lost",
                    "its node was away for longer than its lease; another epoch replaces it",
                    EventSeverity.WARNING,
                )

    async def _stop(self, record: WorkloadRecord, plan: WorkloadPlan, leadership: Leadership) -> None:
        now = self.deadlines.now()
        for chunk in _chunks(plan.stop):
            compares = _wanted_still(record, plan)
            operations = list[Operation]()
            for instance, reason in chunk:
                bound = instance.bound
                if bound is None:
                    continue
                stopped = evolve(
                    bound,
                    binding=evolve(bound.binding, desired=DesiredState.STOP, stop_reason=reason, stop_at=now),
                )
                compares.append(Compare(binding_key(instance.name), instance.binding_revision))
                operations.append(self.world.put(binding_key(instance.name), stopped))
            await self._write(leadership, compares, operations)
            for instance, reason in chunk:
                self.recorder.record(
                    instance.name.namespace, f"instance/{instance.name.short}", "Stopping", f"it stops: {reason}"
                )

    async def _note_progress(self, record: WorkloadRecord, plan: WorkloadPlan, leadership: Leadership) -> None:
        operations = list[Operation]()
        compares = _wanted_still(record, plan)
        if plan.progress is not None:
            compares.append(Compare(progress_key(record.name), record.progress_revision))
            operations.append(self.world.put(progress_key(record.name), plan.progress))
        for instance in plan.forget:
            operations.append(Delete(binding_key(instance.name)))
            operations.append(Delete(status_key(instance.name)))
        operations.extend(Delete(template_key(record.name, generation)) for generation in plan.drop_templates[:20])
        if operations:
            await self._write(leadership, compares, operations)

    async def _purge(self, record: WorkloadRecord, plan: WorkloadPlan, leadership: Leadership) -> None:
        # From the last chunk to the first. The workload's own part goes last and in one transaction: as long as all of
        # it is there, a crash in between is taken up again; without the order to remove it, it would run again.
        operations: list[Operation] = [
            Delete(spec_key(record.name)),
            Delete(control_key(record.name)),
            Delete(progress_key(record.name)),
        ]
        operations.extend(Delete(template_key(record.name, generation)) for generation in record.templates)
        for instance in record.instances.values():
            operations.append(Delete(binding_key(instance.name)))
            operations.append(Delete(status_key(instance.name)))
        guard = (Compare(spec_key(record.name), plan.spec_revision),)
        for chunk in reversed(list(_chunks(operations))):
            await self._write(leadership, guard, chunk)
        self._forget_generations(record.name)
        self.recorder.record(record.name.namespace, f"workload/{record.name.name}", "Removed", "it is removed")

    async def _place(self, record: WorkloadRecord, plan: WorkloadPlan, leadership: Leadership) -> None:
        spec = record.spec
        template = record.templates.get(plan.generation)
        if spec is None or template is None:
            msg = f"workload {record.name}: the template of generation {plan.generation} is missing"
            raise SchedulingFailure(msg)
        left = self._stalls.left(record.name, plan)
        if left > 0:
            plan.wake(left)
            return
        news = True
        if template.kind is WorkloadKind.DAEMON:
            unplaced = await self._try_to_place(record, plan, template, leadership)
        else:
            said = self.pending.take(record)
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
            for node_id, slots in by_node(plan.place):
                asked = 0
                for chunk in _chunks(slots):
                    await self._place_chunk(record, plan, template, node_id, chunk, unplaced, leadership)
                    if unplaced and self._pusher.may_push(template, self.scheduler):
                        await self._push_out(record, plan, template, chunk, unplaced, leadership)
                    # Not before: one that always answers where there is room, and never who has to go, hangs as well.
                    self._stalls.forget(record.name, decided=True)
                    asked += len(chunk)
                    if all(slot.name.slot in unplaced for slot in chunk):
                        # Slots of one template differ in nothing: what was said of these holds for the others.
                        said = unplaced[chunk[-1].name.slot]
                        unplaced.update((slot.name.slot, said) for slot in slots[asked:])
                        break
        except NoDecision as err:
            wait = self._stalls.note(record.name, plan, err)
            plan.wake(wait)
            self._complain(self._complaints, record.name, err.message, f"; it is asked again in {wait:g} s")
            return None
        except SchedulingFailure:
            # A failure is an answer, too.
            self._stalls.forget(record.name, decided=True)
            raise
        return unplaced

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
        key = instance_key(lacking, template.metadata.uid)
        preempts = template.preempts and SchedulerCapability.PREEMPTION in self.scheduler.capabilities
        request = SchedulingRequest(workload=for_new_work(template), slots=(key,), preempt=preempts)
        self.pending.refused(name, unplaced[lacking.slot], request, fruitful=len(unplaced) < len(plan.place))

    async def _place_chunk(
        self,
        record: WorkloadRecord,
        plan: WorkloadPlan,
        template: WorkloadDefinition,
        only_node: NodeId | None,
        slots: Sequence[WantedSlot],
        unplaced: dict[int, Explanation],
        leadership: Leadership,
    ) -> None:
        names = {instance_key(slot.name, template.metadata.uid): slot.name for slot in slots}
        view = self.keeper.view()
        request = SchedulingRequest(workload=for_new_work(template), slots=tuple(names), only_node=only_node)
        decisions = await self.scheduler.schedule(request, view)
        generation = plan.generation
        now = self.deadlines.now()
        placeable = self._placeable(record.name, template, generation)
        bound = list[tuple[InstanceKey, BindingRecord]]()
        assigned = dict[NodeId, list[AssignNode]]()
        # All that goes to a node without devices of its own has the same on record, and is written out once.
        alike = dict[NodeId, BindingRecord]()
        for decision in decisions:
            name = names[decision.slot]
            match decision:
                case NoPlacement():
                    unplaced[name.slot] = decision.explanation
                    if only_node is not None:
                        self._note_refusal(record.name, generation, only_node, decision.explanation)
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
        compares = _wanted_still(record, plan)
        compares += [Compare(binding_key(names[key]), ABSENT) for key, _ in bound]
        revision = await self._write(
            leadership, compares, [self.world.put(binding_key(names[key]), value) for key, value in bound]
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
        unplaced: dict[int, Explanation],
        leadership: Leadership,
    ) -> None:
        """Let slots of these that found no place have that of instances of lower priority."""
        refused = [slot for slot in slots if slot.name.slot in unplaced]
        if not refused:
            return

        async def write(compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
            return await self._write(leadership, [*_wanted_still(record, plan), *compares], operations)

        with leadership.in_time("to see what was written"):
            # What was just bound holds its place, and what was just told to stop uses up its workload's budget.
            await self.world.wait_for(self._last_write)
        placeable = self._placeable(record.name, template, plan.generation)
        for slot in await self._pusher.push_out(template, plan.generation, placeable, refused, self.scheduler, write):
            del unplaced[slot]

    def _note_refusal(self, name: WorkloadName, generation: int, node_id: NodeId, explanation: Explanation) -> None:
        """Remember that a node has no place for a template, and plan again: another node may have the turn."""
        if (name, generation) not in self._refusals:
            self._forget_generations(name)
        known = self._refusals.setdefault((name, generation), {})
        if node_id not in known:
            known[node_id] = refusal_of(explanation)
            self._queue.add(name)

    def _forget_generations(self, name: WorkloadName) -> None:
        for key in [key for key in self._refusals if key[0] == name]:
            del self._refusals[key]

    def _forget_refusals(self, node_id: NodeId) -> None:
        for (name, _), refused in self._refusals.items():
            if refused.pop(node_id, None) is not None:
                self._queue.add(name)

    def _placeable(self, name: WorkloadName, template: WorkloadDefinition, generation: int) -> Placeable:
        key = (template.metadata.uid, generation)
        of_workload = self._placeables.setdefault(name, {})
        known = of_workload.get(key)
        if known is None:
            workload = self.world.workloads.get(name)
            for old in [old for old in of_workload if workload is None or old[1] not in workload.templates]:
                del of_workload[old]
            known = of_workload[key] = Placeable.of(template)
        return known

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
            lacking = lacking_nodes(record, self._facts)
            if lacking:
                text = describe(next(iter(lacking.values())))
                nodes = "1 node has" if len(lacking) == 1 else f"{len(lacking)} nodes have"
                self._complain(self._complaints, record.name, f"{nodes} no place for it: {text}")
            else:
                self._complaints.pop(record.name, None)
            return
        if unplaced:
            as_many = len(self.explanations.get(record.name, {})) == len(unplaced)
            self.explanations[record.name] = unplaced
            if news or not as_many:
                text = describe(next(iter(unplaced.values())))
                have = "1 instance has" if len(unplaced) == 1 else f"{len(unplaced)} instances have"
                self._complain(self._complaints, record.name, f"{have} no place: {text}")
        else:
            self.explanations.pop(record.name, None)
            self._complaints.pop(record.name, None)

    def _complain(self, said: dict[WorkloadName, str], name: WorkloadName, message: str, outlook: str = "") -> None:
        """Tell of a trouble, once for as long as it is the same, however the outlook on the next try changes."""
        if said.get(name) != message:
            said[name] = message
            text = f"{message}{outlook}"
            self.recorder.record(name.namespace, f"workload/{name.name}", "Unplaceable", text, EventSeverity.WARNING)

    def _forget_workload(self, name: WorkloadName) -> None:
        self.explanations.pop(name, None)
        self._stalls.forget(name)
        self.pending.forget(name)
        self._complaints.pop(name, None)
        self._failures.pop(name, None)
        self._placeables.pop(name, None)
        self.deadlines.forget(name)
        self._queue.forget(name)
        self._forget_generations(name)

    def _workload_changed(self, name: WorkloadName) -> None:
        if name not in self.world.workloads:
            self._forget_workload(name)
        self._queue.add(name)
        for dependant in self.world.dependants.get(name, ()):
            other = self.world.workloads.get(dependant)
            if other is None or other.progress is None or other.progress.started_at is None:
                self._queue.add(dependant)

    def _instance_changed(self, name: InstanceName, record: InstanceRecord) -> None:
        bound = record.bound
        if name not in self.world.instances:
            self.deadlines.forget(name)
        elif bound is not None and bound.binding.node_id not in self.leased and self.world.synced.is_set():
            # It may be the first of a node that was forgotten meanwhile.
            self._lost_queue.add_after(bound.binding.node_id, self.skew_seconds)
        if bound is None or record.ended:
            workload_id = bound.workload_id if bound is not None else self._known_uid(name)
            if workload_id is not None and self.keeper.holds(instance_key(name, workload_id)):
                self.keeper.remove(instance_key(name, workload_id))
                if bound is not None:
                    self._forget_refusals(bound.binding.node_id)
                self.pending.nudge()
            return
        key = instance_key(name, bound.workload_id)
        if self.keeper.holds(key):
            return
        template = self.world.template(record)
        if template is not None:
            placeable = self._placeable(name.owner, template, bound.binding.generation)
            self.keeper.put(bound.binding.node_id, placed_instance(key, template, placeable, bound.binding))

    def _known_uid(self, name: InstanceName) -> Uid | None:
        workload = self.world.workloads.get(name.owner)
        if workload is None:
            return None
        if workload.spec is not None:
            return workload.spec.definition.metadata.uid
        return workload.progress.uid if workload.progress is not None else None

    def _lease_changed(self, node_id: NodeId) -> None:
        leased = node_id in self.world.leases or (self._observes and node_id in self.nodes)
        self.keeper.set_leased(node_id, leased)
        if leased:
            self.leased.add(node_id)
            self.lost.discard(node_id)
            self._node_changed(node_id)
        else:
            self.leased.discard(node_id)
            self._lost_queue.add_after(node_id, self.skew_seconds)
            self._node_changed(node_id)

    async def _watch_absences(self) -> None:
        await self.world.synced.wait()
        for node_id in self.world.nodes:
            if node_id not in self.leased:
                self._lost_queue.add_after(node_id, self.skew_seconds)
        while True:
            node_id = await self._lost_queue.take()
            for gone in [known for known in self.lost if not self._matters(known)]:
                self.lost.remove(gone)
            if node_id not in self.leased and node_id not in self.lost and self._matters(node_id):
                self.lost.add(node_id)
                self._node_changed(node_id)
            self._lost_queue.done(node_id)

    def _matters(self, node_id: NodeId) -> bool:
        """Whether a node is there, or anything is still bound to it."""
        return node_id in self.nodes or node_id in self.world.nodes

    def _node_changed(self, node_id: NodeId) -> None:
        """Look again at what a change of a node can move: what has no place, what runs there, and daemons."""
        self._forget_refusals(node_id)
        self.pending.nudge()
        self._look_at_instances(node_id)
        for record in self.world.workloads.values():
            if record.spec is not None and record.spec.definition.kind is WorkloadKind.DAEMON:
                self._queue.add(record.name)

    def _look_at_instances(self, node_id: NodeId) -> None:
        """Look again at the workloads that have instances on a node."""
        for name in dict.fromkeys(instance.owner for instance in self.world.nodes.get(node_id, ())):
            self._queue.add(name)

    async def _follow_cluster(self) -> None:
        delay = 0.1
        while True:
            try:
                async with self.cluster.subscribe_to_events() as events:
                    async for event in events:
                        self._take_cluster_event(event)
                        delay = 0.1
            except ClusterClosed:
                raise
            except OrchestrationError as err:
                # The stream begins with a snapshot when it is opened anew, so nothing is missed.
                self.recorder.record(
                    "default", "cluster/default", "ClusterUnavailable", err.message, EventSeverity.WARNING
                )
            await trio.sleep(delay)
            delay = min(10.0, delay * 2)

    def _take_cluster_event(self, event: ClusterEvent) -> None:
        match event:
            case Snapshot(nodes=nodes):
                current = {node.id: node for node in nodes}
                for gone in [node_id for node_id in self.nodes if node_id not in current]:
                    self._forget_node(gone)
                for node in nodes:
                    self._note_node(node)
                self.nodes_known.set()
            case NodeAdded(node=node) | NodeUpdated(node=node):
                self._note_node(node)
            case NodeRemoved(node_id=node_id):
                self._forget_node(node_id)
            case Resync():
                return

    def _note_node(self, node: Node) -> None:
        if self.nodes.get(node.id) != node:
            self.nodes[node.id] = node
            self.keeper.set_node(node)
            if self._observes:
                self._lease_changed(node.id)
            if evicting_taints(node):
                self.tainted.add(node.id)
            else:
                self.tainted.discard(node.id)
            self._announce_node(node.id)

    def _forget_node(self, node_id: NodeId) -> None:
        if self.nodes.pop(node_id, None) is not None:
            self.keeper.remove_node(node_id)
            self.tainted.discard(node_id)
            self._announce_node(node_id)

    def _announce_node(self, node_id: NodeId) -> None:
        self._taint_watch.look_at(node_id)
        self._node_changed(node_id)
        for listener in self._node_listeners:
            listener(node_id)


def _wanted_still(record: WorkloadRecord, plan: WorkloadPlan) -> list[Compare]:
    """Return what lets a write fail if the author or an operator has changed their mind since the plan was made."""
    return [
        Compare(spec_key(record.name), plan.spec_revision),
        Compare(control_key(record.name), plan.control_revision),
    ]


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
