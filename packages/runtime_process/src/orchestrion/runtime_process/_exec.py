"""Commands that run inside a container."""

from __future__ import annotations

import errno
import os
import weakref
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, NamedTuple

import trio
from orchestrion.runtime_interface import (
    CommandNotExecutable,
    CommandNotFound,
    ExecOutput,
    LogStream,
    RuntimeFailure,
    TerminalSize,
)
from orchestrion.shared_types import ExitStatus

from . import _processes
from ._launch import exec_spec, spawn_shim
from ._record import Body
from ._settings import Settings
from ._shim import FIRST_FD, REPORT_FD, RUN_STEP
from ._terminals import end_of_input, open_terminal, set_size

MAX_UNREAD_BYTES: Final = 1 << 20
_SIGKILL: Final = 9
_READ_BYTES: Final = 65536


class CommandPipes:
    """Our ends of what leads to a command's shim.

    Attributes:
        pidfd: The shim.
        control: The shim ends everything when this is closed, by us or by our death.
        stdin: What we write to.
        outputs: What we read from, and what it is.
        report: Where the shim reports.
    """

    def __init__(self, fds: CommandFds) -> None:
        self.pidfd = fds.pidfd
        self.control = fds.control
        self.stdin = trio.lowlevel.FdStream(fds.stdin)
        self.outputs = {stream: trio.lowlevel.FdStream(fd) for stream, fd in fds.outputs.items()}
        self.report = trio.lowlevel.FdStream(fds.report)


class CommandFds(NamedTuple):
    """Our descriptors of a command: see `CommandPipes`."""

    pidfd: int
    control: int
    stdin: int
    outputs: Mapping[LogStream, int]
    report: int


def start_command(
    settings: Settings, container_id: str, body: Body, command: list[bytes], size: TerminalSize | None
) -> CommandFds:
    """Start the shim of a command. It blocks.

    Args:
        settings: What all containers have in common.
        container_id: Where.
        body: What the container's record says.
        command: Program and arguments.
        size: That of the command's terminal; None gives it pipes.

    Raises:
        OSError: It can't be started.
    """
    directory = settings.state.containers / container_id
    with ExitStack() as theirs, ExitStack() as ours:

        def opened(pair: tuple[int, int]) -> tuple[int, int]:
            mine, other = pair
            ours.callback(os.close, mine)
            theirs.callback(os.close, other)
            return mine, other

        control, report = opened(os.pipe()[::-1]), opened(os.pipe())
        if size is None:
            stdin, stdout, stderr = opened(os.pipe()[::-1]), opened(os.pipe()), opened(os.pipe())
            outputs = {LogStream.STDOUT: stdout[0], LogStream.STDERR: stderr[0]}
        else:
            stdin = stdout = stderr = opened(open_terminal(size, body.user_id))
            reading = os.dup(stdin[0])
            ours.callback(os.close, reading)
            outputs = {LogStream.STDOUT: reading}
        given = {
            REPORT_FD: report[1],
            FIRST_FD: control[1],
            FIRST_FD + 1: stdin[1],
            FIRST_FD + 2: stdout[1],
            FIRST_FD + 3: stderr[1],
        }
        spec = exec_spec(settings, directory, body, command, terminal=size is not None)
        pidfd = spawn_shim(settings, container_id, spec, given, errors=Path("/dev/null"))
        ours.pop_all()
    return CommandFds(pidfd, control[0], stdin[0], outputs, report[0])


def _failure_of(code: int, step: str) -> type[RuntimeFailure]:
    """Return the error of a command that can't be started, by the code of the system and what failed."""
    if step != RUN_STEP:
        return RuntimeFailure
    if code in (errno.ENOENT, errno.ENOTDIR):
        return CommandNotFound
    return CommandNotExecutable if code in (errno.EACCES, errno.ENOEXEC, errno.EISDIR) else RuntimeFailure


class ProcessExecSession:
    """A command that runs in a container."""

    def __init__(self, pipes: CommandPipes) -> None:
        self._pipes = pipes
        self._status: ExitStatus | None = None
        self._report = b""
        self._output: deque[ExecOutput] = deque()
        self._unread = 0
        self._open_streams = len(pipes.outputs)
        self._reader: weakref.ref[_Output] | None = None
        self._waiting = 0
        self._dropping = False
        self._changed = trio.Event()
        self._stdin_lock = trio.Lock()
        self._pump = trio.CancelScope()
        self._pump_ended = trio.Event()

    # ---- for the caller ----

    async def send_stdin(self, data: bytes, /) -> None:
        """Write to the command's standard input; what it no longer reads is dropped."""
        async with self._stdin_lock:
            try:
                await self._pipes.stdin.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                await trio.lowlevel.checkpoint()

    async def close_stdin(self) -> None:
        """End the command's standard input. Closing twice succeeds."""
        await self._pipes.stdin.aclose()

    def output(self) -> AsyncIterator[ExecOutput]:
        """Iterate over what it writes, to the end. One reader at a time; while it is slow, the command waits."""
        reader = _Output(self)
        token = trio.lowlevel.current_trio_token()

        def left(_: object) -> None:
            # Called wherever the reader's last reference goes, which may be in another thread, or after the run.
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(self._notify, idempotent=True)

        self._reader = weakref.ref(reader, left)
        return reader

    async def wait(self) -> ExitStatus:
        """Wait until the command has ended, by itself or with its container.

        While somebody waits and nobody reads, output beyond 1 MiB is dropped, and from then on all of it.
        """
        await trio.lowlevel.checkpoint()
        self._waiting += 1
        self._notify()
        try:
            while self._status is None:
                await self.wait_changed()
        finally:
            self._waiting -= 1
        return self._status

    # ---- for the runtime ----

    async def wait_started(self, command: str) -> None:
        """Wait until the command runs.

        Raises:
            CommandNotFound: Its program is not there.
            CommandNotExecutable: Its program can't be executed.
            RuntimeFailure: It can't be started.
        """
        while b"\n" not in self._report:
            data = await self._pipes.report.receive_some(4096)
            if not data:
                msg = f"can't run {command!r}: the process that was to run it ended before it did"
                raise RuntimeFailure(msg)
            self._report += data
        line, _, self._report = self._report.partition(b"\n")
        word, _, rest = line.decode().partition(" ")
        if word == "failed":
            code, _, step = rest.partition(" ")
            msg = f"can't run {command!r} in the container: can't {step}: {os.strerror(int(code))}"
            raise _failure_of(int(code), step)(msg)

    async def run(self) -> None:
        """Move what it writes, and wait for its end, until its shim has ended."""
        try:
            with self._pump:
                async with trio.open_nursery() as nursery:
                    for stream, pipe in self._pipes.outputs.items():
                        nursery.start_soon(self._read, pipe, stream)
                    await self._read_report()
        finally:
            self.end(ExitStatus(signal=_SIGKILL))
            self._pump_ended.set()

    async def _read(self, pipe: trio.lowlevel.FdStream, stream: LogStream) -> None:
        try:
            while True:
                await self._wait_for_room()
                try:
                    data = await pipe.receive_some(_READ_BYTES)
                except trio.BrokenResourceError:  # a terminal that nobody is at any longer
                    return
                if not data:
                    return
                if not self._dropping:
                    self._output.append(ExecOutput(stream=stream, data=bytes(data)))
                    self._unread += len(data)
                    self._notify()
        finally:
            self._open_streams -= 1
            self._notify()

    async def _wait_for_room(self) -> None:
        """Wait until what was read has been taken, or until it is known that nobody will take it."""
        while self._unread >= MAX_UNREAD_BYTES and not self._dropping:
            if self._waiting and (self._reader is None or self._reader() is None):
                self._dropping = True
            else:
                await self.wait_changed()

    async def _read_report(self) -> None:
        while b"\n" not in self._report:
            data = await self._pipes.report.receive_some(4096)
            if not data:
                self.end(ExitStatus(signal=_SIGKILL))
                return
            self._report += data
        _, code, signal = self._report.decode().split()
        self.end(ExitStatus(code=None if code == "-" else int(code), signal=None if signal == "-" else int(signal)))

    def end(self, status: ExitStatus) -> None:
        """Say how it ended, unless that is known."""
        if self._status is None:
            self._status = status
            self._notify()

    def kill(self) -> None:
        """Let the shim kill the command and all it started."""
        if self._pipes.control >= 0:
            os.close(self._pipes.control)
            self._pipes.control = -1

    async def aclose(self, *, running: bool) -> None:
        """Kill what still runs, wait until it is gone, and let go of the pipes.

        Args:
            running: Whether `run` was started.
        """
        self.kill()
        # Short: the shim does nothing else any more. Shielded, because what was started must not be left behind.
        with trio.CancelScope(shield=True):
            await _processes.wait_ended(self._pipes.pidfd)
            _processes.reap(self._pipes.pidfd)
            os.close(self._pipes.pidfd)
            self._pump.cancel()
            if running:
                await self._pump_ended.wait()
            for stream in (self._pipes.stdin, *self._pipes.outputs.values(), self._pipes.report):
                await stream.aclose()
        self.end(ExitStatus(signal=_SIGKILL))

    def take(self) -> ExecOutput | None:
        """Return the next piece of output, if there is one."""
        if not self._output:
            return None
        piece = self._output.popleft()
        self._unread -= len(piece.data)
        self._notify()
        return piece

    @property
    def output_ended(self) -> bool:
        """Whether no more output can come."""
        return self._open_streams == 0

    async def wait_changed(self) -> None:
        """Wait until there is more output, or the end of something."""
        self._changed = self._changed if not self._changed.is_set() else trio.Event()
        await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()


class ProcessTerminalSession(ProcessExecSession):
    """A command that runs in a container, at a terminal."""

    _input_ended = False

    async def close_stdin(self) -> None:
        """Type the character that ends the terminal's input, once."""
        if self._input_ended or self._status is not None:
            await trio.lowlevel.checkpoint()
            return
        self._input_ended = True
        await self.send_stdin(end_of_input(self._pipes.stdin.fileno()))

    async def resize(self, size: TerminalSize, /) -> None:
        """Let the terminal have another size."""
        await trio.lowlevel.checkpoint()
        if self._status is None:
            set_size(self._pipes.stdin.fileno(), size)


class _Output:
    def __init__(self, session: ProcessExecSession) -> None:
        self._session = session

    def __aiter__(self) -> AsyncIterator[ExecOutput]:
        return self

    async def __anext__(self) -> ExecOutput:
        await trio.lowlevel.checkpoint()
        while True:
            piece = self._session.take()
            if piece is not None:
                return piece
            if self._session.output_ended:
                raise StopAsyncIteration
            await self._session.wait_changed()
