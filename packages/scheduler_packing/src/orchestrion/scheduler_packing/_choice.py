"""Choosing a node for one slot, under everything that binds it."""

from __future__ import annotations

from attrs import define
from orchestrion.scheduler_interface import Grant, find_grants
from orchestrion.scheduler_packing._core.order import MAX_NODES, Order
from orchestrion.scheduler_packing._core.placing import NOWHERE, Shape, first_fitting, fits
from orchestrion.scheduler_packing._core.search import all_allow, best_within, points_of
from orchestrion.scheduler_packing._core.terms import Term
from orchestrion.scheduler_packing._index import Index
from orchestrion.scheduler_packing._wanted import Wanted

_BELOW_ALL = -(1 << 62)


@define(eq=False)
class Choice:
    """Where the slots of one workload may go.

    Attributes:
        index: The nodes.
        wanted: What a slot wants.
        shape: The same, for the core.
        terms: What the instances that are placed mean for it.
        only: The only position that will do, `NOWHERE` for one that there is not; None for any.
    """

    index: Index
    wanted: Wanted
    shape: Shape
    terms: list[Term]
    only: int | None = None

    @property
    def order(self) -> Order:
        """The nodes that suit, best first, up to date."""
        return self.index.order_of(self.wanted.suitability)

    def points(self, position: int) -> int:
        """Return the points of a node that suits; fewer are better."""
        return points_of(self.order, self.terms, position)

    def best(self, besides: int = NOWHERE) -> tuple[int, tuple[Grant, ...]] | None:
        """Return the best position for one more slot but for one, and the devices there; None where none will do."""
        order = self.order
        if self.only is not None:
            return self._at(order, self.only) if self.only not in (besides, NOWHERE) else None
        return self._within(order, besides) if self.terms else self._in_order(order, besides)

    def _at(self, order: Order, position: int) -> tuple[int, tuple[Grant, ...]] | None:
        if order.rank_of(position) < 0 or not fits(self.index.fleet, self.shape, position):
            return None
        if not all_allow(self.terms, position):
            return None
        grants = self._grants(position)
        return None if grants is None else (position, grants)

    def _in_order(self, order: Order, besides: int) -> tuple[int, tuple[Grant, ...]] | None:
        rank = NOWHERE
        while (rank := first_fitting(self.index.fleet, order, self.shape, rank)) != NOWHERE:
            position = rank & MAX_NODES
            if position != besides and (grants := self._grants(position)) is not None:
                return position, grants
        return None

    def _within(self, order: Order, besides: int) -> tuple[int, tuple[Grant, ...]] | None:
        points, position = _BELOW_ALL, NOWHERE
        while True:
            position = best_within(self.index.fleet, order, self.shape, self.terms, points, position)
            if position == NOWHERE:
                return None
            if position != besides and (grants := self._grants(position)) is not None:
                return position, grants
            points = points_of(order, self.terms, position)

    def _grants(self, position: int) -> tuple[Grant, ...] | None:
        wants = self.wanted.suitability.devices
        if not wants:
            return ()
        node = self.index.views[position].node
        return find_grants(wants, node.devices, self.index.device_free.get(position, {}))
