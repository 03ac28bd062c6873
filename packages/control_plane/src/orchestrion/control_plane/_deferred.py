"""An application that is opened when it is first asked for: what most owners of a socket are never asked for."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import trio
from attrs import define, field
from litestar.types import ASGIApp, Receive, Scope, Send
from orchestrion.shared_types import OrchestrationError

from ._problems import PROBLEM_MEDIA_TYPE, expected, problem_of, sole_error, status_of

OpenApp = Callable[[], AbstractAsyncContextManager[Any]]
"""Opens an ASGI application."""

_log = logging.getLogger("orchestrion.control_plane")


@define(eq=False)
class DeferredApp:
    """An ASGI application that answers some requests by itself, and all others by one that is opened for them.

    Attributes:
        first: Answers what `answered_first` says.
        answered_first: Says by its scope whether `first` answers a request.
    """

    first: ASGIApp
    answered_first: Callable[[Scope], bool]
    _open: OpenApp
    _wanted: trio.Event = field(factory=trio.Event)
    _ready: trio.Event = field(factory=trio.Event)
    _other: Any = None

    async def run(self) -> None:
        """Open the other application once it is wanted, and keep it until cancelled."""
        await self._wanted.wait()
        try:
            async with self._open() as self._other:
                self._ready.set()
                await trio.sleep_forever()
        except Exception as err:
            error = expected(err, "opening the object API")
            if error.code == "internal":
                _log.error("%s", error.message, exc_info=sole_error(err))
            self._other = _Refusal(error)
            self._ready.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self.answered_first(scope):
            await self.first(scope, receive, send)
            return
        self._wanted.set()
        await self._ready.wait()
        await self._other(scope, receive, send)


@define(eq=False)
class _Refusal:
    """Answers everything with an error."""

    error: OrchestrationError

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one request."""
        kind: str = scope["type"]
        if kind != "http":
            await send({"type": "websocket.close", "code": 1011, "reason": self.error.message[:100]})
            return
        headers = [(b"content-type", PROBLEM_MEDIA_TYPE.encode())]
        await send({"type": "http.response.start", "status": status_of(self.error), "headers": headers})
        body = json.dumps(problem_of(self.error)).encode()
        await send({"type": "http.response.body", "body": body, "more_body": False})
