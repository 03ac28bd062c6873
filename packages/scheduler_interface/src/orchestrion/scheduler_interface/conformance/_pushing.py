"""The rule of who is pushed out once more, as plainly as can be and without the reference scheduler's code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from orchestrion.scheduler_interface import (
    AssignNode,
    NodeView,
    PlacedInstance,
    ScheduleDecision,
    SchedulerCapability,
    SchedulingRequest,
    node_view,
)
from orchestrion.shared_types import InstanceKey, NodeId

from ._oracle import World, complaints, is_about

Abilities = frozenset[SchedulerCapability]
Rank = tuple[int, int, int]


def without(world: World, node_id: NodeId, gone: Iterable[InstanceKey]) -> dict[NodeId, NodeView]:
    """Return the nodes as they are when some instances of one of them are gone."""
    left, before = set(gone), world[node_id]
    rest = [each for key, each in before.instances.items() if key not in left]
    return {**world, node_id: node_view(before.node, rest)}


def passes(request: SchedulingRequest, node_id: NodeId, world: World, abilities: Abilities) -> bool:
    """Whether a node can take a slot."""
    return not complaints(request.workload, node_id, world, abilities, request.only_node)


def victims_on(
    request: SchedulingRequest, node_id: NodeId, world: World, abilities: Abilities, spent: Mapping[str, int]
) -> list[PlacedInstance] | None:
    """Return who has to leave a node for a slot, or None where the node will not do whoever leaves.

    Args:
        request: The request.
        node_id: The node.
        world: The nodes, by id.
        abilities: What the scheduler is able to do.
        spent: By workload, how many victims the slots before had.
    """
    room = world[node_id].node.allocatable
    whole = (room.cpu_millicores, room.memory_bytes, room.disk_bytes)

    def size(instance: PlacedInstance) -> int:
        parts = (instance.demand.cpu_millicores, instance.demand.memory_bytes, instance.demand.disk_bytes)
        return max((1000 * part // total for part, total in zip(parts, whole, strict=True) if total), default=0)

    in_order = list(world[node_id].instances.values())
    in_order.sort(key=lambda each: each.key)
    in_order.sort(key=lambda each: each.grace_seconds, reverse=True)
    in_order.sort(key=size)
    in_order.sort(key=lambda each: each.priority, reverse=True)
    numbers: Counter[str] = Counter()
    candidates: list[PlacedInstance] = []
    for each in in_order[::-1]:
        owner = each.key.workload_id
        if may_leave(request, each, abilities):
            numbers[owner] += 1
            if owner not in request.budgets or numbers[owner] + spent.get(owner, 0) <= request.budgets[owner]:
                candidates.insert(0, each)
    leaving = {each.key for each in candidates}
    if not leaving or not passes(request, node_id, without(world, node_id, leaving), abilities):
        return None
    for each in candidates:
        if passes(request, node_id, without(world, node_id, leaving - {each.key}), abilities):
            leaving.remove(each.key)
    return [each for each in candidates if each.key in leaving]


def may_leave(request: SchedulingRequest, instance: PlacedInstance, abilities: Abilities) -> bool:
    """Whether an instance may be pushed out, whatever the budgets say."""
    return not any(complaints_about(request, instance, abilities))


def complaints_about(request: SchedulingRequest, instance: PlacedInstance, abilities: Abilities) -> Iterator[str]:
    """Return the clauses by which an instance may not be pushed out."""
    workload = request.workload
    if instance.priority >= workload.priority:
        yield "PREEMPT-2"
    if instance.key.workload_id == workload.metadata.uid:
        yield "PREEMPT-3"
    if SchedulerCapability.AFFINITY in abilities:
        for affinity in workload.placement.instance_affinities:
            if affinity.weight is None and not affinity.anti and is_about(affinity, workload, instance):
                yield "PREEMPT-4"


def rank_of(victims: Iterable[PlacedInstance]) -> Rank:
    """Return how bad it is to push these out, lower is better."""
    several = list(victims)
    return (max(each.priority for each in several), len(several), max(each.grace_seconds for each in several))


def broken_by_victims(
    request: SchedulingRequest,
    decision: ScheduleDecision,
    world: World,
    abilities: Abilities,
    spent: Mapping[str, int],
) -> Iterator[tuple[str, str]]:
    """Return which clauses a decision about a slot that holds no place breaks by whom it pushes out, and how."""
    slot, victims = decision.slot, decision.victims if isinstance(decision, AssignNode) else ()
    is_room = any(passes(request, node_id, world, abilities) for node_id in world)
    may_push = request.preempt and SchedulerCapability.PREEMPTION in abilities
    if is_room or not may_push:
        if victims:
            why = "a node passes without" if is_room else "nobody may be pushed out"
            yield "PREEMPT-1", f"slot {slot} pushes out {_words(victims)}, and {why}"
        return
    found = {node_id: victims_on(request, node_id, world, abilities, spent) for node_id in world}
    ranks = {node_id: rank_of(on_node) for node_id, on_node in found.items() if on_node is not None}
    if not isinstance(decision, AssignNode):
        for node_id in ranks:
            on_node = [each.key for each in found[node_id] or ()]
            yield "PREEMPT-6", f"slot {slot} was refused, and node {node_id!r} would do without {_words(on_node)}"
    elif decision.node_id in world:
        yield from _broken_on_node(request, decision, world, abilities, spent)
        expected = found[decision.node_id]
        keys = None if expected is None else tuple(sorted(each.key for each in expected))
        on_it = f"slot {slot} pushes out {_words(victims)} of node {decision.node_id!r}"
        if keys is None:
            yield "PREEMPT-6", f"{on_it}, which will not do whoever leaves"
        elif keys != victims:
            yield "PREEMPT-7", f"{on_it}; its victims are {_words(keys)}"
        elif ranks[decision.node_id] > min(ranks.values()):
            better = min(ranks, key=lambda node_id: ranks[node_id])
            text = f"{on_it}, at (priority, number, grace) {ranks[decision.node_id]}"
            yield "PREEMPT-8", f"{text}; on node {better!r} it would be {ranks[better]}"


def _broken_on_node(
    request: SchedulingRequest, decision: AssignNode, world: World, abilities: Abilities, spent: Mapping[str, int]
) -> Iterator[tuple[str, str]]:
    held = world[decision.node_id].instances
    numbers = Counter(spent)
    for key in decision.victims:
        text = f"slot {decision.slot} pushes out {key} of node {decision.node_id!r}"
        if key not in held:
            yield "PREEMPT-9", f"{text}, which does not hold it any more"
            continue
        for clause in complaints_about(request, held[key], abilities):
            yield clause, f"{text}, which may not be: {held[key]}"
        numbers[key.workload_id] += 1
        if numbers[key.workload_id] > request.budgets.get(key.workload_id, numbers[key.workload_id]):
            yield "PREEMPT-5", f"{text}, and the budget is {request.budgets[key.workload_id]}"


def _words(keys: Iterable[InstanceKey]) -> str:
    return ", ".join(f"{key.workload_id[-2:]}.{key.index}" for key in keys) or "nobody"
