"""What browsers are answered with: pages, signing in and out, and what did not work."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from litestar import MediaType, Request, Response
from litestar.datastructures import Cookie
from litestar.response import Redirect
from orchestrion.control_plane._app import ERROR, retry_headers
from orchestrion.control_plane._problems import status_of
from orchestrion.shared_types import NotFound, OrchestrationError, Unauthenticated

from .headers import PAGE
from .keeper import cookie_name
from .rendering import render, render_in_turns
from .sessions import Begun

AnyRequest = Request[Any, Any, Any]

THEME_COOKIE: Final = "theme"
THEMES: Final = ("light", "dark")


def theme_of(request: AnyRequest) -> str:
    """Return which colours a browser wants, as one of `THEMES`; empty for those of its system."""
    theme = request.cookies.get(THEME_COOKIE, "")
    return theme if theme in THEMES else ""


async def page_of(request: AnyRequest, name: str, context: dict[str, Any]) -> Response[bytes]:
    """Return a page, or only what is inside its frame where the page itself asks for news of it."""
    inside = request.headers.get("hx-request") == "true"
    return _html(await render_in_turns(f"{name}.html", base="inside.html" if inside else "page.html", **context))


def _html(body: bytes, status: int = 200) -> Response[bytes]:
    headers = {"content-security-policy": PAGE, "cache-control": "no-store", "vary": "HX-Request, Cookie"}
    return Response(body, status_code=status, media_type=MediaType.HTML, headers=headers)


def log_in_page(request: AnyRequest, problem: str, *, status: int = 200) -> Response[bytes]:
    """Return the page to sign in on, with why it did not work where it did not."""
    place = place_of(request.query_params.get("next", "/"))
    return _html(render("login.html", base="page.html", problem=problem, next=place, theme=theme_of(request)), status)


def signed_in_page(request: AnyRequest, begun: Begun, place: str) -> Response[bytes]:
    """Return the page that a browser gets once it has signed in: its script keeps the proof, and goes on to a place.

    It is the only answer with the proof in it, and who gets it has shown a token or a link.
    """
    context = {"proof": begun.proof, "next": place, "theme": theme_of(request)}
    answer = _html(render("signed_in.html", base="page.html", **context))
    answer.set_cookie(_cookie(request, begun.shown))
    return answer


def signed_out(request: AnyRequest) -> Response[None]:
    """Return what a browser gets that has signed out."""
    answer: Response[None] = Response(None, status_code=204)
    answer.set_cookie(_cookie(request, "", max_age=0))
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


def place_of(text: str) -> str:
    """Return a place on this server to go on to; what may be elsewhere is the overview."""
    good = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable() and "\\" not in text
    return text if good else "/"


def ask_to_sign_in(request: AnyRequest, error: Unauthenticated) -> Response[Any]:
    """Lead a browser to where one signs in, and from there back; what is no page is told."""
    is_page = request.method == "GET" and "hx-request" not in request.headers and not _is_stream(request)
    if is_page and "authorization" not in request.headers:
        query = request.scope["query_string"].decode("latin-1")
        here = request.url.path + (f"?{query}" if query else "")
        return Redirect(f"/ui/login?next={quote(here, safe='/')}", status_code=303)
    return _problem_page(request, error)


def say_so(request: AnyRequest, error: OrchestrationError) -> Response[Any]:
    """Return a page that tells an error."""
    return _problem_page(request, error)


def lost_page(request: AnyRequest) -> Response[Any] | None:
    """Return the page for an address at which there is none; None where no pages are looked for."""
    path = str(request.scope["path"])
    if request.method != "GET" or not path.startswith("/ui/"):
        return None
    return _problem_page(request, NotFound(f"there is no page {path[:200]!r}"))


def _problem_page(request: AnyRequest, error: OrchestrationError) -> Response[bytes]:
    request.scope[ERROR] = error  # type: ignore[typeddict-unknown-key] # for who watches over requests
    headers = retry_headers(error)
    if _is_stream(request):
        return Response(b"", status_code=status_of(error), headers=headers)
    remedy, place = _with_link(error.remedy)
    context = {"problem": error.message, "remedy": remedy, "place": place, "theme": theme_of(request)}
    inside = request.headers.get("hx-request") == "true"
    base = "inside.html" if inside else "page.html"
    answer = _html(render("problem.html", base=base, **context), status_of(error))
    answer.headers.update(headers)
    return answer


def _with_link(remedy: str) -> tuple[str, str]:
    """Return what a remedy says, and the page of the dashboard that it ends with; empty if with none."""
    words, space, place = remedy.rpartition(" ")
    return (f"{words}{space}", place) if place.startswith("/ui/") else (remedy, "")


def _is_stream(request: AnyRequest) -> bool:
    return "text/event-stream" in request.headers.get("accept", "")
