"""The capability `preemption`: where no node passes, instances of lower priority make room."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from orchestrion.conformance_kit import Runner
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    NoPlacement,
    PlacedInstance,
    Predicate,
    ScheduleDecision,
    SchedulerCapability,
    SchedulingRequest,
    node_view,
)
from orchestrion.shared_types import (
    DEFAULT_PRIORITY_CLASS,
    Device,
    GpuRequest,
    InstanceAffinity,
    InstanceKey,
    Resources,
    Topology,
    Uid,
)

from ._build import NEIGHBOUR, asking, cluster, container, neighbour, node, resources, sibling, tcp, workload
from ._kit import KIT, SchedulerUnderTest, asked, decide, expect_unbroken, for_all_situations, skip_without
from ._situations import Situation

PREEMPTION = SchedulerCapability.PREEMPTION
OTHER = Uid("01900000-0000-7000-8000-000000000003")

_PRIORITY = DEFAULT_PRIORITY_CLASS.value
"""That of the workload that asks."""
_TEN = resources(cpu=10)


def _low(index: int = 0, cpu: int = 5, priority: int = 10, **attributes: Any) -> PlacedInstance:
    """Return an instance that may be pushed out."""
    demand: Resources = attributes.pop("demand", resources(cpu=cpu))
    return neighbour(index, priority=priority, demand=demand, **attributes)


def _other(index: int = 0, **attributes: Any) -> PlacedInstance:
    """Return one of a third workload."""
    return evolve(_low(index, **attributes), key=InstanceKey(OTHER, index, 1), workload="other")


def _pushing(cpu: int = 5, slots: int = 1, **options: Any) -> SchedulingRequest:
    """Return a request that may push out others."""
    return asking(workload(container(wants=resources(cpu=cpu))), slots, preempt=True, **options)


Expected = tuple[str, list[PlacedInstance]] | None
"""A node, and who is pushed out there; None is a refusal."""


async def _expect(
    subject: SchedulerUnderTest, request: SchedulingRequest, view: ClusterView, *expected: Expected, rule: str
) -> list[ScheduleDecision]:
    decisions = await decide(subject, request, view)
    wanted = [each and (each[0], tuple(victim.key for victim in each[1])) for each in expected]
    got = [(each.node_id, each.victims) if isinstance(each, AssignNode) else None for each in decisions]
    assert got == wanted, f"asked for {asked(request, view)}: expected {wanted}, since {rule}; got {got}"
    return decisions


@KIT.clause("PREEMPT-1", "nobody-is-pushed-out-unless-the-request-says-so", requires=PREEMPTION)
async def _only_if_asked(subject: SchedulerUnderTest) -> None:
    low = _low(cpu=10)
    view = cluster(node_view(node(room=_TEN), [low]))
    await _expect(subject, _pushing(), view, ("n1", [low]), rule="the request may push out whom n1 holds")
    await _expect(subject, evolve(_pushing(), preempt=False), view, None, rule="the request may not push out anybody")


@KIT.clause("PREEMPT-1", "nobody-is-pushed-out-while-a-node-passes", requires=PREEMPTION)
async def _only_if_needed(subject: SchedulerUnderTest) -> None:
    low = _low(cpu=10)
    full = node_view(node("n1", room=_TEN), [low])
    view = cluster(full, node("n2", room=resources(cpu=5)))
    rule = "n2 has room for one, and whom n1 holds has to leave for the second"
    await _expect(subject, _pushing(slots=2), view, ("n2", []), ("n1", [low]), rule=rule)


@KIT.clause("PREEMPT-2", "only-lower-priority-is-pushed-out", requires=PREEMPTION)
async def _only_lower(subject: SchedulerUnderTest) -> None:
    equal, lower = _low(0, priority=_PRIORITY), _low(1, priority=_PRIORITY - 1)
    view = cluster(node_view(node(room=_TEN), [equal, lower]))
    await _expect(subject, _pushing(5), view, ("n1", [lower]), rule="instance 1 has a lower priority, 0 the same")
    await _expect(subject, _pushing(10), view, None, rule="instance 0 has the same priority")


@KIT.clause("PREEMPT-3", "a-workload-does-not-push-out-its-own", requires=PREEMPTION)
async def _not_its_own(subject: SchedulerUnderTest) -> None:
    own = sibling(9, demand=_TEN, priority=0)
    view = cluster(node_view(node(room=_TEN), [own]))
    await _expect(subject, _pushing(), view, None, rule="n1 holds the workload's own slot 9, of a lower priority")


@KIT.clause("PREEMPT-4", "whom-a-slot-has-to-be-near-stays", requires=PREEMPTION)
async def _not_its_company(subject: SchedulerUnderTest) -> None:
    skip_without(subject, SchedulerCapability.AFFINITY)
    wanted, other = _low(0, labels={"app": "db"}), _low(1, priority=20)
    view = cluster(node_view(node(room=_TEN), [wanted, other]))
    near = (InstanceAffinity(match_labels={"app": "db"}),)
    request = _pushing()
    definition = evolve(request.workload, placement=evolve(request.workload.placement, instance_affinities=near))
    rule = "instance 0 has the lower priority, but is whom the slot has to be near"
    await _expect(subject, evolve(request, workload=definition), view, ("n1", [other]), rule=rule)


@KIT.clause("PREEMPT-5", "a-budget-is-kept-over-all-slots", requires=PREEMPTION)
async def _budget(subject: SchedulerUnderTest) -> None:
    lows = [_low(index) for index in range(4)]
    view = cluster(node_view(node("n1", room=_TEN), lows[:2]), node_view(node("n2", room=_TEN), lows[2:]))
    rule = "2 of the workload may be ended"
    request = _pushing(slots=3, budgets={NEIGHBOUR: 2})
    decisions = await decide(subject, request, view)
    ended = [key for each in decisions if isinstance(each, AssignNode) for key in each.victims]
    placed = sum(isinstance(each, AssignNode) for each in decisions)
    assert (len(ended), placed) == (2, 2), f"{rule}, one for each slot; got {decisions}"
    for budget in (1, 0, -1):
        request = _pushing(10, budgets={NEIGHBOUR: budget})
        await _expect(subject, request, view, None, rule=f"2 would have to leave, and {budget} may")


@KIT.clause("PREEMPT-5", "who-is-not-in-the-budgets-may-be-ended", requires=PREEMPTION)
async def _no_budget(subject: SchedulerUnderTest) -> None:
    low, other = _low(0), _other(0, priority=20)
    view = cluster(node_view(node(room=_TEN), [low, other]))
    rule = "instance 0 of the first has no budget, and the other workload needs none"
    await _expect(subject, _pushing(budgets={NEIGHBOUR: 0}), view, ("n1", [other]), rule=rule)


@KIT.clause("PREEMPT-5", "a-budget-is-for-those-that-would-go-first", requires=PREEMPTION)
async def _budget_of_the_lowest(subject: SchedulerUnderTest) -> None:
    small, large = _low(0, cpu=2, priority=10), _low(1, cpu=8, priority=20)
    view = cluster(node_view(node(room=_TEN), [small, large]))
    rule = "one may be ended, which is the one with the lower priority"
    await _expect(subject, _pushing(2, budgets={NEIGHBOUR: 1}), view, ("n1", [small]), rule=rule)
    await _expect(subject, _pushing(8, budgets={NEIGHBOUR: 1}), view, None, rule=rule)


@KIT.clause("PREEMPT-6", "host-ports-are-got-by-pushing-out", requires=PREEMPTION)
async def _ports(subject: SchedulerUnderTest) -> None:
    holder = _low(0, host_ports=frozenset({tcp(80)}))
    idle = _low(1, priority=0)
    request = asking(workload(container(ports=(tcp(80),))), preempt=True)
    view = cluster(node_view(node(), [holder, idle]))
    await _expect(subject, request, view, ("n1", [holder]), rule="instance 0 holds the port")
    high = evolve(holder, priority=_PRIORITY)
    view = cluster(node_view(node(), [high, idle]))
    await _expect(subject, request, view, None, rule="who holds the port may not be pushed out")


@KIT.clause("PREEMPT-6", "devices-are-got-by-pushing-out", requires=PREEMPTION)
async def _devices(subject: SchedulerUnderTest) -> None:
    skip_without(subject, SchedulerCapability.DEVICES)
    devices = (Device(id="d0", model="T4"), Device(id="d1", model="A100"))
    low = [_low(0, priority=5, device_thousandths={"d0": 1000}), _low(1, device_thousandths={"d1": 300})]
    view = cluster(node_view(node(devices=devices), low))
    request = asking(workload(container(gpu=GpuRequest(count=1, model="A100"))), preempt=True)
    decisions = await _expect(subject, request, view, ("n1", [low[1]]), rule="instance 1 has a share of the only A100")
    expect_unbroken(Situation(request=request, view=cluster(*view)), decisions, subject.scheduler.capabilities, "")


@KIT.clause("PREEMPT-6", "whom-a-slot-has-to-keep-away-from-may-have-to-leave", requires=PREEMPTION)
async def _kept_away(subject: SchedulerUnderTest) -> None:
    skip_without(subject, SchedulerCapability.AFFINITY)
    away = (InstanceAffinity(match_labels={"app": "db"}, by="zone", anti=True),)
    request = asking(workload(instance_affinities=away), preempt=True)
    topology = Topology(zone="a")
    first, second = _low(0, labels={"app": "db"}), _low(1, labels={"app": "db"})
    here = node_view(node("n1", topology=topology), [first, _low(2, priority=0)])
    await _expect(subject, request, cluster(here), ("n1", [first]), rule="the slot has to keep away from instance 0")
    there = node_view(node("n2", topology=topology), [second])
    rule = "who leaves one node leaves the zone with another that the slot has to keep away from"
    await _expect(subject, request, cluster(here, there), None, rule=rule)


@KIT.clause("PREEMPT-6", "nothing-but-what-instances-hold-is-got-by-pushing-out", requires=PREEMPTION)
async def _nothing_else(subject: SchedulerUnderTest) -> None:
    full = [_low(cpu=10)]
    view = cluster(
        node_view(node("n1", room=_TEN, cordoned=True), full),
        node_view(node("n2", room=resources(cpu=9)), [_low(1, cpu=9)]),
        node_view(node("n3", room=_TEN), [_low(2, cpu=1), _low(3, cpu=9, priority=_PRIORITY)]),
    )
    rule = "n1 is cordoned, n2 is too small, and n3 holds one that stays"
    await _expect(subject, _pushing(10), view, None, rule=rule)


@KIT.clause("PREEMPT-7", "who-could-stay-stays", requires=PREEMPTION)
async def _minimal(subject: SchedulerUnderTest) -> None:
    lows = [_low(index, cpu=2) for index in range(5)]
    view = cluster(node_view(node(room=_TEN), lows))
    for cpu, leaving in ((1, lows[4:]), (4, lows[3:]), (5, lows[2:]), (10, lows)):
        rule = f"each has 2 of 10, {cpu} are asked for, and those with the highest keys leave"
        await _expect(subject, _pushing(cpu), view, ("n1", leaving), rule=rule)


@KIT.clause("PREEMPT-7", "higher-priority-stays-first", requires=PREEMPTION)
async def _by_priority(subject: SchedulerUnderTest) -> None:
    low, high = _low(0, cpu=2, priority=10), _low(1, cpu=8, priority=20)
    view = cluster(node_view(node(room=_TEN), [low, high]))
    await _expect(subject, _pushing(2), view, ("n1", [low]), rule="either would do, and 0 has the lower priority")
    await _expect(subject, _pushing(3), view, ("n1", [high]), rule="1 has to leave, and then 0 can stay")


@KIT.clause("PREEMPT-7", "of-the-same-priority-the-smaller-stay-first", requires=PREEMPTION)
async def _by_size(subject: SchedulerUnderTest) -> None:
    large, small = _low(0, cpu=5, grace_seconds=60), [_low(index, cpu=1) for index in range(1, 6)]
    view = cluster(node_view(node(room=_TEN), [large, *small]))
    await _expect(subject, _pushing(5), view, ("n1", [large]), rule="0 is as large as all others together")
    first = _low(0, demand=resources(cpu=40, memory=20))
    second = _low(1, demand=resources(cpu=30, memory=50), grace_seconds=60)
    view = cluster(node_view(node(room=resources(cpu=100, memory=100)), [first, second]))
    request = asking(workload(container(wants=resources(cpu=50, memory=40))), preempt=True)
    rule = "either would do; 1 has 50 % of the memory, 0 has 40 % of the cpu"
    await _expect(subject, request, view, ("n1", [second]), rule=rule)


@KIT.clause("PREEMPT-7", "of-the-same-size-the-longer-graces-stay-first", requires=PREEMPTION)
async def _by_grace(subject: SchedulerUnderTest) -> None:
    lows = [_low(0, grace_seconds=5), _low(1, grace_seconds=30)]
    view = cluster(node_view(node(room=_TEN), lows))
    await _expect(subject, _pushing(), view, ("n1", lows[:1]), rule="either would do, and 0 has the shorter grace")


@KIT.clause("PREEMPT-7", "victims-are-named-by-key", requires=PREEMPTION)
async def _in_order(subject: SchedulerUnderTest) -> None:
    lows = [_low(index, cpu=4 - index, priority=10 * index) for index in range(4)]
    view = cluster(node_view(node(room=_TEN), [*lows[2:], *lows[:2]]))
    await _expect(subject, _pushing(10), view, ("n1", lows), rule="all have to leave, and are named ascending by key")


async def _expect_first(
    subject: SchedulerUnderTest, better: list[PlacedInstance], worse: list[PlacedInstance], rule: str
) -> None:
    """Assert that of two nodes, with either name, the one with the better victims is taken."""
    view = cluster(node_view(node("n1", room=_TEN), better), node_view(node("n2", room=_TEN), worse))
    await _expect(subject, _pushing(10), view, ("n1", better), rule=rule)
    view = cluster(node_view(node("n1", room=_TEN), worse), node_view(node("n2", room=_TEN), better))
    await _expect(subject, _pushing(10), view, ("n2", better), rule=rule)


@KIT.clause("PREEMPT-8", "the-lowest-priorities-are-pushed-out-first", requires=PREEMPTION)
async def _lowest(subject: SchedulerUnderTest) -> None:
    better = [_low(0, priority=10, grace_seconds=60), _low(1, priority=10)]
    rule = "two with priority 10 are better to push out than one with 11"
    await _expect_first(subject, better, [_low(2, cpu=10, priority=11)], rule)


@KIT.clause("PREEMPT-8", "of-the-same-priority-the-fewest-are-pushed-out", requires=PREEMPTION)
async def _fewest(subject: SchedulerUnderTest) -> None:
    better = [_low(0, cpu=10, priority=10, grace_seconds=60)]
    rule = "one is better to push out than two that have no higher priority"
    await _expect_first(subject, better, [_low(1, priority=10), _low(2, priority=0)], rule)


@KIT.clause("PREEMPT-8", "of-as-many-those-with-the-shortest-graces-are-pushed-out", requires=PREEMPTION)
async def _shortest(subject: SchedulerUnderTest) -> None:
    better = [_low(0, grace_seconds=9), _low(1, grace_seconds=9)]
    rule = "a longest grace of 9 s is better than one of 10 s"
    await _expect_first(subject, better, [_low(2, grace_seconds=10), _low(3)], rule)


@KIT.clause("PREEMPT-9", "slots-after-it-get-what-a-victim-leaves", requires=PREEMPTION)
async def _left_over(subject: SchedulerUnderTest) -> None:
    large, small = _low(0, cpu=10, host_ports=frozenset({tcp(80)})), _low(1, cpu=5, priority=20)
    view = cluster(node_view(node("n1", room=_TEN), [large]), node_view(node("n2", room=resources(cpu=5)), [small]))
    rule = "who leaves n1 makes room for two, then n2 is next, and then nobody is left"
    await _expect(subject, _pushing(slots=4), view, ("n1", [large]), ("n1", []), ("n2", [small]), None, rule=rule)


@KIT.clause("PREEMPT-10", "a-gang-that-misses-its-minimum-pushes-nobody-out", requires=PREEMPTION)
async def _gang(subject: SchedulerUnderTest) -> None:
    skip_without(subject, SchedulerCapability.GANG)
    lows = [_low(0), _low(1)]
    view = cluster(node_view(node(room=_TEN), lows))
    gang = _pushing(slots=3, minimum=3)
    await _expect(subject, gang, view, None, None, None, rule="there is room for 2 at best, and 3 are wanted")
    expected: list[Expected] = [("n1", lows[1:]), ("n1", lows[:1])]
    await _expect(subject, evolve(gang, minimum=2), view, *expected, None, rule="2 of 3 are enough")


@KIT.clause("PREEMPT-11", "an-assignment-with-victims-is-explained-as-a-refusal", requires=PREEMPTION)
async def _explained(subject: SchedulerUnderTest) -> None:
    low = _low(cpu=8)
    view = cluster(node_view(node("n1", room=_TEN), [low]), node("n2", cordoned=True))
    request = _pushing(9, slots=2, explain=True)
    rule = "who holds 8 of 10 makes room for one"
    first, second = await _expect(subject, request, view, ("n1", [low]), None, rule=rule)
    for decision, free in ((first, 2), (second, 1)):
        explanation = decision.explanation
        assert explanation is not None, f"the request asks for explanations: {decision}"
        found = {group.predicate: (group.samples, group.best_free) for group in explanation.groups}
        expected = {Predicate.RESOURCE: (("n1",), free), Predicate.CORDONED: (("n2",), 0)}
        assert found == expected, f"n1 has {free} free before anybody leaves; told is {found}"
    told = first.explanation
    assert told is not None
    assert (told.closest, told.smallest_change, dict(told.scores)) == ((), (), {}), f"nothing has to change: {told}"
    assert isinstance(second, NoPlacement), second
    assert second.explanation.closest, f"a refusal names the closest nodes: {second}"


def _never_broken(run: Runner[SchedulerUnderTest], *clauses: str) -> None:
    def examine(
        situation: Situation, decisions: list[ScheduleDecision], abilities: frozenset[SchedulerCapability]
    ) -> None:
        expect_unbroken(situation, decisions, abilities, *clauses)

    for_all_situations(run, examine, crowded=True)


@KIT.property_clause("PREEMPT-1", "whoever-is-pushed-out-had-to-be", requires=PREEMPTION)
def _had_to_be(run: Runner[SchedulerUnderTest]) -> None:
    _never_broken(run, "PREEMPT-1")


@KIT.property_clause("PREEMPT-5", "nobody-is-pushed-out-who-may-not-be", requires=PREEMPTION)
def _may_be(run: Runner[SchedulerUnderTest]) -> None:
    _never_broken(run, "PREEMPT-2", "PREEMPT-3", "PREEMPT-4", "PREEMPT-5")


@KIT.property_clause("PREEMPT-6", "a-slot-is-refused-only-if-no-node-would-do", requires=PREEMPTION)
def _refused_only(run: Runner[SchedulerUnderTest]) -> None:
    _never_broken(run, "PREEMPT-6")


@KIT.property_clause("PREEMPT-7", "the-victims-are-those-that-can-not-stay", requires=PREEMPTION)
def _can_not_stay(run: Runner[SchedulerUnderTest]) -> None:
    _never_broken(run, "PREEMPT-7")


@KIT.property_clause("PREEMPT-8", "no-other-node-has-better-victims", requires=PREEMPTION)
def _no_better(run: Runner[SchedulerUnderTest]) -> None:
    _never_broken(run, "PREEMPT-8")


@KIT.property_clause("PREEMPT-9", "without-the-victims-every-slot-is-where-it-can-be", requires=PREEMPTION)
def _safe(run: Runner[SchedulerUnderTest]) -> None:
    _never_broken(run, "PREEMPT-9", "SAFE", "FULL", "DEVICE", "STAY")
