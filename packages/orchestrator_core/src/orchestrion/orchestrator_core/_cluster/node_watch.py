"""What a cluster loop knows of nodes: which there are, whose loops are at work, and who has been away for too long."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

import trio
from attrs import define, field
from orchestrion.cluster_interface import (
    ClusterClosed,
    ClusterEvent,
    ClusterManager,
    NodeAdded,
    NodeRemoved,
    NodeUpdated,
    Resync,
    Snapshot,
)
from orchestrion.orchestrator_core._queue import KeyedQueue
from orchestrion.orchestrator_core._state.events import EventRecorder
from orchestrion.orchestrator_core._state.marks import marked
from orchestrion.orchestrator_core._state.node_report import reported
from orchestrion.orchestrator_core._state.taints import evicting_taints
from orchestrion.orchestrator_core._state.world import World
from orchestrion.scheduler_interface import ViewKeeper
from orchestrion.shared_types import EventSeverity, Node, NodeId, OrchestrationError

MAX_PAUSE_SECONDS: Final = 10.0
"""The longest pause before a cluster manager that failed is asked again."""


@define(eq=False)
class NodeWatch:
    """Follows the cluster manager and the leases of node loops.

    Attributes:
        cluster: Knows the nodes.
        world: The mirror of the store.
        keeper: Shows the nodes to the scheduler.
        recorder: Takes events.
        random: Draws jitter.
        skew_seconds: By how much two clocks may run apart.
        changed: Called with each node of which anything here has changed.
        nodes: Every node of the cluster, by id, with what it and people say of it; those that they removed are not
            there.
        leased: Nodes whose loop is at work.
        lost: Nodes that were without a loop for longer than a lease and the skew between clocks.
        tainted: Nodes with taints that end what does not tolerate them.
        known: Set once the nodes are known.
        observes: Whether nodes count as at work as soon as they are there, as nobody's loops are.
    """

    cluster: ClusterManager
    world: World
    keeper: ViewKeeper
    recorder: EventRecorder
    random: random.Random
    skew_seconds: float
    changed: Callable[[NodeId], None]
    nodes: dict[NodeId, Node] = field(factory=dict, init=False)
    leased: set[NodeId] = field(factory=set, init=False)
    lost: set[NodeId] = field(factory=set, init=False)
    tainted: set[NodeId] = field(factory=set, init=False)
    known: trio.Event = field(factory=trio.Event, init=False)
    observes: bool = field(default=False, init=False)
    _told: dict[NodeId, Node] = field(factory=dict, init=False)
    _absent: KeyedQueue[NodeId] = field(init=False)
    _listeners: list[Callable[[NodeId], None]] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self._absent = KeyedQueue(self.random)
        self.world.on_lease(self._lease_changed)
        self.world.on_marks(self._look_at)

    def on_node(self, listener: Callable[[NodeId], None]) -> None:
        """Call `listener` with each node that has come, changed or gone, once all else knows of it."""
        self._listeners.append(listener)

    def tell_of(self, node_id: NodeId) -> None:
        """Let the listeners look at a node again."""
        for listener in self._listeners:
            listener(node_id)

    def expect(self, node_id: NodeId) -> None:
        """Note that something is bound to a node: it may be the first of one that was forgotten meanwhile."""
        if node_id not in self.leased and self.world.synced.is_set():
            self._absent.add_after(node_id, self.skew_seconds)

    async def follow_cluster(self) -> None:
        """Follow the cluster manager until cancelled.

        Raises:
            ClusterClosed: The cluster manager was closed.
        """
        delay = 0.1
        while True:
            try:
                async with self.cluster.subscribe_to_events() as events:
                    async for event in events:
                        self._take_cluster_event(event)
                        delay = 0.1
            except ClusterClosed:
                raise
            except OrchestrationError as err:
                # The stream begins with a snapshot when it is opened anew, so nothing is missed.
                self.recorder.record(
                    "default", "cluster/default", "ClusterUnavailable", err.message, EventSeverity.WARNING
                )
            await trio.sleep(delay)
            delay = min(MAX_PAUSE_SECONDS, delay * 2)

    def _take_cluster_event(self, event: ClusterEvent) -> None:
        match event:
            case Snapshot(nodes=nodes):
                current = {node.id: node for node in nodes}
                before, self._told = self._told, current
                for node_id in dict.fromkeys((*before, *current)):
                    self._look_at(node_id)
                self.known.set()
            case NodeAdded(node=node) | NodeUpdated(node=node):
                self._told[node.id] = node
                self._look_at(node.id)
            case NodeRemoved(node_id=node_id):
                self._told.pop(node_id, None)
                self._look_at(node_id)
            case Resync():
                return

    def _look_at(self, node_id: NodeId) -> None:
        """Take a node as the cluster manager, it itself and people say that it is."""
        node = self._told.get(node_id)
        if node is not None:
            node = marked(reported(node, self.world.reports.get(node_id)), self.world.marks.get(node_id))
        if node is None:
            self._forget_node(node_id)
        else:
            self._note_node(node)

    def _note_node(self, node: Node) -> None:
        if self.nodes.get(node.id) != node:
            self.nodes[node.id] = node
            self.keeper.set_node(node)
            if self.observes:
                self._lease_changed(node.id)
            if evicting_taints(node):
                self.tainted.add(node.id)
            else:
                self.tainted.discard(node.id)
            self._announce_node(node.id)

    def _forget_node(self, node_id: NodeId) -> None:
        if self.nodes.pop(node_id, None) is not None:
            self.keeper.remove_node(node_id)
            self.tainted.discard(node_id)
            self._announce_node(node_id)

    def _announce_node(self, node_id: NodeId) -> None:
        self.changed(node_id)
        self.tell_of(node_id)

    def _lease_changed(self, node_id: NodeId) -> None:
        leased = node_id in self.world.leases or (self.observes and node_id in self.nodes)
        self.keeper.set_leased(node_id, leased)
        if leased:
            self.leased.add(node_id)
            self.lost.discard(node_id)
            self.changed(node_id)
        else:
            self.leased.discard(node_id)
            self._absent.add_after(node_id, self.skew_seconds)
            self.changed(node_id)

    async def watch_absences(self) -> None:
        """Find the nodes whose loops stay away, until cancelled."""
        await self.world.synced.wait()
        for node_id in self.world.nodes:
            if node_id not in self.leased:
                self._absent.add_after(node_id, self.skew_seconds)
        while True:
            node_id = await self._absent.take()
            for gone in [known for known in self.lost if not self._matters(known)]:
                self.lost.remove(gone)
            if node_id not in self.leased and node_id not in self.lost and self._matters(node_id):
                self.lost.add(node_id)
                self.changed(node_id)
            self._absent.done(node_id)

    def _matters(self, node_id: NodeId) -> bool:
        """Whether a node is there, or anything is still bound to it."""
        return node_id in self.nodes or node_id in self.world.nodes
