"""Whether a node suits a workload, and how well, whatever is free on it."""

from __future__ import annotations

from typing import Final, NamedTuple

from orchestrion.scheduler_interface import (
    FULL_WEIGHT,
    REFUSING_EFFECTS,
    STEP_POINTS,
    expression_matches,
    find_grants,
    selector_matches,
)
from orchestrion.scheduler_packing._wanted import Suitability
from orchestrion.shared_types import WHOLE_DEVICE, Node, NodeStatus


def points_of(node: Node, suitability: Suitability) -> int | None:
    """Return the points of a node, fewer are better, or None where it does not suit."""
    dislikes = dislikes_of(node, suitability)
    return None if dislikes is None else dislikes.taints + dislikes.missed


class Dislikes(NamedTuple):
    """What a node that suits is not as it should be. One is made per node, which a tuple makes cheap.

    Attributes:
        taints: Points for PreferNoSchedule taints that are not tolerated.
        missed: Points for preferred affinities to nodes that do not hold.
        held: The weights of those that hold.
    """

    taints: int
    missed: int
    held: int


_NONE: Final = Dislikes(0, 0, 0)


def dislikes_of(node: Node, suitability: Suitability) -> Dislikes | None:
    """Return how a node dislikes a slot, or None where it does not suit."""
    if node.status is not NodeStatus.READY or node.cordoned:
        return None
    if not suitability.drivers <= node.drivers:
        return None
    # Most have none of these, which is seen at once; to begin a loop over nothing takes far longer.
    if node.conditions and any(condition.active for condition in node.conditions):
        return None
    select, expressions = suitability.select, suitability.expressions
    if select and not all(selector_matches(node, key, value) for key, value in select):
        return None
    if expressions and not all(expression_matches(node.labels, expression) for expression in expressions):
        return None
    taints = missed = held = 0
    for taint in node.taints:
        if taint not in suitability.tolerated:
            if taint.effect in REFUSING_EFFECTS:
                return None
            taints += STEP_POINTS
    if suitability.devices:
        untouched = {device.id: WHOLE_DEVICE for device in node.devices}
        if find_grants(suitability.devices, node.devices, untouched) is None:
            return None
    for affinity in suitability.node_affinities:
        if not all(expression_matches(node.labels, expression) for expression in affinity.expressions):
            if affinity.weight is None:
                return None
            missed += STEP_POINTS * affinity.weight // FULL_WEIGHT
        elif affinity.weight is not None:
            held += affinity.weight
    return Dislikes(taints, missed, held) if taints or missed or held else _NONE
