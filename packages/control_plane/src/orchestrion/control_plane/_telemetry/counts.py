"""Counts that cost next to nothing while nobody asks for them; what they are called outside is told elsewhere."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import trio
from attrs import define, field

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of durations, in seconds; what is longer is counted beyond the last."""


@define(eq=False)
class Distribution:
    """How often something took how long.

    Attributes:
        bounds: Upper bounds, ascending.
        counts: How many fell under each bound and not under the one before; the last is of those beyond all.
        total: The sum of all.
    """

    bounds: Sequence[float] = SECONDS
    counts: list[int] = field(init=False)
    total: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float, /) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.counts)

    def cumulated(self) -> Iterator[tuple[str, int]]:
        """Give how many were at most each bound, as text; the last bound is `+Inf`."""
        so_far = 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            so_far += count
            yield bound, so_far


@define(eq=False)
class StepCounts:
    """Counts of the steps that an orchestrator takes: how long they took, and how many failed.

    Attributes:
        seconds: By the step's name.
        failed: By the step's name.
    """

    seconds: dict[str, Distribution] = field(factory=dict)
    failed: Counter[str] = field(factory=Counter)

    @contextmanager
    def step(self, name: str, _subject: str = "", /) -> Iterator[None]:
        """Be at a step while inside."""
        began = trio.current_time()
        try:
            yield
        except Exception:
            self.failed[name] += 1
            raise
        finally:
            found = self.seconds.get(name)
            if found is None:
                found = self.seconds[name] = Distribution()
            found.add(trio.current_time() - began)


@define(eq=False)
class RequestCounts:
    """Counts of requests.

    Attributes:
        answers: By operation and status.
        seconds: By operation, from the first byte of the request that was read to the last of the answer; without what
            stays open.
        turned_away: By lane: those that were too many.
        refused: By why: `unauthenticated` and `denied`.
        not_recorded: Changes that could not be brought on record.
        at_work: Requests that are not answered to their end.
    """

    answers: Counter[tuple[str, int]] = field(factory=Counter)
    seconds: dict[str, Distribution] = field(factory=dict)
    turned_away: Counter[str] = field(factory=Counter)
    refused: Counter[str] = field(factory=Counter)
    not_recorded: int = 0
    at_work: int = 0

    def answered(self, operation: str, status: int, seconds: float | None) -> None:
        """Count an answer; seconds are None for what stayed open."""
        self.answers[operation, status] += 1
        if seconds is not None:
            found = self.seconds.get(operation)
            if found is None:
                found = self.seconds[operation] = Distribution()
            found.add(seconds)
