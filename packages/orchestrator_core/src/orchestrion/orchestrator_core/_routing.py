"""One runtime made of several: routes by node and driver."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from urllib.parse import quote, unquote

import trio
from attrs import define, evolve, field
from orchestrion.runtime_interface import (
    ConfigUnsupported,
    ContainerHint,
    ContainerRuntime,
    ContainerStats,
    ContainerSummary,
    CreateOptions,
    ExecSession,
    LogChunk,
    LogStream,
    RuntimeCapability,
    SupportsEvents,
    SupportsExec,
    SupportsLogs,
    SupportsStats,
    SupportsTerminals,
    TerminalSession,
    TerminalSize,
)
from orchestrion.shared_types import (
    ContainerConfig,
    ContainerId,
    ContainerNotFound,
    ContainerRef,
    ContainerStatus,
    InternalError,
    NodeId,
    NodeNotFound,
)

from ._background import background


def format_ref(ref: ContainerRef) -> ContainerId:
    """Return the id that names a container across nodes and drivers."""
    return ContainerId(f"{quote(ref.driver, safe='')}@{quote(ref.node_id, safe='')}/{ref.container_id}")


def parse_ref(container_id: ContainerId) -> ContainerRef:
    """Return what `format_ref` made an id of.

    Raises:
        ContainerNotFound: It made no such id.
    """
    place, slash, inner = container_id.partition("/")
    driver, at, node_id = place.partition("@")
    if not (slash and at and driver and inner):
        msg = f"there is no container {container_id!r}"
        raise ContainerNotFound(msg)
    return ContainerRef(NodeId(unquote(node_id)), unquote(driver), ContainerId(inner))


@define(eq=False)
class RoutingRuntime:
    """A `ContainerRuntime` that hands each container to the runtime of its node and driver.

    Its capabilities are those that all of its runtimes have.

    Attributes:
        drivers: Runtimes by driver, for every node that `nodes` does not name.
        nodes: Runtimes by node and driver.
    """

    drivers: Mapping[str, ContainerRuntime]
    nodes: Mapping[NodeId, Mapping[str, ContainerRuntime]] = field(factory=dict)
    _known: set[NodeId] = field(factory=set)

    @property
    def capabilities(self) -> frozenset[RuntimeCapability]:
        """What all of its runtimes can do."""
        everything = [*self.drivers.values(), *(runtime for held in self.nodes.values() for runtime in held.values())]
        return frozenset(RuntimeCapability).intersection(*(runtime.capabilities for runtime in everything))

    def is_able(self, container_id: ContainerId, capability: RuntimeCapability, /) -> bool:
        """Whether the runtime of a container has a capability, which others may lack.

        Raises:
            ContainerNotFound: There is no runtime for such a container.
        """
        return capability in self._find(container_id)[0].capabilities

    async def init_node(self, node_id: NodeId, /) -> None:
        """Make every runtime of the node ready."""
        for runtime in self._of(node_id).values():
            await runtime.init_node(node_id)
        self._known.add(node_id)

    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        """Create the container with the runtime of its node and driver.

        Raises:
            ConfigUnsupported: The node has no runtime for that driver.
        """
        self._check(options.node_id)
        driver = config.effective_driver
        runtime = self._of(options.node_id).get(driver)
        if runtime is None:
            await trio.lowlevel.checkpoint()
            msg = f"node {options.node_id!r} has no runtime for driver {driver!r}"
            raise ConfigUnsupported(msg)
        inner = await runtime.create_container(config, options)
        return format_ref(ContainerRef(options.node_id, driver, inner))

    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        """Stop the container."""
        runtime, ref = self._find(container_id)
        await runtime.stop_container(ref.container_id, grace_seconds=grace_seconds)

    async def remove_container(self, container_id: ContainerId, /) -> None:
        """Remove the container; an unknown one is success."""
        try:
            runtime, ref = self._find(container_id)
        except ContainerNotFound:
            await trio.lowlevel.checkpoint()
            return
        await runtime.remove_container(ref.container_id)

    async def get_container_status(self, container_id: ContainerId, /) -> ContainerStatus:
        """Say what the container is like."""
        runtime, ref = self._find(container_id)
        return evolve(await runtime.get_container_status(ref.container_id), container_id=container_id)

    async def list_containers(self, node_id: NodeId, /) -> list[ContainerSummary]:
        """List the containers of all runtimes of the node."""
        self._check(node_id)
        found = list[ContainerSummary]()
        for driver, runtime in self._of(node_id).items():
            for summary in await runtime.list_containers(node_id):
                routed = format_ref(ContainerRef(node_id, driver, summary.container_id))
                found.append(evolve(summary, container_id=routed, status=evolve(summary.status, container_id=routed)))
        return found

    async def aclose(self) -> None:
        """Close every runtime; one that fails does not keep the others open."""
        async with trio.open_nursery() as nursery:
            for runtime in self._all():
                nursery.start_soon(runtime.aclose)

    async def read_logs(
        self, container_id: ContainerId, stream: LogStream, /, *, offset: int = 0, max_bytes: int = 65536
    ) -> LogChunk:
        """Read output."""
        runtime, ref = self._find(container_id)
        if not isinstance(runtime, SupportsLogs):
            raise _lacking(RuntimeCapability.LOGS)
        return await runtime.read_logs(ref.container_id, stream, offset=offset, max_bytes=max_bytes)

    def follow_logs(
        self, container_id: ContainerId, stream: LogStream, /, *, offset: int = 0
    ) -> AbstractAsyncContextManager[AsyncIterator[LogChunk]]:
        """Follow output."""
        runtime, ref = self._find(container_id)
        if not isinstance(runtime, SupportsLogs):
            raise _lacking(RuntimeCapability.LOGS)
        return runtime.follow_logs(ref.container_id, stream, offset=offset)

    def exec_in_container(
        self, container_id: ContainerId, command: Sequence[str], /
    ) -> AbstractAsyncContextManager[ExecSession]:
        """Run a command in the container."""
        runtime, ref = self._find(container_id)
        if not isinstance(runtime, SupportsExec):
            raise _lacking(RuntimeCapability.EXEC)
        return runtime.exec_in_container(ref.container_id, command)

    def exec_at_terminal(
        self, container_id: ContainerId, command: Sequence[str], /, *, size: TerminalSize
    ) -> AbstractAsyncContextManager[TerminalSession]:
        """Run a command in the container at a terminal."""
        runtime, ref = self._find(container_id)
        if not isinstance(runtime, SupportsTerminals):
            raise _lacking(RuntimeCapability.TERMINALS)
        return runtime.exec_at_terminal(ref.container_id, command, size=size)

    async def get_container_stats(self, container_id: ContainerId, /) -> ContainerStats:
        """Say what the container uses."""
        runtime, ref = self._find(container_id)
        if not isinstance(runtime, SupportsStats):
            raise _lacking(RuntimeCapability.STATS)
        return await runtime.get_container_stats(ref.container_id)

    @asynccontextmanager
    async def watch_containers(self, node_id: NodeId, /) -> AsyncIterator[AsyncIterator[ContainerHint]]:
        """Follow changes of all runtimes of the node."""
        self._check(node_id)
        async with AsyncExitStack() as stack, background() as nursery:
            send, receive = trio.open_memory_channel[ContainerHint](0)
            for driver, runtime in self._of(node_id).items():
                if not isinstance(runtime, SupportsEvents):
                    raise _lacking(RuntimeCapability.EVENTS)
                hints = await stack.enter_async_context(runtime.watch_containers(node_id))
                nursery.start_soon(self._forward, node_id, driver, hints, send)
            yield receive.__aiter__()

    async def _forward(
        self,
        node_id: NodeId,
        driver: str,
        hints: AsyncIterator[ContainerHint],
        send: trio.MemorySendChannel[ContainerHint],
    ) -> None:
        async for hint in hints:
            inner = hint.container_id
            routed = None if inner is None else format_ref(ContainerRef(node_id, driver, inner))
            status = None if hint.status is None or routed is None else evolve(hint.status, container_id=routed)
            await send.send(ContainerHint(container_id=routed, status=status))

    def _of(self, node_id: NodeId) -> Mapping[str, ContainerRuntime]:
        return self.nodes.get(node_id, self.drivers)

    def _all(self) -> Iterator[ContainerRuntime]:
        seen = set[int]()
        for runtime in (*self.drivers.values(), *(r for held in self.nodes.values() for r in held.values())):
            if id(runtime) not in seen:
                seen.add(id(runtime))
                yield runtime

    def _check(self, node_id: NodeId) -> None:
        if node_id not in self._known:
            msg = f"node {node_id!r} is not initialised"
            raise NodeNotFound(msg)

    def _find(self, container_id: ContainerId) -> tuple[ContainerRuntime, ContainerRef]:
        ref = parse_ref(container_id)
        runtime = self._of(ref.node_id).get(ref.driver)
        if runtime is None:
            msg = f"there is no container {container_id!r}"
            raise ContainerNotFound(msg)
        return runtime, ref


def _lacking(capability: RuntimeCapability) -> InternalError:
    msg = f"the capability {capability.value!r} was used although not every runtime has it"
    return InternalError(msg)
