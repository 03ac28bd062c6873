"""Answers that are kept for who asks again: a request with an Idempotency-Key is done once.

| key | value |
|---|---|
| `/reply/-/{digest of caller and key}` | `Reply` |

The record is written in the transaction that does what was asked. A server that is killed right after that has not kept
the answer, but knows that the request was done: then it answers with what there is now.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import trio
from attrs import evolve, field, frozen
from orchestrion.orchestrator_core import WallClock
from orchestrion.shared_types import Conflict, Unavailable, from_json, to_json
from orchestrion.store_interface import ABSENT, Compare, Delete, Entry, Put, StateStore

from .intent import Intent

PREFIX: Final = "/reply/-/"

KEPT: Final = timedelta(hours=24)

MAX_KEPT_BYTES: Final = 256 * 1024
"""A longer answer is not kept; who asks again gets what there is then."""

_SWEEP_SECONDS: Final = 3_600.0
_PAGE: Final = 100


@frozen(kw_only=True)
class Answer:
    """What a request is answered with.

    Attributes:
        status: The HTTP status.
        body: The body.
        headers: Names and values.
    """

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


@frozen(kw_only=True)
class Reply:
    """What is kept of a request.

    Attributes:
        fingerprint: Of all that makes it this request.
        at: When it came (UTC).
        answer: What it was answered with; None where that was not kept.
    """

    fingerprint: str
    at: datetime
    answer: Answer | None = None


@frozen(kw_only=True)
class Asked:
    """A request that is to be done once.

    Attributes:
        caller: Who asks.
        word: Its Idempotency-Key.
        content: All that makes it this request: method, path, query, form and body.
    """

    caller: str
    word: str
    content: Sequence[bytes]


@frozen
class Replies:
    """Keeps answers.

    Attributes:
        store: Where.
        now: The wall clock.
    """

    store: StateStore
    now: WallClock
    _secret: bytes = field(repr=False)
    """Without it nobody can find out from a record what was sent."""

    async def once(
        self,
        asked: Asked,
        intent: Intent,
        act: Callable[[Intent], Awaitable[Answer]],
        again: Callable[[], Awaitable[Answer]],
    ) -> Answer:
        """Do what is asked, unless it was done already, and return the answer that it had.

        Args:
            asked: The request.
            intent: How it is meant.
            act: Does it, in one write with what the intent brings along.
            again: Answers by what there is now, where it was done and the answer was not kept.

        Raises:
            Conflict: Another request had this key, or the same one is being answered.
        """
        key = f"{PREFIX}{self._digest(asked.caller.encode(), asked.word.encode())}"
        fingerprint = self._digest(*asked.content)
        entry = (await self.store.get(key)).entry
        before = self._valid(entry)
        if before is not None:
            if before.fingerprint != fingerprint:
                raise Conflict(
                    "this Idempotency-Key was sent with another request", remedy="Use a new one for each request."
                )
            return before.answer if before.answer is not None else await again()
        reply = Reply(fingerprint=fingerprint, at=self.now())
        expected = ABSENT if entry is None else entry.modified
        compares, operations = (Compare(key, expected),), (Put(key, to_json(reply)),)
        answer = await act(evolve(intent, compares=compares, operations=operations))
        if len(answer.body) <= MAX_KEPT_BYTES:
            # Without the store the request is done all the same, and known to be.
            with trio.CancelScope(shield=True), suppress(Unavailable):
                await self.store.put(key, to_json(evolve(reply, answer=answer)))
        return answer

    async def run(self) -> None:
        """Forget what is too old, from time to time, until cancelled."""
        while True:
            with suppress(Unavailable):
                await self.sweep()
            await trio.sleep(_SWEEP_SECONDS)

    async def sweep(self) -> None:
        """Forget what is too old."""
        last, more = "", True
        while more:
            listed = await self.store.list(PREFIX, limit=_PAGE, start_after=last or None)
            old = [entry.key for entry in listed.entries if self._valid(entry) is None]
            if old:
                await self.store.transaction([], [Delete(key) for key in old])
            more = listed.more
            last = listed.entries[-1].key if listed.entries else last

    def _valid(self, entry: Entry | None) -> Reply | None:
        reply = from_json(entry.value, Reply) if entry is not None else None
        return reply if reply is not None and self.now() - reply.at < KEPT else None

    def _digest(self, *parts: bytes) -> str:
        whole = b"".join(b"%d:%b" % (len(part), part) for part in parts)
        return base64.urlsafe_b64encode(hmac.digest(self._secret, whole, "sha256")).rstrip(b"=").decode()
