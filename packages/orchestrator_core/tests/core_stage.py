"""An orchestrator on mocks, and what a test does to its world and sees of it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any
from uuid import UUID

import trio
from attrs import define, evolve, field
from orchestrion.mocks import (
    ClusterWorld,
    ContainerWorld,
    CursorScheduler,
    FaultSource,
    MemoryState,
    MemoryStore,
    MockClusterManager,
    MockContainer,
    MockRuntime,
    NoFaults,
    mock_nodes,
)
from orchestrion.orchestrator_core import (
    Orchestrator,
    PortTable,
    Timings,
    WorkloadView,
    may_follow,
    trio_time,
)
from orchestrion.orchestrator_core._state.records import InstanceName
from orchestrion.orchestrator_core._state.world import InstanceRecord
from orchestrion.runtime_interface import CreateOptions, StartFailed
from orchestrion.scheduler_interface import Scheduler
from orchestrion.shared_types import (
    ContainerConfig,
    ContainerId,
    ContainerStatus,
    Dependency,
    DependencyCondition,
    ExitStatus,
    HealthCheck,
    InstanceState,
    Metadata,
    NodeId,
    NodeStatus,
    RestartPolicy,
    Uid,
    WorkloadDefinition,
    WorkloadInstance,
    WorkloadKind,
)
from trio.testing import wait_all_tasks_blocked

NODE = NodeId("node-00000")
SECOND = NodeId("node-00001")
THIRD = NodeId("node-00002")


def container(name: str = "main", *command: str, **fields: Any) -> ContainerConfig:
    """Return a container that runs until it is stopped, or does what its command says."""
    return ContainerConfig(name=name, command=command or ("run",), **fields)


def _workload(name: str, kind: WorkloadKind, command: tuple[str, ...], fields: dict[str, Any]) -> WorkloadDefinition:
    fields.setdefault("containers", (container("main", *command),))
    fields.setdefault("restart", RestartPolicy(jitter=0.0))
    labels = fields.pop("labels", {})
    namespace = fields.pop("namespace", "default")
    return WorkloadDefinition(metadata=Metadata(name=name, namespace=namespace, labels=labels), kind=kind, **fields)


def service(name: str = "web", *command: str, **fields: Any) -> WorkloadDefinition:
    """Return a service."""
    return _workload(name, WorkloadKind.SERVICE, command or ("run",), fields)


def batch(name: str = "job", *command: str, **fields: Any) -> WorkloadDefinition:
    """Return a batch workload whose containers succeed at once, unless its command says otherwise."""
    return _workload(name, WorkloadKind.BATCH, command or ("exit", "0"), fields)


def daemon(name: str = "agent", *command: str, **fields: Any) -> WorkloadDefinition:
    """Return a daemon."""
    return _workload(name, WorkloadKind.DAEMON, command or ("run",), fields)


def after(workload: str, condition: DependencyCondition | None = None) -> tuple[Dependency, ...]:
    """Return one dependency."""
    return (Dependency(workload=workload, condition=condition),)


@define(eq=False)
class StageProber:
    """Says that containers serve, but for those that a test calls sick.

    Attributes:
        sick: Says whether a container does not serve.
        tries: So many there were.
        tried: The checks that were tried.
    """

    world: ContainerWorld
    sick: Callable[[MockContainer], bool] = lambda _container: False
    tries: int = 0
    tried: set[HealthCheck] = field(factory=set)

    async def try_once(self, check: HealthCheck, status: ContainerStatus, /) -> str:
        """Say whether a container serves."""
        await trio.lowlevel.checkpoint()
        self.tries += 1
        self.tried.add(check)
        return "sick by order of the test" if self.sick(self.world.container(status.container_id)) else ""


class BadNodeRuntime(MockRuntime):
    """Fails each start on the nodes whose engine is broken: the first one, unless a test says otherwise."""

    broken: frozenset[NodeId] = frozenset({NODE})

    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        """Fail, or create it."""
        if options.node_id in self.broken:
            await trio.lowlevel.checkpoint()
            msg = "the disk is full"
            raise StartFailed(msg)
        return await super().create_container(config, options)


@define(eq=False)
class Stage:
    """What a test acts on. Everything in it but `orchestrator` and `runtime` outlives a crash.

    Attributes:
        orchestrator: The one at work, or the last one.
    """

    cluster: ClusterWorld
    containers: ContainerWorld
    state: MemoryState
    nursery: trio.Nursery
    scheduler: Callable[[], Scheduler] = CursorScheduler
    timings: Timings = field(factory=Timings)
    options: dict[str, Any] = field(factory=dict)
    prober: StageProber = field(init=False)
    runtime: MockRuntime = field(init=False)
    manager: MockClusterManager = field(init=False)
    orchestrator: Orchestrator = field(init=False)
    forbidden: list[str] = field(factory=list)
    runtime_class: type[MockRuntime] = MockRuntime
    store_class: type[MemoryStore] = MemoryStore
    store_faults: FaultSource = field(factory=NoFaults)
    _states: dict[tuple[InstanceName, str], InstanceState] = field(factory=dict)
    _scope: trio.CancelScope = field(init=False)
    _ended: trio.Event = field(init=False)
    _uids: count[int] = field(factory=lambda: count(1))

    @classmethod
    def build(cls, nursery: trio.Nursery, nodes: int = 3) -> Stage:
        """Return a stage with so many nodes; `start` lets the orchestrator work."""
        return cls(ClusterWorld(mock_nodes(nodes)), ContainerWorld(now=trio_time), MemoryState(), nursery)

    def __attrs_post_init__(self) -> None:
        self.prober = StageProber(self.containers)

    def uid(self) -> Uid:
        """Return the next id; ids sort by time."""
        return Uid(str(UUID(int=next(self._uids))))

    # -- the program ----------------------------------------------------------------------------------------------

    async def start(self) -> Orchestrator:
        """Let an orchestrator work on what there is."""
        self.runtime = self.runtime_class(self.containers)
        self.manager = MockClusterManager(self.cluster)
        orchestrator = self.orchestrator = Orchestrator(
            self.runtime,
            self.manager,
            self.scheduler(),
            self.store_class(self.state, faults=self.store_faults),
            prober=self.prober,
            ports=lambda: PortTable(range(20_000, 20_100), probe=lambda _protocol, _port: True),
            timings=self.timings,
            now=trio_time,
            new_uid=self.uid,
            random=random.Random(0),
            **self.options,
        )
        orchestrator.world.on_instance(self._check_transition)
        self._scope, self._ended = trio.CancelScope(), trio.Event()
        await self.nursery.start(self._run, orchestrator, self._scope, self._ended)
        await self.settle()
        return orchestrator

    async def _run(
        self,
        orchestrator: Orchestrator,
        scope: trio.CancelScope,
        ended: trio.Event,
        *,
        task_status: trio.TaskStatus[None],
    ) -> None:
        with scope:
            await orchestrator.run(task_status=task_status)
        ended.set()

    async def end(self) -> None:
        """Let the orchestrator end; what runs goes on running."""
        self._scope.cancel()
        await self._ended.wait()

    async def restart(self) -> Orchestrator:
        """End the orchestrator, and start another on the same world."""
        await self.end()
        return await self.start()

    def _check_transition(self, name: InstanceName, record: InstanceRecord) -> None:
        if record.bound is None or record.status_revision == 0:
            # While a world is loaded, a binding may be seen before the status that goes with it.
            return
        uid = record.bound.workload_id
        before = self._states.get((name, uid))
        if before is not None and not may_follow(before, record.state):
            self.forbidden.append(f"{name}: {before} to {record.state}")
        self._states[name, uid] = record.state

    async def settle(self) -> None:
        """Wait until nothing more happens without time passing."""
        await wait_all_tasks_blocked()

    async def apply(self, *workloads: WorkloadDefinition) -> None:
        """Apply, and wait until nothing more happens without time passing."""
        await self.orchestrator.apply(workloads)
        await self.settle()

    async def view(self, name: str, namespace: str = "default") -> WorkloadView:
        """Say how a workload is doing."""
        return await self.orchestrator.get_workload(name, namespace=namespace)

    async def instances(self, name: str | None = None) -> list[WorkloadInstance]:
        """Return instances that have not ended."""
        ends = (InstanceState.SUCCEEDED, InstanceState.FAILED, InstanceState.LOST)
        return [i for i in await self.orchestrator.list_instances(workload=name) if i.status.state not in ends]

    async def ended(self, name: str | None = None) -> list[WorkloadInstance]:
        """Return instances that have ended and are remembered."""
        live = {instance.key for instance in await self.instances(name)}
        return [i for i in await self.orchestrator.list_instances(workload=name) if i.key not in live]

    async def instance(self, name: str) -> WorkloadInstance:
        """Return an instance by its name."""
        (found,) = (i for i in await self.orchestrator.list_instances() if i.name == name)
        return found

    async def event_reasons(self, subject: str) -> list[str]:
        """Return the reasons of the events about a subject."""
        return [event.reason for event in await self.orchestrator.events(subject=subject)]

    # -- the world ------------------------------------------------------------------------------------------------

    def running(self, workload: str | None = None) -> list[MockContainer]:
        """Return the containers that run, by slot, epoch and name."""
        for node in self.containers.nodes.values():
            self.containers.advance(node)
        live = [
            container
            for container in self.containers.containers.values()
            if container.live and workload in (None, container.options.workload)
        ]
        return sorted(live, key=lambda c: (c.options.instance.index, c.options.instance.epoch, c.config.name))

    def slots(self, workload: str) -> list[tuple[int, int]]:
        """Return (slot, epoch) of what runs."""
        return [(c.options.instance.index, c.options.instance.epoch) for c in self.running(workload)]

    def where(self, workload: str) -> list[NodeId]:
        """Return the nodes of what runs, sorted."""
        return sorted(c.options.node_id for c in self.running(workload))

    def exit(self, container: MockContainer, code: int = 1) -> None:
        """Let a container end."""
        self.containers.exit(container.container_id, ExitStatus(code=code))

    def ids(self, workload: str | None = None) -> list[ContainerId]:
        """Return the ids of what runs."""
        return [container.container_id for container in self.running(workload)]

    def down(self, node_id: NodeId, *, killed: bool = True) -> None:
        """Let a node be away for everybody; what runs on it ends, or goes on unseen."""
        if killed:
            self.containers.kill_node(node_id)
        else:
            self.containers.partition(node_id)
        node = self.cluster.get_node(node_id)
        assert node is not None
        self.cluster.update_node(evolve(node, status=NodeStatus.UNKNOWN))

    def back(self, node_id: NodeId) -> None:
        """Let a node be there again."""
        self.containers.heal(node_id)
        self.cluster.set_status(node_id, NodeStatus.READY)


@asynccontextmanager
async def staged(nodes: int = 3, *, scheduler: Callable[[], Scheduler] = CursorScheduler) -> AsyncIterator[Stage]:
    """Yield a stage whose orchestrator works; at the end check that no instance took a forbidden way."""
    async with trio.open_nursery() as nursery:
        stage = Stage.build(nursery, nodes)
        stage.scheduler = scheduler
        await stage.start()
        yield stage
        nursery.cancel_scope.cancel()
    assert stage.forbidden == []
