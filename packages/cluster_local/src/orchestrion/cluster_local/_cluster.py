"""A cluster of one node: the machine that this program runs on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import trio
from attrs import evolve
from orchestrion.cluster_interface import (
    ClusterCapability,
    ClusterClosed,
    ClusterEvent,
    ClusterUnavailable,
    NodeUpdated,
    NotInitialized,
    Snapshot,
    drain_order,
)
from orchestrion.shared_types import Node, NodeId, NodeNotFound

from ._gpus import complete_from_nvidia_smi
from ._node_file import NodeRecord, save_node_record
from ._sampling import detect_machine, first_node, take_sample, with_failed_sample, with_orders, with_sample
from ._settings import LocalSettings


class LocalCluster:
    """A cluster manager for this machine. Make it with `open_cluster`.

    Its id and its orders are kept in the state directory, written to disk before an order returns; one program at a
    time may own that directory.
    """

    def __init__(self, settings: LocalSettings, nursery: trio.Nursery) -> None:
        """Make a manager that samples in `nursery` as soon as it is initialised."""
        self._settings = settings
        self._nursery = nursery
        self._sampling = trio.CancelScope()
        self._writing = trio.Lock()
        self._record: NodeRecord | None = None
        self._node: Node | None = None
        self._revision = 0
        self._closed = False
        self._changed = trio.Event()

    @property
    def capabilities(self) -> frozenset[ClusterCapability]:
        """Cordon and drain."""
        return frozenset({ClusterCapability.CORDON})

    async def initialize(self) -> None:
        """Detect what this machine has; the first time in a state directory, give the node its id.

        Raises:
            NodeFileInvalid: `node.json` is damaged or of a newer version; nothing was touched.
            ConfigInvalid: The reserve takes more than the machine has.
            ClusterUnavailable: The kernel's files can't be read, or the state directory can't be written.
        """
        async with self._writing:
            self._check_open()
            if self._node is not None:
                return
            machine = await trio.to_thread.run_sync(detect_machine, self._settings)
            program = self._settings.nvidia_smi()
            if program is not None:
                machine = evolve(machine, devices=await complete_from_nvidia_smi(machine.devices, program))
            self._check_open()
            self._record = machine.record
            self._publish(first_node(self._settings, machine))
            self._nursery.start_soon(self._keep_sampling)

    async def get_node(self, node_id: NodeId, /) -> Node | None:
        """Return this machine if that is its id."""
        await trio.lowlevel.checkpoint()
        node = self._ready()
        return node if node.id == node_id else None

    async def list_nodes(self) -> list[Node]:
        """Return this machine."""
        await trio.lowlevel.checkpoint()
        return [self._ready()]

    @asynccontextmanager
    async def subscribe_to_events(self) -> AsyncIterator[AsyncIterator[ClusterEvent]]:
        """Follow the changes of this machine; those that a reader has not taken are merged, so it is never behind."""
        await trio.lowlevel.checkpoint()
        self._ready()
        yield _Stream(self)

    async def cordon_node(self, node_id: NodeId, /) -> None:
        """Keep new work off this machine."""
        await self._order(node_id, lambda record: evolve(record, cordoned=True))

    async def drain_node(self, node_id: NodeId, /, *, reason: str, deadline: datetime | None = None) -> None:
        """Order everything off this machine."""
        await self._order(node_id, lambda record: evolve(record, cordoned=True, drain=drain_order(reason, deadline)))

    async def uncordon_node(self, node_id: NodeId, /) -> None:
        """Let work on this machine again."""
        await self._order(node_id, lambda record: evolve(record, cordoned=False, drain=None))

    async def sample_now(self) -> None:
        """Look at the machine now instead of waiting for the next time. What can't be read becomes a condition."""
        await trio.lowlevel.checkpoint()
        self._ready()
        settings = self._settings
        try:
            # Reading has no effect, so that a file system which hangs need not keep us from closing.
            sample = await trio.to_thread.run_sync(
                take_sample, settings.root, settings.state_dir, settings.disk_meter, abandon_on_cancel=True
            )
        except ClusterUnavailable as err:
            self._publish(with_failed_sample(self._ready(), err.message, settings.now()))
        else:
            self._publish(with_sample(self._ready(), settings, sample))

    async def aclose(self) -> None:
        """Stop sampling and let go; the node keeps its id and its orders."""
        self.close_nowait()
        await trio.lowlevel.checkpoint()

    def close_nowait(self) -> None:
        """Close without waiting. Closing twice succeeds."""
        self._closed = True
        self._sampling.cancel()
        self._wake()

    async def event_after(self, given: Node | None, /) -> ClusterEvent:
        """Wait for what comes after the state of the node that a reader was given last, None at the beginning."""
        await trio.lowlevel.checkpoint()
        while True:
            node = self._ready()
            if given is None:
                return Snapshot((node,), self._revision)
            if node != given:
                return NodeUpdated(node, self._revision)
            await self._changed.wait()

    async def _order(self, node_id: NodeId, change: Callable[[NodeRecord], NodeRecord]) -> None:
        async with self._writing:
            record = self._known_record(node_id)
            changed = change(record)
            if changed == record:
                return
            await trio.to_thread.run_sync(save_node_record, self._settings.state_dir, changed)
            self._record = changed
            # What is on disk is true, also for a manager that was closed meanwhile: it just tells nobody.
            if self._node is not None:
                self._publish(with_orders(self._node, changed))

    async def _keep_sampling(self) -> None:
        with self._sampling:
            while True:
                await trio.sleep(self._settings.sample_seconds)
                try:
                    await self.sample_now()
                except ClusterClosed:
                    return

    def _publish(self, node: Node) -> None:
        if node != self._node:
            self._node = node
            self._revision += 1
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _check_open(self) -> None:
        if self._closed:
            msg = "the local cluster is closed"
            raise ClusterClosed(msg)

    def _ready(self) -> Node:
        self._check_open()
        if self._node is None:
            msg = "the local cluster was not initialised"
            raise NotInitialized(msg, remedy="await initialize() first")
        return self._node

    def _known_record(self, node_id: NodeId) -> NodeRecord:
        node = self._ready()
        if self._record is None or node.id != node_id:
            msg = f"there is no node {node_id!r}; the only one is {node.id!r}, which is this machine"
            raise NodeNotFound(msg)
        return self._record


class _Stream:
    """One reader's stream: it remembers the state of the node that it gave last, and nothing else."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._cluster = cluster
        self._given: Node | None = None

    def __aiter__(self) -> AsyncIterator[ClusterEvent]:
        return self

    async def __anext__(self) -> ClusterEvent:
        event = await self._cluster.event_after(self._given)
        match event:
            case Snapshot():
                self._given = event.nodes[0]
            case NodeUpdated():
                self._given = event.node
        return event
