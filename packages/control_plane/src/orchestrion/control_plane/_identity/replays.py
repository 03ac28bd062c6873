"""Which signed requests were taken already."""

from __future__ import annotations

import heapq
from datetime import datetime, timedelta
from typing import Final

from attrs import define, field
from orchestrion.shared_types import TooManyRequests

MAX_NONCES: Final = 200_000
"""For all keys together; about 40 MB."""

MAX_NONCES_PER_KEY: Final = 50_000
"""For one key, so that one can't take the room of all: 166 requests a second for the whole window."""


@define(eq=False)
class ReplayCache:
    """Remembers what was taken for as long as it would be taken again, in bounded memory.

    Where it is full it refuses what is new rather than forget what is still good. What it has forgotten it refuses by
    its time: whatever was signed no later than anything that was forgotten, or than the cache began, is too old.

    Attributes:
        window: For how long after its time a request is good.
        oldest: What was signed at or before this time is not taken.
        limit: How many it remembers.
        limit_per_key: How many of one key.
    """

    window: timedelta
    oldest: datetime
    limit: int = MAX_NONCES
    limit_per_key: int = MAX_NONCES_PER_KEY
    _seen: dict[tuple[str, str], datetime] = field(init=False, factory=dict)
    _by_time: list[tuple[datetime, str, str]] = field(init=False, factory=list)
    _counts: dict[str, int] = field(init=False, factory=dict)

    def __len__(self) -> int:
        return len(self._seen)

    def has(self, key: str, nonce: str) -> bool:
        """Whether a request is remembered."""
        return (key, nonce) in self._seen

    def take(self, key: str, nonce: str, at: datetime, now: datetime) -> bool:
        """Remember a request whose signature was verified.

        Args:
            key: Whose it is.
            nonce: What makes it unlike the key's others.
            at: When it was signed.
            now: The time.

        Returns:
            Whether it is new; False is one that was taken already, or that is too old to tell.

        Raises:
            TooManyRequests: There is no room.
        """
        self._forget(now)
        if at <= self.oldest or (key, nonce) in self._seen:
            return False
        if len(self._seen) >= self.limit or self._counts.get(key, 0) >= self.limit_per_key:
            wait = (self._next_end(key) - now).total_seconds()
            raise TooManyRequests(
                "more signed requests came than can be remembered, which each has to be for a while",
                retry_after_seconds=max(0.0, wait),
                remedy="use a token or a certificate for that many requests",
            )
        self._seen[key, nonce] = at
        self._counts[key] = self._counts.get(key, 0) + 1
        heapq.heappush(self._by_time, (at, key, nonce))
        return True

    def _next_end(self, key: str) -> datetime:
        if len(self._seen) >= self.limit:
            return self._by_time[0][0] + self.window
        return min(at for at, owner, _ in self._by_time if owner == key) + self.window

    def _forget(self, now: datetime) -> None:
        while self._by_time and self._by_time[0][0] + self.window < now:
            at, key, nonce = heapq.heappop(self._by_time)
            self.oldest = max(self.oldest, at)
            del self._seen[key, nonce]
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]
