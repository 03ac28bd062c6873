"""Everything that outlives programs: the store's state, the containers, the nodes, the clocks."""

from __future__ import annotations

import random
from collections.abc import Callable, Set
from datetime import datetime, timedelta
from itertools import count
from typing import Final
from uuid import UUID
from zlib import crc32

import trio
from attrs import define, field
from orchestrion.mocks import ClusterWorld, MemoryStore, MockBehaviour
from orchestrion.orchestrator_core import PortTable, Timings, VolumeOwner, trio_time
from orchestrion.orchestrator_core._state.records import InstanceName
from orchestrion.runtime_interface import VolumeSource
from orchestrion.shared_types import (
    ContainerId,
    ContainerStatus,
    ExitStatus,
    HealthCheck,
    InstanceKey,
    NodeId,
    Uid,
    VolumeScope,
    WorkloadDefinition,
)

from .options import Options
from .storm import Storm
from .trace import Trace
from .watchdog import ObservedContainers, ObservedState, Watchdog

TIMINGS: Final = Timings(lease=10.0, skew=2.0, period=30.0, poll=1.0)

SICK: Final = "sick"
"""A container with this word in its command never serves."""


@define(eq=False)
class Volumes:
    """Directories that are only remembered.

    Attributes:
        own: Those of instances.
    """

    own: dict[tuple[NodeId, InstanceName], Uid] = field(factory=dict)

    def on(self, node_id: NodeId) -> NodeVolumes:
        """Return a node's part."""
        return NodeVolumes(self, node_id)


@define(eq=False)
class NodeVolumes:
    """The directories of one node."""

    volumes: Volumes
    node_id: NodeId

    async def provide(self, owner: VolumeOwner, template: WorkloadDefinition, /) -> tuple[VolumeSource, ...]:
        await trio.lowlevel.checkpoint()
        if any(volume.scope is VolumeScope.INSTANCE for volume in template.volumes):
            self.volumes.own[self.node_id, owner.name] = owner.workload_id
        return tuple(
            VolumeSource(volume=volume.name, host_path=f"/volumes/{owner.name.short}/{volume.name}")
            for volume in template.volumes
        )

    async def release(self, owner: VolumeOwner, /) -> None:
        await trio.lowlevel.checkpoint()
        if self.volumes.own.get((self.node_id, owner.name)) == owner.workload_id:
            del self.volumes.own[self.node_id, owner.name]

    async def retain_instances(self, used: Callable[[], Set[VolumeOwner]], /) -> None:
        await trio.lowlevel.checkpoint()
        kept = used()
        for (node_id, name), workload_id in list(self.volumes.own.items()):
            if node_id == self.node_id and VolumeOwner(name, workload_id) not in kept:
                del self.volumes.own[node_id, name]

    async def retain_shared(self, used: Callable[[], Set[tuple[str, str]]], /) -> None:
        await trio.lowlevel.checkpoint()


@define(eq=False)
class World:
    """What outlives programs.

    Attributes:
        options: Derived from the seed.
        random: Draws everything that happens.
        trace: What happened.
        storm: The faults.
        state: What is stored.
        store: A way to the state without faults.
        containers: What runs.
        cluster: The nodes.
        volumes: The directories.
        watchdog: Checks every write and every start.
        sick: Containers that do not serve any more.
        wall_offset: By how much the wall clock is off.
        removed: Nodes that are gone for good.
        shaken: When each node could be reached again last.
        taken_ports: Ports that others have taken.
        can_fence: Whether a node is able to stop what it runs when it loses its lease.
    """

    options: Options
    random: random.Random
    trace: Trace
    storm: Storm
    state: ObservedState = field(factory=ObservedState, init=False)
    store: MemoryStore = field(init=False)
    containers: ObservedContainers = field(init=False)
    cluster: ClusterWorld = field(factory=ClusterWorld, init=False)
    volumes: Volumes = field(factory=Volumes, init=False)
    watchdog: Watchdog = field(init=False)
    sick: set[ContainerId] = field(factory=set, init=False)
    wall_offset: timedelta = field(default=timedelta(0), init=False)
    removed: set[NodeId] = field(factory=set, init=False)
    shaken: dict[NodeId, float] = field(factory=dict, init=False)
    taken_ports: list[tuple[NodeId, int]] = field(factory=list, init=False)
    can_fence: Callable[[NodeId], bool] = field(default=lambda _: False, init=False)
    _uids: count[int] = field(factory=lambda: count(1), init=False)

    def __attrs_post_init__(self) -> None:
        self.store = MemoryStore(self.state, history_limit=self.options.history_limit)
        self.containers = ObservedContainers(
            script=self._behaviour, now=self.now, memory_per_node=self.options.engine_per_node
        )
        self.watchdog = Watchdog(
            self.trace,
            self.state,
            self.containers,
            self.cluster.get_node,
            lists_lie=self.options.lies,
            fences=lambda node_id: self.can_fence(node_id),
        )
        self.state.observers.append(self.watchdog.observe)
        self.containers.observers.append(self.watchdog.on_start)

    def now(self) -> datetime:
        """Return the wall time, which may jump."""
        return trio_time() + self.wall_offset

    def new_uid(self) -> Uid:
        """Return the next id; ids sort by time."""
        return Uid(str(UUID(int=next(self._uids))))

    def ports(self) -> PortTable:
        """Return a node's table of dynamic ports; it sees nothing of others who take them."""
        return PortTable(range(20_000, 20_200), probe=lambda _protocol, _port: True)

    def open_store(self) -> None:
        """Open the state anew, as the sole owner does after a crash."""
        self.store = MemoryStore(self.state, history_limit=self.options.history_limit)

    def _behaviour(self, workload: str, instance: InstanceKey, attempt: int) -> MockBehaviour | None:
        """Let some placements of workloads that are called flaky fail; services only while all goes wrong."""
        if not self.storm.on and not workload.endswith("job"):
            return None
        if workload.startswith("flaky") and crc32(f"{self.options.seed} {instance} {attempt}".encode()) % 3 == 0:
            return MockBehaviour(exit=ExitStatus(code=3), after_seconds=1.0)
        return None


@define(eq=False)
class WorldProber:
    """Says that a container serves unless it is sick; some tries are slow."""

    world: World

    async def try_once(self, check: HealthCheck, status: ContainerStatus, /) -> str:
        storm = self.world.storm
        slow = storm.on and storm.random.random() < self.world.options.slow_probes
        await trio.sleep(check.timeout_seconds * 1.5 if slow else 0.01)
        container = self.world.containers.containers.get(status.container_id)
        if container is None:
            return "connection refused"
        if status.container_id in self.world.sick or SICK in container.config.env_vars:
            return "sick by order of the test"
        return ""
