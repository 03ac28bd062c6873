"""Carrying decisions out one by one, and noting what they break."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from attrs import field, frozen
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    NodeView,
    NoPlacement,
    Predicate,
    ScheduleDecision,
    SchedulerCapability,
    SchedulingRequest,
    placed_instance,
    with_instances,
)
from orchestrion.shared_types import NodeId, WorkloadDefinition

from ._oracle import World, complaints, suits
from ._pushing import broken_by_victims, without


@frozen
class Violation:
    """A broken promise.

    Attributes:
        clause: Of which clause.
        text: What happened.
    """

    clause: str
    text: str


@frozen
class Step:
    """One decision, and the world in which it was taken.

    Attributes:
        decision: The decision.
        world: The nodes before it, by id.
        held_by: The node that held the slot already, or None.
    """

    decision: ScheduleDecision
    world: dict[NodeId, NodeView]
    held_by: NodeId | None
    broken: tuple[Violation, ...] = field(default=())


def replay(
    request: SchedulingRequest,
    view: ClusterView,
    decisions: list[ScheduleDecision],
    abilities: frozenset[SchedulerCapability],
) -> list[Step]:
    """Carry decisions out in order, each in the world that those before it left."""
    world = {node.node.id: node for node in view}
    spent: Counter[str] = Counter()
    steps = []
    for decision in decisions:
        held_by = next((node.node.id for node in view if decision.slot in node.instances), None)
        broken = (
            *_examine(request, decision, _less_victims(world, decision), held_by, abilities),
            *_examine_victims(request, decision, world, held_by, abilities, spent),
        )
        steps.append(Step(decision, dict(world), held_by, broken))
        if isinstance(decision, AssignNode) and held_by is None and decision.node_id in world:
            world = _less_victims(world, decision)
            spent.update(key.workload_id for key in decision.victims)
            arrival = placed_instance(request.workload, decision)
            world[decision.node_id] = with_instances(world[decision.node_id], [arrival])
    return steps


def violations(
    request: SchedulingRequest,
    view: ClusterView,
    decisions: list[ScheduleDecision],
    abilities: frozenset[SchedulerCapability],
) -> list[Violation]:
    """Return what decisions break of the promises on safety, refusals, victims and slots that were placed already.

    It is for small clusters: it looks at every node for every slot.
    """
    return [violation for step in replay(request, view, decisions, abilities) for violation in step.broken]


_SAFETY = {Predicate.RESOURCE: "SAFE-1", Predicate.HOST_PORT: "SAFE-2", Predicate.DEVICE: "SAFE-3"}


def _examine(
    request: SchedulingRequest,
    decision: ScheduleDecision,
    world: World,
    held_by: NodeId | None,
    abilities: frozenset[SchedulerCapability],
) -> Iterator[Violation]:
    if held_by is not None:
        yield from _examine_stay(decision, world, held_by)
    elif isinstance(decision, NoPlacement):
        for node_id in world:
            if not complaints(request.workload, node_id, world, abilities, request.only_node):
                yield Violation("FULL-1", f"slot {decision.slot} was refused, and node {node_id!r} can take it")
    elif decision.node_id not in world:
        yield Violation("DECIDE-2", f"slot {decision.slot} got node {decision.node_id!r}, which is not in the view")
    else:
        for predicate, dimension in sorted(
            complaints(request.workload, decision.node_id, world, abilities, request.only_node)
        ):
            text = f"slot {decision.slot} got node {decision.node_id!r}, which fails {predicate.value} {dimension}"
            yield Violation(_SAFETY.get(predicate, "SAFE-4"), text)
        yield from _examine_grants(request.workload, decision, world[decision.node_id])


def _less_victims(world: dict[NodeId, NodeView], decision: ScheduleDecision) -> dict[NodeId, NodeView]:
    if isinstance(decision, AssignNode) and decision.victims and decision.node_id in world:
        return without(world, decision.node_id, decision.victims)
    return world


def _examine_victims(
    request: SchedulingRequest,
    decision: ScheduleDecision,
    world: World,
    held_by: NodeId | None,
    abilities: frozenset[SchedulerCapability],
    spent: Counter[str],
) -> Iterator[Violation]:
    if held_by is None:
        for clause, text in broken_by_victims(request, decision, world, abilities, spent):
            yield Violation(clause, text)
    elif isinstance(decision, AssignNode) and decision.victims:
        yield Violation("PREEMPT-1", f"slot {decision.slot} is placed already and pushes out {decision.victims}")


def _examine_stay(decision: ScheduleDecision, world: World, held_by: NodeId) -> Iterator[Violation]:
    held = world[held_by].instances[decision.slot]
    if not isinstance(decision, AssignNode) or decision.node_id != held_by:
        text = f"slot {decision.slot} is on node {held_by!r} already, where it stays; the decision is {decision}"
        yield Violation("STAY-1", text)
    elif dict(decision.device_thousandths) != dict(held.device_thousandths):
        told, holds = dict(decision.device_thousandths), dict(held.device_thousandths)
        text = f"slot {decision.slot} is placed already and holds the shares {holds}; the decision says {told}"
        yield Violation("STAY-1", text)
    elif any(decision.devices.values()):
        text = f"slot {decision.slot} is placed already; the decision says which containers have {decision.devices}"
        yield Violation("STAY-1", f"{text}, which only its binding knows")


def _examine_grants(workload: WorkloadDefinition, decision: AssignNode, view: NodeView) -> Iterator[Violation]:
    devices = {device.id: device for device in view.node.devices}
    total: Counter[str] = Counter()
    for container in workload.containers:
        granted = decision.devices.get(container.name, ())
        wanted = 0 if container.gpu is None else max(1, container.gpu.count)
        if len(granted) != wanted or len(set(granted)) != wanted:
            text = f"container {container.name!r} wants {wanted} devices and got {granted}"
            yield Violation("DEVICE-1", text)
        for device_id in granted:
            if container.gpu is not None:
                total[device_id] += container.gpu.thousandths or 1000
                if device_id not in devices or not suits(devices[device_id], container.gpu):
                    yield Violation("DEVICE-3", f"container {container.name!r} got {device_id!r}, which does not suit")
    if dict(total) != dict(decision.device_thousandths):
        text = f"the grants add up to {dict(total)}, and the decision says {dict(decision.device_thousandths)}"
        yield Violation("DEVICE-2", text)
    for device_id, thousandths in total.items():
        if thousandths + view.device_thousandths.get(device_id, 0) > 1000:
            yield Violation("SAFE-3", f"slot {decision.slot} takes device {device_id!r} beyond the whole")
