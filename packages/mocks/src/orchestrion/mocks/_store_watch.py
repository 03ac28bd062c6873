"""Who watches what in a MemoryStore."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import trio
from orchestrion.store_interface import Change, Revision

from ._store_state import MemoryState, Record, change


class Watcher:
    """What one watch has yet to give.

    Attributes:
        prefix: What it watches.
        pending: Changes not yet given.
        lost: Whether some of them are no longer kept.
    """

    __slots__ = ("_event", "_scope", "lost", "pending", "prefix")

    def __init__(self, prefix: str, pending: list[Change], /) -> None:
        self.prefix = prefix
        self.pending = pending
        self.lost = False
        self._event = trio.Event()
        self._scope = trio.CancelScope()

    def give(self, change: Change, oldest: Revision, /) -> None:
        """Add a change, or lose all where the store has forgotten what this watcher has not read."""
        self.drop_forgotten(oldest)
        if not self.lost:
            self.pending.append(change)
        self._event.set()

    def drop_forgotten(self, oldest: Revision, /) -> None:
        """Lose all changes where some are older than what is kept, so that a slow reader can't fill the memory."""
        if self.pending and self.pending[0].revision <= oldest:
            self.pending.clear()
            self.lost = True

    def wake(self) -> None:
        """Wake the reader if it waits."""
        self._event.set()

    def set_alarm(self, deadline: float, /) -> None:
        """Wake the reader, which waits, at that time at the latest."""
        if self._scope.deadline != deadline:
            self._scope.deadline = deadline

    def arm(self) -> None:
        """Prepare to wait: nothing has happened, and there is no alarm."""
        self._event = trio.Event()
        self._scope = trio.CancelScope()

    async def park(self) -> None:
        """Wait for a change, `wake`, or the alarm, since `arm`."""
        with self._scope:
            await self._event.wait()


class WatchHub:
    """All watchers of one store. A change costs nothing for those whose prefix it does not have."""

    def __init__(self, state: MemoryState, earliest_end: Callable[[], float], /) -> None:
        """Make a hub without watchers.

        Args:
            state: Of what.
            earliest_end: When the next lease ends.
        """
        self._state = state
        self._earliest_end = earliest_end
        # Dicts and not sets: their order is that of time, so that a simulation repeats exactly.
        self._by_prefix: dict[str, dict[Watcher, None]] = {}
        self._parked: dict[Watcher, None] = {}
        self._length_counts: Counter[int] = Counter()
        self._lengths: list[int] = []

    def add(self, watcher: Watcher, /) -> None:
        """Let a watcher have all changes from now on."""
        self._by_prefix.setdefault(watcher.prefix, {})[watcher] = None
        self._count(len(watcher.prefix), 1)

    def remove(self, watcher: Watcher, /) -> None:
        """Forget a watcher."""
        same = self._by_prefix[watcher.prefix]
        del same[watcher]
        if not same:
            del self._by_prefix[watcher.prefix]
        self._count(len(watcher.prefix), -1)

    def publish(self, records: Sequence[Record], /) -> None:
        """Give what changed at the current revision to those who watch it."""
        if not self._by_prefix:
            return
        revision, oldest = self._state.revision, self._state.oldest
        for key, now, _ in records:
            made: Change | None = None
            for length in self._lengths:
                if length > len(key):
                    break
                watchers = self._by_prefix.get(key[:length])
                if watchers is None:
                    continue
                if made is None:
                    made = change(key, now, revision)
                for watcher in watchers:
                    watcher.give(made, oldest)

    def wake_all(self) -> None:
        """Let all readers look at the store again."""
        for watchers in self._by_prefix.values():
            for watcher in watchers:
                watcher.wake()

    async def park(self, watcher: Watcher, /) -> None:
        """Wait for a change under a watcher's prefix, for `wake_all`, or perhaps for the next end of a lease."""
        watcher.arm()
        self._parked[watcher] = None
        self.set_alarm()
        try:
            await watcher.park()
        finally:
            del self._parked[watcher]
            self.set_alarm()

    def set_alarm(self) -> None:
        """Let one of those who wait, and only one, wake when the next lease ends."""
        first = next(iter(self._parked), None)
        if first is not None:
            first.set_alarm(self._earliest_end())

    def _count(self, length: int, more: int) -> None:
        self._length_counts[length] += more
        if self._length_counts[length] == max(more, 0):
            self._lengths = sorted(length for length, count in self._length_counts.items() if count)
