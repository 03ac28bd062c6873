"""Output on the wire: every byte of it, and what is missing counted from where a reader was."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.control_plane._web.log_stream import _Places
from orchestrion.control_plane._wire import record_of_plain, record_text
from orchestrion.orchestrator_core import LogQuery, LogRecord
from orchestrion.runtime_interface import LogStream
from orchestrion.shared_types import ConfigInvalid

NAME = "web.0.1/main/0/stdout"


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
