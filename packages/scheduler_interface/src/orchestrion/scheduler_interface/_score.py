"""What `SimpleScheduler` prefers, as points."""

from __future__ import annotations

from typing import Final

from orchestrion.shared_types import NodeAffinity, TaintEffect

from ._candidate import Candidate
from ._labels import expression_matches
from ._needs import Needs

FIT_POINTS: Final = 999
"""The most that a tight fit gives; anything below counts for less than one neighbour too many."""
STEP_POINTS: Final = FIT_POINTS + 1
"""What one untolerated PreferNoSchedule taint, or one more instance in the same domain of a spread, costs."""
WEIGHT_POINTS: Final = 10
"""What each point of the weight of a preferred node affinity gives."""


def own_points(needs: Needs, affinities: tuple[NodeAffinity, ...], candidate: Candidate) -> int:
    """Return the part of a node's points for one more slot that only a placement on that node changes.

    Higher is better.
    """
    node = candidate.view.node
    disliked = sum(
        taint.effect is TaintEffect.PREFER_NO_SCHEDULE and taint not in needs.tolerated for taint in node.taints
    )
    liked = sum(
        affinity.weight
        for affinity in affinities
        if affinity.weight is not None
        and all(expression_matches(node.labels, expression) for expression in affinity.expressions)
    )
    neighbours = sum(tally.count(domain) for tally, domain in candidate.own_domains)
    return WEIGHT_POINTS * liked - STEP_POINTS * (disliked + neighbours) + _fit(needs, candidate)


def shared_points(candidate: Candidate) -> int:
    """Return the part of a node's points that is the same for all nodes in the same shared domains."""
    return -STEP_POINTS * sum(tally.count(domain) for tally, domain in candidate.shared_domains)


def _fit(needs: Needs, candidate: Candidate) -> int:
    """Return how full the node would be, on average over the resources that are asked for: full nodes first.

    A slot that asks for nothing can't fill anything up: it goes where the fewest instances are.
    """
    shares = [
        FIT_POINTS * (total - free + needed) // total
        for needed, free, total in zip(needs.demand, candidate.free, candidate.allocatable, strict=True)
        if 0 < needed <= total
    ]
    if shares:
        return sum(shares) // len(shares)
    return FIT_POINTS - min(candidate.instance_count, FIT_POINTS)
