"""The paths of the dashboard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import quote

from attrs import frozen
from litestar import MediaType, Request, Response, Router, WebSocket, get, post, websocket
from litestar.datastructures import Cookie
from litestar.response import Redirect
from litestar.types import ASGIApp
from orchestrion.control_plane._access import ACCESS, Needs
from orchestrion.control_plane._app import ERROR, retry_headers
from orchestrion.control_plane._control import Control
from orchestrion.control_plane._history.event import Position, parse_position
from orchestrion.control_plane._identity.access import Access
from orchestrion.control_plane._open_streams import OpenStreams
from orchestrion.control_plane._problems import status_of
from orchestrion.control_plane._service.objects import Objects
from orchestrion.control_plane._standing import standing_of
from orchestrion.control_plane._web.caller import Connection, caller_of
from orchestrion.control_plane._web.pipeline import Pipeline
from orchestrion.orchestrator_core import LogQuery
from orchestrion.shared_types import Denied, NotFound, OrchestrationError, Unauthenticated, to_json

from .assets import assets, version
from .headers import PAGE
from .keeper import SessionKeeper, comes_from_here, cookie_name, shown_by
from .live import LiveStream
from .pages import Pages
from .rendering import render, render_in_turns
from .sight import Sight
from .terminal import serve_terminal

AnyRequest = Request[Any, Any, Any]

TAIL_BYTES: Final = 64 * 1024
"""How much of each stream of output a page begins with."""

_SIGNING_IN: Final = Access("create", "sessions")

_YEAR_SECONDS: Final = 31_536_000
_MAX_FORM_BYTES: Final = 16 * 1024

THEME_COOKIE: Final = "theme"
THEMES: Final = ("light", "dark")


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
            return await _page(request, name, {**context, **_frame(request, dashboard, sight), "page": name})

        return show

    @get("/ui/samples", opt={ACCESS: Needs("get", "dashboard", anybody=True)}, name="page-samples")
    async def samples(request: AnyRequest) -> Response[bytes]:
        return Response(
            to_json(await pages.samples(dashboard.sight(request))),
            media_type=MediaType.JSON,
            headers={"cache-control": "no-store"},
        )

    @get("/ui/session", opt={ACCESS: Needs("get", "dashboard", anybody=True)}, name="page-session")
    async def session(request: AnyRequest) -> Response[bytes]:
        # For pages that are not rendered, such as the description of the API; no other site can read it.
        frame = _frame(request, dashboard, dashboard.sight(request))
        told = {"who": frame["who"], "csrf": frame["csrf"]}
        return Response(to_json(told), media_type=MediaType.JSON, headers={"cache-control": "no-store"})

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
            return _login_page(request, "")
        return await begun(request, lambda: keeper.sessions.accept(code), "/")

    async def begun(request: AnyRequest, begin: Callable[[], Awaitable[str]], place: str) -> Response[bytes]:
        try:
            async with dashboard.pipeline.proving(request, _SIGNING_IN) as passage:
                shown = await begin()
        except Unauthenticated as err:
            return _login_page(request, str(err), status=401)
        session = keeper.sessions.find(shown)
        passage.principal = session.principal() if session is not None else None
        return _signed_in(request, shown, place)

    # A form that comes in chunks has no length that it could be refused by before it is read.
    @post("/ui/login", opt={ACCESS: None}, name="page-login-form", request_max_body_size=_MAX_FORM_BYTES)
    async def login(request: AnyRequest) -> Response[bytes]:
        async with dashboard.pipeline.proving(request, _SIGNING_IN):
            if not comes_from_here(request.headers):
                raise Denied("a page of another site asked for it", remedy="Open the server's own page.")
        if int(request.headers.get("content-length", "0") or 0) > _MAX_FORM_BYTES:
            return _login_page(request, "that is no token", status=413)
        form = await request.form()
        token = str(form.get("token", "")).strip()
        return await begun(request, lambda: keeper.sessions.log_in(token), _place(str(form.get("next", "/"))))

    @post("/ui/logout", status_code=204, opt={ACCESS: Needs("delete", "sessions", anybody=True)}, name="page-logout")
    async def logout(request: AnyRequest) -> Response[None]:
        await keeper.sessions.log_out(shown_by(request))
        answer: Response[None] = Response(None, status_code=204)
        answer.set_cookie(_cookie(request, "", max_age=0))
        return answer

    @get("/ui/live", opt={ACCESS: Needs("watch", "dashboard", anybody=True)}, name="page-live")
    async def live(request: AnyRequest) -> ASGIApp:
        return LiveStream(
            objects,
            dashboard.streams,
            dashboard.sight_now(request),
            _since(request),
            _output_query(request, dashboard.sight(request)),
        )

    @websocket("/ui/terminal/{namespace:str}/{name:str}", opt={ACCESS: Needs("exec", "instances")})
    async def terminal(socket: WebSocket[Any, Any, Any]) -> None:
        await serve_terminal(
            dashboard.control,
            socket.path_params["namespace"],
            socket.path_params["name"],
            dashboard.sight_now(socket),
            socket.receive,
            socket.send,
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
            session,
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
        exception_handlers={Unauthenticated: _ask_to_sign_in, OrchestrationError: _say_so},
    )


def _frame(request: AnyRequest, dashboard: Dashboard, sight: Sight) -> dict[str, Any]:
    """Return what is around every page."""
    session = dashboard.keeper.session_of(request)
    return {
        "who": str(sight.principal),
        "csrf": session.csrf if session is not None else "",
        "theme": _theme(request),
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


def _theme(request: AnyRequest) -> str:
    theme = request.cookies.get(THEME_COOKIE, "")
    return theme if theme in THEMES else ""


async def _page(request: AnyRequest, name: str, context: dict[str, Any]) -> Response[bytes]:
    """Return a page, or only what is inside its frame where the page itself asks for news of it."""
    inside = request.headers.get("hx-request") == "true"
    return _html(await render_in_turns(f"{name}.html", base="inside.html" if inside else "page.html", **context))


def _html(body: bytes, status: int = 200) -> Response[bytes]:
    headers = {"content-security-policy": PAGE, "cache-control": "no-store", "vary": "HX-Request, Cookie"}
    return Response(body, status_code=status, media_type=MediaType.HTML, headers=headers)


def _login_page(request: AnyRequest, problem: str, *, status: int = 200) -> Response[bytes]:
    place = _place(request.query_params.get("next", "/"))
    return _html(render("login.html", base="page.html", problem=problem, next=place, theme=_theme(request)), status)


def _signed_in(request: AnyRequest, shown: str, place: str) -> Response[bytes]:
    answer: Response[bytes] = Response(b"", status_code=303, headers={"location": place, "cache-control": "no-store"})
    answer.set_cookie(_cookie(request, shown))
    return answer


def _cookie(request: AnyRequest, shown: str, *, max_age: int | None = None) -> Cookie:
    secure = request.scope["scheme"] == "https"
    return Cookie(
        key=cookie_name(request),
        value=shown,
        path="/",
        max_age=max_age,
        httponly=True,
        samesite="strict",
        secure=secure,
    )


def _place(text: str) -> str:
    """Return a place on this server to go on to; what may be elsewhere is the overview."""
    good = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable() and "\\" not in text
    return text if good else "/"


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


def _output_query(request: AnyRequest, sight: Sight) -> LogQuery | None:
    subject = request.query_params.get("output")
    if not subject:
        return None
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


def _ask_to_sign_in(request: AnyRequest, error: Unauthenticated) -> Response[Any]:
    is_page = request.method == "GET" and "hx-request" not in request.headers and not _is_stream(request)
    if is_page and "authorization" not in request.headers:
        query = request.scope["query_string"].decode("latin-1")
        here = request.url.path + (f"?{query}" if query else "")
        return Redirect(f"/ui/login?next={quote(here, safe='/')}", status_code=303)
    return _problem_page(request, error)


def _say_so(request: AnyRequest, error: OrchestrationError) -> Response[Any]:
    return _problem_page(request, error)


def _problem_page(request: AnyRequest, error: OrchestrationError) -> Response[bytes]:
    request.scope[ERROR] = error  # type: ignore[typeddict-unknown-key] # for who watches over requests
    headers = retry_headers(error)
    if _is_stream(request):
        return Response(b"", status_code=status_of(error), headers=headers)
    context = {"problem": error.message, "remedy": error.remedy, "theme": _theme(request)}
    inside = request.headers.get("hx-request") == "true"
    base = "inside.html" if inside else "page.html"
    answer = _html(render("problem.html", base=base, **context), status_of(error))
    answer.headers.update(headers)
    return answer


def _is_stream(request: AnyRequest) -> bool:
    return "text/event-stream" in request.headers.get("accept", "")
