"""The packing scheduler pushes out whom one that looks at all nodes would, with all constraints on.

Each seed is a history; `ORCHESTRION_SEEDS_OF_ORACLE` is how many there are.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator

import pytest
import trio
from attrs import evolve
from orchestrion.scheduler_interface import (
    AssignNode,
    FullScanScheduler,
    NodeView,
    NoPlacement,
    PlacedInstance,
    ScheduleDecision,
    SchedulingRequest,
    StaticClusterView,
    node_view,
    with_decisions,
    with_instances,
)
from orchestrion.scheduler_packing import PackingScheduler
from orchestrion.shared_types import (
    MAX_AMOUNT,
    ContainerConfig,
    InstanceAffinity,
    InstanceKey,
    Metadata,
    Node,
    NodeId,
    Placement,
    Protocol,
    Resources,
    Uid,
    WorkloadDefinition,
)

from .packing_histories import APPS, History, after

SEEDS = int(os.environ.get("ORCHESTRION_SEEDS_OF_ORACLE", "1000"))
ALL_PRIORITIES = 60_000
FIRST_INDEX = 100
"""Above those that histories ask for."""


def asked(seed: int, view: StaticClusterView, requests: Iterator[SchedulingRequest]) -> Iterator[SchedulingRequest]:
    """Yield the requests of a history as they may push out others, most of them for large slots."""
    chance = random.Random(seed)
    for request in requests:
        held = sorted({key.workload_id for each in view for key in each.instances})
        budgets = {uid: chance.randint(-1, 3) for uid in held if chance.random() < 0.3}
        priority = chance.choice([request.workload.priority, ALL_PRIORITIES])
        containers = tuple(
            evolve(each, resources=evolve(each.resources, cpu_millicores=chance.randint(5, 25)))
            if chance.random() < 0.5
            else each
            for each in request.workload.containers
        )
        yield evolve(
            request,
            workload=evolve(request.workload, priority=priority, containers=containers),
            preempt=chance.random() < 0.9,
            budgets=budgets,
            minimum=chance.choice([0, 0, 0, len(request.slots)]),
        )


def pushed_out(decisions: list[ScheduleDecision]) -> list[InstanceKey]:
    return [key for each in decisions if isinstance(each, AssignNode) for key in each.victims]


def full(node: Node, chance: random.Random) -> NodeView:
    """Return a node that is full, of instances of several workloads."""
    room, total = node_view(node), node.allocatable
    index = FIRST_INDEX + 10 * int(node.id[1:])
    parts, free = chance.randint(2, 6), {each.id: 1000 for each in node.devices}
    for position in range(parts + chance.randint(0, 1)):
        shares = {each: chance.choice([400, 1000]) for each in free if chance.random() < 0.3}
        demand = Resources(
            cpu_millicores=total.cpu_millicores // parts + chance.choice([0, 1]),
            memory_bytes=max(0, total.memory_bytes // parts - chance.choice([0, 1])),
            disk_bytes=chance.choice([0, 0, total.disk_bytes // parts]),
            extended={name: 1 for name in total.extended if chance.random() < 0.5},
        )
        free = {each: left - shares.get(each, 0) for each, left in free.items() if left > shares.get(each, 0)}
        number = chance.randint(0, 6)
        instance = PlacedInstance(
            key=InstanceKey(Uid(f"01900000-0000-7000-8000-{number:012}"), index + position, 1),
            namespace="default",
            workload=f"w{number}",
            labels=chance.choice(APPS),
            priority=chance.choice([10, 20, 30, 50_000]),
            demand=demand,
            host_ports=frozenset({(Protocol.TCP, 80)}) if chance.random() < 0.2 else frozenset(),
            device_thousandths=shares,
            grace_seconds=chance.choice([0, 10, 10, 30]),
        )
        room = with_instances(room, [instance])
    return room


async def compare(seed: int) -> list[InstanceKey]:
    history = History(seed)
    chance = random.Random(seed)
    view = StaticClusterView(full(node, chance) for node in history.nodes)
    ours, oracle = PackingScheduler(), FullScanScheduler()
    victims = []
    for step in history.steps():
        for request in asked(chance.randint(0, 10**9), view, iter([step.request, step.request])):
            expected = await oracle.schedule(request, view)
            assert await ours.schedule(request, view) == expected, f"seed {seed}: {request}"
            # Whom the first call pushed out for its slots is there again for the second.
            assert await ours.schedule(request, view) == expected, f"seed {seed}, again: {request}"
            other = evolve(request, preempt=not request.preempt)
            assert await ours.schedule(other, view) == await oracle.schedule(other, view), f"seed {seed}: {other}"
            if chance.random() < 0.5:
                view = with_decisions(view, request.workload, expected)
                victims += pushed_out(expected)
        plain = await oracle.schedule(step.request, view)
        assert await ours.schedule(step.request, view) == plain, f"seed {seed}, then: {step.request}"
        view = after(with_decisions(view, step.request.workload, plain), step)
    return victims


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_whoever_is_pushed_out_is_whom_a_look_at_all_nodes_finds(block: int) -> None:
    pushed: Counter[bool] = Counter()

    async def compare_all() -> None:
        for seed in range(block, SEEDS, 10):
            pushed[bool(await compare(seed))] += 1

    trio.run(compare_all)
    assert pushed[True] >= pushed.total() // 5, pushed


async def test_groups_are_counted_right_after_a_victim_of_one_was_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrion.scheduler_packing._group_counts.MAX_GROUPS", 2)
    affinities = tuple(InstanceAffinity(match_labels={"group": name}, anti=True) for name in ("a", "b", "c"))
    request = a_request(2, 60)
    workload = evolve(request.workload, priority=100, placement=Placement(instance_affinities=affinities))
    request = evolve(request, workload=workload)
    view = cluster(2, 1)
    labelled = evolve(low(7, 80), labels={"group": "c"})
    view = view.changed(*(node_view(each.node, [labelled]) for each in list(view)[:1]))
    ours, oracle = PackingScheduler(), FullScanScheduler()
    decisions = await ours.schedule(request, view)
    assert decisions == await oracle.schedule(request, view)
    assert labelled.key in pushed_out(decisions)
    gone = view.changed(*(node_view(each.node) for each in view))
    later = evolve(workload, placement=Placement(instance_affinities=affinities[-1:]))
    alone = evolve(request, workload=later, slots=request.slots[:1], preempt=False)
    assert await ours.schedule(alone, gone) == await oracle.schedule(alone, gone)


LOW = Uid("01900000-0000-7000-8000-0000000000aa")
HIGH = Uid("01900000-0000-7000-8000-0000000000bb")


def a_request(slots: int, cpu: int, memory: int = 0) -> SchedulingRequest:
    room = Resources(cpu_millicores=cpu, memory_bytes=memory)
    workload = WorkloadDefinition(
        metadata=Metadata(name="high", uid=HIGH), containers=(ContainerConfig(name="main", resources=room),)
    )
    return SchedulingRequest(
        workload=workload, slots=tuple(InstanceKey(HIGH, index, 1) for index in range(slots)), preempt=True
    )


def low(index: int, cpu: int, memory: int = 0, priority: int = 10) -> PlacedInstance:
    demand = Resources(cpu_millicores=cpu, memory_bytes=memory)
    key = InstanceKey(LOW, index, 1)
    return PlacedInstance(key=key, namespace="default", workload="low", priority=priority, demand=demand)


def cluster(nodes: int, each: int, *, cpu: int = 100) -> StaticClusterView:
    room = Resources(cpu_millicores=cpu * each)
    return StaticClusterView(
        node_view(
            Node(id=NodeId(f"n{number:04}"), name=f"n{number:04}", capacity=room, allocatable=room),
            [low(number * each + index, cpu, priority=10 + (number * 7 + index) % 5) for index in range(each)],
        )
        for number in range(nodes)
    )


@pytest.mark.slow
async def test_many_slots_push_out_one_after_the_other() -> None:
    view, request = cluster(20, 6), a_request(50, 200)

    decisions = await PackingScheduler().schedule(request, view)

    assert decisions == await FullScanScheduler().schedule(request, view)
    assert len(pushed_out(decisions)) == 100


async def test_what_is_pushed_out_for_one_request_is_there_for_the_next() -> None:
    view, scheduler = cluster(3, 2), PackingScheduler()
    once = await scheduler.schedule(a_request(2, 150), view)

    assert await scheduler.schedule(a_request(2, 150), view) == once
    refused = await scheduler.schedule(evolve(a_request(1, 100), preempt=False), view)
    assert [type(each) for each in refused] == [NoPlacement]


async def test_amounts_near_the_largest_are_weighed_exactly() -> None:
    """The node holds more than has a sum in the core, and is looked at in full."""
    room = Resources(cpu_millicores=MAX_AMOUNT)
    node = Node(id=NodeId("n"), name="n", capacity=room, allocatable=room)
    third = MAX_AMOUNT // 3
    view = StaticClusterView([node_view(node, [low(index, third) for index in range(3)])])

    for cpu, count in ((third, 1), (third + 1, 2), (MAX_AMOUNT, 3)):
        decisions = await PackingScheduler().schedule(a_request(1, cpu), view)

        assert len(pushed_out(decisions)) == count


async def test_a_node_that_holds_more_than_it_has_gives_less_room() -> None:
    room = Resources(cpu_millicores=100, memory_bytes=100)
    shrunk = Node(id=NodeId("a"), name="a", capacity=room, allocatable=room)
    view = StaticClusterView([node_view(shrunk, [low(index, 50, memory=50) for index in range(4)])])

    decisions = await PackingScheduler().schedule(a_request(1, 50, memory=1), view)

    assert pushed_out(decisions) == [InstanceKey(LOW, index, 1) for index in (1, 2, 3)]
