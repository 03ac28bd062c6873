"""What instances hold on nodes, and whether what a scheduler decided fits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    HostPort,
    NodeView,
    NoPlacement,
    PlacedInstance,
    SchedulingRequest,
    demand_of,
    grace_seconds_of,
    host_ports_of,
)
from orchestrion.shared_types import (
    WHOLE_DEVICE,
    Binding,
    InstanceKey,
    Resources,
    SchedulingFailure,
    WorkloadDefinition,
)


@frozen(eq=False)
class Placeable:
    """What placing any instance of a template reserves.

    Attributes:
        demand: Resources.
        host_ports: Static host ports.
        grace_seconds: How long it may take to stop.
    """

    demand: Resources
    host_ports: frozenset[HostPort]
    grace_seconds: int = 0

    @classmethod
    def of(cls, template: WorkloadDefinition) -> Placeable:
        """Return what an instance of a template reserves."""
        containers = template.containers
        return cls(demand_of(template), host_ports_of(containers), grace_seconds_of(containers))


def placed_instance(
    key: InstanceKey, template: WorkloadDefinition, placeable: Placeable, binding: Binding
) -> PlacedInstance:
    """Return what an instance holds."""
    devices = {
        device: binding.device_thousandths.get(device, WHOLE_DEVICE)
        for granted in binding.devices.values()
        for device in granted
    }
    return PlacedInstance(
        key=key,
        namespace=template.metadata.namespace,
        workload=template.metadata.name,
        labels=template.metadata.labels,
        priority=template.priority,
        demand=placeable.demand,
        host_ports=placeable.host_ports,
        device_thousandths=devices,
        grace_seconds=placeable.grace_seconds,
    )


def check_answer(request: SchedulingRequest, decisions: Iterable[object], view: ClusterView) -> None:
    """Check that decisions answer a request: each slot once, on nodes of the view, with devices that those have.

    Where they give places to fewer slots than the request's minimum, they give none.

    Raises:
        SchedulingFailure: They do not.
    """
    asked = set(request.slots)
    placed = 0
    for decision in decisions:
        if not isinstance(decision, AssignNode | NoPlacement):
            msg = f"the scheduler answered with {type(decision).__name__}, which is no decision"
            raise SchedulingFailure(msg)
        if decision.slot not in asked:
            kind = "more than once" if decision.slot in request.slots else "and was not asked about it"
            msg = f"the scheduler decided about {decision.slot}, {kind}"
            raise SchedulingFailure(msg)
        asked.remove(decision.slot)
        if isinstance(decision, AssignNode):
            placed += 1
            _check_assignment(request, decision, view.get(decision.node_id))
    if asked:
        msg = f"the scheduler left out {len(asked)} of the {len(request.slots)} slots that it was asked for"
        raise SchedulingFailure(msg)
    if 0 < placed < request.minimum:
        msg = f"the scheduler gave places to {placed} of a gang that needs {request.minimum}"
        raise SchedulingFailure(msg)


def _check_assignment(request: SchedulingRequest, decision: AssignNode, node: NodeView | None) -> None:
    chosen = decision.node_id
    if node is None:
        msg = f"the scheduler chose node {chosen!r}, which does not exist"
        raise SchedulingFailure(msg)
    if request.only_node is not None and chosen != request.only_node and decision.slot not in node.instances:
        msg = f"the scheduler chose node {chosen!r} for {decision.slot}, which may only go to {request.only_node!r}"
        raise SchedulingFailure(msg)
    if decision.devices or decision.device_thousandths:
        granted = {device for devices in decision.devices.values() for device in devices}
        foreign = granted.union(decision.device_thousandths).difference(device.id for device in node.node.devices)
        if foreign:
            msg = f"the scheduler granted device {min(foreign)!r}, which node {chosen!r} does not have"
            raise SchedulingFailure(msg)


def check_room(node: NodeView | None, decisions: Sequence[AssignNode], placeable: Placeable) -> None:
    """Check that a node has all that decisions for it, about instances of one template, ask of it.

    Raises:
        SchedulingFailure: There is no such node, or they ask for more than it has.
    """
    chosen = decisions[0].node_id
    if node is None:
        msg = f"the scheduler chose node {chosen!r}, which does not exist"
        raise SchedulingFailure(msg)
    count = len(decisions)
    # What is not asked for may be overdrawn: a node that has become smaller still takes what needs nothing of it.
    fits = all(
        amount == 0 or reserved + count * amount <= allocatable
        for reserved, amount, allocatable in _dimensions(node.reserved, placeable.demand, node.node.allocatable)
    )
    ports = placeable.host_ports and (count > 1 or not node.host_ports.isdisjoint(placeable.host_ports))
    shares = Counter(node.device_thousandths)
    for decision in decisions:
        for granted in decision.devices.values():
            for device in granted:
                shares[device] += decision.device_thousandths.get(device, WHOLE_DEVICE)
    if not fits or ports or any(share > WHOLE_DEVICE for share in shares.values()):
        msg = f"the scheduler asked more of node {chosen!r} than it has; nothing was placed"
        raise SchedulingFailure(msg)


def _dimensions(reserved: Resources, demand: Resources, allocatable: Resources) -> Iterator[tuple[int, int, int]]:
    yield reserved.cpu_millicores, demand.cpu_millicores, allocatable.cpu_millicores
    yield reserved.memory_bytes, demand.memory_bytes, allocatable.memory_bytes
    yield reserved.disk_bytes, demand.disk_bytes, allocatable.disk_bytes
    for name, amount in demand.extended.items():
        yield reserved.extended.get(name, 0), amount, allocatable.extended.get(name, 0)
