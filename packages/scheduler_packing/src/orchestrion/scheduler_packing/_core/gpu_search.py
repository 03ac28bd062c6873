"""Finding the best node for a slot that more binds than room and GPUs."""

from __future__ import annotations

from mypy_extensions import i64
from orchestrion.scheduler_packing._core.fleet import Fleet
from orchestrion.scheduler_packing._core.gpu_board import UNFIT, Board, above
from orchestrion.scheduler_packing._core.gpu_fleet import EMPTY
from orchestrion.scheduler_packing._core.placing import Shape, fits
from orchestrion.scheduler_packing._core.terms import Term


def score_of(board: Board, terms: list[Term], position: i64) -> i64:
    """Return a node's score with what terms take off it, or `UNFIT`; the board is caught up and weighed."""
    score: i64 = board.score_of(position)
    if score == UNFIT:
        return UNFIT
    points: i64 = 0
    for term in terms:
        points += term.points(position)
    return score - above(points)


def all_allow(terms: list[Term], position: i64) -> bool:
    """Whether all terms allow one more slot on a node."""
    for term in terms:  # noqa: SIM110 - a generator would cost more than the question
        if not term.allows(position):
            return False
    return True


def best_below(board: Board, fleet: Fleet, shape: Shape, terms: list[Term], before: i64, before_position: i64) -> i64:
    """Return the position with the highest score that has room for all and that all terms allow, or `EMPTY`.

    Args:
        board: The scores; it is caught up and weighed.
        fleet: All that nodes have free.
        shape: What the slot takes; of devices the sum is looked at.
        terms: What takes off the scores, and what is required.
        before: Only nodes with lower scores than this, or the same and a higher position.
        before_position: See `before`.
    """
    best: i64 = EMPTY
    best_score: i64 = UNFIT
    position: i64 = 0
    while position < fleet.count:
        score: i64 = score_of(board, terms, position)
        is_below = score < before or (score == before and position > before_position)
        if is_below and score > best_score and fits(fleet, shape, position) and all_allow(terms, position):
            best = position
            best_score = score
        position += 1
    return best
