"""The interface's rules once more, as plainly as can be and without the reference scheduler's code.

It looks at every node for every question, and tries every way to grant devices: only small clusters are asked about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations, product

from orchestrion.scheduler_interface import NodeView, PlacedInstance, Predicate, SchedulerCapability
from orchestrion.shared_types import (
    Device,
    Expression,
    GpuRequest,
    InstanceAffinity,
    Node,
    NodeId,
    NodeStatus,
    Operator,
    Placement,
    Spread,
    Taint,
    TaintEffect,
    Toleration,
    WorkloadDefinition,
)

Complaint = tuple[Predicate, str]
"""A predicate that fails, and the resource that is short or an empty text."""

World = Mapping[NodeId, NodeView]


def demand(workload: WorkloadDefinition) -> dict[str, int]:
    """Return what an instance asks for, by resource."""
    total: Counter[str] = Counter()
    for each in workload.containers:
        total.update(dict(each.resources.dimensions()))
    return {name: amount for name, amount in total.items() if amount}


def free(view: NodeView, dimension: str) -> int:
    """Return how much of a resource is free on a node."""
    allocatable, reserved = dict(view.node.allocatable.dimensions()), dict(view.reserved.dimensions())
    return max(0, allocatable.get(dimension, 0) - reserved.get(dimension, 0))


def complaints(
    workload: WorkloadDefinition,
    node_id: NodeId,
    world: World,
    abilities: frozenset[SchedulerCapability],
    only_node: NodeId | None = None,
) -> frozenset[Complaint]:
    """Return all that keeps a slot off a node; empty if it may go there."""
    if only_node is not None and node_id != only_node:
        return frozenset({(Predicate.OTHER_NODE, "")})
    found = set(_standing(workload, world[node_id], abilities)) | set(_room(workload, world[node_id], abilities))
    if SchedulerCapability.SPREAD in abilities:
        for spread in workload.placement.spreads:
            if spread.required and not _spread_holds(spread, workload, node_id, world, abilities):
                found.add((Predicate.SPREAD, ""))
    if SchedulerCapability.AFFINITY in abilities:
        for affinity in workload.placement.instance_affinities:
            if affinity.weight is None and not _affinity_holds(affinity, workload, world[node_id].node, world):
                found.add((Predicate.INSTANCE_AFFINITY, ""))
    return frozenset(found)


def stands(workload: WorkloadDefinition, view: NodeView, abilities: frozenset[SchedulerCapability]) -> bool:
    """Whether a node passes all predicates that nothing changes which is placed."""
    return not any(_standing(workload, view, abilities))


def _standing(
    workload: WorkloadDefinition, view: NodeView, abilities: frozenset[SchedulerCapability]
) -> Iterator[Complaint]:
    node, placement = view.node, workload.placement
    if node.status != NodeStatus.READY:
        yield Predicate.NODE_STATUS, ""
    if node.cordoned:
        yield Predicate.CORDONED, ""
    if any(condition.active for condition in node.conditions):
        yield Predicate.NODE_CONDITION, ""
    if {each.effective_driver for each in workload.containers} - node.drivers:
        yield Predicate.DRIVER, ""
    if any(not _selected(node, key, value) for key, value in placement.select.items()):
        yield Predicate.SELECTOR, ""
    if any(not is_true_of(expression, node.labels) for expression in placement.expressions):
        yield Predicate.EXPRESSION, ""
    if any(is_kept_off_by(taint, placement) for taint in node.taints):
        yield Predicate.TAINT, ""
    if SchedulerCapability.AFFINITY in abilities:
        for affinity in placement.node_affinities:
            if affinity.weight is None and any(not is_true_of(each, node.labels) for each in affinity.expressions):
                yield Predicate.NODE_AFFINITY, ""
    if _unsupported(workload, abilities):
        yield Predicate.UNSUPPORTED, ""


def _unsupported(workload: WorkloadDefinition, abilities: frozenset[SchedulerCapability]) -> bool:
    placement = workload.placement
    affinities = [affinity.weight for affinity in placement.node_affinities]
    affinities += [affinity.weight for affinity in placement.instance_affinities]
    required = {
        SchedulerCapability.AFFINITY: None in affinities,
        SchedulerCapability.SPREAD: any(spread.required for spread in placement.spreads),
        SchedulerCapability.DEVICES: any(each.gpu is not None for each in workload.containers),
    }
    return any(wanted and ability not in abilities for ability, wanted in required.items())


def _selected(node: Node, key: str, value: str) -> bool:
    topology = {
        "zone": node.topology.zone,
        "region": node.topology.region,
        "rack": node.topology.rack,
        "node": node.name,
    }
    return value in [node.labels.get(key), topology.get(key) or None]


def is_true_of(expression: Expression, labels: Mapping[str, str]) -> bool:
    """Whether labels match an expression."""
    there, value = expression.key in labels, labels.get(expression.key, "")
    if expression.operator == Operator.EXISTS:
        return there
    if expression.operator == Operator.DOES_NOT_EXIST:
        return not there
    if expression.operator == Operator.IN:
        return there and value in expression.values
    if expression.operator == Operator.NOT_IN:
        return not (there and value in expression.values)
    bound = expression.values[0]
    if not (there and _is_whole(value) and _is_whole(bound)):
        return False
    return int(value) > int(bound) if expression.operator == Operator.GREATER else int(value) < int(bound)


def _is_whole(text: str) -> bool:
    digits = text[1:] if text[:1] in ("+", "-") else text
    return digits.isascii() and digits.isdigit()


def is_kept_off_by(taint: Taint, placement: Placement) -> bool:
    """Whether a taint refuses what is placed so."""
    tolerated = [each for each in placement.tolerations if _covers(each, taint.key, taint.value, taint.effect)]
    return taint.effect != TaintEffect.PREFER_NO_SCHEDULE and not tolerated


def _covers(toleration: Toleration, key: str, value: str, effect: TaintEffect) -> bool:
    if toleration.key != "" and toleration.key != key:
        return False
    if toleration.value is not None and toleration.value != value:
        return False
    return toleration.effect is None or toleration.effect == effect


def _room(
    workload: WorkloadDefinition, view: NodeView, abilities: frozenset[SchedulerCapability]
) -> Iterator[Complaint]:
    for each in workload.containers:
        for port in each.ports:
            if port.host_port is not None and (port.protocol, port.host_port) in view.host_ports:
                yield Predicate.HOST_PORT, ""
    for dimension, amount in demand(workload).items():
        if amount > free(view, dimension):
            yield Predicate.RESOURCE, dimension
    if SchedulerCapability.DEVICES in abilities and not can_grant(workload, view):
        yield Predicate.DEVICE, ""


def suits(device: Device, request: GpuRequest) -> bool:
    """Whether a device has what is asked for."""
    if device.kind != "gpu" or device.memory_bytes < request.memory_bytes:
        return False
    if request.model is not None and request.model.lower() not in device.model.lower():
        return False
    if request.capability is None:
        return True
    have, want = device.capability.split("."), request.capability.split(".")
    if not all(part.isdecimal() for part in have):
        return False
    length = max(len(have), len(want))
    numbers = [[int(part) for part in [*parts, *["0"] * (length - len(parts))]] for parts in (have, want)]
    return numbers[0] >= numbers[1]


def can_grant(workload: WorkloadDefinition, view: NodeView) -> bool:
    """Whether a node has free devices for all containers together."""
    ways: list[list[Counter[str]]] = []
    for each in workload.containers:
        if each.gpu is not None:
            suitable = [device.id for device in view.node.devices if suits(device, each.gpu)]
            if each.gpu.count:
                ways.append([Counter(dict.fromkeys(ids, 1000)) for ids in combinations(suitable, each.gpu.count)])
            else:
                ways.append([Counter({device_id: each.gpu.thousandths}) for device_id in suitable])
    for way in product(*ways):
        total = Counter(view.device_thousandths)
        for part in way:
            total.update(part)
        if all(total[device_id] <= 1000 for part in way for device_id in part):
            return True
    return not ways


def domain(node: Node, by: str) -> str | None:
    """Return the topology domain that a node is in."""
    if by == "node" and node.name:
        return node.name
    if by in ("zone", "region", "rack") and getattr(node.topology, by):
        return str(getattr(node.topology, by))
    return node.labels.get(by)


def _spread_holds(
    spread: Spread,
    workload: WorkloadDefinition,
    node_id: NodeId,
    world: World,
    abilities: frozenset[SchedulerCapability],
) -> bool:
    here = domain(world[node_id].node, spread.by)
    if here is None:
        return False
    counts: Counter[str | None] = Counter()
    counting = set()
    for view in world.values():
        where = domain(view.node, spread.by)
        counts[where] += sum(1 for key in view.instances if key.workload_id == workload.metadata.uid)
        if where is not None and stands(workload, view, abilities):
            counting.add(where)
    emptiest = min((counts[each] for each in counting), default=0)
    return counts[here] + 1 - emptiest <= spread.max_skew


def is_about(affinity: InstanceAffinity, workload: WorkloadDefinition, instance: PlacedInstance) -> bool:
    """Whether an affinity of a workload is about an instance."""
    if instance.namespace != workload.metadata.namespace:
        return False
    return _has_all(instance.labels, affinity.match_labels)


def _has_all(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return len(wanted) > 0 and set(wanted.items()) <= set(labels.items())


def _affinity_holds(affinity: InstanceAffinity, workload: WorkloadDefinition, node: Node, world: World) -> bool:
    here = domain(node, affinity.by)
    everywhere = [
        domain(view.node, affinity.by)
        for view in world.values()
        for instance in view.instances.values()
        if is_about(affinity, workload, instance)
    ]
    if affinity.anti:
        return here is None or here not in everywhere
    if here is None:
        return False
    is_first = not everywhere and _has_all(workload.metadata.labels, affinity.match_labels)
    return is_first or here in everywhere
