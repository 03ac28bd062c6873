"""A WebSocket (RFC 6455) as an ASGI application sees it."""

from __future__ import annotations

import logging
from collections import deque
from typing import Any, Final

import trio
from attrs import define, field
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
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

from .head import BadRequest, Head
from .wire import Wire

_log = logging.getLogger("orchestrion.control_plane")

MAX_MESSAGE_BYTES: Final = 16_777_216
DENIAL: Final = "websocket.http.response"
"""The extension of ASGI by which who refuses a connection says why, as the answer of a request."""

_GOING_AWAY: Final = 1001
_TOO_BIG: Final = 1009


@define(eq=False)
class SocketExchange:
    """A WebSocket connection.

    Attributes:
        wire: The connection.
        head: The head of the request that asks for it.
    """

    wire: Wire
    head: Head
    _protocol: WSConnection = field(factory=lambda: WSConnection(ConnectionType.SERVER))
    _lock: trio.Lock = field(factory=trio.Lock)
    _messages: deque[dict[str, Any]] = field(factory=deque)
    _parts: list[Any] = field(factory=list)
    _size: int = 0
    _connected: bool = False
    _accepted: bool = False
    _closed: bool = False
    _code: int = 1006

    async def run(self, app: Any, scope: dict[str, Any]) -> None:
        """Let an application serve it."""
        try:
            self._protocol.initiate_upgrade_connection(list(self.head.fields), self.head.raw_path.decode())
            request = next(self._protocol.events())
        except (ProtocolError, StopIteration) as err:
            raise BadRequest(400, "no handshake") from err
        assert isinstance(request, Request)  # noqa: S101 - the first event of a server is this
        scope["subprotocols"] = list(request.subprotocols)
        scope["extensions"][DENIAL] = {}
        try:
            await app(scope, self.receive, self.send)
        except Exception:
            _log.exception("serving a socket at %s", self.head.path)
            await self._end(500, 1011)
        else:
            await self._end(403, 1000)

    async def receive(self) -> dict[str, Any]:
        """Return the next message."""
        if not self._connected:
            self._connected = True
            await trio.lowlevel.checkpoint()
            return {"type": "websocket.connect"}
        while not self._messages:
            if self._closed or not await self._take():
                self._closed = True
                await trio.lowlevel.checkpoint()
                return {"type": "websocket.disconnect", "code": self._code}
        return self._messages.popleft()

    async def send(self, message: Any) -> None:
        """Send a message, or accept the connection, or close it."""
        kind = message["type"]
        if kind == "websocket.accept":
            extra = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
            self._accepted = True
            await self._write(AcceptConnection(subprotocol=message.get("subprotocol"), extra_headers=extra))
        elif kind == "websocket.send":
            data = message.get("bytes")
            await self._write(BytesMessage(bytes(data)) if data is not None else TextMessage(message["text"]))
        elif kind == f"{DENIAL}.start":
            # The body that follows ends with the connection: its length is among the headers.
            headers = [(bytes(name), bytes(value)) for name, value in message["headers"]]
            refusal = RejectConnection(
                status_code=message["status"], headers=[*headers, (b"connection", b"close")], has_body=True
            )
            await self._write(refusal)
        elif kind == f"{DENIAL}.body":
            more = message.get("more_body", False)
            self._closed = not more
            rest = RejectData(data=bytes(message.get("body", b"")), body_finished=not more)
            await self._write(rest, also_closed=True)
        elif kind == "websocket.close":
            await self._end(403, message.get("code", 1000), message.get("reason") or "")
        else:
            msg = f"a socket has no {kind}"
            raise RuntimeError(msg)

    async def _end(self, status: int, code: int, reason: str = "") -> None:
        if self._closed or self.wire.gone:
            await trio.lowlevel.checkpoint()
        elif self._accepted:
            self._closed = True
            await self._write(CloseConnection(code, reason[:100]), also_closed=True)
        else:
            self._closed = True
            headers = [(b"content-length", b"0"), (b"connection", b"close")]
            await self._write(RejectConnection(status_code=status, headers=headers), also_closed=True)

    async def _write(self, event: Any, *, also_closed: bool = False) -> None:
        async with self._lock:
            if self.wire.gone or (self._closed and not also_closed):
                return
            try:
                data = self._protocol.send(event)
            except ProtocolError:
                return  # it was closed from the other side
            if data:
                await self.wire.send(data)

    async def _take(self) -> bool:
        """Take in what comes next; False where nothing more does."""
        if self.wire.buffer:
            data: bytes | None = bytes(self.wire.buffer)
            self.wire.buffer.clear()
        elif await self.wire.fill():
            return True
        else:
            data = None
        try:
            self._protocol.receive_data(data)
            for event in self._protocol.events():
                await self._note(event)
        except ProtocolError:
            return False
        return data is not None and self._protocol.state is not ConnectionState.CLOSED

    async def _note(self, event: Any) -> None:
        if isinstance(event, (TextMessage, BytesMessage)):
            self._size += len(event.data)
            if self._size > MAX_MESSAGE_BYTES:
                await self._end(403, _TOO_BIG, "the message is too long")
                return
            self._parts.append(event.data)
            if event.message_finished:
                parts, self._parts, self._size = self._parts, [], 0
                text = "".join(parts) if isinstance(event, TextMessage) else None
                data = b"".join(parts) if text is None else None
                self._messages.append({"type": "websocket.receive", "text": text, "bytes": data})
        elif isinstance(event, Ping):
            await self._write(event.response())
        elif isinstance(event, CloseConnection):
            self._code = int(event.code)
            await self._write(event.response())
            self._closed = True
