"""Which lines of output are shown: the last ones, those up to a time, those that match; with their times."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.cli import _log_lines
from orchestrion.cli._log_lines import Lines, Wish, pattern_of, show_lines
from orchestrion.cli._log_names import Epochs, told_once
from orchestrion.cli._logs import RecordPrinter, run_logs, wish_of
from orchestrion.cli._where import Where
from orchestrion.control_plane import HttpControl, SocketPeer
from orchestrion.orchestrator_core import LogQuery, LogRecord
from orchestrion.runtime_interface import LogStream
from orchestrion.shared_types import ConfigInvalid, InstanceNotFound, WorkloadNotFound

START = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)
WEB = LogQuery(subject="web")


@define
class Output:
    """What containers have written: by container and stream pieces, in the order of time."""

    written: list[tuple[str, LogStream, bytes]]
    later: list[tuple[str, LogStream, bytes]] = field(factory=list)
    """What is written once everything that there is was read."""
    asked: list[LogQuery] = field(factory=list)

    @asynccontextmanager
    async def open(self, query: LogQuery) -> AsyncIterator[AsyncIterator[LogRecord]]:
        self.asked.append(query)
        yield self._records(query) if query.tail is None else self._last(query, query.tail)
        self.written, self.later = self.written + self.later, []

    async def _last(self, query: LogQuery, count: int) -> AsyncIterator[LogRecord]:
        lines, made = list[LogRecord](), Lines()
        async for record in self._records(query):
            lines += made.take(record)
        lines += made.end()
        for number, line in enumerate(lines):
            if sum(later.container == line.container for later in lines[number:]) <= count:
                yield line

    async def _records(self, query: LogQuery) -> AsyncIterator[LogRecord]:
        totals: dict[tuple[str, LogStream], int] = {}
        for container, stream, data in self.written:
            totals[container, stream] = totals.get((container, stream), 0) + len(data)
        ends: dict[tuple[str, LogStream], int] = {}
        for number, (container, stream, data) in enumerate(self.written):
            await trio.lowlevel.checkpoint()
            offset = ends.get((container, stream), 0)
            ends[container, stream] = offset + len(data)
            cut = 0
            if query.tail_bytes is not None:
                cut = max(0, totals[container, stream] - query.tail_bytes - offset)
            at = START + timedelta(seconds=number)
            wanted = (query.since is None or at >= query.since) and (query.until is None or at <= query.until)
            if cut < len(data) and wanted:
                yield LogRecord(
                    instance="web.0.1",
                    container=container,
                    attempt=0,
                    stream=stream,
                    offset=offset + cut,
                    data=data[cut:],
                    written_at=at,
                )


def stdout(*pieces: bytes) -> Output:
    return Output([("main", LogStream.STDOUT, piece) for piece in pieces])


async def shown(output: Output, wish: Wish, query: LogQuery = WEB) -> list[bytes]:
    lines = list[bytes]()
    await show_lines(output.open, query, wish, lambda line: lines.append(line.data))
    return lines


async def test_a_line_that_came_in_pieces_is_one_of_the_time_of_its_beginning() -> None:
    output = stdout(b"a\nb", b"", b"c", b"d\ne\n")
    told = await shown(output, Wish(timestamps=True))
    assert told == [
        b"2026-11-22T10:30:00.000Z a\n",
        b"2026-11-22T10:30:00.000Z bcd\n",
        b"2026-11-22T10:30:03.000Z e\n",
    ]
    assert output.asked[0].timed


async def test_a_time_that_is_not_known_takes_as_much_room() -> None:
    line = LogRecord(instance="web.0.1", container="c", attempt=0, stream=LogStream.STDOUT, offset=0, data=b"x\n")
    assert Wish(timestamps=True).told(line).data == b"-" * 24 + b" x\n"


async def test_only_what_matches_and_was_written_in_time_is_shown() -> None:
    output = stdout(b"GET /a\nPUT /b\n", b"GET /c\r\n", b"GET /d\n")
    wish = Wish(pattern=pattern_of(r"^GET .*[acd]$"), until=START + timedelta(seconds=1))
    assert await shown(output, wish) == [b"GET /a\n", b"GET /c\r\n"]


@pytest.mark.parametrize(("count", "lines"), [(0, []), (2, [b"2\n", b"3"]), (9, [b"1\n", b"2\n", b"3"])])
async def test_the_last_lines_are_shown_also_one_without_an_end(count: int, lines: Sequence[bytes]) -> None:
    assert await shown(stdout(b"1\n2\n", b"3"), Wish(tail=count)) == lines


async def test_of_large_output_only_the_end_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_log_lines, "FEWEST_TAIL_BYTES", 16)
    monkeypatch.setattr(_log_lines, "_BYTES_A_LINE", 1)
    output = stdout(*(b"%04d\n" % number for number in range(1000)))
    assert await shown(output, Wish(tail=2)) == [b"0998\n", b"0999\n"]
    assert [(query.tail, query.tail_bytes) for query in output.asked] == [(2, None)]
    assert await shown(output, Wish(tail=2, pattern=pattern_of("5$"))) == [b"0985\n", b"0995\n"]
    assert [(query.tail, query.tail_bytes) for query in output.asked[1:]] == [(None, 16), (None, 256)]


async def test_what_was_written_too_late_is_not_asked_for() -> None:
    output = stdout(b"1\n", b"2\n", b"3\n")
    until = START + timedelta(seconds=1)
    assert await shown(output, Wish(tail=1, until=until)) == [b"2\n"]
    assert await shown(output, Wish(until=until)) == [b"1\n", b"2\n"]
    assert [query.until for query in output.asked] == [until, until]


async def test_following_goes_on_behind_the_last_lines_without_a_gap_and_nothing_comes_twice() -> None:
    output = stdout(b"1\n2\n3\nhal")
    output.later = [("main", LogStream.STDOUT, b"f\n"), ("side", LogStream.STDERR, b"new\n")]
    query = LogQuery(subject="web", follow=True)
    assert await shown(output, Wish(tail=2), query) == [b"2\n", b"3\n", b"half\n", b"new\n"]
    first, second = output.asked
    assert (first.follow, second.follow, second.tail_bytes) == (False, True, None)
    assert second.since == START - timedelta(minutes=1)


async def test_following_asks_for_nothing_older_than_what_was_asked_for() -> None:
    query = LogQuery(subject="web", follow=True, since=START)
    output = stdout(b"1\n")
    await shown(output, Wish(tail=1), query)
    assert output.asked[1].since == START


def test_what_is_no_longer_kept_is_told_before_what_comes_after_it() -> None:
    lines = Lines()
    one = LogRecord(instance="w", container="c", attempt=0, stream=LogStream.STDOUT, offset=0, data=b"half")
    two = LogRecord(
        instance="w", container="c", attempt=0, stream=LogStream.STDOUT, offset=9, data=b"x\ny\n", gap_bytes=5
    )
    assert lines.take(one) == []
    assert [(line.offset, line.data, line.gap_bytes) for line in lines.take(two)] == [
        (0, b"half", 0),
        (9, b"x\n", 5),
        (11, b"y\n", 0),
    ]
    assert lines.take(two) == []
    printed = list[tuple[str, list[bytes]]]()
    printer = RecordPrinter(lambda _, prefix, found: printed.append((prefix, list(found))))
    printer.take(two)
    assert printed == [("w", [b"... 5 bytes are no longer kept ...", b"x", b"y"])]


def test_a_name_before_a_line_is_of_the_instance_that_it_means_as_an_argument() -> None:
    printed = list[str]()
    epochs = Epochs()
    epochs.see("web.0.1")
    printer = RecordPrinter(lambda _, prefix, found: printed.append(prefix), epochs=epochs)
    for instance, container in [("web.0.1", "a"), ("web.0.2", "a"), ("web.0.1", "a"), ("web.1.1", "b")]:
        printer.take(
            LogRecord(instance=instance, container=container, attempt=0, stream=LogStream.STDOUT, offset=0, data=b"x\n")
        )
    assert printed == ["web.0", "web.0.2", "web.0.1", "web.1/b"]
    source = ("web.1.1", "a", 1, LogStream.STDOUT)
    epochs.see("web.1.3")
    assert epochs.prefix(source, with_container=True) == "web.1.1/a#1"
    assert epochs.prefix(("w", "a", 0, LogStream.STDOUT), with_container=False) == "w"


class Slots(HttpControl):
    """Knows one instance of each workload: that of slot 0."""

    async def list_instances(self, **_: object) -> list[Any]:
        return [SimpleNamespace(key=SimpleNamespace(index=0, epoch=3))]


def test_an_instance_is_not_shown_beside_its_workload_and_has_to_be_there() -> None:
    async def told(*names: str) -> list[str]:
        return await told_once(Slots(SocketPeer(Path("nowhere"))), "default", names)

    assert trio.run(told, "web.0", "web", "db.1", "web", "db.1", "web.0.3") == ["web", "db.1"]
    with pytest.raises(InstanceNotFound):
        trio.run(told, "web", "web.9")


PIECES = st.lists(
    st.tuples(
        st.sampled_from(["main", "side"]),
        st.sampled_from(list(LogStream)),
        st.lists(st.sampled_from([b"a", b"bb", b"\n"]), min_size=1, max_size=8).map(b"".join),
    ),
    max_size=12,
)


@given(PIECES, st.integers(0, 5), st.integers(1, 20), st.booleans())
def test_the_last_lines_are_the_last_of_all_lines(
    written: list[tuple[str, LogStream, bytes]], count: int, size: int, matching: bool
) -> None:
    wish = Wish(pattern=pattern_of("a") if matching else None)

    async def both() -> tuple[list[LogRecord], list[LogRecord]]:
        everything, last = list[LogRecord](), list[LogRecord]()
        await show_lines(Output(written).open, WEB, wish, everything.append)
        await show_lines(Output(written).open, WEB, Wish(tail=count, pattern=wish.pattern), last.append)
        return everything, last

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_log_lines, "FEWEST_TAIL_BYTES", size)
        patch.setattr(_log_lines, "MAX_TAIL_LINES", 2)
        patch.setattr(_log_lines, "_BYTES_A_LINE", 1)
        everything, last = trio.run(both)
    for container in ("main", "side"):
        wanted = [line for line in everything if line.container == container]
        assert [line for line in last if line.container == container] == (wanted[-count:] if count else [])


@pytest.mark.parametrize(
    ("tail", "until", "grep"),
    [(-1, None, None), (None, "soon", None), (None, None, "(")],
    ids=["tail", "until", "grep"],
)
def test_what_can_not_be_understood_is_told(tail: int | None, until: str | None, grep: str | None) -> None:
    with pytest.raises(ConfigInvalid):
        wish_of(tail, until, grep, timestamps=False)


def test_an_end_and_going_on_are_not_both_possible() -> None:
    wish = wish_of(None, "10m", None, timestamps=False)
    with pytest.raises(ConfigInvalid, match="--until"):
        run_logs(["web"], Where(), None, None, None, "table", follow=True, previous=False, wish=wish)


@pytest.mark.parametrize(("namespace", "hint"), [("5", True), ("shop", False)])
def test_a_number_as_a_namespace_was_perhaps_meant_as_a_number_of_lines(
    namespace: str, hint: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_arguments: object) -> None:
        raise WorkloadNotFound("there is no workload 'web'", remedy="orchestrion status")

    monkeypatch.setattr("orchestrion.cli._logs._logs", nothing)
    where = Where(state=None, context="local", namespace=namespace)
    with pytest.raises(WorkloadNotFound) as caught:
        run_logs(["web"], where, None, None, None, "table", follow=False, previous=False)
    assert ("--tail 5" in caught.value.remedy) == hint
