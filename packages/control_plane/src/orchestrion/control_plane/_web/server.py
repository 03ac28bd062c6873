"""The server: the orchestrator's API for the network, in one application."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

import trio
from attrs import Factory, define, field, frozen
from litestar import Litestar, Request, Response
from litestar.types import ASGIApp, ControllerRouterHandler
from orchestrion.control_plane._app import control_handlers, make_app
from orchestrion.control_plane._control import Control
from orchestrion.control_plane._dashboard.headers import SecureHeaders
from orchestrion.control_plane._listening import listening
from orchestrion.control_plane._objects.paging import MIN_KEY_BYTES, ContinueTokens
from orchestrion.control_plane._open_streams import OpenStreams
from orchestrion.control_plane._service.objects import Objects
from orchestrion.control_plane._service.replies import Replies
from orchestrion.control_plane._serving import serve_app

from .caller import Gatekeeper
from .methods import Methods
from .once import Once
from .oversight import Oversight
from .sections import API, CONTROL, DESCRIPTION, HEALTH, TOOLS, Section, Sections
from .secure_listener import SecureListener

if TYPE_CHECKING:
    from orchestrion.control_plane._mcp.http import Sessions as ToolSessions

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


_API_MODULES: Final = ("_web.object_paths", "_web.workload_paths", "_web.node_paths", "_web.bulk_paths")


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
        streams: Counts streams, and says when they are to come to their end.
        more: Sections of other paths.
        secret: What tells the server's own tokens from those that others make; servers of one state share it.
        replies: Keeps answers for who asks again; all ways in to the same objects share it.
    """

    control: Control
    objects: Objects
    keeper: Gatekeeper
    oversight: Oversight = field(
        default=Factory(lambda self: Oversight.over(self.objects, self.keeper), takes_self=True), kw_only=True
    )
    streams: OpenStreams = field(factory=lambda: OpenStreams(trio.Event()))
    more: Sequence[Section] = ()
    secret: bytes = field(factory=lambda: secrets.token_bytes(MIN_KEY_BYTES), repr=False)
    replies: Replies = field(
        default=Factory(lambda self: replies_of(self.objects, self.secret), takes_self=True), kw_only=True
    )
    _tool_sessions: ToolSessions | None = field(default=None, init=False)
    """Of clients of the Model Context Protocol."""
    _served: Sections | None = field(default=None, init=False)
    """What `serve` serves."""

    def app(self) -> ASGIApp:
        """Return the ASGI application."""
        return self._whole(self.sections())

    async def prepare(self) -> None:
        """Make what the first request for a path would have to wait for, while others are answered."""
        if self._served is not None:
            await self._served.prepare()

    def _whole(self, sections: Sections) -> ASGIApp:
        return SecureHeaders(self.oversight.pipeline.around(sections))

    def handlers(self) -> list[ControllerRouterHandler]:
        """Return the handlers of all paths."""
        return self.sections().handlers()

    def sections(self) -> Sections:
        """Return all paths, in the order of how soon they are likely to be asked for."""
        once = Once(self.replies)
        sections = Sections(self._made, lambda app: Methods(app, self.objects.kinds, app.routes))
        for section in (
            Section(HEALTH, self.oversight.handlers),
            Section(API, lambda: self._api(once), _API_MODULES),
            *self.more,
            Section(CONTROL, self._control, ("_web.event_socket",)),
            Section(TOOLS, self._tools, ("_mcp.http",)),
            Section(DESCRIPTION, lambda: self._description(sections), ("_web.openapi_paths", "_web.problem_pages")),
        ):
            sections.add(section)
        return sections

    def _made(self, handlers: Sequence[ControllerRouterHandler]) -> Litestar:
        return make_app(handlers, guards=[self.oversight.pipeline.guard], lost=_lost)

    # Handlers are imported here, and not above: a server is there sooner than they are.

    def _api(self, once: Once) -> list[ControllerRouterHandler]:
        from .bulk_paths import bulk_handlers
        from .node_paths import discovery_handlers, node_handlers
        from .object_paths import object_handlers
        from .workload_paths import workload_handlers

        return [
            object_handlers(self.objects, self.streams, ContinueTokens(self.secret), once),
            workload_handlers(self.control, self.objects, self.streams, once),
            node_handlers(self.objects.orchestrator, self.objects, once),
            discovery_handlers(self.control, self.objects),
            bulk_handlers(self.objects, self.oversight.pipeline, once),
        ]

    def _control(self) -> list[ControllerRouterHandler]:
        from .event_socket import event_socket_handlers

        return [*control_handlers(self.control, self.streams), event_socket_handlers(self.objects, self.streams)]

    def _tools(self) -> list[ControllerRouterHandler]:
        from orchestrion.control_plane._mcp.http import Sessions as ToolSessions
        from orchestrion.control_plane._mcp.http import mcp_handlers

        if self._tool_sessions is None:
            self._tool_sessions = ToolSessions()
        return [mcp_handlers(self.control, self.oversight.pipeline, self._tool_sessions)]

    def _description(self, sections: Sections) -> list[ControllerRouterHandler]:
        from .openapi_paths import openapi_handlers
        from .problem_pages import problem_handlers

        return [openapi_handlers(self.objects.kinds, sections.routes), problem_handlers()]

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
        self._served = self.sections()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_after, nursery.cancel_scope)
            nursery.start_soon(self.oversight.run)
            nursery.start_soon(self.replies.run)
            task_status.started(port)
            await serve_app(
                self._whole(self._served),
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


def _lost(request: Request[Any, Any, Any]) -> Response[Any] | None:
    from orchestrion.control_plane._dashboard.answering import lost_page

    return lost_page(request)
