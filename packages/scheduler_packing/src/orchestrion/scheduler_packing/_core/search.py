"""Finding the best node for one slot under everything that binds it but devices."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64
from orchestrion.scheduler_packing._core.fleet import Fleet
from orchestrion.scheduler_packing._core.order import MAX_NODES, POSITIONS, Order
from orchestrion.scheduler_packing._core.placing import NOWHERE, Shape, first_fitting, fits
from orchestrion.scheduler_packing._core.terms import Term

MAX_STEPS: Final = 32
"""After so many nodes in order that terms refuse or dislike, all nodes are looked at, each of which costs less."""


def best_within(fleet: Fleet, order: Order, shape: Shape, terms: list[Term], after: i64, after_position: i64) -> i64:
    """Return the position with the fewest points that has room and that all terms allow, or -1.

    Args:
        fleet: All nodes.
        order: Those that may take a slot; it is caught up.
        shape: What the slot takes; of devices the sum is looked at.
        terms: What adds to the points, and what is required.
        after: Only nodes with more points than these, or as many and a higher position.
        after_position: See `after`.
    """
    least: i64 = 0
    for term in terms:
        least += term.least_points()
    best: i64 = NOWHERE
    best_points: i64 = 0
    steps: i64 = 0
    rank: i64 = first_fitting(fleet, order, shape, -1)
    while rank >= 0:
        # What comes later in the order has as many points of its own or more, and no fewer than `least` of the terms.
        if best >= 0 and rank // POSITIONS + least > best_points:
            return best
        if steps == MAX_STEPS:
            return best_of_all(fleet, order, shape, terms, after, after_position)
        steps += 1
        position: i64 = rank & MAX_NODES
        points: i64 = points_of(order, terms, position)
        is_after = points > after or (points == after and position > after_position)
        if is_after and is_better(points, position, best_points, best) and all_allow(terms, position):
            best = position
            best_points = points
        rank = first_fitting(fleet, order, shape, rank)
    return best


def best_of_all(fleet: Fleet, order: Order, shape: Shape, terms: list[Term], after: i64, after_position: i64) -> i64:
    """Do as `best_within`, by a look at all nodes."""
    best: i64 = NOWHERE
    best_points: i64 = 0
    position: i64 = 0
    while position < fleet.count:
        if order.rank_of(position) >= 0 and fits(fleet, shape, position):
            points: i64 = points_of(order, terms, position)
            is_after = points > after or (points == after and position > after_position)
            if is_after and is_better(points, position, best_points, best) and all_allow(terms, position):
                best = position
                best_points = points
        position += 1
    return best


def is_better(points: i64, position: i64, best_points: i64, best: i64) -> bool:
    """Whether a node is preferred to the best so far, if there is one."""
    return best < 0 or points < best_points or (points == best_points and position < best)


def all_allow(terms: list[Term], position: i64) -> bool:
    """Whether all terms allow one more slot on a node."""
    for term in terms:  # noqa: SIM110 - a generator would cost more than the question
        if not term.allows(position):
            return False
    return True


def points_of(order: Order, terms: list[Term], position: i64) -> i64:
    """Return a member's points for one more slot; fewer are better."""
    points: i64 = order.rank_of(position) // POSITIONS
    for term in terms:
        points += term.points(position)
    return points
