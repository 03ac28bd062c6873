"""Gangs: instances of a workload that come up together.

A slot of a gang gets a place only if afterwards at least the gang's minimum holds one. What is there counts: instances
of either template during an update, those that will have to leave their node, and indexes of a batch workload that have
succeeded. So a gang begins as a whole or not at all; later its members are replaced as they go, each as soon as there
is room, for as long as that keeps or restores the minimum.

All that brings a gang to its minimum is bound in one transaction: after a crash at any step either nothing is on
record, or all of it is.
"""

from __future__ import annotations

from attrs import evolve
from orchestrion.orchestrator_core._cluster.planning import Planning
from orchestrion.scheduler_interface import Explanation


def ask_together(planning: Planning, wanted: int, completed: int = 0) -> None:
    """Note how many of the slots that a plan places have to get a place for any to get one.

    Where the plan has fewer slots than that, as others still stop or wait for their back-off, it places none yet.

    Args:
        planning: A plan with all that it stops and places.
        wanted: How many instances the workload is to have.
        completed: How many indexes have succeeded.
    """
    gang, plan = planning.definition.gang, planning.plan
    if gang is None or not plan.place:
        return
    stopping = {instance.name for instance, _ in plan.stop}
    plan.present = sum(name not in stopping for group in planning.active() for name in group) + completed
    plan.minimum = max(0, gang.least_of(wanted) - plan.present)
    if plan.minimum > len(plan.place):
        plan.place.clear()


def of_the_whole_gang(explanation: Explanation, present: int) -> Explanation:
    """Return an explanation that counts those of a gang, too, that are there already."""
    gang = explanation.gang
    if gang is None or not present:
        return explanation
    whole = evolve(gang, slots=gang.slots + present, minimum=gang.minimum + present, places=gang.places + present)
    return evolve(explanation, gang=whole)
