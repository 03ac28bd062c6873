"""Choosing a node for one slot by expected fill, under everything that binds it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import define
from orchestrion.scheduler_interface import DeviceWant, Grant, device_matches, find_grants
from orchestrion.scheduler_packing._core.fleet import DISK
from orchestrion.scheduler_packing._core.gpu_board import UNFIT, Board, above
from orchestrion.scheduler_packing._core.gpu_fleet import EMPTY
from orchestrion.scheduler_packing._core.gpu_search import all_allow, best_below, score_of
from orchestrion.scheduler_packing._core.placing import Shape, fits
from orchestrion.scheduler_packing._core.terms import Term
from orchestrion.scheduler_packing._gpu_nodes import GpuNodes
from orchestrion.scheduler_packing._index import Index
from orchestrion.scheduler_packing._parts import dislike_parts
from orchestrion.scheduler_packing._wanted import Wanted
from orchestrion.shared_types import Device

_ABOVE_ALL = 1 << 62


@define(eq=False)
class Bounds:
    """What the instances that are placed mean for the slots of one workload."""

    terms: list[Term]

    def add(self, position: int, number: int) -> None:
        """Count slots on a node in the terms that count them."""
        for term in self.terms:
            if term.counts_itself:
                term.add(position, number)


@define(eq=False)
class GpuChoice:
    """Where the slots of one workload may go.

    Attributes:
        index: The nodes.
        nodes: The same, as expected fill sees them.
        wanted: What a slot wants.
        shape: The same, for the core.
        field: What the instances that are placed mean for it.
        only: The only position that will do, -1 for one that there is not; None for any.
    """

    index: Index
    nodes: GpuNodes
    wanted: Wanted
    shape: Shape
    field: Bounds
    only: int | None = None

    def parts(self, position: int) -> Mapping[str, float]:
        """Return what the score of a node that suits is made of, with one more slot to place."""
        board = self._board()
        node = self.index.nodes[position]
        points = dislike_parts(node, self.wanted.suitability, self.field.terms, position)
        parts = {name: -float(above(each)) for name, each in points.items() if each}
        own = board.score_of(position) + above(points["prefer-no-schedule"] + points["node-affinity"])
        return {**parts, "expected-fill": float(own)}

    def best(self, besides: int = EMPTY) -> tuple[int, tuple[Grant, ...]] | None:
        """Return the best position for one more slot but for one, and the devices there; None where none will do."""
        board = self._board()
        if self.only is not None:
            return self._at(board, self.only) if self.only not in (besides, EMPTY) else None
        if not self._is_bound_by_more:
            position = board.best()
            if position == EMPTY:
                return None
            if position != besides and (grants := self._grants(board, position)) is not None:
                return position, grants
        return self._search(board, besides)

    @property
    def _is_bound_by_more(self) -> bool:
        return bool(self.field.terms or self.shape.ports or any(self.shape.amounts[DISK:]))

    def _board(self) -> Board:
        self.nodes.show()
        return self.nodes.board_of(self.wanted)

    def _at(self, board: Board, position: int) -> tuple[int, tuple[Grant, ...]] | None:
        if board.score_of(position) == UNFIT or not fits(self.index.fleet, self.shape, position):
            return None
        if not all_allow(self.field.terms, position):
            return None
        grants = self._grants(board, position)
        return None if grants is None else (position, grants)

    def _search(self, board: Board, besides: int) -> tuple[int, tuple[Grant, ...]] | None:
        score, position = _ABOVE_ALL, EMPTY
        while True:
            position = best_below(board, self.index.fleet, self.shape, self.field.terms, score, position)
            if position == EMPTY:
                return None
            if position != besides and (grants := self._grants(board, position)) is not None:
                return position, grants
            score = score_of(board, self.field.terms, position)

    def _grants(self, board: Board, position: int) -> tuple[Grant, ...] | None:
        wants = self.wanted.suitability.devices
        if not wants:
            return ()
        free = self.index.device_free.get(position, {})
        if len(wants) > 1:
            return find_grants(wants, self.index.nodes[position].devices, free)
        (want,) = wants
        residue = self.nodes.policy.residue(position, board.demand)
        return (
            matching_grants(want, self.nodes.gpus_of(position), free, residue)
            # The GPU that is best by what it leaves may be one that does not match, where a node has several kinds.
            or find_grants(wants, self.index.nodes[position].devices, free)
        )


def matching_grants(
    want: DeviceWant, gpus: Iterable[Device], free: Mapping[str, int], residue: int
) -> tuple[Grant, ...] | None:
    """Return the first GPUs that have just so much free and that match, or None if there are too few."""
    request, count = want.request, want.count
    grants = []
    for gpu in gpus:
        if free[gpu.id] == residue and device_matches(gpu, request):
            grants.append(Grant(want.container, gpu.id, want.thousandths))
            if len(grants) == count:
                return tuple(grants)
    return None
