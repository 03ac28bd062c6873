"""Which lines of output are wanted: the last ones, those up to a time, those that match; and how they are told."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from itertools import chain
from operator import itemgetter
from typing import Final

from attrs import define, evolve, field, frozen
from orchestrion.orchestrator_core import MAX_TAIL_LINES, LogQuery, LogRecord
from orchestrion.runtime_interface import LogStream
from orchestrion.shared_types import ConfigInvalid, Problem

FEWEST_TAIL_BYTES: Final = 65_536
"""So much of each stream is asked for at least, where the last lines are wanted."""

_BYTES_A_LINE: Final = 256
_LARGER: Final = 16
"""How much more is asked for where that was too little."""

_MAX_LINE_BYTES: Final = 65_536
"""A line that is longer is cut into several: a program that never ends its line must not fill the memory."""

_SLACK: Final = timedelta(minutes=1)
"""How much of what was there already is asked for again, so that nothing is left out between two questions."""

_Source = tuple[str, str, int, LogStream]
_Opened = Callable[[LogQuery], AbstractAsyncContextManager[AsyncIterator[LogRecord]]]
_Take = Callable[[LogRecord], None]


@frozen(kw_only=True)
class Wish:
    """Which lines are wanted.

    Attributes:
        tail: So many of the last lines of each container, 0 or more; None is all.
        until: None that was written after this time (UTC).
        pattern: Only lines in which it is found.
        timestamps: Whether each line says when it was written.
    """

    tail: int | None = None
    until: datetime | None = None
    pattern: re.Pattern[bytes] | None = None
    timestamps: bool = False

    @property
    def is_everything(self) -> bool:
        """Whether all lines are wanted, as they are."""
        return self == Wish()

    def takes(self, line: LogRecord) -> bool:
        """Whether a line is wanted, as far as that is to be seen by itself."""
        if self.until is not None and line.written_at is not None and line.written_at > self.until:
            return False
        return self.pattern is None or self.pattern.search(line.data.rstrip(b"\r\n")) is not None

    def told(self, line: LogRecord) -> LogRecord:
        """Return a line as it is told."""
        if not self.timestamps or not line.data:
            return line
        return evolve(line, data=f"{time_text(line.written_at)} ".encode() + line.data)


def time_text(then: datetime | None) -> str:
    """Return when something was written, in milliseconds and UTC, and always as long."""
    if then is None:
        return "-" * len("2026-11-22T10:30:00.000Z")
    return then.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def pattern_of(text: str, /) -> re.Pattern[bytes]:
    """Return what lines are searched for.

    Raises:
        ConfigInvalid: It is no regular expression.
    """
    try:
        return re.compile(text.encode("utf-8", "surrogateescape"))
    except re.error as err:
        raise ConfigInvalid((Problem(f"{text!r:.100} is no regular expression: {err}", "--grep"),)) from err


@define
class Lines:
    """Makes pieces of output into one record for each line, source by source; no byte is taken twice."""

    _ends: dict[_Source, int] = field(factory=dict)
    _rests: dict[_Source, LogRecord] = field(factory=dict)
    latest: datetime | None = None
    """When the last of what was taken was written."""
    timeless: bool = False
    """Whether it is not known of something when that was written."""

    def take(self, record: LogRecord, /) -> list[LogRecord]:
        """Return the lines that a piece completes, each with its end."""
        source = _source(record)
        end = self._ends.get(source, 0)
        if end > record.offset:  # it was taken already, or a part of it
            record = evolve(record, data=record.data[end - record.offset :], offset=end, gap_bytes=0)
        if not record.data and not record.gap_bytes:
            return []
        self._ends[source] = record.offset + len(record.data)
        if record.written_at is None:
            self.timeless = True
        else:
            self.latest = max(self.latest or record.written_at, record.written_at)
        rest, found = self._rests.pop(source, None), list[LogRecord]()
        if rest is not None and record.gap_bytes:
            found.append(rest)
            rest = None
        offset, gap_bytes = record.offset, record.gap_bytes
        for piece in _pieces(record.data):
            line = evolve(record, data=piece, offset=offset, gap_bytes=gap_bytes)
            offset, gap_bytes = offset + len(piece), 0
            if rest is not None:
                line, rest = evolve(rest, data=rest.data + piece), None
            if piece.endswith(b"\n") or len(line.data) >= _MAX_LINE_BYTES:
                found.append(line)
            else:
                self._rests[source] = line
        if not record.data:
            found.append(record)
        return found

    def end(self) -> list[LogRecord]:
        """Return what was written without an end of line."""
        rests, self._rests = list(self._rests.values()), {}
        return rests


def _pieces(data: bytes) -> list[bytes]:
    """Return data cut behind each line feed, and nowhere else."""
    pieces = [piece + b"\n" for piece in data.split(b"\n")]
    last = pieces.pop()[:-1]
    return [*pieces, last] if last else pieces


def _source(record: LogRecord) -> _Source:
    return record.instance, record.container, record.attempt, record.stream


async def show_lines(opened: _Opened, query: LogQuery, wish: Wish, take: _Take) -> None:
    """Give the lines that are wanted to whoever shows them, to the end of the output.

    Args:
        opened: Opens the output that a query asks for.
        query: Whose output.
        wish: Which lines of it.
        take: Shows a line.
    """
    query = evolve(query, timed=True, until=wish.until)
    if wish.tail is None:
        await _pass_on(opened, query, wish, Lines(), take)
        return
    last = await _last_lines(opened, query, wish, wish.tail)
    for line in last.lines:
        take(wish.told(line))
    if query.follow:
        await _pass_on(opened, evolve(query, since=_since(query, last.taken)), wish, last.taken, take)


async def _pass_on(opened: _Opened, query: LogQuery, wish: Wish, lines: Lines, take: _Take) -> None:
    async with opened(query) as records:
        async for record in records:
            for line in lines.take(record):
                if wish.takes(line):
                    take(wish.told(line))
    for line in lines.end():
        if wish.takes(line):
            take(wish.told(line))


def _since(query: LogQuery, taken: Lines) -> datetime | None:
    if taken.timeless or taken.latest is None:
        return query.since
    again = taken.latest - _SLACK
    return again if query.since is None else max(again, query.since)


@frozen
class _Last:
    lines: list[LogRecord]
    taken: Lines


async def _last_lines(opened: _Opened, query: LogQuery, wish: Wish, count: int) -> _Last:
    """Return the last lines of each container, in the order of time; of large output only the end is asked for."""
    if wish.pattern is None and count <= MAX_TAIL_LINES and not query.follow:
        return await _told_last_lines(opened, evolve(query, tail=count), wish)
    # Who gives the output does not know which lines match; and to go on from there, up to where all streams were
    # read has to be known, of which the last lines say nothing.
    size = max(FEWEST_TAIL_BYTES, count * _BYTES_A_LINE)
    while True:
        attempt = _Tail(wish, count, size)
        async with opened(evolve(query, follow=False, tail_bytes=size)) as records:
            async for record in records:
                attempt.take(record)
        if not query.follow:
            attempt.end()
        if attempt.is_enough():
            return _Last(attempt.last(), attempt.lines)
        size *= _LARGER


async def _told_last_lines(opened: _Opened, query: LogQuery, wish: Wish) -> _Last:
    """Return the last lines as they are told by whoever gives the output."""
    lines, found = Lines(), list[LogRecord]()
    async with opened(query) as records:
        async for record in records:
            found += filter(wish.takes, lines.take(record))
    found += filter(wish.takes, lines.end())
    return _Last(found, lines)


@define
class _Tail:
    """The last lines of what is there, as far as they are within the last bytes of each stream."""

    wish: Wish
    count: int
    size: int
    lines: Lines = field(factory=Lines)
    _kept: dict[tuple[str, str], deque[tuple[int, LogRecord]]] = field(factory=dict)
    _sizes: dict[_Source, int] = field(factory=dict)
    _first: dict[_Source, int] = field(factory=dict)
    """The number of the first line of each source: where what is before it was left out, it may be half of one."""
    _number: int = 0

    def take(self, record: LogRecord) -> None:
        """Take a piece of output."""
        source = _source(record)
        self._sizes[source] = self._sizes.get(source, 0) + len(record.data)
        for line in self.lines.take(record):
            self._keep(line)

    def end(self) -> None:
        """Take what has no end of line for lines."""
        for line in self.lines.end():
            self._keep(line)

    def _keep(self, line: LogRecord) -> None:
        self._number += 1
        self._first.setdefault(_source(line), self._number)
        if self.wish.takes(line):
            kept = self._kept.setdefault((line.instance, line.container), deque(maxlen=self.count))
            kept.append((self._number, line))

    def is_enough(self) -> bool:
        """Whether nothing that was left out can be among the last lines."""
        for source, size in self._sizes.items():
            if size < self.size or self.count == 0:
                continue
            kept = self._kept.get(source[:2])
            if kept is None or len(kept) < self.count or source not in self._first or kept[0][0] <= self._first[source]:
                return False
        return True

    def last(self) -> list[LogRecord]:
        """Return the last lines of all containers, in the order of time."""
        return [line for _, line in sorted(chain.from_iterable(self._kept.values()), key=itemgetter(0))]
