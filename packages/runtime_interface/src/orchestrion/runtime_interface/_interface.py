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
    TerminalSize,
)


class ContainerRuntime(Protocol):
    """Runs containers on one or more nodes. What runs outlives the program that talks to the runtime.

    The ids in brackets name the clauses that the conformance kit checks.

    **Identity.** A container is known by (instance, name, attempt): instance key, the config's name, and the attempt
    [IDENTITY-1]. Its id names exactly that, for as long as the container exists, also after this program was restarted
    [IDENTITY-2].

    **Fencing.** For every slot (workload id and index) a runtime remembers the highest epoch that it was ever asked to
    create, whether that could be started or not [FENCE-5], as long as it holds a container of the slot and for at least
    10,000 slots beyond [FENCE-3], also over a restart of this program [FENCE-4]. Asked to create a lower one, it
    refuses with `StaleEpoch` and creates nothing [FENCE-1]. Slots know nothing of each other [FENCE-2].

    **Config.** What reaches a runtime is complete: the environment holds all variables, texts are expanded, every port
    has a host port. The container gets exactly that environment, and nothing of the runtime's own but what
    `inherit_env` names [CONFIG-1]; `args` follow `command` [CONFIG-2]. The driver's name is not looked at.

    **Cancellation.** Queries have no effect. `create_container` [CANCEL-1], `stop_container` [CANCEL-2],
    `remove_container` [CANCEL-3] and `init_node` [CANCEL-5] are *indeterminate*: after `trio.Cancelled` the effect has
    happened, or not, or goes on; repeating the call with the same arguments is safe and leads to the same end. No
    half-made container is ever listed [CANCEL-4]. Every method is a checkpoint [CHECKPOINT-1].

    **Concurrency.** Any number of tasks may call any methods at once, also on the same container: equal creates give
    one container [CONCURRENCY-1], different ones one each [CONCURRENCY-2], a lower epoch never comes after a higher
    one [CONCURRENCY-3], stops all return at the end of the container [CONCURRENCY-4], a removal also ends a stop that
    waits, which then succeeds or raises `ContainerNotFound` [CONCURRENCY-5], and removals all succeed [CONCURRENCY-6].

    **Order.** What a call did, every later call sees [MODEL-1], of a later program too [MODEL-2]; calls at once are
    as if in some order [MODEL-3].

    **Errors.** Each method can raise `RuntimeUnavailable`, `RuntimeClosed`, and `NodeNotFound` for a node that
    `init_node` was not called for [NODE-4].
    """

    @property
    def capabilities(self) -> frozenset[RuntimeCapability]:
        """The optional abilities that this runtime has.

        They are constant [CAPABILITY-2]. For each it also implements the Protocol of that name [CAPABILITY-1].
        """
        ...

    async def init_node(self, node_id: NodeId, /) -> None:
        """Make ready to run containers on a node, and take up those that already run there.

        **Effect.** Afterwards containers created there by an earlier program are listed with their true state, and
        how they ended meanwhile is known [NODE-1].
        **Idempotency.** A repeat succeeds and changes nothing [NODE-2].

        Raises:
            NodeNotFound: This runtime has no way to that node [NODE-3].
        """
        ...

    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        """Create a container and start it.

        **Effect.** On return the container is listed [CREATE-1], and it runs, has ended, or (where the engine queues)
        is queued [CREATE-2]. Not even an immediate exit is lost [CREATE-3].
        **Idempotency.** The key is (instance, name, attempt). The same key with an equal config and equal options
        returns the same id and starts nothing [CREATE-4], whatever became of the container [CREATE-5], as long as it
        was not removed; after that it is a new one [CREATE-6].

        Returns:
            The container's id.

        Raises:
            ContainerConflict: The key exists with another config or other options; nothing is changed [CREATE-7].
            StaleEpoch: A higher epoch of the slot was asked for before, or a higher attempt of this container, which
                exists; nothing is created [CREATE-8].
            ConfigUnsupported: The config asks for what this runtime can't do; nothing is created [CREATE-10].
            StartFailed: It could not be started; nothing is left of it, so that its key is free [CREATE-9].
            PortTaken: A host port is in use; nothing is left of it [CREATE-11].
            NodeNotFound: The node is not initialised.
        """
        ...

    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        """Ask a container to end, and end it by force after the grace.

        **Effect.** On return the container [STOP-1] and every process that it started [STOP-2] have ended. It got
        SIGTERM, or the engine's equal, at once [STOP-3], and SIGKILL no earlier than `grace_seconds` after it [STOP-4]
        but then [STOP-5], unless it ended before; 0 kills at once [STOP-6]. The container stays listed until it is
        removed [STOP-7]. Others of its instance go on [STOP-12].
        **Idempotency.** Stopping what has ended succeeds, and does not change its exit status [STOP-8]. A second call
        while the first waits may shorten the grace [STOP-9], never lengthen it [STOP-10].

        Args:
            container_id: Which container.
            grace_seconds: >= 0.

        Raises:
            ContainerNotFound: No such container [STOP-11].
        """
        ...

    async def remove_container(self, container_id: ContainerId, /) -> None:
        """Forget a container and release all that it holds: files, logs [REMOVE-4], ports [REMOVE-5], directories.

        **Effect.** A container that still runs is killed first, with every process that it started [REMOVE-2]. On
        return it is not listed and its id is unknown [REMOVE-1], also to a later program [REMOVE-6].
        **Idempotency.** An unknown or already removed container is success [REMOVE-3].
        """
        ...

    async def get_container_status(self, container_id: ContainerId, /) -> ContainerStatus:
        """Say what a container is like now.

        `name`, `attempt` and `container_id` [STATUS-1], `state`, `exit` [STATUS-2], the times [STATUS-5], `ports` (the
        config's host ports by name) [STATUS-6] and `address` are filled in; `health` and `next_attempt_at` are left at
        their defaults [STATUS-7]. An exit by code has no signal; an engine that can't tell a signal from a code tells
        signal N as code 128 + N. States only move forward: Queued, Starting, Running, Exited; Unknown may come between
        [STATUS-3]. Once Exited, the whole status never changes [STATUS-4].

        Raises:
            ContainerNotFound: No such container [STATUS-8].
        """
        ...

    async def list_containers(self, node_id: NodeId, /) -> list[ContainerSummary]:
        """List all containers of a node that were not removed.

        Ended ones are listed too, in any order, each once [LIST-1], as `get_container_status` would say [LIST-2]; those
        of other nodes are not [LIST-3].

        Raises:
            NodeNotFound: The node is not initialised [LIST-4].
        """
        ...

    async def aclose(self) -> None:
        """Let go of the runtime.

        Later calls raise `RuntimeClosed`, those of the optional abilities too [CLOSE-1]. Containers go on running
        [CLOSE-2]. Closing twice succeeds [CLOSE-3].

        **Cancellation.** *Closing*: it is closed afterwards in any case [CLOSE-4].
        """
        ...


@runtime_checkable
class SupportsLogs(Protocol):
    """`RuntimeCapability.LOGS`: what containers write is kept, within a budget, until they are removed [LOGS-11].

    A byte is named by (container, stream, offset) [LOGS-1]; the container's id names the attempt. Keeping logs never
    stops or slows the container to a halt [LOGS-2]: beyond the budget the oldest bytes are given up, and a reader is
    told how many [LOGS-8].
    """

    async def read_logs(
        self, container_id: ContainerId, stream: LogStream, /, *, offset: int = 0, max_bytes: int = 65536
    ) -> LogChunk:
        """Read what is there now, from `offset` [LOGS-4], without waiting [LOGS-3].

        A negative offset counts from the end of what was written, and begins at 0 where that is longer [LOGS-5]. Bytes
        that are no longer kept are skipped and counted in `gap_bytes`. An offset at or beyond the end gives an empty
        chunk at the end's offset [LOGS-6]. `final` is said of the last bytes of a container that has ended, and of
        nothing else [LOGS-10]. Fewer than `max_bytes` may come although there are more, but never none.

        Args:
            container_id: Which container.
            stream: Which output.
            offset: The first byte wanted.
            max_bytes: The most bytes to return, >= 1 [LOGS-7].

        Raises:
            ContainerNotFound: No such container [LOGS-9].
        """
        ...

    def follow_logs(
        self, container_id: ContainerId, stream: LogStream, /, *, offset: int = 0
    ) -> AbstractAsyncContextManager[AsyncIterator[LogChunk]]:
        """Read from `offset` on [FOLLOW-2], waiting for more [FOLLOW-3], to the end.

        The chunks have no byte twice and leave out none but those that a `gap_bytes` counts [FOLLOW-1]. The iteration
        ends after a chunk with `final`, also where the container ends meanwhile [FOLLOW-4], or when the container is
        removed [FOLLOW-5]. Any number may follow [FOLLOW-6], and leave at any time [FOLLOW-7].

        Raises:
            ContainerNotFound: No such container (on entering) [LOGS-9].
        """
        ...


class ExecSession(Protocol):
    """A command that runs in a container."""

    async def send_stdin(self, data: bytes, /) -> None:
        """Write to the command's standard input; what it no longer reads is dropped [EXEC-3]."""
        ...

    async def close_stdin(self) -> None:
        """End the command's standard input [EXEC-2]. Closing twice succeeds."""
        ...

    def output(self) -> AsyncIterator[ExecOutput]:
        """Iterate over what it writes, to the end [EXEC-1]. One reader at a time.

        Nothing is dropped, however slowly it is read or however late that begins: while 1 MiB is unread, the command
        may have to wait until it can write more [EXEC-11]. There is one exception, which `wait` states.
        """
        ...

    async def wait(self) -> ExitStatus:
        """Wait until the command has ended, by itself or with its container [EXEC-10].

        While somebody waits here and there is no reader, which is an iterator of `output` that was not dropped,
        output does not keep the command from ending: of what is unread at least 1 MiB is kept from its beginning, and
        all from there on may be dropped [EXEC-8]. To have all of it, call `output` before.
        """
        ...


@runtime_checkable
class SupportsExec(Protocol):
    """`RuntimeCapability.EXEC`: commands can be run inside a running container."""

    def exec_in_container(
        self, container_id: ContainerId, command: Sequence[str], /
    ) -> AbstractAsyncContextManager[ExecSession]:
        """Run a command with the container's environment [EXEC-9], user, directory and limits.

        Leaving the context kills the command and what it started, if it still runs [EXEC-4].

        Raises:
            ContainerNotFound: No such container (on entering) [EXEC-5].
            CommandNotFound: The command's program is not there (on entering) [EXEC-12].
            CommandNotExecutable: It is there and can't be executed (on entering) [EXEC-13].
            RuntimeFailure: The container does not run [EXEC-6], or the command can't be started [EXEC-7] (on entering).
        """
        ...


@runtime_checkable
class TerminalSession(ExecSession, Protocol):
    """A command that runs in a container at a terminal, which is its standard input and both of its outputs.

    What `ExecSession` promises holds here too, with what a terminal makes of it: all that the command writes comes as
    `LogStream.STDOUT`, and what is typed is echoed there [TERMINAL-2]. `send_stdin` types: a line is read once it is
    ended [TERMINAL-2], and the character ETX (Ctrl-C) sends SIGINT to what runs in the foreground [TERMINAL-4].
    `close_stdin` types the character that ends a terminal's input, once [TERMINAL-5].
    """

    async def resize(self, size: TerminalSize, /) -> None:
        """Let the terminal have another size; what runs in the foreground gets SIGWINCH [TERMINAL-3].

        Where the command has ended it changes nothing [TERMINAL-3].
        """
        ...


@runtime_checkable
class SupportsTerminals(Protocol):
    """`RuntimeCapability.TERMINALS`: commands can be run at terminals inside a running container.

    A runtime that has this has `RuntimeCapability.EXEC` too [CAPABILITY-3].
    """

    def exec_at_terminal(
        self, container_id: ContainerId, command: Sequence[str], /, *, size: TerminalSize
    ) -> AbstractAsyncContextManager[TerminalSession]:
        """Run a command at a new terminal of its own [TERMINAL-1], else as `SupportsExec.exec_in_container` does.

        Its environment is the container's, with `TERM` where that has none [TERMINAL-1]. Leaving the context kills the
        command and what it started, if it still runs [TERMINAL-6].

        Args:
            container_id: Which container.
            command: Program and arguments.
            size: The terminal's size at first.

        Raises:
            ContainerNotFound: No such container (on entering) [TERMINAL-7].
            CommandNotFound: The command's program is not there (on entering) [TERMINAL-8].
            CommandNotExecutable: It is there and can't be executed (on entering).
            RuntimeFailure: The container does not run [TERMINAL-7], or the command can't be started (on entering).
        """
        ...


@runtime_checkable
class SupportsStats(Protocol):
    """`RuntimeCapability.STATS`: what containers use can be asked for."""

    async def get_container_stats(self, container_id: ContainerId, /) -> ContainerStats:
        """Say what a container uses now [STATS-1]; its processor time never falls [STATS-2].

        For one that has ended: what it used in all, and no memory or processes [STATS-3].

        Raises:
            ContainerNotFound: No such container [STATS-4].
        """
        ...


@runtime_checkable
class SupportsEvents(Protocol):
    """`RuntimeCapability.EVENTS`: changes are announced, so that nobody needs to poll."""

    def watch_containers(self, node_id: NodeId, /) -> AbstractAsyncContextManager[AsyncIterator[ContainerHint]]:
        """Follow changes of a node's containers.

        Entering arms it [EVENTS-2]: for each change of a container's status after that, a hint about the container
        comes after the change can be seen [EVENTS-1], to every reader [EVENTS-5]. Hints may be doubled, merged or about
        nothing. A reader that is slow gets one hint with None in place of those that were lost [EVENTS-3]. Where hints
        have a status, it is the container's at the change or later [EVENTS-6].

        Raises:
            NodeNotFound: The node is not initialised (on entering) [EVENTS-4].
        """
        ...
