"""The paths of the dashboard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from attrs import frozen
from litestar import MediaType, Response, Router, WebSocket, get, post, websocket
from litestar.types import ASGIApp
from orchestrion.control_plane._access import ACCESS, Needs
from orchestrion.control_plane._app import noting_failure
from orchestrion.control_plane._control import Control
from orchestrion.control_plane._history.event import Position, parse_position
from orchestrion.control_plane._identity.access import Access
from orchestrion.control_plane._open_streams import OpenStreams
from orchestrion.control_plane._service.objects import Objects
from orchestrion.control_plane._standing import standing_of
from orchestrion.control_plane._web.caller import Connection, caller_of
from orchestrion.control_plane._web.pipeline import Pipeline
from orchestrion.orchestrator_core import LogQuery, WorkloadName
from orchestrion.shared_types import Denied, NotFound, OrchestrationError, Unauthenticated, to_json

from .answering import (
    AnyRequest,
    ask_to_sign_in,
    log_in_page,
    page_of,
    place_of,
    say_so,
    signed_in_page,
    signed_out,
    theme_of,
)
from .assets import assets, version
from .keeper import TERMINAL_PROTOCOL, SessionKeeper, comes_from_here, shown_by
from .live import LiveStream
from .pages import Pages
from .sessions import Begun
from .sight import Sight
from .terminal import serve_terminal

TAIL_BYTES: Final = 64 * 1024
"""How much of each stream of output a page begins with."""

_SIGNING_IN: Final = Access("create", "sessions")

_YEAR_SECONDS: Final = 31_536_000
_MAX_FORM_BYTES: Final = 16 * 1024


@frozen
class Dashboard:
    """What the dashboard is made of.

    Attributes:
        control: Who runs commands in containers.
        objects: All objects.
        keeper: Lets in who has signed in.
        streams: Says when the server ends.
        pipeline: What requests go through.
    """

    control: Control
    objects: Objects
    keeper: SessionKeeper
    streams: OpenStreams
    pipeline: Pipeline

    def sight(self, connection: Connection) -> Sight:
        """Return what who asks gets to see."""
        return Sight(caller_of(connection), self.keeper)

    def sight_now(self, connection: Connection) -> Callable[[], Sight | None]:
        """Return what says the same later on; None once who asks is nobody any longer."""
        first = caller_of(connection)
        shown = shown_by(connection)
        by_session = bool(shown) and self.keeper.sessions.find(shown) is not None

        standing = standing_of(connection.scope)

        def now() -> Sight | None:
            try:
                standing()
            except (Unauthenticated, Denied):
                return None
            if not by_session:
                return Sight(first, self.keeper)
            session = self.keeper.sessions.find(shown)
            return None if session is None else Sight(session.principal(), self.keeper)

        return now


def dashboard_handlers(dashboard: Dashboard) -> Router:
    """Return the handlers of all paths of the dashboard."""
    keeper, objects = dashboard.keeper, dashboard.objects
    pages = Pages(objects)

    def page(path: str | list[str], name: str, make: Callable[[AnyRequest, Sight], Awaitable[dict[str, Any]]]) -> Any:
        @get(path, opt={ACCESS: Needs("get", "dashboard", anybody=True)}, name=f"page-{name}")
        async def show(request: AnyRequest) -> Response[bytes]:
            sight = dashboard.sight(request)
            context = await make(request, sight)
            return await page_of(request, name, {**context, **_frame(request, dashboard, sight), "page": name})

        return show

    @get("/ui/samples", opt={ACCESS: Needs("get", "dashboard", anybody=True)}, name="page-samples")
    async def samples(request: AnyRequest) -> Response[bytes]:
        namespace, name = (request.query_params.get(each, "") for each in ("namespace", "name"))
        sight = dashboard.sight(request)
        shown = await (pages.samples_of(sight, WorkloadName(namespace, name)) if name else pages.samples(sight))
        return Response(
            to_json(shown),
            media_type=MediaType.JSON,
            headers={"cache-control": "no-store"},
        )

    @get("/ui/static/{version:str}/{path:path}", opt={ACCESS: None}, name="page-static")
    async def static(request: AnyRequest) -> Response[bytes]:
        return _asset(request)

    @get("/favicon.ico", opt={ACCESS: None}, name="page-icon")
    async def icon() -> Response[bytes]:
        # What browsers ask for on pages that name no icon of their own.
        asset = assets()["icon.svg"]
        return Response(asset.data, media_type=asset.media_type, headers={"etag": asset.etag})

    @get("/ui/login", opt={ACCESS: None}, name="page-login")
    async def login_page(request: AnyRequest) -> Response[bytes]:
        code = request.query_params.get("code")
        if code is None:
            return log_in_page(request, "")
        return await beginning(request, lambda: keeper.sessions.accept(code), "/")

    async def beginning(request: AnyRequest, begin: Callable[[], Awaitable[Begun]], place: str) -> Response[bytes]:
        try:
            async with dashboard.pipeline.proving(request, _SIGNING_IN) as passage:
                begun = await begin()
        except Unauthenticated as err:
            return log_in_page(request, str(err), status=401)
        session = keeper.sessions.find(begun.shown)
        passage.principal = session.principal() if session is not None else None
        return signed_in_page(request, begun, place)

    # A form that comes in chunks has no length that it could be refused by before it is read.
    @post("/ui/login", opt={ACCESS: None}, name="page-login-form", request_max_body_size=_MAX_FORM_BYTES)
    async def login(request: AnyRequest) -> Response[bytes]:
        async with dashboard.pipeline.proving(request, _SIGNING_IN):
            if not comes_from_here(request.headers):
                raise Denied("a page of another site asked for it", remedy="Open the server's own page.")
        if int(request.headers.get("content-length", "0") or 0) > _MAX_FORM_BYTES:
            return log_in_page(request, "that is no token", status=413)
        form = await request.form()
        token = str(form.get("token", "")).strip()
        return await beginning(request, lambda: keeper.sessions.log_in(token), place_of(str(form.get("next", "/"))))

    @post("/ui/logout", status_code=204, opt={ACCESS: Needs("delete", "sessions", anybody=True)}, name="page-logout")
    async def logout(request: AnyRequest) -> Response[None]:
        await keeper.sessions.log_out(shown_by(request))
        return signed_out(request)

    @get("/ui/live", opt={ACCESS: Needs("watch", "dashboard", anybody=True)}, name="page-live")
    async def live(request: AnyRequest) -> ASGIApp:
        return LiveStream(
            objects,
            dashboard.streams,
            dashboard.sight_now(request),
            _since(request),
            _output_query(request, keeper, dashboard.sight(request)),
        )

    @websocket("/ui/terminal/{namespace:str}/{name:str}", opt={ACCESS: Needs("exec", "instances")})
    async def terminal(socket: WebSocket[Any, Any, Any]) -> None:
        await serve_terminal(
            dashboard.control,
            socket.path_params["namespace"],
            socket.path_params["name"],
            standing_of(socket.scope),
            socket.receive,
            socket.send,
            protocol=TERMINAL_PROTOCOL in socket.scope["subprotocols"],
            failed=noting_failure(socket.scope),
        )

    return Router(
        "/",
        route_handlers=[
            page("/", "overview", pages.overview),
            page("/ui/topology", "topology", pages.topology),
            page("/ui/workloads", "workloads", pages.workloads),
            page("/ui/workloads/{namespace:str}/{name:str}", "workload", pages.workload),
            page("/ui/pending", "pending", pages.pending),
            page("/ui/nodes", "nodes", pages.nodes),
            page("/ui/events", "events", pages.events),
            page("/ui/quotas", "quotas", pages.quotas),
            page("/ui/search", "search", pages.search),
            samples,
            icon,
            static,
            login_page,
            login,
            logout,
            live,
            terminal,
        ],
        dto=None,
        return_dto=None,
        include_in_schema=False,
        exception_handlers={Unauthenticated: ask_to_sign_in, OrchestrationError: say_so},
    )


def _frame(request: AnyRequest, dashboard: Dashboard, sight: Sight) -> dict[str, Any]:
    """Return what is around every page."""
    return {
        "who": str(sight.principal),
        "by_session": dashboard.keeper.session_of(request) is not None,
        "theme": theme_of(request),
        "nav": NAV,
        "now": dashboard.objects.orchestrator.now(),
    }


NAV: Final = (
    ("overview", "/", "Overview"),
    ("workloads", "/ui/workloads", "Workloads"),
    ("topology", "/ui/topology", "Topology"),
    ("pending", "/ui/pending", "Pending"),
    ("nodes", "/ui/nodes", "Nodes"),
    ("events", "/ui/events", "Events"),
    ("quotas", "/ui/quotas", "Quotas"),
)


def _asset(request: AnyRequest) -> Response[bytes]:
    path = str(request.path_params["path"]).lstrip("/")
    asset = assets().get(path)
    if asset is None:
        msg = f"the dashboard has no file {path!r:.80}"
        raise NotFound(msg)
    # An older page may ask for what it was made with; it gets what there is, and asks again the next time.
    is_current = request.path_params["version"] == version()
    headers = {
        "etag": asset.etag,
        "vary": "Accept-Encoding",
        "cache-control": f"public, max-age={_YEAR_SECONDS}, immutable" if is_current else "no-cache",
    }
    if request.headers.get("if-none-match") == asset.etag:
        return Response(b"", status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.packed, media_type=asset.media_type, headers={**headers, "content-encoding": "gzip"})
    return Response(asset.data, media_type=asset.media_type, headers=headers)


def _since(request: AnyRequest) -> Position | None:
    given = request.headers.get("last-event-id") or request.query_params.get("since")
    return parse_position(given) if given else None


def _output_query(request: AnyRequest, keeper: SessionKeeper, sight: Sight) -> LogQuery | None:
    subject = request.query_params.get("output")
    if not subject:
        return None
    keeper.check_proof(request)
    namespace, _, name = subject.partition("/")
    workload = name.partition(".")[0]
    sight.keeper.check(sight.principal, Access("logs", "workloads", namespace, workload))
    return LogQuery(
        subject=name,
        namespace=namespace,
        container=request.query_params.get("container") or None,
        follow=True,
        previous=request.query_params.get("previous") == "true",
        tail_bytes=TAIL_BYTES,
    )
