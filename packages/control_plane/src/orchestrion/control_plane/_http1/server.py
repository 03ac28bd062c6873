"""Serving connections, one after the other request of each."""

from __future__ import annotations

import logging
import resource
from contextvars import ContextVar
from typing import Any, Final

import trio
from attrs import define, field
from orchestrion.control_plane._problems import PROBLEM_MEDIA_TYPE, problem_of
from orchestrion.shared_types import ConfigInvalid, Problem, to_json

from .crowd import Crowd, source_of
from .dates import Dates
from .exchange import REASONS, Exchange
from .head import BadRequest, Head
from .sends import Sends
from .settings import Settings
from .wire import Wire, addresses_of

PEER_CERTIFICATE: ContextVar[bytes | None] = ContextVar("PEER_CERTIFICATE", default=None)
"""What the peer of the connection that is served has proved to be, as DER; None where it proved nothing."""

_log = logging.getLogger("orchestrion.control_plane")

_OTHER_FILES: Final = 256
"""Descriptors that are left to others than connections."""


@define(eq=False)
class Connections:
    """Serves an application on connections.

    Attributes:
        app: The application.
        settings: How long peers may take.
        sends: Registers what is being sent.
        most: How many connections there are at most. For one beyond one is closed on which nothing is asked, of whoever
            has the most; where there is none, it is closed itself.
        ending: Whether connections are to end after what they are at.
    """

    app: Any
    settings: Settings
    sends: Sends
    most: int = field(factory=lambda: max(64, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _OTHER_FILES))
    ending: bool = field(default=False, init=False)
    _crowd: Crowd = field(factory=Crowd, init=False)
    _idle: set[trio.CancelScope] = field(factory=set, init=False)
    _dates: Dates = field(factory=Dates, init=False)

    def end(self) -> None:
        """Close idle connections, and the others after what they are at."""
        self.ending = True
        for scope in self._idle:
            scope.cancel()

    async def serve(self, stream: Any) -> None:
        """Serve a connection to its end."""
        wire = Wire(stream, self.sends, self.settings)
        politely = False
        client, server = addresses_of(stream)
        source = source_of(client[0]) if client is not None else ""
        with self._crowd.present(source):
            try:
                has_room = self._crowd.count <= self.most or self._crowd.make_room()
                if has_room and await self._secured(stream, source):
                    politely = await self._serve(wire, source, client, server)
            except Exception:
                # One connection must not end all others.
                _log.exception("serving a connection")
            finally:
                await wire.close(politely=politely)

    async def _secured(self, stream: Any, source: str) -> bool:
        if not isinstance(stream, trio.SSLStream):
            return True
        try:
            with self._crowd.waiting(source) as waiting, trio.fail_after(self.settings.handshake):
                await stream.do_handshake()
        except (trio.BrokenResourceError, trio.TooSlowError):
            return False
        if waiting.cancelled_caught:
            return False
        PEER_CERTIFICATE.set(stream.getpeercert(binary_form=True))
        return True

    async def _serve(self, wire: Wire, source: str, client: Any, server: Any) -> bool:
        """Answer requests; return whether the peer may still be sending what nobody reads."""
        scheme = "https" if isinstance(wire.stream, trio.SSLStream) else "http"
        while True:
            try:
                head = await self._next(wire, source)
                if head is None:
                    return False
                scope = _scope(head, scheme, client, server)
                if head.upgrade == b"websocket" and head.method == "GET":
                    # Imported when the first one comes: a server is to start soon.
                    from .sockets import SocketExchange

                    scope["type"], scope["scheme"] = "websocket", "wss" if scheme == "https" else "ws"
                    del scope["method"]
                    await SocketExchange(wire, head).run(self.app, scope)
                    return False
            except BadRequest as err:
                await wire.send(_refusal(err))
                return True
            exchange = Exchange(wire, head, self._dates, head.keeps_alive and not self.ending)
            if not await exchange.run(self.app, scope):
                return True

    async def _next(self, wire: Wire, source: str) -> Head | None:
        idle = trio.CancelScope(deadline=trio.current_time() + self.settings.keep_alive)
        if self.ending:
            idle.cancel()
        self._idle.add(idle)
        head: Head | None = None
        try:
            with self._crowd.waiting(source):
                head = await wire.next_head(idle)
        finally:
            self._idle.discard(idle)
        return head


def _scope(head: Head, scheme: str, client: Any, server: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1" if head.minor else "1.0",
        "method": head.method,
        "scheme": scheme,
        "path": head.path,
        "raw_path": head.raw_path,
        "query_string": head.query,
        "root_path": "",
        "headers": head.fields,
        "client": client,
        "server": server,
        "state": {},
        "extensions": {},
    }


def _refusal(err: BadRequest) -> bytes:
    """Return the answer to what can't be read: a problem document like every other refusal."""
    problem = problem_of(ConfigInvalid((Problem(f"the request can't be read: {err}"),)))
    body = to_json({**problem, "status": err.status})
    head = b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
    return head % (err.status, REASONS[err.status].encode(), PROBLEM_MEDIA_TYPE.encode(), len(body)) + body
