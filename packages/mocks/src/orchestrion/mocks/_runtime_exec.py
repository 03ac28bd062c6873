"""Commands in mock containers."""

from __future__ import annotations

import math
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

import trio
from attrs import define, field
from orchestrion.runtime_interface import ExecOutput, LogStream, TerminalSize
from orchestrion.shared_types import ExitStatus

from ._runtime_behaviour import SIGKILL, MockBehaviour, Output
from ._runtime_engine import MockEngine
from ._runtime_records import MockContainer, MockNode, Pulse

UNREAD_BYTES: Final = 1 << 20
"""So much output is kept while somebody waits for the command and nobody reads; else all of it."""


@define(eq=False)
class MockExecSession:
    """A command that runs in a mock container. Like all of the world it lives by being looked at.

    Attributes:
        engine: The world that it is in.
        container: Where it runs.
        behaviour: What it does.
        check: Raises what keeps the program from being answered.
        stdin_closed: Whether its standard input has ended.
        exit: How it ended, or None.
    """

    engine: MockEngine
    container: MockContainer
    behaviour: MockBehaviour
    check: Callable[[], None]
    stdin_closed: bool = False
    exit: ExitStatus | None = None
    _to_come: deque[tuple[float, Output]] = field(factory=deque)
    _ends_at: float = math.inf
    _unread: deque[ExecOutput] = field(factory=deque)
    _unread_bytes: int = 0
    _reader: weakref.ref[_OutputReader] | None = None
    _waiting: int = 0
    _dropping: bool = False
    _changed: Pulse = field(factory=Pulse)

    def __attrs_post_init__(self) -> None:
        started = self.engine.clock()
        for output in self.behaviour.all_output(self._environment):
            self._to_come.append((started + output.after_seconds, output))
        if self.behaviour.exit is not None:
            self._ends_at = started + self.behaviour.after_seconds

    @property
    def ended(self) -> bool:
        """Whether it has ended by now."""
        self._advance()
        return self.exit is not None

    async def send_stdin(self, data: bytes, /) -> None:
        """Write to its standard input."""
        await trio.lowlevel.checkpoint()
        self.check()
        if self.behaviour.copies_stdin and not self.ended and not self.stdin_closed:
            self._write(LogStream.STDOUT, data)

    async def close_stdin(self) -> None:
        """End its standard input."""
        await trio.lowlevel.checkpoint()
        self.check()
        self.stdin_closed = True
        self._changed.fire()

    def output(self) -> AsyncIterator[ExecOutput]:
        """Iterate over what it writes."""
        reader = _OutputReader(self)
        self._reader = weakref.ref(reader)
        return reader

    async def next_output(self) -> ExecOutput | None:
        """Return the next piece of what it writes, or None at the end."""
        await trio.lowlevel.checkpoint()
        while True:
            self.check()
            ended = self.ended
            if self._unread:
                item = self._unread.popleft()
                self._unread_bytes -= len(item.data)
                return item
            if ended:
                return None
            await self._wait()

    async def wait(self) -> ExitStatus:
        """Wait until it has ended."""
        await trio.lowlevel.checkpoint()
        self._waiting += 1
        try:
            while not self.ended:
                self.check()
                await self._wait()
        finally:
            self._waiting -= 1
        self.check()
        assert self.exit is not None  # noqa: S101 - what `ended` says
        return self.exit

    def kill(self) -> None:
        """End it now, unless it has ended."""
        if not self.ended:
            self._end(ExitStatus(signal=SIGKILL))

    def _end(self, status: ExitStatus) -> None:
        self.exit = status
        self._changed.fire()

    def _advance(self) -> None:
        if self.exit is not None:
            return
        self.engine.advance(self._node)
        now = self.engine.clock()
        while self._to_come and self._to_come[0][0] <= now:
            _, output = self._to_come.popleft()
            self._write(output.stream, output.data)
        if self.container.ended:
            self._end(ExitStatus(signal=SIGKILL))
        elif self.behaviour.copies_stdin or self.behaviour.tells_size:
            if self.stdin_closed:
                self._end(ExitStatus(code=0))
        elif now >= self._ends_at:
            self._end(self.behaviour.exit or ExitStatus(code=0))

    def _write(self, stream: LogStream, data: bytes) -> None:
        room = len(data)
        if self._dropping:
            room = 0
        elif self._waiting and (self._reader is None or self._reader() is None):
            room = max(0, UNREAD_BYTES - self._unread_bytes)
            self._dropping = room < len(data)
        kept = data[:room]
        if kept:
            self._unread.append(ExecOutput(stream=stream, data=kept))
            self._unread_bytes += len(kept)
            self._changed.fire()

    @property
    def _environment(self) -> Mapping[str, str]:
        return self.container.config.env_vars

    @property
    def _node(self) -> MockNode:
        return self.engine.nodes[self.container.options.node_id]

    async def _wait(self) -> None:
        next_time = min(self._ends_at, self._to_come[0][0] if self._to_come else math.inf)
        with trio.move_on_after(max(0.0, next_time - self.engine.clock())):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._wait_for_own_change, nursery.cancel_scope)
                await self.engine.wait(self.container.changed, self._node)
                nursery.cancel_scope.cancel()

    async def _wait_for_own_change(self, scope: trio.CancelScope) -> None:
        await self._changed.wait()
        scope.cancel()


_INTERRUPT: Final = 0x03
_END: Final = 0x04
_NEWLINES: Final = b"\r\n"
_SIGINT: Final = 2


@define(eq=False)
class MockTerminalSession(MockExecSession):
    """A command at a terminal of a mock container.

    Attributes:
        size: The terminal's.
    """

    size: TerminalSize = field(factory=TerminalSize, kw_only=True)
    _line: bytes = b""

    async def send_stdin(self, data: bytes, /) -> None:
        """Type."""
        await trio.lowlevel.checkpoint()
        self.check()
        for character in data:
            if self.ended or self.stdin_closed:
                return
            self._type(character)

    async def close_stdin(self) -> None:
        """Type the character that ends the input."""
        if self.stdin_closed:
            await trio.lowlevel.checkpoint()
            return
        await self.send_stdin(bytes([_END]))

    async def resize(self, size: TerminalSize, /) -> None:
        """Let the terminal have another size."""
        await trio.lowlevel.checkpoint()
        self.check()
        self.size = size

    def _type(self, character: int) -> None:
        if character == _INTERRUPT:
            self._write(LogStream.STDOUT, b"^C")
            self._end(ExitStatus(signal=_SIGINT))
        elif character in _NEWLINES:
            self._write(LogStream.STDOUT, b"\n")
            self._read(self._line + b"\n")
        elif character != _END:
            self._write(LogStream.STDOUT, bytes([character]))
            self._line += bytes([character])
        elif self._line:
            self._read(self._line)
        else:
            self.stdin_closed = True
            self._changed.fire()

    def _read(self, line: bytes) -> None:
        self._line = b""
        if self.behaviour.copies_stdin:
            self._write(LogStream.STDOUT, line)
        if self.behaviour.tells_size:
            self._write(LogStream.STDOUT, b"size %d %d\n" % (self.size.rows, self.size.columns))

    def _write(self, stream: LogStream, data: bytes) -> None:
        super()._write(LogStream.STDOUT, data.replace(b"\n", b"\r\n"))

    @property
    def _environment(self) -> Mapping[str, str]:
        return {"TERM": "xterm", **self.container.config.env_vars}


@define(eq=False, weakref_slot=True)
class _OutputReader:
    session: MockExecSession

    def __aiter__(self) -> _OutputReader:
        return self

    async def __anext__(self) -> ExecOutput:
        item = await self.session.next_output()
        if item is None:
            raise StopAsyncIteration
        return item
