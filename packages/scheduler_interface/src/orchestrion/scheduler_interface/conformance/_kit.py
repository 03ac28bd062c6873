"""The kit itself, and what its clauses have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Unpack

from attrs import frozen
from hypothesis import given
from orchestrion.conformance_kit import BoundCheck, CheckOptions, Factory, Kit, Runner
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    Explanation,
    NoPlacement,
    Predicate,
    ScheduleDecision,
    Scheduler,
    SchedulerCapability,
    SchedulingRequest,
)
from orchestrion.shared_types import NodeId

from ._strategies import Situation, situations

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet


@frozen
class SchedulerUnderTest:
    """What a factory gives: a fresh scheduler that has seen nothing.

    Attributes:
        scheduler: The implementation.
    """

    scheduler: Scheduler


KIT: Kit[SchedulerUnderTest] = Kit(lambda subject: subject.scheduler.capabilities)


def checks(
    factory: Factory[SchedulerUnderTest], /, **options: Unpack[CheckOptions]
) -> list[BoundCheck[SchedulerUnderTest]]:
    """Return all checks, bound to an implementation. They are callables and need no pytest.

    Args:
        factory: Opens a fresh scheduler.
        **options: As `Kit.checks` of the conformance kit has them: `capabilities`, `expected_failures`, `examples` and
        so on.

    Raises:
        ValueError: An expected failure names no check.
    """
    return KIT.checks(factory, **options)


def conformance_checks(factory: Factory[SchedulerUnderTest], /, **options: Unpack[CheckOptions]) -> list[ParameterSet]:
    """Return all checks as parameters for `pytest.mark.parametrize`; it takes what `checks` takes."""
    return KIT.conformance_checks(factory, **options)


def check_ids() -> tuple[str, ...]:
    """Return the ids of all checks."""
    return KIT.ids


async def decide(subject: SchedulerUnderTest, request: SchedulingRequest, view: ClusterView) -> list[ScheduleDecision]:
    """Ask for decisions."""
    return await subject.scheduler.schedule(request, view)


async def decide_one(subject: SchedulerUnderTest, request: SchedulingRequest, view: ClusterView) -> ScheduleDecision:
    """Ask for the decision about a request's only slot."""
    decisions = await decide(subject, request, view)
    assert len(decisions) == 1, f"{len(decisions)} decisions about one slot: {decisions}"
    return decisions[0]


async def expect_node(
    subject: SchedulerUnderTest, request: SchedulingRequest, view: ClusterView, node_id: str
) -> AssignNode:
    """Assert that the request's only slot gets this node."""
    decision = await decide_one(subject, request, view)
    assert isinstance(decision, AssignNode), f"expected node {node_id!r}, got {decision}"
    assert decision.node_id == NodeId(node_id), f"expected node {node_id!r}, got {decision}"
    return decision


async def expect_refused(
    subject: SchedulerUnderTest, request: SchedulingRequest, view: ClusterView, predicate: Predicate
) -> Explanation:
    """Assert that the request's only slot gets no node, and that some node fails this predicate."""
    decision = await decide_one(subject, request, view)
    assert isinstance(decision, NoPlacement), f"expected a refusal for {predicate}, got {decision}"
    found = [group.predicate for group in decision.explanation.groups]
    assert predicate in found, f"expected a refusal for {predicate}, got {found}"
    return decision.explanation


def abilities_of(run: Runner[SchedulerUnderTest]) -> frozenset[SchedulerCapability]:
    """Return what a fresh scheduler is able to do."""

    async def look(subject: SchedulerUnderTest) -> frozenset[SchedulerCapability]:
        return subject.scheduler.capabilities

    return run(look)


Example = Callable[[Situation, list[ScheduleDecision], frozenset[SchedulerCapability]], None]


def for_all_situations(run: Runner[SchedulerUnderTest], examine: Example, /, *, huge: bool = False) -> None:
    """Draw situations, ask a fresh scheduler about each, and examine its decisions."""
    abilities = abilities_of(run)

    @run.settings()
    @given(situations(abilities, huge=huge))
    def example(situation: Situation) -> None:
        examine(situation, run(decide, situation.request, situation.view), abilities)

    example()
