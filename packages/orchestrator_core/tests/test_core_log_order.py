"""Output of several containers comes in the order in which it was written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.mocks import ContainerWorld, MockRuntime
from orchestrion.orchestrator_core import LogQuery, LogReader, LogRecord, trio_time
from orchestrion.orchestrator_core._control.log_merge import LogMerge, LogSource
from orchestrion.orchestrator_core._control.subjects import parse_subject
from orchestrion.runtime_interface import ContainerSummary, LogChunk, LogStream, SupportsLogs
from orchestrion.shared_types import (
    ContainerId,
    ContainerNotFound,
    ContainerState,
    ContainerStatus,
    InstanceKey,
    InstanceNotFound,
    RestartPolicy,
    Uid,
)

from .core_stage import NODE, Stage, container, service

START = datetime(2026, 1, 1, tzinfo=UTC)


async def lines_of(stage: Stage, query: LogQuery, count: int | None = None) -> list[str]:
    found = list[str]()
    async with stage.orchestrator.logs(query) as records:
        async for record in records:
            found += record.data.decode().splitlines()
            if len(found) == count:
                break
    return found


A = container(
    "a", "print-at", "1s", "stdout", "1\n", "print-at", "3s", "stdout", "3\n", "print-at", "5s", "stderr", "5\n"
)
B = container(
    "b", "print-at", "2s", "stdout", "2\n", "print-at", "4s", "stderr", "4\n", "print-at", "6s", "stdout", "6\n"
)


async def test_containers_and_streams_are_merged_by_time(stage: Stage) -> None:
    await stage.apply(service(containers=(A, B)))
    await trio.sleep(10)
    assert await lines_of(stage, LogQuery(subject="web")) == ["1", "2", "3", "4", "5", "6"]


async def test_following_begins_with_what_there_is_in_order_and_goes_on_without_a_gap(stage: Stage) -> None:
    await stage.apply(service(containers=(A, B)))
    await trio.sleep(4.5)
    assert await lines_of(stage, LogQuery(subject="web", follow=True), 6) == ["1", "2", "3", "4", "5", "6"]


async def test_attempts_are_merged_with_what_others_wrote_between(stage: Stage) -> None:
    policy = RestartPolicy(initial_delay_seconds=1, jitter=0)
    crashing = container("a", "print", "stdout", "crash\n", "exit", "1", "after", "1s")
    calm = container("b", "print-at", "1500ms", "stdout", "calm\n")
    await stage.apply(service(containers=(crashing, calm), restart=policy))
    await trio.sleep(2.5)
    assert await lines_of(stage, LogQuery(subject="web")) == ["crash", "calm", "crash"]


class Written:
    """Output of containers, of each a list of pieces and the seconds at which they were written."""

    def __init__(self, streams: list[list[tuple[int, bytes]]], gone: frozenset[int] = frozenset()) -> None:
        self.streams = streams
        self.gone = gone
        self.reads = 0

    async def read_logs(
        self, container_id: ContainerId, stream: LogStream, /, *, offset: int = 0, max_bytes: int = 65_536
    ) -> LogChunk:
        await trio.lowlevel.checkpoint()
        self.reads += 1
        number = int(container_id)
        if number in self.gone:
            raise ContainerNotFound(f"no container {container_id}")
        pieces = self.streams[number]
        data = b"".join(piece for _, piece in pieces)
        offset = min(offset, len(data))
        times = [second for second, piece in pieces for _ in piece]
        return LogChunk(
            stream=stream,
            offset=offset,
            data=data[offset : offset + max_bytes],
            written_at=START + timedelta(seconds=times[offset]) if offset < len(data) else None,
        )

    def sources(self, *, timed: bool = False) -> list[LogSource]:
        return [
            LogSource(_as_logs(self), summary(number), f"web.{number}.1", LogStream.STDOUT, timed=timed)
            for number in range(len(self.streams))
        ]


def _as_logs(written: Written) -> SupportsLogs:
    return written  # type: ignore[return-value] # of the ability only reading is used


def summary(number: int) -> ContainerSummary:
    return ContainerSummary(
        container_id=ContainerId(str(number)),
        node_id=NODE,
        instance=InstanceKey(Uid("u"), number, 1),
        status=ContainerStatus(name="main", container_id=ContainerId(str(number)), state=ContainerState.RUNNING),
    )


async def merged(written: Written) -> list[LogRecord]:
    return [record async for record in LogMerge(written.sources()).records()]


STREAMS = st.lists(
    st.lists(st.tuples(st.integers(0, 5), st.binary(min_size=1, max_size=12).map(lambda data: data + b"\n"))).map(
        lambda pieces: sorted(pieces, key=lambda piece: piece[0])
    ),
    max_size=4,
)


@given(streams=STREAMS)
def test_nothing_is_lost_or_comes_too_early(streams: list[list[tuple[int, bytes]]]) -> None:
    records = trio.run(merged, Written(streams))
    for number, pieces in enumerate(streams):
        own = [record for record in records if record.instance == f"web.{number}.1"]
        assert b"".join(record.data for record in own) == b"".join(piece for _, piece in pieces)
        assert [record.offset for record in own] == [
            sum(len(record.data) for record in own[:place]) for place in range(len(own))
        ]
    times = [record.written_at for record in records if record.written_at is not None]
    assert times == sorted(times)
    assert len(times) == len(records)


@given(streams=STREAMS)
def test_each_line_has_its_own_time_where_that_is_asked_for(streams: list[list[tuple[int, bytes]]]) -> None:
    async def timed() -> list[LogRecord]:
        return [record async for record in LogMerge(Written(streams).sources(timed=True)).records()]

    records = trio.run(timed)
    for number, pieces in enumerate(streams):
        own = [record for record in records if record.instance == f"web.{number}.1"]
        assert b"".join(record.data for record in own) == b"".join(piece for _, piece in pieces)
        times = [START + timedelta(seconds=second) for second, piece in pieces for _ in piece]
        for record in own:
            assert set(times[record.offset : record.offset + len(record.data)]) == {record.written_at}


async def test_what_was_written_at_one_time_takes_few_questions_also_where_times_are_asked_for() -> None:
    written = Written([[(0, b"x" * 63 + b"\n")] * 1024])
    records = [record async for record in LogMerge(written.sources(timed=True)).records()]
    assert [len(record.data) for record in records] == [65_536]
    assert written.reads < 40


async def test_times_are_asked_for_by_a_query(stage: Stage) -> None:
    await stage.apply(service(containers=(A,)))
    await trio.sleep(10)
    async with stage.orchestrator.logs(LogQuery(subject="web", timed=True)) as records:
        assert [record.data async for record in records] == [b"1\n", b"3\n", b"5\n"]
    async with stage.orchestrator.logs(LogQuery(subject="web")) as records:
        assert [record.data async for record in records] == [b"1\n3\n", b"5\n"]


async def test_a_line_that_was_written_at_the_same_time_stays_whole() -> None:
    records = await merged(Written([[(0, b"one\ntwo\n"), (2, b"five\n")], [(1, b"three\nfour\n")]]))
    assert [record.data for record in records] == [b"one\ntwo\n", b"three\nfour\n", b"five\n"]


async def test_a_long_output_of_one_takes_few_questions() -> None:
    long = [(second, b"x" * 63 + b"\n") for second in range(4096)]
    written = Written([long, [(4095, b"last\n")]])
    records = await merged(written)
    assert sum(len(record.data) for record in records) == 4096 * 64 + 5
    assert written.reads < 100


async def test_what_is_gone_meanwhile_has_no_more() -> None:
    written = Written([[(0, b"here\n")], [(1, b"gone\n")]], gone=frozenset({1}))
    assert [record.data for record in await merged(written)] == [b"here\n"]


@pytest.mark.parametrize("text", ["web.x", "web.", "web.0.1.2", "web.-1", "web.\u0661"])
def test_what_can_be_no_name_of_an_instance_is_told(text: str) -> None:
    with pytest.raises(InstanceNotFound, match=r"WORKLOAD\.INDEX"):
        parse_subject(text)


def test_a_number_that_is_longer_than_any_is_not_found() -> None:
    with pytest.raises(InstanceNotFound, match="there is no instance"):
        parse_subject("web." + "9" * 5000)


def test_a_slot_names_its_instance_and_a_place_that_it_waits_for() -> None:
    assert parse_subject("web.0").names("web.0.3")
    assert parse_subject("web.0").names("web.0")
    assert not parse_subject("web.0").names("web.1.1")
    assert not parse_subject("web.0.2").names("web.0.3")


@pytest.mark.parametrize(
    ("text", "chosen"), [("web", [(0, 1), (0, 2), (1, 1)]), ("web.0", [(0, 2)]), ("web.0.1", [(0, 1)])]
)
def test_an_index_alone_is_the_latest_epoch(text: str, chosen: list[tuple[int, int]]) -> None:
    assert parse_subject(text).chosen([(0, 1), (0, 2), (1, 1)], lambda place: place) == chosen


async def test_a_node_that_the_runtime_does_not_know_has_no_output_here(stage: Stage) -> None:
    await stage.apply(service("web", "print", "stdout", "there\n"))
    elsewhere = LogReader(stage.orchestrator.world, MockRuntime(ContainerWorld(now=trio_time)))
    async with elsewhere.read(LogQuery(subject="web")) as records:
        assert [record async for record in records] == []
