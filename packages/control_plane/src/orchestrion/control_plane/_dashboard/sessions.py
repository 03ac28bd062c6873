"""Who has signed in with a browser. Sessions are in memory: after a restart of the server one signs in again."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from attrs import define, field
from orchestrion.control_plane._identity.principals import Principal
from orchestrion.control_plane._identity.tokens import RandomBytes
from orchestrion.orchestrator_core import WallClock, system_time
from orchestrion.shared_types import Unauthenticated

LONGEST: Final = timedelta(hours=12)
"""How long a session lasts at most."""

IDLE: Final = timedelta(hours=2)
"""How long it may go unused; an open page uses it."""

INVITATION: Final = timedelta(minutes=10)
"""How long the link that signs in once is good."""

MAX_SESSIONS: Final = 1_000
MAX_EACH: Final = 50
"""How many sessions one principal has at most; the longest unused one goes."""

_BYTES: Final = 32


@define(eq=False)
class Session:
    """One browser that has signed in.

    Attributes:
        csrf: What its pages send with each change, so that no other site's page can.
        began_at: When it signed in.
        used_at: When it last asked for something.
        name: Who it was when it signed in, as `Principal.subject` has it.
    """

    csrf: str
    began_at: datetime
    used_at: datetime
    name: str
    _prove: Callable[[], Principal]

    def principal(self) -> Principal:
        """Return who it is. A token that was revoked or has expired since is none.

        Raises:
            Unauthenticated: It no longer proves anything.
        """
        return self._prove()


@define(eq=False)
class Sessions:
    """Begins, finds and ends sessions. Of what browsers show, only hashes are kept.

    Attributes:
        verify: Says whom a token is for; raises `Unauthenticated` for one that is no good.
        now: The wall clock.
        random_bytes: Where the names of sessions come from.
    """

    verify: Callable[[str], Principal]
    now: WallClock = system_time
    random_bytes: RandomBytes = secrets.token_bytes
    _sessions: dict[str, Session] = field(factory=dict)
    _invitations: dict[str, tuple[Principal, datetime]] = field(factory=dict)

    def log_in(self, token: str) -> str:
        """Begin a session for who has a token, and return what the browser is to show from then on.

        Raises:
            Unauthenticated: The token is no good.
        """
        self.verify(token)
        return self._begin(lambda: self.verify(token))

    def invite(self, principal: Principal) -> str:
        """Return a code by which whoever shows it first, within `INVITATION`, is a principal."""
        code = self._word()
        self._invitations[_hash(code)] = (principal, self.now() + INVITATION)
        return code

    def accept(self, code: str) -> str:
        """Begin a session for who shows a code, which is used up by that. See `log_in`.

        Raises:
            Unauthenticated: It is not known, was used, or is too old.
        """
        principal, until = self._invitations.pop(_hash(code), (None, self.now()))
        if principal is None or self.now() >= until:
            raise Unauthenticated(
                "the link was used already, or is too old", remedy="Sign in with a token, or restart the server."
            )
        return self._begin(lambda: principal)

    def find(self, shown: str) -> Session | None:
        """Return the session that a browser shows, or None where there is none or it has come to its end."""
        session = self._sessions.get(_hash(shown))
        if session is None:
            return None
        now = self.now()
        if now - session.began_at >= LONGEST or now - session.used_at >= IDLE:
            self.log_out(shown)
            return None
        try:
            session.principal()
        except Unauthenticated:
            self.log_out(shown)
            return None
        session.used_at = now
        return session

    def log_out(self, shown: str) -> None:
        """End a session. Repeating it does nothing."""
        self._sessions.pop(_hash(shown), None)

    def _begin(self, prove: Callable[[], Principal]) -> str:
        now = self.now()
        name = prove().subject
        mine = [key for key, session in self._sessions.items() if session.name == name]
        if len(mine) >= MAX_EACH:
            self._drop_of(mine)
        elif len(self._sessions) >= MAX_SESSIONS:
            self._drop_of(list(self._sessions))
        shown = self._word()
        self._sessions[_hash(shown)] = Session(self._word(), now, now, name, prove)
        return shown

    def _drop_of(self, keys: list[str]) -> None:
        del self._sessions[min(keys, key=lambda key: self._sessions[key].used_at)]

    def _word(self) -> str:
        return base64.urlsafe_b64encode(self.random_bytes(_BYTES)).decode().rstrip("=")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
