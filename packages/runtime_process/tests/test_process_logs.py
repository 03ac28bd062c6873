"""Logs: segments, gaps, budgets, and who must not wait for whom."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.runtime_interface import LogStream
from orchestrion.runtime_process import ProcessRuntime, _logs, _shim
from orchestrion.runtime_process._logs import read_chunk

OUT = LogStream.STDOUT
AT = 1_700_000_000_000_000_000


def written(directory: Path, pieces: list[tuple[int, bytes]]) -> None:
    """Write segments as a shim does."""
    for start, data in pieces:
        (directory / f"stdout-{start:020d}.log").write_bytes(data)
        (directory / f"stdout-{start:020d}.index").write_bytes(start.to_bytes(8, "little") + AT.to_bytes(8, "little"))


def read(directory: Path, offset: int, max_bytes: int = 100, total: int | None = None) -> tuple[int, bytes, int, bool]:
    chunk = read_chunk(directory, OUT, offset=offset, max_bytes=max_bytes, ended=True, total=total)
    return chunk.offset, chunk.data, chunk.gap_bytes, chunk.final


def test_segments_without_a_gap_read_as_one(tmp_path: Path) -> None:
    written(tmp_path, [(0, b"abc"), (3, b"def")])
    assert read(tmp_path, 0) == (0, b"abcdef", 0, True)
    assert read(tmp_path, 2, 2) == (2, b"cd", 0, False)


def test_what_was_given_up_or_lost_is_counted_where_it_is_missing(tmp_path: Path) -> None:
    written(tmp_path, [(10, b"abc"), (20, b"def")])
    assert read(tmp_path, 0) == (10, b"abc", 10, False)
    assert read(tmp_path, 13) == (20, b"def", 7, True)
    assert read(tmp_path, 0, total=30) == (10, b"abc", 10, False)
    assert read(tmp_path, 20, total=30) == (20, b"def", 0, False)
    assert read(tmp_path, 23, total=30) == (30, b"", 7, True)
    assert read(tmp_path, -2, total=30) == (30, b"", 2, True)
    assert read(tmp_path, 30, total=30) == (30, b"", 0, True)


def test_an_empty_log_ends_at_zero(tmp_path: Path) -> None:
    assert read(tmp_path, 0) == (0, b"", 0, True)
    assert read(tmp_path / "absent", -5) == (0, b"", 0, True)


def test_a_byte_has_the_time_of_the_last_entry_before_it(tmp_path: Path) -> None:
    written(tmp_path, [(0, b"abcdef")])
    entries = [(0, AT), (2, AT + 10**9), (4, AT + 2 * 10**9)]
    data = b"".join(place.to_bytes(8, "little") + at.to_bytes(8, "little") for place, at in entries)
    (tmp_path / f"stdout-{0:020d}.index").write_bytes(data)
    first = datetime.fromtimestamp(AT / 1e9, UTC)
    times = [
        read_chunk(tmp_path, OUT, offset=offset, max_bytes=1, ended=True, total=None).written_at for offset in range(6)
    ]
    assert times == [first + timedelta(seconds=offset // 2) for offset in range(6)]


PIECES = st.lists(st.one_of(st.binary(min_size=1, max_size=300), st.integers(1, 500)), max_size=30)


@given(pieces=PIECES, segment_bytes=st.integers(64, 400), segments=st.integers(1, 4))
def test_what_a_shim_stores_is_read_back_and_stays_within_the_budget(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes | int], segment_bytes: int, segments: int
) -> None:
    directory = tmp_path_factory.mktemp("logs")
    stream = _shim.Stream(-1, str(directory / "stdout"), segment_bytes, segments)
    whole: list[int | None] = []
    for number, piece in enumerate(pieces):
        if isinstance(piece, int):
            stream.skip(piece)
            whole += [None] * piece
        else:
            stream.store(piece, AT + number * 10**7)
            whole += piece
    stream.close()
    assert stream.offset == len(whole)
    used = sum(path.stat().st_size for path in directory.iterdir())
    assert used <= segments * (segment_bytes + 32), "a segment may end within an index entry"
    offset = gaps = 0
    while True:
        chunk = read_chunk(directory, OUT, offset=offset, max_bytes=77, ended=True, total=len(whole))
        assert chunk.offset == offset + chunk.gap_bytes
        assert list(chunk.data) == whole[chunk.offset : chunk.offset + len(chunk.data)]
        offset = chunk.offset + len(chunk.data)
        gaps += chunk.gap_bytes
        if chunk.final:
            break
        assert chunk.data
    assert offset == len(whole)
    assert gaps >= whole.count(None)
    for path in directory.iterdir():
        path.unlink()


STEPS = st.lists(st.one_of(st.binary(min_size=1, max_size=90), st.integers(1, 60)), max_size=60)


@given(steps=STEPS, segment_bytes=st.integers(64, 128), segments=st.integers(1, 4))
def test_a_reader_beside_a_writer_loses_nothing_that_is_kept_and_is_told_exactly_what_is_not(
    tmp_path_factory: pytest.TempPathFactory, steps: list[bytes | int], segment_bytes: int, segments: int
) -> None:
    """A number is a read of so many bytes, and bytes are written: whatever comes when, each byte is read or counted."""
    directory = tmp_path_factory.mktemp("logs")
    stream = _shim.Stream(-1, str(directory / "stdout"), segment_bytes, segments)
    whole, offset = b"", 0
    for step in [*steps, len(steps) * 100 + 1]:
        if isinstance(step, bytes):
            stream.store(step, AT)
            whole += step
            continue
        kept_from = min([len(whole), *(int(path.stem.partition("-")[2]) for path in directory.glob("*.log"))])
        chunk = read_chunk(directory, OUT, offset=offset, max_bytes=step, ended=False, total=None)
        assert chunk.gap_bytes == max(0, kept_from - offset)
        assert chunk.offset == offset + chunk.gap_bytes
        assert chunk.data == whole[chunk.offset : chunk.offset + step]
        offset = chunk.offset + len(chunk.data)
    assert offset == len(whole)
    stream.close()
    for path in directory.iterdir():
        path.unlink()


def test_what_a_listing_does_not_show_yet_is_not_taken_for_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names may be listed while segments are made: a later one can be there without the one before it."""
    written(tmp_path, [(0, b"abc"), (3, b"def"), (6, b"ghi")])
    looks, find = [0, 6], _logs.Segments.find

    def first_without_the_second(directory: Path, stream: LogStream) -> _logs.Segments:
        found = find(directory, stream)
        if looks:
            found = _logs.Segments(found.prefix, list(looks))
            looks.clear()
        return found

    monkeypatch.setattr(_logs.Segments, "find", first_without_the_second)
    assert read(tmp_path, 3) == (3, b"defghi", 0, True)
    (tmp_path / f"stdout-{3:020d}.log").unlink()
    assert read(tmp_path, 3) == (6, b"ghi", 3, True)


async def test_a_follower_sees_each_line_as_it_is_written(harness: Any, runtime: ProcessRuntime) -> None:
    config = harness.shell("mkfifo f; exec < f; while read x; do echo $x; [ $x = end ] && exit; done")
    container_id = await runtime.create_container(config, harness.options())
    fifo = harness.log_directory(runtime, container_id).parent / "work" / "f"
    await harness.until(fifo.exists, "the fifo is made")
    with trio.fail_after(30), harness.pipe_to(fifo) as tell:
        async with runtime.follow_logs(container_id, OUT) as chunks:
            for word in ("one", "two", "end"):
                tell(word)
                got = b""
                while not got.endswith(f"{word}\n".encode()):
                    got += (await anext(chunks)).data
            rest = [chunk async for chunk in chunks]
    assert not rest or (len(rest) == 1 and rest[0].final and rest[0].data == b"")


async def test_followers_do_without_inotify(
    harness: Any, opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrion.runtime_process._inotify.DirectoryWatcher.add", lambda *_: None)
    monkeypatch.setattr("orchestrion.runtime_process._inotify.POLL_SECONDS", 0.01)
    async with opened() as runtime:
        container_id = await runtime.create_container(harness.shell("sleep 0.05; echo late"), harness.options())
        assert await harness.output(runtime, container_id) == b"late\n"
        await harness.remove_all(runtime)


async def test_a_log_outlives_the_program_that_reads_it(harness: Any, opened: Callable[..., Any]) -> None:
    script = "mkfifo f; echo before; read x < f; echo after"
    async with opened() as runtime:
        container_id = await runtime.create_container(harness.shell(script), harness.options())
        await harness.wait_for_line(runtime, container_id)
        fifo = harness.log_directory(runtime, container_id).parent / "work" / "f"
    with harness.pipe_to(fifo) as tell:
        tell("go")
        async with opened() as runtime:
            assert await harness.output(runtime, container_id) == b"before\nafter\n"
            await harness.remove_all(runtime)


def test_a_disk_that_refuses_is_asked_again_and_what_it_refused_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("orchestrion.runtime_process._shim.time.monotonic", lambda: clock[0])
    directory = tmp_path / "absent"
    stream = _shim.Stream(-1, str(directory / "stdout"), 4096, 5)
    stream.store(b"lost", AT)
    directory.mkdir()
    stream.store(b"lost too", AT)
    clock[0] += _shim.DISK_RETRY_SECONDS
    stream.store(b"kept", AT)
    stream.close()
    assert read(directory, 0) == (12, b"kept", 12, True)


@pytest.mark.slow
async def test_a_disk_that_hangs_does_not_stop_the_container(
    harness: Any, opened: Callable[..., Any], tmp_path: Path
) -> None:
    # A FIFO in the place of a segment hangs as a dead disk does: nobody ever reads it.
    script = """
import os, sys, time
logs = os.path.join(os.path.dirname(os.getcwd()), "logs")
os.mkfifo(os.path.join(logs, "stdout-%020d.log" % 0))
data = bytes(65536)
for _ in range(64): os.write(1, data)
sys.exit(6)
"""
    async with opened(log_buffer_bytes=65536) as runtime:
        container_id = await runtime.create_container(harness.python(script), harness.options())
        assert (await harness.exited(runtime, container_id)).exit.code == 6
        chunk = await runtime.read_logs(container_id, OUT)
        assert (chunk.gap_bytes, chunk.data) == (64 * 65536, b""), "what the disk never took is counted too"
        await harness.remove_all(runtime)
    assert harness.leftovers(tmp_path / "state") == []


@pytest.mark.slow
async def test_a_gigabyte_is_printed_in_bounded_disk_and_memory(
    harness: Any, runtime: ProcessRuntime, tmp_path: Path
) -> None:
    size = 1 << 30
    config = harness.shell(f"head -c {size} /dev/zero")
    container_id = await runtime.create_container(config, harness.options())
    logs = harness.log_directory(runtime, container_id)
    shim = harness.shim_of(tmp_path / "state", container_id)
    most_disk = most_memory = 0
    with trio.fail_after(120):
        async with runtime.watch_containers(harness.NODE) as hints, trio.open_nursery() as nursery:

            async def look() -> None:
                nonlocal most_disk, most_memory
                while True:
                    most_disk = max(most_disk, harness.size_of(logs))
                    most_memory = max(most_memory, harness.memory_of(shim))
                    await trio.sleep(0.05)

            nursery.start_soon(look)
            async for _ in hints:
                if (await runtime.get_container_status(container_id)).exit is not None:
                    break
            nursery.cancel_scope.cancel()
    assert (await harness.exited(runtime, container_id)).exit.code == 0
    assert most_disk <= 5 * (10 << 20) + (11 << 20), "five segments, and one about to be given up"
    assert most_memory <= 16 << 20
    last = await runtime.read_logs(container_id, OUT, offset=-1)
    assert (last.offset, last.final) == (size - 1, True)
