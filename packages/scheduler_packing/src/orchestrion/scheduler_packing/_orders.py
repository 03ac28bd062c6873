"""The nodes that suit, best first, and the cells that they are searched by."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from librt.vecs import vec
from mypy_extensions import i64
from orchestrion.scheduler_packing._core.fleet import PLAIN_DIMENSIONS, Fleet
from orchestrion.scheduler_packing._core.order import Order
from orchestrion.scheduler_packing._core.search import MAX_CELLS, Cells, Field, make_cells, one_cell
from orchestrion.scheduler_packing._core.terms import Term
from orchestrion.scheduler_packing._suitability import points_of
from orchestrion.scheduler_packing._topologies import Topologies
from orchestrion.scheduler_packing._wanted import Suitability
from orchestrion.shared_types import Node

MAX_ORDERS: Final = 64
"""So many orders are kept, one for each suitability; the one unused for longest goes first."""
MAX_SHARED: Final = 8
"""Nodes are told apart by their domains of so many topologies when they are put in cells."""


class Orders:
    """The orders of nodes for the suitabilities that were asked for lately."""

    def __init__(self, sign: int) -> None:
        """Know of no nodes.

        Args:
            sign: 1 to prefer the fullest nodes, -1 the emptiest, 0 those with the lowest ids.
        """
        self._sign = sign
        self._nodes: Sequence[Node] = ()
        self._fleet = Fleet(0, PLAIN_DIMENSIONS)
        self._topologies = Topologies()
        self._kept: OrderedDict[Suitability, Order] = OrderedDict()
        self._latest: Order | None = None
        self._latest_suitability: Suitability | None = None
        self._cells: dict[tuple[Suitability, tuple[str, ...]], Cells | None] = {}

    def begin(self, nodes: Sequence[Node], fleet: Fleet, topologies: Topologies) -> None:
        """Forget all, and look at these nodes from now on."""
        self._nodes, self._fleet, self._topologies = nodes, fleet, topologies
        self._kept.clear()
        self._latest = self._latest_suitability = None
        self._cells = {}

    def take_node(self, position: int, node: Node) -> None:
        """Take over what a node is like."""
        self._cells = {}
        for suitability, order in self._kept.items():
            points = points_of(node, suitability)
            order.set_member(position, 0 if points is None else 1, points or 0)

    def of(self, suitability: Suitability) -> Order:
        """Return the nodes that suit, best first, up to date."""
        latest = self._latest
        if suitability is self._latest_suitability and latest is not None:
            latest.catch_up()
            return latest
        order = self._kept.get(suitability)
        if order is None:
            points = [points_of(node, suitability) for node in self._nodes]
            members = vec[i64]([0 if each is None else 1 for each in points])
            base = vec[i64]([each or 0 for each in points])
            order = self._kept[suitability] = Order(self._fleet, members, base, self._sign)
            if len(self._kept) > MAX_ORDERS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(suitability)
        self._latest, self._latest_suitability = order, suitability
        order.catch_up()
        return order

    def field(self, suitability: Suitability, bys: Sequence[str], terms: Sequence[Term]) -> Field:
        """Return where slots may go that `terms` bind, each by one of the topologies `bys`."""
        order, topologies = self.of(suitability), self._topologies
        shared: list[str] = []
        cells = one_cell(order, self._fleet)
        for by in sorted(set(bys), key=lambda by: (len(topologies.of(by).numbers), by)):
            if len(shared) == MAX_SHARED:
                break
            finer = self._cells_of(suitability, order, (*shared, by))
            if finer is None:
                break
            cells = finer
            shared.append(by)
        parts: tuple[list[Term], list[Term]] = ([], [])
        for by, term in zip(bys, terms, strict=True):
            parts[by not in shared].append(term)
        return Field(cells, *parts)

    def _cells_of(self, suitability: Suitability, order: Order, bys: tuple[str, ...]) -> Cells | None:
        topologies = self._topologies
        if sum(len(topologies.of(by).numbers) > MAX_CELLS for by in bys):
            return None
        key = (suitability, bys)
        if key not in self._cells:
            if len(self._cells) >= MAX_ORDERS:
                self._cells.clear()
            self._cells[key] = make_cells(order, [topologies.of(by).of_position for by in bys], self._fleet)
        return self._cells[key]
