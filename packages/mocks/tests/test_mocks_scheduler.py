"""What MockScheduler and CursorScheduler do beyond the interface: scripts, faults and scale."""

from __future__ import annotations

import time
from collections import Counter

import pytest
import trio
from orchestrion.mocks import (
    UNKNOWN_NODE,
    CursorScheduler,
    Fault,
    FaultKind,
    MockScheduler,
    ScriptedFaults,
    SimulatedCrash,
    decide_first_fit,
    name_unknown_node,
    over_commit,
    script,
)
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    InvalidSchedulingRequest,
    NodeView,
    NoPlacement,
    ScheduleDecision,
    Scheduler,
    SchedulerUnavailable,
    SchedulingRequest,
    StaticClusterView,
    node_view,
    with_decisions,
)
from orchestrion.shared_types import (
    ContainerConfig,
    InstanceKey,
    Metadata,
    Node,
    NodeId,
    Resources,
    Uid,
    WorkloadDefinition,
)
from trio.testing import MockClock


def a_node(number: int, cpu: int = 1000) -> NodeView:
    room = Resources(cpu_millicores=cpu)
    return node_view(Node(id=NodeId(f"n{number:04}"), name=f"n{number:04}", capacity=room, allocatable=room))


def a_view(count: int = 3) -> StaticClusterView:
    return StaticClusterView(a_node(number) for number in range(count))


def a_request(slots: int = 1, *, cpu: int = 400, name: str = "web") -> SchedulingRequest:
    uid = Uid(f"uid-of-{name}")
    container = ContainerConfig(name="main", resources=Resources(cpu_millicores=cpu))
    workload = WorkloadDefinition(metadata=Metadata(name=name, uid=uid), containers=(container,))
    return SchedulingRequest(workload=workload, slots=tuple(InstanceKey(uid, index, 1) for index in range(slots)))


def nodes_of(decisions: list[ScheduleDecision]) -> list[str]:
    return [decision.node_id if isinstance(decision, AssignNode) else "" for decision in decisions]


def faulty(kind: FaultKind) -> ScriptedFaults:
    return script(("schedule", 1, kind))


async def test_without_a_script_it_is_first_fit() -> None:
    scheduler: Scheduler = MockScheduler()
    assert nodes_of(await scheduler.schedule(a_request(7), a_view())) == [
        *["n0000"] * 2,
        *["n0001"] * 2,
        *["n0002"] * 2,
        "",
    ]


async def test_a_function_decides_each_request() -> None:
    def last(request: SchedulingRequest, view: ClusterView) -> list[ScheduleDecision]:
        return [AssignNode(slot=slot, node_id=[each.node.id for each in view][-1]) for slot in request.slots]

    assert nodes_of(await MockScheduler(last).schedule(a_request(2), a_view())) == ["n0002"] * 2


async def test_a_list_decides_the_first_requests_and_first_fit_the_others() -> None:
    request = a_request()
    scripted: list[ScheduleDecision] = [AssignNode(slot=request.slots[0], node_id=NodeId("n0002"))]
    scheduler = MockScheduler([scripted])
    assert nodes_of(await scheduler.schedule(request, a_view())) == ["n0002"]
    assert nodes_of(await scheduler.schedule(request, a_view())) == ["n0000"]
    assert scheduler.requests == [request, request]


@pytest.mark.parametrize("kind", [FaultKind.FAIL, FaultKind.FAIL_AFTER])
async def test_a_failure_is_unavailability_and_passes(kind: FaultKind) -> None:
    scheduler = MockScheduler(faults=faulty(kind))
    with pytest.raises(SchedulerUnavailable, match="by order of the test"):
        await scheduler.schedule(a_request(), a_view())
    assert nodes_of(await scheduler.schedule(a_request(), a_view())) == ["n0000"]


@pytest.mark.parametrize("kind", [FaultKind.CRASH_BEFORE, FaultKind.CRASH_AFTER])
async def test_after_a_crash_nothing_is_answered(kind: FaultKind) -> None:
    scheduler = MockScheduler(faults=faulty(kind))
    for _ in range(2):
        with pytest.raises(SimulatedCrash):
            await scheduler.schedule(a_request(), a_view())


async def test_a_delay_is_waited_for(autojump_clock: MockClock) -> None:
    scheduler = MockScheduler(faults=script(("schedule", 1, Fault(FaultKind.DELAY, delay_seconds=30.0))))
    before = trio.current_time()
    assert nodes_of(await scheduler.schedule(a_request(), a_view())) == ["n0000"]
    assert trio.current_time() - before == 30.0


async def test_a_call_that_hangs_can_be_cancelled(autojump_clock: MockClock) -> None:
    scheduler = MockScheduler(faults=faulty(FaultKind.HANG))
    with trio.move_on_after(60) as scope:
        await scheduler.schedule(a_request(), a_view())
    assert scope.cancelled_caught
    assert scheduler.requests == []


async def test_a_lie_over_commits() -> None:
    scheduler = MockScheduler(faults=faulty(FaultKind.LIE))
    assert nodes_of(await scheduler.schedule(a_request(5), a_view())) == ["n0000"] * 5


async def test_a_lie_may_name_an_unknown_node() -> None:
    scheduler = MockScheduler(faults=faulty(FaultKind.LIE), lie=name_unknown_node)
    assert nodes_of(await scheduler.schedule(a_request(2), a_view())) == [UNKNOWN_NODE] * 2


def test_over_commitment_without_nodes_names_an_unknown_one() -> None:
    assert nodes_of(over_commit(a_request(), StaticClusterView())) == [UNKNOWN_NODE]


def test_first_fit_refuses_bad_input() -> None:
    with pytest.raises(InvalidSchedulingRequest):
        decide_first_fit(a_request(0), a_view())


async def test_the_cursor_spreads_requests_over_the_cluster() -> None:
    scheduler, view = CursorScheduler(), a_view(200)
    first_nodes: Counter[str] = Counter()
    for number in range(100):
        decisions = await scheduler.schedule(a_request(name=f"w{number}"), view)
        first_nodes.update(nodes_of(decisions))
    assert max(first_nodes.values()) < 10


async def test_the_cursor_fills_the_last_node() -> None:
    scheduler, view = CursorScheduler(), a_view(50)
    decisions = await scheduler.schedule(a_request(101), view)
    assert Counter(nodes_of(decisions[:100])) == {f"n{number:04}": 2 for number in range(50)}
    assert isinstance(decisions[100], NoPlacement)


async def test_the_cursor_follows_a_cluster_that_changes() -> None:
    scheduler, view = CursorScheduler(), a_view(3)
    request = a_request(2)
    decisions = await scheduler.schedule(request, view)
    view = with_decisions(view, request.workload, decisions)
    assert nodes_of(await scheduler.schedule(request, view)) == nodes_of(decisions)
    home = NodeId(nodes_of(decisions)[0])
    view = view.changed(removed=[home])
    moved = await scheduler.schedule(request, view)
    assert home not in nodes_of(moved)
    view = view.changed(a_node(9), removed=[each.node.id for each in view])
    assert nodes_of(await scheduler.schedule(request, view)) == ["n0009"] * 2


@pytest.mark.slow
async def test_a_slot_costs_the_cursor_no_more_in_a_large_cluster() -> None:
    """The cost of 500 requests is compared between 50 and 2,000 nodes; a scan would take 40 times as long."""
    seconds = {}
    for count in (50, 2000):
        scheduler, view = CursorScheduler(), a_view(count)
        await scheduler.schedule(a_request(), view)
        before = time.thread_time()
        for number in range(500):
            await scheduler.schedule(a_request(name=f"w{number}"), view)
        seconds[count] = time.thread_time() - before
    assert seconds[2000] < 10 * seconds[50]
