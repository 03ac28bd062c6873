"""What MockRuntime and its world do beyond the interface: behaviours, the hand of the test, and what it sees."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

import pytest
import trio
from orchestrion.mocks import ContainerWorld, MockBehaviour, MockContainer, MockRuntime, behaviour_of
from orchestrion.mocks._runtime_engine import EPOCH
from orchestrion.runtime_interface import (
    ConfigUnsupported,
    ContainerConflict,
    ContainerNotFound,
    ContainerRuntime,
    CreateOptions,
    LogStream,
    NodeNotFound,
    PortTaken,
    RuntimeCapability,
    RuntimeClosed,
    RuntimeUnavailable,
    StaleEpoch,
    StartFailed,
    SupportsEvents,
    SupportsExec,
    SupportsLogs,
    SupportsStats,
    SupportsTerminals,
)
from orchestrion.shared_types import (
    ContainerConfig,
    ContainerId,
    ContainerState,
    ExitStatus,
    InstanceKey,
    NodeId,
    PortMapping,
    Uid,
)
from trio.testing import MockClock, wait_all_tasks_blocked

ONE, TWO = NodeId("one"), NodeId("two")
OUT = LogStream.STDOUT


def config(*command: str, name: str = "main", port: int | None = None) -> ContainerConfig:
    ports = () if port is None else (PortMapping(name="http", host_port=port),)
    return ContainerConfig(name=name, command=command, ports=ports)


def options(index: int = 0, epoch: int = 1, attempt: int = 0, *, node: NodeId = ONE) -> CreateOptions:
    return CreateOptions(node_id=node, instance=InstanceKey(Uid("u"), index, epoch), attempt=attempt, workload="web")


async def opened(world: ContainerWorld | None = None) -> MockRuntime:
    runtime = MockRuntime(world)
    await runtime.init_node(ONE)
    await runtime.init_node(TWO)
    return runtime


async def state(runtime: MockRuntime, container_id: ContainerId) -> ContainerState:
    return (await runtime.get_container_status(container_id)).state


def test_it_is_a_runtime_with_all_abilities() -> None:
    runtime: ContainerRuntime = MockRuntime()
    abilities = (SupportsLogs, SupportsExec, SupportsTerminals, SupportsStats, SupportsEvents)
    assert all(isinstance(runtime, ability) for ability in abilities)
    assert len(runtime.capabilities) == len(abilities)


def test_it_can_declare_fewer_abilities() -> None:
    assert MockRuntime(capabilities=[RuntimeCapability.LOGS]).capabilities == {RuntimeCapability.LOGS}


async def test_a_container_without_a_mock_command_runs_until_it_is_stopped(autojump_clock: MockClock) -> None:
    runtime = await opened()
    container_id = await runtime.create_container(config("python", "serve.py"), options())
    await trio.sleep(1e6)
    assert await state(runtime, container_id) is ContainerState.RUNNING
    await runtime.stop_container(container_id, grace_seconds=5)
    status = await runtime.get_container_status(container_id)
    assert status.exit == ExitStatus(signal=15)


async def test_a_container_exits_in_the_clocks_time_and_its_times_are_exact(autojump_clock: MockClock) -> None:
    runtime = await opened()
    await trio.sleep(10)
    container_id = await runtime.create_container(config("exit", "7", "after", "2s"), options())
    await trio.sleep(1.999)
    assert await state(runtime, container_id) is ContainerState.RUNNING
    await trio.sleep(500)
    status = await runtime.get_container_status(container_id)
    assert status.exit == ExitStatus(code=7)
    assert status.started_at == EPOCH + timedelta(seconds=10)
    assert status.finished_at == EPOCH + timedelta(seconds=12)


async def test_a_queued_container_is_created_at_once_and_goes_through_all_states(autojump_clock: MockClock) -> None:
    runtime = await opened()
    container_id = await runtime.create_container(
        config("exit", "0", "queued", "1s", "starting", "1s", "after", "1s"), options()
    )
    seen = []
    for _ in range(4):
        seen.append(await state(runtime, container_id))
        await trio.sleep(1)
    assert seen == [ContainerState.QUEUED, ContainerState.STARTING, ContainerState.RUNNING, ContainerState.EXITED]


async def test_a_create_waits_for_a_slow_start(autojump_clock: MockClock) -> None:
    runtime = await opened()
    container_id = await runtime.create_container(config("starting", "3s"), options())
    assert trio.current_time() == 3
    assert await state(runtime, container_id) is ContainerState.RUNNING


async def test_a_queued_container_that_is_stopped_never_starts(autojump_clock: MockClock) -> None:
    runtime = await opened()
    container_id = await runtime.create_container(config("queued", "1h"), options())
    await runtime.stop_container(container_id, grace_seconds=5)
    await trio.sleep(7200)
    assert (await runtime.get_container_status(container_id)).exit is not None
    assert not runtime.world.start_records


@pytest.mark.parametrize(
    ("command", "grace", "took", "exit_status"),
    [
        (("run",), 5.0, 0.0, ExitStatus(signal=15)),
        (("trap", "3"), 5.0, 0.0, ExitStatus(code=3)),
        (("trap", "3", "term-takes", "2s"), 5.0, 2.0, ExitStatus(code=3)),
        (("trap", "3", "term-takes", "9s"), 5.0, 5.0, ExitStatus(signal=9)),
        (("ignore-term",), 5.0, 5.0, ExitStatus(signal=9)),
        (("ignore-term", "exit", "1", "after", "3s"), 5.0, 3.0, ExitStatus(code=1)),
        (("trap", "3"), 0.0, 0.0, ExitStatus(signal=9)),
    ],
)
async def test_a_stop_takes_as_long_as_the_behaviour_and_the_grace_say(
    autojump_clock: MockClock, command: tuple[str, ...], grace: float, took: float, exit_status: ExitStatus
) -> None:
    runtime = await opened()
    container_id = await runtime.create_container(config(*command), options())
    await runtime.stop_container(container_id, grace_seconds=grace)
    assert trio.current_time() == took
    assert (await runtime.get_container_status(container_id)).exit == exit_status


@pytest.mark.parametrize(
    "command", [("exit",), ("exit", "x"), ("run", "oops"), ("after", "2 weeks"), ("print", "x", "y")]
)
def test_a_mock_command_with_a_slip_is_refused(command: tuple[str, ...]) -> None:
    with pytest.raises(ConfigUnsupported, match=command[0]):
        behaviour_of(command)


async def test_what_cannot_start_leaves_nothing(autojump_clock: MockClock) -> None:
    runtime = await opened()
    for _ in range(2):
        with pytest.raises(StartFailed, match="no such user"):
            await runtime.create_container(config("fail", "no such user", port=80), options())
    assert await runtime.list_containers(ONE) == []
    assert runtime.world.ports_in_use(ONE) == frozenset()


async def test_a_script_chooses_by_workload_instance_and_attempt(autojump_clock: MockClock) -> None:
    def script(workload: str, instance: InstanceKey, attempt: int) -> MockBehaviour | None:
        assert workload == "web"
        return MockBehaviour(exit=ExitStatus(code=instance.index)) if attempt == 0 else None

    runtime = await opened(ContainerWorld(script=script))
    first = await runtime.create_container(config("serve"), options(3))
    second = await runtime.create_container(config("serve"), options(3, attempt=1))
    assert (await runtime.get_container_status(first)).exit == ExitStatus(code=3)
    assert await state(runtime, second) is ContainerState.RUNNING


async def test_the_world_outlives_the_runtime(autojump_clock: MockClock) -> None:
    world = ContainerWorld()
    first = await opened(world)
    container_id = await first.create_container(config("exit", "4", "after", "9s"), options())
    await first.aclose()
    await trio.sleep(10)
    second = await opened(world)
    assert (await second.get_container_status(container_id)).exit == ExitStatus(code=4)
    assert await second.create_container(config("exit", "4", "after", "9s"), options()) == container_id
    assert world.starts[options().instance, "main", 0] == 1


def test_a_world_goes_on_in_another_trio_run_on_the_same_clock() -> None:
    clock = MockClock(autojump_threshold=0)
    world = ContainerWorld()

    async def start() -> ContainerId:
        return await (await opened(world)).create_container(config("exit", "0", "after", "60s"), options())

    async def later(container_id: ContainerId) -> datetime | None:
        runtime = await opened(world)
        await trio.sleep(100)
        return (await runtime.get_container_status(container_id)).finished_at

    container_id = trio.run(start, clock=clock)
    assert trio.run(later, container_id, clock=clock) == EPOCH + timedelta(seconds=60)


async def test_a_killed_node_ends_its_containers_and_does_not_answer(autojump_clock: MockClock) -> None:
    runtime = await opened()
    here = await runtime.create_container(config("run"), options(0))
    there = await runtime.create_container(config("run"), options(1, node=TWO))
    runtime.world.kill_node(ONE)
    for call in (
        partial(runtime.get_container_status, here),
        partial(runtime.list_containers, ONE),
        partial(runtime.init_node, ONE),
        partial(runtime.remove_container, here),
    ):
        with pytest.raises(RuntimeUnavailable, match="does not answer"):
            await call()
    assert await state(runtime, there) is ContainerState.RUNNING
    runtime.world.heal(ONE)
    status = await runtime.get_container_status(here)
    assert status.exit is not None
    assert status.exit.reason == "node-killed"


async def test_a_partitioned_nodes_containers_go_on(autojump_clock: MockClock) -> None:
    runtime = await opened()
    container_id = await runtime.create_container(config("exit", "0", "after", "5s"), options())
    runtime.world.partition(ONE)
    assert runtime.world.live_incarnations() == {options().instance: (ONE,)}
    await trio.sleep(6)
    assert runtime.world.live_incarnations() == {}
    runtime.world.heal(ONE)
    assert (await runtime.get_container_status(container_id)).exit == ExitStatus(code=0)


async def test_a_partition_ends_calls_that_wait(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    runtime = await opened()
    container_id = await runtime.create_container(config("ignore-term"), options())
    raised = []

    async def stop() -> None:
        try:
            await runtime.stop_container(container_id, grace_seconds=1000)
        except RuntimeUnavailable as err:
            raised.append(err)

    nursery.start_soon(stop)
    await wait_all_tasks_blocked()
    runtime.world.partition(ONE)
    await wait_all_tasks_blocked()
    assert len(raised) == 1
    await trio.sleep(1001)
    assert runtime.world.live_incarnations() == {}


async def test_one_engine_for_all_nodes_refuses_a_second_start_elsewhere(autojump_clock: MockClock) -> None:
    runtime = await opened()
    await runtime.create_container(config("run"), options())
    with pytest.raises(ContainerConflict):
        await runtime.create_container(config("run"), options(node=TWO))


async def test_an_engine_per_node_lets_a_fault_of_its_caller_show(autojump_clock: MockClock) -> None:
    runtime = await opened(ContainerWorld(memory_per_node=True))
    await runtime.create_container(config("run"), options())
    await runtime.create_container(config("run"), options(node=TWO))
    assert runtime.world.live_incarnations() == {options().instance: (ONE, TWO)}
    assert runtime.world.starts[options().instance, "main", 0] == 2


async def test_each_start_is_recorded(autojump_clock: MockClock) -> None:
    runtime = await opened()
    first = await runtime.create_container(config("exit", "1", "token", "t"), options())
    await trio.sleep(5)
    second = await runtime.create_container(config("exit", "1", "token", "t"), options(attempt=1))
    records = runtime.world.start_records
    assert [(record.container_id, record.attempt, record.at) for record in records] == [(first, 0, 0), (second, 1, 5)]
    assert set(runtime.world.starts.values()) == {1}
    assert runtime.world.starts_of("t") == 2


async def test_a_host_port_is_in_use_until_its_container_ends(autojump_clock: MockClock) -> None:
    runtime = await opened()
    await runtime.create_container(config("exit", "0", "after", "5s", port=80), options(0))
    with pytest.raises(PortTaken) as raised:
        await runtime.create_container(config("run", port=80), options(1))
    assert raised.value.ports == (80,)
    await runtime.create_container(config("run", port=80), options(2, node=TWO))
    await trio.sleep(5)
    await runtime.create_container(config("run", port=80), options(1))
    assert runtime.world.ports_in_use(ONE) == {80}


async def test_slots_with_containers_are_remembered_and_a_number_of_others(autojump_clock: MockClock) -> None:
    runtime = await opened(ContainerWorld(slots_remembered=10))
    await runtime.create_container(config("run"), options(0, epoch=2))
    for index in range(1, 13):
        await runtime.remove_container(await runtime.create_container(config("run"), options(index, epoch=2)))
    for index in (0, *range(4, 13)):
        with pytest.raises(StaleEpoch):
            await runtime.create_container(config("run"), options(index, epoch=1))
    await runtime.create_container(config("run"), options(1, epoch=1))


async def test_a_container_can_vanish_or_be_ended_by_hand(autojump_clock: MockClock) -> None:
    runtime = await opened()
    gone = await runtime.create_container(config("run"), options(0))
    ended = await runtime.create_container(config("run"), options(1))
    runtime.world.vanish(gone)
    runtime.world.vanish(gone)
    runtime.world.exit(ended, ExitStatus(code=8))
    runtime.world.exit(ended, ExitStatus(code=9))
    assert [s.status.exit for s in await runtime.list_containers(ONE)] == [ExitStatus(code=8)]
    with pytest.raises(ContainerNotFound):
        await runtime.get_container_status(gone)
    with pytest.raises(ContainerNotFound):
        runtime.world.exit(gone, ExitStatus(code=1))


async def test_nodes_can_be_limited_and_added(autojump_clock: MockClock) -> None:
    world = ContainerWorld([ONE])
    runtime = MockRuntime(world)
    with pytest.raises(NodeNotFound):
        await runtime.init_node(TWO)
    world.add_node(TWO)
    await runtime.init_node(TWO)
    assert await runtime.list_containers(TWO) == []


async def test_timed_output_wakes_a_follower(autojump_clock: MockClock) -> None:
    runtime = await opened()
    container_id = await runtime.create_container(
        config(
            "print",
            "stdout",
            "a",
            "print-at",
            "2s",
            "stdout",
            "b",
            "print-at",
            "1s",
            "stderr",
            "x",
            "exit",
            "0",
            "after",
            "3s",
        ),
        options(),
    )
    async with runtime.follow_logs(container_id, OUT) as log:
        seen = [(trio.current_time(), chunk.data, chunk.final) async for chunk in log]
    assert seen == [(0, b"a", False), (2, b"b", False), (3, b"", True)]


async def test_a_test_can_write_for_a_container_and_old_bytes_are_given_up(autojump_clock: MockClock) -> None:
    runtime = await opened(ContainerWorld(log_budget_bytes=4))
    container_id = await runtime.create_container(config("run"), options())
    for data in (b"one", b"two"):
        runtime.world.write(container_id, data)
    chunk = await runtime.read_logs(container_id, OUT)
    assert (chunk.gap_bytes, chunk.offset, chunk.data) == (2, 2, b"etwo")
    chunk = await runtime.read_logs(container_id, OUT, offset=-1)
    assert (chunk.gap_bytes, chunk.offset, chunk.data) == (0, 5, b"o")


async def test_an_exec_script_chooses_what_a_command_does(autojump_clock: MockClock) -> None:
    def exec_script(container: MockContainer, command: tuple[str, ...]) -> MockBehaviour | None:
        healthy = container.options.instance.index == 0
        return MockBehaviour(exit=ExitStatus(code=0 if healthy else 1)) if command == ("probe",) else None

    runtime = await opened(ContainerWorld(exec_script=exec_script))
    codes = []
    for index in (0, 1):
        container_id = await runtime.create_container(config("run"), options(index))
        async with runtime.exec_in_container(container_id, ["probe"]) as session:
            codes.append((await session.wait()).code)
        async with runtime.exec_in_container(container_id, ["exit", "5", "after", "1s"]) as session:
            codes.append((await session.wait()).code)
    assert codes == [0, 5, 1, 5]
    assert runtime.world.sessions == []


async def test_a_slow_reader_of_hints_gets_one_in_place_of_those_lost(autojump_clock: MockClock) -> None:
    runtime = await opened()
    async with runtime.watch_containers(ONE) as hints:
        for index in range(300):
            await runtime.create_container(config("run"), options(index))
        ids = [(await anext(hints)).container_id for _ in range(44)]
    assert ids[0] is None
    assert ids[-1] == ContainerId("mock-300")


async def test_a_watcher_is_woken_by_what_time_brings(autojump_clock: MockClock) -> None:
    runtime = await opened()
    container_id = await runtime.create_container(config("exit", "0", "after", "1h"), options())
    async with runtime.watch_containers(ONE) as hints:
        assert (await anext(hints)).container_id == container_id
    assert trio.current_time() == 3600
    assert await state(runtime, container_id) is ContainerState.EXITED


async def test_a_watcher_hears_of_what_was_planned_after_it_began_to_wait(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    runtime = await opened()
    heard = []

    async def watch() -> None:
        async with runtime.watch_containers(ONE) as hints:
            while True:
                hint = await anext(hints)
                heard.append((trio.current_time(), hint.container_id))

    nursery.start_soon(watch)
    await wait_all_tasks_blocked()
    container_id = await runtime.create_container(config("exit", "0", "after", "5s"), options())
    await trio.sleep(10)
    assert heard == [(0, container_id), (5, container_id)]
    nursery.cancel_scope.cancel()


async def test_closing_ends_readers_that_wait(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    runtime = await opened()
    container_id = await runtime.create_container(config("run"), options())
    closed = []

    async def watch() -> None:
        async with runtime.watch_containers(ONE) as hints:
            with pytest.raises(RuntimeClosed):
                await anext(hints)
            closed.append("watch")

    async def follow() -> None:
        async with runtime.follow_logs(container_id, OUT) as log:
            with pytest.raises(RuntimeClosed):
                await anext(log)
            closed.append("follow")

    nursery.start_soon(watch)
    nursery.start_soon(follow)
    await wait_all_tasks_blocked()
    await runtime.aclose()
    await wait_all_tasks_blocked()
    assert sorted(closed) == ["follow", "watch"]
    assert runtime.world.nodes[ONE].listeners == []


async def test_times_stay_in_order_when_the_wall_clock_is_set_back(autojump_clock: MockClock) -> None:
    wall = [EPOCH]
    runtime = await opened(ContainerWorld(now=lambda: wall[0]))
    container_id = await runtime.create_container(config("exit", "0", "after", "1s"), options())
    wall[0] -= timedelta(days=1)
    await trio.sleep(2)
    status = await runtime.get_container_status(container_id)
    assert status.created_at is not None
    assert status.started_at is not None
    assert status.finished_at is not None
    assert status.created_at <= status.started_at <= status.finished_at


async def test_stats_count_the_time_that_it_ran(autojump_clock: MockClock) -> None:
    runtime = await opened()
    container_id = await runtime.create_container(config("exit", "0", "after", "2s", "fork"), options())
    await trio.sleep(1)
    stats = await runtime.get_container_stats(container_id)
    assert (stats.cpu_nanoseconds, stats.processes) == (10**9, 2)
    await trio.sleep(10)
    stats = await runtime.get_container_stats(container_id)
    assert (stats.cpu_nanoseconds, stats.processes, stats.memory_bytes) == (2 * 10**9, 0, 0)


async def test_looking_at_one_node_costs_nothing_for_the_others(autojump_clock: MockClock) -> None:
    runtime = await opened()
    for index in range(50):
        await runtime.create_container(config("exit", "0", "after", "1s"), options(index, node=TWO))
    await runtime.create_container(config("run"), options(100))
    await trio.sleep(2)
    assert len(await runtime.list_containers(ONE)) == 1
    assert len(runtime.world.nodes[TWO].due) == 50
