"""Schedulers that explain badly, or propose changes that do not help: each fails the clause that it breaks."""

from __future__ import annotations

import pytest
from attrs import evolve
from orchestrion.scheduler_interface import (
    AssignNode,
    ChangeKind,
    ClusterView,
    Explanation,
    NoPlacement,
    PlacementChange,
    ScheduleDecision,
    SchedulingRequest,
)
from orchestrion.shared_types import (
    NodeId,
)

from .scheduler_mutants import Decisions, Mutant, MutantKind, Mutants, failed_checks

MUTANTS = Mutants()


# Explanations


@MUTANTS.breaks("EXPLAIN-1")
class BlamesEveryNode(Mutant):
    def after(self, request: SchedulingRequest, view: ClusterView, decisions: Decisions) -> Decisions:
        ids = tuple(each.node.id for each in view)

        def blame(explanation: Explanation | None) -> Explanation | None:
            if explanation is None:
                return None
            return evolve(
                explanation,
                groups=tuple(evolve(each, node_count=len(ids), samples=ids[:5]) for each in explanation.groups),
            )

        return [
            evolve(decision, explanation=blame(decision.explanation))
            if isinstance(decision, AssignNode)
            else evolve(decision, explanation=blame(decision.explanation) or decision.explanation)
            for decision in decisions
        ]


@MUTANTS.breaks("EXPLAIN-1")
class CountsSamples(Mutant):
    def assigned(self, explanation: Explanation) -> Explanation:
        groups = tuple(evolve(each, node_count=len(each.samples)) for each in explanation.groups)
        return evolve(explanation, groups=groups)


@MUTANTS.breaks("EXPLAIN-2")
class TellsTheFirstReason(Mutant):
    def assigned(self, explanation: Explanation) -> Explanation:
        return evolve(explanation, groups=explanation.groups[:1])


@MUTANTS.breaks("EXPLAIN-2")
class TellsOneReasonPerPredicate(Mutant):
    def assigned(self, explanation: Explanation) -> Explanation:
        by_predicate = {(group.predicate, group.dimension): group for group in explanation.groups}
        return evolve(explanation, groups=tuple(by_predicate.values()))


@MUTANTS.breaks("EXPLAIN-3")
class TellsTheFirstFree(Mutant):
    def assigned(self, explanation: Explanation) -> Explanation:
        return evolve(explanation, groups=tuple(evolve(each, best_free=0) for each in explanation.groups))


@MUTANTS.breaks("EXPLAIN-3")
class AsksForMore(Mutant):
    def assigned(self, explanation: Explanation) -> Explanation:
        return evolve(explanation, groups=tuple(evolve(each, needed=each.needed + 1) for each in explanation.groups))


@MUTANTS.breaks("EXPLAIN-4")
class TellsTheRarestFirst(Mutant):
    def assigned(self, explanation: Explanation) -> Explanation:
        return evolve(explanation, groups=explanation.groups[::-1])


@MUTANTS.breaks("EXPLAIN-5")
class LooksAtOtherNodesToo(Mutant):
    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        if request.only_node is None or not isinstance(decision, NoPlacement):
            return decision
        told = decision.explanation
        groups = tuple(evolve(group, node_count=len(view)) for group in told.groups)
        return evolve(decision, explanation=evolve(told, groups=groups))


@MUTANTS.breaks("EXPLAIN-6")
class ConsidersNothing(Mutant):
    def assigned(self, explanation: Explanation) -> Explanation:
        return evolve(explanation, nodes_considered=0)


@MUTANTS.breaks("EXPLAIN-7")
class NamesTheFirstAsClosest(Mutant):
    def refused(self, explanation: Explanation) -> Explanation:
        return evolve(explanation, closest=tuple(sorted(explanation.closest, reverse=True)))


@MUTANTS.breaks("EXPLAIN-8")
class ScoresTheOthers(Mutant):
    def assigned(self, explanation: Explanation) -> Explanation:
        return evolve(explanation, scores={node_id: -score for node_id, score in explanation.scores.items()})


@MUTANTS.breaks("EXPLAIN-8")
class ScoresRefusals(Mutant):
    def refused(self, explanation: Explanation) -> Explanation:
        return evolve(explanation, scores={NodeId("n0"): 1.0})


@MUTANTS.breaks("EXPLAIN-9")
class ForgetsAPart(Mutant):
    def assigned(self, explanation: Explanation) -> Explanation:
        parts = {node_id: {"most of it": score - 1} for node_id, score in explanation.scores.items()}
        return evolve(explanation, parts=parts)


@MUTANTS.breaks("EXPLAIN-9")
class TellsThePartsOfOneAlone(Mutant):
    def assigned(self, explanation: Explanation) -> Explanation:
        parts = {node_id: {"all of it": score} for node_id, score in explanation.scores.items()}
        return evolve(explanation, parts=dict(list(parts.items())[1:]))


@MUTANTS.breaks("EXPLAIN-10")
class WeighsByNothing(Mutant):
    def assigned(self, explanation: Explanation) -> Explanation:
        return evolve(explanation, weights=dict.fromkeys(explanation.scores, 0))


# Changes


@MUTANTS.breaks("CHANGE-1")
class LowersTooLittle(Mutant):
    def refused(self, explanation: Explanation) -> Explanation:
        lower = ChangeKind.LOWER_REQUEST
        steps = (evolve(step, amount=step.amount + (step.kind is lower)) for step in explanation.smallest_change)
        return evolve(explanation, smallest_change=tuple(steps))


@MUTANTS.breaks("CHANGE-1")
class ForgetsTheLastStep(Mutant):
    def refused(self, explanation: Explanation) -> Explanation:
        return evolve(explanation, smallest_change=explanation.smallest_change[:1])


@MUTANTS.breaks("CHANGE-2")
class ProposesNothing(Mutant):
    def refused(self, explanation: Explanation) -> Explanation:
        return evolve(explanation, smallest_change=())


@MUTANTS.breaks("CHANGE-2")
class ProposesTooMuch(Mutant):
    def refused(self, explanation: Explanation) -> Explanation:
        steps = explanation.smallest_change
        more = [evolve(step, kind=ChangeKind.UNCORDON, subject="", amount=0) for step in steps[:1]]
        return evolve(explanation, smallest_change=(*steps, *more))


@MUTANTS.breaks("CHANGE-3")
class NeverAddsNodes(Mutant):
    def refused(self, explanation: Explanation) -> Explanation:
        steps = tuple(step for step in explanation.smallest_change if step.kind is not ChangeKind.ADD_NODE)
        return evolve(explanation, smallest_change=steps)


@MUTANTS.breaks("CHANGE-3")
class AddsNodesAtOnce(Mutant):
    def refused(self, explanation: Explanation) -> Explanation:
        steps = tuple(evolve(step, kind=ChangeKind.ADD_NODE, node_id=None) for step in explanation.smallest_change)
        return evolve(explanation, smallest_change=steps)


@MUTANTS.breaks("CHANGE-4")
class ProposesChangesAnyway(Mutant):
    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        if isinstance(decision, AssignNode) and decision.explanation is not None:
            step = PlacementChange(kind=ChangeKind.UNCORDON, node_id=NodeId("n1"))
            return evolve(decision, explanation=evolve(decision.explanation, smallest_change=(step,)))
        return decision


@pytest.mark.parametrize(("clause", "kind"), MUTANTS.parameters())
def test_the_kit_kills(clause: str, kind: MutantKind) -> None:
    assert failed_checks(clause, kind)
