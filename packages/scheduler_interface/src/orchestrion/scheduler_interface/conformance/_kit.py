"""The kit itself, and what its clauses have in common."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterable

from attrs import frozen
from hypothesis import given
from orchestrion.conformance_kit import Kit, Runner
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    Explanation,
    HostPort,
    NodeView,
    NoPlacement,
    Predicate,
    ScheduleDecision,
    Scheduler,
    SchedulerCapability,
    SchedulingRequest,
    host_ports_of,
)
from orchestrion.shared_types import NodeId

from ._oracle import demand, free
from ._replay import violations
from ._situations import Situation, crowded_situations, situations


@frozen
class SchedulerUnderTest:
    """What a factory gives: a fresh scheduler that has seen nothing.

    Attributes:
        scheduler: The implementation.
    """

    scheduler: Scheduler


KIT: Kit[SchedulerUnderTest] = Kit(lambda subject: subject.scheduler.capabilities)


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
    text = f"asked for {asked(request, view)}: expected node {node_id!r}, got {decision}"
    assert isinstance(decision, AssignNode), text
    assert decision.node_id == NodeId(node_id), text
    return decision


async def expect_refused(
    subject: SchedulerUnderTest, request: SchedulingRequest, view: ClusterView, predicate: Predicate
) -> Explanation:
    """Assert that the request's only slot gets no node, and that some node fails this predicate."""
    decision = await decide_one(subject, request, view)
    text = f"asked for {asked(request, view)}: expected a refusal for {predicate}"
    assert isinstance(decision, NoPlacement), f"{text}, got {decision}"
    found = [group.predicate.value for group in decision.explanation.groups]
    assert predicate in found, f"{text}, got a refusal for {', '.join(found) or 'no reason'}"
    return decision.explanation


async def expect_placed(
    subject: SchedulerUnderTest,
    request: SchedulingRequest,
    view: ClusterView,
    *expected: str | None,
    rule: str,
    in_any_order: bool = False,
) -> list[ScheduleDecision]:
    """Assert which node each slot of the request gets; None is a refusal.

    Args:
        subject: Who is asked.
        request: What is asked.
        view: Of which cluster.
        *expected: The nodes.
        rule: What the clause says, for the failure's text.
        in_any_order: Whether it does not matter which slot gets which of the nodes; refusals come last.
    """
    decisions = await decide(subject, request, view)
    got = [decision.node_id if isinstance(decision, AssignNode) else None for decision in decisions]
    compared = sorted(got, key=lambda node_id: (node_id is None, node_id)) if in_any_order else got
    assert compared == list(expected), (
        f"asked for {asked(request, view)}: expected {_words(expected)}, since {rule}; got {_words(got)}: {decisions}"
    )
    return decisions


def _words(nodes: Iterable[str | None]) -> str:
    return ", ".join("a refusal" if node_id is None else node_id for node_id in nodes) or "no decisions"


def expect_unbroken(
    situation: Situation, decisions: list[ScheduleDecision], abilities: frozenset[SchedulerCapability], *clauses: str
) -> None:
    """Assert that decisions break no clause that begins so."""
    found = violations(situation.request, situation.view, decisions, abilities)
    broken = [each.text for each in found if each.clause.startswith(clauses)]
    assert not broken, f"asked for {asked(situation.request, situation.view)}: {'; '.join(broken)}"


def asked(request: SchedulingRequest, view: ClusterView) -> str:
    """Return what is asked in one line, for a failure's text."""
    wants = [f"{amount} {dimension}" for dimension, amount in demand(request.workload).items()]
    wants += [f"port {_port(port)}" for port in sorted(host_ports_of(request.workload.containers))]
    wants += [f"GPUs {each.gpu}" for each in request.workload.containers if each.gpu is not None]
    slots = ", ".join(f"{slot.index}@{slot.epoch}" for slot in request.slots)
    only = "" if request.only_node is None else f" on node {request.only_node!r} alone"
    nodes = "; ".join(_node_text(request, each) for each in view) or "none"
    return f"slots {slots} with {', '.join(wants) or 'no resources'} each{only}, nodes: {nodes}"


def _node_text(request: SchedulingRequest, view: NodeView) -> str:
    parts = [f"{free(view, dimension)} {dimension} free" for dimension in demand(request.workload)]
    if host_ports_of(request.workload.containers):
        parts.append(f"ports taken: {', '.join(map(_port, sorted(view.host_ports))) or 'none'}")
    held = [f"{slot.index}@{slot.epoch}" for slot in request.slots if slot in view.instances]
    if held:
        parts.append(f"holds slots {', '.join(held)}")
    return f"{view.node.id} ({', '.join(parts)})" if parts else view.node.id


def _port(port: HostPort) -> str:
    return f"{port[0].value}/{port[1]}"


def skip_without(subject: SchedulerUnderTest, ability: SchedulerCapability) -> None:
    """Skip a check that takes another ability than the one that it is about."""
    if ability not in subject.scheduler.capabilities:
        msg = f"the implementation does not declare the capability {ability.value!r}"
        raise unittest.SkipTest(msg)


def abilities_of(run: Runner[SchedulerUnderTest]) -> frozenset[SchedulerCapability]:
    """Return what a fresh scheduler is able to do."""

    async def look(subject: SchedulerUnderTest) -> frozenset[SchedulerCapability]:
        return subject.scheduler.capabilities

    return run(look)


Example = Callable[[Situation, list[ScheduleDecision], frozenset[SchedulerCapability]], None]


def for_all_situations(
    run: Runner[SchedulerUnderTest], examine: Example, /, *, huge: bool = False, crowded: bool = False
) -> None:
    """Draw situations, ask a fresh scheduler about each, and examine its decisions."""
    abilities = abilities_of(run)

    @run.settings()
    @given(crowded_situations(abilities) if crowded else situations(abilities, huge=huge))
    def example(situation: Situation) -> None:
        examine(situation, run(decide, situation.request, situation.view), abilities)

    example()
