"""The ledger decides as the scheduler does, keeps what it decided, and gives it up by key alone."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from orchestrion.scheduler_interface import (
    AssignNode,
    InvalidSchedulingRequest,
    SchedulingRequest,
    StaticClusterView,
    explain,
    node_view,
    with_decisions,
)
from orchestrion.scheduler_packing import PackingLedger, PackingScheduler
from orchestrion.scheduler_packing._core.books import MAX_EPOCHS, MAX_LOTS, Places, number_from
from orchestrion.shared_types import (
    MAX_AMOUNT,
    ContainerConfig,
    GpuRequest,
    InstanceKey,
    Node,
    Placement,
    Resources,
    Spread,
    Taint,
    Toleration,
    WorkloadDefinition,
)

from .packing_builders import a_node, a_workload


def asking(workload: WorkloadDefinition, *indexes: int, epoch: int = 1, minimum: int = 0) -> SchedulingRequest:
    slots = tuple(InstanceKey(workload.metadata.uid, index, epoch) for index in indexes)
    return SchedulingRequest(workload=workload, slots=slots, minimum=minimum)


PLACEMENTS = st.sampled_from(
    [
        Placement(),
        Placement(spreads=(Spread(by="zone"),)),
        Placement(spreads=(Spread(by="node", required=True),)),
        Placement(spreads=(Spread(by="zone", required=True), Spread(by="node"))),
        Placement(select={"zone": "a"}),
        Placement(tolerations=(Toleration(key="gpu"),)),
    ]
)
GPUS = st.sampled_from([None, None, None, GpuRequest(count=1), GpuRequest(thousandths=300)])


@st.composite
def clusters(draw: st.DrawFn) -> list[Node]:
    return [
        a_node(
            f"n{number}",
            draw(st.integers(1, 30)),
            1000,
            zone=draw(st.sampled_from(["", "a", "b"])),
            gpus=draw(st.integers(0, 2)),
            taints=draw(st.sampled_from([(), (), (Taint("gpu"),)])),
        )
        for number in range(draw(st.integers(1, 8)))
    ]


@st.composite
def streams(draw: st.DrawFn) -> list[SchedulingRequest]:
    workloads = [
        a_workload(
            number,
            cpu=draw(st.integers(0, 9)),
            memory=draw(st.integers(0, 300)),
            placement=draw(PLACEMENTS),
            port=draw(st.sampled_from([None, None, 80])),
            gpu=draw(GPUS),
        )
        for number in range(draw(st.integers(1, 4)))
    ]
    chosen = draw(st.lists(st.tuples(st.sampled_from(workloads), st.integers(1, 4), st.integers(0, 4)), max_size=10))
    return [
        asking(workload, *range(4 * at, 4 * at + count), minimum=min(count, minimum))
        for at, (workload, count, minimum) in enumerate(chosen)
    ]


@pytest.mark.slow
@settings(max_examples=200)
@given(clusters(), streams())
def test_a_ledger_decides_as_the_scheduler_does_on_views_that_are_kept(
    nodes: list[Node], requests: list[SchedulingRequest]
) -> None:
    ledger, scheduler = PackingLedger(nodes), PackingScheduler()
    view = StaticClusterView(node_view(node) for node in nodes)
    for request in requests:
        decisions = trio.run(scheduler.schedule, request, view)
        expected = [decision if isinstance(decision, AssignNode) else None for decision in decisions]
        assert list(ledger.place([request])) == expected
        view = with_decisions(view, request.workload, decisions)


@pytest.mark.slow
@settings(max_examples=100)
@given(clusters(), streams())
def test_a_ledger_explains_as_a_look_at_all_nodes_of_a_view_that_is_kept(
    nodes: list[Node], requests: list[SchedulingRequest]
) -> None:
    ledger, capabilities = PackingLedger(nodes), PackingScheduler().capabilities
    view = StaticClusterView(node_view(node) for node in nodes)
    for request in requests:
        assert ledger.explain(request) == explain(request, view, capabilities=capabilities)
        decisions = [decision for decision in ledger.place([request]) if decision is not None]
        view = with_decisions(view, request.workload, decisions)
    leaving = [slot for request in requests for slot in request.slots][::2]
    ledger.release(leaving)
    staying = [[held for key, held in each.instances.items() if key not in leaving] for each in view]
    rest = StaticClusterView(node_view(each.node, held) for each, held in zip(view, staying, strict=True))
    for request in requests:
        assert ledger.explain(request) == explain(request, rest, capabilities=capabilities)


@pytest.mark.slow
@settings(max_examples=100)
@given(clusters(), streams(), st.data())
def test_what_is_released_by_key_alone_is_free_again(
    nodes: list[Node], requests: list[SchedulingRequest], data: st.DataObject
) -> None:
    ledger = PackingLedger(nodes)
    first = ledger.place(requests).node_ids
    keys = [slot for request in requests for slot in request.slots]
    leaving = data.draw(st.permutations(keys))
    assert ledger.release(leaving) == sum(node_id is not None for node_id in first)
    assert [ledger.node_of(key) for key in keys] == [None] * len(keys)
    assert ledger.release(leaving) == 0
    assert ledger.place(requests).node_ids == first


def test_an_incarnation_asked_for_again_keeps_its_place() -> None:
    ledger = PackingLedger([a_node("a", 10), a_node("b", 10)])
    web = a_workload(1, cpu=6)
    assert ledger.place([asking(web, 0, 1), asking(web, 1, 0)]).node_ids == ["a", "b", "b", "a"]
    assert ledger.place([asking(web, 0, epoch=2)]).node_ids == [None]


def test_all_or_none_get_a_place_where_a_minimum_is_asked_for() -> None:
    ledger = PackingLedger([a_node("a", 10), a_node("b", 10)])
    web = a_workload(1, cpu=4)
    assert ledger.place([asking(web, 0)]).node_ids == ["a"]
    assert ledger.place([asking(web, *range(6))], minimum=6).node_ids == ["a", None, None, None, None, None]
    assert ledger.place([asking(web, *range(6))], minimum=4).node_ids == ["a", "a", "b", "b", None, None]


@pytest.mark.parametrize(
    "wants",
    [
        {"cpu": 4},
        {"cpu": 4, "placement": Placement(spreads=(Spread(by="node"),))},
        {"cpu": 4, "gpu": GpuRequest(thousandths=500)},
    ],
)
def test_a_requests_minimum_is_kept_whatever_comes_of_the_others(wants: dict[str, Any]) -> None:
    ledger = PackingLedger([a_node("a", 10, gpus=1)])
    few, db = a_workload(1, **wants), a_workload(2, cpu=2)
    refused, placed = asking(few, *range(4), minimum=4), asking(db, *range(3), minimum=2)
    assert ledger.place([refused, placed]).node_ids == [None] * 4 + ["a"] * 3
    assert ledger.release(placed.slots) == 3
    assert ledger.place([asking(few, 0), asking(few, 1, 0, 2, minimum=3)]).node_ids == ["a", None, "a", None]
    assert ledger.place([asking(few, 1, 0, 2, minimum=2)]).node_ids == ["a", "a", None]
    assert ledger.release(refused.slots) == 2


@pytest.mark.parametrize("minimum", [-1, 3])
def test_a_minimum_that_cannot_be_meant_leaves_no_place_taken(minimum: int) -> None:
    ledger, web = PackingLedger([a_node("a", 10)]), a_workload(1, cpu=1)
    with pytest.raises(InvalidSchedulingRequest, match=f"{minimum} of the 2 slots of workload 'w1'"):
        ledger.place([asking(web, 0), asking(web, 1, 2, minimum=minimum)])
    assert ledger.release(asking(web, 0, 1, 2).slots) == 0


def test_a_request_that_is_wrong_leaves_no_place_taken() -> None:
    ledger = PackingLedger([a_node("a", 10)])
    web, db = a_workload(1, cpu=1), a_workload(2, cpu=1)
    for workload in (web, a_workload(3, cpu=1, placement=Placement(spreads=(Spread(),)))):
        strangers = SchedulingRequest(workload=workload, slots=(InstanceKey(db.metadata.uid, 0, 1),))
        with pytest.raises(InvalidSchedulingRequest, match="does not belong to the workload"):
            ledger.place([asking(web, 0), asking(workload, 5), strangers])
        assert ledger.node_of(InstanceKey(web.metadata.uid, 0, 1)) is None
        assert ledger.place([asking(workload, *range(10))]).placed_count == 10
        assert ledger.release(asking(workload, *range(10)).slots) == 10


def test_more_than_can_be_counted_is_refused() -> None:
    half = ContainerConfig(name="main", command=("true",), resources=Resources(memory_bytes=MAX_AMOUNT))
    web = a_workload(1)
    too_much = WorkloadDefinition(
        metadata=web.metadata,
        kind=web.kind,
        containers=(half, ContainerConfig(name="b", command=("true",), resources=half.resources)),
    )
    ledger = PackingLedger([a_node("a", 10)])
    ledger.place([asking(web, 0)])
    with pytest.raises(InvalidSchedulingRequest):
        ledger.place([asking(too_much, 1)])


def test_an_epoch_beyond_what_is_told_apart_is_refused() -> None:
    web = a_workload(1)
    ledger = PackingLedger([a_node("a", 10)])
    assert ledger.place([asking(web, 0, epoch=2**31 - 1)]).node_ids == ["a"]
    with pytest.raises(InvalidSchedulingRequest, match="the epoch of"):
        ledger.place([asking(web, 0, epoch=2**31)])


@given(
    indexes=st.lists(st.sampled_from([0, 1, 2**30, 2**31 - 1, 2**31, 2**31 + 1, 2**62, 2**63]) | st.integers(0, 2**70)),
    epochs=st.lists(st.sampled_from([1, 2, MAX_EPOCHS - 1]) | st.integers(1, MAX_EPOCHS - 1)),
)
def test_no_two_incarnations_have_the_same_number(indexes: list[int], epochs: list[int]) -> None:
    keys = {(index, epoch) for index in indexes for epoch in epochs}
    assert len({number_from(index, epoch) for index, epoch in keys}) == len(keys)


def test_a_slot_asked_for_twice_in_one_request_holds_one_place() -> None:
    ledger, web = PackingLedger([a_node("a", 300)]), a_workload(1, cpu=100)
    assert ledger.place([asking(web, 0, 0, 1, 0, 2**31, 1, 5)]).node_ids == ["a", "a", "a", "a", "a", "a", None]
    assert ledger.release(asking(web, 0, 1, 2**31).slots) == 3


def test_devices_are_granted_and_come_back() -> None:
    ledger = PackingLedger([a_node("a", 10, gpus=1)])
    share = a_workload(1, gpu=GpuRequest(thousandths=600))
    placements = ledger.place([asking(share, 0, 1)])
    first = placements[0]
    assert first is not None
    assert first.device_thousandths == {"a-gpu0": 600}
    assert first.devices == {"main": ("a-gpu0",)}
    assert placements[1] is None
    assert ledger.release(asking(share, 0).slots) == 1
    assert ledger.place([asking(share, 1)]).node_ids == ["a"]


@given(st.lists(st.tuples(st.sampled_from(["put", "pop", "get"]), st.integers(0, 4), st.integers(0, 99)), max_size=30))
def test_the_places_of_a_workload_are_kept_as_in_a_table(steps: list[tuple[str, int, int]]) -> None:
    places, expected = Places(), dict[int, int]()
    for what, number, where in steps:
        if what == "put" and number not in expected:
            places.put(number, where)
            expected[number] = where
        elif what == "pop":
            assert places.pop(number) == expected.pop(number, -1)
        assert places.get(number) == expected.get(number, -1)
        assert sorted(places.all_of()) == sorted(expected.values())


@pytest.mark.slow
def test_a_workload_that_is_forgotten_leaves_the_places_of_another_with_its_id_alone() -> None:
    ledger = PackingLedger([a_node("n1", 10)])
    first, second = a_workload(0, cpu=1), a_workload(0, cpu=2)
    ledger.place([asking(first, 0), asking(second)])
    ledger.release([InstanceKey(first.metadata.uid, 0, 1)])
    for _ in range(MAX_LOTS - 1):
        ledger.place([asking(a_workload(1))])
    (placed,) = ledger.place([asking(second, 1)]).node_ids
    assert ledger.node_of(InstanceKey(second.metadata.uid, 1, 1)) == placed == "n1"
    assert ledger.release([InstanceKey(second.metadata.uid, 1, 1)]) == 1


def test_a_workload_that_no_node_suits_stays_refused_while_others_come() -> None:
    ledger = PackingLedger([a_node("n1", 10, zone="a"), a_node("n2", 10, zone="b")])
    refused = a_workload(0, cpu=1, placement=Placement(spreads=(Spread(by="zone"),), select={"zone": "c"}))
    for index in range(3):
        assert ledger.place([asking(refused, index), asking(a_workload(1, cpu=1), index)]).node_ids == [None, "n1"]
