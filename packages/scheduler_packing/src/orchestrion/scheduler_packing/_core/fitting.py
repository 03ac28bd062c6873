"""Finding a node for one slot by a rule of one's own, with a look at all nodes."""

from __future__ import annotations

from typing import Final, final

from librt.vecs import append, vec
from mypy_extensions import i64
from orchestrion.scheduler_packing._core.fleet import Fleet
from orchestrion.scheduler_packing._core.placing import NOWHERE, Shape, fits
from orchestrion.scheduler_packing._core.search import BELOW_ALL, Field

FIRST: Final = 0
"""The lowest position."""
EMPTIEST: Final = 1
"""The most left over all resources, of nodes that hold something; idle ones come last."""
ALIGNED: Final = 2
"""The largest dot product of what is asked for and what is free, of nodes that hold something; idle ones come last."""
TIGHTEST: Final = 3
"""The least left, as orders have it: of nodes that hold something first, then of idle ones."""

SHARES: Final = 1 << 18
"""Amounts are told in so many parts of what counts as all of it."""
_EXACT: Final = 1 << 40
_IDLE: Final = 1 << 50
"""More than any rule gives: parts of eight thousand resources, multiplied."""
_NONE_DISLIKED: Final = 0


@final
class Rule:
    """What to prefer among the nodes that may take a slot and that dislike it equally.

    Attributes:
        kind: `FIRST`, `EMPTIEST`, `ALIGNED` or `TIGHTEST`.
        mosts: For each resource of the fleet, what counts as all of it on one node; devices come last.
    """

    def __init__(self, kind: i64, mosts: vec[i64]) -> None:
        self.kind: i64 = kind
        self.mosts: vec[i64] = mosts

    def points(self, fleet: Fleet, shape: Shape, position: i64) -> i64:
        """Return a node's points; fewer are better."""
        if self.kind == FIRST:
            return 0
        if self.kind == TIGHTEST:
            return fleet.ranks[position]
        points: i64 = 0
        last: i64 = len(self.mosts) - 1
        asked: i64 = len(shape.amounts)
        at: i64 = 0
        while at <= last:
            free: i64 = fleet.gpu[position] if at == last else fleet.free[at][position]
            part: i64 = share(free, self.mosts[at])
            if self.kind == EMPTIEST:
                points -= part
            else:
                amount: i64 = 0
                if at == last:
                    amount = shape.gpu
                elif at < asked:
                    amount = shape.amounts[at]
                points -= share(amount, self.mosts[at]) * part
            at += 1
        return points + _IDLE if fleet.loads[position] == 0 else points


def share(amount: i64, most: i64) -> i64:
    """Return an amount, at least 0, in parts of the most; more than that counts as all of it."""
    if most <= 0:
        return 0
    if amount >= most:
        return SHARES
    while most >= _EXACT:
        most >>= 1
        amount >>= 1
    return amount * SHARES // most


def best_by(rule: Rule, fleet: Fleet, field: Field, shape: Shape, after: vec[i64]) -> vec[i64]:
    """Return the dislikes, points and position of the best node, or nothing.

    Fewer dislikes are better, then fewer points, then the lower position.

    Args:
        rule: What gives points.
        fleet: All nodes.
        field: Where the slot may go; its order is up to date.
        shape: What it takes; of devices the sum is looked at.
        after: Only nodes that come after this answer; empty for all.
    """
    dislikes_after: i64 = BELOW_ALL
    points_after: i64 = BELOW_ALL
    position_after: i64 = NOWHERE
    if len(after) > 0:
        dislikes_after = after[0]
        points_after = after[1]
        position_after = after[2]
    found: i64 = NOWHERE
    least_dislikes: i64 = 0
    least_points: i64 = 0
    position: i64 = 0
    while position < fleet.count:
        here: i64 = position
        position += 1
        if not field.is_member(here) or not fits(fleet, shape, here):
            continue
        dislikes: i64 = field.points(here) - fleet.ranks[here]
        if dislikes < dislikes_after or (found >= 0 and dislikes > least_dislikes):
            continue
        points: i64 = rule.points(fleet, shape, here)
        if dislikes == dislikes_after and (
            points < points_after or (points == points_after and here <= position_after)
        ):
            continue
        if found >= 0 and dislikes == least_dislikes and points >= least_points:
            continue
        if not field.allows(here):
            continue
        found = here
        least_dislikes = dislikes
        least_points = points
        if rule.kind == FIRST and dislikes == _NONE_DISLIKED:
            break
    answer = vec[i64]()
    if found < 0:
        return answer
    answer = append(answer, least_dislikes)
    answer = append(answer, least_points)
    return append(answer, found)
