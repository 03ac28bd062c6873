"""A connection whose stalled reader can't keep the server from ending."""

from __future__ import annotations

import math
from contextvars import ContextVar
from typing import Any, Final

import trio
from hypercorn.events import Closed, Event, RawData
from hypercorn.trio.tcp_server import TCPServer


class Sends:
    """The sends that are under way, so that all can be given up at once."""

    def __init__(self, stalled_seconds: float = math.inf) -> None:
        """Take how long a peer may take to accept what is sent at once."""
        self._stalled_seconds = stalled_seconds
        self._scopes = set[trio.CancelScope]()
        self._aborted = False

    def abort(self) -> None:
        """Give up all sends, those that begin later too."""
        self._aborted = True
        for scope in self._scopes:
            scope.cancel()

    async def send(self, stream: trio.abc.SendStream, data: bytes) -> bool:
        """Send all of `data`, whatever is cancelled around; False if it was given up or the peer has gone.

        A request that is cancelled in the middle of a send would else leave half a message on the connection.
        """
        with trio.move_on_after(self._stalled_seconds, shield=True) as scope:
            if self._aborted:
                scope.cancel()
            self._scopes.add(scope)
            try:
                await stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return False
            finally:
                self._scopes.remove(scope)
        return not scope.cancelled_caught


HANDSHAKE_SECONDS: Final = 10.0


PEER_CERTIFICATE: ContextVar[bytes | None] = ContextVar("PEER_CERTIFICATE", default=None)
"""What the peer of the connection that is served has proved to be, as DER; None where it proved nothing."""


class Connection(TCPServer):
    """Hypercorn's connection, which shields its sends with no way out, with one."""

    def __init__(self, sends: Sends, *args: Any) -> None:
        """Take the register of sends, and what Hypercorn's connection takes."""
        super().__init__(*args)
        self._sends = sends

    async def run(self) -> None:
        """Serve the connection to its end; one over TLS says first who it is."""
        if isinstance(self.stream, trio.SSLStream):
            try:
                with trio.fail_after(HANDSHAKE_SECONDS):
                    await self.stream.do_handshake()
            except (trio.BrokenResourceError, trio.TooSlowError):
                await trio.aclose_forcefully(self.stream)
                return
            PEER_CERTIFICATE.set(self.stream.getpeercert(binary_form=True))
        await super().run()

    async def protocol_send(self, event: Event) -> None:
        """Write to the peer; a connection on which that is given up is closed."""
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            return
        async with self.send_lock:
            if await self._sends.send(self.stream, event.data):
                return
        await trio.aclose_forcefully(self.stream)
        await self.protocol.handle(Closed())
