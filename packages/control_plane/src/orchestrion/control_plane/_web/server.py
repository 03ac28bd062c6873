"""The server: the orchestrator's API for the network, in one application."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import trio
from attrs import Factory, define, field, frozen
from litestar.types import ASGIApp, ControllerRouterHandler
from orchestrion.control_plane._app import control_handlers, make_app
from orchestrion.control_plane._control import Control
from orchestrion.control_plane._dashboard.answering import lost_page
from orchestrion.control_plane._dashboard.headers import SecureHeaders
from orchestrion.control_plane._listening import listening
from orchestrion.control_plane._mcp.http import Sessions, mcp_handlers
from orchestrion.control_plane._objects.paging import MIN_KEY_BYTES, ContinueTokens
from orchestrion.control_plane._open_streams import OpenStreams
from orchestrion.control_plane._service.objects import Objects
from orchestrion.control_plane._service.replies import Replies
from orchestrion.control_plane._serving import serve_app

from .bulk_paths import bulk_handlers
from .caller import Gatekeeper
from .event_socket import event_socket_handlers
from .methods import Methods
from .node_paths import discovery_handlers, node_handlers
from .object_paths import object_handlers
from .once import Once
from .openapi_paths import openapi_handlers
from .oversight import Oversight
from .secure_listener import SecureListener
from .workload_paths import workload_handlers

KEEP_ALIVE_SECONDS: Final = 75.0
STALLED_SECONDS: Final = 20.0
GRACE_SECONDS: Final = 2.0
"""How long connections get to finish when the server ends in good order."""


@frozen(kw_only=True)
class Address:
    """Where a server listens.

    Attributes:
        host: A name or address of this machine.
        port: The port; 0 takes a free one.
        listeners: Sockets that listen already, whose owner closes them; without any, they are made for host and port.
        tls: Says how TLS is spoken with who connects; None is plain, which only fits the loopback.
    """

    host: str = "127.0.0.1"
    port: int = 0
    listeners: Sequence[trio.SocketListener] = ()
    tls: Callable[[], ssl.SSLContext] | None = None


def replies_of(objects: Objects, secret: bytes, /) -> Replies:
    """Return what keeps the answers of a server of some objects; the secret is as for `ApiServer`."""
    return Replies(objects.store, objects.writer.now, secret)


@define(eq=False)
class ApiServer:
    """Serves an orchestrator to the network.

    Attributes:
        control: Who answers the questions of `Control`.
        objects: All objects.
        keeper: Finds out who asks, and says whether they may.
        oversight: Watches over it.
        sessions: Of clients of the Model Context Protocol.
        streams: Counts streams, and says when they are to come to their end.
        more: Handlers of other paths.
        secret: What tells the server's own tokens from those that others make; servers of one state share it.
        replies: Keeps answers for who asks again; all ways in to the same objects share it.
    """

    control: Control
    objects: Objects
    keeper: Gatekeeper
    oversight: Oversight = field(
        default=Factory(lambda self: Oversight.over(self.objects, self.keeper), takes_self=True), kw_only=True
    )
    sessions: Sessions = field(factory=Sessions)
    streams: OpenStreams = field(factory=lambda: OpenStreams(trio.Event()))
    more: Sequence[ControllerRouterHandler] = ()
    secret: bytes = field(factory=lambda: secrets.token_bytes(MIN_KEY_BYTES), repr=False)
    replies: Replies = field(
        default=Factory(lambda self: replies_of(self.objects, self.secret), takes_self=True), kw_only=True
    )

    def app(self) -> ASGIApp:
        """Return the ASGI application."""
        pipeline = self.oversight.pipeline
        app = make_app(self.handlers(), guards=[pipeline.guard], lost=lost_page)
        return SecureHeaders(pipeline.around(Methods(app, self.objects.kinds, app.routes)))

    def handlers(self) -> list[ControllerRouterHandler]:
        """Return the handlers of all paths."""
        once, pipeline = Once(self.replies), self.oversight.pipeline
        return [
            *self.oversight.handlers(),
            *control_handlers(self.control, self.streams),
            event_socket_handlers(self.objects, self.streams),
            object_handlers(self.objects, self.streams, ContinueTokens(self.secret), once),
            workload_handlers(self.control, self.objects, self.streams, once),
            node_handlers(self.objects.orchestrator, self.objects, once),
            discovery_handlers(self.control, self.objects),
            bulk_handlers(self.objects, pipeline, once),
            openapi_handlers(self.objects.kinds),
            *self.more,
            mcp_handlers(self.control, self.oversight.pipeline, self.sessions),
        ]

    async def serve(self, address: Address, /, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, or until `streams.ending` is set and what is under way has ended.

        It is started with the port once it listens; the objects must be running.

        Args:
            address: Where.
            task_status: Tells the port.

        Raises:
            NetworkFailure: Nothing can listen there.
        """
        async with AsyncExitStack() as stack:
            sockets = address.listeners
            if not sockets:
                sockets = await stack.enter_async_context(listening(address.host, address.port))
            await self._serve(sockets, address, task_status)

    async def _serve(
        self, sockets: Sequence[trio.SocketListener], address: Address, task_status: trio.TaskStatus[int]
    ) -> None:
        port = sockets[0].socket.getsockname()[1]
        listeners: Sequence[trio.abc.Listener[Any]] = sockets
        if address.tls is not None:
            listeners = [SecureListener(each, address.tls) for each in sockets]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_after, nursery.cancel_scope)
            nursery.start_soon(self.oversight.run)
            nursery.start_soon(self.replies.run)
            task_status.started(port)
            await serve_app(
                self.app(),
                listeners,
                self.streams,
                keep_alive_seconds=KEEP_ALIVE_SECONDS,
                stalled_seconds=STALLED_SECONDS,
            )
            nursery.cancel_scope.cancel()

    async def _end_after(self, scope: trio.CancelScope) -> None:
        await self.streams.ending.wait()
        await self.streams.wait_over()
        await trio.sleep(GRACE_SECONDS)
        scope.cancel()
