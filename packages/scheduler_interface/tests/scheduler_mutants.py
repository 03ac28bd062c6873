"""Schedulers that are wrong on purpose: what they derive from, and what the kit says of them."""

from __future__ import annotations

import unittest
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest
from _pytest.mark import ParameterSet
from attrs import evolve
from orchestrion.conformance_kit import EXAMPLES
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

M = TypeVar("M", bound=MutantKind)


class Mutants:
    """The mutants of a module, each with the clause that it must fail."""

    def __init__(self) -> None:
        self.pairs: list[tuple[str, MutantKind]] = []

    def fails(self, clause: str) -> Callable[[M], M]:
        """Register a mutant that must fail this clause."""

        def register(kind: M) -> M:
            self.pairs.append((clause, kind))
            return kind

        return register

    def parameters(self) -> list[ParameterSet]:
        return [pytest.param(clause, kind, id=f"mutant-{clause}-{kind.__name__}") for clause, kind in self.pairs]


def failed_checks(kind: MutantKind, clause: str) -> list[str]:
    @asynccontextmanager
    async def open_mutant() -> AsyncIterator[SchedulerUnderTest]:
        yield SchedulerUnderTest(kind())

    failed = []
    for check in checks(open_mutant, examples=EXAMPLES["ci"], shrink=False):
        if check.check.clause == clause and (error := error_of(check)) is not None:
            assert broken_by(error), f"{check.id} did not fail but broke: {error!r}"
            assert str(error), f"{check.id} failed without a word"
            failed.append(check.id)
    return failed


def error_of(check: Callable[[], None]) -> Exception | None:
    try:
        check()
    except unittest.SkipTest:
        return None
    except Exception as error:
        return error
    return None


def broken_by(error: BaseException) -> bool:
    """Whether a check failed by an assertion; hypothesis gathers several different ones in a group."""
    if isinstance(error, BaseExceptionGroup):
        return all(broken_by(each) for each in error.exceptions)
    return isinstance(error, AssertionError)
