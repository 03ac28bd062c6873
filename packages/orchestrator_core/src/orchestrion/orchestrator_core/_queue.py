"""A work queue of keys: each at most once in it, never worked on twice at once, repeated later after a failure."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import trio
from attrs import define, field

K = TypeVar("K")

Rank = tuple[float, ...]


def _unranked(_key: object) -> Rank | None:
    return None


def _nothing() -> None:
    pass


MAX_SUPERSEDED: Final = 16
"""So many superseded times are no reason to look through all."""


@define(eq=False)
class KeyedQueue(Generic[K]):
    """Keys that want work. A key carries no data: whoever takes it looks at the world.

    Attributes:
        random: Draws the jitter of back-off.
        first_delay_seconds: The wait after a first failure; it doubles with each further one in a row.
        max_delay_seconds: The longest wait.
        rank: Says what some keys are ordered by when they become ready, lower first; those for which it is None are
            taken as they come. Where there are both, they take turns.
        prepare: Is called before a key is chosen, and may add some.
    """

    random: random.Random
    first_delay_seconds: float = 0.05
    max_delay_seconds: float = 30.0
    rank: Callable[[K], Rank | None] = _unranked
    prepare: Callable[[], None] = _nothing
    _ready: deque[K] = field(factory=deque)
    _ranked: list[tuple[Rank, int, K]] = field(factory=list)
    _ranked_next: bool = True
    _waiting: set[K] = field(factory=set)
    _at_work: set[K] = field(factory=set)
    _again: set[K] = field(factory=set)
    _later: list[tuple[float, int, K]] = field(factory=list)
    _due: dict[K, float] = field(factory=dict)
    _failures: dict[K, int] = field(factory=dict)
    _counter: int = 0
    _changed: trio.Event = field(factory=trio.Event)

    def add(self, key: K) -> None:
        """Let the key be worked on as soon as may be."""
        if key in self._at_work:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            rank = self.rank(key)
            if rank is None:
                self._ready.append(key)
            else:
                self._counter += 1
                heapq.heappush(self._ranked, (rank, self._counter, key))
            self._changed.set()

    @property
    def waiting(self) -> int:
        """How many keys wait to be taken; without those whose time has not come."""
        return len(self._waiting)

    def nudge(self) -> None:
        """Let `prepare` be called soon, though no key was added."""
        self._changed.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Let the key be worked on after so long at the latest; an earlier time that is known stays."""
        due = trio.current_time() + seconds
        known = self._due.get(key)
        if known is not None and known <= due:
            return
        self._due[key] = due
        self._counter += 1
        heapq.heappush(self._later, (due, self._counter, key))
        self._drop_superseded()
        self._changed.set()

    async def take(self) -> K:
        """Wait for a key and take it; say `done` or `failed` afterwards."""
        while True:
            self._move_due()
            self.prepare()
            if self._ready or self._ranked:
                # Before anything changes: a key that is taken by a task that is cancelled would be at work for ever.
                await trio.lowlevel.checkpoint_if_cancelled()
                key = self._choose()
                self._waiting.remove(key)
                self._at_work.add(key)
                return key
            self._changed = trio.Event()
            if self._later:
                with trio.move_on_at(self._later[0][0]):
                    await self._changed.wait()
            else:
                await self._changed.wait()

    def done(self, key: K) -> None:
        """Give the key back; its row of failures is over."""
        self._failures.pop(key, None)
        self._give_back(key)

    def failed(self, key: K) -> float:
        """Give the key back, to be worked on again after a wait, and return the wait in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(self.max_delay_seconds, self.first_delay_seconds * 2.0 ** min(failures, 40))
        delay *= 1.0 - 0.2 * self.random.random()
        self._give_back(key)
        self.add_after(key, delay)
        return delay

    def release(self, key: K) -> None:
        """Give the key back, to be worked on again at once, unless `done` or `failed` has given it back already."""
        if key in self._at_work:
            self._give_back(key)
            self.add(key)

    def forget(self, key: K) -> None:
        """Let go what is known about a key that will not want work any more."""
        self._due.pop(key, None)
        self._failures.pop(key, None)
        self._drop_superseded()

    @property
    def idle(self) -> bool:
        """Whether no key is ready or at work; keys whose time has not come do not count."""
        return not self._waiting and not self._at_work

    def is_at_work(self, key: K) -> bool:
        """Whether somebody has taken the key and not given it back."""
        return key in self._at_work

    def _choose(self) -> K:
        ranked = bool(self._ranked) and (self._ranked_next or not self._ready)
        self._ranked_next = not ranked
        return heapq.heappop(self._ranked)[2] if ranked else self._ready.popleft()

    def _give_back(self, key: K) -> None:
        self._at_work.remove(key)
        if key in self._again:
            self._again.remove(key)
            self.add(key)

    def _drop_superseded(self) -> None:
        """Drop times that no longer count, once they are more than those that do."""
        if len(self._later) > 2 * len(self._due) + MAX_SUPERSEDED:
            self._later = [entry for entry in self._later if self._due.get(entry[2]) == entry[0]]
            heapq.heapify(self._later)

    def _move_due(self) -> None:
        now = trio.current_time()
        while self._later and self._later[0][0] <= now:
            due, _, key = heapq.heappop(self._later)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
