"""The interface of a container runtime, and its optional abilities."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

from orchestrion.shared_types import ContainerConfig, ContainerId, ContainerStatus, ExitStatus, NodeId

from ._types import (
    ContainerHint,
    ContainerStats,
    ContainerSummary,
    CreateOptions,
    ExecOutput,
    LogChunk,
    LogStream,
    RuntimeCapability,
)


class ContainerRuntime(Protocol):
    """Runs containers on one or more nodes. What runs outlives the program that talks to the runtime.

    **Identity.** A container is known by (instance, name, attempt): instance key, the config's name, and the attempt.
    Its id names exactly that, for as long as the container exists, also after this program was restarted.

    **Fencing.** For every slot (workload id and index) a runtime remembers the highest epoch that it was ever asked to
    create, as long as it holds a container of the slot and for at least 10,000 slots beyond, also over a restart of
    this program. Asked to create a lower one, it refuses with `StaleEpoch` and creates nothing.

    **Config.** What reaches a runtime is complete: the environment holds all variables, texts are expanded, every port
    has a host port. The driver's name is not looked at.

    **Cancellation.** Queries have no effect. `create_container`, `stop_container` and `remove_container` are
    *indeterminate*: after `trio.Cancelled` the effect has happened, or not, or goes on; repeating the call with the same
    arguments is safe and leads to the same end. No half-made container is ever listed. Every method is a checkpoint.

    **Concurrency.** Any number of tasks may call any methods at once, also on the same container.

    **Errors.** Each method can raise `RuntimeUnavailable`, `RuntimeClosed`, and `NodeNotFound` for a node that
    `init_node` was not called for.
    """

    @property
    def capabilities(self) -> frozenset[RuntimeCapability]:
        """The optional abilities that this runtime has; constant. For each it also implements the Protocol of that name."""
        ...

    async def init_node(self, node_id: NodeId, /) -> None:
        """Make ready to run containers on a node, and take up those that already run there.

        **Effect.** Afterwards containers created there by an earlier program are listed with their true state.
        **Idempotency.** A repeat succeeds and changes nothing.

        Raises:
            NodeNotFound: This runtime has no way to that node.
        """
        ...

    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        """Create a container and start it.

        **Effect.** On return the container is listed, and it runs, has ended, or (where the engine queues) is queued.
        Not even an immediate exit is lost.
        **Idempotency.** The key is (instance, name, attempt). The same key with an equal config and equal options returns
        the same id and starts nothing, whatever became of the container, as long as it was not removed.

        Returns:
            The container's id.

        Raises:
            ContainerConflict: The key exists with another config or other options.
            StaleEpoch: A higher epoch of the slot was asked for before, or a higher attempt of this container.
            ConfigUnsupported: The config asks for what this runtime can't do.
            StartFailed: It could not be started; nothing is left of it.
            PortTaken: A host port is in use; nothing is left of it.
            NodeNotFound: The node is not initialised.
        """
        ...

    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        """Ask a container to end, and end it by force after the grace.

        **Effect.** On return the container and every process that it started have ended. It got SIGTERM, or the engine's
        equal, at once, and SIGKILL no earlier than `grace_seconds` after it, unless it ended before; 0 kills at once.
        The container stays listed until it is removed.
        **Idempotency.** Stopping what has ended succeeds, and does not change its exit status. A second call while the first
        waits may shorten the grace, never lengthen it.

        Args:
            container_id: Which container.
            grace_seconds: >= 0.

        Raises:
            ContainerNotFound: No such container.
        """
        ...

    async def remove_container(self, container_id: ContainerId, /) -> None:
        """Forget a container and release all that it holds: files, logs, ports, directories of its own.

        **Effect.** A container that still runs is killed first. On return it is not listed.
        **Idempotency.** An unknown or already removed container is success.
        """
        ...

    async def get_container_status(self, container_id: ContainerId, /) -> ContainerStatus:
        """Say what a container is like now.

        `name`, `attempt`, `container_id`, `state`, `exit`, the times, `ports` (the config's host ports by name) and
        `address` are filled in; `health` and `next_attempt_at` are left at their defaults. States only move forward:
        Queued, Starting, Running, Exited; Unknown may come between. Once Exited, the whole status never changes.

        Raises:
            ContainerNotFound: No such container.
        """
        ...

    async def list_containers(self, node_id: NodeId, /) -> list[ContainerSummary]:
        """List all containers of a node that were not removed, ended ones too, in any order, each once.

        Raises:
            NodeNotFound: The node is not initialised.
        """
        ...

    async def aclose(self) -> None:
        """Let go of the runtime: later calls raise `RuntimeClosed`. Containers go on running. Closing twice succeeds.

        **Cancellation.** *Closing*: it is closed afterwards in any case.
        """
        ...


@runtime_checkable
class SupportsLogs(Protocol):
    """`RuntimeCapability.LOGS`: what containers write is kept, within a budget, until they are removed.

    A byte is named by (container, stream, offset); the container's id names the attempt. Keeping logs never stops or
    slows the container to a halt: beyond the budget the oldest bytes are given up, and a reader is told how many.
    """

    async def read_logs(
        self, container_id: ContainerId, stream: LogStream, /, *, offset: int = 0, max_bytes: int = 65536
    ) -> LogChunk:
        """Read what is there now, from `offset`, without waiting.

        A negative offset counts from the end of what was written. Bytes that are no longer kept are skipped and counted
        in `gap_bytes`. An offset at or beyond the end gives an empty chunk at the end's offset.

        Args:
            container_id: Which container.
            stream: Which output.
            offset: The first byte wanted.
            max_bytes: The most bytes to return, >= 1.

        Raises:
            ContainerNotFound: No such container.
        """
        ...

    def follow_logs(
        self, container_id: ContainerId, stream: LogStream, /, *, offset: int = 0
    ) -> AbstractAsyncContextManager[AsyncIterator[LogChunk]]:
        """Read from `offset` on, waiting for more, to the end.

        The chunks have no byte twice and leave out none but those that a `gap_bytes` counts. The iteration ends after a
        chunk with `final`, or when the container is removed.

        Raises:
            ContainerNotFound: No such container (on entering).
        """
        ...


class ExecSession(Protocol):
    """A command that runs in a container."""

    async def send_stdin(self, data: bytes, /) -> None:
        """Write to the command's standard input; what it no longer reads is dropped."""
        ...

    async def close_stdin(self) -> None:
        """End the command's standard input. Closing twice succeeds."""
        ...

    def output(self) -> AsyncIterator[ExecOutput]:
        """Iterate over what it writes, to the end. One reader at a time."""
        ...

    async def wait(self) -> ExitStatus:
        """Wait until the command has ended. Output that nobody reads does not keep it from ending; what is beyond
        1 MiB and unread is dropped.
        """
        ...


@runtime_checkable
class SupportsExec(Protocol):
    """`RuntimeCapability.EXEC`: commands can be run inside a running container."""

    def exec_in_container(
        self, container_id: ContainerId, command: Sequence[str], /
    ) -> AbstractAsyncContextManager[ExecSession]:
        """Run a command with the container's environment, user, directory and limits.

        Leaving the context kills the command and what it started, if it still runs.

        Raises:
            ContainerNotFound: No such container (on entering).
            RuntimeFailure: The container does not run, or the command can't be started (on entering).
        """
        ...


@runtime_checkable
class SupportsStats(Protocol):
    """`RuntimeCapability.STATS`: what containers use can be asked for."""

    async def get_container_stats(self, container_id: ContainerId, /) -> ContainerStats:
        """Say what a container uses now; for one that has ended, what it used in all and no memory or processes.

        Raises:
            ContainerNotFound: No such container.
        """
        ...


@runtime_checkable
class SupportsEvents(Protocol):
    """`RuntimeCapability.EVENTS`: changes are announced, so that nobody needs to poll."""

    def watch_containers(self, node_id: NodeId, /) -> AbstractAsyncContextManager[AsyncIterator[ContainerHint]]:
        """Follow changes of a node's containers.

        Entering arms it: for each change of a container's status after that, a hint about the container comes after the
        change can be seen. Hints may be doubled, merged or about nothing. A reader that is slow gets one hint with
        None in place of those that were lost.

        Raises:
            NodeNotFound: The node is not initialised (on entering).
        """
        ...
