"""Schedulers that are wrong on purpose: what they derive from, and what the kit says of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from attrs import evolve
from orchestrion import conformance_kit
from orchestrion.conformance_kit import EXAMPLES, BoundCheck, FailedChecks
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    Explanation,
    FullScanScheduler,
    NodeView,
    ScheduleDecision,
    SchedulerCapability,
    SchedulingRequest,
    SimpleScheduler,
    StaticClusterView,
)
from orchestrion.scheduler_interface.conformance import SchedulerUnderTest, checks
from orchestrion.shared_types import (
    Node,
    Placement,
    WorkloadDefinition,
)

__all__ = ["AbleMutant", "Decisions", "Mutant", "MutantKind", "Mutants", "failed_checks"]

Decisions = list[ScheduleDecision]


class Mutant(SimpleScheduler):
    """The reference, but what it is asked and what it answers are tampered with."""

    def before(self, request: SchedulingRequest, view: ClusterView) -> tuple[SchedulingRequest, ClusterView]:
        return self.request(request), StaticClusterView(self.views(request, view), revision=view.revision)

    def request(self, request: SchedulingRequest) -> SchedulingRequest:
        return evolve(request, workload=self.workload(request.workload))

    def workload(self, workload: WorkloadDefinition) -> WorkloadDefinition:
        return evolve(workload, placement=self.placement(workload.placement))

    def placement(self, placement: Placement) -> Placement:
        return placement

    def views(self, request: SchedulingRequest, view: ClusterView) -> Iterable[NodeView]:
        return [self.view(request, each) for each in view]

    def view(self, request: SchedulingRequest, view: NodeView) -> NodeView:
        return evolve(view, node=self.node(request, view.node))

    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return node

    def after(self, request: SchedulingRequest, view: ClusterView, decisions: Decisions) -> Decisions:
        return [self.decision(request, view, decision) for decision in decisions]

    def decision(self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision) -> ScheduleDecision:
        if decision.explanation is None:
            return decision
        if isinstance(decision, AssignNode):
            return evolve(decision, explanation=self.assigned(decision.explanation))
        return evolve(decision, explanation=self.refused(self.assigned(decision.explanation)))

    def assigned(self, explanation: Explanation) -> Explanation:
        return explanation

    def refused(self, explanation: Explanation) -> Explanation:
        return explanation

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        asked, seen = self.before(request, view)
        return self.after(request, view, await super().schedule(asked, seen))


class AbleMutant(Mutant):
    """The same of the scheduler with all abilities."""

    @property
    def capabilities(self) -> frozenset[SchedulerCapability]:
        return FullScanScheduler().capabilities

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        asked, seen = self.before(request, view)
        return self.after(request, view, await FullScanScheduler().schedule(asked, seen))


MutantKind = type[Mutant]

Mutants = conformance_kit.Mutants[MutantKind]


def _checks_of(kind: MutantKind) -> list[BoundCheck[SchedulerUnderTest]]:
    @asynccontextmanager
    async def open_mutant() -> AsyncIterator[SchedulerUnderTest]:
        yield SchedulerUnderTest(kind())

    return checks(open_mutant, examples=EXAMPLES["ci"], shrink=False)


failed_checks = FailedChecks(_checks_of)
