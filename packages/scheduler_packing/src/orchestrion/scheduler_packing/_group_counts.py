"""How many instances of a group each node holds."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from typing import Final

from orchestrion.scheduler_interface import NodeView, PlacedInstance
from orchestrion.scheduler_packing._groups import Group

MAX_GROUPS: Final = 256
"""The instances of so many groups, for affinities, are kept counted."""


class GroupCounts:
    """The counts of the groups that were asked for lately, kept up to date from then on."""

    def __init__(self) -> None:
        """Count nothing."""
        self._kept: OrderedDict[Group, Counter[int]] = OrderedDict()
        self._left_out: dict[int, list[PlacedInstance]] = {}

    def __bool__(self) -> bool:
        """Return whether anything is counted."""
        return bool(self._kept)

    def clear(self) -> None:
        """Count nothing any more: positions are no longer what they were."""
        self._kept.clear()

    def of(self, group: Group, views: Iterable[NodeView]) -> Counter[int]:
        """Return how many instances of a group each node holds, by position.

        Args:
            group: The group.
            views: What nodes hold, by position; looked at if the group is not counted yet.
        """
        counts = self._kept.get(group)
        if counts is None:
            counts = self._kept[group] = Counter()
            for position, view in enumerate(views):
                number = sum(_members(group, view.instances.values()))
                if number:
                    counts[position] = number
            for position, gone in self._left_out.items():
                counts[position] -= sum(_members(group, gone))
            if len(self._kept) > MAX_GROUPS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(group)
        return counts

    def count(self, position: int, instances: Iterable[PlacedInstance], number: int) -> None:
        """Count instances of a node in, with 1, or out, with -1."""
        for instance in instances:
            for group, counts in self._kept.items():
                if group.has(instance.namespace, instance.labels):
                    counts[position] += number

    def leave_out(self, position: int, gone: list[PlacedInstance]) -> None:
        """Count some instances of a node as gone that it holds, until `take_in`."""
        self.count(position, gone, -1)
        self._left_out.setdefault(position, []).extend(gone)

    def take_in(self, position: int) -> None:
        """Count all instances of a node that were left out."""
        self.count(position, self._left_out.pop(position, ()), 1)


def _members(group: Group, instances: Iterable[PlacedInstance]) -> Iterator[bool]:
    return (group.has(each.namespace, each.labels) for each in instances)
