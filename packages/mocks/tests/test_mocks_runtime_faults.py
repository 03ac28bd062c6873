"""What goes wrong with MockRuntime when a test wants it to."""

from __future__ import annotations

import random

import pytest
import trio
from orchestrion.mocks import (
    ContainerWorld,
    Fault,
    FaultKind,
    FaultSource,
    MockRuntime,
    SeededFaults,
    SimulatedCrash,
    script,
)
from orchestrion.runtime_interface import CreateOptions, RuntimeUnavailable
from orchestrion.shared_types import (
    ContainerConfig,
    ContainerId,
    ContainerState,
    ExitStatus,
    InstanceKey,
    NodeId,
    Uid,
)
from trio.testing import MockClock

NODE = NodeId("one")
CONFIG = ContainerConfig(name="main", command=("run",))


def options(index: int = 0) -> CreateOptions:
    return CreateOptions(node_id=NODE, instance=InstanceKey(Uid("u"), index, 1))


async def opened(faults: FaultSource, world: ContainerWorld | None = None) -> MockRuntime:
    runtime = MockRuntime(world, faults=faults)
    await runtime.init_node(NODE)
    return runtime


async def test_a_failed_create_has_no_effect(autojump_clock: MockClock) -> None:
    runtime = await opened(script(("create_container", 1, FaultKind.FAIL)))
    with pytest.raises(RuntimeUnavailable):
        await runtime.create_container(CONFIG, options())
    assert await runtime.list_containers(NODE) == []


async def test_a_create_that_fails_after_its_effect_can_be_repeated(autojump_clock: MockClock) -> None:
    runtime = await opened(script(("create_container", 1, FaultKind.FAIL_AFTER)))
    with pytest.raises(RuntimeUnavailable):
        await runtime.create_container(CONFIG, options())
    (summary,) = await runtime.list_containers(NODE)
    assert await runtime.create_container(CONFIG, options()) == summary.container_id
    assert runtime.world.starts.total() == 1


async def test_a_delayed_call_takes_its_time(autojump_clock: MockClock) -> None:
    runtime = await opened(script(("list_containers", 1, Fault(FaultKind.DELAY, 5.0))))
    assert await runtime.list_containers(NODE) == []
    assert trio.current_time() == 5


async def test_a_call_that_hangs_can_be_cancelled(autojump_clock: MockClock) -> None:
    runtime = await opened(script(("create_container", 1, FaultKind.HANG)))
    with trio.move_on_after(100) as scope:
        await runtime.create_container(CONFIG, options())
    assert scope.cancelled_caught
    assert await runtime.list_containers(NODE) == []


@pytest.mark.parametrize(("kind", "started"), [(FaultKind.CRASH_BEFORE, 0), (FaultKind.CRASH_AFTER, 1)])
async def test_after_a_crash_another_runtime_goes_on(autojump_clock: MockClock, kind: FaultKind, started: int) -> None:
    world = ContainerWorld()
    crashed = await opened(script(("create_container", 1, kind)), world)
    with pytest.raises(SimulatedCrash):
        await crashed.create_container(CONFIG, options())
    with pytest.raises(SimulatedCrash):
        await crashed.list_containers(NODE)
    await crashed.aclose()
    assert world.starts.total() == started
    runtime = await opened(script(), world)
    await runtime.create_container(CONFIG, options())
    assert world.starts.total() == 1


async def test_a_lie_tells_what_was_true_earlier(autojump_clock: MockClock) -> None:
    lies = script(*((method, 1, FaultKind.LIE) for method in ("get_container_status", "list_containers")))
    runtime = await opened(lies)
    ended = await runtime.create_container(CONFIG, options(0))
    await runtime.create_container(CONFIG, options(1))
    runtime.world.exit(ended, ExitStatus(code=1))
    assert (await runtime.get_container_status(ended)).state is ContainerState.RUNNING
    assert (await runtime.get_container_status(ended)).state is ContainerState.EXITED
    assert [s.container_id for s in await runtime.list_containers(NODE)] == [ended]
    assert len(await runtime.list_containers(NODE)) == 2


async def test_hints_can_be_lost_and_repeated(autojump_clock: MockClock) -> None:
    runtime = await opened(script(("event", 1, FaultKind.LOSE_EVENT), ("event", 2, FaultKind.REPEAT_EVENT)))
    async with runtime.watch_containers(NODE) as hints:
        for index in range(3):
            await runtime.create_container(CONFIG, options(index))
        ids = [(await anext(hints)).container_id for _ in range(3)]
    assert ids == [ContainerId("mock-2"), ContainerId("mock-2"), ContainerId("mock-3")]


def test_the_same_seed_gives_the_same_faults_and_the_same_world() -> None:
    kinds = (FaultKind.FAIL, FaultKind.FAIL_AFTER, FaultKind.DELAY, FaultKind.LIE)

    async def main(seed: int) -> list[str]:
        faults = SeededFaults(random.Random(seed), 0.3, kinds, enabled=False)
        runtime = await opened(faults)
        faults.enabled = True
        seen = []
        for index in range(60):
            try:
                seen.append(await runtime.create_container(CONFIG, options(index % 20)))
            except RuntimeUnavailable:
                seen.append(ContainerId("unavailable"))
        return [*seen, str(trio.current_time())]

    def run(seed: int) -> list[str]:
        return trio.run(main, seed, clock=MockClock(autojump_threshold=0))

    assert run(3) == run(3)
    assert run(3) != run(4)
