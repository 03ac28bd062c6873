"""Schedulers that place gangs in wrong ways: each fails the clause that it breaks."""

from __future__ import annotations

from typing import ClassVar

import pytest
from attrs import evolve
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    Explanation,
    GangShortage,
    NoPlacement,
    ScheduleDecision,
    SchedulerCapability,
    SchedulingRequest,
    keep_minimum,
)

from .scheduler_mutants import Decisions, Mutant, MutantKind, Mutants, failed_checks

MUTANTS = Mutants()


@MUTANTS.breaks("GANG-2")
class IgnoresMinimums(Mutant):
    def request(self, request: SchedulingRequest) -> SchedulingRequest:
        return evolve(request, minimum=0)


@MUTANTS.breaks("ABLE-2")
class IgnoresMinimumsAndSaysSo(IgnoresMinimums):
    capabilities: ClassVar[frozenset[SchedulerCapability]] = frozenset(
        {SchedulerCapability.DEVICES, SchedulerCapability.SPREAD}
    )


@MUTANTS.breaks("ABLE-2")
class TakesOneForAGang(Mutant):
    capabilities: ClassVar[frozenset[SchedulerCapability]] = frozenset(
        {SchedulerCapability.DEVICES, SchedulerCapability.SPREAD}
    )

    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        if request.minimum == 1:
            return NoPlacement(slot=decision.slot, explanation=Explanation())
        return decision


@MUTANTS.breaks("GANG-1")
class WantsAllOfThem(Mutant):
    def request(self, request: SchedulingRequest) -> SchedulingRequest:
        return evolve(request, minimum=len(request.slots) if request.minimum > 1 else request.minimum)


@MUTANTS.breaks("GANG-1")
class StopsAtTheMinimum(Mutant):
    def after(self, request: SchedulingRequest, view: ClusterView, decisions: Decisions) -> Decisions:
        placed = [decision for decision in decisions if isinstance(decision, AssignNode)]
        surplus = placed[request.minimum :] if request.minimum > 1 else []
        return [
            NoPlacement(slot=decision.slot, explanation=Explanation()) if decision in surplus else decision
            for decision in decisions
        ]


@MUTANTS.breaks("GANG-2")
class IsContentWithOneLess(Mutant):
    def request(self, request: SchedulingRequest) -> SchedulingRequest:
        return evolve(request, minimum=max(0, request.minimum - 1))


@MUTANTS.breaks("GANG-2")
class KeepsWhatAGangDidNotGet(Mutant):
    """A gang that was refused holds on to the room that its first slots had."""

    def __init__(self) -> None:
        self._kept: Decisions = []

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        decisions = await super().schedule(request, view)
        if self._kept and request.minimum > 1:
            return self._kept
        self._kept = [each for each in decisions if isinstance(each, NoPlacement)]
        return decisions


@MUTANTS.breaks("GANG-3")
class CountsOnlyNewPlaces(Mutant):
    def after(self, request: SchedulingRequest, view: ClusterView, decisions: Decisions) -> Decisions:
        held = {key for each in view for key in each.instances}
        stay = sum(decision.slot in held for decision in decisions)
        return keep_minimum(evolve(request, minimum=request.minimum + stay), decisions, held)


@MUTANTS.breaks("GANG-3")
class CountsAllThatTheWorkloadHas(Mutant):
    def before(self, request: SchedulingRequest, view: ClusterView) -> tuple[SchedulingRequest, ClusterView]:
        uid, slots = request.workload.metadata.uid, request.slots
        others = sum(key.workload_id == uid and key not in slots for each in view for key in each.instances)
        return super().before(evolve(request, minimum=max(0, request.minimum - others)), view)


@MUTANTS.breaks("GANG-3")
class RefusesWhatStays(Mutant):
    def after(self, request: SchedulingRequest, view: ClusterView, decisions: Decisions) -> Decisions:
        refused = [decision for decision in decisions if isinstance(decision, NoPlacement)]
        if request.minimum > 1 and len(decisions) - len(refused) < request.minimum:
            return [NoPlacement(slot=each.slot, explanation=refused[0].explanation) for each in decisions]
        return decisions


@MUTANTS.breaks("GANG-4")
class ExplainsTheClusterAsItIs(Mutant):
    """Refused gangs are told of the nodes as they are without any of them."""

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        decisions = await super().schedule(request, view)
        alone = await super().schedule(evolve(request, slots=request.slots[:1], minimum=0, explain=True), view)
        told = alone[0].explanation or Explanation()
        is_gang = request.minimum > 1
        return [
            evolve(each, explanation=told) if isinstance(each, NoPlacement) and is_gang else each for each in decisions
        ]


@MUTANTS.breaks("GANG-4")
class DoesNotExplainGangs(Mutant):
    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        if isinstance(decision, NoPlacement) and request.minimum > 1:
            return evolve(decision, explanation=Explanation(nodes_considered=len(view)))
        return decision


@MUTANTS.breaks("GANG-5")
class DoesNotCount(Mutant):
    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        if isinstance(decision, NoPlacement):
            return evolve(decision, explanation=evolve(decision.explanation, gang=None))
        return decision


@MUTANTS.breaks("GANG-5")
class CountsOnlyWhatIsNew(Mutant):
    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        if isinstance(decision, NoPlacement) and decision.explanation.gang is not None:
            gang = decision.explanation.gang
            held = sum(slot in each.instances for each in view for slot in request.slots)
            gang = evolve(gang, places=gang.places - held)
            return evolve(decision, explanation=evolve(decision.explanation, gang=gang))
        return decision


@MUTANTS.breaks("GANG-5")
class TellsEverybodyOfAGang(Mutant):
    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        if isinstance(decision, NoPlacement) and decision.explanation.gang is None:
            gang = GangShortage(slots=len(request.slots), minimum=request.minimum, places=0)
            return evolve(decision, explanation=evolve(decision.explanation, gang=gang))
        return decision


@MUTANTS.breaks("REFUSE-5")
class MakesDoWithWhatThereIs(Mutant):
    def request(self, request: SchedulingRequest) -> SchedulingRequest:
        return evolve(request, minimum=max(0, min(len(request.slots), request.minimum)))


@MUTANTS.breaks("REFUSE-5")
class CountsDownFromNothing(Mutant):
    def request(self, request: SchedulingRequest) -> SchedulingRequest:
        return evolve(request, minimum=max(0, request.minimum))


@pytest.mark.parametrize(("clause", "kind"), MUTANTS.parameters())
def test_the_kit_kills(clause: str, kind: MutantKind) -> None:
    assert failed_checks(clause, kind)
