"""Checks of logs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.conformance_kit import Runner
from orchestrion.runtime_interface import LogChunk, LogStream
from orchestrion.shared_types import ContainerId, ContainerNotFound, ContainerState

from ._behaviour import Prints, Sleeps, pattern
from ._bench import LOGS, Bench, clause, equal, expect, property_clause

OUT, ERR = LogStream.STDOUT, LogStream.STDERR
PRINTS = ("Prints",)
SIZE = 100_000
"""More than a pipe holds, so that a reader who waits for the end before reading stops the writer."""


def check_chunk(chunk: LogChunk, wanted: int) -> int:
    """Assert that a chunk goes on from `wanted`, and return where the next one is to go on."""
    assert chunk.offset == wanted + chunk.gap_bytes, (
        f"wanted {wanted}, gap {chunk.gap_bytes}, got offset {chunk.offset}"
    )
    assert chunk.data == pattern(chunk.offset, len(chunk.data)), f"wrong bytes at {chunk.offset}: {chunk.data[:48]!r}"
    assert chunk.data or chunk.gap_bytes or chunk.final, "a chunk that says nothing"
    return chunk.offset + len(chunk.data)


async def follow(bench: Bench, container_id: ContainerId, stream: LogStream = OUT, offset: int = 0) -> list[LogChunk]:
    """Follow to the end, and assert that nothing is missing, doubled or wrong."""
    chunks: list[LogChunk] = []
    with bench.promptly("the log comes to its end"):
        async with bench.logs.follow_logs(container_id, stream, offset=offset) as log:
            async for chunk in log:
                offset = check_chunk(chunk, offset)
                chunks.append(chunk)
    return chunks


async def printed(bench: Bench, size: int = SIZE, stream: LogStream = OUT) -> ContainerId:
    """Return a container that has ended after printing."""
    container_id = await bench.create(Prints(size, stream))
    await bench.exited(container_id)
    return container_id


def logs(clause_id: str, sentence: str, *needs: str) -> Callable[..., Callable[[Bench], Awaitable[None]]]:
    """Declare a check that needs logs and something printed."""
    return clause(clause_id, sentence, requires=LOGS, needs=(*PRINTS, *needs))


@logs("LOGS-1", "each stream is kept apart")
async def streams(bench: Bench) -> None:
    for index, (stream, other) in enumerate(((OUT, ERR), (ERR, OUT))):
        container_id = await bench.create(Prints(1000, stream), index)
        await bench.exited(container_id)
        chunk = await bench.logs.read_logs(container_id, stream)
        equal((chunk.stream, chunk.offset, chunk.data), (stream, 0, pattern(0, 1000)))
        equal((await bench.logs.read_logs(container_id, other)).data, b"")


@logs("LOGS-1", "each attempt has a log of its own")
async def attempts(bench: Bench) -> None:
    first = await printed(bench, 100)
    second = await bench.create(Prints(200), attempt=1)
    await bench.exited(second)
    for container_id, size in ((first, 100), (second, 200)):
        equal((await bench.logs.read_logs(container_id, OUT)).data, pattern(0, size))


@logs("LOGS-2", "what nobody reads does not stop a container")
async def not_stopped(bench: Bench) -> None:
    container_id = await bench.create(Prints(2_000_000))
    status = await bench.exited(container_id)
    assert status.exit is not None
    assert status.exit.code == 0, status.exit


@logs("LOGS-3", "reading does not wait for more")
async def no_wait(bench: Bench) -> None:
    container_id = await bench.create(Sleeps())
    await bench.running(container_id)
    with bench.promptly("an empty log is read at once"):
        chunk = await bench.logs.read_logs(container_id, OUT)
    equal((chunk.offset, chunk.data, chunk.final), (0, b"", False))


@property_clause("LOGS-4", "any piece can be read by its offset", requires=LOGS, needs=PRINTS)
def any_piece(run: Runner[Bench]) -> None:
    size = 5000
    pieces = st.lists(st.tuples(st.integers(0, size + 50), st.integers(1, size + 50)), min_size=10, max_size=40)

    async def main(bench: Bench, wanted: list[tuple[int, int]]) -> None:
        container_id = await printed(bench, size)
        for offset, most in wanted:
            chunk = await bench.logs.read_logs(container_id, OUT, offset=offset, max_bytes=most)
            start = min(offset, size)
            assert (chunk.offset, chunk.gap_bytes) == (start, 0), f"offset {offset}: {chunk.offset}"
            assert len(chunk.data) <= most, f"{len(chunk.data)} bytes, max_bytes {most}"
            assert chunk.data == pattern(start, len(chunk.data)), f"wrong bytes at {start}"
            assert chunk.data or start == size, f"nothing at {offset} of {size}"

    @run.settings()
    @given(pieces)
    def holds(wanted: list[tuple[int, int]]) -> None:
        run(main, wanted)

    holds()


@logs("LOGS-5", "a negative offset counts from the end")
async def negative_offset(bench: Bench) -> None:
    container_id = await printed(bench, 1000)
    for back in (1, 16, 999, 1000, 5000):
        chunk = await bench.logs.read_logs(container_id, OUT, offset=-back)
        start = max(0, 1000 - back)
        assert (chunk.offset, chunk.data, chunk.gap_bytes) == (start, pattern(start, 1000 - start), 0), (
            f"offset -{back}"
        )


@logs("LOGS-6", "beyond the end is an empty chunk at the end")
async def beyond_end(bench: Bench) -> None:
    container_id = await printed(bench, 1000)
    for offset in (1000, 1001, 10**9):
        chunk = await bench.logs.read_logs(container_id, OUT, offset=offset)
        assert (chunk.offset, chunk.data, chunk.gap_bytes, chunk.final) == (1000, b"", 0, True), f"offset {offset}"


@logs("LOGS-7", "no more than max bytes are given")
async def most_bytes(bench: Bench) -> None:
    container_id = await printed(bench, 1000)
    for most in (1, 17, 1000):
        data = (await bench.logs.read_logs(container_id, OUT, max_bytes=most)).data
        equal(data, pattern(0, len(data)))
        assert 0 < len(data) <= most, f"{len(data)} bytes, max_bytes {most}"


@logs("LOGS-8", "what is no longer kept is counted", "log_budget_bytes")
async def gap_is_counted(bench: Bench) -> None:
    assert bench.subject.log_budget_bytes is not None
    size = 3 * bench.subject.log_budget_bytes
    container_id = await printed(bench, size)
    chunk = await bench.logs.read_logs(container_id, OUT)
    assert chunk.gap_bytes > 0, f"of {size} bytes all are kept, though log_budget_bytes is a third of that"
    check_chunk(chunk, 0)
    chunks = await follow(bench, container_id)
    equal(sum(len(chunk.data) + chunk.gap_bytes for chunk in chunks), size)
    last = await bench.logs.read_logs(container_id, OUT, offset=-100)
    equal((last.offset, last.data), (size - 100, pattern(size - 100, 100)))


@logs("LOGS-9", "an unknown container has no log")
async def unknown_log(bench: Bench) -> None:
    with expect(ContainerNotFound, "it never existed"):
        await bench.logs.read_logs(ContainerId("no-such-container"), OUT)
    with expect(ContainerNotFound, "it never existed"):
        async with bench.logs.follow_logs(ContainerId("no-such-container"), OUT):
            pass


@logs("LOGS-10", "final is said of what has ended and of nothing else")
async def final(bench: Bench) -> None:
    ended = await printed(bench, 1000)
    assert (await bench.logs.read_logs(ended, OUT)).final, "it has ended and all was read"
    assert not (await bench.logs.read_logs(ended, OUT, max_bytes=999)).final, "more comes after this chunk"
    runs = await bench.create(Prints(1000, then_sleeps=True), 1)

    async def all_there() -> bool:
        return len((await bench.logs.read_logs(runs, OUT)).data) == 1000

    await bench.until(all_there, "1000 bytes are printed")
    assert not (await bench.logs.read_logs(runs, OUT)).final, "it still runs"


@logs("LOGS-11", "logs are kept until removal and over a restart of the program", "reopen")
async def kept(bench: Bench) -> None:
    container_id = await printed(bench, 1000)
    await bench.reopen()
    chunk = await bench.logs.read_logs(container_id, OUT)
    equal((chunk.offset, chunk.data, chunk.final), (0, pattern(0, 1000), True))


@logs("FOLLOW-1", "following gives all bytes once and ends with final")
async def follow_all(bench: Bench) -> None:
    container_id = await bench.create(Prints(SIZE))
    chunks = await follow(bench, container_id)
    equal(sum(len(chunk.data) + chunk.gap_bytes for chunk in chunks), SIZE)
    equal([chunk.final for chunk in chunks].count(True), 1)
    assert chunks[-1].final, "the last chunk is not final"


@logs("FOLLOW-1", "following what has ended gives all and ends")
async def follow_ended(bench: Bench) -> None:
    container_id = await printed(bench)
    chunks = await follow(bench, container_id)
    equal(sum(len(chunk.data) + chunk.gap_bytes for chunk in chunks), SIZE)
    assert chunks[-1].final, "the last chunk is not final"


@logs("FOLLOW-2", "following begins at the offset")
async def follow_offset(bench: Bench) -> None:
    container_id = await bench.create(Prints(1000))
    for offset in (500, 1000):
        chunks = await follow(bench, container_id, offset=offset)
        equal(b"".join(chunk.data for chunk in chunks), pattern(offset, 1000 - offset))
        assert chunks[-1].final, "the last chunk is not final"


@logs("FOLLOW-3", "bytes come before the container ends")
async def follow_running(bench: Bench) -> None:
    container_id = await bench.create(Prints(1000, then_sleeps=True))
    offset = 0
    with bench.promptly("what was printed comes, though the container goes on"):
        async with bench.logs.follow_logs(container_id, OUT) as log:
            async for chunk in log:
                offset = check_chunk(chunk, offset)
                assert not chunk.final, "it still runs"
                if offset == 1000:
                    break
    equal(await bench.state(container_id), ContainerState.RUNNING)


@logs("FOLLOW-4", "an end while following is told")
async def follow_over_end(bench: Bench) -> None:
    container_id = await bench.create(Prints(1000, then_sleeps=True))
    await bench.running(container_id)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow, bench, container_id)
        await trio.sleep(0.05)
        await bench.runtime.stop_container(container_id, grace_seconds=0)
        chunks = await follow(bench, container_id)
    assert chunks[-1].final, "the last chunk is not final"


@logs("FOLLOW-5", "a removal while following ends it")
async def follow_over_removal(bench: Bench) -> None:
    container_id = await bench.create(Prints(1000, then_sleeps=True))
    await bench.running(container_id)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow, bench, container_id)
        await trio.sleep(0.05)
        with bench.promptly("the removal returns"):
            await bench.runtime.remove_container(container_id)


@logs("FOLLOW-6", "four followers get the same bytes")
async def followers(bench: Bench) -> None:
    container_id = await bench.create(Prints(SIZE))
    sizes: list[int] = []

    async def one() -> None:
        sizes.append(sum(len(chunk.data) + chunk.gap_bytes for chunk in await follow(bench, container_id)))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(one)
    equal(sizes, [SIZE] * 4)


@logs("FOLLOW-7", "a follower that leaves early disturbs nobody")
async def leave_early(bench: Bench) -> None:
    container_id = await bench.create(Prints(SIZE))
    async with bench.logs.follow_logs(container_id, OUT):
        pass
    with trio.move_on_after(0.02):
        await follow(bench, container_id)
    await follow(bench, container_id)
    await bench.exited(container_id)
