"""What the packing scheduler says of refusals is what a look at every node would say."""

from __future__ import annotations

import os

import pytest
import trio
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.scheduler_interface import (
    AssignNode,
    ChangeKind,
    ClusterView,
    Explanation,
    NodeView,
    NoPlacement,
    PlacedInstance,
    Predicate,
    ScheduleDecision,
    SchedulingRequest,
    StaticClusterView,
    explain,
    node_view,
    with_decisions,
)
from orchestrion.scheduler_packing import PackingScheduler
from orchestrion.scheduler_packing._core.fleet import Fleet
from orchestrion.scheduler_packing._core.verdicts import UNKNOWN, Verdicts, thousandths
from orchestrion.shared_types import (
    MAX_AMOUNT,
    ContainerConfig,
    Device,
    GpuRequest,
    InstanceKey,
    Metadata,
    Node,
    NodeId,
    NodeStatus,
    Placement,
    Resources,
    Spread,
    Taint,
    Topology,
    Uid,
    WorkloadDefinition,
    WorkloadKind,
)

from .packing_histories import History, after

SEEDS = int(os.environ.get("ORCHESTRION_SEEDS_OF_ORACLE", "1000"))
UID = Uid("01900000-0000-7000-8000-000000000001")


def a_workload(
    cpu: int = 10, placement: Placement | None = None, gpu: GpuRequest | None = None, **extended: int
) -> WorkloadDefinition:
    resources = Resources(cpu_millicores=cpu, extended=extended)
    return WorkloadDefinition(
        metadata=Metadata(name="web", uid=UID),
        kind=WorkloadKind.SERVICE,
        containers=(ContainerConfig(name="main", command=("true",), resources=resources, gpu=gpu),),
        placement=placement or Placement(),
    )


def a_node(number: int, cpu: int = 100) -> Node:
    room = Resources(cpu_millicores=cpu)
    return Node(id=NodeId(f"n{number}"), name=f"n{number}", capacity=room, allocatable=room)


def a_view(*nodes: Node) -> StaticClusterView:
    return StaticClusterView(node_view(node) for node in nodes)


def a_request(workload: WorkloadDefinition, *indexes: int, only_node: str | None = None) -> SchedulingRequest:
    slots = tuple(InstanceKey(workload.metadata.uid, index, 1) for index in indexes or (0,))
    return SchedulingRequest(workload=workload, slots=slots, only_node=None if only_node is None else NodeId(only_node))


def decided(scheduler: PackingScheduler, request: SchedulingRequest, view: ClusterView) -> list[ScheduleDecision]:
    return trio.run(scheduler.schedule, request, view)


def refused(scheduler: PackingScheduler, request: SchedulingRequest, view: ClusterView) -> Explanation:
    decision = decided(scheduler, request, view)[-1]
    assert isinstance(decision, NoPlacement)
    return decision.explanation


def by_look(request: SchedulingRequest, view: ClusterView) -> Explanation:
    return explain(request, view, capabilities=PackingScheduler().capabilities)


def without_scores(explanation: Explanation) -> Explanation:
    return evolve(explanation, scores={}, parts={})


class LookedAt(StaticClusterView):
    """Counts how often nodes are asked for."""

    looks = 0

    def __iter__(self):  # type: ignore[no-untyped-def]  # what the base says
        LookedAt.looks += len(self)
        return super().__iter__()

    def get(self, node_id: NodeId, /) -> NodeView | None:
        LookedAt.looks += 1
        return super().get(node_id)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_every_explanation_equals_that_of_a_look_at_all_nodes(block: int) -> None:
    async def compare() -> None:
        for seed in range(block, SEEDS, 10):
            history = History(seed)
            view = StaticClusterView(node_view(node) for node in history.nodes)
            scheduler = PackingScheduler()
            for step in history.steps():
                request = evolve(step.request, explain=True)
                decisions = await scheduler.schedule(request, view)
                held = {key for each in view for key in each.instances}
                for number, decision in enumerate(decisions):
                    if decision.slot in held:
                        continue
                    before = with_decisions(view, request.workload, decisions[:number])
                    expected = by_look(request, before)
                    assert decision.explanation is not None
                    assert without_scores(decision.explanation) == expected, f"seed {seed}: {request}"
                view = after(with_decisions(view, request.workload, decisions), step)

    trio.run(compare)


def test_the_words_of_two_spreads_that_read_the_same_count_a_node_once() -> None:
    both = evolve(a_node(0), labels={"a": "b=c", "a=b": "c"})
    other = evolve(a_node(1, cpu=5), labels={"a": "x", "a=b": "y"})
    spreads = (Spread(by="a", required=True), Spread(by="a=b", required=True))
    workload = a_workload(placement=Placement(spreads=spreads))
    there = PlacedInstance(key=InstanceKey(UID, 7, 1), namespace="default", workload="web")
    view = StaticClusterView([node_view(both, [there]), node_view(other)])
    explanation = refused(PackingScheduler(), a_request(workload), view)
    assert [(group.detail, group.node_count) for group in explanation.groups] == [("", 1), ("a=b=c", 1)]
    assert explanation == by_look(a_request(workload), view)


def test_of_more_nodes_than_are_named_the_lowest_are_samples() -> None:
    nodes = [evolve(a_node(number), taints=(Taint("old" if number % 2 else "gpu"),)) for number in range(9)]
    request = a_request(a_workload(cpu=200, licence=1))
    view = a_view(*nodes)
    explanation = refused(PackingScheduler(), request, view)
    assert explanation == by_look(request, view)
    assert explanation.groups[0].samples == ("n0", "n1", "n2", "n3", "n4")
    assert explanation.closest == ("n0", "n1", "n2")


def test_who_asks_again_on_the_same_view_gets_the_same_explanation() -> None:
    scheduler, view = PackingScheduler(), a_view(a_node(0), a_node(1))
    request = a_request(a_workload(cpu=200))
    first = refused(scheduler, request, view)
    assert refused(scheduler, evolve(request, slots=(InstanceKey(UID, 5, 1),)), view) is first


def test_a_refusal_after_places_is_not_taken_for_one_without() -> None:
    scheduler, view = PackingScheduler(), a_view(a_node(0))
    workload = a_workload(cpu=60)
    several = a_request(workload, 0, 1)
    first, second = decided(scheduler, several, view)
    assert isinstance(first, AssignNode)
    assert isinstance(second, NoPlacement)
    assert second.explanation.groups[0].best_free == 40
    assert isinstance(decided(scheduler, a_request(workload), view)[0], AssignNode)
    assert decided(scheduler, several, view) == [first, second]


def test_a_refusal_on_one_node_is_not_taken_for_one_on_all() -> None:
    scheduler, view = PackingScheduler(), a_view(a_node(0, cpu=5), a_node(1))
    request = a_request(a_workload(), only_node="n0")
    assert refused(scheduler, request, view).closest == ("n0",)
    assert refused(scheduler, evolve(request, only_node=NodeId("n7")), view) == by_look(
        evolve(request, only_node=NodeId("n7")), view
    )
    assert isinstance(decided(scheduler, evolve(request, only_node=None), view)[0], AssignNode)


def test_a_later_view_is_explained_anew() -> None:
    scheduler, view = PackingScheduler(), a_view(a_node(0, cpu=5), a_node(1, cpu=5))
    request = a_request(a_workload())
    refused(scheduler, request, view)
    for change in (
        {"cordoned": True},
        {"cordoned": False, "taints": (Taint("gpu"),)},
        {"taints": (), "status": NodeStatus.DOWN},
        {"status": NodeStatus.READY},
    ):
        before = view.get(NodeId("n1"))
        assert before is not None
        view = view.changed(evolve(before, node=evolve(before.node, **change)))
        assert refused(scheduler, request, view) == by_look(request, view)
    assert isinstance(decided(scheduler, request, view.changed(node_view(a_node(1))))[0], AssignNode)


def test_devices_that_are_given_back_are_seen() -> None:
    gpus = tuple(Device(id=f"gpu{number}") for number in range(2))
    node = evolve(a_node(0), devices=gpus)
    scheduler, view = PackingScheduler(), a_view(node, evolve(a_node(1), devices=gpus[:1]))
    request = a_request(a_workload(gpu=GpuRequest(count=2)), 0, 1)
    placed, missing = decided(scheduler, request, view)
    assert isinstance(placed, AssignNode)
    assert isinstance(missing, NoPlacement)
    assert missing.explanation.groups[0].node_count == 2
    three = a_request(a_workload(gpu=GpuRequest(count=3)))
    assert refused(scheduler, three, view) == by_look(three, view)
    assert decided(scheduler, request, view) == [placed, missing]


def test_an_assignment_is_not_explained_unasked() -> None:
    (decision,) = decided(PackingScheduler(), a_request(a_workload()), a_view(a_node(0), a_node(1, cpu=5)))
    assert isinstance(decision, AssignNode)
    assert decision.explanation is None


def test_a_refusal_asks_the_view_for_no_node_again() -> None:
    scheduler = PackingScheduler()
    view = LookedAt(node_view(evolve(a_node(number), topology=Topology(zone="ab"[number % 2]))) for number in range(50))
    refused(scheduler, a_request(a_workload(cpu=200)), view)
    LookedAt.looks = 0
    spread = Placement(spreads=(Spread(by="zone", required=True),))
    assert refused(scheduler, a_request(a_workload(cpu=300, placement=spread)), view).nodes_considered == 50
    assert LookedAt.looks == 0


@pytest.mark.parametrize("free", [1, MAX_AMOUNT // 1000, MAX_AMOUNT // 2, MAX_AMOUNT - 1])
def test_margins_near_the_largest_amount_are_exact(free: int) -> None:
    view = a_view(a_node(0, cpu=free), a_node(1, cpu=max(0, free - 2**50)))
    request = a_request(a_workload(cpu=MAX_AMOUNT))
    explanation = refused(PackingScheduler(), request, view)
    assert explanation == by_look(request, view)
    (step,) = explanation.smallest_change
    assert (step.kind, step.node_id, step.amount) == (ChangeKind.LOWER_REQUEST, "n0", free)


@given(st.integers(1, MAX_AMOUNT).flatmap(lambda whole: st.tuples(st.integers(0, whole), st.just(whole))))
def test_thousandths_are_exact_for_all_amounts(amounts: tuple[int, int]) -> None:
    part, whole = amounts
    assert thousandths(part, whole) == part * 1000 // whole


@pytest.mark.parametrize("changes", [3, 5000])
def test_verdicts_on_what_has_changed_are_forgotten_however_much_has(changes: int) -> None:
    fleet = Fleet(10, 3)
    fleet.touch(9)
    column = Verdicts(10)
    for position in range(10):
        column.of[position] = 0
    since = fleet.changes
    for number in range(changes):
        fleet.touch(number % 3)
    column.forget_changed(fleet, since)
    assert [column.of[position] == UNKNOWN for position in range(3)] == [True] * 3
    assert (column.of[9] == UNKNOWN) == (changes > 100)


@pytest.mark.slow
def test_a_node_that_fails_for_ten_thousand_reasons_is_explained() -> None:
    taints = tuple(Taint(f"taint{number}") for number in range(10_000))
    request, view = a_request(a_workload()), a_view(evolve(a_node(0), taints=taints))
    explanation = refused(PackingScheduler(), request, view)
    assert len(explanation.groups) == len(explanation.smallest_change) == 10_000
    assert {group.predicate for group in explanation.groups} == {Predicate.TAINT}
    assert explanation == by_look(request, view)
