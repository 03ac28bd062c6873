"""What every answer tells browsers to refuse."""

from __future__ import annotations

from typing import Any, Final

from attrs import define
from litestar.types import ASGIApp, Message, Receive, Scope, Send

NOTHING: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""The policy of what is no page: nothing of it is run, shown or loaded."""

PAGE: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""The policy of the dashboard: what comes from this server, in files of their own."""

_ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
    (b"content-security-policy", NOTHING.encode()),
)

_STRICT_TRANSPORT: Final = (b"strict-transport-security", b"max-age=31536000")
_NAMES: Final = frozenset(name for name, _ in (*_ALWAYS, _STRICT_TRANSPORT))

_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")


@define(eq=False)
class SecureHeaders:
    """An ASGI application whose answers have the headers that keep browsers safe; what it gives itself stays.

    Attributes:
        app: What answers.
    """

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if str(scope["type"]) != "http":
            await self.app(scope, receive, send)
            return
        wanted: tuple[tuple[bytes, bytes], ...] = _ALWAYS
        if scope["scheme"] == "https" and not _is_loopback(scope):
            wanted = (*_ALWAYS, _STRICT_TRANSPORT)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers: list[Any] = list(message["headers"])
                given = {name.lower() for name, _ in headers}
                if given.isdisjoint(_NAMES):
                    headers += wanted
                else:
                    headers += [pair for pair in wanted if pair[0] not in given]
                message["headers"] = headers
            await send(message)

        await self.app(scope, receive, guarded)


def _is_loopback(scope: Scope) -> bool:
    """Whether the host is this machine by its own name, where other servers may speak plainly at other ports."""
    headers: Any = scope["headers"]
    host = next((value.decode("latin-1") for name, value in headers if name.lower() == b"host"), "")
    return host.rpartition(":")[0] in _LOOPBACK or host in _LOOPBACK
