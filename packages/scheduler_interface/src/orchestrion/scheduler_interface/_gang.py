"""Gangs: slots of which so many get a place together, or none."""

from __future__ import annotations

from collections.abc import Container

from attrs import evolve
from orchestrion.shared_types import InstanceKey

from ._types import AssignNode, GangShortage, NoPlacement, ScheduleDecision, SchedulingRequest


def keep_minimum(
    request: SchedulingRequest, decisions: list[ScheduleDecision], held: Container[InstanceKey], /
) -> list[ScheduleDecision]:
    """Return decisions that were made without regard to the request's minimum, or refusals where it is not reached.

    Args:
        request: The request.
        decisions: One for each of its slots, in their order.
        held: Which of the slots the view holds already.
    """
    refused = [decision for decision in decisions if isinstance(decision, NoPlacement)]
    places = len(decisions) - len(refused)
    if not refused or places >= request.minimum or request.minimum <= 1:
        return decisions
    shortage = GangShortage(slots=len(decisions), minimum=request.minimum, places=places)
    explanation = evolve(refused[0].explanation, gang=shortage)
    return [
        decision
        if isinstance(decision, AssignNode) and decision.slot in held
        else NoPlacement(slot=decision.slot, explanation=explanation)
        for decision in decisions
    ]
