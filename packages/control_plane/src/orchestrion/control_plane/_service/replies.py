"""Answers that are kept for who asks again: a request with an Idempotency-Key is done once.

| key | value |
|---|---|
| `/reply/-/{digest of caller and key}` | `Reply` |

The record is written in the transaction that does what was asked. A server that is killed right after that has not kept
the answer, but knows that the request was done: then it answers with what there is now. What is written somewhere else,
as an order to a node, has its record written before it, as one that has begun: who asks again after such an end has it
done again, which makes no difference.

What is kept has its bounds, for each caller. Beyond so many bytes no more answers are kept, but that the requests were
done; beyond so many requests, new ones with a key are refused: to forget one that is not too old would be to do it
twice.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Final

import trio
from attrs import define, evolve, field, frozen
from orchestrion.orchestrator_core import WallClock
from orchestrion.shared_types import Conflict, OrchestrationError, TooManyRequests, Unavailable, from_json, to_json
from orchestrion.store_interface import ABSENT, Compare, Delete, Entry, Put, Revision, RevisionConflict, StateStore

from .intent import Intent
from .requested import asked_twice

PREFIX: Final = "/reply/-/"

KEPT: Final = timedelta(hours=24)

MAX_KEPT_BYTES: Final = 256 * 1024
"""A longer answer is not kept; who asks again gets what there is then."""

MAX_REQUESTS: Final = 100_000
"""Of how many requests of one caller it is kept that they were done: more than one a second, all day long."""

MAX_ANSWERS_BYTES: Final = 16 * 1024 * 1024
"""How many bytes of answers are kept for one caller; of more, only that the requests were done."""

_LEAST_WAIT_SECONDS: Final = 60.0

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
        caller: Digest of who sent it; empty in records of earlier versions.
        begun: Whether no more is known than that it was begun.
        answer: What it was answered with; None where that was not kept.
    """

    fingerprint: str
    at: datetime
    caller: str = ""
    begun: bool = False
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


@define
class _Room:
    """What is kept for one caller: how many requests, how many bytes of answers, and since when the oldest."""

    requests: int = 0
    size: int = 0
    oldest: datetime | None = None


@define(eq=False)
class Replies:
    """Keeps answers.

    Attributes:
        store: Where.
        now: The wall clock.
        max_requests: Of how many requests of one caller it is kept that they were done.
        max_bytes: How many bytes of answers are kept for one caller.
    """

    store: StateStore
    now: WallClock
    _secret: bytes = field(repr=False)
    """Without it nobody can find out from a record what was sent."""
    max_requests: int = field(default=MAX_REQUESTS, kw_only=True)
    max_bytes: int = field(default=MAX_ANSWERS_BYTES, kw_only=True)
    _rooms: dict[str, _Room] | None = field(default=None, init=False)
    """By digest of the caller; None until it was counted."""
    _counting: trio.Lock = field(factory=trio.Lock, init=False)
    _at_work: set[str] = field(factory=set, init=False)

    async def once(
        self,
        asked: Asked,
        intent: Intent,
        act: Callable[[Intent], Awaitable[Answer]],
        again: Callable[[], Awaitable[Answer]],
        *,
        together: bool = True,
        keeps: bool = True,
    ) -> Answer:
        """Do what is asked, unless it was done already, and return the answer that it had.

        Args:
            asked: The request.
            intent: How it is meant.
            act: Does it, in one write with what the intent brings along.
            again: Answers by what there is now, where it was done and the answer was not kept.
            together: False where nothing can be written together with what `act` does, and doing it twice is as good as
                once.
            keeps: Whether the answer may be kept; False where it is to be seen once.

        Raises:
            Conflict: Another request had this key, or the same one is being answered.
            TooManyRequests: As much as may be is kept of who asks; nothing was done.
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
            if not before.begun:
                return before.answer if before.answer is not None else await again()
        if key in self._at_work:
            raise asked_twice()
        expected = ABSENT if entry is None else entry.modified
        reply = Reply(fingerprint=fingerprint, at=self.now(), caller=self._digest(asked.caller.encode()))
        async with self._room_for(reply) as room:
            if together:
                compares, operations = (Compare(key, expected),), (Put(key, to_json(reply)),)
                answer = await act(evolve(intent, compares=compares, operations=operations))
                changed = await self._was_written(key, expected)
            else:
                answer = await self._begun(key, expected, reply, lambda: act(intent))
                changed = True
            # Where nothing changed, what there is now says as much as the answer, and takes no room.
            if (
                keeps
                and changed
                and len(answer.body) <= MAX_KEPT_BYTES
                and room.size + len(answer.body) <= self.max_bytes
            ):
                room.size += len(answer.body)
                reply = evolve(reply, answer=answer)
            elif changed and together:
                return answer
            # Without the store the request is done all the same, and known to be.
            with trio.CancelScope(shield=True), suppress(Unavailable):
                await self.store.put(key, to_json(reply))
        return answer

    async def run(self) -> None:
        """Forget what is too old, from time to time, until cancelled."""
        while True:
            with suppress(Unavailable):
                await self.sweep()
            await trio.sleep(_SWEEP_SECONDS)

    async def sweep(self) -> None:
        """Forget what is too old, and count what is left."""
        async with self._counting:
            rooms = dict[str, _Room]()
            last, more = "", True
            while more:
                listed = await self.store.list(PREFIX, limit=_PAGE, start_after=last or None)
                old = list[str]()
                for entry in listed.entries:
                    reply = self._valid(entry)
                    if reply is None:
                        old.append(entry.key)
                    else:
                        _count(rooms.setdefault(reply.caller, _Room()), reply)
                if old:
                    await self.store.transaction([], [Delete(key) for key in old])
                more = listed.more
                last = listed.entries[-1].key if listed.entries else last
            self._rooms = rooms

    @asynccontextmanager
    async def _room_for(self, reply: Reply) -> AsyncIterator[_Room]:
        """Take room for one more request while inside, and for good unless that fails.

        Raises:
            TooManyRequests: There is none.
        """
        if self._rooms is None:
            await self.sweep()
        room = self._room(reply.caller)
        if room.requests >= self.max_requests and room.oldest is not None and self.now() - room.oldest >= KEPT:
            await self.sweep()
            room = self._room(reply.caller)
        if room.requests >= self.max_requests:
            wait = KEPT.total_seconds()
            if room.oldest is not None:
                wait = max(_LEAST_WAIT_SECONDS, (room.oldest + KEPT - self.now()).total_seconds())
            raise TooManyRequests(
                f"{room.requests:,} requests with an Idempotency-Key are remembered of you, and no more can be",
                retry_after_seconds=wait,
                remedy="Send it without a key, or wait until older ones are a day old.",
            )
        _count(room, reply)
        try:
            yield room
        except BaseException:
            room.requests -= 1
            raise

    def _room(self, caller: str) -> _Room:
        if self._rooms is None:
            self._rooms = {}
        return self._rooms.setdefault(caller, _Room())

    async def _was_written(self, key: str, expected: Revision) -> bool:
        """Whether the record of a request that was done has come with it: it has not where nothing changed."""
        with trio.CancelScope(shield=True), suppress(Unavailable):
            entry = (await self.store.get(key)).entry
            return entry is not None and entry.modified != expected
        return True

    async def _begun(self, key: str, expected: Revision, reply: Reply, act: Callable[[], Awaitable[Answer]]) -> Answer:
        """Do what is asked once it is on record that it was begun."""
        self._at_work.add(key)
        try:
            try:
                await self.store.put(key, to_json(evolve(reply, begun=True)), expected=expected)
            except RevisionConflict as err:
                raise asked_twice() from err
            try:
                return await act()
            except OrchestrationError:
                # What was refused can be sent again; so can what it is not known of whether it was done.
                with trio.CancelScope(shield=True), suppress(Unavailable):
                    await self.store.delete(key)
                raise
        finally:
            self._at_work.discard(key)

    def _valid(self, entry: Entry | None) -> Reply | None:
        reply = from_json(entry.value, Reply) if entry is not None else None
        return reply if reply is not None and self.now() - reply.at < KEPT else None

    def _digest(self, *parts: bytes) -> str:
        whole = b"".join(b"%d:%b" % (len(part), part) for part in parts)
        return base64.urlsafe_b64encode(hmac.digest(self._secret, whole, "sha256")).rstrip(b"=").decode()


def _count(room: _Room, reply: Reply) -> None:
    room.requests += 1
    room.size += len(reply.answer.body) if reply.answer is not None else 0
    room.oldest = reply.at if room.oldest is None else min(room.oldest, reply.at)
