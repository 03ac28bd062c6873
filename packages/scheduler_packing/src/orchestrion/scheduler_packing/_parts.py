"""What the score of a node is made of, by the names of preferences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from orchestrion.scheduler_packing._core.terms import SPREAD, Term
from orchestrion.scheduler_packing._suitability import dislikes_of
from orchestrion.scheduler_packing._wanted import Suitability
from orchestrion.shared_types import Node

LEFT_NAMES: Final[Mapping[int, str]] = {1: "binpack", -1: "spread"}
"""What what is left counts for, by the sign of an order."""


def dislike_parts(node: Node, suitability: Suitability, terms: Iterable[Term], position: int) -> Counter[str]:
    """Return the points of a node that suits which taints, affinities and spreads make out; fewer are better."""
    parts: Counter[str] = Counter()
    dislikes = dislikes_of(node, suitability)
    if dislikes is not None:
        parts["prefer-no-schedule"] = dislikes.taints
        parts["node-affinity"] = dislikes.missed
    for term in terms:
        parts["topology-spread" if term.kind == SPREAD else "instance-affinity"] += term.points(position)
    return parts


def negated(parts: Mapping[str, int]) -> dict[str, float]:
    """Return points of which fewer are better as what they add to a score."""
    return {name: -float(points) for name, points in parts.items() if points}
