"""Instances that an affinity is about."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen
from orchestrion.shared_types import InstanceAffinity


@frozen(cache_hash=True)
class Group:
    """The instances of one namespace whose workloads have certain labels; without labels there are none.

    Attributes:
        namespace: The namespace.
        labels: Keys and values, ascending.
    """

    namespace: str
    labels: tuple[tuple[str, str], ...]

    def has(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether the instances of a workload are among them."""
        return (
            bool(self.labels)
            and namespace == self.namespace
            and all(labels.get(key) == value for key, value in self.labels)
        )


def group_of(namespace: str, affinity: InstanceAffinity) -> Group:
    """Return the instances that a workload's affinity is about."""
    return Group(namespace, tuple(sorted(affinity.match_labels.items())))
