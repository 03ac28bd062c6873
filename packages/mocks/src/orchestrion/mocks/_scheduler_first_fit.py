"""First fit: each slot gets the first node that has room for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    Explanation,
    NodeView,
    NoPlacement,
    PlacedInstance,
    ScheduleDecision,
    SchedulerCapability,
    SchedulingRequest,
    check_request,
    drivers_of,
    explain,
    expression_matches,
    host_ports_of,
    is_tolerated,
    selector_matches,
    with_decisions,
)
from orchestrion.shared_types import MAX_SLOTS, InstanceKey, NodeId, NodeStatus, TaintEffect

NO_CAPABILITIES: frozenset[SchedulerCapability] = frozenset()

Holder = Callable[[InstanceKey], tuple[NodeId, PlacedInstance] | None]


class RoomForSlots:
    """Says how many slots of a request a node has room for."""

    def __init__(self, request: SchedulingRequest) -> None:
        """Work out what a slot needs.

        Raises:
            InvalidSchedulingRequest: The request is outside what the interface allows.
        """
        workload, placement = request.workload, request.workload.placement
        demand = check_request(request)
        self._cpu, self._memory, self._disk = demand.cpu_millicores, demand.memory_bytes, demand.disk_bytes
        self._extended = tuple(demand.extended.items())
        self._drivers = drivers_of(workload)
        self._ports = host_ports_of(workload.containers)
        self._placement = placement
        self._picky = bool(placement.select or placement.expressions)
        self._only_node = request.only_node
        self.unsupported = (
            request.minimum > 1
            or any(container.gpu is not None for container in workload.containers)
            or any(spread.required for spread in placement.spreads)
            or any(affinity.weight is None for affinity in placement.node_affinities)
            or any(affinity.weight is None for affinity in placement.instance_affinities)
        )

    def on(self, view: NodeView) -> int:
        """Return for how many slots a node has room; 0 if it fails a predicate."""
        node = view.node
        if (
            node.status is not NodeStatus.READY
            or node.cordoned
            or self.unsupported
            or not self._drivers <= node.drivers
            or any(condition.active for condition in node.conditions)
            or (node.taints and not self._tolerates(view))
            or (self._picky and not self._matches(view))
            or (self._only_node is not None and node.id != self._only_node)
        ):
            return 0
        if not self._ports:
            return self._times_that_fit(view, MAX_SLOTS)
        return self._times_that_fit(view, 1) if self._ports.isdisjoint(view.host_ports) else 0

    def _tolerates(self, view: NodeView) -> bool:
        return all(
            taint.effect is TaintEffect.PREFER_NO_SCHEDULE or is_tolerated(taint, self._placement.tolerations)
            for taint in view.node.taints
        )

    def _matches(self, view: NodeView) -> bool:
        return all(selector_matches(view.node, key, value) for key, value in self._placement.select.items()) and all(
            expression_matches(view.node.labels, expression) for expression in self._placement.expressions
        )

    def _times_that_fit(self, view: NodeView, times: int) -> int:
        allocatable, reserved = view.node.allocatable, view.reserved
        if self._cpu:
            times = min(times, (allocatable.cpu_millicores - reserved.cpu_millicores) // self._cpu)
        if self._memory:
            times = min(times, (allocatable.memory_bytes - reserved.memory_bytes) // self._memory)
        if self._disk:
            times = min(times, (allocatable.disk_bytes - reserved.disk_bytes) // self._disk)
        for name, amount in self._extended:
            times = min(times, (allocatable.extended.get(name, 0) - reserved.extended.get(name, 0)) // amount)
        return max(0, times)


def first_fit(
    request: SchedulingRequest, view: ClusterView, nodes: Iterator[NodeView], holder: Holder
) -> list[ScheduleDecision]:
    """Return a decision for each slot: the first node, from the last one on, that has room.

    All slots are alike, so that a node which has no room for one has none for those after it: each node is looked at
    once.

    Args:
        request: The request.
        view: The cluster.
        nodes: The view's nodes in the order in which to try them, each once.
        holder: Says who holds a slot already.

    Raises:
        InvalidSchedulingRequest: The request is outside what the interface allows.
    """
    room_for = RoomForSlots(request)
    decisions: list[ScheduleDecision] = []
    refusal: Explanation | None = None
    node_id, left = NodeId(""), 0
    for slot in request.slots:
        held = holder(slot)
        if held is not None:
            decisions.append(_stays(request, view, slot, held))
            continue
        while left == 0 and (node := next(nodes, None)) is not None:
            node_id, left = node.node.id, room_for.on(node)
        if left == 0:
            refusal = refusal or _explain(request, view, decisions)
            decisions.append(NoPlacement(slot=slot, explanation=refusal))
            continue
        explanation = _explain(request, view, decisions) if request.explain else None
        decisions.append(AssignNode(slot=slot, node_id=node_id, explanation=explanation))
        left -= 1
    return decisions


def _explain(request: SchedulingRequest, view: ClusterView, decisions: list[ScheduleDecision]) -> Explanation:
    return explain(request, with_decisions(view, request.workload, decisions), capabilities=NO_CAPABILITIES)


def _stays(
    request: SchedulingRequest, view: ClusterView, slot: InstanceKey, held: tuple[NodeId, PlacedInstance]
) -> AssignNode:
    node_id, instance = held
    return AssignNode(
        slot=slot,
        node_id=node_id,
        device_thousandths=instance.device_thousandths,
        explanation=Explanation(nodes_considered=len(view)) if request.explain else None,
    )
