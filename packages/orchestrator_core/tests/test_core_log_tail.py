"""The last lines of output, and what was written up to a time."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.orchestrator_core import MAX_TAIL_LINES, LogQuery, trio_time
from orchestrion.orchestrator_core._control import log_merge
from orchestrion.orchestrator_core._control.log_merge import LogMerge, LogSource
from orchestrion.orchestrator_core._control.log_tail import last_lines
from orchestrion.shared_types import ConfigInvalid

from .core_stage import Stage, container, service
from .test_core_log_order import START, STREAMS, A, B, Written, lines_of


def of_one_container(written: Written) -> list[LogSource]:
    sources = written.sources(timed=True)
    for source in sources:
        source.instance = "web.0.1"
    return sources


async def begun(written: Written, tail: int | None, until: datetime | None = None) -> list[LogSource]:
    sources = of_one_container(written)
    for source in sources:
        await source.begin(None, None, until)
    return sources if tail is None else await last_lines(sources, tail)


async def lines(sources: list[LogSource]) -> list[bytes]:
    found = list[bytes]()
    async for record in LogMerge(sources).records():
        found += [line + b"\n" for line in record.data.split(b"\n")[:-1]]
    return found


@given(streams=STREAMS, count=st.integers(0, 8), chunk=st.integers(1, 20))
def test_the_last_lines_of_a_container_are_those_of_all_its_streams_and_attempts(
    streams: list[list[tuple[int, bytes]]], count: int, chunk: int
) -> None:
    async def both() -> tuple[list[bytes], list[bytes]]:
        written = Written(streams)
        return await lines(await begun(written, None)), await lines(await begun(written, count))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_merge, "CHUNK_BYTES", chunk)
        everything, last = trio.run(both)
    assert last == (everything[-count:] if count else [])


@given(streams=STREAMS, second=st.integers(-1, 6))
def test_nothing_comes_that_was_written_after_the_end_and_all_before_it(
    streams: list[list[tuple[int, bytes]]], second: int
) -> None:
    async def found() -> list[bytes]:
        return await lines(await begun(Written(streams), None, START + timedelta(seconds=second)))

    in_time = [piece for pieces in streams for at, piece in pieces if at <= second]
    assert sorted(trio.run(found)) == sorted(
        line + b"\n" for piece in in_time for line in piece.removesuffix(b"\n").split(b"\n")
    )


async def test_a_line_without_an_end_is_one_too() -> None:
    written = Written([[(0, b"1\n2\n3")]])
    (source,) = await begun(written, 2)
    assert [record.data async for record in LogMerge([source]).records()] == [b"2\n3"]


async def test_of_large_output_only_the_end_is_looked_at() -> None:
    written = Written([[(0, b"x" * 63 + b"\n")] * 65_536])
    assert len(await lines(await begun(written, 3))) == 3
    assert written.reads < 10


async def test_what_never_ends_its_line_is_not_looked_through_from_its_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_merge, "MAX_LINE_BYTES", 10)
    (source,) = await begun(Written([[(0, b"x" * 1000)]]), 2)
    assert [len(record.data) async for record in LogMerge([source]).records()] == [20]


async def test_each_container_has_its_own_last_lines(stage: Stage) -> None:
    await stage.apply(service(containers=(A, B)))
    await trio.sleep(10)
    assert await lines_of(stage, LogQuery(subject="web", tail=2)) == ["3", "4", "5", "6"]
    assert await lines_of(stage, LogQuery(subject="web", tail=0)) == []
    until = trio_time() - timedelta(seconds=6.5)
    assert await lines_of(stage, LogQuery(subject="web", tail=1, until=until)) == ["2", "3"]


async def test_following_goes_on_behind_the_last_lines(stage: Stage) -> None:
    await stage.apply(service(containers=(A,)))
    await trio.sleep(4)
    assert await lines_of(stage, LogQuery(subject="web", tail=1, follow=True), 2) == ["3", "5"]
    assert await lines_of(stage, LogQuery(subject="web", tail=0)) == []


async def test_a_reader_is_told_first_where_each_stream_begins(stage: Stage) -> None:
    await stage.apply(service(containers=(A,)))
    await trio.sleep(10)
    query = LogQuery(subject="web", tail=1, placed=True)
    async with stage.orchestrator.logs(query) as records:
        told = [(record.stream.value, record.offset, record.data) async for record in records]
    (last,) = [line for line in told if line[2]]
    assert sorted(told[:2]) == sorted((stream, told_at, b"") for stream, told_at, _ in told[:2])
    assert (last[0], last[1], b"") in told[:2]
    assert {stream for stream, _, _ in told[:2]} == {"stdout", "stderr"}
    assert told[2:] == [last]


async def test_an_end_is_a_time_of_a_zone_and_is_not_gone_beyond(stage: Stage) -> None:
    await stage.apply(service(containers=(container("a", "print", "stdout", "x\n"),)))
    for query in (
        LogQuery(subject="web", until=START.replace(tzinfo=None)),
        LogQuery(subject="web", until=START, follow=True),
    ):
        with pytest.raises(ConfigInvalid) as caught:
            await lines_of(stage, query)
        assert caught.value.problems[0].path == "until"


@pytest.mark.parametrize("tail", [-1, MAX_TAIL_LINES + 1])
def test_a_number_of_lines_has_bounds(tail: int) -> None:
    with pytest.raises(ValueError, match="tail"):
        LogQuery(subject="web", tail=tail)
