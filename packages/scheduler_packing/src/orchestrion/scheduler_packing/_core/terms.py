"""What the instances that are placed mean for one more slot, by topology domain."""

from __future__ import annotations

from typing import Final, final

from librt.vecs import append, vec
from mypy_extensions import i64
from orchestrion.scheduler_packing._core.fleet import zeros

SPREAD: Final = 0
"""Each instance in a domain counts against it; where it is required, a domain may exceed the emptiest by a skew."""
TOGETHER: Final = 1
"""A domain that holds an instance is wanted."""
APART: Final = 2
"""A domain that holds an instance is unwanted."""


@final
class Term:
    """How many instances of certain workloads each topology domain holds, and what that means for one more slot.

    Attributes:
        kind: `SPREAD`, `TOGETHER` or `APART`.
        cost: Points for each instance in the domain, for a spread; else for a domain that is not as wanted.
        is_required: Whether domains that are not as wanted are refused.
        skew: For a required spread, the most that a domain may exceed the emptiest by, with the slot there.
        counts_itself: Whether the slots are among those that are counted.
        domains: For each position the number of its domain; 0 is that of nodes which are in none.
        domain_count: How many domains there are, with that one.
    """

    def __init__(
        self, kind: i64, domains: vec[i64], domain_count: i64, cost: i64, is_required: bool, skew: i64
    ) -> None:
        """Start with no instances.

        Args:
            kind: See the attributes, as for `cost`, `is_required` and `skew`.
            domains: For each position the number of its domain; 0 is that of nodes which are in none.
            domain_count: How many domains there are, besides that one.
            cost: See above.
            is_required: See above.
            skew: See above.
        """
        self.kind: i64 = kind
        self.cost: i64 = cost
        self.is_required: bool = is_required
        self.skew: i64 = skew
        self.counts_itself: bool = True
        self.domains: vec[i64] = domains
        self.domain_count: i64 = domain_count + 1
        self._counts: vec[i64] = zeros(domain_count + 1)
        self._total: i64 = 0
        # How many domains hold so many instances: of those among which the emptiest is looked for, and of all.
        self._counting: vec[i64] = zeros(domain_count + 1)
        self._counting_total: i64 = 0
        self._counting_by_count: vec[i64] = zeros(1)
        self._all_by_count: vec[i64] = zeros(1)
        self._lowest_counting: i64 = 0
        self._lowest: i64 = 0
        at: i64 = 0
        end: i64 = len(domains)
        is_inhabited: vec[i64] = zeros(domain_count + 1)
        while at < end:
            is_inhabited[domains[at]] = 1
            at += 1
        self._is_inhabited: vec[i64] = is_inhabited
        at = 0
        while at <= domain_count:
            self._all_by_count[0] += is_inhabited[at]
            at += 1

    def let_count(self, position: i64) -> None:
        """Look for the emptiest among the node's domain, too; before any instance is counted."""
        domain: i64 = self.domains[position]
        if domain != 0 and self._counting[domain] == 0:
            self._counting[domain] = 1
            self._counting_total += 1
            self._counting_by_count[0] += 1

    def let_members_count(self, members: vec[i64]) -> None:
        """Look for the emptiest among the domains of all nodes whose entry is not 0; before any instance is counted."""
        position: i64 = 0
        end: i64 = len(members)
        while position < end:
            if members[position] != 0:
                self.let_count(position)
            position += 1

    def add_costs(self, positions: vec[i64], costs: vec[i64]) -> None:
        """Add the points that one more slot costs on each of some nodes; -1 where this or another term refuses it."""
        domains = self.domains
        counts = self._counts
        kind: i64 = self.kind
        cost: i64 = self.cost
        required = self.is_required
        most: i64 = self.skew + self._lowest_counting - 1
        joins_nobody = self._total == 0 and self.counts_itself
        at: i64 = 0
        end: i64 = len(positions)
        while at < end:
            if costs[at] >= 0:
                domain: i64 = domains[positions[at]]
                count: i64 = counts[domain]
                if kind == SPREAD:
                    if required and (domain == 0 or count > most):
                        costs[at] = -1
                    else:
                        costs[at] += cost * count
                else:
                    is_as_wanted = domain == 0 or count == 0
                    if kind == TOGETHER:
                        is_as_wanted = domain != 0 and (count > 0 or joins_nobody)
                    if not is_as_wanted:
                        if required:
                            costs[at] = -1
                        else:
                            costs[at] += cost
            at += 1

    def add(self, position: i64, number: i64) -> None:
        """Count instances on a node; a negative number takes them back."""
        domain: i64 = self.domains[position]
        before: i64 = self._counts[domain]
        after: i64 = before + number
        self._counts[domain] = after
        self._total += number
        size: i64 = len(self._all_by_count)
        while size <= after:
            self._all_by_count = append(self._all_by_count, 0)
            self._counting_by_count = append(self._counting_by_count, 0)
            size += 1
        if self._is_inhabited[domain] != 0:
            self._lowest = moved(self._all_by_count, before, after, self._lowest)
        if self._counting[domain] != 0:
            self._lowest_counting = moved(self._counting_by_count, before, after, self._lowest_counting)

    def allows(self, position: i64) -> bool:
        """Whether one more slot on a node is as required."""
        return not self.is_required or self.allows_domain(self.domains[position])

    def allows_domain(self, domain: i64) -> bool:
        """Whether one more slot in a domain is as required."""
        if not self.is_required:
            return True
        if self.kind == APART:
            return domain == 0 or self._counts[domain] == 0
        if domain == 0:
            return False
        if self.kind == TOGETHER:
            # The first of those that are to be together has nobody to join.
            return self._counts[domain] > 0 or (self._total == 0 and self.counts_itself)
        return self._counts[domain] + 1 - self._lowest_counting <= self.skew

    def count_at(self, position: i64) -> i64:
        """Return how many instances the node's domain holds; 0 where it is in none."""
        domain: i64 = self.domains[position]
        return 0 if domain == 0 else self._counts[domain]

    def would_allow(self, domain: i64) -> bool:
        """Whether one more slot in a domain, not 0, is as required once a node has joined it that counts."""
        if self.kind != SPREAD or not self.is_required:
            return self.allows_domain(domain)
        count: i64 = self._counts[domain]
        lowest: i64 = count
        if self._counting_total > 0 and self._lowest_counting < count:
            lowest = self._lowest_counting
        return count + 1 - lowest <= self.skew

    def would_allow_new(self) -> bool:
        """Whether one more slot is as required in a domain of which a joining node is the first."""
        return self.kind != TOGETHER or not self.is_required or (self._total == 0 and self.counts_itself)

    def points(self, position: i64) -> i64:
        """Return the points that one more slot on a node costs."""
        if self.cost == 0:
            return 0
        domain: i64 = self.domains[position]
        count: i64 = self._counts[domain]
        if self.kind == SPREAD:
            return self.cost * count
        holds_one = domain != 0 and count > 0
        if self.kind == APART:
            return self.cost if holds_one else 0
        if holds_one or (domain != 0 and self._total == 0 and self.counts_itself):
            return 0
        return self.cost

    def excess(self, position: i64) -> i64:
        """Return by how many instances a node's domain exceeds the emptiest of all that have nodes."""
        return self._counts[self.domains[position]] - self._lowest

    def least_points(self) -> i64:
        """Return a number of points that no node is below."""
        return self.cost * self._lowest if self.kind == SPREAD else 0


def moved(by_count: vec[i64], before: i64, after: i64, lowest: i64) -> i64:
    """Note that one domain has another count, and return the lowest that any has."""
    by_count[before] -= 1
    by_count[after] += 1
    if after < lowest:
        return after
    end: i64 = len(by_count)
    while lowest < end and by_count[lowest] == 0:
        lowest += 1
    return lowest if lowest < end else 0
