"""Gangs: slots of which so many get a place together, or none."""

from __future__ import annotations

from collections.abc import Container

from orchestrion.shared_types import InstanceKey

from ._types import AssignNode, NoPlacement, ScheduleDecision, SchedulingRequest


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
    if not refused or len(decisions) - len(refused) >= request.minimum:
        return decisions
    return [
        NoPlacement(slot=decision.slot, explanation=refused[0].explanation)
        if isinstance(decision, AssignNode) and decision.slot not in held
        else decision
        for decision in decisions
    ]
