"""How full the cluster was lately, for a plot; it is looked at only while somebody does."""

from __future__ import annotations

from collections import deque
from datetime import datetime
from typing import Any, Final

from attrs import define, field, frozen

LEAST_SECONDS: Final = 5.0
"""How far samples are apart at least, however many look."""

MAX_SAMPLES: Final = 720


@frozen
class Sample:
    """One look.

    Attributes:
        at: When.
        percent: How full each resource was, 0 to 100, by its title.
    """

    at: datetime
    percent: dict[str, int]


@define(eq=False)
class Samples:
    """Keeps the last looks."""

    _kept: deque[Sample] = field(factory=lambda: deque(maxlen=MAX_SAMPLES))

    def take(self, sample: Sample) -> None:
        """Keep a look; one that comes soon after another takes its place."""
        if self._kept and (sample.at - self._kept[-1].at).total_seconds() < LEAST_SECONDS:
            sample = Sample(self._kept.pop().at, sample.percent)
        self._kept.append(sample)

    def is_due(self, now: datetime) -> bool:
        """Whether the last look was long enough ago."""
        return not self._kept or (now - self._kept[-1].at).total_seconds() >= LEAST_SECONDS

    def shown(self) -> dict[str, Any]:
        """Return them as a page plots them: times in seconds, and a row for each resource, with None where unknown."""
        titles = list(dict.fromkeys(title for sample in self._kept for title in sample.percent))
        latest = self._kept[-1].percent if self._kept else {}
        words = ", ".join(f"{title} {percent} %" for title, percent in latest.items())
        return {
            "times": [int(sample.at.timestamp()) for sample in self._kept],
            "series": [
                {"title": title, "percent": [sample.percent.get(title) for sample in self._kept]} for title in titles
            ],
            "words": f"Now: {words}." if words else "No nodes are seen.",
        }
