"""Who has signed in with a browser. Sessions outlive the server where they are kept; see `Keeping`."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import trio
from attrs import define, field, frozen
from orchestrion.control_plane._identity.principals import Principal
from orchestrion.control_plane._identity.tokens import RandomBytes
from orchestrion.orchestrator_core import WallClock, system_time
from orchestrion.shared_types import Unauthenticated
from orchestrion.store_interface import StoreUnavailable

from .kept_sessions import Keeping, KeptNowhere, KeptSession

LONGEST: Final = timedelta(hours=12)
"""How long a session lasts at most."""

IDLE: Final = timedelta(hours=2)
"""How long it may go unused; an open page uses it."""

INVITATION: Final = timedelta(minutes=10)
"""How long the link that signs in once is good."""

GRAIN: Final = timedelta(minutes=10)
"""How far what is kept of a session's use may be behind."""

WRITE_SECONDS: Final = 300.0
"""How often it is written down which sessions were used, if any were: together with the above, 15 minutes at most."""

MAX_SESSIONS: Final = 1_000
MAX_EACH: Final = 50
"""How many sessions one principal has at most; the longest unused one goes."""

_BYTES: Final = 32
_MAX_SHOWN: Final = 64
"""More than what browsers are given has: what is longer is not worth hashing."""


@define(eq=False)
class Session:
    """One browser that has signed in.

    Attributes:
        began_at: When it signed in.
        used_at: When it last asked for something.
        kept_at: How much of that is kept.
    """

    began_at: datetime
    used_at: datetime
    kept_at: datetime
    _was: Principal
    _still: Callable[[Principal], Principal]
    _proof: str
    """The hash of the proof that goes with it."""

    @property
    def name(self) -> str:
        """Who it was when it signed in, as `Principal.subject` has it."""
        return self._was.subject

    def is_over(self, now: datetime) -> bool:
        """Whether it has lasted, or gone unused, for too long."""
        return now - self.began_at >= LONGEST or now - self.used_at >= IDLE

    def kept(self, key: str) -> KeptSession:
        """Return what is kept of it."""
        return KeptSession(key, self._proof, self._was, self.began_at, self.kept_at)

    def is_proved_by(self, proof: str) -> bool:
        """Whether this is the proof that was given to the browser together with what it shows."""
        return 0 < len(proof) <= _MAX_SHOWN and hmac.compare_digest(_hash(proof), self._proof)

    def principal(self) -> Principal:
        """Return who it is. A token that was revoked or has expired since is none.

        Raises:
            Unauthenticated: It no longer proves anything.
        """
        return self._still(self._was)


@frozen
class Begun:
    """What a browser gets that has signed in.

    Attributes:
        shown: What it shows with every request, as a cookie: with other servers on this host, too.
        proof: What only pages of this very origin can show besides, for all but looking at pages.
    """

    shown: str
    proof: str


@define(eq=False)
class Sessions:
    """Begins, finds and ends sessions. Of what browsers show, only hashes are kept.

    Attributes:
        verify: Says whom a token is for; raises `Unauthenticated` for one that is no good.
        still: Returns who was let in before as they are now; raises `Unauthenticated` where that is nobody.
        now: The wall clock.
        random_bytes: Where the names of sessions come from.
        keeping: Where they are kept.
    """

    verify: Callable[[str], Awaitable[Principal]]
    still: Callable[[Principal], Principal]
    now: WallClock = system_time
    random_bytes: RandomBytes = secrets.token_bytes
    keeping: Keeping = field(factory=KeptNowhere)
    _sessions: dict[str, Session] = field(factory=dict, init=False)
    _gone: set[str] = field(factory=set, init=False)
    """Those that have come to their end by themselves, and are kept still."""
    _ended: Callable[[], None] | None = field(default=None, init=False)
    _invitations: dict[str, tuple[Principal, datetime]] = field(factory=dict, init=False)

    def call_when_ended(self, listener: Callable[[], None], /) -> None:
        """Have a listener called after a session has ended; it replaces the one before."""
        self._ended = listener

    async def load(self) -> None:
        """Take up the sessions that are kept, for when the server begins."""
        now = self.now()
        for kept in await self.keeping.load():
            used_at = min(now, kept.used_at + GRAIN + timedelta(seconds=WRITE_SECONDS))
            session = Session(kept.began_at, used_at, kept.used_at, kept.principal, self.still, kept.proof)
            if session.is_over(now) or not kept.proof:
                self._gone.add(kept.id)
            else:
                self._sessions[kept.id] = session
        await self._forget()

    async def run(self) -> None:
        """Write down which sessions were used and which are over, until cancelled; where it fails, the next time."""
        while True:
            await trio.sleep(WRITE_SECONDS)
            with suppress(StoreUnavailable):
                await self.write()

    async def write(self) -> None:
        """Write down which sessions were used and which are over. Where nothing was, nothing is written."""
        now = self.now()
        for key, session in list(self._sessions.items()):
            if session.is_over(now):
                self._end(key)
            elif session.used_at - session.kept_at >= GRAIN:
                session.kept_at = session.used_at
                await self.keeping.add(session.kept(key))
        await self._forget()

    async def log_in(self, token: str) -> Begun:
        """Begin a session for who has a token, and return what the browser is to show from then on.

        **Cancellation.** *Indeterminate*: a session may stay that nobody can show.

        Raises:
            Unauthenticated: The token is no good.
            Unavailable: It is somebody else's to vouch for, who can't be asked.
        """
        return await self._begin(await self.verify(token))

    def invite(self, principal: Principal) -> str:
        """Return a code by which whoever shows it first, within `INVITATION`, is a principal."""
        code = self._word()
        self._invitations[_hash(code)] = (principal, self.now() + INVITATION)
        return code

    async def accept(self, code: str) -> Begun:
        """Begin a session for who shows a code, which is used up by that. See `log_in`.

        Raises:
            Unauthenticated: It is not known, was used, or is too old.
        """
        principal, until = self._invitations.pop(_hash(code), (None, self.now()))
        if principal is None or self.now() >= until:
            raise Unauthenticated(
                "the link was used already, or is too old", remedy="Sign in with a token, or restart the server."
            )
        return await self._begin(principal)

    def find(self, shown: str) -> Session | None:
        """Return the session that a browser shows, or None where there is none or it has come to its end."""
        if len(shown) > _MAX_SHOWN:
            return None
        key = _hash(shown)
        session = self._sessions.get(key)
        if session is None:
            return None
        now = self.now()
        if session.is_over(now):
            self._end(key)
            return None
        try:
            session.principal()
        except Unauthenticated:
            self._end(key)
            return None
        session.used_at = now
        return session

    async def log_out(self, shown: str) -> None:
        """End a session, for good: when this returns, no restart brings it back. Repeating it does nothing."""
        self._end(_hash(shown))
        await self._forget()

    async def _begin(self, principal: Principal) -> Begun:
        now = self.now()
        self.still(principal)
        mine = [key for key, session in self._sessions.items() if session.name == principal.subject]
        if len(mine) >= MAX_EACH:
            self._end_of(mine)
        elif len(self._sessions) >= MAX_SESSIONS:
            self._end_of(list(self._sessions))
        await self._forget()
        # Neither says anything of the other: who has got hold of the cookie can't work out the proof.
        begun = Begun(self._word(), self._word())
        key = _hash(begun.shown)
        session = Session(now, now, now, principal, self.still, _hash(begun.proof))
        await self.keeping.add(session.kept(key))
        self._sessions[key] = session
        return begun

    def _end(self, key: str) -> None:
        if self._sessions.pop(key, None) is not None:
            self._gone.add(key)
            if self._ended is not None:
                self._ended()

    def _end_of(self, keys: list[str]) -> None:
        self._end(min(keys, key=lambda key: self._sessions[key].used_at))

    async def _forget(self) -> None:
        gone = set(self._gone)
        if gone:
            await self.keeping.drop(sorted(gone))
            self._gone -= gone

    def _word(self) -> str:
        return base64.urlsafe_b64encode(self.random_bytes(_BYTES)).decode().rstrip("=")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
