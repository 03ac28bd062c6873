"""Packing requests together decides as plain rules say, over-commits nothing, and refuses only what fits nowhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial
from typing import cast, get_args

import pytest
import trio
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from orchestrion.scheduler_interface import (
    STEP_POINTS,
    AssignNode,
    FullScanScheduler,
    GangShortage,
    InvalidSchedulingRequest,
    NodeView,
    NoPlacement,
    ScheduleDecision,
    SchedulingRequest,
    StaticClusterView,
    demand_of,
    node_view,
    placed_instance,
    with_decisions,
)
from orchestrion.scheduler_packing import PackingOrder, pack
from orchestrion.shared_types import (
    WHOLE_DEVICE,
    GpuRequest,
    InstanceAffinity,
    InstanceKey,
    Node,
    NodeId,
    Placement,
    Spread,
    Taint,
    TaintEffect,
    Uid,
    WorkloadDefinition,
)

from .packing_builders import a_node, a_workload

ORDERS: tuple[PackingOrder, ...] = get_args(PackingOrder)
NOBODY = "01900000-0000-7000-8000-999999999999"
OLD = (Taint("old", effect=TaintEffect.PREFER_NO_SCHEDULE),)
PLACEMENTS = (
    Placement(),
    Placement(spreads=(Spread(by="zone", required=True),)),
    Placement(spreads=(Spread(by="node"),)),
    Placement(select={"zone": "a"}),
    Placement(instance_affinities=(InstanceAffinity(match_labels={"app": "0"}, by="zone"),)),
    Placement(instance_affinities=(InstanceAffinity(match_labels={"app": "1"}, by="node", anti=True),)),
    Placement(instance_affinities=(InstanceAffinity(match_labels={"app": "2"}, by="zone", weight=100),)),
)
GPUS = (None, None, None, GpuRequest(count=1), GpuRequest(count=2), GpuRequest(thousandths=400))


def asking(workload: WorkloadDefinition, count: int = 1, *, minimum: int = 0) -> SchedulingRequest:
    slots = tuple(InstanceKey(workload.metadata.uid, index, 1) for index in range(count))
    return SchedulingRequest(workload=workload, slots=slots, minimum=minimum)


def loaded(node: Node, cpu: int, memory: int = 0) -> NodeView:
    """A node on which something of that size runs."""
    other = a_workload(0, cpu, memory)
    key = InstanceKey(Uid(NOBODY), int(node.name[1:]), 1)
    return node_view(node, [evolve(placed_instance(other, AssignNode(slot=key, node_id=node.id)), labels={})])


def nodes_of(decisions: Sequence[ScheduleDecision]) -> list[str]:
    return [each.node_id if isinstance(each, AssignNode) else "-" for each in decisions]


def after_all(
    view: StaticClusterView, requests: Sequence[SchedulingRequest], decided: Sequence[Sequence[ScheduleDecision]]
) -> StaticClusterView:
    for request, decisions in zip(requests, decided, strict=True):
        view = with_decisions(view, request.workload, decisions)
    return view


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        # Sizes come in the order 6, 5, 3, 2; free are 5 of 10 on n0, 10 on n1, 7 of 10 on n2.
        ("bfd", ["n2", "n0", "n1", "n1"]),
        ("ffd", ["n1", "n0", "n1", "n2"]),
        ("wfd", ["n2", "n0", "n1", "n1"]),
        ("dot-product", ["n2", "n0", "n1", "n1"]),
    ],
)
def test_the_largest_come_first_on_top_of_what_runs(order: PackingOrder, expected: list[str]) -> None:
    view = StaticClusterView([loaded(a_node("n0", 10), 5), node_view(a_node("n1", 10)), loaded(a_node("n2", 10), 3)])
    sizes = [2, 6, 3, 5]
    requests = [asking(a_workload(number, size)) for number, size in enumerate(sizes, 1)]
    decided = dict(zip(sizes, pack(requests, view, order=order), strict=True))
    assert [nodes_of(decided[size])[0] for size in sorted(sizes, reverse=True)] == expected


def test_alignment_takes_the_node_whose_free_amounts_are_like_what_is_asked_for() -> None:
    """A slot of cpu goes where cpu is free, though less is free there in all."""
    view = StaticClusterView([loaded(a_node("n0", 100), 50, 0), loaded(a_node("n1", 100), 10, 60)])
    request = asking(a_workload(1, 30, 1))
    assert nodes_of(pack([request], view, order="dot-product")[0]) == ["n1"]
    assert nodes_of(pack([request], view, order="wfd")[0]) == ["n0"]


def test_a_higher_priority_comes_before_a_larger_size() -> None:
    view = StaticClusterView([node_view(a_node("n0", 10))])
    decided = pack([asking(a_workload(1, 8)), asking(a_workload(2, 4, priority=1))], view)
    assert [nodes_of(each) for each in decided] == [["-"], ["n0"]]


def test_a_slot_that_needs_a_smaller_neighbour_waits_for_it() -> None:
    together = Placement(instance_affinities=(InstanceAffinity(match_labels={"app": "2"}, by="node"),))
    view = StaticClusterView([node_view(a_node("n0", 10)), node_view(a_node("n1", 10))])
    decided = pack([asking(a_workload(1, 6, placement=together)), asking(a_workload(2, 1))], view)
    assert [nodes_of(each) for each in decided] == [["n0"], ["n0"]]


def test_a_gang_without_room_leaves_it_to_others() -> None:
    view = StaticClusterView([node_view(a_node("n0", 10))])
    decided = pack([asking(a_workload(1, 6), 2, minimum=2), asking(a_workload(2, 5))], view)
    assert [nodes_of(each) for each in decided] == [["-", "-"], ["n0"]]
    refused = decided[0][1]
    assert isinstance(refused, NoPlacement)
    assert [(group.needed, group.best_free) for group in refused.explanation.groups] == [(6, 5)]
    assert refused.explanation.gang == GangShortage(slots=2, minimum=2, places=0)


def test_a_slot_that_is_placed_stays_and_takes_nothing() -> None:
    web = a_workload(1, 6)
    view = with_decisions(
        StaticClusterView([node_view(a_node("n0", 10)), node_view(a_node("n1", 10))]),
        web,
        [AssignNode(slot=asking(web).slots[0], node_id=NodeId("n1"))],
    )
    decided = pack([asking(web), asking(a_workload(2, 4))], view)
    assert [nodes_of(each) for each in decided] == [["n1"], ["n1"]]


def test_a_slot_that_is_asked_for_twice_is_placed_once() -> None:
    web = a_workload(1, 6)
    decided = pack([asking(web), asking(web, 2)], StaticClusterView([node_view(a_node("n0", 10))]))
    assert [nodes_of(each) for each in decided] == [["n0"], ["n0", "-"]]


def test_a_refusal_says_what_is_missing_with_everything_in_its_place() -> None:
    decided = pack(
        [asking(a_workload(1, 6)), asking(a_workload(2, 7))], StaticClusterView([node_view(a_node("n0", 9))])
    )
    refused = decided[0][0]
    assert isinstance(refused, NoPlacement)
    assert [(group.needed, group.best_free) for group in refused.explanation.groups] == [(6, 2)]


def test_an_assignment_is_explained_if_that_is_asked_for() -> None:
    view = StaticClusterView([node_view(a_node("n0", 5)), node_view(a_node("n1", 9))])
    request = evolve(asking(a_workload(1, 6)), explain=True)
    (decision,) = pack([request], view)[0]
    assert isinstance(decision, AssignNode)
    assert decision.explanation is not None
    assert [group.samples for group in decision.explanation.groups] == [(NodeId("n0"),)]


def test_nothing_is_asked_for_and_nothing_decided() -> None:
    assert pack([], StaticClusterView([node_view(a_node("n0", 10))])) == []


def test_without_nodes_everything_is_refused() -> None:
    assert [nodes_of(each) for each in pack([asking(a_workload(1, 1))], StaticClusterView())] == [["-"]]


def test_an_order_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="no such order: 'best'; there are bfd, ffd, wfd, dot-product"):
        pack([], StaticClusterView(), order=cast("PackingOrder", "best"))


def test_a_request_that_the_interface_does_not_allow_is_refused() -> None:
    with pytest.raises(InvalidSchedulingRequest, match="without slots"):
        pack([asking(a_workload(1, 1), 0)], StaticClusterView())


# -- as plain rules say


@st.composite
def plain_loads(draw: st.DrawFn) -> tuple[StaticClusterView, list[SchedulingRequest]]:
    amounts = st.integers(1, 12)
    views = [
        loaded(a_node(f"n{number}", 20, 20), *draw(st.sampled_from([(0, 0), (5, 1), (1, 9), (12, 12)])))
        if draw(st.booleans())
        else node_view(a_node(f"n{number}", 20, 20))
        for number in range(draw(st.integers(1, 5)))
    ]
    workloads = [a_workload(number, draw(amounts), draw(amounts)) for number in range(1, draw(st.integers(1, 6)) + 1)]
    return StaticClusterView(views), [asking(each, draw(st.integers(1, 3))) for each in workloads]


@pytest.mark.slow
@given(plain_loads())
@settings(max_examples=150)
def test_first_fit_decreasing_is_what_the_textbook_has(
    load: tuple[StaticClusterView, list[SchedulingRequest]],
) -> None:
    view, requests = load
    free = {each.node.id: [each.free.cpu_millicores, each.free.memory_bytes] for each in view}
    totals = [sum(amounts[at] for amounts in free.values()) for at in (0, 1)]

    def size(request: SchedulingRequest) -> tuple[Fraction, Fraction]:
        demand = demand_of(request.workload)
        parts = [
            Fraction(amount, max(1, total))
            for amount, total in zip((demand.cpu_millicores, demand.memory_bytes), totals, strict=True)
        ]
        return sum(parts, Fraction()), max(parts)

    expected: dict[InstanceKey, str] = {}
    for request in sorted(requests, key=size, reverse=True):
        demand = demand_of(request.workload)
        for slot in request.slots:
            room = [
                node_id
                for node_id, (cpu, memory) in free.items()
                if cpu >= demand.cpu_millicores and memory >= demand.memory_bytes
            ]
            expected[slot] = room[0] if room else "-"
            if room:
                free[room[0]][0] -= demand.cpu_millicores
                free[room[0]][1] -= demand.memory_bytes
    decided = pack(requests, view, order="ffd")
    placed = [(each.slot, where) for each, where in zip(flat(decided), nodes_of(list(flat(decided))), strict=True)]
    assert dict(placed) == expected


def flat(decided: Sequence[Sequence[ScheduleDecision]]) -> Iterator[ScheduleDecision]:
    return (each for decisions in decided for each in decisions)


@st.composite
def bound_loads(draw: st.DrawFn) -> tuple[StaticClusterView, list[SchedulingRequest]]:
    nodes = [
        a_node(
            f"n{number}",
            draw(st.integers(8, 20)),
            draw(st.integers(8, 20)),
            gpus=draw(st.sampled_from([0, 0, 1, 2])),
            zone=draw(st.sampled_from("ab")),
            taints=OLD if draw(st.booleans()) else (),
        )
        for number in range(draw(st.integers(1, 4)))
    ]
    requests = []
    for number in range(draw(st.integers(1, 4))):
        workload = a_workload(
            number,
            draw(st.integers(0, 8)),
            draw(st.integers(0, 8)),
            placement=draw(st.sampled_from(PLACEMENTS)),
            gpu=draw(st.sampled_from(GPUS)),
            port=draw(st.sampled_from([None, None, 80])),
            priority=draw(st.sampled_from([0, 0, 1])),
        )
        count = draw(st.integers(1, 3))
        requests.append(asking(workload, count, minimum=draw(st.sampled_from([0, 0, count]))))
    return StaticClusterView(node_view(node) for node in nodes), requests


def amounts_of(view: NodeView, names: Sequence[str]) -> list[int]:
    free = dict(view.free.dimensions())
    devices = sum(WHOLE_DEVICE - view.device_thousandths.get(each.id, 0) for each in view.node.devices)
    return [devices if name == "devices" else free[name] for name in names]


def plain_key(
    order: PackingOrder, view: NodeView, wanted: dict[str, int], mosts: dict[str, int]
) -> tuple[Fraction, ...]:
    """What a node is chosen by, the least first, among those that dislike the slot equally."""
    if order == "ffd":
        return ()
    free = dict(zip(mosts, amounts_of(view, list(mosts)), strict=True))
    shares = {name: Fraction(int(free[name] * 2**18 // most), 2**18) for name, most in mosts.items() if most}
    asked = {name: Fraction(int(wanted[name] * 2**18 // most), 2**18) for name, most in mosts.items() if most}
    weights = asked if order == "dot-product" else dict.fromkeys(shares, Fraction(1))
    return Fraction(not view.instances), -sum((weights[name] * shares[name] for name in shares), Fraction())


async def plainly_packed(
    view: StaticClusterView, requests: Sequence[SchedulingRequest], order: PackingOrder
) -> StaticClusterView:
    """Pack by asking the scheduler that looks at everything whether each single node would do."""
    names = ["cpu_millicores", "memory_bytes", "disk_bytes", "devices"]
    columns = dict(zip(names, zip(*(amounts_of(each, names) for each in view), strict=True), strict=True))
    free = {name: sum(column) for name, column in columns.items()}
    mosts = {name: max(column) for name, column in columns.items()}
    scan = FullScanScheduler()

    def wanted_by(request: SchedulingRequest) -> dict[str, int]:
        gpu = request.workload.containers[0].gpu
        devices = 0 if gpu is None else gpu.thousandths or gpu.count * WHOLE_DEVICE
        return {**dict(demand_of(request.workload).dimensions()), "devices": devices}

    def rank(request: SchedulingRequest) -> tuple[int, Fraction, Fraction]:
        parts = [Fraction(amount, max(1, free[name])) for name, amount in wanted_by(request).items()]
        return -request.workload.priority, -sum(parts, Fraction()), -max(parts)

    async def best(slot: InstanceKey, request: SchedulingRequest, view: StaticClusterView) -> ScheduleDecision | None:
        alone = evolve(request, slots=(slot,), minimum=0)
        if order == "bfd":
            (decision,) = await scan.schedule(alone, view)
            return decision if isinstance(decision, AssignNode) else None
        found = []
        for each in view:
            (decision,) = await scan.schedule(evolve(alone, only_node=each.node.id, explain=True), view)
            if isinstance(decision, AssignNode):
                assert decision.explanation is not None
                dislikes = -decision.explanation.scores[each.node.id] // STEP_POINTS
                key = plain_key(order, each, wanted_by(request), mosts)
                found.append(((dislikes, *key, each.node.id), decision))
        return min(found, key=lambda pair: pair[0])[1] if found else None

    waiting = sorted(requests, key=rank)
    placed_any = True
    while placed_any:
        placed_any = False
        for request in waiting:
            draft = view
            held = {key for each in draft for key in each.instances}
            for slot in request.slots:
                if slot not in held and (decision := await best(slot, request, draft)) is not None:
                    draft = with_decisions(draft, request.workload, [decision])
            held = {key for each in draft for key in each.instances}
            if draft is not view and sum(slot in held for slot in request.slots) >= request.minimum:
                view, placed_any = draft, True
    return view


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
@given(load=bound_loads())
@settings(max_examples=60)
def test_under_all_constraints_it_packs_as_asking_node_by_node_does(
    order: PackingOrder, load: tuple[StaticClusterView, list[SchedulingRequest]]
) -> None:
    view, requests = load
    ours = after_all(view, requests, pack(requests, view, order=order))
    plain = trio.run(plainly_packed, view, requests, order)
    assert [set(each.instances) for each in ours] == [set(each.instances) for each in plain]


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
@given(load=bound_loads())
@settings(max_examples=60)
def test_nothing_is_over_committed_and_what_is_refused_fits_nowhere(
    order: PackingOrder, load: tuple[StaticClusterView, list[SchedulingRequest]]
) -> None:
    view, requests = load
    decided = pack(requests, view, order=order)
    after = after_all(view, requests, decided)
    for each in after:
        assert each.reserved.fits_in(each.node.allocatable)
        assert max(each.device_thousandths.values(), default=0) <= WHOLE_DEVICE
        ports = Counter(port for instance in each.instances.values() for port in instance.host_ports)
        assert max(ports.values(), default=0) <= 1
    for request, decisions in zip(requests, decided, strict=True):
        again = trio.run(partial(FullScanScheduler().schedule), request, after)
        assert nodes_of(again) == nodes_of(decisions)
        assert [each.slot for each in decisions] == list(request.slots)
