"""Checks of exec, stats and events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

import trio
from orchestrion.runtime_interface import CommandNotExecutable, CommandNotFound, ExecSession, LogStream, RuntimeClosed
from orchestrion.shared_types import (
    ContainerId,
    ContainerNotFound,
    ContainerState,
    NodeId,
    NodeNotFound,
    RuntimeFailure,
)

from ._behaviour import (
    Behaviour,
    CannotStart,
    CopiesStdin,
    Exits,
    NotExecutable,
    Prints,
    PrintsEnvironment,
    Sleeps,
    pattern,
)
from ._bench import EVENTS, EXEC, LOGS, STATS, Bench, clause, equal, expect

UNKNOWN = ContainerId("no-such-container")

KEPT_BYTES = 1 << 20
"""So much of unread output is kept in any case."""

MANY_BYTES = 3_000_000
"""Much more than what is kept of it."""


async def read_all(session: ExecSession) -> dict[LogStream, bytes]:
    """Return all that a command writes, by stream."""
    got = dict.fromkeys(LogStream, b"")
    async for item in session.output():
        assert item.data, "an empty piece of output"
        got[item.stream] += item.data
    return got


async def place(bench: Bench) -> ContainerId:
    """Return a container that runs."""
    container_id = await bench.create()
    await bench.running(container_id)
    return container_id


def execs(clause_id: str, sentence: str, *needs: str) -> Callable[..., Callable[[Bench], Awaitable[None]]]:
    """Declare a check that needs exec."""
    return clause(clause_id, sentence, requires=EXEC, needs=needs)


@execs("EXEC-1", "a command's exit code is told")
async def exec_code(bench: Bench) -> None:
    container_id = await place(bench)
    for code in (0, 3):
        async with bench.execs.exec_in_container(container_id, bench.command(Exits(code))) as session:
            with bench.promptly("the command ends"):
                equal((await session.wait()).code, code)


@execs("EXEC-1", "a command's output is told by stream", "Prints")
async def exec_output(bench: Bench) -> None:
    container_id = await place(bench)
    for stream in LogStream:
        async with bench.execs.exec_in_container(container_id, bench.command(Prints(5000, stream))) as session:
            with bench.promptly("the output ends"):
                got = await read_all(session)
        equal(got, {**dict.fromkeys(LogStream, b""), stream: pattern(0, 5000)})


@execs("EXEC-2", "a command reads its standard input to the end", "CopiesStdin")
async def exec_stdin(bench: Bench) -> None:
    container_id = await place(bench)
    async with bench.execs.exec_in_container(container_id, bench.command(CopiesStdin())) as session:
        await session.send_stdin(b"one\n")
        await session.send_stdin(b"two\n")
        await session.close_stdin()
        await session.close_stdin()
        with bench.promptly("the command ends with its input"):
            equal((await read_all(session))[LogStream.STDOUT], b"one\ntwo\n")
            equal((await session.wait()).code, 0)


@execs("EXEC-3", "input that is no longer read is dropped")
async def exec_late_stdin(bench: Bench) -> None:
    container_id = await place(bench)
    async with bench.execs.exec_in_container(container_id, bench.command(Exits(0))) as session:
        with bench.promptly("the command ends"):
            await session.wait()
            await session.send_stdin(b"too late\n" * 50_000)
            await session.close_stdin()


@execs("EXEC-4", "leaving kills the command", "processes")
async def exec_leaving(bench: Bench) -> None:
    assert bench.subject.processes is not None
    container_id, token = await place(bench), bench.token()
    with bench.promptly("leaving does not wait for the command"):
        async with bench.execs.exec_in_container(container_id, bench.command(Sleeps(token))):
            await bench.until(partial(bench.subject.processes, token), "the command runs")
    equal(await bench.subject.processes(token), 0)
    assert await bench.state(container_id) is ContainerState.RUNNING, "the container itself is not touched"


@execs("EXEC-5", "nothing runs in an unknown container")
async def exec_unknown(bench: Bench) -> None:
    with expect(ContainerNotFound, "it never existed"):
        async with bench.execs.exec_in_container(UNKNOWN, bench.command(Exits(0))):
            pass


@execs("EXEC-6", "nothing runs in a container that has ended")
async def exec_in_ended(bench: Bench) -> None:
    container_id = await bench.create(Exits(0))
    await bench.exited(container_id)
    with expect(RuntimeFailure, "it has ended"):
        async with bench.execs.exec_in_container(container_id, bench.command(Exits(0))):
            pass


@execs("EXEC-7", "a command that can not be started is a failure on entering", "CannotStart")
async def exec_cannot_start(bench: Bench) -> None:
    container_id = await place(bench)
    with expect(RuntimeFailure, "there is no such program"):
        async with bench.execs.exec_in_container(container_id, bench.command(CannotStart())):
            pass


@execs("EXEC-12", "a program that is not there is told as such", "CannotStart")
async def exec_not_found(bench: Bench) -> None:
    container_id = await place(bench)
    with expect(CommandNotFound, "there is no such program"):
        async with bench.execs.exec_in_container(container_id, bench.command(CannotStart())):
            pass


@execs("EXEC-13", "a program that can not be executed is told as such", "NotExecutable")
async def exec_not_executable(bench: Bench) -> None:
    container_id = await place(bench)
    with expect(CommandNotExecutable, "the program can't be executed"):
        async with bench.execs.exec_in_container(container_id, bench.command(NotExecutable())):
            pass


@execs("EXEC-8", "output that nobody reads does not keep a command from ending", "Prints")
async def exec_unread(bench: Bench) -> None:
    container_id = await place(bench)
    async with bench.execs.exec_in_container(container_id, bench.command(Prints(MANY_BYTES))) as session:
        with bench.promptly("the command ends"):
            equal((await session.wait()).code, 0)


@execs("EXEC-8", "what is kept of output that nobody reads is its beginning", "Prints")
async def exec_unread_beginning(bench: Bench) -> None:
    container_id = await place(bench)
    async with bench.execs.exec_in_container(container_id, bench.command(Prints(MANY_BYTES))) as session:
        with bench.promptly("the command ends, and so does its output"):
            await session.wait()
            got = (await read_all(session))[LogStream.STDOUT]
    assert len(got) >= KEPT_BYTES, f"of {MANY_BYTES} unread bytes {len(got)} were kept, and not {KEPT_BYTES}"
    _expect_beginning(got)


@execs("EXEC-11", "a slow reader gets every byte also while somebody waits", "Prints")
async def exec_slow_reader(bench: Bench) -> None:
    container_id, got = await place(bench), b""
    async with bench.execs.exec_in_container(container_id, bench.command(Prints(MANY_BYTES))) as session:
        reader = session.output()
        with bench.promptly("the output ends"):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(session.wait)
                await trio.sleep(bench.subject.settle_seconds)
                async for item in reader:
                    got += item.data
                    if len(got) < KEPT_BYTES // 2:
                        await trio.sleep(0.01)
    _expect_all(got)


@execs("EXEC-11", "a late reader gets every byte if nobody waits", "Prints")
async def exec_late_reader(bench: Bench) -> None:
    container_id = await place(bench)
    async with bench.execs.exec_in_container(container_id, bench.command(Prints(MANY_BYTES))) as session:
        await trio.sleep(bench.subject.settle_seconds)
        with bench.promptly("the output ends"):
            got = (await read_all(session))[LogStream.STDOUT]
    _expect_all(got)


def _expect_beginning(got: bytes) -> None:
    expected = pattern(0, len(got))
    if got != expected:
        first = next(place for place, (one, other) in enumerate(zip(got, expected, strict=True)) if one != other)
        msg = f"of the {len(got)} bytes that came the first {first} are as they were written, and then some are missing"
        raise AssertionError(msg)


def _expect_all(got: bytes) -> None:
    _expect_beginning(got)
    assert len(got) == MANY_BYTES, (
        f"of {MANY_BYTES} bytes {len(got)} came, though there was a reader or nobody waited: a command that writes "
        "faster than it is read has to wait"
    )


@execs("EXEC-9", "a command has the container's environment", "PrintsEnvironment")
async def exec_environment(bench: Bench) -> None:
    config = bench.config(Sleeps(), env_vars={"KIT_EXEC": "of the container"})
    container_id = await bench.runtime.create_container(config, bench.options())
    await bench.running(container_id)
    async with bench.execs.exec_in_container(container_id, bench.command(PrintsEnvironment())) as session:
        with bench.promptly("the command ends"):
            printed = (await read_all(session))[LogStream.STDOUT]
    assert b"KIT_EXEC=of the container" in printed.split(b"\0"), "KIT_EXEC is not as the container has it"


@execs("EXEC-10", "a command ends with its container")
async def exec_ends_with_container(bench: Bench) -> None:
    container_id = await place(bench)
    async with bench.execs.exec_in_container(container_id, bench.command(Sleeps())) as session:
        with bench.promptly("the container and the command end"):
            await bench.runtime.stop_container(container_id, grace_seconds=0)
            assert not (await session.wait()).succeeded, "the command was not killed"


@clause("STATS-1", "a running container's use is told", requires=STATS)
async def stats_running(bench: Bench) -> None:
    stats = await bench.stats.get_container_stats(await place(bench))
    assert stats.sampled_at.utcoffset() == timedelta(0), f"{stats.sampled_at!r} is not in UTC"
    assert stats.processes >= 1, stats
    assert stats.memory_bytes > 0, stats
    assert stats.cpu_nanoseconds >= 0, stats


@clause("STATS-2", "processor time never falls", requires=STATS)
async def stats_never_fall(bench: Bench) -> None:
    container_id = await place(bench)
    used = []
    for _ in range(5):
        used.append((await bench.stats.get_container_stats(container_id)).cpu_nanoseconds)
        await trio.sleep(0.02)
    await bench.runtime.stop_container(container_id, grace_seconds=0)
    used.append((await bench.stats.get_container_stats(container_id)).cpu_nanoseconds)
    assert used == sorted(used), used


@clause("STATS-3", "what has ended uses no memory and has no processes", requires=STATS)
async def stats_ended(bench: Bench) -> None:
    container_id = await bench.create(Exits(0))
    await bench.exited(container_id)
    stats = await bench.stats.get_container_stats(container_id)
    assert (stats.memory_bytes, stats.processes) == (0, 0), stats


@clause("STATS-4", "an unknown container uses nothing that could be told", requires=STATS)
async def stats_unknown(bench: Bench) -> None:
    with expect(ContainerNotFound, "it never existed"):
        await bench.stats.get_container_stats(UNKNOWN)


async def hinted(bench: Bench, behaviours: tuple[Behaviour, ...], *, change: bool) -> None:
    """Assert that by hints alone all is seen: that containers came, and, where they change, that they ended."""
    wanted = ContainerState.EXITED if change else ContainerState.RUNNING
    with bench.promptly("hints tell all changes"):
        async with bench.events.watch_containers(bench.node) as hints:
            ids = [await bench.create(behaviour, index) for index, behaviour in enumerate(behaviours)]
            left = set(ids)
            if change:
                for container_id in ids:
                    await bench.runtime.stop_container(container_id, grace_seconds=0)
            async for hint in hints:
                for container_id in left.copy() if hint.container_id is None else left & {hint.container_id}:
                    if await bench.state(container_id) is wanted:
                        left.discard(container_id)
                if not left:
                    break


@clause("EVENTS-1", "a start is announced", requires=EVENTS)
async def start_announced(bench: Bench) -> None:
    await hinted(bench, (Sleeps(),), change=False)


@clause("EVENTS-1", "a stop is announced", requires=EVENTS)
async def stop_announced(bench: Bench) -> None:
    await hinted(bench, (Sleeps(), Sleeps(), Sleeps()), change=True)


@clause("EVENTS-1", "an exit is announced", requires=EVENTS)
async def exit_announced(bench: Bench) -> None:
    with bench.promptly("a hint tells the exit"):
        async with bench.events.watch_containers(bench.node) as hints:
            container_id = await bench.create(Exits(0))
            async for hint in hints:
                if (
                    hint.container_id in {None, container_id}
                    and await bench.state(container_id) is ContainerState.EXITED
                ):
                    break


@clause("EVENTS-2", "changes are announced from entering on and not only from the first reading", requires=EVENTS)
async def armed_on_entering(bench: Bench) -> None:
    container_id = await place(bench)
    async with bench.events.watch_containers(bench.node) as hints:
        await bench.runtime.stop_container(container_id, grace_seconds=0)
        await trio.sleep(0.2)
        with bench.promptly("a hint of a change before the first reading"):
            async for hint in hints:
                if hint.container_id in {None, container_id}:
                    break


@clause("EVENTS-3", "a slow reader learns of every container or that it lost hints", requires=EVENTS)
async def slow_reader(bench: Bench) -> None:
    async with bench.events.watch_containers(bench.node) as hints:
        left = {await bench.create(Exits(0), index) for index in range(20)}
        for container_id in left:
            await bench.exited(container_id)
        with bench.promptly("hints about all of them, or one about none in particular"):
            async for hint in hints:
                left.discard(hint.container_id or ContainerId(""))
                if hint.container_id is None or not left:
                    break


@clause("EVENTS-4", "a node that was not initialised can not be watched", requires=EVENTS)
async def watch_unknown(bench: Bench) -> None:
    with expect(NodeNotFound, "it was not initialised"):
        async with bench.events.watch_containers(NodeId("kit-never-initialised")):
            pass


@clause("EVENTS-5", "two readers both learn of a change", requires=EVENTS)
async def two_readers(bench: Bench) -> None:
    container_id = await place(bench)
    watch = bench.events.watch_containers
    with bench.promptly("each reader gets a hint"):
        async with watch(bench.node) as one, watch(bench.node) as other:
            await bench.runtime.stop_container(container_id, grace_seconds=0)
            for hints in (one, other):
                async for hint in hints:
                    if hint.container_id in {None, container_id}:
                        break


@clause("EVENTS-6", "the status in a hint shows the change that it is about", requires=EVENTS)
async def status_in_hints(bench: Bench) -> None:
    async with bench.events.watch_containers(bench.node) as hints:
        container_id = await bench.create(Exits(0))
        await bench.exited(container_id)
        with bench.promptly("a hint without a status, or with the one at the exit or later"):
            async for hint in hints:
                if hint.status is None:
                    if hint.container_id in {None, container_id}:
                        break
                    continue
                if hint.container_id != hint.status.container_id:
                    msg = f"a hint about container {hint.container_id} has the status of {hint.status.container_id}"
                    raise AssertionError(msg)
                if hint.container_id == container_id and hint.status.state is ContainerState.EXITED:
                    break


@clause("CLOSE-1", "abilities are refused after closing too")
async def abilities_closed(bench: Bench) -> None:
    container_id = await place(bench)
    await bench.runtime.aclose()
    why = "the runtime was closed"
    if LOGS in bench.runtime.capabilities:
        with expect(RuntimeClosed, why):
            await bench.logs.read_logs(container_id, LogStream.STDOUT)
        with expect(RuntimeClosed, why):
            async with bench.logs.follow_logs(container_id, LogStream.STDOUT):
                pass
    if EXEC in bench.runtime.capabilities:
        with expect(RuntimeClosed, why):
            async with bench.execs.exec_in_container(container_id, bench.command(Exits(0))):
                pass
    if STATS in bench.runtime.capabilities:
        with expect(RuntimeClosed, why):
            await bench.stats.get_container_stats(container_id)
    if EVENTS in bench.runtime.capabilities:
        with expect(RuntimeClosed, why):
            async with bench.events.watch_containers(bench.node):
                pass
