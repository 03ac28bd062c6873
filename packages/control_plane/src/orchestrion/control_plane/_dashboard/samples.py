"""How full the cluster was lately, for a plot; it is looked at only while somebody does."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from attrs import define, evolve, field, frozen

from .usage import LEAST_SECONDS

MAX_SAMPLES: Final = 720


@frozen
class Sample:
    """One look.

    Attributes:
        at: When.
        values: What each series was, by its title: how full a resource was, 0 to 100, or how much of it.
        words: The same for people to read.
    """

    at: datetime
    values: Mapping[str, float]
    words: str = ""


@define(eq=False)
class Samples:
    """Keeps the last looks.

    Attributes:
        most: How many, >= 1.
        units: In what a series is, by its title: `cores` or `bytes`; of the others, in percent.
        nothing: What is said as long as there are none.
    """

    most: int = MAX_SAMPLES
    units: Mapping[str, str] = field(factory=dict)
    nothing: str = "No nodes are seen."
    _kept: deque[Sample] = field(factory=deque)

    def take(self, sample: Sample) -> None:
        """Keep a look; one that comes soon after another takes its place."""
        if self._kept and (sample.at - self._kept[-1].at).total_seconds() < LEAST_SECONDS:
            sample = evolve(sample, at=self._kept.pop().at)
        self._kept.append(sample)
        if len(self._kept) > self.most:
            self._kept.popleft()

    def is_due(self, now: datetime) -> bool:
        """Whether the last look was long enough ago."""
        return not self._kept or (now - self._kept[-1].at).total_seconds() >= LEAST_SECONDS

    def shown(self) -> dict[str, Any]:
        """Return them as a page plots them: times in seconds, and a row for each series, with None where unknown."""
        found = dict.fromkeys(title for sample in self._kept for title in sample.values)
        # Those with a unit in the order of the units, however late one is known.
        titles = [
            *(title for title in self.units if title in found),
            *(each for each in found if each not in self.units),
        ]
        return {
            "times": [int(sample.at.timestamp()) for sample in self._kept],
            "series": [
                {
                    "title": title,
                    "unit": self.units.get(title, "%"),
                    "values": [sample.values.get(title) for sample in self._kept],
                }
                for title in titles
            ],
            "words": self._kept[-1].words if self._kept else self.nothing,
        }
