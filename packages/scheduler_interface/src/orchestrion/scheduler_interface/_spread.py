"""Counting a workload's instances per topology domain."""

from __future__ import annotations

from collections import Counter

from orchestrion.shared_types import Spread


class Tally:
    """The instances of a workload per domain of one spread. Counts only grow while a call goes on."""

    def __init__(self, spread: Spread, counts: Counter[str | None], counting: set[str]) -> None:
        """Start from what the view has.

        Args:
            spread: Which spread.
            counts: The instances by domain; None is that of nodes which are in no domain.
            counting: The domains among which the emptiest is looked for.
        """
        self.spread = spread
        self._instances = Counter(counts)
        self._counting = counting
        self._domains_by_count = Counter(counts[domain] for domain in counting)
        self._lowest = min(self._domains_by_count, default=0)

    @property
    def by(self) -> str:
        """The topology."""
        return self.spread.by

    @property
    def lowest(self) -> int:
        """How many instances the emptiest domain holds that counts; 0 where none does."""
        return self._lowest

    def count(self, domain: str | None) -> int:
        """Return how many instances a domain holds."""
        return self._instances[domain]

    def allows(self, domain: str | None) -> bool:
        """Whether one more instance there is within a required spread."""
        if not self.spread.required:
            return True
        return domain is not None and self._instances[domain] + 1 - self._lowest <= self.spread.max_skew

    def would_allow(self, domain: str) -> bool:
        """Whether one more instance there is within a required spread once the domain counts."""
        count = self._instances[domain]
        lowest = min(self._lowest, count) if self._counting else count
        return not self.spread.required or count + 1 - lowest <= self.spread.max_skew

    def add(self, domain: str | None) -> None:
        """Count one more instance."""
        before = self._instances[domain]
        self._instances[domain] += 1
        if domain in self._counting:
            self._domains_by_count[before] -= 1
            self._domains_by_count[before + 1] += 1
            # The counts grow by one at a time, so that the emptiest is never further away than the next number.
            if self._domains_by_count[self._lowest] == 0:
                self._lowest += 1
