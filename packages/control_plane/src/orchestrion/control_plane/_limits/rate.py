"""How often somebody may ask: the generic cell rate algorithm (ITU-T I.371), a token bucket that is one number each."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Final

from attrs import define, field, frozen, validators

TOLERANCE_SECONDS: Final = 1e-9
"""Less than the clock can tell: who waits for as long as was said is let in, whatever rounding does."""

MAX_KNOWN: Final = 65_536
_OVERFLOW: Final = ""
_SWEPT_EACH: Final = 4
"""How many are looked at each time for having run out; above 1, so that more go than come."""


@frozen
class Rate:
    """So many a second in the long run, and so many at once after a rest.

    Attributes:
        per_second: Above 0.
        burst: At least 1.
    """

    per_second: float = field(validator=validators.gt(0))
    burst: int = field(validator=validators.ge(1))


@define(eq=False)
class RateLimiter:
    """Keeps everybody to one rate, each on their own.

    Who asks for the first time while very many are known shares one bucket with all others of that kind, so that memory
    is bounded and nobody gets more by coming under ever new names.

    Attributes:
        rate: The rate.
        limit: How many are known at once, at least 1. Who has rested for `burst / per_second` is not known any more.
    """

    rate: Rate
    limit: int = field(default=MAX_KNOWN, validator=validators.ge(1))
    _full_at: OrderedDict[str, float] = field(init=False, factory=OrderedDict)
    """When the bucket of each has all its tokens again (the theoretical arrival time); the last to ask is last."""

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, who: str, now: float, /, *, count: int = 1) -> float:
        """Take tokens from somebody's bucket, all or none.

        Args:
            who: Whose; not empty.
            now: The time by a monotonic clock, in seconds.
            count: How many, 1 to `burst`.

        Returns:
            0 if they were taken; else after how many seconds they can be, if nobody takes any before.
        """
        self._forget(now)
        if who not in self._full_at and len(self._full_at) >= self.limit:
            who = _OVERFLOW
        interval = 1 / self.rate.per_second
        full_at = max(now, self._full_at.get(who, now)) + count * interval
        wait = full_at - now - self.rate.burst * interval
        if wait > TOLERANCE_SECONDS:
            return wait
        self._full_at[who] = full_at
        self._full_at.move_to_end(who)
        return 0.0

    def wait(self, who: str, now: float, /) -> float:
        """Return after how many seconds somebody could take a token, 0 for now; none is taken."""
        if who not in self._full_at and len(self._full_at) >= self.limit:
            who = _OVERFLOW
        interval = 1 / self.rate.per_second
        wait = max(now, self._full_at.get(who, now)) + interval - now - self.rate.burst * interval
        return wait if wait > TOLERANCE_SECONDS else 0.0

    def left(self, who: str, now: float, /) -> tuple[int, float]:
        """Return how many tokens somebody has, and after how many seconds there is another one; 0 where all are."""
        if who not in self._full_at and len(self._full_at) >= self.limit:
            who = _OVERFLOW
        missing = (self._full_at.get(who, now) - now) * self.rate.per_second
        if missing <= 0:
            return self.rate.burst, 0.0
        tokens = self.rate.burst - missing
        whole = max(0, math.floor(tokens + TOLERANCE_SECONDS * self.rate.per_second))
        return whole, max(0.0, whole + 1 - tokens) / self.rate.per_second

    def _forget(self, now: float) -> None:
        # The first has asked longest ago. It may be full later than others, but no later than a whole burst takes, so
        # that it keeps nobody in memory for longer than that.
        for _ in range(min(_SWEPT_EACH, len(self._full_at))):
            who = next(iter(self._full_at))
            if self._full_at[who] > now:
                return
            del self._full_at[who]
