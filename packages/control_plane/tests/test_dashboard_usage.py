"""What nodes use is told as far as the runtimes of their containers can tell it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import trio
from attrs import evolve
from orchestrion.control_plane._dashboard.usage import LEAST_SECONDS, MAX_CONTAINERS, Meter
from orchestrion.control_plane.usage import Used
from orchestrion.mocks import ContainerWorld, MockRuntime
from orchestrion.orchestrator_core import RoutingRuntime
from orchestrion.runtime_interface import ContainerStats, CreateOptions, RuntimeCapability
from orchestrion.shared_types import (
    ContainerConfig,
    ContainerId,
    InstanceKey,
    InstanceState,
    InstanceStatus,
    NodeId,
    Uid,
    WorkloadInstance,
)

from .test_dashboard_views import instance

NODES = (NodeId("n1"), NodeId("n2"))
SILENT = [RuntimeCapability.LOGS]


async def running(runtime: Any, *on: tuple[str, str]) -> list[WorkloadInstance]:
    """Return instances that run with one container each: on which node, and with which driver."""
    found = []
    for node_id in NODES:
        await runtime.init_node(node_id)
    for index, (place, driver) in enumerate(on):
        one = evolve(instance(on=place), key=InstanceKey(Uid("u"), index, 1))
        config = ContainerConfig(name="main", command=("run",), driver=driver)
        container_id = await runtime.create_container(config, CreateOptions(node_id=NodeId(place), instance=one.key))
        status = InstanceStatus(
            state=InstanceState.RUNNING, containers=(await runtime.get_container_status(container_id),)
        )
        found.append(evolve(one, status=status))
    return found


def meter(runtime: Any) -> Meter:
    def now() -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=trio.current_time())

    orchestrator: Any = SimpleNamespace(runtime=runtime, node_loops=dict.fromkeys(NODES), now=now)
    return Meter(orchestrator)


def routing(**drivers: Any) -> RoutingRuntime:
    return RoutingRuntime(drivers)


async def test_what_all_use_is_added_up() -> None:
    runtime = routing(process=MockRuntime(ContainerWorld(set(NODES))), oci=MockRuntime(ContainerWorld(set(NODES))))
    instances = await running(runtime, ("n1", "process"), ("n1", "oci"), ("n2", "oci"))
    usage = await meter(runtime).look(instances)
    assert usage is not None
    assert usage.nodes == frozenset(NODES)
    assert usage.memory_bytes == 3 << 20


async def test_a_node_of_which_something_can_not_be_told_is_left_out_and_the_others_are_not() -> None:
    silent = MockRuntime(ContainerWorld(set(NODES)), capabilities=SILENT)
    runtime = routing(process=MockRuntime(ContainerWorld(set(NODES))), oci=silent)
    assert RuntimeCapability.STATS not in runtime.capabilities
    instances = await running(runtime, ("n1", "process"), ("n1", "oci"), ("n2", "process"))
    usage = await meter(runtime).look(instances)
    assert usage is not None
    assert usage.nodes == {NodeId("n2")}
    assert usage.memory_bytes == 1 << 20


async def test_where_no_runtime_can_tell_nothing_is_told() -> None:
    silent = MockRuntime(ContainerWorld(set(NODES)), capabilities=SILENT)
    assert await meter(silent).look(await running(silent, ("n1", "process"))) is None
    runtime = routing(process=MockRuntime(ContainerWorld(set(NODES)), capabilities=SILENT))
    instances = await running(runtime, ("n1", "process"), ("n2", "process"))
    assert await meter(runtime).look(instances) is None


async def test_where_there_are_too_many_nothing_is_told_rather_than_too_little() -> None:
    runtime = MockRuntime(ContainerWorld(set(NODES)))
    (one,) = await running(runtime, ("n1", "process"))
    assert await meter(runtime).look([one] * MAX_CONTAINERS) is not None
    assert await meter(runtime).look([one] * (MAX_CONTAINERS + 1)) is None


class Asked(MockRuntime):
    """A runtime that counts of how many containers it was asked what they use."""

    asked = 0

    async def get_container_stats(self, container_id: ContainerId, /) -> ContainerStats:
        self.asked += 1
        return await super().get_container_stats(container_id)


async def test_what_would_not_be_told_is_not_asked_for() -> None:
    runtime = Asked(ContainerWorld(set(NODES)))
    (one,) = await running(runtime, ("n1", "process"))
    assert await meter(runtime).look([one] * (MAX_CONTAINERS + 1)) is None
    assert runtime.asked == 0


async def test_nothing_is_asked_of_a_node_of_which_not_all_can_be_told_and_it_makes_others_no_too_many() -> None:
    able = Asked(ContainerWorld(set(NODES)))
    runtime = routing(process=able, oci=MockRuntime(ContainerWorld(set(NODES)), capabilities=SILENT))
    first, silent, second = await running(runtime, ("n1", "process"), ("n1", "oci"), ("n2", "process"))
    usage = await meter(runtime).look([*[first] * MAX_CONTAINERS, silent, second])
    assert usage is not None
    assert (usage.nodes, usage.memory_bytes, able.asked) == (frozenset({NodeId("n2")}), 1 << 20, 1)


async def test_what_each_instance_and_each_node_use_is_told_apart(autojump_clock: object) -> None:
    runtime = MockRuntime(ContainerWorld(set(NODES)))
    instances = await running(runtime, ("n1", "process"), ("n2", "process"), ("n2", "process"))
    one = meter(runtime)
    first = await one.look(instances)
    assert first is not None
    assert set(first.by_instance.values()) == {Used(None, 1 << 20, 1)}, "what processors do takes two looks"
    await trio.sleep(10)
    second = await one.look(instances)
    assert second is not None
    assert set(second.by_instance.values()) == {Used(1000, 1 << 20, 1)}
    assert second.by_node == {NodeId("n1"): Used(1000, 1 << 20, 1), NodeId("n2"): Used(2000, 2 << 20, 2)}


async def test_however_many_ask_it_is_looked_at_now_and_then(autojump_clock: object) -> None:
    runtime = MockRuntime(ContainerWorld(set(NODES)))
    there = await running(runtime, ("n1", "process"))
    one = meter(runtime)
    asked = list[float]()

    async def instances() -> list[WorkloadInstance]:
        await trio.sleep(1)
        asked.append(trio.current_time())
        return there

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(one.latest, instances)
    assert len(asked) == 1
    await trio.sleep(LEAST_SECONDS)
    assert await one.latest(instances) is not None
    assert len(asked) == 2
