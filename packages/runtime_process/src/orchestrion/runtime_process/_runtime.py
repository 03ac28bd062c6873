"""The runtime: what can be asked of it."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

import trio
from orchestrion.runtime_interface import (
    ContainerHint,
    ContainerStats,
    ContainerSummary,
    CreateOptions,
    ExecSession,
    LogChunk,
    LogStream,
    NodeNotFound,
    RuntimeCapability,
    RuntimeFailure,
    TerminalSession,
    TerminalSize,
)
from orchestrion.shared_types import (
    ContainerConfig,
    ContainerId,
    ContainerStatus,
    NodeId,
)

from . import _logs, _processes, _stats
from ._container import Container, Creation, Task, key_of
from ._exec import CommandPipes, ProcessExecSession, ProcessTerminalSession, start_command
from ._follow import LogFollower
from ._hints import HintReader
from ._keeper import Keeper
from ._plan import container_id_of

Session = TypeVar("Session", bound=ProcessExecSession)


class ProcessRuntime(Keeper):
    """Runs containers as processes of this machine. Make one with `open_runtime`.

    It implements `ContainerRuntime`, `SupportsLogs`, `SupportsExec`, `SupportsTerminals`, `SupportsStats` and
    `SupportsEvents`.
    """

    # ---- ContainerRuntime --------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> frozenset[RuntimeCapability]:
        """Logs, exec, terminals, stats and events."""
        return frozenset(
            {
                RuntimeCapability.LOGS,
                RuntimeCapability.EXEC,
                RuntimeCapability.TERMINALS,
                RuntimeCapability.STATS,
                RuntimeCapability.EVENTS,
            }
        )

    @property
    def enforced_limits(self) -> frozenset[str]:
        """Which limits control groups enforce here: a part of "memory", "cpu" and "pids".

        Where memory is not among them, a memory limit holds for the data of each process by itself (RLIMIT_DATA). Where
        pids is not, it holds for all processes of the container's user, if that is not root. A limit of the processor
        has no substitute, and a limit of the disk is not enforced at all.
        """
        return self._settings.cgroups.enforced

    async def init_node(self, node_id: NodeId, /) -> None:
        """Take up what runs on this machine for a node.

        The first call also kills and removes what carries this state directory's mark but belongs to no container.

        Raises:
            NodeNotFound: `open_runtime` was given other nodes.
        """
        await self._enter()
        if self._node_ids is not None and node_id not in self._node_ids:
            known = ", ".join(sorted(self._node_ids))
            msg = f"this runtime has no way to node {node_id!r}; it is the runtime of {known}"
            raise NodeNotFound(msg)
        if node_id in self._nodes:
            return
        task = self._initialisations.get(node_id)
        if task is None:
            task = self._initialisations[node_id] = Task()
            self._start(self._initialise, node_id, task)
        await self._wait(task.done)
        if task.error is not None:
            raise task.error

    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        """Create a container and start it."""
        await self._enter()
        self._check_node(options.node_id)
        key = key_of(config, options)
        while (existing := self._keys.get(key)) is not None:
            self._check_same(existing, config, options)
            if isinstance(existing, Creation):
                await self._wait(existing.done)
            elif existing.removal is not None:
                await self._wait(existing.removal.done)
            else:
                return existing.container_id
        self._check_fence(config, options)
        self._epochs.note(options.instance, config.name, options.attempt)
        creation = Creation(container_id_of(config.name, options), config, options, self._now())
        self._keys[key] = creation
        self._creations[creation.container_id] = creation
        self._start(self._create, creation)
        await self._wait(creation.done)
        if creation.error is not None:
            raise creation.error
        return creation.container_id

    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        """Send SIGTERM to the container's main process, and after the grace SIGKILL to all of its processes.

        The main process passes SIGTERM on to its children as it sees fit. When it has ended, what is left is killed.
        """
        if not grace_seconds >= 0:
            msg = f"grace_seconds must be >= 0, not {grace_seconds}"
            raise ValueError(msg)
        await self._enter()
        container = self._get(container_id)
        self._ask_to_end(container, grace_seconds)
        await self._wait(container.ended)

    async def remove_container(self, container_id: ContainerId, /) -> None:
        """Forget a container and release all that it holds."""
        await self._enter()
        creation = self._creations.get(container_id)
        if creation is not None:
            creation.unwanted = True
            if creation.pidfd is not None:
                _processes.send_signal(creation.pidfd, signal.SIGKILL)
            await self._wait(creation.done)
        container = self._containers.get(container_id)
        if container is None:
            return
        if container.removal is None:
            container.removal = Task()
            self._ask_to_end(container, 0.0)
            self._start(self._remove, container, container.removal)
        removal = container.removal
        await self._wait(removal.done)
        if removal.error is not None:
            raise removal.error

    async def get_container_status(self, container_id: ContainerId, /) -> ContainerStatus:
        """Say what a container is like now."""
        await self._enter()
        return self._get(container_id).status

    async def list_containers(self, node_id: NodeId, /) -> list[ContainerSummary]:
        """List all containers of a node that were not removed."""
        await self._enter()
        self._check_node(node_id)
        return [
            ContainerSummary(
                container_id=container.container_id,
                node_id=node_id,
                instance=container.body.options.instance,
                status=container.status,
            )
            for container in self._containers.values()
            if container.body.options.node_id == node_id
        ]

    async def aclose(self) -> None:
        """Let go of the runtime; containers go on running under their shims."""
        if not self._closed:
            self._closed = True
            self._hints.close()
            for scope in self._waits:
                scope.cancel()
            for container in self._containers.values():
                container.wake()
            self._scope.cancel()
        # Short: what is under way in threads comes to its end, and nothing new is begun.
        with trio.CancelScope(shield=True):
            await self._finished.wait()
        await trio.lowlevel.checkpoint()

    # ---- abilities ---------------------------------------------------------------------------------------------------

    async def read_logs(
        self, container_id: ContainerId, stream: LogStream, /, *, offset: int = 0, max_bytes: int = 65536
    ) -> LogChunk:
        """Read what is there now, from `offset`, without waiting."""
        if max_bytes < 1:
            msg = f"max_bytes must be >= 1, not {max_bytes}"
            raise ValueError(msg)
        await self._enter()
        return await self.read_log_of(self._get(container_id), stream, offset, max_bytes)

    async def read_log_of(self, container: Container, stream: LogStream, offset: int, max_bytes: int) -> LogChunk:
        """Read a container's log."""
        self._check_open()
        ended = container.ended.is_set()
        total = container.log_total(stream is LogStream.STDOUT)
        directory = self._settings.state.containers / container.container_id / "logs"
        return await self._asked(
            lambda: _logs.read_chunk(directory, stream, offset=offset, max_bytes=max_bytes, ended=ended, total=total)
        )

    def follow_logs(
        self, container_id: ContainerId, stream: LogStream, /, *, offset: int = 0
    ) -> AbstractAsyncContextManager[AsyncIterator[LogChunk]]:
        """Read from `offset` on, waiting for more, to the end."""
        return self._follow(container_id, stream, offset)

    @asynccontextmanager
    async def _follow(
        self, container_id: ContainerId, stream: LogStream, offset: int
    ) -> AsyncIterator[AsyncIterator[LogChunk]]:
        await self._enter()
        container = self._get(container_id)
        directory = self._settings.state.containers / container_id / "logs"
        with self._watcher.watch(directory) as watch:
            yield LogFollower(self.read_log_of, container, stream, offset, watch)

    def exec_in_container(
        self, container_id: ContainerId, command: Sequence[str], /
    ) -> AbstractAsyncContextManager[ExecSession]:
        """Run a command with the container's environment, user, directory and limits."""
        return self._exec(container_id, command, None, ProcessExecSession)

    def exec_at_terminal(
        self, container_id: ContainerId, command: Sequence[str], /, *, size: TerminalSize
    ) -> AbstractAsyncContextManager[TerminalSession]:
        """Run a command at a terminal, else as `exec_in_container` does."""
        return self._exec(container_id, command, size, ProcessTerminalSession)

    @asynccontextmanager
    async def _exec(
        self,
        container_id: ContainerId,
        command: Sequence[str],
        size: TerminalSize | None,
        session_class: type[Session],
    ) -> AsyncIterator[Session]:
        await self._enter()
        container = self._get(container_id)
        text = " ".join(command)
        if container.ended.is_set():
            msg = f"can't run {text!r}: container {container_id} has ended"
            raise RuntimeFailure(msg)
        if not command or any("\0" in word for word in command):
            msg = f"can't run {text!r}: a command has at least one word, and no word has a NUL character"
            raise RuntimeFailure(msg)
        try:
            words = [os.fsencode(word) for word in command]
        except UnicodeEncodeError as err:
            msg = f"can't run {text!r}: {err}"
            raise RuntimeFailure(msg) from err
        try:
            fds = await self._in_thread(start_command, self._settings, container_id, container.body, words, size)
        except OSError as err:
            msg = f"can't run {text!r}: {err.strerror}"
            raise RuntimeFailure(msg) from err
        session = session_class(CommandPipes(fds))
        container.at_end.add(session.kill)
        running = False
        try:
            if container.ended.is_set():
                session.kill()
            await session.wait_started(text)
            self._start(session.run)
            running = True
            yield session
        finally:
            container.at_end.discard(session.kill)
            await session.aclose(running=running)

    async def get_container_stats(self, container_id: ContainerId, /) -> ContainerStats:
        """Say what a container uses now."""
        await self._enter()
        container = self._get(container_id)
        memory = processes = 0
        if not container.ended.is_set():
            usage = await self._asked(lambda: _stats.usage_of(container.body, container.head.shim))
            container.cpu_nanoseconds = max(container.cpu_nanoseconds, usage.cpu_nanoseconds or 0)
            memory, processes = usage.memory_bytes or 0, usage.processes or 0
        if container.ended.is_set():
            memory = processes = 0
        return ContainerStats(
            sampled_at=self._now(),
            cpu_nanoseconds=container.cpu_nanoseconds,
            memory_bytes=memory,
            processes=processes,
        )

    def watch_containers(self, node_id: NodeId, /) -> AbstractAsyncContextManager[AsyncIterator[ContainerHint]]:
        """Follow changes of a node's containers."""
        return self._watch_hints(node_id)

    @asynccontextmanager
    async def _watch_hints(self, node_id: NodeId) -> AsyncIterator[HintReader]:
        await self._enter()
        self._check_node(node_id)
        reader = self._hints.add(node_id)
        try:
            yield reader
        finally:
            self._hints.discard(reader)
