"""Counting the instances that an affinity is about, per topology domain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from orchestrion.shared_types import InstanceAffinity

from ._types import PlacedInstance


def is_meant(affinity: InstanceAffinity, namespace: str, instance: PlacedInstance, /) -> bool:
    """Whether an affinity of a workload in `namespace` is about an instance: one of that namespace with all labels."""
    return instance.namespace == namespace and has_labels(affinity, instance.labels)


def has_labels(affinity: InstanceAffinity, labels: Mapping[str, str], /) -> bool:
    """Whether a workload's labels are all that an affinity matches; no labels match nothing."""
    return bool(affinity.match_labels) and all(labels.get(key) == value for key, value in affinity.match_labels.items())


class Neighbours:
    """The instances that an affinity is about, per domain. Counts only grow while it lives."""

    def __init__(self, affinity: InstanceAffinity, counts: Mapping[str | None, int], labels: Mapping[str, str]) -> None:
        """Start from what the view has.

        Args:
            affinity: Which affinity.
            counts: The instances by domain; None is that of nodes which are in no domain.
            labels: Those of the workload whose slots are placed.
        """
        self.affinity = affinity
        self._counts = Counter(counts)
        self._labels = labels
        self._is_about_itself = has_labels(affinity, labels)

    @property
    def by(self) -> str:
        """The topology."""
        return self.affinity.by

    def suits(self, domain: str | None) -> bool:
        """Whether a domain is as the affinity wants it, required or not."""
        holds_one = domain is not None and self._counts[domain] > 0
        if self.affinity.anti:
            return not holds_one
        # The first of those that are to be together has nobody to join.
        return holds_one or (domain is not None and self._is_about_itself and self._counts.total() == 0)

    def allows(self, domain: str | None) -> bool:
        """Whether the affinity lets one more slot in; a preferred one always does."""
        return self.affinity.weight is not None or self.suits(domain)

    def would_allow(self, domain: str) -> bool:
        """Whether the affinity lets a slot in on another node of the domain."""
        return self.allows(domain)

    def add(self, domain: str | None) -> None:
        """Count one more slot."""
        if self._is_about_itself:
            self._counts[domain] += 1

    def without(self, domain: str | None, gone: Iterable[PlacedInstance], namespace: str) -> Neighbours:
        """Return what is left when instances of a domain are gone, for a workload of that namespace."""
        number = sum(is_meant(self.affinity, namespace, instance) for instance in gone)
        counts = Counter(self._counts)
        counts[domain] -= number
        return Neighbours(self.affinity, counts, self._labels)
