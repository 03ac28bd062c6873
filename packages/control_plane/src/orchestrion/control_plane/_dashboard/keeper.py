"""Browsers that have signed in are let in by their session, and all others as they were."""

from __future__ import annotations

from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Final

from attrs import define
from orchestrion.control_plane._identity.access import Access
from orchestrion.control_plane._identity.principals import Principal
from orchestrion.control_plane._standing import Changes
from orchestrion.control_plane._web.caller import Connection, Gatekeeper
from orchestrion.shared_types import Denied, Unauthenticated

from .sessions import Session, Sessions

PLAIN_COOKIE: Final = "orchestrion"
SECURE_COOKIE: Final = "__Host-orchestrion"
"""Browsers keep a cookie of such a name only if it came over TLS, and send it to this host alone."""

PROOF_HEADER: Final = "x-session-proof"

TERMINAL_PROTOCOL: Final = "orchestrion.terminal"
"""What a terminal's websocket speaks."""

PROOF_PROTOCOL: Final = "orchestrion.proof."
"""What the proof follows in another name of a protocol, since a page can give its websocket no header."""

_PAGES: Final = "/ui/"
_MAX_PORT_DIGITS: Final = 5
_SAFE: Final = ("GET", "HEAD", "OPTIONS")


@define(eq=False)
class SessionKeeper:
    """Lets in who has a session, or whom another keeper lets in; what they may do is said by that one.

    Browsers show the cookie of a session to whatever listens at another port of the host, which can then ask as they
    do. So the cookie alone opens pages to look at, and nothing else. For all else the proof has to come with it, which
    browsers give to pages of this very origin alone; and no other site's page may have made the browser ask.

    Attributes:
        keeper: Lets in all others, and says what anybody may do.
        sessions: Who has signed in.
    """

    keeper: Gatekeeper
    sessions: Sessions

    def __attrs_post_init__(self) -> None:
        self.sessions.call_when_ended(self.changes.tell)

    @property
    def changes(self) -> Changes:
        """Tells when what somebody was let in by, or what they may do, may have ended."""
        return self.keeper.changes

    def claim(self, connection: Connection, /) -> str:
        """Return whom a request names. See `Gatekeeper.claim`."""
        session = self._counting(connection)
        return f"session:{session.name}" if session is not None else self.keeper.claim(connection)

    async def authenticate(self, connection: Connection, /) -> Principal:
        """Return who asks.

        Raises:
            Unauthenticated: What it brings proves nothing.
            Denied: It is a change that another site's page asks for.
        """
        is_socket, headers = "method" not in connection.scope, connection.headers
        method = str(connection.scope.get("method", "GET"))
        if (is_socket or method not in _SAFE) and not comes_from_here(headers):
            raise Denied("a page of another site asked for it", remedy="Use the server's own pages, or a client.")
        session = self._counting(connection)
        return session.principal() if session is not None else await self.keeper.authenticate(connection)

    def prove_again(self, connection: Connection, principal: Principal, /) -> None:
        """Make sure that a session is still there, and else as the other keeper does it.

        Raises:
            Unauthenticated: What somebody was let in by is no longer good.
        """
        if "authorization" not in connection.headers and shown_by(connection):
            if self.session_of(connection) is None:
                raise Unauthenticated("the session is over", remedy="Sign in again.")
            return
        self.keeper.prove_again(connection, principal)

    def check_proof(self, connection: Connection) -> None:
        """Make sure that who is let in by a session has shown its proof, where a path asks for more than a look.

        Raises:
            Unauthenticated: The cookie came alone.
        """
        session = None if "authorization" in connection.headers else self.session_of(connection)
        if session is not None and not session.is_proved_by(_proof_of(connection)):
            raise Unauthenticated("the proof of the session is not there", remedy="Sign in again.")

    def check(self, principal: Principal, access: Access, /) -> None:
        """Make sure that somebody may do something.

        Raises:
            Denied: They may not.
        """
        self.keeper.check(principal, access)

    def session_of(self, connection: Connection) -> Session | None:
        """Return the session that a browser shows, or None."""
        shown = shown_by(connection)
        return self.sessions.find(shown) if shown else None

    def _counting(self, connection: Connection) -> Session | None:
        """Return the session that a request is let in by, or None where it shows none, or too little of it."""
        if "authorization" in connection.headers:
            return None
        session = self.session_of(connection)
        if session is None or not (_is_for_a_page(connection) or session.is_proved_by(_proof_of(connection))):
            return None
        return session


def cookie_name(connection: Connection) -> str:
    """Return what the cookie of a session is called on a connection: servers at other ports have other names for it."""
    name = SECURE_COOKIE if connection.scope["scheme"] in ("https", "wss") else PLAIN_COOKIE
    port = connection.headers.get("host", "").rpartition(":")[2]
    good = port.isascii() and port.isdecimal() and len(port) <= _MAX_PORT_DIGITS
    return f"{name}-{port}" if good else name


def shown_by(connection: Connection) -> str:
    """Return what a browser shows of its session; empty for none."""
    try:
        cookies = SimpleCookie(connection.headers.get("cookie", ""))
    except CookieError:
        return ""
    found = cookies.get(cookie_name(connection))
    return found.value if found is not None else ""


def comes_from_here(headers: Mapping[str, str]) -> bool:
    """Whether no page of another site made a browser send a request; who is no browser says nothing of that."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return True
    scheme, _, host = origin.partition("://")
    return scheme in ("http", "https") and host == headers.get("host", "")


def _is_for_a_page(connection: Connection) -> bool:
    """Whether a request is for something to look at, which a browser asks for by itself."""
    path = str(connection.scope["path"])
    return connection.scope.get("method") in ("GET", "HEAD") and (path == "/" or path.startswith(_PAGES))


def _proof_of(connection: Connection) -> str:
    if "method" in connection.scope:
        return connection.headers.get(PROOF_HEADER, "")
    names = [name.strip() for name in connection.headers.get("sec-websocket-protocol", "").split(",")]
    return next((name.removeprefix(PROOF_PROTOCOL) for name in names if name.startswith(PROOF_PROTOCOL)), "")
