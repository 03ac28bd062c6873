"""Sections of an application: paths that begin alike, whose handlers are made when the first of them is asked for.

A server has many more paths than anybody asks for in its first second, and making the handlers of all of them would
take as long as everything else that it does before it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import trio
from attrs import define, field, frozen
from litestar import Litestar
from litestar.routes import BaseRoute
from litestar.types import ASGIApp, ControllerRouterHandler, Receive, Scope, Send
from orchestrion.control_plane._loading import load

API: Final = frozenset({"api", "apis", "authority.crt", "issuer.json"})
CONTROL: Final = frozenset({"v1"})
DASHBOARD: Final = frozenset({"", "ui", "favicon.ico"})
DESCRIPTION: Final = frozenset({"openapi.json", "docs", "problems"})
HEALTH: Final = frozenset({"livez", "readyz", "healthz", "metrics"})
TOOLS: Final = frozenset({"mcp"})


@frozen
class Section:
    """Some handlers, which nobody needs before one of their paths is asked for.

    Attributes:
        words: What their paths begin with: the first part of each, without slashes. Those of two sections are the same
            or have nothing in common.
        make: Makes the handlers. It blocks, for some tens of milliseconds where modules are to be imported first.
        modules: Names within the package of modules that it needs, which can be imported before, in a thread.
    """

    words: frozenset[str]
    make: Callable[[], Sequence[ControllerRouterHandler]]
    modules: tuple[str, ...] = ()


@define(eq=False)
class _Part:
    """Sections of the same words, and the application of their handlers once it is made."""

    words: frozenset[str]
    sections: list[Section] = field(factory=list)
    app: ASGIApp | None = None
    routes: Sequence[BaseRoute] = ()


@define(eq=False)
class Sections:
    """An ASGI application that is made of sections, each when it is first asked for.

    What begins with the words of none is answered by the one that came first.
    """

    _make_app: Callable[[Sequence[ControllerRouterHandler]], Litestar]
    """Makes an application of handlers."""
    _around: Callable[[Litestar], ASGIApp]
    """Gives what answers for it."""
    _parts: dict[frozenset[str], _Part] = field(factory=dict, init=False)
    _by_word: dict[str, _Part] = field(factory=dict, init=False)

    def add(self, section: Section) -> None:
        """Have a section.

        Raises:
            ValueError: It shares some of its words with another one, and not all.
        """
        part = self._parts.setdefault(section.words, _Part(section.words))
        part.sections.append(section)
        for word in section.words:
            if self._by_word.setdefault(word, part) is not part:
                msg = f"only one of two sections whose paths begin with {word!r} has others besides"
                raise ValueError(msg)

    async def prepare(self) -> None:
        """Make what is not made yet, section by section, while requests are answered.

        **Idempotency.** What is made stays. **Cancellation.** *Indeterminate*: some may be made; it may be repeated.
        """
        for part in self._parts.values():
            modules = [module for section in part.sections for module in section.modules]
            if part.app is None and modules:
                await trio.to_thread.run_sync(load, *modules, abandon_on_cancel=True)
            self._made(part)
            await trio.lowlevel.checkpoint()

    def routes(self) -> list[BaseRoute]:
        """Return all paths that there are, making what is not made yet."""
        for part in self._parts.values():
            self._made(part)
        return [route for part in self._parts.values() for route in part.routes]

    def handlers(self) -> list[ControllerRouterHandler]:
        """Return handlers of all paths, made anew."""
        return [handler for part in self._parts.values() for section in part.sections for handler in section.make()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        part = self._by_word.get(_word_of(scope["path"]))
        if part is None:
            part = next(iter(self._parts.values()))
        await (part.app or self._made(part))(scope, receive, send)

    def _made(self, part: _Part) -> ASGIApp:
        if part.app is None:
            app = self._make_app([handler for section in part.sections for handler in section.make()])
            for route in app.routes:
                if _word_of(route.path) not in part.words:
                    msg = f"nobody would be led to {route.path}: its section has {', '.join(sorted(part.words))}"
                    raise ValueError(msg)
            part.app, part.routes = self._around(app), app.routes
        return part.app


def _word_of(path: str) -> str:
    return path.lstrip("/").partition("/")[0]
