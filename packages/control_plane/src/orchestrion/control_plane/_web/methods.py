"""Which methods a path takes: told truly, by kind where kinds differ; and what is read can be asked for its head."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import trio
from attrs import define, frozen
from litestar.routes import BaseRoute, HTTPRoute
from litestar.types import ASGIApp, Message, Receive, Send
from orchestrion.control_plane._access import ACCESS, METHODS, Needs
from orchestrion.control_plane._objects.kinds import NAMESPACE, KindRegistry

from .doc import DOC, Doc

ASKED: Final = "orchestrion.asked"
"""Where in a request's scope its method is as it was asked, where that is answered as another one."""

_NOT_READ: Final = ("/ui", "/mcp")
"""Paths where what is asked for may be used up by it, such as an invitation."""

_PLACE: Final = re.compile(r"\{(\w+)\}")
_PLURAL: Final = "plural"


@frozen
class _Path:
    """A path with places in it.

    Attributes:
        pattern: What it fits.
        order: Of several that fit, the lowest is meant: a word goes before a place, from the left.
        methods: By method what is said of it, and whether what it does is of a kind.
    """

    pattern: re.Pattern[str]
    order: tuple[bool, ...]
    methods: Mapping[str, tuple[Doc | None, bool]]


def _paths_of(routes: Iterable[BaseRoute]) -> list[_Path]:
    methods: dict[str, dict[str, tuple[Doc | None, bool]]] = {}
    for route in routes:
        if not isinstance(route, HTTPRoute):
            continue
        for handler in route.route_handlers:
            needs, doc = handler.opt.get(ACCESS), handler.opt.get(DOC)
            by_kind = _PLURAL in _PLACE.findall(
                route.path_format + (needs.resource if isinstance(needs, Needs) else "")
            )
            for method in handler.http_methods - {"OPTIONS"}:
                known = doc if isinstance(doc, Doc) else None
                methods.setdefault(route.path_format, {})[method] = known, by_kind
    found = [
        _Path(
            re.compile(_PLACE.sub(r"(?P<\1>[^/]+)", re.sub(r"[.*+?()\[\]|^$\\]", r"\\\g<0>", path))),
            tuple(part.startswith("{") for part in path.split("/")),
            of,
        )
        for path, of in methods.items()
    ]
    return sorted(found, key=lambda each: each.order)


@define(eq=False)
class Methods:
    """An ASGI application that answers for another one what is asked of methods.

    `Allow` has the methods that there are of what a path names, in the answer to `OPTIONS` and in every 405. `HEAD` is
    answered as `GET` without a body; what would be a stream is over then.

    Attributes:
        app: What answers.
        kinds: The kinds that there are.
        routes: Where it is looked what there is.
    """

    app: ASGIApp
    kinds: KindRegistry
    routes: Sequence[BaseRoute]

    @cached_property
    def _paths(self) -> Sequence[_Path]:
        # Most applications are never asked for it.
        return _paths_of(self.routes)

    def allowed(self, path: str) -> tuple[str, ...]:
        """Return the methods of a path, in order; none where there is no such path."""
        for known in self._paths:
            found = known.pattern.fullmatch(path)
            if found is not None:
                methods = set(self._methods(known, found.groupdict().get(_PLURAL, NAMESPACE.plural)))
                if "GET" in methods and not path.startswith(_NOT_READ):
                    methods.add("HEAD")
                return tuple(sorted({*methods, "OPTIONS"}))
        return ()

    def _methods(self, known: _Path, plural: str) -> Iterable[str]:
        kind = self.kinds.get(plural)
        for method, (doc, by_kind) in known.methods.items():
            if doc is None or not by_kind or kind is None or doc.kinds(kind):
                yield method

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope[METHODS] = self.allowed  # for who answers with a 405
        if scope["method"] == "HEAD" and "HEAD" in self.allowed(scope["path"]):
            await self._head(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            await self.app(scope, receive, self._telling(scope["path"], send))
        else:
            await self.app(scope, receive, send)

    def _telling(self, path: str, send: Send) -> Send:
        allowed = self.allowed(path)

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start" and allowed:
                others = [pair for pair in message["headers"] if pair[0].lower() != b"allow"]
                message["headers"] = [*others, (b"allow", ", ".join(allowed).encode())]
            await send(message)

        return told

    async def _head(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer as `GET` is answered, as far as its body."""
        scope[ASKED], scope["method"] = "HEAD", "GET"
        with trio.CancelScope() as answering:

            async def begun(message: Message) -> None:
                if message["type"] == "http.response.start":
                    await send(message)
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    answering.cancel()

            try:
                await self.app(scope, receive, begun)
            finally:
                scope["method"] = "HEAD"
