"""A cluster manager over nodes that a test makes up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TypeVar

from attrs import evolve
from orchestrion.cluster_interface import (
    ClusterCapability,
    ClusterClosed,
    ClusterEvent,
    ClusterUnavailable,
    NodeAdded,
    NodeRemoved,
    NodeUpdated,
    NotInitialized,
    Resync,
    Snapshot,
    drain_order,
)
from orchestrion.shared_types import Node, NodeCondition, NodeId, NodeNotFound, NodeStatus

from ._cluster_world import ClusterWorld, NodeChange
from ._faults import FaultInjector, FaultSource, NoFaults, SimulatedCrash

R = TypeVar("R")


class MockClusterManager:
    """A cluster manager in memory. The world survives it: another manager over the same world sees the same nodes.

    Faults are asked for by the method's name; a stream asks as "subscribe_to_events" on entering, as "next_event" for
    each step, and as "event" for each change that it is about to give:

    - FAIL and FAIL_AFTER raise `ClusterUnavailable`; a stream has then ended.
    - LIE lets `get_node` and `list_nodes` answer as things were before the latest change.
    - LOSE_EVENT and REPEAT_EVENT: as long as `break_streams` is False, the reader gets what the interface permits: a
      change that is lost, or one that came already, is followed by `Resync` and a `Snapshot`. With `break_streams` a
      change is just left out, or given twice with the same revision, which shows who lacks a periodic pass.
    - `aclose` has closed the manager before any fault of it comes.
    """

    def __init__(
        self,
        world: ClusterWorld | None = None,
        *,
        faults: FaultSource | None = None,
        capabilities: Iterable[ClusterCapability] = (ClusterCapability.CORDON,),
        break_streams: bool = False,
    ) -> None:
        """Make a manager; it must be initialised.

        Args:
            world: The nodes; None makes an empty cluster.
            faults: What goes wrong; None is nothing.
            capabilities: What it declares.
            break_streams: What becomes of lost and repeated events.
        """
        self.world = ClusterWorld() if world is None else world
        self._faults = FaultInjector(NoFaults() if faults is None else faults, ClusterUnavailable)
        self._capabilities = frozenset(capabilities)
        self._break_streams = break_streams
        self._initialized = False
        self._closed = False

    @property
    def capabilities(self) -> frozenset[ClusterCapability]:
        """What it was told to declare; all of it unless it was told otherwise."""
        return self._capabilities

    def add_node(self, node: Node, /) -> None:
        """Add a node to the world: see `ClusterWorld.add_node`."""
        self.world.add_node(node)

    def update_node(self, node: Node, /) -> None:
        """Change a node of the world: see `ClusterWorld.update_node`."""
        self.world.update_node(node)

    def remove_node(self, node_id: NodeId, /) -> None:
        """Remove a node from the world: see `ClusterWorld.remove_node`."""
        self.world.remove_node(node_id)

    def set_status(self, node_id: NodeId, status: NodeStatus, /) -> None:
        """Let a node of the world be seen like this: see `ClusterWorld.set_status`."""
        self.world.set_status(node_id, status)

    def set_condition(self, node_id: NodeId, condition: NodeCondition, /) -> None:
        """Set a condition of a node of the world: see `ClusterWorld.set_condition`."""
        self.world.set_condition(node_id, condition)

    async def initialize(self) -> None:
        """Begin to answer."""

        async def effect() -> None:
            self._check_open()
            self._initialized = True

        await self._call("initialize", effect)

    async def get_node(self, node_id: NodeId, /) -> Node | None:
        """Return the node as it is now, or None."""

        async def effect() -> Node | None:
            self.check_usable()
            return self.world.get_node(node_id)

        async def lie() -> Node | None:
            self.check_usable()
            return self.world.get_node(node_id, stale=True)

        return await self._call("get_node", effect, lie)

    async def list_nodes(self) -> list[Node]:
        """Return all nodes as they are now, ascending by id."""

        async def effect() -> list[Node]:
            self.check_usable()
            return list(self.world.list_nodes())

        async def lie() -> list[Node]:
            self.check_usable()
            return list(self.world.list_nodes(stale=True))

        return await self._call("list_nodes", effect, lie)

    @asynccontextmanager
    async def subscribe_to_events(self) -> AsyncIterator[AsyncIterator[ClusterEvent]]:
        """Follow the nodes."""

        async def effect() -> MockClusterStream:
            self.check_usable()
            return MockClusterStream(self)

        yield await self._call("subscribe_to_events", effect)

    async def cordon_node(self, node_id: NodeId, /) -> None:
        """Keep new work off a node."""

        async def effect() -> None:
            node = self._node(node_id)
            self.world.update_node(evolve(node, cordoned=True))

        await self._call("cordon_node", effect)

    async def drain_node(self, node_id: NodeId, /, *, reason: str, deadline: datetime | None = None) -> None:
        """Order everything off a node."""

        async def effect() -> None:
            node = self._node(node_id)
            self.world.update_node(evolve(node, cordoned=True, drain=drain_order(reason, deadline)))

        await self._call("drain_node", effect)

    async def uncordon_node(self, node_id: NodeId, /) -> None:
        """Let work on the node again."""

        async def effect() -> None:
            node = self._node(node_id)
            self.world.update_node(evolve(node, cordoned=False, drain=None))

        await self._call("uncordon_node", effect)

    async def aclose(self) -> None:
        """Let go of the world; it stays as it is."""
        self._closed = True
        self.world.wake()

        async def effect() -> None:
            return None

        await self._call("aclose", effect)

    def check_usable(self) -> None:
        """Raise what a call raises that can't be answered now."""
        self._check_open()
        if not self._initialized:
            msg = "the mock cluster manager was not initialised"
            raise NotInitialized(msg, remedy="await initialize() first")

    def check_alive(self) -> None:
        """Raise what a stream raises that can't go on: after a crash, and after `aclose`."""
        self._faults.raise_if_crashed()
        self._check_open()

    async def next_event(self, effect: Callable[[], Awaitable[ClusterEvent]], /) -> ClusterEvent:
        """Take a step of a stream, or what goes wrong with it."""
        return await self._call("next_event", effect)

    def give_change(self, change: NodeChange, revision: int, /) -> tuple[list[ClusterEvent], bool]:
        """Return the events that a change becomes for a stream, and whether `Resync` follows them."""
        event = _event(change, revision)
        copies = self._faults.copies_of_event()
        if copies == 1:
            return [event], False
        if self._break_streams:
            return [event] * copies, False
        return [event][:copies], True

    async def _call(
        self,
        method: str,
        effect: Callable[[], Awaitable[R]],
        lie: Callable[[], Awaitable[R]] | None = None,
    ) -> R:
        try:
            return await self._faults.call(method, effect, lie=lie)
        except SimulatedCrash:
            # Tasks that wait in a stream of the crashed program must crash with it.
            self.world.wake()
            raise

    def _check_open(self) -> None:
        if self._closed:
            msg = "the mock cluster manager is closed"
            raise ClusterClosed(msg)

    def _node(self, node_id: NodeId) -> Node:
        self.check_usable()
        node = self.world.get_node(node_id)
        if node is None:
            msg = f"the cluster has no node {node_id!r}"
            raise NodeNotFound(msg)
        return node


class MockClusterStream:
    """One stream of a `MockClusterManager`. It keeps no events: it reads the world's changes from where it is."""

    def __init__(self, manager: MockClusterManager) -> None:
        """Begin with a snapshot."""
        self._manager = manager
        self._revision = 0
        self._ready: list[ClusterEvent] = []
        self._wants_resync = False
        self._wants_snapshot = True
        self._ended: ClusterUnavailable | None = None

    def __aiter__(self) -> AsyncIterator[ClusterEvent]:
        return self

    async def __anext__(self) -> ClusterEvent:
        if self._ended is not None:
            raise self._ended
        try:
            return await self._manager.next_event(self._next)
        except ClusterUnavailable as err:
            self._ended = err
            raise

    async def _next(self) -> ClusterEvent:
        while True:
            self._manager.check_alive()
            event = self._take()
            if event is not None:
                return event
            await self._manager.world.wait_beyond(self._revision)

    def _take(self) -> ClusterEvent | None:
        world = self._manager.world
        while True:
            if self._ready:
                return self._ready.pop(0)
            if self._wants_resync:
                self._wants_resync, self._wants_snapshot = False, True
                return Resync()
            if self._wants_snapshot:
                self._wants_snapshot = False
                self._revision = world.revision
                return Snapshot(world.list_nodes(), world.revision)
            if self._revision == world.revision:
                return None
            change = world.change_at(self._revision + 1)
            if change is None:
                self._wants_resync = True
            else:
                self._revision += 1
                self._ready, self._wants_resync = self._manager.give_change(change, self._revision)


def _event(change: NodeChange, revision: int) -> ClusterEvent:
    if change.after is None:
        return NodeRemoved(change.node_id, revision)
    if change.before is None:
        return NodeAdded(change.after, revision)
    return NodeUpdated(change.after, revision)
