"""How many may be at work at once: seats for each and for all, and a queue in which nobody is passed over."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio
from attrs import define, field, frozen, validators
from orchestrion.shared_types import TooManyRequests

RETRY_SECONDS: Final = 1.0
"""What is said to who finds the queue full: when there will be room nobody knows."""


@frozen
class LaneSize:
    """How many may be at work at once, and wait for it.

    Attributes:
        each: Seats for one who asks, at least 1.
        all: Seats for everybody together, at least 1.
        queue: How many of one who asks may wait, at least 0.
        queue_seconds: How long one waits at most, above 0.
    """

    each: int = field(validator=validators.ge(1))
    all: int = field(validator=validators.ge(1))
    queue: int = field(validator=validators.ge(0))
    queue_seconds: float = field(default=5.0, validator=validators.gt(0))


@define(eq=False)
class _Place:
    active: int = 0
    waiting: deque[trio.Event] = field(factory=deque)


@define(eq=False)
class Seats:
    """Gives seats in turn: among those who wait each gets one after the other, and each one's in the order they came.

    Attributes:
        size: How many there are.
    """

    size: LaneSize
    active: int = field(init=False, default=0)
    """How many are at work."""
    _places: dict[str, _Place] = field(init=False, factory=dict)
    _next: dict[str, None] = field(init=False, factory=dict)
    """Who waits and has seats of its own left, in turn."""

    def __len__(self) -> int:
        return len(self._places)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(len(place.waiting) for place in self._places.values())

    def has_room(self, who: str, /) -> bool:
        """Whether somebody would get a seat now, or may wait for one."""
        place = self._places.get(who)
        return place is None or self._is_free(place) or len(place.waiting) < self.size.queue

    @asynccontextmanager
    async def taken(self, who: str, /) -> AsyncIterator[None]:
        """Have a seat while inside. Where one is free, entering is no checkpoint.

        **Cancellation.** *Atomic*: who gives up waiting has no seat, and keeps nobody waiting.

        Raises:
            TooManyRequests: As many as may wait do so already, or none was free for too long.
        """
        await self.take(who)
        try:
            yield
        finally:
            self.give_back(who)

    def _is_free(self, place: _Place) -> bool:
        return self.active < self.size.all and place.active < self.size.each and not place.waiting

    async def take(self, who: str, /) -> None:
        """Take a seat, which has to be given back. See `taken`."""
        place = self._places.setdefault(who, _Place())
        if self._is_free(place):
            place.active += 1
            self.active += 1
            return
        if len(place.waiting) >= self.size.queue:
            self._tidy(who, place)
            raise _too_many("as many requests wait as may")
        turn = trio.Event()
        place.waiting.append(turn)
        self._line_up(who, place)
        try:
            with trio.move_on_after(self.size.queue_seconds):
                await turn.wait()
        except trio.Cancelled:
            if turn.is_set():
                self.give_back(who)
            else:
                self._leave(who, place, turn)
            raise
        if not turn.is_set():
            self._leave(who, place, turn)
            raise _too_many(f"there was no room for {self.size.queue_seconds:g} s")

    def give_back(self, who: str, /) -> None:
        """Give a seat back."""
        place = self._places[who]
        place.active -= 1
        self.active -= 1
        self._line_up(who, place)
        self._tidy(who, place)
        while self._next and self.active < self.size.all:
            first = next(iter(self._next))
            place = self._places[first]
            place.active += 1
            self.active += 1
            place.waiting.popleft().set()
            del self._next[first]
            self._line_up(first, place)

    def _leave(self, who: str, place: _Place, turn: trio.Event) -> None:
        place.waiting.remove(turn)
        if not place.waiting:
            self._next.pop(who, None)
        self._tidy(who, place)

    def _line_up(self, who: str, place: _Place) -> None:
        if place.waiting and place.active < self.size.each:
            self._next.setdefault(who)

    def _tidy(self, who: str, place: _Place) -> None:
        if not place.active and not place.waiting:
            del self._places[who]


def _too_many(why: str) -> TooManyRequests:
    return TooManyRequests(
        f"too much at once: {why}", retry_after_seconds=RETRY_SECONDS, remedy="ask for less at once, and again later"
    )
