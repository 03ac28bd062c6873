"""Output on the wire: every byte of it, and what is missing counted from where a reader was."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.control_plane._web.log_stream import _Places
from orchestrion.control_plane._wire import record_of_plain, record_text
from orchestrion.orchestrator_core import LogQuery, LogRecord
from orchestrion.runtime_interface import LogStream
from orchestrion.shared_types import ConfigInvalid

NAME = "web.0.1/main/0/stdout"
AT = datetime(2030, 1, 31, tzinfo=UTC)


def record(offset: int, data: bytes, gap_bytes: int = 0) -> LogRecord:
    """Return a piece of output."""
    return LogRecord(
        instance="web.0.1",
        container="main",
        attempt=0,
        stream=LogStream.STDOUT,
        offset=offset,
        data=data,
        gap_bytes=gap_bytes,
    )


@given(
    st.builds(
        LogRecord,
        instance=st.sampled_from(["web.0.1", ',"data":""']),
        container=st.text(st.characters(codec="utf-8"), max_size=5),
        attempt=st.integers(0, 9),
        stream=st.sampled_from(LogStream),
        offset=st.integers(0, 2**40),
        data=st.binary(max_size=50),
        gap_bytes=st.integers(0, 2**40),
        written_at=st.sampled_from([None, datetime(2030, 1, 31, tzinfo=UTC)]),
    )
)
def test_a_piece_comes_over_as_it_was_whatever_its_bytes(piece: LogRecord) -> None:
    """A record is the same after it was written out and read."""
    assert record_of_plain(json.loads(record_text(piece))) == piece


@pytest.mark.parametrize("plain", [None, [], {}, {"data": 1}, {"data": "\u00e9"}, {"data": "="}, {"data": ""}])
def test_what_is_no_piece_is_refused(plain: Any) -> None:
    """Plain data that no server sends is an error, not a piece."""
    with pytest.raises(ConfigInvalid):
        record_of_plain(plain)


class Kept:
    """A Control that keeps the end of what was written."""

    def __init__(self, *records: LogRecord) -> None:
        self.records = records

    @asynccontextmanager
    async def logs(self, _query: LogQuery, /) -> AsyncIterator[AsyncIterator[LogRecord]]:
        """Give it."""

        async def each() -> AsyncIterator[LogRecord]:
            for one in self.records:
                yield one

        yield each()


def place_of(event: bytes) -> str:
    """Return the id of an event."""
    return event.split(b"id: ")[1].partition(b"\n")[0].decode()


def kept_of(*records: LogRecord) -> Any:
    """Return a Control that has these pieces."""
    return Kept(*records)


async def after(kept: Any, place: str) -> list[LogRecord]:
    """Return what a reader gets who goes on after an event."""
    places = _Places.read(place)
    async with places.unseen(kept, places.rest(LogQuery(subject="web", tail=1))) as records:
        return [one async for one in records]


async def test_a_place_names_all_streams_as_long_as_there_is_room_for_them() -> None:
    """A reader of a hundred streams goes on in each where it was, with an id of a few thousand characters."""
    places = _Places.read("")
    streams = [evolve(record(number * 1000, b""), instance=f"web.{number}.1") for number in range(100)]
    async with places.unseen(kept_of(*streams), LogQuery(subject="web")) as records:
        assert [one async for one in records] == []
    place = place_of(places.message(evolve(streams[7], data=b"x")))
    pieces = [evolve(stream, offset=stream.offset - 1, data=b"yz") for stream in streams]
    given = {one.instance: one.data for one in await after(Kept(*pieces), place)}
    assert given == {stream.instance: b"z" for stream in streams if stream is not streams[7]}
    assert _Places.read(place).rest(LogQuery(subject="web", since=AT)).since is None


async def test_who_goes_on_sees_what_was_replaced_meanwhile_to_its_end() -> None:
    """An instance that a reader has seen is asked for by its name, since it may be none of the current ones by now."""
    places = _Places.read("")
    streams = [evolve(record(9, b""), instance=f"web.{number}.1") for number in range(2)]
    async with places.unseen(kept_of(*streams), LogQuery(subject="web")) as records:
        assert [one async for one in records] == []
    place = place_of(places.message(evolve(streams[0], data=b"x")))
    assert _Places.read(place).rest(LogQuery(subject="web")).also == ("web.0.1", "web.1.1")
    assert _Places.read("").rest(LogQuery(subject="web")).also == ()


async def test_a_place_has_a_bounded_length_and_leaves_nothing_out() -> None:
    """Of more streams than there is room for, those that were told least come again, from before the first piece on."""
    places = _Places.read("")
    streams = [evolve(record(number * 987_654_321, b""), instance=f"web.{number}.1") for number in range(5000)]
    async with places.unseen(kept_of(*streams), LogQuery(subject="web")) as records:
        assert [one async for one in records] == []
    place = place_of(places.message(evolve(streams[7], data=b"x", written_at=AT)))
    again = _Places.read(place)
    assert len(place) <= 8000
    assert again.rest(LogQuery(subject="web", tail=5)).since == AT - timedelta(seconds=60)
    pieces = [evolve(stream, data=b"xyz") for stream in streams]
    given = {one.instance: one.data for one in await after(Kept(*pieces), place)}
    assert given == {stream.instance: b"xyz" for stream in streams} | {"web.7.1": b"yz"}
    assert len(place_of(again.message(pieces[9]))) <= 8000


@pytest.mark.parametrize(
    "place",
    [
        "nonsense",
        *(
            base64.urlsafe_b64encode(data).decode()
            for data in (
                b'{"since": 1}',
                b'{"since": "2030-01-01T00:00:00"}',
                b'{"a": "b"}',
                b"[]",
                zlib.compress(b"{}")[:-1],
                zlib.compress(b'{"a":1' + b" " * 2_000_000 + b"}"),
            )
        ),
    ],
)
def test_a_place_that_no_event_had_is_refused(place: str) -> None:
    """What is no place is an error of the client."""
    with pytest.raises(ConfigInvalid):
        _Places.read(place)


async def unseen(kept: Any, seen: int) -> list[tuple[int, int, bytes]]:
    """Return gaps, offsets and bytes of what a reader gets who has seen so many bytes."""
    async with _Places({NAME: seen}).unseen(kept, LogQuery(subject="web")) as records:
        return [(one.gap_bytes, one.offset, one.data) async for one in records]


async def test_what_a_reader_had_seen_of_what_is_no_longer_kept_is_not_missing() -> None:
    """The gap goes from where the reader was to where what is kept begins."""
    kept = Kept(record(100, b"abc", gap_bytes=100), record(110, b"def", gap_bytes=7))
    assert await unseen(kept, 40) == [(60, 100, b"abc"), (7, 110, b"def")]
    assert await unseen(kept, 100) == [(0, 100, b"abc"), (7, 110, b"def")]
    assert await unseen(kept, 102) == [(0, 102, b"c"), (7, 110, b"def")]
    assert await unseen(kept, 103) == [(7, 110, b"def")]
    assert await unseen(kept, 105) == [(5, 110, b"def")]
    assert await unseen(kept, 113) == []
