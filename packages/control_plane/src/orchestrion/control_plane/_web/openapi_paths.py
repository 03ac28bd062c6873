"""The description of the API over HTTP: for programs, and for people to try."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any, Final

from litestar import Request, Router, get
from litestar.routes import BaseRoute
from litestar.types import ASGIApp
from orchestrion.control_plane._access import ACCESS
from orchestrion.control_plane._objects.kinds import KindRegistry
from orchestrion.shared_types import NotFound, to_json

from .answers import Raw
from .openapi import openapi_document

_ASSETS: Final = {
    "index.css": "text/css",
    "start.js": "text/javascript",
    "theme.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
}

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Styles are also set by Swagger UI on elements that it makes."""


def openapi_handlers(kinds: KindRegistry, routes: Callable[[], Sequence[BaseRoute]]) -> Router:
    """Return the handlers of the description of the API.

    Args:
        kinds: That there are.
        routes: Gives all paths.
    """
    known: tuple[Any, bytes] = ((), b"")

    @get("/openapi.json", opt={ACCESS: None}, name="openapi")
    async def openapi() -> ASGIApp:
        nonlocal known
        now = tuple(kinds)
        if known[0] != now:
            known = now, to_json(openapi_document(routes(), now))
        return Raw(200, known[1])

    @get("/docs", opt={ACCESS: None}, name="docs")
    async def docs() -> ASGIApp:
        headers = ((b"content-security-policy", _POLICY.encode()), (b"x-content-type-options", b"nosniff"))
        return Raw(200, _asset("index.html"), headers, "text/html; charset=utf-8")

    @get("/docs/{name:str}", opt={ACCESS: None}, name="docs-asset")
    async def asset(request: Request[Any, Any, Any]) -> ASGIApp:
        name = request.path_params["name"]
        if name not in _ASSETS:
            msg = f"there is no {name!r:.80} here"
            raise NotFound(msg)
        return Raw(200, _asset(name), ((b"x-content-type-options", b"nosniff"),), f"{_ASSETS[name]}; charset=utf-8")

    return Router("/", route_handlers=[openapi, docs, asset], dto=None, return_dto=None)


def _asset(name: str) -> bytes:
    return (files("orchestrion.control_plane._web") / "swagger" / name).read_bytes()
