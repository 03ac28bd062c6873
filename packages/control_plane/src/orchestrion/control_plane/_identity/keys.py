"""Keys that are trusted, and the requests that are signed with them."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

import trio
from attrs import define, evolve, field, frozen
from orchestrion.orchestrator_core import WallClock, system_time
from orchestrion.shared_types import ConfigInvalid, NotFound, Problem
from orchestrion.store_interface import ABSENT, Compare, Delete, Entry, Put, StateStore

from .curve import is_good_key
from .failures import NotProved, Reason
from .mirror import Mirror
from .principals import Principal, PrincipalKind
from .records import StoredPrincipal
from .replays import ReplayCache
from .signing import COVERED, FORM, KEY_BYTES, KEY_HEADER, SignedHeaders, fingerprint_of_key, read_headers, signed_text

KEY_PREFIX: Final = "/key/default/"
MAX_AGE: Final = timedelta(seconds=300)
MAX_AHEAD: Final = timedelta(seconds=10)
"""How far a clock that signs may be ahead. For as long, after it began, a server takes nothing of older keys."""

_MAX_KEY_TEXT: Final = 64
"""More than a key has in base64: what is longer is none."""

_FINGERPRINT = re.compile(r"[0-9a-f]{32}")


@frozen
class TrustedKey:
    """A public key, and who signs with it.

    Attributes:
        fingerprint: See `fingerprint_of_key`.
        public_key: 32 bytes.
        principal: Who signs with it, with what that one is limited to and until when it is trusted.
        created_at: Since when.
        note: What it is for.
    """

    fingerprint: str
    public_key: bytes
    principal: Principal
    created_at: datetime
    note: str = ""


@define(eq=False)
class TrustedKeys:
    """The keys that are trusted, over a store, and what verifies requests by them.

    `follow` has to run for `verify` to know what there is. Which requests were taken is remembered by this program
    alone: it takes none that was signed before it began, nor one that a server before it may have taken because it was
    signed by a clock that is ahead. Several servers of one store can each take a request once.

    Attributes:
        store: Where they are kept, under `/key/default/`.
        now: The wall clock.
        replays: What was taken.
    """

    store: StateStore
    now: WallClock = system_time
    replays: ReplayCache = field(init=False)
    _began: datetime = field(init=False)
    _known: Mirror[TrustedKey] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._began = self.now()
        self.replays = ReplayCache(MAX_AGE, self._began)
        self._known = Mirror(self.store, KEY_PREFIX, _read)

    def call_when_ended(self, listener: Callable[[], None], /) -> None:
        """Have a listener called after a key was revoked, here or elsewhere; it replaces the one before."""
        self._known.ended = listener

    async def follow(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the store until cancelled; started when all keys are known. See `Mirror.follow`."""
        await self._known.follow(task_status=task_status)

    async def trust(self, public_key: bytes, principal: Principal, /, *, note: str = "") -> TrustedKey:
        """Trust a key. When this returns it is durable, and requests that are signed with it are taken.

        **Idempotency.** By the key: the same again for the same principal and note is success and changes nothing.

        **Cancellation.** *Indeterminate*; a repeat is safe.

        Raises:
            ConfigInvalid: It is no public key or one for which anybody can sign, or for nobody, or past its end.
            RevisionConflict: It is trusted already, for somebody else or with another note.
        """
        if len(public_key) != KEY_BYTES:
            raise ConfigInvalid((Problem(f"{KEY_BYTES} bytes are wanted, in base64", "public_key"),))
        if not is_good_key(public_key):
            problem = Problem("is no public key of Ed25519, or one for which anybody can sign", "public_key")
            raise ConfigInvalid((problem,), remedy="Make a key pair as `openssl genpkey -algorithm ed25519` does.")
        if not principal.name or principal.kind is PrincipalKind.ANONYMOUS:
            raise ConfigInvalid((Problem("a key is somebody's with a name", "principal"),))
        now = self.now()
        if principal.is_expired(now):
            raise ConfigInvalid((Problem("is past already", "expires_at"),))
        name = fingerprint_of_key(public_key)
        trusted = TrustedKey(name, public_key, evolve(principal, via=f"key:{name}"), now, note)
        there = self._known.items.get(name)
        if there is not None and evolve(there, created_at=now) == trusted:
            return there
        secret = base64.b64encode(public_key).decode()
        value = StoredPrincipal.of(principal, secret, now, note).encode()
        revision = await self.store.transaction([Compare(KEY_PREFIX + name, ABSENT)], [Put(KEY_PREFIX + name, value)])
        self._known.apply_own(name, Entry(KEY_PREFIX + name, value, revision, revision), revision)
        return trusted

    async def forget(self, fingerprint: str, /) -> None:
        """Trust a key no longer. When this returns what it signs is refused. Repeating it succeeds.

        **Cancellation.** *Indeterminate*; a repeat is safe.
        """
        if not _FINGERPRINT.fullmatch(fingerprint):
            return
        revision = await self.store.transaction([], [Delete(KEY_PREFIX + fingerprint)])
        self._known.apply_own(fingerprint, None, revision)

    def all(self) -> tuple[TrustedKey, ...]:
        """Return all keys, ascending by fingerprint; also those that have expired."""
        return tuple(self._known.items[name] for name in sorted(self._known.items))

    def get(self, fingerprint: str, /) -> TrustedKey:
        """Return a key.

        Raises:
            NotFound: It is not trusted.
        """
        key = self._known.items.get(fingerprint)
        if key is None:
            raise NotFound(f"no key with the fingerprint {fingerprint!r} is trusted", remedy="list those that are")
        return key

    def claim(self, headers: Mapping[str, str], /) -> str:
        """Return which key the head of a request names, of those that are trusted; empty for none. It proves nothing.

        Args:
            headers: By names in lower case.
        """
        try:
            shown = base64.b64decode(headers.get(KEY_HEADER, "")[:_MAX_KEY_TEXT], validate=True)
        except (binascii.Error, ValueError):
            return ""
        name = fingerprint_of_key(shown)
        return f"key:{name}" if name in self._known.items else ""

    def check_head(self, headers: Mapping[str, str], /) -> TrustedKey:
        """Return whose key the head of a request names, if its body is worth reading. That proves nothing yet.

        Args:
            headers: By names in lower case.

        Raises:
            NotProved: It is not signed, was signed too long ago or in the future, with a key that is not trusted, or
                was taken already.
        """
        return self._checked(read_headers(headers), self.now())

    def verify(self, method: str, path: str, /, *, query: str, headers: Mapping[str, str], body: bytes) -> Principal:
        """Return who signed a request. A request is taken once.

        Args:
            method: Such as `GET`.
            path: As it was sent, with its escapes.
            query: As it was sent, without the question mark.
            headers: By names in lower case.
            body: All of it.

        Raises:
            NotProved: It is not signed, was signed too long ago or in the future, with a key that is not trusted, by
                another key, for another request, or was taken already.
            TooManyRequests: More came than can be remembered.
        """
        shown = read_headers(headers)
        now = self.now()
        trusted = self._checked(shown, now)
        # Imported when the first signed request comes: many servers get none, and all are to start soon.
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        text = signed_text(method, path, query, shown.timestamp, shown.nonce, body, headers)
        try:
            Ed25519PublicKey.from_public_bytes(trusted.public_key).verify(shown.signature, text)
        except (InvalidSignature, ValueError) as err:
            raise NotProved(
                "the signature is not of this request",
                reason=Reason.INVALID_SIGNATURE,
                remedy=f"sign {FORM}, METHOD, PATH?QUERY, {', '.join(COVERED)}, TIMESTAMP, NONCE and the SHA-256 of the"
                " body, one a line",
            ) from err
        if trusted.created_at <= self._began and shown.at <= self._began + MAX_AHEAD:
            raise NotProved(
                f"a request that was signed at {shown.timestamp} may have been taken before the server began",
                reason=Reason.TIMESTAMP_EXPIRED,
                remedy=f"sign it anew, {MAX_AHEAD.total_seconds():.0f} s after the server has started",
            )
        if not self.replays.take(trusted.fingerprint, shown.nonce, shown.at, now):
            raise _replayed()
        return trusted.principal

    def _checked(self, shown: SignedHeaders, now: datetime) -> TrustedKey:
        if not now - MAX_AGE <= shown.at <= now + MAX_AHEAD or shown.at <= self.replays.oldest:
            raise NotProved(
                f"the request was signed at {shown.timestamp}; it is {now.isoformat(timespec='seconds')} here",
                reason=Reason.TIMESTAMP_EXPIRED,
                remedy="sign it anew, by a clock that is right, and after the server has started",
            )
        trusted = self._known.items.get(fingerprint_of_key(shown.key))
        if (
            trusted is None
            or not hmac.compare_digest(trusted.public_key, shown.key)
            or trusted.principal.is_expired(now)
        ):
            raise NotProved(
                f"the key {fingerprint_of_key(shown.key)} is not trusted, or no longer",
                reason=Reason.UNKNOWN_KEY,
                remedy="have an administrator trust it",
            )
        if self.replays.has(trusted.fingerprint, shown.nonce):
            raise _replayed()
        return trusted


def _replayed() -> NotProved:
    return NotProved(
        "the request was taken already", reason=Reason.REPLAYED, remedy="sign each request anew, also a retry"
    )


def _read(entry: Entry) -> TrustedKey:
    name = entry.key.removeprefix(KEY_PREFIX)
    stored = StoredPrincipal.decode(entry.value)
    try:
        key = base64.b64decode(stored.secret, validate=True)
    except (binascii.Error, ValueError) as err:
        raise ConfigInvalid((Problem("is no key in base64", "secret"),)) from err
    if len(key) != KEY_BYTES or fingerprint_of_key(key) != name:
        raise ConfigInvalid((Problem("is not the key that it is stored as", "secret"),))
    if not is_good_key(key):
        raise ConfigInvalid((Problem("is no key, or one for which anybody can sign", "secret"),))
    return TrustedKey(name, key, stored.principal(f"key:{name}"), stored.created_at, stored.note)
