"""Choosing a node for one slot by the weighted sum of a profile's plug-ins, under everything that binds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from zlib import crc32

from attrs import define
from attrs import field as attribute
from librt.vecs import vec
from mypy_extensions import i64
from orchestrion.scheduler_interface import Grant, find_grants
from orchestrion.scheduler_packing._core.placing import NOWHERE, Shape
from orchestrion.scheduler_packing._core.scoring import ABOVE_ALL, Around, Scoring
from orchestrion.scheduler_packing._core.terms import SPREAD
from orchestrion.scheduler_packing._gpu_choice import Bounds, matching_grants
from orchestrion.scheduler_packing._index import Index
from orchestrion.scheduler_packing._locality import near_grants
from orchestrion.scheduler_packing._score_nodes import NUMBERS, ScoreNodes
from orchestrion.scheduler_packing._wanted import Wanted
from orchestrion.shared_types import InstanceKey

FIRST: Final = 0


def turn_of(slot: InstanceKey, count: int) -> int:
    """Return the position whose turn it is for a slot, among so many nodes, > 0."""
    return (crc32(slot.workload_id.encode()) + slot.index + slot.epoch) % count


@define(eq=False)
class ScoredChoice:
    """Where the slots of one workload may go.

    Attributes:
        index: The nodes.
        nodes: The same, as the plug-ins see them.
        wanted: What a slot wants.
        shape: The same, for the core.
        field: What the instances that are placed mean for it.
        only: The only position that will do, -1 for one that there is not; None for any.
    """

    index: Index
    nodes: ScoreNodes
    wanted: Wanted
    shape: Shape
    field: Bounds
    only: int | None = None
    _turn: int = attribute(default=FIRST, init=False)
    _around: Around = attribute(init=False)

    def __attrs_post_init__(self) -> None:
        bound = self.field.terms
        affinities = self.wanted.instance_affinities
        weighted = [
            (term, affinity.weight)
            for term, affinity in zip(bound[len(self.wanted.spreads) :], affinities, strict=True)
            if affinity.weight is not None
        ]
        self._around = Around(
            bound,
            [term for term in bound if term.kind == SPREAD],
            [term for term, _ in weighted],
            vec[i64]([weight for _, weight in weighted]),
        )

    def begin(self, slot: InstanceKey) -> None:
        """Say which slot is next: it may decide between nodes that score the same."""
        self._turn = turn_of(slot, max(1, len(self.index.nodes)))

    def parts(self, position: int) -> Mapping[str, float]:
        """Return what the score of a node that suits is made of, with one more slot to place."""
        scoring = self._scoring()
        scoring.catch_up()
        weights = self.nodes.profile.weights
        return {
            name: float(weights[name] * scoring.raw(NUMBERS[name], self._around, position))
            for name in NUMBERS
            if weights.get(name, 0)
        }

    def best(self, besides: int = NOWHERE) -> tuple[int, tuple[Grant, ...]] | None:
        """Return the best position for one more slot but for one, and the devices there; None where none will do."""
        scoring = self._scoring()
        if self.only is not None:
            if self.only in (besides, NOWHERE) or not scoring.can_take(self._around, self.only):
                return None
            grants = self._grants(self.only)
            return None if grants is None else (self.only, grants)
        below, key = ABOVE_ALL, 0
        while (position := scoring.best(self._around, self._turn, below, key)) != NOWHERE:
            if position != besides and (grants := self._grants(position)) is not None:
                return position, grants
            below, key = scoring.score_of(self._around, position), scoring.key_of(position, self._turn)
        return None

    def _scoring(self) -> Scoring:
        self.nodes.show()
        return self.nodes.scoring_of(self.wanted, self.shape)

    def _grants(self, position: int) -> tuple[Grant, ...] | None:
        wants = self.wanted.suitability.devices
        if not wants:
            return ()
        node = self.index.nodes[position]
        free = self.index.device_free.get(position, {})
        if len(wants) == 1 and wants[0].request.thousandths:
            residue = self.nodes.residue_of(self.wanted, position)
            gpus = sorted(node.devices, key=lambda device: device.id)
            granted = None if residue is None else matching_grants(wants[0], gpus, free, residue)
            if granted is not None:
                return granted
        if self.nodes.prefers_near_devices:
            near = near_grants(wants, node, free)
            return None if near is None else near.grants
        return find_grants(wants, node.devices, free)
