"""The nodes that mock cluster managers tell about. It outlives the managers, as a real cluster does."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import Final

import trio
from attrs import evolve, frozen
from orchestrion.shared_types import Node, NodeCondition, NodeId, NodeNotFound, NodeStatus, Resources

_DEFAULT_CAPACITY: Final = Resources(cpu_millicores=4000, memory_bytes=16 * 2**30, disk_bytes=100 * 2**30)


@frozen
class NodeChange:
    """What happened to one node at one revision; None where there is no node."""

    node_id: NodeId
    before: Node | None
    after: Node | None


class ClusterWorld:
    """Nodes, which a test adds, changes and removes at any time, and the latest of these changes.

    All methods but `wait_beyond` are synchronous and take effect at once. A change costs the same however many nodes
    there are and however many streams follow them; listing after a change costs O(nodes).
    """

    def __init__(self, nodes: Iterable[Node] = (), *, backlog: int = 10_000) -> None:
        """Make a cluster.

        Args:
            nodes: What is there from the beginning; ids are unique.
            backlog: How many of the latest changes are kept at least, >= 1; a stream that is further behind gets
                `Resync`.

        Raises:
            ValueError: An id comes twice, or `backlog` is below 1.
        """
        if backlog < 1:
            msg = f"a backlog is at least 1, not {backlog}"
            raise ValueError(msg)
        self._nodes: dict[NodeId, Node] = {}
        self._ids: list[NodeId] = []
        self._listed: tuple[Node, ...] | None = None
        self._backlog = backlog
        self._changes: list[NodeChange] = []
        self._revision = 0
        self._woken = trio.Event()
        for node in nodes:
            self.add_node(node)

    @property
    def revision(self) -> int:
        """How many changes there were so far."""
        return self._revision

    def add_node(self, node: Node, /) -> None:
        """Add a node.

        Raises:
            ValueError: Its id is taken.
        """
        if node.id in self._nodes:
            msg = f"the cluster has a node {node.id!r} already; update_node() changes it"
            raise ValueError(msg)
        insort(self._ids, node.id)
        self._record(NodeChange(node.id, None, node))

    def update_node(self, node: Node, /) -> None:
        """Make the node of that id exactly this one, orders included. An equal node is no change.

        Raises:
            NodeNotFound: No node has that id.
        """
        before = self._existing(node.id)
        if before != node:
            self._record(NodeChange(node.id, before, node))

    def remove_node(self, node_id: NodeId, /) -> None:
        """Remove a node.

        Raises:
            NodeNotFound: No node has that id.
        """
        before = self._existing(node_id)
        del self._ids[bisect_left(self._ids, node_id)]
        self._record(NodeChange(node_id, before, None))

    def set_status(self, node_id: NodeId, status: NodeStatus, /) -> None:
        """Let a node be seen like this.

        Raises:
            NodeNotFound: No node has that id.
        """
        self.update_node(evolve(self._existing(node_id), status=status))

    def set_condition(self, node_id: NodeId, condition: NodeCondition, /) -> None:
        """Set a node's condition of that type, beside its others.

        Raises:
            NodeNotFound: No node has that id.
        """
        node = self._existing(node_id)
        others = [other for other in node.conditions if other.type != condition.type]
        conditions = tuple(sorted([*others, condition], key=lambda one: one.type))
        self.update_node(evolve(node, conditions=conditions))

    def get_node(self, node_id: NodeId, /, *, stale: bool = False) -> Node | None:
        """Return a node or None; with `stale`, as it was before the latest change."""
        if stale and self._changes and self._changes[-1].node_id == node_id:
            return self._changes[-1].before
        return self._nodes.get(node_id)

    def list_nodes(self, *, stale: bool = False) -> tuple[Node, ...]:
        """Return all nodes, ascending by id; with `stale`, as they were before the latest change."""
        if stale and self._changes:
            latest = self._changes[-1]
            nodes = [node for node in self.list_nodes() if node.id != latest.node_id]
            if latest.before is not None:
                insort(nodes, latest.before, key=lambda node: node.id)
            return tuple(nodes)
        if self._listed is None:
            self._listed = tuple(map(self._nodes.__getitem__, self._ids))
        return self._listed

    def change_at(self, revision: int, /) -> NodeChange | None:
        """Return the change that led to `revision`, or None where it is no longer kept."""
        index = revision - self._revision - 1 + len(self._changes)
        return self._changes[index] if 0 <= index < len(self._changes) else None

    async def wait_beyond(self, revision: int, /) -> None:
        """Wait until there is a change after `revision`, or until `wake`. It is a checkpoint only where it waits."""
        if self._revision <= revision:
            await self._woken.wait()

    def wake(self) -> None:
        """End all waits in `wait_beyond`."""
        self._woken.set()
        self._woken = trio.Event()

    def _existing(self, node_id: NodeId) -> Node:
        node = self._nodes.get(node_id)
        if node is None:
            msg = f"the cluster has no node {node_id!r}"
            raise NodeNotFound(msg)
        return node

    def _record(self, change: NodeChange) -> None:
        if change.after is None:
            del self._nodes[change.node_id]
        else:
            self._nodes[change.node_id] = change.after
        self._listed = None
        self._revision += 1
        self._changes.append(change)
        # Cut by halves, so that the cost of cutting is constant for each change.
        if len(self._changes) >= 2 * self._backlog:
            del self._changes[: -self._backlog]
        self.wake()


def mock_nodes(
    count: int,
    /,
    *,
    capacity: Resources = _DEFAULT_CAPACITY,
    drivers: Iterable[str] = ("process",),
    zones: int = 1,
) -> list[Node]:
    """Return `count` equal nodes "node-00000" and so on, spread over `zones` zones "zone-0" and so on in turn."""
    names = [f"node-{index:05d}" for index in range(count)]
    blank = Node(id=NodeId("blank"), name="blank", capacity=capacity, allocatable=capacity, drivers=frozenset(drivers))
    places = [evolve(blank.topology, region="region-0", zone=f"zone-{zone}") for zone in range(zones)]
    return [
        evolve(blank, id=NodeId(name), name=name, topology=places[index % zones]) for index, name in enumerate(names)
    ]
