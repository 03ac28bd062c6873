"""Room by rank: slots that find no place take that of instances of lower priority.

A slot is bound in the same transaction that tells its victims to stop, and its node starts it only once they have
ended. So the room that becomes free is never anybody else's: to every later decision the slot holds it. What really
runs is never more than the node has, as the slot runs after its victims; and after a crash at any step either nothing
has happened, or all of it is on record. Nobody is pushed out without need: what stops already is seen as gone when it
is asked who has to go, and a slot that this alone makes room for just waits; not for what should have ended long ago.

Priorities fall strictly from a slot to its victims, and a victim's replacement is no higher than the victim: who was
pushed out can't push out in turn whoever took its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

from attrs import define, evolve, field
from orchestrion.orchestrator_core._cluster.plan import CHUNK, MAX_TOGETHER, WantedSlot
from orchestrion.orchestrator_core._cluster.stopping import Stopping, stopping_now
from orchestrion.orchestrator_core._cluster.view import Placeable, check_room, placed_instance
from orchestrion.orchestrator_core._state.budgets import budgets_of
from orchestrion.orchestrator_core._state.events import EventRecorder
from orchestrion.orchestrator_core._state.facts import Facts
from orchestrion.orchestrator_core._state.records import BindingRecord, InstanceName, binding_key, instance_key
from orchestrion.orchestrator_core._state.taints import for_new_work
from orchestrion.orchestrator_core._state.world import WorkloadRecord, World
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    Draft,
    KeptView,
    NodeView,
    PlacedInstance,
    Scheduler,
    SchedulerCapability,
    SchedulingRequest,
    ViewKeeper,
    node_view,
    without_instances,
)
from orchestrion.shared_types import (
    HIGHEST_PRIORITY,
    Binding,
    DesiredState,
    EventSeverity,
    InstanceKey,
    NodeId,
    SchedulingFailure,
    Uid,
    WorkloadDefinition,
)
from orchestrion.store_interface import ABSENT, Compare, Operation, Revision

T = TypeVar("T")

MAX_REPLACED: Final = 20_000
"""Nodes that an outlook shows anew before it begins from scratch, as it remembers each of them."""


@define(eq=False)
class Push:
    """A slot, and who has to go for it.

    Attributes:
        decision: Where it goes.
        victims: Who is pushed out.
        waits_for: Who has to have ended before it starts: its victims, those of others whose room it may have, and what
            stops on the node already.
    """

    decision: AssignNode
    victims: tuple[PlacedInstance, ...]
    waits_for: tuple[InstanceKey, ...]


def may_push(template: WorkloadDefinition, scheduler: Scheduler) -> bool:
    """Whether slots of a template may push out others."""
    return template.preempts and SchedulerCapability.PREEMPTION in scheduler.capabilities


def lowest_priority(records: Iterable[WorkloadRecord]) -> int:
    """Return the lowest priority that anything might have that holds a place."""
    return min(
        (template.priority for record in records if record.roll.held_slots for template in record.templates.values()),
        default=HIGHEST_PRIORITY,
    )


@define(eq=False)
class Outlook:
    """What is placed where once what stops has ended.

    It is kept up to date from one question to the next, for schedulers that keep an index of what they were shown.
    """

    _base: KeptView | None = None
    _draft: Draft | None = None
    _stopping: Stopping = field(factory=dict)
    _replaced: int = 0

    def view(self, real: KeptView, stopping: Stopping) -> KeptView:
        """Return a view in which what stops is gone, but for what should have ended long ago: that stays as nobody's.

        If such a one could be a victim, a slot would get its place and never start.
        """
        if not stopping:
            self._base, self._draft, self._stopping = None, None, {}
            return real
        changed = real.changes_since(self._base.revision) if self._base is not None else None
        draft = self._draft
        if draft is None or changed is None or self._replaced > MAX_REPLACED:
            draft, changed, self._stopping, self._replaced = Draft(real), frozenset(), {}, 0
        before = self._stopping
        others = {each for each in before.keys() | stopping.keys() if before.get(each) != stopping.get(each)}
        for node_id in sorted(changed | others):
            draft.replace(node_id, _as_it_will_be(real.get(node_id), stopping.get(node_id, {})))
            self._replaced += 1
        self._base, self._draft, self._stopping = real, draft, stopping
        return draft.view()


def _as_it_will_be(node: NodeView | None, stopping: Mapping[InstanceKey, bool]) -> NodeView | None:
    if node is None or not stopping:
        return node
    there = (
        evolve(placed, priority=HIGHEST_PRIORITY) if key in stopping else placed
        for key, placed in node.instances.items()
        if stopping.get(key, True)
    )
    return node_view(node.node, there)


async def find_pushes(
    template: WorkloadDefinition,
    slots: Sequence[InstanceKey],
    only_node: NodeId | None,
    view: KeptView,
    facts: Facts,
    scheduler: Scheduler,
    outlook: Outlook,
    minimum: int = 0,
) -> list[Push]:
    """Return how slots that have found no place could get one by pushing others out.

    Args:
        template: Theirs.
        slots: Those that found no place.
        only_node: The only node that they may go to, or None.
        view: What is placed where.
        facts: The rest of the world.
        scheduler: Decides.
        outlook: Kept for views of the same history.
        minimum: How many of the slots have to get a place together. Above 1, those are among the pushes that need push
            nobody out; still there are none where nobody has to go, as the gang then finds its room before long.

    Raises:
        SchedulingFailure: The scheduler chose victims that it may not.
    """
    records = facts.workloads.values()
    if not may_push(template, scheduler) or lowest_priority(records) >= template.priority:
        return []
    stopping = stopping_now(facts)
    after = outlook.view(view, stopping)
    budgets = budgets_of(records, facts)
    request = SchedulingRequest(
        workload=for_new_work(template),
        slots=tuple(slots),
        minimum=minimum,
        only_node=only_node,
        preempt=True,
        budgets=budgets,
    )
    decisions = [each for each in await scheduler.schedule(request, after) if isinstance(each, AssignNode)]
    _check(decisions, template, after, budgets)
    needs_others_gone = any(each.victims for each in decisions)
    together = minimum > 1 and needs_others_gone
    # A slot may have room that the victims of another leave: of one before it, or in a gang of any.
    leaving = dict[NodeId, set[InstanceKey]]()
    if together:
        for each in decisions:
            leaving.setdefault(each.node_id, set()).update(each.victims)
    pushes = list[Push]()
    for each in decisions:
        there = leaving.setdefault(each.node_id, set())
        there.update(each.victims)
        if each.victims or together:
            pushes.append(_push(each, after, there, stopping))
    return pushes


def _push(decision: AssignNode, view: ClusterView, leaving: Iterable[InstanceKey], stopping: Stopping) -> Push:
    node = view.get(decision.node_id)
    there = node.instances if node is not None else {}
    others = stopping.get(decision.node_id, {})
    return Push(
        decision=decision,
        victims=tuple(there[key] for key in decision.victims),
        waits_for=tuple(sorted({*leaving, *(key for key, overdue in others.items() if not overdue)})),
    )


def _check(
    decisions: Iterable[AssignNode], template: WorkloadDefinition, view: ClusterView, budgets: Mapping[Uid, int]
) -> None:
    """Check that victims are there, are each named once, of lower priority and within budgets, and make room."""
    ended = Counter[Uid]()
    groups = dict[NodeId, list[AssignNode]]()
    gone = dict[NodeId, set[InstanceKey]]()
    for decision in decisions:
        groups.setdefault(decision.node_id, []).append(decision)
        node = view.get(decision.node_id)
        for key in decision.victims:
            placed = node.instances.get(key) if node is not None else None
            known = gone.setdefault(decision.node_id, set())
            if placed is None or key in known or placed.priority >= template.priority:
                msg = f"the scheduler would push out {key} of node {decision.node_id!r}, which it may not"
                raise SchedulingFailure(msg)
            known.add(key)
            ended[key.workload_id] += 1
    if any(count > budgets[uid] for uid, count in ended.items() if uid in budgets):
        msg = "the scheduler would push out more instances of a workload than may be ended now"
        raise SchedulingFailure(msg)
    for node_id, group in groups.items():
        node = view.get(node_id)
        left: NodeView | None = without_instances(node, gone.get(node_id, ())) if node is not None else None
        check_room(left, group, Placeable.of(template))


def in_transactions(pushes: Sequence[Push]) -> Iterator[Sequence[Push]]:
    """Yield the pushes, as many at a time as one transaction takes; one with very many victims is alone."""
    group = list[Push]()
    size = 0
    for push in pushes:
        cost = 1 + len(push.victims)
        if group and size + cost > CHUNK:
            yield group
            group, size = [], 0
        group.append(push)
        size += cost
    if group:
        yield group


def in_parts(pairs: Sequence[T], whole: int) -> Iterator[Sequence[T]]:
    """Yield what is to be written, as much at a time as one transaction takes; the last `whole` of it at once."""
    start, most = 0, MAX_TOGETHER if whole else CHUNK
    while len(pairs) - start > most:
        end = min(start + CHUNK, len(pairs) - whole)
        yield pairs[start:end]
        start = end
    if start < len(pairs):
        yield pairs[start:]


def name_of(placed: PlacedInstance) -> InstanceName:
    """Return the name of an instance that holds a place."""
    return InstanceName(placed.namespace, placed.workload, placed.key.index, placed.key.epoch)


def stop_reason(by: InstanceName) -> str:
    """Return why a victim stops, in words."""
    return f"preempted: {by} takes its place"


def victims_words(push: Push) -> str:
    """Return who is pushed out, in words."""
    return ", ".join(f"{name_of(victim)} (priority {victim.priority})" for victim in push.victims)


Write = Callable[[Sequence[Compare], Sequence[Operation]], Awaitable[Revision]]


@define(eq=False)
class Pusher:
    """Pushes out, on record, and tells both sides.

    Attributes:
        world: The mirror of the store.
        keeper: Knows what is placed where.
        facts: The rest of the world.
        recorder: Takes events.
    """

    world: World
    keeper: ViewKeeper
    facts: Facts
    recorder: EventRecorder
    _outlook: Outlook = field(factory=Outlook)
    _lowest: tuple[Revision, int] = (Revision(-1), 0)

    def may_push(self, template: WorkloadDefinition, scheduler: Scheduler) -> bool:
        """Whether there is anybody whom slots of a template may push out."""
        if not may_push(template, scheduler):
            return False
        if self._lowest[0] != self.world.revision:
            # Many may wait for room at once, and ask while nothing has changed.
            self._lowest = self.world.revision, lowest_priority(self.world.workloads.values())
        return self._lowest[1] < template.priority

    async def push_out(
        self,
        template: WorkloadDefinition,
        generation: int,
        placeable: Placeable,
        slots: Sequence[WantedSlot],
        minimum: int,
        scheduler: Scheduler,
        write: Write,
    ) -> set[int]:
        """Bind slots that have found no place to nodes where others make room, and return which.

        Where one push has more victims than a transaction takes, all but the last are told to stop before; if that is
        as far as it gets, those stop, and the slot finds the room that they leave. The slots of a gang are bound in one
        transaction, those among them that push nobody out, too; so theirs are told before if they are many.

        Args:
            template: The slots' own.
            generation: Its generation.
            placeable: What each of them reserves.
            slots: Those that found no place, all for the same node or all for any.
            minimum: How many of them have to get a place for any to get one.
            scheduler: Decides.
            write: Writes a transaction.

        Raises:
            OrchestrationError: A step failed; those before it were done.
        """
        names = {instance_key(slot.name, template.metadata.uid): slot.name for slot in slots}
        view = self.keeper.view()
        pushes = await find_pushes(
            template, tuple(names), slots[0].only_node, view, self.facts, scheduler, self._outlook, minimum
        )
        is_gang = minimum > 1 and bool(pushes)
        pushed = set[int]()
        for group in [pushes] if is_gang else in_transactions(pushes):
            bound = [
                BindingRecord(workload_id=template.metadata.uid, binding=self._binding(push, generation))
                for push in group
            ]
            pairs = list[tuple[Compare, Operation]]()
            for push in group:
                pairs.extend(self._stops(push, names[push.decision.slot]))
            for push, value in zip(group, bound, strict=True):
                key = binding_key(names[push.decision.slot])
                pairs.append((Compare(key, ABSENT), self.world.put(key, value)))
            for part in in_parts(pairs, len(group) if is_gang else 0):
                compares, operations = zip(*part, strict=True)
                revision = await write(compares, operations)
            for push, value in zip(group, bound, strict=True):
                name = names[push.decision.slot]
                if self.world.revision < revision:
                    placed = placed_instance(push.decision.slot, template, placeable, value.binding)
                    self.keeper.put(value.binding.node_id, placed)
                self._tell(push, name, template)
                pushed.add(name.slot)
        return pushed

    def _binding(self, push: Push, generation: int) -> Binding:
        decision = push.decision
        return Binding(
            node_id=decision.node_id,
            generation=generation,
            devices=decision.devices,
            device_thousandths=decision.device_thousandths,
            bound_at=self.facts.deadlines.now(),
            waits_for=push.waits_for,
        )

    def _stops(self, push: Push, by: InstanceName) -> Iterator[tuple[Compare, Operation]]:
        """Yield what tells victims to stop: those that have ended or stop already need no telling."""
        for victim in push.victims:
            name = name_of(victim)
            record = self.world.instances.get(name)
            bound = record.bound if record is not None else None
            if record is None or bound is None or record.ended or bound.binding.desired is DesiredState.STOP:
                continue
            stopped = evolve(
                bound,
                binding=evolve(
                    bound.binding,
                    desired=DesiredState.STOP,
                    stop_reason=stop_reason(by),
                    stop_at=self.facts.deadlines.now(),
                ),
            )
            key = binding_key(name)
            yield Compare(key, record.binding_revision), self.world.put(key, stopped)

    def _tell(self, push: Push, by: InstanceName, template: WorkloadDefinition) -> None:
        if not push.victims:
            return
        node_id = push.decision.node_id
        for victim in push.victims:
            self.recorder.record(
                victim.namespace,
                f"instance/{name_of(victim).short}",
                "Preempted",
                f"{by} (priority {template.priority}) takes its place on node {node_id}",
                EventSeverity.WARNING,
            )
        text = f"it pushes out {victims_words(push)} on node {node_id}, and starts once they have ended"
        self.recorder.record(by.namespace, f"instance/{by.short}", "Preempting", text)
