"""Output over HTTP: as lines of JSON, as server-sent events that a client can go on from, or as it was written."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from attrs import define, evolve, field
from orchestrion.control_plane._control import Control
from orchestrion.control_plane._open_streams import OpenStreams
from orchestrion.control_plane._streams import RECORD_LINES, LineStream, StreamForm
from orchestrion.control_plane._wire import record_text
from orchestrion.orchestrator_core import LogQuery, LogRecord
from orchestrion.shared_types import ConfigInvalid, Problem, to_json

from .queries import AnyRequest
from .watch_forms import SSE
from .watching import time_limit

TEXT: Final = "text/plain"

_MAX_ID: Final = 8_000
"""How many characters the id of an event has at most: with its name it fits into a header."""

_MAX_RESUMED: Final = 10_000
"""How many characters the place may have from which a client goes on."""

_MAX_PLAIN: Final = 1_000
"""How many bytes of places are written as they are; more are compressed."""

_MAX_UNPACKED: Final = 1_000_000
"""How many bytes of places an id stands for at most."""

_SINCE: Final = "since"
"""Under which an id says, beside streams, from when on those come that it has no room for."""

_MARGIN: Final = timedelta(seconds=60)
"""How much earlier than the first piece that was told another may have been written that was told after it."""


def log_stream(control: Control, streams: OpenStreams, request: AnyRequest, query: LogQuery) -> LineStream:
    """Return what answers a request for output, in the form that it accepts.

    Raises:
        ConfigInvalid: The place from which it goes on is none.
    """
    accepted, seconds = request.headers.get("accept", ""), time_limit(request)
    if SSE in accepted:
        places = _Places.read(request.headers.get("last-event-id", ""))
        form = StreamForm(
            media_type=SSE,
            item=places.message,
            error=lambda problem: b"event: error\ndata: %b\n\n" % to_json(problem),
            end=b"event: end\ndata: {}\n\n",
        )
        asked = places.rest(query)
        return LineStream(lambda: places.unseen(control, asked), streams, to_its_end=True, form=form, seconds=seconds)
    form = RECORD_LINES
    if TEXT in accepted:
        text = _TimedText().of if query.timed else _text
        form = StreamForm(media_type=TEXT, item=text, error=lambda problem: _last_words(problem["detail"]), end=b"")
    return LineStream(lambda: control.logs(query), streams, to_its_end=True, form=form, seconds=seconds)


@define(eq=False)
class _Places:
    """Up to where a client has seen each stream of output.

    A stream that is not named is one that began later, or whose beginning is where it was told from.

    Attributes:
        seen: By stream the offset of the next byte.
        since: From when on streams come that are not named, for want of room; None where all are named.
    """

    seen: dict[str, int]
    since: datetime | None = None
    _named: dict[str, int] = field(init=False)
    """Those that an id names, the one that was told last at the end."""
    _first: datetime | None = field(default=None, init=False)
    """When the first piece was written that was told here."""

    def __attrs_post_init__(self) -> None:
        self._named = dict(self.seen)

    @classmethod
    def read(cls, text: str) -> _Places:
        """Return what the id of an event says."""
        if not text:
            return cls({})
        try:
            if len(text) > _MAX_RESUMED:
                raise ValueError
            seen = json.loads(_unpacked(base64.urlsafe_b64decode(text)))
            if not isinstance(seen, dict):
                raise ValueError
            since = datetime.fromisoformat(seen.pop(_SINCE)) if _SINCE in seen else None
            if not all(type(offset) is int for offset in seen.values()) or (since and since.tzinfo is None):
                raise ValueError
        except (ValueError, TypeError, binascii.Error, zlib.error, RecursionError) as err:
            problem = Problem("this is no id of an event of output", path="Last-Event-ID")
            raise ConfigInvalid((problem,)) from err
        return cls(seen, since)

    def rest(self, query: LogQuery) -> LogQuery:
        """Return what is to be asked for to get all that a client has not seen of what a query asks for."""
        if not self.seen and self.since is None:
            return evolve(query, placed=True)
        # What a client has seen may be all that there was: what the query cuts off was cut off before that.
        # What has been replaced since then was followed to its end neither.
        also = tuple(sorted({stream.partition("/")[0] for stream in self.seen}))
        return evolve(query, tail=None, tail_bytes=None, since=self.since, placed=True, also=also)

    @asynccontextmanager
    async def unseen(self, control: Control, query: LogQuery) -> AsyncIterator[AsyncIterator[LogRecord]]:
        """Open the output, without what was seen."""
        async with control.logs(query) as records:
            yield self._without_seen(records)

    async def _without_seen(self, records: AsyncIterator[LogRecord]) -> AsyncIterator[LogRecord]:
        async for record in records:
            stream = _stream_of(record)
            if not record.data and not record.gap_bytes:
                if stream not in self.seen:
                    self._note(stream, record.offset)
                continue
            seen = self.seen.get(stream, 0) - record.offset
            if seen <= 0:
                # Of what is no longer kept the client may have seen the beginning.
                yield record if record.gap_bytes <= -seen else evolve(record, gap_bytes=-seen)
            elif seen < len(record.data):
                yield evolve(record, offset=record.offset + seen, data=record.data[seen:], gap_bytes=0)

    def message(self, record: LogRecord) -> bytes:
        """Return a piece as an event, whose id says up to where all is known then."""
        if self._first is None:
            self._first = record.written_at
        self._note(_stream_of(record), record.offset + len(record.data))
        return b"event: log\nid: %b\ndata: %b\n\n" % (self._id(), record_text(record))

    def _note(self, stream: str, offset: int) -> None:
        self.seen[stream] = offset
        self._named.pop(stream, None)
        # Without a name it begins at its first byte.
        if offset:
            self._named[stream] = offset

    def _id(self) -> bytes:
        while True:
            named: dict[str, Any] = {**self._named}
            if self.since is not None:
                named[_SINCE] = self.since.isoformat()
            text = base64.urlsafe_b64encode(_packed(json.dumps(named, separators=(",", ":")).encode()))
            if len(text) <= _MAX_ID:
                return text
            if self.since is None and self._first is not None:
                self.since = self._first - _MARGIN
            # Those that are told least may come again; nothing that was not told is left out.
            for stream in list(self._named)[: len(self._named) // 4 + 1]:
                del self._named[stream]


def _packed(text: bytes) -> bytes:
    return text if len(text) <= _MAX_PLAIN else zlib.compress(text)


def _unpacked(data: bytes) -> bytes:
    if data[:1] == b"{":
        return data
    unpacking = zlib.decompressobj()
    text = unpacking.decompress(data, _MAX_UNPACKED)
    if not unpacking.eof:
        raise ValueError
    return text


def _stream_of(record: LogRecord) -> str:
    return f"{record.instance}/{record.container}/{record.attempt}/{record.stream.value}"


def _text(record: LogRecord) -> bytes:
    gap = b"[%d bytes are no longer kept]\n" % record.gap_bytes if record.gap_bytes else b""
    return gap + record.data


@define(eq=False)
class _TimedText:
    """Output as it was written, but that each line begins with when that was."""

    _within: set[str] = field(factory=set)
    """The streams whose last piece ended within a line."""

    def of(self, record: LogRecord) -> bytes:
        """Return a piece, all of whose lines are of one time."""
        if not record.data:
            return _text(record)
        stream, at = _stream_of(record), _time_text(record.written_at)
        lines = record.data.split(b"\n")
        rest = lines.pop()
        told = b"".join(b"%b %b\n" % (at, line) for line in lines) + (b"%b %b" % (at, rest) if rest else b"")
        if stream in self._within and not record.gap_bytes:
            told = told[len(at) + 1 :]
        self._within.discard(stream)
        if rest:
            self._within.add(stream)
        return _text(evolve(record, data=told))


def _time_text(then: datetime | None) -> bytes:
    if then is None:
        return b"-" * len("2026-11-22T10:30:00.000Z")
    return then.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()


def _last_words(detail: str) -> bytes:
    return f"\n[cut off: {detail}]\n".encode()
