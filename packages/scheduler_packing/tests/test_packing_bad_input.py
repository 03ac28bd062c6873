"""What is absurd, contradictory or too much has a defined outcome."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import trio
from attrs import evolve
from orchestrion.scheduler_interface import (
    AssignNode,
    ChangeKind,
    ClusterView,
    Explanation,
    FullScanScheduler,
    InvalidSchedulingRequest,
    NoPlacement,
    Predicate,
    ScheduleDecision,
    SchedulingRequest,
    StaticClusterView,
    node_view,
    with_decisions,
)
from orchestrion.scheduler_packing import PackingLedger, PackingScheduler
from orchestrion.scheduler_packing._profile import ProfileName
from orchestrion.shared_types import (
    MAX_AMOUNT,
    ContainerConfig,
    Device,
    Expression,
    GpuRequest,
    InstanceAffinity,
    InstanceKey,
    Metadata,
    Node,
    NodeId,
    Operator,
    Placement,
    Resources,
    Spread,
    Taint,
    TaintEffect,
    Toleration,
    Topology,
    Uid,
    WorkloadDefinition,
    WorkloadKind,
)

UID = Uid("01900000-0000-7000-8000-000000000001")
MANY = 10_000


def a_workload(
    cpu: int = 10, *, containers: int = 1, gpu: GpuRequest | None = None, **placement: object
) -> WorkloadDefinition:
    return WorkloadDefinition(
        metadata=Metadata(name="web", uid=UID, labels={"app": "web"}),
        kind=WorkloadKind.SERVICE,
        containers=tuple(
            ContainerConfig(
                name=f"c{each}", command=("true",), resources=Resources(cpu_millicores=cpu, memory_bytes=cpu), gpu=gpu
            )
            for each in range(containers)
        ),
        placement=Placement(**placement),  # type: ignore[arg-type]  # each test gives what it is about
    )


def a_node(number: int = 0, amount: int = 100, zone: str = "") -> Node:
    room = Resources(cpu_millicores=amount, memory_bytes=amount)
    return Node(
        id=NodeId(f"n{number}"), name=f"n{number}", capacity=room, allocatable=room, topology=Topology(zone=zone)
    )


def a_view(*nodes: Node) -> StaticClusterView:
    return StaticClusterView(node_view(node) for node in nodes)


def a_request(workload: WorkloadDefinition, slots: int = 1, minimum: int = 0) -> SchedulingRequest:
    keys = tuple(InstanceKey(UID, index, 1) for index in range(slots))
    return SchedulingRequest(workload=workload, slots=keys, minimum=minimum)


def decide(
    request: SchedulingRequest, view: ClusterView, scheduler: PackingScheduler | FullScanScheduler | None = None
) -> list[ScheduleDecision]:
    return trio.run((scheduler or PackingScheduler()).schedule, request, view)


def places(decisions: list[ScheduleDecision]) -> list[str | None]:
    return [decision.node_id if isinstance(decision, AssignNode) else None for decision in decisions]


def why_not(decisions: list[ScheduleDecision]) -> Explanation:
    decision = decisions[-1]
    assert isinstance(decision, NoPlacement)
    return decision.explanation


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


# -- amounts


def test_containers_that_ask_for_more_in_all_than_can_be_counted_are_refused_by_name() -> None:
    request = a_request(a_workload(MAX_AMOUNT // 2 + 1, containers=2))
    with pytest.raises(InvalidSchedulingRequest, match="workload 'web' ask for more in all than can be counted"):
        decide(request, a_view(a_node()))
    ledger = PackingLedger([a_node()])
    with pytest.raises(InvalidSchedulingRequest, match="workload 'web' ask for more in all than can be counted"):
        ledger.place([a_request(a_workload(cpu=100)), request])
    assert ledger.place([a_request(a_workload(cpu=100))]).node_ids == ["n0"]


def test_the_largest_node_is_filled_to_the_last_unit() -> None:
    view = a_view(a_node(0, MAX_AMOUNT), a_node(1, MAX_AMOUNT - 1))
    halves = a_request(a_workload(MAX_AMOUNT // 2), 5)
    decisions = decide(halves, view)
    assert places(decisions) == ["n0", "n0", "n1", "n1", None]
    margins = [(each.node_count, each.needed, each.best_free) for each in why_not(decisions).groups]
    assert margins == [(2, MAX_AMOUNT // 2, 1)] * 2
    ledger = PackingLedger([a_node(0, MAX_AMOUNT), a_node(1, MAX_AMOUNT - 1)])
    assert ledger.place([halves]).node_ids == ["n0", "n0", "n1", "n1", None]


def test_more_devices_than_can_be_counted_are_more_than_there_are() -> None:
    request = a_request(a_workload(containers=3, gpu=GpuRequest(count=MAX_AMOUNT)))
    for scheduler in (PackingScheduler(), PackingScheduler(profile="gpu")):
        explanation = why_not(decide(request, a_view(a_node()), scheduler))
        assert {group.predicate for group in explanation.groups} == {Predicate.DEVICE}


def test_a_skew_beyond_all_numbers_refuses_nothing() -> None:
    workload = a_workload(spreads=(Spread(by="node", required=True, max_skew=2**70),))
    assert places(decide(a_request(workload, 3), a_view(a_node()))) == ["n0"] * 3


def test_what_no_node_has_any_of_gets_no_place_whatever_else_binds_it() -> None:
    workload = a_workload(
        spreads=(Spread(by="node"),), instance_affinities=(InstanceAffinity(match_labels={"app": "web"}, by="node"),)
    )
    (container,) = workload.containers
    licensed = evolve(container, resources=evolve(container.resources, extended={"licence": 1}))
    request = a_request(evolve(workload, containers=(licensed,)), 2)
    assert places(decide(request, a_view(a_node()))) == [None, None]
    assert PackingLedger([a_node()]).place([request]).node_ids == [None, None]


# -- what contradicts itself, and what there is not


def test_a_topology_that_no_node_is_in_refuses_where_it_is_required() -> None:
    view = a_view(a_node())
    required = a_workload(spreads=(Spread(by="nowhere", required=True),))
    assert [group.detail for group in why_not(decide(a_request(required), view)).groups] == ["nowhere=none"]
    preferred = a_workload(spreads=(Spread(by="nowhere"),))
    assert places(decide(a_request(preferred), view)) == ["n0"]


def test_slots_that_are_to_be_together_and_apart_get_one_place() -> None:
    both = tuple(InstanceAffinity(match_labels={"app": "web"}, by="zone", anti=anti) for anti in (False, True))
    view = a_view(a_node(0, zone="a"), a_node(1, zone="b"))
    decisions = decide(a_request(a_workload(instance_affinities=both), 2), view)
    assert places(decisions) == ["n0", None]
    explanation = why_not(decisions)
    assert [group.detail for group in explanation.groups] == ["app=web in zone=a", "no app=web in zone=b"]
    assert explanation.smallest_change == ()


def test_who_is_to_be_with_others_and_away_from_them_gets_no_place_and_no_advice() -> None:
    both = tuple(InstanceAffinity(match_labels={"app": "db"}, by="zone", anti=anti) for anti in (False, True))
    explanation = why_not(decide(a_request(a_workload(instance_affinities=both)), a_view(a_node(zone="a"))))
    assert [group.detail for group in explanation.groups] == ["no app=db in zone=a"]
    assert explanation.smallest_change == ()


def test_a_gang_larger_than_the_cluster_gets_nothing() -> None:
    request = a_request(a_workload(), 1000, minimum=1000)
    decisions = decide(request, a_view(a_node()))
    assert places(decisions) == [None] * 1000
    ledger = PackingLedger([a_node()])
    assert ledger.place([request], minimum=1000).placed_count == 0
    assert ledger.place([a_request(a_workload(), 1000)]).placed_count == 10


def test_an_empty_cluster_refuses_and_asks_for_a_node() -> None:
    explanation = why_not(decide(a_request(a_workload()), a_view()))
    assert (explanation.groups, explanation.closest, explanation.nodes_considered) == ((), (), 0)
    assert {step.kind for step in explanation.smallest_change} == {ChangeKind.ADD_NODE}
    assert PackingLedger().place([a_request(a_workload())]).node_ids == [None]


# -- more than is usual


@pytest.mark.slow
def test_ten_thousand_tolerations_of_ten_thousand_taints_cost_no_product_of_them() -> None:
    taints = tuple(Taint(f"k{number}") for number in range(MANY))
    disliked = tuple(evolve(taint, effect=TaintEffect.PREFER_NO_SCHEDULE) for taint in taints)
    view = a_view(evolve(a_node(0), taints=taints), evolve(a_node(1), taints=disliked))
    matching = tuple(Toleration(key=taint.key) for taint in reversed(taints))
    assert places(decide(a_request(a_workload(tolerations=matching)), view)) == ["n0"]
    others = a_request(a_workload(tolerations=tuple(Toleration(key=f"x{number}") for number in range(MANY))))
    assert cpu_seconds(lambda: decide(others, view)) < 2
    (decision,) = decide(evolve(others, explain=True), view)
    assert places([decision]) == ["n1"]
    explained = decision.explanation
    assert explained is not None
    assert len(explained.groups) == MANY


@pytest.mark.slow
def test_ten_thousand_expressions_on_ten_thousand_labels_are_decided() -> None:
    labels = {f"k{number}": "" for number in range(MANY)}
    expressions = tuple(Expression(key=key, operator=Operator.EXISTS) for key in labels)
    view = a_view(evolve(a_node(0), labels=labels), evolve(a_node(1), labels={**labels, "k7": ""}), a_node(2))
    request = a_request(a_workload(expressions=expressions), 21)
    decisions = decide(request, view)
    assert places(decisions) == ["n0"] * 10 + ["n1"] * 10 + [None]
    assert len(why_not(decisions).groups) == MANY + 2


@pytest.mark.slow
def test_ten_thousand_topologies_cost_no_square_of_them() -> None:
    request = a_request(a_workload(spreads=tuple(Spread(by=f"t{number}") for number in range(MANY))), 2)
    assert cpu_seconds(lambda: decide(request, a_view(a_node()))) < 2


@pytest.mark.slow
def test_of_a_hundred_thousand_slots_those_with_room_get_places() -> None:
    decisions = decide(a_request(a_workload(), 100_000), a_view(a_node(0), a_node(1, 900_000)))
    assert places(decisions) == ["n0"] * 10 + ["n1"] * 90_000 + [None] * 9_990
    assert len({id(decision.explanation) for decision in decisions[90_010:]}) == 1


@pytest.mark.parametrize("topologies", range(3, 12))
def test_nodes_are_told_apart_by_the_domains_of_any_number_of_topologies(topologies: int) -> None:
    """The first topology has the fewest domains, and the nodes agree in the others but for the last one."""
    keys = [f"t{number:02}" for number in range(topologies)]
    labels = [
        {**dict.fromkeys(keys, "same"), "t00": "a"},
        {**dict.fromkeys(keys, "same"), "t00": "b"},
        {**dict.fromkeys(keys, "other"), "t00": "a"},
        {**dict.fromkeys(keys, "third"), "t00": "b"},
    ]
    view = a_view(*(evolve(a_node(number), labels=each) for number, each in enumerate(labels)))
    for required in (False, True):
        spreads = tuple(Spread(by=key, required=required and key == "t00") for key in keys)
        request = a_request(a_workload(spreads=spreads), 12)
        assert decide(request, view) == decide(request, view, FullScanScheduler())


# -- clusters that change under the scheduler


def test_a_node_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="node 'n0' is in the view twice"):
        a_view(a_node(), a_node())
    with pytest.raises(ValueError, match="node 'n0' is in the view twice"):
        PackingLedger([a_node(), a_node()])


def test_what_was_held_on_a_node_that_vanished_gets_another_place() -> None:
    scheduler, request = PackingScheduler(), a_request(a_workload(), 2)
    view = a_view(a_node(0), a_node(1))
    first = decide(request, view, scheduler)
    assert places(first) == ["n0", "n0"]
    held = with_decisions(view, request.workload, first)
    assert places(decide(request, held.changed(removed=[NodeId("n0")]), scheduler)) == ["n1", "n1"]
    assert places(decide(request, held, scheduler)) == ["n0", "n0"]


def test_views_whose_revisions_go_back_are_decided_as_if_each_was_the_first() -> None:
    scheduler, request = PackingScheduler(), a_request(a_workload(), 12)
    first = a_view(a_node(0), a_node(1))
    second = first.changed(node_view(a_node(0, 5)))
    third = second.changed(node_view(a_node(2, 30)), removed=[NodeId("n1")])
    for view in (third, first, second, first, third, second):
        assert decide(request, view, scheduler) == decide(request, view)


def test_a_slot_far_beyond_all_others_is_a_slot() -> None:
    key = InstanceKey(UID, 2**80, 2**70)
    request = SchedulingRequest(workload=a_workload(), slots=(key,))
    view = a_view(a_node())
    (decision,) = decide(request, view)
    assert (decision.slot, places([decision])) == (key, ["n0"])
    held = with_decisions(view, request.workload, [decision])
    assert places(decide(request, held)) == ["n0"]


@pytest.mark.parametrize("profile", ["binpack", "gpu"])
@pytest.mark.parametrize("spreads", [(), (Spread(by="node"),)])
def test_an_epoch_that_the_ledger_cannot_keep_takes_nothing(profile: ProfileName, spreads: tuple[Spread, ...]) -> None:
    ledger = PackingLedger([evolve(a_node(), devices=(Device(id="gpu0"),))], profile=profile)
    workload = a_workload(spreads=spreads)
    far, high = InstanceKey(UID, 2**80, 1), InstanceKey(UID, 1, 2**31)
    request = SchedulingRequest(workload=workload, slots=(far, high))
    with pytest.raises(InvalidSchedulingRequest, match="is not below 2147483648"):
        ledger.place([request])
    assert ledger.node_of(far) is None
    assert ledger.node_of(high) is None
    assert ledger.release([high, far]) == 0
    assert ledger.place([a_request(workload, 20)]).placed_count == 10
