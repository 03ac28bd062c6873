"""Choosing a node for one slot, under everything that binds it."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define
from orchestrion.scheduler_interface import Grant, find_grants
from orchestrion.scheduler_packing._core.order import MAX_NODES
from orchestrion.scheduler_packing._core.placing import NOWHERE, Shape, first_fitting, fits
from orchestrion.scheduler_packing._core.search import BELOW_ALL, Field
from orchestrion.scheduler_packing._index import Index
from orchestrion.scheduler_packing._parts import LEFT_NAMES, dislike_parts, negated
from orchestrion.scheduler_packing._wanted import Wanted


@define(eq=False)
class Choice:
    """Where the slots of one workload may go.

    Attributes:
        index: The nodes.
        wanted: What a slot wants.
        shape: The same, for the core.
        field: Where they may go, as far as more than room binds them.
        only: The only position that will do, `NOWHERE` for one that there is not; None for any.
    """

    index: Index
    wanted: Wanted
    shape: Shape
    field: Field
    only: int | None = None

    def parts(self, position: int) -> Mapping[str, float]:
        """Return what the score of a node that suits is made of, with one more slot to place."""
        order = self.field.cells.order
        order.catch_up()
        terms = (*self.field.shared, *self.field.own)
        parts = dislike_parts(self.index.nodes[position], self.wanted.suitability, terms, position)
        if order.sign:
            parts[LEFT_NAMES[order.sign]] = order.sign * self.index.fleet.ranks[position]
        return negated(parts)

    def best(self, besides: int = NOWHERE) -> tuple[int, tuple[Grant, ...]] | None:
        """Return the best position for one more slot but for one, and the devices there; None where none will do."""
        self.field.cells.order.catch_up()
        if self.only is not None:
            return self._at(self.only) if self.only not in (besides, NOWHERE) else None
        return self._in_order(besides) if self.field.is_plain else self._within(besides)

    def _at(self, position: int) -> tuple[int, tuple[Grant, ...]] | None:
        if not self.field.is_member(position) or not fits(self.index.fleet, self.shape, position):
            return None
        grants = self._grants(position) if self.field.allows(position) else None
        return None if grants is None else (position, grants)

    def _in_order(self, besides: int) -> tuple[int, tuple[Grant, ...]] | None:
        rank = NOWHERE
        while (rank := first_fitting(self.index.fleet, self.field.cells.order, self.shape, rank)) != NOWHERE:
            position = rank & MAX_NODES
            if position != besides and (grants := self._grants(position)) is not None:
                return position, grants
        return None

    def _within(self, besides: int) -> tuple[int, tuple[Grant, ...]] | None:
        points, position = BELOW_ALL, NOWHERE
        while True:
            position = self.field.best(self.index.fleet, self.shape, points, position)
            if position == NOWHERE:
                return None
            if position != besides and (grants := self._grants(position)) is not None:
                return position, grants
            points = self.field.points(position)

    def _grants(self, position: int) -> tuple[Grant, ...] | None:
        wants = self.wanted.suitability.devices
        if not wants:
            return ()
        node = self.index.nodes[position]
        return find_grants(wants, node.devices, self.index.device_free.get(position, {}))
