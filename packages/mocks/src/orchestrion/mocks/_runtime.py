"""A runtime whose containers are made of nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import trio
from attrs import define, evolve, field
from orchestrion.runtime_interface import (
    ContainerHint,
    ContainerNotFound,
    ContainerStats,
    ContainerSummary,
    CreateOptions,
    ExecSession,
    LogChunk,
    LogStream,
    NodeNotFound,
    RuntimeCapability,
    RuntimeClosed,
    RuntimeFailure,
    RuntimeUnavailable,
    TerminalSession,
    TerminalSize,
)
from orchestrion.shared_types import (
    ContainerConfig,
    ContainerId,
    ContainerState,
    ContainerStatus,
    NodeId,
)

from ._faults import FaultInjector, FaultSource, NoFaults
from ._runtime_behaviour import MockBehaviour, behaviour_of
from ._runtime_exec import MockExecSession, MockTerminalSession
from ._runtime_records import MockContainer, MockNode
from ._runtime_streams import FOLLOW_BYTES, HintReader, LogFollower
from ._runtime_world import ContainerWorld

R = TypeVar("R")


def _frozen(capabilities: Iterable[RuntimeCapability]) -> frozenset[RuntimeCapability]:
    return frozenset(capabilities)


def _new_unless_given(world: ContainerWorld | None) -> ContainerWorld:
    return ContainerWorld() if world is None else world


@define(eq=False)
class MockRuntime:
    """A verified fake of `ContainerRuntime`, with all its abilities. All waiting is in trio's time.

    What containers do is said by their command (see `behaviour_of`) or by the world's script. A test acts on them and
    sees the truth through `world`.

    Faults: LIE lets `get_container_status` and `list_containers` answer what was true earlier: an ended container still
    runs, a running one is Unknown, and the list lacks the newest container. Events are hints.

    Attributes:
        world: What it acts on; by default a new one. It outlives the runtime: give it to another to go on.
    """

    world: ContainerWorld = field(default=None, converter=_new_unless_given)
    _faults: FaultSource = field(factory=NoFaults, kw_only=True)
    _capabilities: frozenset[RuntimeCapability] = field(
        default=frozenset(RuntimeCapability), converter=_frozen, kw_only=True
    )
    _injector: FaultInjector = field(init=False)
    _nodes: dict[NodeId, MockNode] = field(factory=dict, init=False)
    _closed: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._injector = FaultInjector(self._faults, RuntimeUnavailable)

    @property
    def capabilities(self) -> frozenset[RuntimeCapability]:
        """All of them, or those that it was made with; the methods are there in any case."""
        return self._capabilities

    async def init_node(self, node_id: NodeId, /) -> None:
        """As `ContainerRuntime.init_node`."""
        await self._call("init_node", partial(self._init_node, node_id))

    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        """As `ContainerRuntime.create_container`."""
        return await self._call("create_container", partial(self._create, config, options))

    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        """As `ContainerRuntime.stop_container`."""
        await self._call("stop_container", partial(self._stop, container_id, grace_seconds))

    async def remove_container(self, container_id: ContainerId, /) -> None:
        """As `ContainerRuntime.remove_container`."""
        await self._call("remove_container", partial(self._remove, container_id))

    async def get_container_status(self, container_id: ContainerId, /) -> ContainerStatus:
        """As `ContainerRuntime.get_container_status`."""
        return await self._call(
            "get_container_status", partial(self._status, container_id), partial(self._old_status, container_id)
        )

    async def list_containers(self, node_id: NodeId, /) -> list[ContainerSummary]:
        """As `ContainerRuntime.list_containers`."""
        return await self._call("list_containers", partial(self._list, node_id), partial(self._old_list, node_id))

    async def aclose(self) -> None:
        """As `ContainerRuntime.aclose`; no fault touches it."""
        self._closed = True
        for node in self._nodes.values():
            node.wake_all()
        await trio.lowlevel.checkpoint()

    async def read_logs(
        self, container_id: ContainerId, stream: LogStream, /, *, offset: int = 0, max_bytes: int = FOLLOW_BYTES
    ) -> LogChunk:
        """As `SupportsLogs.read_logs`."""
        return await self._call("read_logs", partial(self._read, container_id, stream, offset, max_bytes))

    @asynccontextmanager
    async def follow_logs(
        self, container_id: ContainerId, stream: LogStream, /, *, offset: int = 0
    ) -> AsyncIterator[AsyncIterator[LogChunk]]:
        """As `SupportsLogs.follow_logs`."""
        container = await self._call("follow_logs", partial(self._find, container_id))
        end = container.log(stream, self.world.log_budget_bytes).end
        start = max(0, end + offset) if offset < 0 else offset
        check = partial(self._check_reachable, self._nodes[container.options.node_id])
        yield LogFollower(self.world, container, stream, check, start)

    @asynccontextmanager
    async def exec_in_container(
        self, container_id: ContainerId, command: Sequence[str], /
    ) -> AsyncIterator[ExecSession]:
        """As `SupportsExec.exec_in_container`; the command is one that `behaviour_of` or the world's script knows."""
        session = await self._call("exec_in_container", partial(self._exec, container_id, tuple(command)))
        self.world.sessions.append(session)
        try:
            yield session
        finally:
            session.kill()
            self.world.sessions.remove(session)

    @asynccontextmanager
    async def exec_at_terminal(
        self, container_id: ContainerId, command: Sequence[str], /, *, size: TerminalSize
    ) -> AsyncIterator[TerminalSession]:
        """As `SupportsTerminals.exec_at_terminal`; the command is as for `exec_in_container`."""
        session = await self._call("exec_at_terminal", partial(self._terminal, container_id, tuple(command), size))
        self.world.sessions.append(session)
        try:
            yield session
        finally:
            session.kill()
            self.world.sessions.remove(session)

    async def get_container_stats(self, container_id: ContainerId, /) -> ContainerStats:
        """As `SupportsStats.get_container_stats`: one core, or what the config asks for, is busy all the time."""
        return await self._call("get_container_stats", partial(self._stats, container_id))

    @asynccontextmanager
    async def watch_containers(self, node_id: NodeId, /) -> AsyncIterator[AsyncIterator[ContainerHint]]:
        """As `SupportsEvents.watch_containers`."""
        node = await self._call("watch_containers", partial(self._known, node_id))
        watch = HintReader(self.world, node, self._check_open, self._injector.copies_of_event)
        node.listeners.append(watch.hint)
        try:
            yield watch
        finally:
            node.listeners.remove(watch.hint)

    # The effects, each behind the faults of its call

    async def _call(
        self, method: str, effect: Callable[[], Awaitable[R]], lie: Callable[[], Awaitable[R]] | None = None
    ) -> R:
        self._check_open()
        return await self._injector.call(method, effect, lie=lie)

    def _check_open(self) -> None:
        self._injector.raise_if_crashed()
        if self._closed:
            msg = "this runtime was closed"
            raise RuntimeClosed(msg)

    async def _known(self, node_id: NodeId) -> MockNode:
        return self._known_node(node_id)

    def _known_node(self, node_id: NodeId) -> MockNode:
        node = self._nodes.get(node_id)
        if node is None:
            msg = f"node {node_id!r} is not initialised"
            raise NodeNotFound(msg, remedy="Call init_node first.")
        self._check_reachable(node)
        return node

    def _check_reachable(self, node: MockNode) -> None:
        self._check_open()
        if not node.reachable:
            msg = f"node {node.node_id!r} does not answer"
            raise RuntimeUnavailable(msg)

    async def _find(self, container_id: ContainerId) -> MockContainer:
        return self._found(container_id)

    def _found(self, container_id: ContainerId) -> MockContainer:
        container = self.world.container(container_id)
        self._known_node(container.options.node_id)
        return container

    async def _init_node(self, node_id: NodeId) -> None:
        node = self.world.node(node_id)
        self._check_reachable(node)
        self._nodes[node_id] = node

    async def _create(self, config: ContainerConfig, options: CreateOptions) -> ContainerId:
        node = self._known_node(options.node_id)
        container = self.world.create(config, options)
        while container.state is ContainerState.STARTING and not container.behaviour.queued_seconds:
            await self.world.wait(container.changed, node)
            self._check_reachable(node)
        return container.container_id

    async def _stop(self, container_id: ContainerId, grace_seconds: float) -> None:
        container = self._found(container_id)
        self.world.terminate(container, grace_seconds)
        node = self._nodes[container.options.node_id]
        while not container.ended:
            await self.world.wait(container.changed, node)
            self._check_reachable(node)

    async def _remove(self, container_id: ContainerId) -> None:
        try:
            container = self._found(container_id)
        except ContainerNotFound:
            return
        self.world.remove(container)

    async def _status(self, container_id: ContainerId) -> ContainerStatus:
        return self._found(container_id).summary().status

    async def _old_status(self, container_id: ContainerId) -> ContainerStatus:
        return _as_earlier(await self._status(container_id))

    async def _list(self, node_id: NodeId) -> list[ContainerSummary]:
        node = self._known_node(node_id)
        self.world.advance(node)
        return [container.summary() for container in node.containers.values()]

    async def _old_list(self, node_id: NodeId) -> list[ContainerSummary]:
        summaries = (await self._list(node_id))[:-1]
        return [evolve(summary, status=_as_earlier(summary.status)) for summary in summaries]

    async def _read(self, container_id: ContainerId, stream: LogStream, offset: int, max_bytes: int) -> LogChunk:
        container = self._found(container_id)
        log = container.log(stream, self.world.log_budget_bytes)
        return log.read(stream, offset, max_bytes, ended=container.ended)

    async def _exec(self, container_id: ContainerId, command: tuple[str, ...]) -> MockExecSession:
        return MockExecSession(self.world, *self._command(container_id, command))

    async def _terminal(
        self, container_id: ContainerId, command: tuple[str, ...], size: TerminalSize
    ) -> MockTerminalSession:
        return MockTerminalSession(self.world, *self._command(container_id, command), size=size)

    def _command(
        self, container_id: ContainerId, command: tuple[str, ...]
    ) -> tuple[MockContainer, MockBehaviour, Callable[[], None]]:
        container = self._found(container_id)
        if container.state is not ContainerState.RUNNING:
            msg = f"container {container_id!r} is {container.state}, so that nothing can be run in it"
            raise RuntimeFailure(msg)
        script = self.world.exec_script
        behaviour = (script(container, command) if script is not None else None) or behaviour_of(command)
        failure = behaviour.command_failure or behaviour.failure
        if failure is not None:
            raise failure()
        node = self._nodes[container.options.node_id]
        return container, behaviour, partial(self._check_reachable, node)

    async def _stats(self, container_id: ContainerId) -> ContainerStats:
        container = self._found(container_id)
        busy = self.world.clock() - container.started if container.live else container.cpu_seconds
        sessions = sum(session.container is container and not session.ended for session in self.world.sessions)
        resources = container.config.resources
        return ContainerStats(
            sampled_at=self.world.now(),
            cpu_nanoseconds=int(busy * (resources.cpu_millicores or 1000) * 1_000_000),
            memory_bytes=(resources.memory_bytes or 1 << 20) if container.live else 0,
            processes=container.behaviour.processes + sessions if container.live else 0,
        )


def _as_earlier(status: ContainerStatus) -> ContainerStatus:
    if status.state is ContainerState.EXITED:
        return evolve(status, state=ContainerState.RUNNING, exit=None, finished_at=None)
    return evolve(status, state=ContainerState.UNKNOWN)
