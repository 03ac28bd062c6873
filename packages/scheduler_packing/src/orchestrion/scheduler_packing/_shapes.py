"""What slots take, in the columns of the resources that nodes have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from librt.vecs import vec
from mypy_extensions import i64
from orchestrion.scheduler_packing._core.fleet import CPU, DISK, MEMORY
from orchestrion.scheduler_packing._core.placing import Shape
from orchestrion.scheduler_packing._wanted import Wanted
from orchestrion.shared_types import Node

MAX_SHAPES: Final = 8192
"""What so many workloads take is kept."""

_PLAIN_NAMES: Final = {"cpu_millicores": CPU, "memory_bytes": MEMORY, "disk_bytes": DISK}


class Shapes:
    """The resources that nodes have, each with its column, and what workloads take of them."""

    def __init__(self) -> None:
        """Know of no resources but those that all nodes have."""
        self._columns = dict(_PLAIN_NAMES)
        self._kept: dict[int, tuple[Wanted, Shape]] = {}

    def begin(self, nodes: Iterable[Node]) -> None:
        """Forget all, and have a column for whatever one of these nodes has."""
        self._kept.clear()
        self._columns = dict(_PLAIN_NAMES)
        for node in nodes:
            for name in node.allocatable.extended:
                self._columns.setdefault(name, len(self._columns))

    @property
    def names(self) -> Sequence[str]:
        """The resources in the order of their columns."""
        return list(self._columns)

    def has_columns_for(self, node: Node) -> bool:
        """Whether there is a column for all that a node has."""
        return all(name in self._columns for name in node.allocatable.extended)

    def of(self, wanted: Wanted) -> Shape | None:
        """Return what a slot takes, or None where it asks for a resource that no node has."""
        known = self._kept.get(id(wanted))
        if known is not None:
            return known[1]
        amounts, lacking = self.amounts_of(wanted)
        if lacking:
            return None
        shape = Shape(vec[i64](amounts), wanted.device_thousandths, list(wanted.host_ports))
        if len(self._kept) >= MAX_SHAPES:
            self._kept.clear()
        # What is wanted is kept with its shape, so that its identity stays its own.
        self._kept[id(wanted)] = (wanted, shape)
        return shape

    def amounts_of(self, wanted: Wanted) -> tuple[list[int], list[tuple[str, int]]]:
        """Return how much a slot takes by column, and the name and amount of what no node has."""
        amounts = [0] * len(self._columns)
        lacking: list[tuple[str, int]] = []
        for name, amount in wanted.demand.dimensions():
            if name in self._columns:
                amounts[self._columns[name]] = amount
            elif amount > 0:
                lacking.append((name, amount))
        return amounts, lacking
