"""Bearer tokens: texts that whoever holds them shows to be somebody."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Final

import trio
from attrs import define, evolve, field, frozen
from orchestrion.orchestrator_core import WallClock, system_time
from orchestrion.shared_types import ConfigInvalid, NotFound, Problem
from orchestrion.store_interface import ABSENT, Compare, Delete, Entry, Operation, Put, StateStore

from .failures import NotProved, Reason
from .mirror import Mirror
from .principals import Principal, PrincipalKind
from .records import StoredPrincipal
from .secret_text import SecretText

RandomBytes = Callable[[int], bytes]
"""Gives so many bytes that nobody can guess."""

TOKEN_PREFIX: Final = "orc_"  # noqa: S105 - what all begin with, so that a leaked one can be searched for
KEY_PREFIX: Final = "/token/default/"
_ID_BYTES: Final = 8
_SECRET_BYTES: Final = 32
_TEXT = re.compile(r"orc_([a-z2-7]{13})_([a-z2-7]{52})")
_REMEDY: Final = (
    "ask an administrator for a new one (orchestrion token create), and log in with it; who runs the server finds the "
    "administrator's own, which is replaced from time to time, in server-api/admin.token of its state directory"
)
_NO_HASH: Final = "0" * 64


@frozen
class TokenRecord:
    """What is known of a token; the token itself is not.

    Attributes:
        id: The middle part of the token.
        hash: SHA-256 of the token, in hexadecimal. The token has 256 random bits, so that nobody can try them out.
        principal: Who shows it, with what it is limited to and until when it is good.
        created_at: When it was issued.
        note: What it is for, in the words of who asked for it.
    """

    id: str
    hash: str
    principal: Principal
    created_at: datetime
    note: str = ""


@frozen
class IssuedToken:
    """A token that was just issued: the only time that its text is there.

    Attributes:
        record: What is kept of it.
        text: What its holder shows.
    """

    record: TokenRecord
    text: SecretText


@define(eq=False)
class Tokens:
    """Issues, verifies and revokes tokens over a store, which has only their hashes.

    `follow` has to run for `verify` to know what there is.

    Attributes:
        store: Where they are kept, under `/token/default/`.
        now: The wall clock.
        random_bytes: Where ids and secrets come from.
    """

    store: StateStore
    now: WallClock = system_time
    random_bytes: RandomBytes = secrets.token_bytes
    _known: Mirror[TokenRecord] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._known = Mirror(self.store, KEY_PREFIX, _read)

    def call_when_ended(self, listener: Callable[[], None], /) -> None:
        """Have a listener called after a token was revoked, here or elsewhere; it replaces the one before."""
        self._known.ended = listener

    async def follow(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the store until cancelled; started when all tokens are known. See `Mirror.follow`."""
        await self._known.follow(task_status=task_status)

    def make(self, principal: Principal, /, *, note: str = "") -> IssuedToken:
        """Return a new token that is not good yet: `operation_of` its record has to be written to the store.

        Raises:
            ConfigInvalid: It would be good for nobody, or is past its end already.
        """
        if not principal.name or principal.kind is PrincipalKind.ANONYMOUS:
            raise ConfigInvalid((Problem("a token is for somebody with a name", "principal"),))
        now = self.now()
        if principal.is_expired(now):
            raise ConfigInvalid((Problem("is past already", "expires_at"),))
        token_id = _words(self.random_bytes(_ID_BYTES))
        text = f"{TOKEN_PREFIX}{token_id}_{_words(self.random_bytes(_SECRET_BYTES))}"
        record = TokenRecord(token_id, _hash(text), evolve(principal, via=f"token:{token_id}"), now, note)
        return IssuedToken(record, SecretText(text))

    async def issue(self, principal: Principal, /, *, note: str = "") -> IssuedToken:
        """Issue a token for somebody. When this returns it is durable, and good.

        Whether who asks may give away what the principal may do is for the caller to check (`Policy.may_grant`).

        **Cancellation.** *Indeterminate*: a token that nobody has the text of may stay; `all` shows it.

        Args:
            principal: Who shows it, with the groups, the scope, the namespaces and the end that it is to have.
            note: What it is for.

        Raises:
            ConfigInvalid: See `make`.
        """
        issued = self.make(principal, note=note)
        await self.write(issued.record, [], [])
        return issued

    async def write(self, record: TokenRecord, compares: list[Compare], besides: list[Operation]) -> None:
        """Write a token that was made, in one transaction with other operations.

        Raises:
            RevisionConflict: A compare does not hold; nothing was written.
        """
        key = KEY_PREFIX + record.id
        value = StoredPrincipal.of(record.principal, record.hash, record.created_at, record.note).encode()
        revision = await self.store.transaction([Compare(key, ABSENT), *compares], [Put(key, value), *besides])
        self._known.apply_own(record.id, Entry(key, value, revision, revision), revision)

    async def revoke(self, token_id: str, /) -> None:
        """Make a token worthless. When this returns it is refused; what it began goes on. Repeating it succeeds.

        **Cancellation.** *Indeterminate*; a repeat is safe.
        """
        if not re.fullmatch(r"[a-z2-7]{13}", token_id):
            return
        revision = await self.store.transaction([], [Delete(KEY_PREFIX + token_id)])
        self._known.apply_own(token_id, None, revision)

    def all(self) -> tuple[TokenRecord, ...]:
        """Return what is known of all tokens, ascending by id; also of those that have expired."""
        return tuple(self._known.items[name] for name in sorted(self._known.items))

    def get(self, token_id: str, /) -> TokenRecord:
        """Return what is known of a token.

        Raises:
            NotFound: There is none.
        """
        record = self._known.items.get(token_id)
        if record is None:
            raise NotFound(f"there is no token with the id {token_id!r}", remedy="list them to see those there are")
        return record

    def claim(self, text: str, /) -> str:
        """Return which token a text names, of those that are known; empty for none. That proves nothing."""
        match = _TEXT.fullmatch(text)
        return f"token:{match[1]}" if match is not None and match[1] in self._known.items else ""

    def verify(self, text: str, /) -> Principal:
        """Return whom a token is for. It asks nobody, and takes as long whether the token is known or not.

        What can't be a token is not hashed, however long it is.

        Raises:
            NotProved: It is no token, is not known, was revoked or has expired.
        """
        match = _TEXT.fullmatch(text)
        record = self._known.items.get(match[1]) if match else None
        right = match is not None and hmac.compare_digest(_hash(text), record.hash if record else _NO_HASH)
        if record is None or not right:
            raise NotProved(
                "the token is not known or was revoked",
                reason=Reason.INVALID_TOKEN,
                remedy=_REMEDY,
            )
        if record.principal.is_expired(self.now()):
            raise NotProved(
                f"the token {record.id} has expired",
                reason=Reason.TOKEN_EXPIRED,
                remedy=_REMEDY,
            )
        return record.principal


def _read(entry: Entry) -> TokenRecord:
    token_id = entry.key.removeprefix(KEY_PREFIX)
    stored = StoredPrincipal.decode(entry.value)
    return TokenRecord(token_id, stored.secret, stored.principal(f"token:{token_id}"), stored.created_at, stored.note)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _words(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()
