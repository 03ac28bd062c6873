"""A scheduler for large simulations: its cost per slot does not grow with the cluster."""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Iterator

import trio
from orchestrion.scheduler_interface import (
    ClusterView,
    NodeView,
    PlacedInstance,
    ScheduleDecision,
    SchedulerCapability,
    SchedulingRequest,
)
from orchestrion.shared_types import InstanceKey, NodeId

from ._scheduler_first_fit import NO_CAPABILITIES, first_fit


class CursorScheduler:
    """First fit from a cursor that only moves forward.

    The cursor of a request begins at a node that its first slot decides (by a checksum), so that requests spread over
    the cluster and none walks over the nodes that those before it filled. Nothing that it remembers changes a decision:
    it keeps the ids of nodes and who holds which slot, for the latest revision that it saw, and follows the view's
    changes.

    Once per change of the cluster it looks at the nodes that changed; per request at the nodes that it fills or finds
    full on the way; per slot at nothing but its holder. A refusal looks at all nodes, to explain itself.
    """

    def __init__(self) -> None:
        """Make a scheduler for one cluster."""
        self._index = _Index()

    @property
    def capabilities(self) -> frozenset[SchedulerCapability]:
        """None."""
        return NO_CAPABILITIES

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> list[ScheduleDecision]:
        """Decide for each slot of the request."""
        await trio.lowlevel.checkpoint()
        index = self._index
        index.follow(view)

        def holder(slot: InstanceKey) -> tuple[NodeId, PlacedInstance] | None:
            node_id = index.holders.get(slot)
            node = None if node_id is None else view.get(node_id)
            return None if node_id is None or node is None else (node_id, node.instances[slot])

        return first_fit(request, view, _from_cursor(request, view, index.node_ids), holder)


def _from_cursor(request: SchedulingRequest, view: ClusterView, node_ids: list[NodeId]) -> Iterator[NodeView]:
    if request.only_node is not None:
        only = view.get(request.only_node)
        if only is not None:
            yield only
        return
    if not node_ids or not request.slots:
        return
    start = zlib.crc32(str(request.slots[0]).encode()) % len(node_ids)
    for position in range(start - len(node_ids), start):
        node = view.get(node_ids[position])
        if node is not None:
            yield node


class _Index:
    """The ids of a view's nodes, ascending, and which node holds which slot."""

    def __init__(self) -> None:
        self.node_ids: list[NodeId] = []
        self.holders: dict[InstanceKey, NodeId] = {}
        self._slots_of: dict[NodeId, frozenset[InstanceKey]] = {}
        self._revision: int | None = None

    def follow(self, view: ClusterView) -> None:
        """Become the index of this view."""
        changed = None if self._revision is None else view.changes_since(self._revision)
        if changed is None:
            self._read_anew(view)
        else:
            for node_id in changed:
                self._read(node_id, view.get(node_id))
        self._revision = view.revision

    def _read_anew(self, view: ClusterView) -> None:
        self.node_ids = [node.node.id for node in view]
        self._slots_of = {node.node.id: frozenset(node.instances) for node in view}
        self.holders = {slot: node_id for node_id, slots in self._slots_of.items() for slot in slots}

    def _read(self, node_id: NodeId, node: NodeView | None) -> None:
        before = self._slots_of.pop(node_id, None)
        after = frozenset[InstanceKey]() if node is None else frozenset(node.instances)
        for slot in (before or frozenset()) - after:
            # A slot that has moved may have been read at its new node already.
            if self.holders.get(slot) == node_id:
                del self.holders[slot]
        for slot in after - (before or frozenset()):
            self.holders[slot] = node_id
        if node is not None:
            self._slots_of[node_id] = after
        if (before is None) == (node is None):
            return
        position = bisect_left(self.node_ids, node_id)
        if node is None:
            del self.node_ids[position]
        else:
            self.node_ids.insert(position, node_id)
