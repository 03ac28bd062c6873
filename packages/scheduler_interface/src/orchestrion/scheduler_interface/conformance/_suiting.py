"""Nodes that suit a workload, or would but for one thing: whoever forgets a single rule gets these wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

from attrs import evolve
from orchestrion.scheduler_interface import HostPort, NodeView, PlacedInstance, drivers_of, host_ports_of, node_view
from orchestrion.shared_types import (
    MAX_AMOUNT,
    Device,
    Drain,
    Expression,
    InstanceAffinity,
    InstanceKey,
    Node,
    NodeAffinity,
    NodeCondition,
    NodeStatus,
    Placement,
    Resources,
    Taint,
    TaintEffect,
    Topology,
    WorkloadDefinition,
)

from ._build import NEIGHBOUR, with_amount
from ._oracle import can_grant, demand, is_about, is_kept_off_by, is_true_of

Flaw = Callable[[NodeView], NodeView]
"""Makes a node that suits a workload fail one predicate."""

TAINTS = tuple(
    Taint(key, value, effect)
    for key, value, effect in product(
        ("gpu", "old"), ("", "only"), (TaintEffect.NO_SCHEDULE, TaintEffect.NO_EXECUTE, TaintEffect.PREFER_NO_SCHEDULE)
    )
)
LABELS = {"disk": ("ssd", "hdd"), "gen": ("1", "2", "10", "0", "x")}

_VALUES = (*LABELS["disk"], *LABELS["gen"], None)
_TOPOLOGY = ("zone", "rack", "region")


def suited(view: NodeView, workload: WorkloadDefinition, room: int) -> NodeView:
    """Return a node with as little changed as lets it take an instance of the workload; sometimes that can't be.

    Args:
        view: The node.
        workload: Whose instances.
        room: For how many instances it has room; -1 leaves more than that, if there is more.
    """
    placement, node = workload.placement, view.node
    wanted = host_ports_of(workload.containers)
    suiting = evolve(
        node,
        status=NodeStatus.READY,
        cordoned=False,
        drain=None,
        conditions=tuple(evolve(condition, active=False) for condition in node.conditions),
        drivers=node.drivers | drivers_of(workload),
        taints=tuple(taint for taint in node.taints if not is_kept_off_by(taint, placement)),
        labels=_labels(node, placement),
        topology=_topology(node.topology, placement),
    )
    instances = [evolve(each, host_ports=each.host_ports - wanted) for each in view.instances.values()]
    suiting_view = _with_neighbours(node_view(suiting, instances), workload)
    if not can_grant(workload, suiting_view):
        suiting_view = _with_devices(suiting_view, workload)
    return _with_room(suiting_view, workload, room)


def flaws(workload: WorkloadDefinition) -> list[Flaw]:
    """Return what may be wrong with a node that otherwise suits a workload, one predicate each."""
    return list(_flaws(workload))


def _flaws(workload: WorkloadDefinition) -> Iterator[Flaw]:
    placement = workload.placement
    yield lambda view: _node(view, cordoned=True)
    yield lambda view: _node(view, cordoned=True, drain=Drain(reason="upkeep"))
    yield lambda view: _node(view, conditions=(NodeCondition(type="DiskPressure", active=True),))
    yield from (partial(_node, status=status) for status in NodeStatus if status in _DECEPTIVE)
    yield from (partial(_without_driver, driver=driver) for driver in sorted(drivers_of(workload)))
    for keys, is_affinity in ((_label_keys(placement), False), (_affinity_keys(placement), True)):
        for key, choice in product(keys, (0, -1)):
            yield partial(_mislabelled, placement=placement, key=key, choice=choice, is_affinity=is_affinity)
    if "zone" in placement.select:
        yield lambda view: _node(view, topology=evolve(view.node.topology, zone="b"))
    yield from (partial(_tainted, taint=taint) for taint in _refusing(placement))
    # Several times what fewer workloads than not ask for.
    for port in sorted(host_ports_of(workload.containers)) * 2:
        yield partial(_held, ports=frozenset({port}))
    for dimension, amount in demand(workload).items():
        yield partial(_short, dimension=dimension, amount=amount)
    if any(each.gpu is not None for each in workload.containers):
        yield partial(_without_devices, workload=workload)
    for affinity in _required(placement) * 4:
        if affinity.anti and affinity.match_labels:
            yield partial(_held, labels=affinity.match_labels)
        elif not affinity.anti and not _is_own(affinity, workload):
            yield partial(_moved_to_another_namespace, affinity=affinity, workload=workload)


_DECEPTIVE = (NodeStatus.UNKNOWN, NodeStatus.NOT_READY)


def _node(view: NodeView, **attributes: Any) -> NodeView:
    return evolve(view, node=evolve(view.node, **attributes))


def _sized(view: NodeView, amounts: Resources) -> NodeView:
    return _node(view, capacity=amounts, allocatable=amounts)


def _without_driver(view: NodeView, driver: str) -> NodeView:
    return _node(view, drivers=view.node.drivers - {driver})


def _tainted(view: NodeView, taint: Taint) -> NodeView:
    kept = tuple(each for each in view.node.taints if (each.key, each.effect) != (taint.key, taint.effect))
    return _node(view, taints=(*kept, taint))


def _refusing(placement: Placement) -> list[Taint]:
    """Return one taint of each effect that keeps the workload off, if there are such."""
    by_effect = {taint.effect: taint for taint in TAINTS if is_kept_off_by(taint, placement)}
    return list(by_effect.values())


def _held(view: NodeView, ports: frozenset[HostPort] = frozenset(), **held: Any) -> NodeView:
    """Return a node that holds another instance."""
    key = InstanceKey(NEIGHBOUR, 1000 + len(view.instances), 1)
    holder = PlacedInstance(key=key, namespace="default", workload="neighbour", host_ports=ports, **held)
    return node_view(view.node, [*view.instances.values(), holder])


def _short(view: NodeView, dimension: str, amount: int) -> NodeView:
    """Return a node that has one unit too little."""
    least = dict(view.reserved.dimensions()).get(dimension, 0) + amount
    return _sized(view, with_amount(view.node.allocatable, dimension, min(MAX_AMOUNT, least - 1)))


def _without_devices(view: NodeView, workload: WorkloadDefinition) -> NodeView:
    """Return a node on which so many devices are held that the workload gets none."""
    for device in view.node.devices:
        if not can_grant(workload, view):
            break
        share = 1000 - view.device_thousandths.get(device.id, 0)
        if share > 0:
            view = _held(view, device_thousandths={device.id: share})
    return view


def _with_room(view: NodeView, workload: WorkloadDefinition, room: int) -> NodeView:
    allocatable = view.node.allocatable
    reserved, has = dict(view.reserved.dimensions()), dict(allocatable.dimensions())
    for dimension, amount in demand(workload).items():
        least = min(MAX_AMOUNT, reserved.get(dimension, 0) + amount * abs(room))
        allocatable = with_amount(allocatable, dimension, max(least, has.get(dimension, 0)) if room < 0 else least)
    return _sized(view, allocatable)


def _with_devices(view: NodeView, workload: WorkloadDefinition) -> NodeView:
    devices = list(view.node.devices)
    for each in workload.containers:
        if each.gpu is not None:
            for _ in range(max(1, each.gpu.count)):
                devices.append(
                    Device(
                        id=f"d{len(devices)}",
                        kind="gpu",
                        model=each.gpu.model or "T4",
                        memory_bytes=each.gpu.memory_bytes,
                        capability=each.gpu.capability or "",
                    )
                )
    return _node(view, devices=tuple(devices))


def _label_keys(placement: Placement) -> list[str]:
    wanted = {expression.key for expression in placement.expressions} | set(placement.select)
    return sorted(wanted - set(_TOPOLOGY))


def _affinity_keys(placement: Placement) -> list[str]:
    return sorted({each.key for affinity in _required_of_nodes(placement) for each in affinity.expressions})


def _required_of_nodes(placement: Placement) -> list[NodeAffinity]:
    return [affinity for affinity in placement.node_affinities if affinity.weight is None]


def _required(placement: Placement) -> list[InstanceAffinity]:
    return [affinity for affinity in placement.instance_affinities if affinity.weight is None]


def _is_own(affinity: InstanceAffinity, workload: WorkloadDefinition) -> bool:
    """Whether the workload has the labels itself, so that it may be the first."""
    return affinity.match_labels.items() <= workload.metadata.labels.items()


def _with_neighbours(view: NodeView, workload: WorkloadDefinition) -> NodeView:
    """Return a node that holds instances as the workload needs; those that it is itself one of are left as they are."""
    for affinity in _required(workload.placement):
        about = {key for key, each in view.instances.items() if is_about(affinity, workload, each)}
        if affinity.anti:
            view = node_view(view.node, [each for key, each in view.instances.items() if key not in about])
        elif not about and not _is_own(affinity, workload):
            view = _held(view, labels=affinity.match_labels)
    return view


def _moved_to_another_namespace(view: NodeView, affinity: InstanceAffinity, workload: WorkloadDefinition) -> NodeView:
    """Return a node that holds what the affinity would be about if it were not for the namespace."""
    instances = view.instances.values()
    moved = [evolve(each, namespace="other") if is_about(affinity, workload, each) else each for each in instances]
    return node_view(view.node, moved)


def _needs_domain(placement: Placement, by: str) -> bool:
    return any(spread.required and spread.by == by for spread in placement.spreads) or any(
        affinity.by == by and not affinity.anti for affinity in _required(placement)
    )


def _labels(node: Node, placement: Placement) -> dict[str, str]:
    labels = dict(node.labels)
    for key in LABELS:
        for value in (labels.get(key), *_VALUES):
            if _label_suits(key, value, placement) and not (value is None and _needs_domain(placement, key)):
                labels = _with_label(labels, key, value)
                break
    return labels


def _mislabelled(view: NodeView, placement: Placement, key: str, choice: int, *, is_affinity: bool) -> NodeView:
    """Return a node whose label has one of the wrong values, for this reason alone if there are such."""
    values = (view.node.labels.get(key), *_VALUES)
    wrong = [value for value in values if not (_affinities_suit if is_affinity else _rules_suit)(key, value, placement)]
    alone = [value for value in wrong if (_rules_suit if is_affinity else _affinities_suit)(key, value, placement)]
    if not wrong:
        return view
    return _node(view, labels=_with_label(dict(view.node.labels), key, (alone or wrong)[choice]))


def _label_suits(key: str, value: str | None, placement: Placement) -> bool:
    return _rules_suit(key, value, placement) and _affinities_suit(key, value, placement)


def _rules_suit(key: str, value: str | None, placement: Placement) -> bool:
    return placement.select.get(key, value) == value and _are_true(placement.expressions, key, value)


def _affinities_suit(key: str, value: str | None, placement: Placement) -> bool:
    return all(_are_true(affinity.expressions, key, value) for affinity in _required_of_nodes(placement))


def _are_true(expressions: tuple[Expression, ...], key: str, value: str | None) -> bool:
    labels = {} if value is None else {key: value}
    return all(is_true_of(expression, labels) for expression in expressions if expression.key == key)


def _with_label(labels: dict[str, str], key: str, value: str | None) -> dict[str, str]:
    others = {name: label for name, label in labels.items() if name != key}
    return others if value is None else {**others, key: value}


def _topology(topology: Topology, placement: Placement) -> Topology:
    wanted = {key: placement.select[key] for key in _TOPOLOGY if key in placement.select}
    domains = {"zone": topology.zone or "a", "rack": topology.rack or "r1"}
    missing = {by: domain for by, domain in domains.items() if _needs_domain(placement, by)}
    return evolve(topology, **{**missing, **wanted})
