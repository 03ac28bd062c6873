"""The client's end of exec: a WebSocket (RFC 6455)."""

from __future__ import annotations

import contextlib
import json
import weakref
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any, Final, Self
from urllib.parse import quote

import trio
from orchestrion.runtime_interface import ExecOutput, LogStream, TerminalSize
from orchestrion.shared_types import (
    Denied,
    ExitStatus,
    NetworkFailure,
    OrchestrationError,
    Unauthenticated,
    structure_answer,
    to_json,
)
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.utilities import ProtocolError

from ._http import heard, query_text
from ._peer import Peer, SocketPeer
from ._problems import error_of, sole_error
from ._wire import OUTPUT_MARKS, STDIN_CLOSED, ExecRequest, ResizeMessage

_STREAMS: Mapping[int, LogStream] = {mark[0]: stream for stream, mark in OUTPUT_MARKS.items()}

_MAX_UNREAD_BYTES = 1_048_576
"""What is taken in ahead of the reader: then the command waits, or, as `ExecSession.wait` says, output is dropped."""

_MAX_RECEIVE_BYTES = 65536
_MAX_REFUSAL_BYTES = 65536


class _Messages:
    """Whole messages over a byte stream."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._lock = trio.Lock()

    async def send(self, event: Any) -> None:
        async with self._lock:
            await self._stream.send_all(self._protocol.send(event))

    async def events(self) -> AsyncGenerator[Any, None]:
        """Iterate over what the server sends, messages as wholes, until it closes."""
        text, data = "", b""
        while True:
            received = bytes(await self._stream.receive_some(_MAX_RECEIVE_BYTES))
            self._protocol.receive_data(received or None)
            for event in self._protocol.events():
                match event:
                    case Ping():
                        await self.send(event.response())
                    case TextMessage():
                        text += event.data
                        if event.message_finished:
                            yield TextMessage(text)
                            text = ""
                    case BytesMessage():
                        data += event.data
                        if event.message_finished:
                            yield BytesMessage(data)
                            data = b""
                    case _:
                        yield event
            if not received:
                return


class RemoteExecSession:
    """An `ExecSession` whose command runs behind a Control on the other side of a socket."""

    def __init__(self, messages: _Messages) -> None:
        self._messages = messages
        self._unread = deque[ExecOutput]()
        self._unread_bytes = 0
        self._reader: weakref.ref[_Output] | None = None
        self._waiting = 0
        self._dropping = False
        self._changed = trio.Event()
        self._exit: ExitStatus | None = None
        self._error: OrchestrationError | None = None
        self._input_closed = False

    async def send_stdin(self, data: bytes, /) -> None:
        """Write to the command's standard input; what it no longer reads is dropped."""
        if self._over or self._input_closed or not data:
            await trio.lowlevel.checkpoint()
            return
        await self._send(BytesMessage(data))

    async def close_stdin(self) -> None:
        """End the command's standard input. Closing twice succeeds."""
        if self._over or self._input_closed:
            await trio.lowlevel.checkpoint()
            return
        self._input_closed = True
        await self._send(TextMessage(STDIN_CLOSED))

    def output(self) -> AsyncIterator[ExecOutput]:
        """Iterate over what it writes, to the end. One reader at a time; while it is slow, the command waits."""
        reader = _Output(self)
        token = trio.lowlevel.current_trio_token()

        def left(_: object) -> None:
            # The last reference to a reader may go in another thread, or after the run.
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(self._tell, idempotent=True)

        self._reader = weakref.ref(reader, left)
        return reader

    async def next_output(self) -> ExecOutput | None:
        """Return the next piece of output, or None at the end."""
        while not self._unread and not self._over:
            await self._changed.wait()
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._unread:
            item = self._unread.popleft()
            self._unread_bytes -= len(item.data)
            self._tell()
            return item
        if self._error is not None:
            raise self._error
        return None

    async def wait(self) -> ExitStatus:
        """Wait until the command has ended.

        While somebody waits and nobody reads, output beyond 1 MiB is dropped, and from then on all of it.
        """
        await trio.lowlevel.checkpoint()
        self._waiting += 1
        self._tell()
        try:
            while self._exit is None:
                if self._error is not None:
                    raise self._error
                await self._changed.wait()
        finally:
            self._waiting -= 1
        return self._exit

    @property
    def _over(self) -> bool:
        return self._exit is not None or self._error is not None

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _send(self, event: BytesMessage | TextMessage) -> None:
        # A connection that is gone, or that the server has closed while its last output is unread, is no failure here:
        # how the command ended, the receiving side says.
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, ProtocolError):
            await self._messages.send(event)

    async def receive(self, events: AsyncIterator[Any]) -> None:
        """Take in what the server sends, to the end."""
        try:
            async for event in events:
                match event:
                    case BytesMessage():
                        await self._keep(ExecOutput(stream=_STREAMS[event.data[0]], data=bytes(event.data[1:])))
                    case TextMessage():
                        self._conclude(json.loads(event.data))
                    case CloseConnection(reason=reason):
                        if not self._over and reason:
                            self._error = _cut_off(reason)
                        break
        except (trio.BrokenResourceError, trio.ClosedResourceError, ProtocolError, ValueError, KeyError, IndexError):
            pass
        if not self._over:
            self._error = _cut_off()
        self._tell()

    async def _keep(self, item: ExecOutput) -> None:
        """Keep a piece of output as soon as there is room for it, or drop it where nobody will ever make room."""
        while self._unread_bytes >= _MAX_UNREAD_BYTES and not self._dropping:
            if self._waiting and (self._reader is None or self._reader() is None):
                self._dropping = True
            else:
                await self._changed.wait()
        if item.data and not self._dropping:
            self._unread.append(item)
            self._unread_bytes += len(item.data)
            self._tell()

    def _conclude(self, message: Mapping[str, Any]) -> None:
        if "exit" in message:
            self._exit = structure_answer(message["exit"], ExitStatus)
        elif "error" in message:
            self._error = error_of(message["error"])


class RemoteTerminalSession(RemoteExecSession):
    """A `TerminalSession` whose command runs behind a Control on the other side of a socket."""

    async def resize(self, size: TerminalSize, /) -> None:
        """Let the terminal have another size."""
        if self._over:
            await trio.lowlevel.checkpoint()
            return
        await self._send(TextMessage(to_json(ResizeMessage(resize=size)).decode()))


class _Output:
    """An iterator that can be dropped at any place, which a generator can't."""

    def __init__(self, session: RemoteExecSession) -> None:
        self._session = session

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ExecOutput:
        item = await self._session.next_output()
        if item is None:
            raise StopAsyncIteration
        return item


@asynccontextmanager
async def open_exec(peer: Peer, request: ExecRequest, /) -> AsyncIterator[RemoteExecSession]:
    """Run a command behind a Control. Leaving the context kills it."""
    stream = await peer.connect()
    messages = _Messages(stream)
    try:
        async with aclosing(messages.events()) as events:
            try:
                await heard(peer, partial(_begin, peer, messages, events, request))
            except (trio.BrokenResourceError, ProtocolError, StopAsyncIteration) as err:
                raise _cut_off() from err
            session = (RemoteExecSession if request.terminal is None else RemoteTerminalSession)(messages)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(session.receive, events)
                    yield session
                    nursery.cancel_scope.cancel()
            except BaseExceptionGroup as group:
                raise sole_error(group) from None
    finally:
        await trio.aclose_forcefully(stream)


_AT_SOCKET: Final = "/v1/exec"
_REFUSALS: Final[Mapping[int, type[OrchestrationError]]] = {401: Unauthenticated, 403: Denied}


async def _begin(peer: Peer, messages: _Messages, events: AsyncIterator[Any], request: ExecRequest) -> None:
    path, query = _path_of(request), ""
    if isinstance(peer, SocketPeer):
        path, query = _AT_SOCKET, query_text({"namespace": request.namespace, "name": request.instance})
    shown = [(name.encode(), value.encode()) for name, value in peer.credentials("GET", path, query, b"", {}).items()]
    await messages.send(Request(host=peer.host, target=f"{path}?{query}" if query else path, extra_headers=shown))
    match await anext(events):
        case AcceptConnection():
            pass
        case RejectConnection(status_code=status):
            told = await _told_why(events)
            if told is not None:
                raise told
            kind = _REFUSALS.get(status)
            if kind is not None:
                msg = "the server lets nobody run commands who can't show that they may"
                raise kind(
                    msg, remedy="`orchestrion whoami` says who you are there, `orchestrion auth can-i` what you may."
                )
            msg = f"the orchestrator refused to run a command (HTTP status {status})"
            raise NetworkFailure(msg, remedy="Client and server may be of different versions: use the same one.")
        case _:
            raise _cut_off()
    await messages.send(TextMessage(to_json(request).decode()))
    match await anext(events):
        case TextMessage(data=text):
            answer = json.loads(text)
            if "error" in answer:
                raise error_of(answer["error"])
        case _:
            raise _cut_off()


def _path_of(request: ExecRequest) -> str:
    """Return the path that says in which instance, as rights are given for."""
    namespace, instance = quote(request.namespace, safe=""), quote(request.instance, safe="")
    return f"/api/v1/namespaces/{namespace}/instances/{instance}/exec"


async def _told_why(events: AsyncIterator[Any]) -> OrchestrationError | None:
    """Return the error that a refusal comes with; None where none can be read from it."""
    body = b""
    try:
        async for event in events:
            if isinstance(event, RejectData):
                body += event.data
            if not isinstance(event, RejectData) or event.body_finished or len(body) > _MAX_REFUSAL_BYTES:
                break
        problem = json.loads(body)
        # What stands between may refuse too, with a document of its own.
        return error_of(problem) if problem.get("codes") else None
    except (trio.BrokenResourceError, ProtocolError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _cut_off(reason: str = "") -> NetworkFailure:
    return NetworkFailure(
        "the connection to the orchestrator was cut off while a command ran" + (f": {reason}" if reason else ""),
        remedy="Look whether the orchestrator still runs; the command was killed.",
    )
