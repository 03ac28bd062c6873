"""Checks of what is said about containers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

import trio
from orchestrion.runtime_interface import (
    RuntimeCapability,
    SupportsEvents,
    SupportsExec,
    SupportsLogs,
    SupportsStats,
    SupportsTerminals,
)
from orchestrion.shared_types import (
    ContainerHealth,
    ContainerId,
    ContainerNotFound,
    ContainerState,
    NodeId,
    NodeNotFound,
)

from ._behaviour import Dies, Exits, Sleeps
from ._bench import TERMINALS, Bench, clause, equal, expect

PROTOCOLS = {
    RuntimeCapability.LOGS: SupportsLogs,
    RuntimeCapability.EXEC: SupportsExec,
    RuntimeCapability.STATS: SupportsStats,
    RuntimeCapability.EVENTS: SupportsEvents,
    RuntimeCapability.TERMINALS: SupportsTerminals,
}

ORDER = (ContainerState.QUEUED, ContainerState.STARTING, ContainerState.RUNNING, ContainerState.EXITED)


@clause("CAPABILITY-1", "each declared ability is implemented")
async def abilities(bench: Bench) -> None:
    for capability in bench.runtime.capabilities:
        ability = PROTOCOLS[RuntimeCapability(capability)]
        assert isinstance(bench.runtime, ability), f"{capability} is declared, but not {ability.__name__} implemented"


@clause("CAPABILITY-2", "the abilities are constant")
async def abilities_constant(bench: Bench) -> None:
    before = bench.runtime.capabilities
    await bench.create()
    await bench.runtime.list_containers(bench.node)
    await bench.runtime.aclose()
    equal(bench.runtime.capabilities, before)


@clause("CAPABILITY-3", "what has terminals runs commands without them too", requires=TERMINALS)
async def terminals_without(bench: Bench) -> None:
    assert RuntimeCapability.EXEC in bench.runtime.capabilities, "it declares terminals and not exec"


@clause("CHECKPOINT-1", "every method is a checkpoint")
async def checkpoints(bench: Bench) -> None:
    ended = await bench.create(Exits(0))
    await bench.exited(ended)
    runtime = bench.runtime
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "init_node": partial(runtime.init_node, bench.node),
        "create_container": partial(bench.create, Exits(0)),
        "stop_container": partial(runtime.stop_container, ended, grace_seconds=0),
        "get_container_status": partial(runtime.get_container_status, ended),
        "list_containers": partial(runtime.list_containers, bench.node),
        "remove_container": partial(runtime.remove_container, ended),
        "aclose": runtime.aclose,
    }
    for name, call in calls.items():
        with trio.CancelScope() as scope:
            scope.cancel()
            await call()
        assert scope.cancelled_caught, f"{name} returned in a cancelled scope"


@clause("STATUS-1", "a status says whose it is")
async def status_names(bench: Bench) -> None:
    for attempt, name in ((0, "main"), (2, "side")):
        container_id = await bench.create(attempt=attempt, name=name)
        status = await bench.status(container_id)
        equal((status.name, status.attempt, status.container_id), (name, attempt, container_id))


@clause("STATUS-2", "the exit code is told")
async def exit_code(bench: Bench) -> None:
    for index, code in enumerate((0, 1, 3, 128, 255)):
        status = await bench.exited(await bench.create(Exits(code), index))
        assert status.exit is not None
        assert (status.exit.code, status.exit.signal) == (code, None), f"exit {code} is told as {status.exit}"


@clause("STATUS-2", "the signal that ended it is told", needs=("Dies",))
async def exit_signal(bench: Bench) -> None:
    for index, signal in enumerate((9, 15)):
        status = await bench.exited(await bench.create(Dies(signal), index))
        assert status.exit is not None
        told = (status.exit.code, status.exit.signal)
        assert told in {(None, signal), (128 + signal, None), (128 + signal, signal)}, f"signal {signal}: {status.exit}"


@clause("STATUS-3", "states only move forward")
async def states_move_forward(bench: Bench) -> None:
    container_id = await bench.create()
    seen: list[ContainerState] = []

    async def look(until: ContainerState) -> bool:
        state = await bench.state(container_id)
        if state is not ContainerState.UNKNOWN:
            seen.append(state)
        return state is until

    await bench.until(partial(look, ContainerState.RUNNING), "it runs")
    for _ in range(5):
        await look(ContainerState.RUNNING)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(bench.runtime.stop_container, container_id, grace_seconds=30))
        await bench.until(partial(look, ContainerState.EXITED), "it has ended")
    for _ in range(5):
        await look(ContainerState.EXITED)
    places = [ORDER.index(state) for state in seen]
    assert places == sorted(places), f"went back: {[state.value for state in seen]}"


@clause("STATUS-4", "an ended container's status never changes")
async def end_is_final(bench: Bench) -> None:
    container_id = await bench.create(Exits(3))
    before = await bench.exited(container_id)
    await bench.create(attempt=1)
    await bench.runtime.stop_container(container_id, grace_seconds=0)
    for _ in range(10):
        await trio.sleep(0.005)
        equal(await bench.status(container_id), before)


@clause("STATUS-4", "an ended container's status survives a restart of the program", needs=("reopen",))
async def end_outlives_program(bench: Bench) -> None:
    container_id, stopped = await bench.create(Exits(3), 0), await bench.create(Sleeps(), 1)
    await bench.exited(container_id)
    await bench.runtime.stop_container(stopped, grace_seconds=0)
    before = [await bench.status(container_id), await bench.status(stopped)]
    await bench.reopen()
    equal([await bench.status(container_id), await bench.status(stopped)], before)


@clause("STATUS-5", "the times are utc and in order")
async def times(bench: Bench) -> None:
    running = await bench.running(await bench.create(Sleeps(), 0))
    assert running.created_at is not None
    assert running.started_at is not None
    assert running.finished_at is None, "it has not ended"
    ended = await bench.exited(await bench.create(Exits(0), 1))
    assert ended.created_at is not None
    assert ended.started_at is not None
    assert ended.finished_at is not None
    for time in (running.created_at, running.started_at, ended.created_at, ended.started_at, ended.finished_at):
        assert time.utcoffset() == timedelta(0), f"{time!r} is not in UTC"
    assert running.created_at <= running.started_at, running
    assert ended.created_at <= ended.started_at <= ended.finished_at, ended


@clause("STATUS-6", "the host ports are told by name", needs=("free_port",))
async def ports_told(bench: Bench) -> None:
    assert bench.subject.free_port is not None
    port = bench.subject.free_port()
    config = bench.config(Sleeps(), **bench.ports(port))
    container_id = await bench.runtime.create_container(config, bench.options())
    equal(dict((await bench.running(container_id)).ports), {"kit": port})


@clause("STATUS-7", "health and the next attempt are left to others")
async def not_filled_in(bench: Bench) -> None:
    for status in (await bench.running(await bench.create()), await bench.exited(await bench.create(Exits(1), 1))):
        equal(status.health, ContainerHealth.UNCHECKED)
        equal(status.next_attempt_at, None)


@clause("STATUS-8", "an unknown container has no status")
async def unknown_status(bench: Bench) -> None:
    with expect(ContainerNotFound, "it never existed"):
        await bench.status(ContainerId("no-such-container"))


@clause("LIST-1", "all containers are listed once and ended ones too")
async def all_listed(bench: Bench) -> None:
    ended = [await bench.create(Exits(0), index) for index in range(3)]
    running = [await bench.create(Sleeps(), index) for index in range(3, 6)]
    for container_id in ended:
        await bench.exited(container_id)
    equal(set(await bench.summaries()), {*ended, *running})


@clause("LIST-2", "a list says what the statuses say")
async def list_as_status(bench: Bench) -> None:
    ended, runs = await bench.create(Exits(2), 0), await bench.create(Sleeps(), 1, 3, 2)
    statuses = {ended: await bench.exited(ended), runs: await bench.running(runs)}
    summaries = await bench.summaries()
    equal({container_id: summary.status for container_id, summary in summaries.items()}, statuses)
    equal({summary.instance for summary in summaries.values()}, {bench.instance(0, 1), bench.instance(1, 3)})
    equal({summary.node_id for summary in summaries.values()}, {bench.node})


@clause("LIST-3", "a list is of one node", needs=("other_node",))
async def list_of_one_node(bench: Bench) -> None:
    other = bench.subject.other_node
    here, there = await bench.create(index=0), await bench.create(index=1, node=other)
    equal(set(await bench.summaries()), {here})
    equal(set(await bench.summaries(other)), {there})


@clause("LIST-4", "a node that was not initialised can not be listed")
async def list_unknown(bench: Bench) -> None:
    with expect(NodeNotFound, "it was not initialised"):
        await bench.runtime.list_containers(NodeId("kit-never-initialised"))
