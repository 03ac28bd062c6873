"""A view as decisions leave it that nobody has carried out, for the requests of a batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    NodeChange,
    NodeView,
    PlacedInstance,
    ScheduleDecision,
    placed_instance,
    with_instances,
    without_instances,
)
from orchestrion.scheduler_packing._index import Index
from orchestrion.shared_types import InstanceKey, NodeId, WorkloadDefinition


class Ahead:
    """What decisions make of the view that an index shows. The index shows that, until `back`.

    It is a `ClusterView` for as long as nothing is carried out; with the revision of the view that it began with, it is
    shown to nobody who keeps anything of it. Where a step fails, the index takes over the next view as a whole.
    """

    def __init__(self, view: ClusterView, index: Index) -> None:
        """Begin with a view, which the index shows."""
        self._base = view
        self._index = index
        self._told: list[NodeChange] = []
        self._pending: dict[NodeId, list[NodeChange]] = {}
        self._nodes: dict[NodeId, NodeView] = {}

    @property
    def revision(self) -> int:
        """That of the view that it began with."""
        return self._base.revision

    def __len__(self) -> int:
        return len(self._base)

    def __iter__(self) -> Iterator[NodeView]:
        return (self._latest(each) for each in self._base)

    def get(self, node_id: NodeId, /) -> NodeView | None:
        """Return one node, or None where there is none of that id."""
        before = self._base.get(node_id)
        return None if before is None else self._latest(before)

    def changes_since(self, _revision: int, /) -> frozenset[NodeId] | None:
        """Return None: look at everything."""
        return None

    def carry_out(self, workload: WorkloadDefinition, decisions: Iterable[ScheduleDecision]) -> None:
        """Place slots as was decided, and take away their victims."""
        holders = self._index.holders
        told: list[NodeChange] = []
        for decision in decisions:
            if not isinstance(decision, AssignNode) or decision.slot in holders:
                continue
            node_id = decision.node_id
            told.extend(NodeChange(node_id, None, victim) for victim in self._held(node_id, decision.victims))
            told.append(NodeChange(node_id, placed_instance(workload, decision)))
        if not told:
            return
        for change in told:
            self._pending.setdefault(change.node_id, []).append(change)
        self._told += told
        self._index.look_ahead(self, told)

    def back(self) -> None:
        """Have the index show the view again that it began with."""
        if self._told:
            undone = [NodeChange(change.node_id, change.left, change.arrived) for change in reversed(self._told)]
            self._index.look_back(self._base, undone)

    def _held(self, node_id: NodeId, keys: Sequence[InstanceKey]) -> Sequence[PlacedInstance]:
        if not keys:
            return ()
        view = self.get(node_id)
        if view is None:
            msg = f"instances of node {node_id!r} are pushed out, and the view does not have it"
            raise AssertionError(msg)
        return [view.instances[key] for key in keys]

    def _latest(self, before: NodeView) -> NodeView:
        node_id = before.node.id
        known = self._nodes.get(node_id, before)
        changes = self._pending.pop(node_id, None)
        if changes is None:
            return known
        gone: set[InstanceKey] = set()
        arrived: dict[InstanceKey, PlacedInstance] = {}
        for change in changes:
            # What came may have been pushed out since, and who was pushed out may have come again.
            if change.left is not None and arrived.pop(change.left.key, None) is None:
                gone.add(change.left.key)
            if change.arrived is not None:
                arrived[change.arrived.key] = change.arrived
        made = self._nodes[node_id] = with_instances(without_instances(known, gone), arrived.values())
        return made
