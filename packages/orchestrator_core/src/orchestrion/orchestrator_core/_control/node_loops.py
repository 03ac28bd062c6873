"""The loops of the nodes that run here, which come and go with their nodes."""

from __future__ import annotations

from collections.abc import Callable

import trio
from attrs import define, field
from orchestrion.orchestrator_core._cluster.loop import ClusterLoop
from orchestrion.orchestrator_core._control.node_shown import node_shown
from orchestrion.orchestrator_core._control.updates import Subscribers
from orchestrion.orchestrator_core._node.loop import NodeLoop
from orchestrion.shared_types import Node, NodeId, NodeStatus


@define(eq=False)
class NodeLoops:
    """Starts the loop of each node that runs here, and ends it once the node has left and nothing is to be done there.

    Attributes:
        cluster_loop: Knows the nodes.
        runs_here: Whether the loop of a node runs here.
        make: Makes the loop of a node.
        subscribers: Are told how nodes do.
        patience_seconds: How long a node that has left is waited for until what ran there has stopped.
        loops: The loops, by node.
        shown: Every node as people and the scheduler are shown it.
    """

    cluster_loop: ClusterLoop
    runs_here: Callable[[Node], bool]
    make: Callable[[NodeId], NodeLoop]
    subscribers: Subscribers
    patience_seconds: float
    loops: dict[NodeId, NodeLoop] = field(factory=dict, init=False)
    shown: dict[NodeId, Node] = field(factory=dict, init=False)
    _scopes: dict[NodeId, trio.CancelScope] = field(factory=dict, init=False)
    _leaving: dict[NodeId, trio.CancelScope] = field(factory=dict, init=False)

    def look_after(self, node_id: NodeId, nursery: trio.Nursery) -> None:
        """Do what a change of a node asks for: start its loop, resume it, let it go, or end it.

        Args:
            node_id: Which node has come, changed or gone.
            nursery: Runs the loops.
        """
        node = self.cluster_loop.nodes.get(node_id)
        runs_here = node is not None and self.runs_here(node)
        seen = node is not None and node.status in {NodeStatus.READY, NodeStatus.NOT_READY}
        loop = self.loops.get(node_id)
        if runs_here and loop is None and node is not None and node.status is not NodeStatus.DOWN:
            scope = self._scopes[node_id] = trio.CancelScope()
            loop = self.loops[node_id] = self.make(node_id)
            nursery.start_soon(_run, loop, scope)
        if loop is not None:
            if runs_here and seen:
                loop.resume()
            else:
                # Its lease lapses, and others take its work; what can still be reached is stopped before.
                loop.let_go()
            if runs_here and node_id in self._leaving:
                self._leaving.pop(node_id).cancel()
            elif not runs_here and node_id not in self._leaving:
                leaving = self._leaving[node_id] = trio.CancelScope()
                nursery.start_soon(self._end, node_id, loop, leaving)
        self.show(node_id)

    def show(self, node_id: NodeId) -> None:
        """Note how a node is shown to people and the scheduler, and tell those who look on."""
        node = self.cluster_loop.nodes.get(node_id)
        if node is None:
            self.shown.pop(node_id, None)
        else:
            loop = self.loops.get(node_id)
            trouble = loop.trouble if loop is not None else ""
            self.shown[node_id] = node_shown(node, trouble, self.cluster_loop.suspects)
            self.cluster_loop.keeper.set_node(self.shown[node_id])
        self.subscribers.node_changed(node_id)

    async def wait_tried(self) -> None:
        """Wait until each loop has tried its engine once."""
        for loop in list(self.loops.values()):
            await loop.tried.wait()

    async def wait_cleared(self) -> None:
        """Wait until the loops have removed what is left of instances that were forgotten."""
        for loop in list(self.loops.values()):
            await loop.wait_cleared()

    async def _end(self, node_id: NodeId, loop: NodeLoop, leaving: trio.CancelScope) -> None:
        """End the loop of a node that has left once nothing runs there, or nothing more can be hoped for."""
        with leaving:
            with trio.move_on_after(self.patience_seconds):
                await loop.wait_stopped()
            del self._leaving[node_id]
            self._scopes.pop(node_id).cancel()
            del self.loops[node_id]


async def _run(loop: NodeLoop, scope: trio.CancelScope) -> None:
    try:
        with scope:
            await loop.run()
    finally:
        # Nobody needs to wait for a node that has gone.
        loop.tried.set()
