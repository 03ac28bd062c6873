"""What the runtime holds of one container while this program runs."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from datetime import datetime

import trio
from orchestrion.runtime_interface import CreateOptions
from orchestrion.shared_types import (
    ContainerConfig,
    ContainerId,
    ContainerState,
    ContainerStatus,
    InstanceKey,
    Protocol,
)

from ._processes import open_process, send_signal
from ._record import Body, Head, ProcessName

Key = tuple[InstanceKey, str, int]


def key_of(config: ContainerConfig, options: CreateOptions) -> Key:
    """Return what a container is known by."""
    return options.instance, config.name, options.attempt


def ports_of(config: ContainerConfig) -> set[tuple[Protocol, int]]:
    """Return the host ports that a container holds while it lives."""
    return {(port.protocol, port.host_port) for port in config.ports if port.host_port is not None}


class Task:
    """Something that goes on although its caller may leave.

    Attributes:
        done: Set when it is over.
        error: Why it failed, or None.
    """

    def __init__(self) -> None:
        self.done = trio.Event()
        self.error: Exception | None = None


class Container:
    """A container that was created and not yet removed.

    Attributes:
        container_id: Its id.
        body: What its record says from the start.
        head: What was added to it.
        pidfd: Its shim, or None once that has ended.
        status: What it is like.
        ended: Set once it has ended and nothing of it runs.
        removal: The attempt to remove it that is under way, or None.
        removed: Whether it is no longer listed.
        kill_at: When it is to be killed (trio's clock); infinity while nobody asked.
        stopping: Whether a task sees to its end.
        stop_changed: Set when `kill_at` gets earlier, and at the end.
        at_end: Called, perhaps twice, when it ends, for what depends on it.
        wake_at_end: Set when it ends or is removed.
        cpu_nanoseconds: The most processor time that was ever told.
    """

    def __init__(self, container_id: ContainerId, body: Body, head: Head, *, address: str) -> None:
        self.container_id = container_id
        self.body = body
        self.head = head
        self.pidfd: int | None = None
        self.ended = trio.Event()
        self.removal: Task | None = None
        self.removed = False
        self.kill_at = math.inf
        self.stopping = False
        self.stop_changed = trio.Event()
        self.at_end: set[Callable[[], None]] = set()
        self.wake_at_end: set[trio.Event] = set()
        self.cpu_nanoseconds = 0
        self._address = address
        self.status = self._status()

    def _status(self) -> ContainerStatus:
        config = self.body.config
        ended = self.ended.is_set()
        return ContainerStatus(
            name=config.name,
            container_id=self.container_id,
            state=ContainerState.EXITED if ended else ContainerState.RUNNING,
            attempt=self.body.options.attempt,
            exit=self.head.exit if ended else None,
            created_at=self.body.created_at,
            started_at=self.head.started_at,
            finished_at=self.head.finished_at if ended else None,
            ports={port.name: port.host_port for port in config.ports if port.host_port is not None},
            address=self._address,
        )

    def end(self, head: Head) -> None:
        """Take the final word: from now on it has ended, and its status never changes."""
        self.head = head
        self.ended.set()
        self.status = self._status()
        if head.end is not None:
            self.cpu_nanoseconds = max(self.cpu_nanoseconds, head.end[2])
        self.stop_changed.set()
        self.end_sessions()
        self.wake()

    def end_sessions(self) -> None:
        """Let the commands that run in it end: they are no part of what its shim ends."""
        for callback in list(self.at_end):
            callback()

    def wake(self) -> None:
        """Let those who follow its logs look again."""
        for event in self.wake_at_end:
            event.set()

    def ask_to_end(self, kill_at: float) -> None:
        """Bring the time of its killing forward."""
        if kill_at < self.kill_at:
            self.kill_at = kill_at
            self.stop_changed.set()

    def signal_main(self, number: int, boot_id: str) -> None:
        """Send a signal to the main process, if it lives.

        Only to the main process, not to its group: it may have children that it wants to stop in an order of its own,
        and a shell's terminal semantics would tell them twice. What is left after its end is killed by the shim.
        """
        if self.head.main_pid is None:
            return
        name = ProcessName(boot_id=boot_id, pid=self.head.main_pid, start_time=self.head.main_start_time)
        pidfd = open_process(name, boot_id)
        if pidfd is None:
            return
        try:
            send_signal(pidfd, number)
        finally:
            os.close(pidfd)

    def log_total(self, stdout: bool) -> int | None:
        """Return how many bytes it wrote to a stream in all, if that is known."""
        if self.head.end is None:
            return None
        return self.head.end[0] if stdout else self.head.end[1]


class Creation(Task):
    """A container that is being created.

    Attributes:
        container_id: The id that it will have.
        config: As it was asked for.
        options: As they were asked for.
        created_at: When (UTC).
        pidfd: Its shim, once that was started.
        unwanted: Whether its shim is to be killed as soon as there is one.
    """

    def __init__(
        self, container_id: ContainerId, config: ContainerConfig, options: CreateOptions, created_at: datetime
    ) -> None:
        super().__init__()
        self.container_id = container_id
        self.config = config
        self.options = options
        self.created_at = created_at
        self.pidfd: int | None = None
        self.unwanted = False
