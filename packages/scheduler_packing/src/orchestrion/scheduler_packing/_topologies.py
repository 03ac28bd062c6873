"""Which topology domains nodes are in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from attrs import define
from librt.vecs import vec
from mypy_extensions import i64
from orchestrion.scheduler_interface import topology_domain
from orchestrion.shared_types import Node

MAX_TOPOLOGIES: Final = 64
"""The domains of so many topologies are kept."""


@define(eq=False)
class Domains:
    """The topology domains of one key: number 0 is that of nodes which are in none.

    Attributes:
        numbers: The number of each domain, by its name.
        of_position: The number of each node's domain.
    """

    numbers: dict[str, int]
    of_position: vec[i64]


class Topologies:
    """The domains of the topologies that were asked for lately."""

    def __init__(self) -> None:
        """Know of no nodes."""
        self._nodes: Sequence[Node] = ()
        self._kept: OrderedDict[str, Domains] = OrderedDict()

    def __len__(self) -> int:
        """Return of how many topologies the domains are known."""
        return len(self._kept)

    def begin(self, nodes: Sequence[Node]) -> None:
        """Forget all, and look at these nodes from now on; after one of them has changed, too."""
        self._nodes = nodes
        self._kept.clear()

    def of(self, by: str) -> Domains:
        """Return the domains of a topology."""
        domains = self._kept.get(by)
        if domains is None:
            domains = self._kept[by] = self._domains_of(by)
            if len(self._kept) > MAX_TOPOLOGIES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(by)
        return domains

    def _domains_of(self, by: str) -> Domains:
        names = [topology_domain(node, by) for node in self._nodes]
        numbers: dict[str, int] = {}
        for name in names:
            if name is not None:
                numbers.setdefault(name, len(numbers) + 1)
        return Domains(numbers, vec[i64]([0 if name is None else numbers[name] for name in names]))
