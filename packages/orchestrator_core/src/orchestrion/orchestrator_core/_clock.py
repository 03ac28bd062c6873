"""The two clocks: a wall clock for records, a monotonic one for waiting."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import UTC, datetime, timedelta
from typing import Final

import trio
from attrs import define, field

WallClock = Callable[[], datetime]

EPSILON_SECONDS: Final = 0.001
"""A wait that has less than this to go is over: two clocks never agree to the last digit."""


def system_time() -> datetime:
    """Return the system's wall clock (UTC)."""
    return datetime.now(UTC)


def trio_time() -> datetime:
    """Return trio's clock as a time of day that begins in 2000 (UTC): a wall clock for simulations."""
    return datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=trio.current_time())


@define(eq=False)
class Deadlines:
    """Turns recorded moments into waits that a jump of the wall clock can't stretch or skip.

    When a wait is first asked for, what is left of it is taken from the wall clock, never more than its whole length;
    from then on the monotonic clock counts it.

    Attributes:
        now: The wall clock.
        monotonic: The monotonic clock, in seconds.
    """

    now: WallClock
    monotonic: Callable[[], float] = trio.current_time
    _ends: dict[Hashable, dict[tuple[Hashable, ...], tuple[datetime, float, float]]] = field(factory=dict)

    def remaining(self, key: tuple[Hashable, ...], since: datetime, length_seconds: float) -> float:
        """Return the seconds until `length_seconds` after `since`; 0 once they have passed.

        Args:
            key: What the wait is for: a word, whose wait it is, and what else tells it from others of the same owner.
                Another `since` or length under the same key is another wait.
            since: When it began, by the wall clock.
            length_seconds: How long it takes, >= 0.
        """
        ends = self._ends.setdefault(key[1], {})
        known = ends.get(key)
        if known is None or known[0] != since or known[1] != length_seconds:
            passed = max(0.0, (self.now() - since).total_seconds())
            known = ends[key] = (since, length_seconds, self.monotonic() + max(0.0, length_seconds - passed))
        left = known[2] - self.monotonic()
        return 0.0 if left < EPSILON_SECONDS else left

    def forget(self, owner: Hashable) -> None:
        """Drop what is known about the waits of one who is gone."""
        self._ends.pop(owner, None)

    @property
    def owners(self) -> int:
        """How many have waits that are remembered."""
        return len(self._ends)
