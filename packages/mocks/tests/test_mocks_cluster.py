"""MockClusterManager passes its kit, its world outlives it, and its faults are what they say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from random import Random

import pytest
import trio
from attrs import evolve
from orchestrion.cluster_interface import (
    ClusterEvent,
    ClusterManager,
    ClusterUnavailable,
    NodeAdded,
    NodeRemoved,
    NodeUpdated,
    Resync,
    Snapshot,
)
from orchestrion.cluster_interface.conformance import ClusterUnderTest, conformance_checks
from orchestrion.conformance_kit import BoundCheck
from orchestrion.mocks import (
    ClusterWorld,
    Fault,
    FaultKind,
    MockClusterManager,
    SeededFaults,
    SimulatedCrash,
    mock_nodes,
    script,
)
from orchestrion.shared_types import Node, NodeCondition, NodeId, NodeNotFound, NodeStatus
from trio.testing import MockClock, wait_all_tasks_blocked

N0, N1, N2 = NodeId("node-00000"), NodeId("node-00001"), NodeId("node-00002")


@asynccontextmanager
async def open_mock(backlog: int = 30, nodes: int = 0) -> AsyncIterator[ClusterUnderTest]:
    world = ClusterWorld(mock_nodes(nodes), backlog=backlog)

    async def add(node: Node) -> None:
        world.add_node(node)

    async def update(node: Node) -> None:
        world.update_node(node)

    async def remove(node_id: NodeId) -> None:
        world.remove_node(node_id)

    async def reopen() -> ClusterManager:
        return MockClusterManager(world)

    yield ClusterUnderTest(
        manager=MockClusterManager(world), add_node=add, update_node=update, remove_node=remove, reopen=reopen
    )


@pytest.mark.parametrize("check", conformance_checks(open_mock))
def test_conformance(check: BoundCheck[ClusterUnderTest]) -> None:
    check()


@contextmanager
def raises_crash() -> Iterator[None]:
    with pytest.raises(SimulatedCrash):
        yield


async def started(manager: MockClusterManager) -> MockClusterManager:
    await manager.initialize()
    return manager


async def take(stream: AsyncIterator[ClusterEvent], count: int) -> list[ClusterEvent]:
    return [await anext(stream) for _ in range(count)]


async def test_the_world_survives_its_manager() -> None:
    world = ClusterWorld(mock_nodes(2))
    first = await started(MockClusterManager(world))
    await first.drain_node(N1, reason="new disk")
    first.remove_node(N0)
    await first.aclose()
    second = await started(MockClusterManager(world))
    assert [(node.id, node.cordoned) for node in await second.list_nodes()] == [(N1, True)]


async def test_two_managers_of_one_world_see_each_others_orders() -> None:
    world = ClusterWorld(mock_nodes(1))
    one, other = await started(MockClusterManager(world)), await started(MockClusterManager(world))
    async with other.subscribe_to_events() as stream:
        await anext(stream)
        await one.cordon_node(N0)
        event = await anext(stream)
    assert isinstance(event, NodeUpdated)
    assert event.node.cordoned


async def test_nodes_are_added_changed_and_removed_while_a_reader_follows() -> None:
    manager = await started(MockClusterManager(ClusterWorld(mock_nodes(1))))
    condition = NodeCondition(type="DiskPressure", active=True)
    async with manager.subscribe_to_events() as stream:
        first = await anext(stream)
        manager.add_node(mock_nodes(2)[1])
        manager.set_status(N0, NodeStatus.UNKNOWN)
        manager.set_condition(N0, condition)
        manager.set_condition(N0, evolve(condition, active=False))
        manager.remove_node(N1)
        events = await take(stream, 5)
    assert isinstance(first, Snapshot)
    assert [type(event) for event in events] == [NodeAdded, NodeUpdated, NodeUpdated, NodeUpdated, NodeRemoved]
    node = await manager.get_node(N0)
    assert node is not None
    assert node.status is NodeStatus.UNKNOWN
    assert node.conditions == (evolve(condition, active=False),)


def test_a_world_refuses_what_makes_no_sense() -> None:
    world = ClusterWorld(mock_nodes(1))
    with pytest.raises(ValueError, match="has a node 'node-00000' already"):
        world.add_node(mock_nodes(1)[0])
    with pytest.raises(NodeNotFound, match="no node 'node-00001'"):
        world.remove_node(N1)
    with pytest.raises(NodeNotFound):
        world.update_node(mock_nodes(2)[1])
    with pytest.raises(ValueError, match="at least 1"):
        ClusterWorld(backlog=0)
    assert world.list_nodes() == tuple(mock_nodes(1))


def test_mock_nodes_are_spread_over_zones_in_turn() -> None:
    assert [node.topology.zone for node in mock_nodes(4, zones=3)] == ["zone-0", "zone-1", "zone-2", "zone-0"]


async def test_a_failing_call_has_no_effect() -> None:
    manager = await started(
        MockClusterManager(ClusterWorld(mock_nodes(1)), faults=script(("cordon_node", 1, FaultKind.FAIL)))
    )
    with pytest.raises(ClusterUnavailable):
        await manager.cordon_node(N0)
    node = await manager.get_node(N0)
    assert node is not None
    assert not node.cordoned


async def test_a_call_that_fails_afterwards_has_had_its_effect() -> None:
    faults = script(("cordon_node", 1, FaultKind.FAIL_AFTER))
    manager = await started(MockClusterManager(ClusterWorld(mock_nodes(1)), faults=faults))
    with pytest.raises(ClusterUnavailable):
        await manager.cordon_node(N0)
    node = await manager.get_node(N0)
    assert node is not None
    assert node.cordoned


async def test_an_initialize_that_fails_may_be_repeated() -> None:
    manager = MockClusterManager(ClusterWorld(mock_nodes(1)), faults=script(("initialize", 1, FaultKind.FAIL)))
    with pytest.raises(ClusterUnavailable):
        await manager.initialize()
    await manager.initialize()
    assert len(await manager.list_nodes()) == 1


async def test_a_delay_takes_its_time_and_a_hang_can_be_cancelled(autojump_clock: MockClock) -> None:
    faults = script(("list_nodes", 1, Fault(FaultKind.DELAY, 5)), ("list_nodes", 2, FaultKind.HANG))
    manager = await started(MockClusterManager(faults=faults))
    before = trio.current_time()
    await manager.list_nodes()
    assert trio.current_time() - before == 5
    with trio.move_on_after(60) as scope:
        await manager.list_nodes()
    assert scope.cancelled_caught


async def test_a_lie_is_the_answer_from_before_the_latest_change() -> None:
    faults = script(("list_nodes", 1, FaultKind.LIE), ("get_node", 1, FaultKind.LIE), ("get_node", 2, FaultKind.LIE))
    manager = await started(MockClusterManager(ClusterWorld(mock_nodes(3)), faults=faults))
    manager.remove_node(N1)
    assert [node.id for node in await manager.list_nodes()] == [N0, N1, N2]
    assert await manager.get_node(N1) is not None
    manager.add_node(mock_nodes(2)[1])
    assert await manager.get_node(N1) is None
    assert [node.id for node in await manager.list_nodes()] == [N0, N1, N2]


async def test_a_crash_ends_all_calls_and_wakes_readers_with_it() -> None:
    manager = await started(
        MockClusterManager(ClusterWorld(mock_nodes(1)), faults=script(("cordon_node", 1, FaultKind.CRASH_AFTER)))
    )
    crashed = trio.Event()

    async def follow(stream: AsyncIterator[ClusterEvent]) -> None:
        with raises_crash():
            await take(stream, 10)
        crashed.set()

    async with manager.subscribe_to_events() as stream, trio.open_nursery() as nursery:
        nursery.start_soon(follow, stream)
        await wait_all_tasks_blocked()
        with raises_crash():
            await manager.cordon_node(N0)
        await crashed.wait()
    with raises_crash():
        await manager.list_nodes()
    again = await started(MockClusterManager(manager.world))
    assert (await again.list_nodes())[0].cordoned


async def test_a_crash_before_the_effect_leaves_the_world_alone() -> None:
    manager = await started(
        MockClusterManager(ClusterWorld(mock_nodes(1)), faults=script(("cordon_node", 1, FaultKind.CRASH_BEFORE)))
    )
    with raises_crash():
        await manager.cordon_node(N0)
    assert not manager.world.list_nodes()[0].cordoned


async def test_a_stream_that_failed_has_ended_and_another_one_works() -> None:
    manager = await started(
        MockClusterManager(ClusterWorld(mock_nodes(1)), faults=script(("next_event", 2, FaultKind.FAIL)))
    )
    async with manager.subscribe_to_events() as stream:
        await anext(stream)
        for _ in range(2):
            with pytest.raises(ClusterUnavailable):
                await anext(stream)
    async with manager.subscribe_to_events() as stream:
        assert isinstance(await anext(stream), Snapshot)


async def test_a_lost_event_is_followed_by_a_resync() -> None:
    manager = await started(
        MockClusterManager(ClusterWorld(mock_nodes(1)), faults=script(("event", 1, FaultKind.LOSE_EVENT)))
    )
    async with manager.subscribe_to_events() as stream:
        await anext(stream)
        manager.remove_node(N0)
        resync, snapshot = await take(stream, 2)
    assert isinstance(resync, Resync)
    assert isinstance(snapshot, Snapshot)
    assert snapshot.nodes == ()


async def test_a_repeated_event_is_repeated_as_a_resync() -> None:
    manager = await started(
        MockClusterManager(ClusterWorld(mock_nodes(1)), faults=script(("event", 1, FaultKind.REPEAT_EVENT)))
    )
    async with manager.subscribe_to_events() as stream:
        await anext(stream)
        manager.set_status(N0, NodeStatus.DOWN)
        events = await take(stream, 3)
    assert [type(event) for event in events] == [NodeUpdated, Resync, Snapshot]


async def test_a_broken_stream_just_leaves_out_and_repeats() -> None:
    faults = script(("event", 1, FaultKind.LOSE_EVENT), ("event", 2, FaultKind.REPEAT_EVENT))
    manager = await started(MockClusterManager(ClusterWorld(mock_nodes(2)), faults=faults, break_streams=True))
    async with manager.subscribe_to_events() as stream:
        await anext(stream)
        manager.remove_node(N0)
        manager.remove_node(N1)
        events = await take(stream, 2)
    assert events == [NodeRemoved(N1, 4), NodeRemoved(N1, 4)]


async def test_under_seeded_faults_within_the_contract_a_reader_ends_with_the_truth(autojump_clock: MockClock) -> None:
    for seed in range(20):
        kinds = (FaultKind.LOSE_EVENT, FaultKind.REPEAT_EVENT, FaultKind.DELAY)
        faults = SeededFaults(random=Random(seed), rate=0.5, kinds=kinds)
        manager = await started(MockClusterManager(ClusterWorld(mock_nodes(3), backlog=5), faults=faults))
        async with manager.subscribe_to_events() as stream:
            nodes: dict[NodeId, Node] = {}
            for number in range(20):
                manager.set_status(N1, NodeStatus.DOWN if number % 2 else NodeStatus.UNKNOWN)
            manager.remove_node(N2)
            while nodes != {node.id: node for node in manager.world.list_nodes()}:
                nodes = apply(nodes, await anext(stream))


def apply(nodes: Mapping[NodeId, Node], event: ClusterEvent) -> dict[NodeId, Node]:
    match event:
        case Snapshot():
            return {node.id: node for node in event.nodes}
        case NodeAdded(node) | NodeUpdated(node):
            return {**nodes, node.id: node}
        case NodeRemoved(node_id):
            return {other: node for other, node in nodes.items() if other != node_id}
        case Resync():
            return dict(nodes)


async def test_of_five_thousand_nodes_each_change_is_given() -> None:
    manager = await started(MockClusterManager(ClusterWorld(mock_nodes(5000))))
    async with manager.subscribe_to_events() as stream:
        snapshot = await anext(stream)
        for node in mock_nodes(500):
            manager.set_status(node.id, NodeStatus.DOWN)
        events = await take(stream, 500)
    assert isinstance(snapshot, Snapshot)
    assert len(snapshot.nodes) == 5000
    assert all(isinstance(event, NodeUpdated) for event in events)


async def test_a_manager_may_be_told_to_lack_an_ability() -> None:
    assert MockClusterManager(capabilities=()).capabilities == frozenset()
