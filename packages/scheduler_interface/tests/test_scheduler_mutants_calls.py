"""Schedulers that are wrong about calls, or answer one question in two ways: each fails the clause that it breaks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import pytest
import trio
from attrs import evolve
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    NodeView,
    ScheduleDecision,
    SchedulerCapability,
    SchedulingRequest,
    StaticClusterView,
)
from orchestrion.shared_types import (
    Node,
    NodeId,
    Placement,
    WorkloadDefinition,
)

from .scheduler_mutants import Decisions, Mutant, MutantKind, Mutants, failed_checks

MUTANTS = Mutants()


# Calls


@MUTANTS.breaks("DECIDE-1")
class AnswersBackwards(Mutant):
    def after(self, request: SchedulingRequest, view: ClusterView, decisions: Decisions) -> Decisions:
        return decisions[::-1]


@MUTANTS.breaks("DECIDE-1")
class ForgetsRefusals(Mutant):
    def after(self, request: SchedulingRequest, view: ClusterView, decisions: Decisions) -> Decisions:
        return [decision for decision in decisions if isinstance(decision, AssignNode)]


@MUTANTS.breaks("DECIDE-2")
class HopesForNodes(Mutant):
    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        return AssignNode(slot=decision.slot, node_id=NodeId("n99")) if len(view) == 0 else decision


@MUTANTS.breaks("DECIDE-3")
class NeverExplainsAssignments(Mutant):
    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        return evolve(decision, explanation=None) if isinstance(decision, AssignNode) else decision


@MUTANTS.breaks("REFUSE-1")
class AcceptsNoSlots(Mutant):
    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        return await super().schedule(request, view) if request.slots else []


@MUTANTS.breaks("REFUSE-2")
class AcceptsSlotsTwice(Mutant):
    def request(self, request: SchedulingRequest) -> SchedulingRequest:
        return evolve(request, slots=tuple(dict.fromkeys(request.slots)))


@MUTANTS.breaks("REFUSE-3")
class AcceptsStrangers(Mutant):
    def request(self, request: SchedulingRequest) -> SchedulingRequest:
        uid = request.workload.metadata.uid
        return evolve(request, slots=tuple(evolve(slot, workload_id=uid) for slot in request.slots[:1]))


@MUTANTS.breaks("REFUSE-4")
class DoesNotAddUp(Mutant):
    def workload(self, workload: WorkloadDefinition) -> WorkloadDefinition:
        return evolve(workload, containers=workload.containers[:1])


@MUTANTS.breaks("ABLE-1")
class GrowsAbilities(Mutant):
    def __init__(self) -> None:
        self._asked = False

    @property
    def capabilities(self) -> frozenset[SchedulerCapability]:
        return frozenset(SchedulerCapability) if self._asked else super().capabilities

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        self._asked = True
        return await super().schedule(request, view)


@MUTANTS.breaks("ABLE-2")
class IgnoresAffinities(Mutant):
    def placement(self, placement: Placement) -> Placement:
        return evolve(placement, node_affinities=(), instance_affinities=())


@MUTANTS.breaks("ABLE-2")
class ConcealsAbilities(Mutant):
    """It grants devices and keeps spreads, and says that it does not."""

    capabilities: ClassVar[frozenset[SchedulerCapability]] = frozenset()


@MUTANTS.breaks("PREFER-1")
class TakesPreferencesForRequirements(Mutant):
    def placement(self, placement: Placement) -> Placement:
        preferred = [expression for each in placement.node_affinities for expression in each.expressions]
        return evolve(placement, expressions=(*placement.expressions, *preferred))


@MUTANTS.breaks("PREFER-1")
class RequiresEverySpread(Mutant):
    def placement(self, placement: Placement) -> Placement:
        return evolve(placement, spreads=tuple(evolve(spread, required=True) for spread in placement.spreads))


@MUTANTS.breaks("CANCEL-1")
class ReservesBeforeItDecides(Mutant):
    def __init__(self) -> None:
        self._reserved: set[NodeId] = set()

    def views(self, request: SchedulingRequest, view: ClusterView) -> Iterable[NodeView]:
        free = [each for each in view if each.node.id not in self._reserved]
        self._reserved.update(each.node.id for each in free[:1])
        return free

    def after(self, request: SchedulingRequest, view: ClusterView, decisions: Decisions) -> Decisions:
        self._reserved.clear()
        return decisions


@MUTANTS.breaks("CANCEL-2")
class CanNotBeCancelled(Mutant):
    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        decisions: Decisions = []
        with trio.CancelScope(shield=True):
            decisions += await super().schedule(request, view)
        return decisions


@MUTANTS.breaks("TASKS-1")
class KeepsTheRequestInItself(Mutant):
    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        self._request = request
        await trio.lowlevel.checkpoint()
        return await super().schedule(self._request, view)


# Sameness


class Prefers(Mutant):
    """Gives single slots another node that passes, for reasons of its own."""

    def ranked(self, request: SchedulingRequest, views: list[NodeView]) -> list[NodeView]:
        return views

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        for each in self.ranked(request, list(view)):
            found = await super().schedule(request, StaticClusterView([each]))
            if all(isinstance(decision, AssignNode) for decision in found):
                return found
        return await super().schedule(request, view)


@MUTANTS.breaks("SAME-1")
class GoesByTheObject(Prefers):
    def __init__(self) -> None:
        self._first: ClusterView | None = None

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        if self._first is None:
            self._first = view
        self._is_first = view is self._first
        return await super().schedule(request, view)

    def ranked(self, request: SchedulingRequest, views: list[NodeView]) -> list[NodeView]:
        return views[::-1] if self._is_first else views


@MUTANTS.breaks("SAME-2")
class TakesTurns(Prefers):
    def __init__(self) -> None:
        self._calls = 0

    def ranked(self, request: SchedulingRequest, views: list[NodeView]) -> list[NodeView]:
        self._calls += 1
        start = self._calls % max(1, len(views))
        return views[start:] + views[:start]


@MUTANTS.breaks("SAME-3")
class GoesByTheOrderOfLabels(Prefers):
    def ranked(self, request: SchedulingRequest, views: list[NodeView]) -> list[NodeView]:
        def first(labels: Mapping[str, Any]) -> str:
            return next(iter(labels), "")

        return sorted(views, key=lambda each: (first(each.node.labels), each.node.id))


@MUTANTS.breaks("SAME-4")
class KeepsWhatItSawFirst(Mutant):
    def __init__(self) -> None:
        self._known: dict[NodeId, Node] = {}

    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return self._known.setdefault(node.id, node)


@MUTANTS.breaks("SAME-4")
class TrustsOldIndices(Mutant):
    def __init__(self) -> None:
        self._ids: list[NodeId] | None = None

    def views(self, request: SchedulingRequest, view: ClusterView) -> Iterable[NodeView]:
        self._ids = self._ids or [each.node.id for each in view]
        return [each for node_id in self._ids if (each := view.get(node_id)) is not None]


@MUTANTS.breaks("SAME-4")
class TakesTheSameNodesForTheSameCluster(Mutant):
    def __init__(self) -> None:
        self._known: dict[NodeId, NodeView] = {}
        self._revision = 0

    def views(self, request: SchedulingRequest, view: ClusterView) -> Iterable[NodeView]:
        ids = {each.node.id for each in view}
        changed = view.changes_since(self._revision)
        if changed is None and ids == self._known.keys():
            changed = frozenset()
        if changed is None:
            changed = frozenset(ids)
        kept = {node_id: each for node_id, each in self._known.items() if node_id in ids - changed}
        self._known = {each.node.id: kept.get(each.node.id, each) for each in view}
        self._revision = view.revision
        return self._known.values()


@pytest.mark.parametrize(("clause", "kind"), MUTANTS.parameters())
def test_the_kit_kills(clause: str, kind: MutantKind) -> None:
    assert failed_checks(clause, kind)
