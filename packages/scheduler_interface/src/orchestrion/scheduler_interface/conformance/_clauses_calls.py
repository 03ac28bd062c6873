"""Calls: what is decided, what is refused as bad input, abilities, cancellation, concurrency."""

from __future__ import annotations

import unittest

import trio
from attrs import evolve
from orchestrion.conformance_kit import Runner, cancellation_sweep
from orchestrion.scheduler_interface import (
    InvalidSchedulingRequest,
    NoPlacement,
    Predicate,
    ScheduleDecision,
    SchedulerCapability,
    SchedulingRequest,
    node_view,
)
from orchestrion.shared_types import (
    MAX_AMOUNT,
    Expression,
    GpuRequest,
    InstanceAffinity,
    InstanceKey,
    Metadata,
    NodeAffinity,
    Operator,
    Placement,
    Spread,
    WorkloadDefinition,
)

from ._build import NEIGHBOUR, asking, cluster, container, neighbour, node, one, resources, slot, tcp, workload
from ._kit import (
    KIT,
    SchedulerUnderTest,
    decide,
    expect_node,
    expect_placed,
    expect_unbroken,
    for_all_situations,
)
from ._situations import Situation

Abilities = frozenset[SchedulerCapability]

_ON_SSD = (Expression(key="disk", operator=Operator.IN, values=("ssd",)),)


@KIT.property_clause("DECIDE-1", "each-slot-gets-one-decision-in-the-order-of-the-request")
def _decide_in_order(run: Runner[SchedulerUnderTest]) -> None:
    def examine(situation: Situation, decisions: list[ScheduleDecision], _abilities: Abilities) -> None:
        got = [str(decision.slot) for decision in decisions]
        wanted = [str(slot) for slot in situation.request.slots]
        assert got == wanted, f"asked for the slots {wanted}: the decisions are about {got}"

    for_all_situations(run, examine)


@KIT.property_clause("DECIDE-2", "assignments-name-nodes-of-the-view")
def _decide_known_nodes(run: Runner[SchedulerUnderTest]) -> None:
    def examine(situation: Situation, decisions: list[ScheduleDecision], abilities: Abilities) -> None:
        expect_unbroken(situation, decisions, abilities, "DECIDE-2")

    for_all_situations(run, examine)


@KIT.clause("DECIDE-2", "a-cluster-without-nodes-refuses-every-slot")
async def _decide_empty_cluster(subject: SchedulerUnderTest) -> None:
    request = asking(workload(), slots=3)
    await expect_placed(subject, request, cluster(), None, None, None, rule="there is no node")


@KIT.clause("DECIDE-3", "an-assignment-is-explained-if-the-request-says-so")
async def _decide_explains(subject: SchedulerUnderTest) -> None:
    decision = await expect_node(subject, asking(workload(), explain=True), one(node()), "n1")
    assert decision.explanation is not None, f"the request asks for explanations, and there is none: {decision}"


@KIT.clause("REFUSE-1", "a-request-without-slots-is-an-error")
async def _refuse_no_slots(subject: SchedulerUnderTest) -> None:
    await _expect_invalid(subject, SchedulingRequest(workload=workload(), slots=()))


@KIT.clause("REFUSE-2", "a-slot-that-is-asked-for-twice-is-an-error")
async def _refuse_twice(subject: SchedulerUnderTest) -> None:
    await _expect_invalid(subject, SchedulingRequest(workload=workload(), slots=(slot(1), slot(0), slot(1))))


@KIT.clause("REFUSE-3", "a-slot-of-another-workload-is-an-error")
async def _refuse_strangers(subject: SchedulerUnderTest) -> None:
    slots = (slot(0), InstanceKey(NEIGHBOUR, 0, 1))
    await _expect_invalid(subject, SchedulingRequest(workload=workload(), slots=slots))


@KIT.clause("REFUSE-4", "a-demand-that-can-not-be-counted-is-an-error")
async def _refuse_overflow(subject: SchedulerUnderTest) -> None:
    halves = (container("a", resources(memory=MAX_AMOUNT)), container("b", resources(memory=1)))
    await _expect_invalid(subject, asking(workload(*halves)))
    extended = (container("a", resources(licence=MAX_AMOUNT)), container("b", resources(licence=1)))
    await _expect_invalid(subject, asking(workload(*extended)))


@KIT.clause("REFUSE-5", "a-minimum-that-can-not-be-reached-is-an-error")
async def _refuse_minimum(subject: SchedulerUnderTest) -> None:
    for minimum in (-1, 4):
        await _expect_invalid(subject, asking(workload(), slots=3, minimum=minimum))


async def _expect_invalid(subject: SchedulerUnderTest, request: SchedulingRequest) -> None:
    try:
        decisions = await decide(subject, request, one(node()))
    except InvalidSchedulingRequest:
        return
    raise AssertionError(f"expected InvalidSchedulingRequest, got {decisions}")


@KIT.clause("ABLE-1", "the-capabilities-are-constant-and-known")
async def _able_constant(subject: SchedulerUnderTest) -> None:
    before = subject.scheduler.capabilities
    await decide(subject, asking(workload()), one(node()))
    after = subject.scheduler.capabilities
    assert after == before, f"the capabilities were {before} and are {after} after a call"
    assert isinstance(before, frozenset), f"the capabilities are no frozenset: {before!r}"
    assert before <= frozenset(SchedulerCapability), f"unknown capabilities: {sorted(before)}"


@KIT.clause("ABLE-2", "required-node-affinities-are-unsupported-without-the-ability")
async def _able_node_affinity(subject: SchedulerUnderTest) -> None:
    definition = workload(node_affinities=(NodeAffinity(expressions=_ON_SSD),))
    await _expect_unsupported(subject, SchedulerCapability.AFFINITY, definition)


@KIT.clause("ABLE-2", "required-instance-affinities-are-unsupported-without-the-ability")
async def _able_instance_affinity(subject: SchedulerUnderTest) -> None:
    definition = workload(instance_affinities=(InstanceAffinity(match_labels={"app": "db"}, anti=True),))
    await _expect_unsupported(subject, SchedulerCapability.AFFINITY, definition)


@KIT.clause("ABLE-2", "required-spreads-are-unsupported-without-the-ability")
async def _able_spread(subject: SchedulerUnderTest) -> None:
    definition = workload(spreads=(Spread(by="node", required=True),))
    await _expect_unsupported(subject, SchedulerCapability.SPREAD, definition)


@KIT.clause("ABLE-2", "gpus-are-unsupported-without-the-ability")
async def _able_devices(subject: SchedulerUnderTest) -> None:
    definition = workload(container(gpu=GpuRequest(count=1)))
    await _expect_unsupported(subject, SchedulerCapability.DEVICES, definition)


@KIT.clause("ABLE-2", "minimums-are-unsupported-without-the-ability")
async def _able_gang(subject: SchedulerUnderTest) -> None:
    await _expect_unsupported(subject, SchedulerCapability.GANG, workload(), slots=2, minimum=2)


@KIT.clause("ABLE-2", "a-minimum-of-one-takes-no-ability")
async def _able_one(subject: SchedulerUnderTest) -> None:
    for minimum in (0, 1):
        request = asking(workload(), slots=2, minimum=minimum)
        await expect_placed(subject, request, one(node()), "n1", "n1", rule=f"a minimum of {minimum} requires nothing")


@KIT.clause("ABLE-3", "leave-to-push-out-makes-no-difference-without-the-ability")
async def _able_preemption(subject: SchedulerUnderTest) -> None:
    if SchedulerCapability.PREEMPTION in subject.scheduler.capabilities:
        msg = f"the implementation declares the capability {SchedulerCapability.PREEMPTION.value!r}"
        raise unittest.SkipTest(msg)
    full = node_view(node("n1", room=resources(cpu=10)), [neighbour(demand=resources(cpu=10))])
    request = asking(workload(container(wants=resources(cpu=10))), slots=2)
    for view in (cluster(full), cluster(full, node("n2", room=resources(cpu=10)))):
        expected = await decide(subject, request, view)
        decisions = await decide(subject, evolve(request, preempt=True), view)
        assert decisions == expected, f"without preempt {expected}, and with it {decisions}"


async def _expect_unsupported(
    subject: SchedulerUnderTest, ability: SchedulerCapability, definition: WorkloadDefinition, **options: int
) -> None:
    if ability in subject.scheduler.capabilities:
        msg = f"the implementation declares the capability {ability.value!r}"
        raise unittest.SkipTest(msg)
    view = cluster(node("n1", labels={"disk": "ssd"}), node("n2"))
    decision, *_ = await decide(subject, asking(definition, **options), view)
    assert isinstance(decision, NoPlacement), f"expected a refusal, got {decision}"
    groups = [group for group in decision.explanation.groups if group.predicate is Predicate.UNSUPPORTED]
    assert [group.samples for group in groups] == [("n1", "n2")], decision.explanation.groups
    change = decision.explanation.smallest_change
    assert change == (), f"no change helps where something is unsupported: {change}"


@KIT.clause("PREFER-1", "preferences-refuse-nothing")
async def _prefer_refuses_nothing(subject: SchedulerUnderTest) -> None:
    definition = workload(
        node_affinities=(NodeAffinity(expressions=_ON_SSD, weight=100),),
        instance_affinities=(InstanceAffinity(match_labels={"app": "db"}, weight=100),),
        spreads=(Spread(by="node"), Spread(by="zone")),
    )
    view = one(node(labels={"disk": "hdd"}))
    rule = "weights, and spreads that are not required, refuse nothing"
    await expect_placed(subject, asking(definition, slots=4), view, *["n1"] * 4, rule=rule)


@KIT.property_clause("CANCEL-1", "a-cancelled-call-has-no-effect")
def _cancel_atomic(run: Runner[SchedulerUnderTest]) -> None:
    request = asking(workload(container(wants=resources(cpu=400))), slots=3)
    view = cluster(node("n1"), node("n2"))
    expected = run(decide, request, view)

    async def operation(subject: SchedulerUnderTest) -> None:
        await decide(subject, request, view)

    async def verify(subject: SchedulerUnderTest, _cancelled: bool) -> None:
        decisions = await decide(subject, request, view)
        assert decisions == expected, f"before a call was cancelled: {expected}; after it: {decisions}"

    cancellation_sweep(run, operation, verify)


@KIT.clause("CANCEL-2", "schedule-is-a-checkpoint")
async def _cancel_checkpoint(subject: SchedulerUnderTest) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await decide(subject, asking(workload()), one(node()))
    assert scope.cancelled_caught, "schedule returned in a cancelled scope"


@KIT.clause("TASKS-1", "tasks-that-ask-at-once-get-what-they-would-get-alone")
async def _tasks_at_once(subject: SchedulerUnderTest) -> None:
    first = cluster(*(node(f"n{number}") for number in range(4)))
    requests = [asking(_numbered(number), slots=number + 1) for number in range(8)]
    history = [first]
    history.extend(history[-1].changed(removed=[each.node.id]) for each in list(first)[:2])
    views = [history[number % len(history)] for number in range(8)]
    alone = [await decide(subject, request, view) for request, view in zip(requests, views, strict=True)]
    together: dict[int, list[ScheduleDecision]] = {}

    async def ask(number: int) -> None:
        together[number] = await decide(subject, requests[number], views[number])

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(ask, number)
    for number, expected in enumerate(alone):
        assert together[number] == expected, f"alone: {expected}; while others ask: {together[number]}"


def _numbered(number: int) -> WorkloadDefinition:
    definition = workload(container(wants=resources(cpu=100 * number), ports=(tcp(8000 + number),)))
    metadata: Metadata = evolve(definition.metadata, name=f"web-{number}")
    return evolve(definition, metadata=metadata, placement=Placement())
