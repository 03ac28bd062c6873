"""The audit log: an append-only file of who did what, each record chained to the one before by its hash."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final

import trio
from attrs import define, field
from orchestrion.orchestrator_core import WallClock, system_time
from orchestrion.shared_types import Closed, Conflict, OrchestrationError, StateFailure

from .audit_files import audit_files, file_name, last_head
from .audit_records import AuditRecord, Head, line_of, marker_of
from .private_files import sync_directory

MAX_FILE_BYTES: Final = 67_108_864
"""When a file has this size, the next record begins another one."""

_MAX_BATCH: Final = 1024


@define(eq=False)
class _Waiting:
    record: AuditRecord
    done: trio.Event = field(factory=trio.Event)
    sequence: int = 0
    error: OrchestrationError | None = None


@define(eq=False)
class AuditLog:
    """Writes records to `NNNN.jsonl` in a directory of its own; `run` does the work, `write` asks for it.

    All that was asked for while the disk was busy is written and synced together, in a thread.

    Attributes:
        directory: Where the files go (mode 0600); it is made where it is missing (mode 0700).
        now: The wall clock, for what the log says of itself.
        max_file_bytes: When a file has this size, the next record begins another one.
        doubt: Why it is not what was written, as far as that was seen when it began; empty for no doubt.
    """

    directory: Path
    now: WallClock = system_time
    max_file_bytes: int = MAX_FILE_BYTES
    doubt: str = field(default="", init=False)
    _head: Head = field(init=False, factory=Head)
    _number: int = field(init=False, default=0)
    _size: int = field(init=False, default=0)
    _descriptor: int = field(init=False, default=-1)
    _waiting: list[_Waiting] = field(init=False, factory=list)
    _wake: trio.Event = field(init=False, factory=trio.Event)
    _over: OrchestrationError | None = field(init=False, default=None)

    @property
    def head(self) -> Head:
        """The last record that is on disk. Kept elsewhere, it lets `verify_audit` find what was taken from the end."""
        return self._head

    @property
    def failure(self) -> OrchestrationError | None:
        """Why nothing can be written any longer; None while it can."""
        return self._over

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled; started when the log is open. What a crash has torn is completed by a marker first.

        **Cancellation.** *Closing*: what `write` was asked for before is still written.

        Raises:
            Conflict: Another process writes the log.
            StateFailure: It can't be opened, or its last record is damaged.
        """
        try:
            async with contextlib.AsyncExitStack() as stack:
                await trio.to_thread.run_sync(self._open, stack)
                task_status.started()
                try:
                    while True:
                        await self._wake.wait()
                        self._wake = trio.Event()
                        await self._write_waiting()
                finally:
                    await self._write_waiting()
        finally:
            self._over = self._over or Closed("the audit log was closed")
            self._fail(self._waiting, self._over)
            self._waiting = []

    async def write(self, record: AuditRecord, /) -> int:
        """Write a record. When this returns it is on disk.

        **Cancellation.** *Indeterminate*: the record is most likely written.

        Returns:
            The record's number, from 1.

        Raises:
            Closed: `run` has ended.
            StateFailure: It can't be written. What is to be on record must not be done then.
        """
        if self._over is not None:
            await trio.lowlevel.checkpoint()
            raise self._over
        waiting = _Waiting(record)
        self._waiting.append(waiting)
        self._wake.set()
        await waiting.done.wait()
        if waiting.error is not None:
            raise waiting.error
        return waiting.sequence

    async def _write_waiting(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_MAX_BATCH], self._waiting[_MAX_BATCH:]
            try:
                # What was taken from the queue is not to be lost; it takes no longer than the disk does.
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(self._append, batch)
            except OrchestrationError as err:
                self._fail(batch, err)
            for waiting in batch:
                waiting.done.set()

    def _fail(self, batch: list[_Waiting], error: OrchestrationError) -> None:
        for waiting in batch:
            waiting.error = error
            waiting.done.set()

    def _open(self, stack: contextlib.AsyncExitStack) -> None:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            stack.callback(os.close, lock)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as err:
                msg = f"another process writes the audit log in {self.directory}"
                raise Conflict(msg, remedy="end it, or use another state directory") from err
            stack.callback(self._close)
            files = audit_files(self.directory)
            self._number = files[-1][0] if files else 0
            self._head, torn = last_head(files)
            self._open_file(max(1, self._number))
            if torn is not None:
                marker, after = marker_of(torn, self.now(), self._head) if torn else (b"\n", self._head)
                self._write_synced(marker, after)
        except OSError as err:
            msg = f"opening the audit log in {self.directory} failed: {err.strerror}"
            raise StateFailure(msg, remedy="make room there and make it writable") from err

    def _open_file(self, number: int) -> None:
        self._close()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self.directory / file_name(number), flags, 0o600)
        self._number = number
        self._size = os.fstat(self._descriptor).st_size
        sync_directory(self.directory)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _append(self, batch: list[_Waiting]) -> None:
        if self._over is not None:
            raise self._over
        try:
            if self._size >= self.max_file_bytes:
                self._open_file(self._number + 1)
        except OSError as err:
            self._give_up(err)
        head, lines = self._head, []
        for waiting in batch:
            line, head = line_of(waiting.record, head)
            lines.append(line)
            waiting.sequence = head.sequence
        self._write_synced(b"".join(lines), head)

    def _write_synced(self, data: bytes, after: Head) -> None:
        size, rest = self._size, memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as err:
            try:
                os.ftruncate(self._descriptor, size)
            except OSError:
                self._give_up(err)
            msg = f"writing the audit log failed: {err.strerror}"
            raise StateFailure(msg, remedy=f"make room in {self.directory}") from err
        try:
            os.fsync(self._descriptor)
        except OSError as err:
            # The kernel may have dropped what it could not write, and would call a second sync a success.
            self._give_up(err)
        self._size, self._head = size + len(data), after

    def _give_up(self, err: OSError) -> None:
        self._over = StateFailure(
            f"the audit log can't be written any longer: {err.strerror}",
            remedy=f"look after the disk of {self.directory}, verify the log, and start the server anew",
        )
        raise self._over from err
