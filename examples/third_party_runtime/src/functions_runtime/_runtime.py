"""The runtime: a table of containers, each a trio task."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import trio
from orchestrion.runtime_interface import (
    ConfigUnsupported,
    ContainerConflict,
    ContainerNotFound,
    ContainerSummary,
    CreateOptions,
    NodeNotFound,
    RuntimeCapability,
    RuntimeClosed,
    StaleEpoch,
    StartFailed,
)
from orchestrion.shared_types import (
    ContainerConfig,
    ContainerId,
    ContainerState,
    ContainerStatus,
    ExitStatus,
    InstanceKey,
    NodeId,
)

SIGKILL = 9
UNSUPPORTED = ("image", "ports", "volumes", "user", "working_dir", "limits", "gpu", "cpu_set")
"""Fields of a config that ask for what a task can't be given."""


@dataclass(frozen=True)
class Call:
    """What a function is given.

    Attributes:
        arguments: What follows the function's name in command and args.
        environment: The container's environment.
        terminated: Set when the container is to end; a function that ends soon after it is not killed.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    terminated: trio.Event


Function = Callable[[Call], Awaitable[int]]
"""Returns an exit code, of which the lowest eight bits count. An exception is the exit code 1. Killing cancels it."""


def utc_now() -> datetime:
    """Return the wall time."""
    return datetime.now(UTC)


@dataclass(eq=False)
class _Container:
    container_id: ContainerId
    config: ContainerConfig
    options: CreateOptions
    created_at: datetime
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    terminated: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)
    exit: ExitStatus | None = None
    finished_at: datetime | None = None

    def status(self) -> ContainerStatus:
        return ContainerStatus(
            name=self.config.name,
            container_id=self.container_id,
            state=ContainerState.RUNNING if self.exit is None else ContainerState.EXITED,
            attempt=self.options.attempt,
            exit=self.exit,
            created_at=self.created_at,
            started_at=self.created_at,
            finished_at=self.finished_at,
        )


@dataclass(eq=False)
class FunctionRuntime:
    """A `ContainerRuntime` that runs functions by their names; `open_functions` makes one.

    Attributes:
        functions: What containers can run, by the first word of their command.
        node_ids: The nodes that it has; all are this program.
        nursery: Where the containers run, whoever closes the runtime.
        now: The wall clock.
    """

    functions: Mapping[str, Function]
    node_ids: frozenset[NodeId]
    nursery: trio.Nursery
    now: Callable[[], datetime] = utc_now
    _ids: itertools.count[int] = field(default_factory=itertools.count, init=False)
    _nodes: set[NodeId] = field(default_factory=set, init=False)
    _containers: dict[ContainerId, _Container] = field(default_factory=dict, init=False)
    _epochs: dict[tuple[str, int], int] = field(default_factory=dict, init=False)
    _closed: bool = field(default=False, init=False)

    @property
    def capabilities(self) -> frozenset[RuntimeCapability]:
        """None: functions have no logs, and nothing can be run in them."""
        return frozenset()

    async def init_node(self, node_id: NodeId, /) -> None:
        """As `ContainerRuntime.init_node`."""
        await self._checkpoint()
        if node_id not in self.node_ids:
            msg = f"no such node: {node_id!r}"
            raise NodeNotFound(msg)
        self._nodes.add(node_id)

    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        """As `ContainerRuntime.create_container`."""
        await self._checkpoint()
        self._check_node(options.node_id)
        self._fence(options.instance)
        if (existing := self._same_or_none(config, options)) is not None:
            return existing.container_id
        refused = [name for name in UNSUPPORTED if getattr(config, name)]
        if refused:
            msg = f"container {config.name!r}: a function can't have {', '.join(refused)}"
            raise ConfigUnsupported(msg)
        name, *arguments = config.command + config.args or ("",)
        function = self.functions.get(name)
        if function is None:
            msg = f"container {config.name!r}: no such function: {name!r}"
            raise StartFailed(msg, remedy=f"There are {', '.join(sorted(self.functions))}.")
        container = _Container(ContainerId(f"function-{next(self._ids)}"), config, options, self.now())
        inherited = {key: os.environ[key] for key in config.inherit_env if key in os.environ}
        call = Call(tuple(arguments), {**inherited, **config.env_vars}, container.terminated)
        self._containers[container.container_id] = container
        self.nursery.start_soon(self._run, container, partial(function, call))
        return container.container_id

    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        """As `ContainerRuntime.stop_container`."""
        await self._checkpoint()
        container = self._find(container_id)
        if grace_seconds <= 0:
            container.scope.cancel()
        else:
            container.terminated.set()
            # The grace may only ever become shorter.
            container.scope.deadline = min(container.scope.deadline, trio.current_time() + grace_seconds)
        await container.ended.wait()

    async def remove_container(self, container_id: ContainerId, /) -> None:
        """As `ContainerRuntime.remove_container`."""
        await self._checkpoint()
        container = self._containers.get(container_id)
        if container is not None:
            container.scope.cancel()
            await container.ended.wait()
            self._containers.pop(container_id, None)

    async def get_container_status(self, container_id: ContainerId, /) -> ContainerStatus:
        """As `ContainerRuntime.get_container_status`."""
        await self._checkpoint()
        return self._find(container_id).status()

    async def list_containers(self, node_id: NodeId, /) -> list[ContainerSummary]:
        """As `ContainerRuntime.list_containers`."""
        await self._checkpoint()
        self._check_node(node_id)
        return [
            ContainerSummary(
                container_id=container.container_id,
                node_id=node_id,
                instance=container.options.instance,
                status=container.status(),
            )
            for container in self._containers.values()
            if container.options.node_id == node_id
        ]

    async def aclose(self) -> None:
        """As `ContainerRuntime.aclose`; the containers run on in their nursery."""
        self._closed = True
        await trio.lowlevel.checkpoint()

    async def _run(self, container: _Container, function: Callable[[], Awaitable[int]]) -> None:
        status = ExitStatus(signal=SIGKILL)
        with container.scope:
            try:
                status = ExitStatus(code=await function() & 255)
            except Exception as err:  # a function may fail as it likes: that is an exit code
                status = ExitStatus(code=1, message=f"{type(err).__name__}: {err}")
        container.exit = status
        container.finished_at = max(self.now(), container.created_at)
        container.ended.set()

    async def _checkpoint(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._closed:
            msg = "this runtime was closed"
            raise RuntimeClosed(msg)

    def _check_node(self, node_id: NodeId) -> None:
        if node_id not in self._nodes:
            msg = f"node {node_id!r} is not initialised"
            raise NodeNotFound(msg, remedy="Call init_node first.")

    def _find(self, container_id: ContainerId) -> _Container:
        container = self._containers.get(container_id)
        if container is None:
            msg = f"no such container: {container_id!r}"
            raise ContainerNotFound(msg)
        return container

    def _fence(self, instance: InstanceKey) -> None:
        slot = (str(instance.workload_id), instance.index)
        known = self._epochs.get(slot, instance.epoch)
        if instance.epoch < known:
            msg = f"instance {instance}: epoch {known} of its slot was asked for before"
            raise StaleEpoch(msg, known=known)
        self._epochs[slot] = instance.epoch

    def _same_or_none(self, config: ContainerConfig, options: CreateOptions) -> _Container | None:
        attempts = {
            container.options.attempt: container
            for container in self._containers.values()
            if (container.options.instance, container.config.name) == (options.instance, config.name)
        }
        existing = attempts.get(options.attempt)
        if existing is not None and (existing.config, existing.options) != (config, options):
            msg = f"instance {options.instance}: container {config.name!r} exists with other content"
            raise ContainerConflict(msg)
        highest = max(attempts, default=0)
        if existing is None and options.attempt < highest:
            msg = f"instance {options.instance}: attempt {highest} of container {config.name!r} exists"
            raise StaleEpoch(msg, known=highest)
        return existing


@asynccontextmanager
async def open_functions(
    functions: Mapping[str, Function], *, node_ids: frozenset[NodeId] = frozenset({NodeId("here")})
) -> AsyncIterator[FunctionRuntime]:
    """Give a runtime; at the end of the block its containers are killed."""
    async with trio.open_nursery() as nursery:
        yield FunctionRuntime(functions, node_ids, nursery)
        nursery.cancel_scope.cancel()
