"""Checks of stopping, removing and closing."""

from __future__ import annotations

from functools import partial

import trio
from orchestrion.runtime_interface import LogStream, RuntimeClosed
from orchestrion.shared_types import ContainerId, ContainerNotFound, ContainerState

from ._behaviour import Exits, Forks, IgnoresSigterm, Sleeps, TrapsSigterm
from ._bench import LOGS, Bench, at_once, clause, equal, expect

LONG = 3600.0
"""A grace that no check waits for."""

UNKNOWN = ContainerId("no-such-container")


async def no_process(bench: Bench, token: str) -> None:
    assert bench.subject.processes is not None
    left = await bench.subject.processes(token)
    assert left == 0, f"{left} processes are left"


async def both_processes(bench: Bench) -> tuple[ContainerId, str]:
    assert bench.subject.processes is not None
    token = bench.token()
    container_id = await bench.create(Forks(token))
    await bench.ready(container_id)
    count = await bench.subject.processes(token)
    assert count >= 2, f"config_for(Forks) started {count} processes with its token, not two"
    return container_id, token


@clause("STOP-1", "a container has ended when the call returns")
async def ended_on_return(bench: Bench) -> None:
    container_id = await bench.create()
    await bench.running(container_id)
    await bench.runtime.stop_container(container_id, grace_seconds=LONG)
    equal(await bench.state(container_id), ContainerState.EXITED)


@clause("STOP-1", "what still starts or waits can be stopped")
async def stop_at_once(bench: Bench) -> None:
    container_id = await bench.create()
    await bench.runtime.stop_container(container_id, grace_seconds=LONG)
    equal(await bench.state(container_id), ContainerState.EXITED)


@clause("STOP-2", "every process that it started has ended", needs=("Forks", "processes"))
async def tree_ended(bench: Bench) -> None:
    container_id, token = await both_processes(bench)
    await bench.runtime.stop_container(container_id, grace_seconds=0.3)
    await no_process(bench, token)


@clause("STOP-3", "it gets sigterm at once and can end by itself", needs=("TrapsSigterm",))
async def sigterm_first(bench: Bench) -> None:
    container_id = await bench.create(TrapsSigterm(3))
    await bench.ready(container_id)
    with bench.promptly("it ends by SIGTERM, long before the grace is over"):
        await bench.runtime.stop_container(container_id, grace_seconds=LONG)
    status = await bench.status(container_id)
    assert status.exit is not None
    assert status.exit.code == 3, status.exit


@clause("STOP-4", "it is not killed before the grace is over", needs=("IgnoresSigterm",))
async def grace_is_given(bench: Bench) -> None:
    container_id = await bench.create(IgnoresSigterm())
    await bench.ready(container_id)
    grace = 0.4
    called_at = trio.current_time()
    returned_at = 0.0

    async def stop() -> None:
        nonlocal returned_at
        await bench.runtime.stop_container(container_id, grace_seconds=grace)
        returned_at = trio.current_time()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop)
        await trio.sleep(grace / 2)
        half_way = await bench.state(container_id)
        in_time = trio.current_time() < called_at + grace
    assert not in_time or half_way is ContainerState.RUNNING, f"half way through the grace it is {half_way}"
    assert returned_at - called_at >= grace - 0.01, f"killed after {returned_at - called_at:.3f} s, grace {grace} s"
    status = await bench.status(container_id)
    assert status.exit is not None
    assert not status.exit.succeeded, status.exit


@clause("STOP-5", "after the grace it is killed", needs=("IgnoresSigterm",))
async def killed_after_grace(bench: Bench) -> None:
    container_id = await bench.create(IgnoresSigterm())
    await bench.ready(container_id)
    with bench.promptly("it is killed after a grace of 0.2 s"):
        await bench.runtime.stop_container(container_id, grace_seconds=0.2)
    equal(await bench.state(container_id), ContainerState.EXITED)


@clause("STOP-6", "a grace of zero kills at once", needs=("IgnoresSigterm",))
async def no_grace(bench: Bench) -> None:
    container_id = await bench.create(IgnoresSigterm())
    await bench.ready(container_id)
    with bench.promptly("it is killed"):
        await bench.runtime.stop_container(container_id, grace_seconds=0)
    equal(await bench.state(container_id), ContainerState.EXITED)


@clause("STOP-7", "a stopped container stays listed until it is removed")
async def stays_listed(bench: Bench) -> None:
    container_id = await bench.create()
    await bench.runtime.stop_container(container_id, grace_seconds=0)
    listed = await bench.summaries()
    assert container_id in listed, "it is not listed"
    equal(listed[container_id].status.state, ContainerState.EXITED)
    await bench.runtime.remove_container(container_id)
    equal(await bench.summaries(), {})


@clause("STOP-8", "stopping what has ended ten times changes nothing")
async def stop_ended(bench: Bench) -> None:
    container_id = await bench.create(Exits(4))
    before = await bench.exited(container_id)
    for _ in range(10):
        await bench.runtime.stop_container(container_id, grace_seconds=0)
    equal(await bench.status(container_id), before)


@clause("STOP-9", "a second call may shorten the grace", needs=("IgnoresSigterm",))
async def shorter_grace(bench: Bench) -> None:
    container_id = await bench.create(IgnoresSigterm())
    await bench.ready(container_id)
    with bench.promptly("a grace of 0 ends the wait of the first call too"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(bench.runtime.stop_container, container_id, grace_seconds=LONG))
            await trio.sleep(0.05)
            await bench.runtime.stop_container(container_id, grace_seconds=0)
    equal(await bench.state(container_id), ContainerState.EXITED)


@clause("STOP-10", "a second call never lengthens the grace", needs=("IgnoresSigterm",))
async def no_longer_grace(bench: Bench) -> None:
    container_id = await bench.create(IgnoresSigterm())
    await bench.ready(container_id)
    with bench.promptly("the first call's grace of 0.3 s holds"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(bench.runtime.stop_container, container_id, grace_seconds=0.3))
            await trio.sleep(0.05)
            await bench.runtime.stop_container(container_id, grace_seconds=LONG)
    equal(await bench.state(container_id), ContainerState.EXITED)


@clause("STOP-11", "an unknown container can not be stopped")
async def stop_unknown(bench: Bench) -> None:
    with expect(ContainerNotFound, "it never existed"):
        await bench.runtime.stop_container(UNKNOWN, grace_seconds=0)
    container_id = await bench.create()
    await bench.runtime.remove_container(container_id)
    with expect(ContainerNotFound, "it was removed"):
        await bench.runtime.stop_container(container_id, grace_seconds=0)


@clause("STOP-12", "stopping one container leaves the others of its instance alone")
async def stop_one(bench: Bench) -> None:
    one, other = await bench.create(name="one"), await bench.create(name="other")
    before = await bench.running(other)
    await bench.runtime.stop_container(one, grace_seconds=LONG)
    equal(await bench.status(other), before)


@clause("CONCURRENCY-4", "four stops at once all return and the container has ended")
async def stops_at_once(bench: Bench) -> None:
    container_id = await bench.create()
    await bench.running(container_id)
    with bench.promptly("all return"):
        results = await at_once(*[partial(bench.runtime.stop_container, container_id, grace_seconds=LONG)] * 4)
    equal(results, [None] * 4)
    equal(await bench.state(container_id), ContainerState.EXITED)


@clause("CONCURRENCY-5", "a removal ends a stop that waits", needs=("IgnoresSigterm",))
async def remove_while_stopping(bench: Bench) -> None:
    container_id = await bench.create(IgnoresSigterm())
    await bench.ready(container_id)
    with bench.promptly("both return"):
        stop, remove = await at_once(
            partial(bench.runtime.stop_container, container_id, grace_seconds=LONG),
            partial(bench.runtime.remove_container, container_id),
        )
    assert remove is None, f"the removal failed: {remove!r}"
    assert stop is None or isinstance(stop, ContainerNotFound), f"the stop failed: {stop!r}"
    await bench.gone(container_id)


@clause("REMOVE-1", "a removed container is not listed and has no status")
async def removed_is_gone(bench: Bench) -> None:
    ended, runs = await bench.create(Exits(0), 0), await bench.create(Sleeps(), 1)
    await bench.exited(ended)
    await bench.runtime.remove_container(ended)
    await bench.gone(ended)
    equal(set(await bench.summaries()), {runs})


@clause("REMOVE-2", "what still runs is killed first", needs=("processes",))
async def remove_kills(bench: Bench) -> None:
    assert bench.subject.processes is not None
    token = bench.token()
    container_id = await bench.create(Sleeps(token))
    await bench.until(partial(bench.subject.processes, token), "its process runs")
    await bench.runtime.remove_container(container_id)
    await no_process(bench, token)
    await bench.gone(container_id)


@clause("REMOVE-2", "every process that it started is killed first", needs=("Forks", "processes"))
async def remove_kills_tree(bench: Bench) -> None:
    container_id, token = await both_processes(bench)
    await bench.runtime.remove_container(container_id)
    await no_process(bench, token)


@clause("REMOVE-3", "removing an unknown container succeeds")
async def remove_unknown(bench: Bench) -> None:
    container_id = await bench.create()
    await bench.runtime.remove_container(UNKNOWN)
    equal(set(await bench.summaries()), {container_id})


@clause("REMOVE-3", "removing ten times succeeds")
async def remove_repeated(bench: Bench) -> None:
    container_id = await bench.create()
    for _ in range(10):
        await bench.runtime.remove_container(container_id)
    await bench.gone(container_id)


@clause("REMOVE-4", "logs of a removed container are gone", requires=LOGS)
async def remove_takes_logs(bench: Bench) -> None:
    container_id = await bench.create()
    await bench.running(container_id)
    await bench.runtime.remove_container(container_id)
    with expect(ContainerNotFound, "it was removed"):
        await bench.logs.read_logs(container_id, LogStream.STDOUT)


@clause("REMOVE-6", "what was removed stays so after a restart of the program", needs=("reopen",))
async def removed_for_ever(bench: Bench) -> None:
    container_id, stays = await bench.create(index=0), await bench.create(index=1)
    await bench.runtime.remove_container(container_id)
    await bench.reopen()
    await bench.gone(container_id)
    equal(set(await bench.summaries()), {stays})


@clause("CONCURRENCY-6", "four removals at once all succeed")
async def removals_at_once(bench: Bench) -> None:
    container_id = await bench.create()
    results = await at_once(*[partial(bench.runtime.remove_container, container_id)] * 4)
    equal(results, [None] * 4)
    await bench.gone(container_id)


@clause("CLOSE-1", "all calls are refused after closing")
async def closed(bench: Bench) -> None:
    container_id = await bench.create()
    await bench.runtime.aclose()
    runtime = bench.runtime
    calls = (
        partial(runtime.init_node, bench.node),
        partial(runtime.list_containers, bench.node),
        partial(runtime.get_container_status, container_id),
        partial(runtime.stop_container, container_id, grace_seconds=0),
        partial(runtime.remove_container, container_id),
        partial(runtime.create_container, bench.config(Sleeps()), bench.options(1)),
    )
    for call in calls:
        with expect(RuntimeClosed, f"{call.func.__name__} after aclose"):
            await call()


@clause("CLOSE-2", "containers go on running after closing", needs=("reopen",))
async def containers_outlive_closing(bench: Bench) -> None:
    container_id = await bench.create()
    before = await bench.running(container_id)
    await bench.runtime.aclose()
    await bench.reopen()
    equal(await bench.status(container_id), before)


@clause("CLOSE-3", "closing twice succeeds")
async def closed_twice(bench: Bench) -> None:
    await bench.runtime.aclose()
    await bench.runtime.aclose()
    with expect(RuntimeClosed, "it was closed"):
        await bench.runtime.list_containers(bench.node)
