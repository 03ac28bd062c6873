"""One connection: bytes in, bytes out, and who is on the other side."""

from __future__ import annotations

import socket
from typing import Any, Final

import trio
from attrs import define, field

from .head import MAX_HEAD_BYTES, BadRequest, Head, read_head
from .sends import Sends
from .settings import Settings

MAX_RECEIVE_BYTES: Final = 65_536
MAX_AHEAD_BYTES: Final = 262_144
"""What is taken in before anybody asks for it; then it is left to the network."""


@define(eq=False)
class Wire:
    """A connection.

    Attributes:
        stream: What it is made of.
        sends: Registers what is being sent.
        settings: How long the peer may take.
        buffer: What has come and was not taken yet.
        gone: Whether the peer has gone, or was given up.
    """

    stream: Any
    sends: Sends
    settings: Settings
    buffer: bytearray = field(factory=bytearray)
    gone: bool = False

    async def fill(self) -> bool:
        """Wait for more; False where nothing more comes."""
        if self.gone:
            await trio.lowlevel.checkpoint()
            return False
        try:
            data = await self.stream.receive_some(MAX_RECEIVE_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        if not data:
            self.gone = True
            return False
        self.buffer += data
        return True

    async def send(self, data: bytes) -> None:
        """Send all of it; what the peer does not take ends the connection."""
        if self.gone:
            await trio.lowlevel.checkpoint()
        elif not await self.sends.send(self.stream, data):
            self.gone = True
            await trio.aclose_forcefully(self.stream)

    async def next_head(self, idle: trio.CancelScope) -> Head | None:
        """Return the head of the next request; None where there is none.

        Args:
            idle: Is around what waits for the first byte, and may be cancelled by who wants the connection to end.

        Raises:
            BadRequest: What has come is none, or came too slowly.
        """
        with idle:
            while not self.buffer:
                if not await self.fill():
                    return None
        if idle.cancelled_caught:
            return None
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            with trio.move_on_after(self.settings.head) as slow:
                end = await self._rest_of_head()
            if slow.cancelled_caught:
                raise BadRequest(408, "the head came too slowly")
            if end < 0:
                return None
        if end > MAX_HEAD_BYTES:
            raise BadRequest(431, "the head is too long")
        data = bytes(self.buffer[:end])
        del self.buffer[: end + 4]
        return read_head(data)

    async def _rest_of_head(self) -> int:
        while True:
            seen = max(0, len(self.buffer) - 3)
            if len(self.buffer) > MAX_HEAD_BYTES:
                raise BadRequest(431, "the head is too long")
            line_end = self.buffer.find(b"\n")
            if self.buffer[0] not in _FIRST or (line_end >= 0 and self.buffer[line_end - 1] != _RETURN):
                raise BadRequest(400, "no request line")
            if not await self.fill():
                return -1
            end = self.buffer.find(b"\r\n\r\n", seen)
            if end >= 0:
                return end

    async def close(self, *, politely: bool) -> None:
        """Close the connection.

        Args:
            politely: Whether the peer may still be sending what nobody will read: closing at once would take from it
                what it was answered.
        """
        with trio.CancelScope(shield=True):
            inner = self.stream.transport_stream if isinstance(self.stream, trio.SSLStream) else self.stream
            if politely and not self.gone and isinstance(inner, trio.SocketStream):
                with trio.move_on_after(self.settings.linger):
                    await _linger(inner)
            await trio.aclose_forcefully(self.stream)


async def _linger(stream: trio.SocketStream) -> None:
    try:
        await stream.send_eof()
        for _ in range(_MAX_LINGERING):
            if not await stream.receive_some(MAX_RECEIVE_BYTES):
                return
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


_MAX_LINGERING: Final = 64

_RETURN: Final = 13
_FIRST: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def addresses_of(stream: Any) -> tuple[tuple[str, int] | None, tuple[str, int] | None]:
    """Return the addresses of the peer and of this side; None where there are none, as of a unix socket."""
    inner = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    sock = getattr(inner, "socket", None)
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return None, None
    try:
        return tuple(sock.getpeername()[:2]), tuple(sock.getsockname()[:2])
    except OSError:
        return None, None
