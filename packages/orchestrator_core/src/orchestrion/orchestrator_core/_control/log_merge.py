"""Output of several containers in the order in which it was written."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from heapq import heappop, heappush
from typing import Final

from attrs import define, evolve, field
from orchestrion.orchestrator_core._control.views import LogRecord
from orchestrion.runtime_interface import ContainerSummary, LogChunk, LogStream, SupportsLogs
from orchestrion.shared_types import ContainerNotFound

CHUNK_BYTES: Final = 65_536
FEWEST_BYTES: Final = 4_096
MOST_BYTES: Final = 16 * 1024 * 1024
"""What the chunks of all sources together may take; with very many sources, `FEWEST_BYTES` for each."""

PAST_THE_END: Final = 2**62
MAX_LINE_BYTES: Final = 65_536
"""A line that is longer is no reason to search for its beginning."""

UNKNOWN: Final = datetime.min.replace(tzinfo=UTC)


@define(eq=False)
class LogSource:
    """One stream of one container.

    Attributes:
        runtime: Holds the output.
        summary: The container.
        instance: The instance's name.
        stream: Which output.
        offset: The next byte to be read.
        timed: Whether lines of several times are given one time after the other.
    """

    runtime: SupportsLogs
    summary: ContainerSummary
    instance: str
    stream: LogStream
    offset: int = 0
    timed: bool = field(default=False, kw_only=True)
    _chunk: LogChunk | None = None
    _time: datetime = UNKNOWN
    _end: int | None = field(default=None, kw_only=True)

    @property
    def time(self) -> datetime:
        """When the first byte of what is held was written."""
        return self._time

    async def begin(self, tail: int | None, since: datetime | None, until: datetime | None = None) -> None:
        """Go to the first byte that is wanted: at most `tail` bytes from the end, none written too early or too late.

        A chunk says only when its first byte was written, so the place is searched for byte by byte, by halves.
        """
        self._end = await self._find_end()
        if until is not None:
            self._end = await self._first(0, self._end, lambda at: at is not None and at > until)
        self.offset = first = 0 if tail is None else max(0, self._end - tail)
        if since is not None:
            self.offset = await self._first(first, self._end, lambda at: at is None or at >= since)

    async def keep_lines(self, count: int) -> None:
        """Go on to the first of so many last lines, 1 at least, of what is wanted."""
        end = self._end
        if end is None:
            end = self._end = await self._find_end()
        first = max(self.offset, end - count * MAX_LINE_BYTES)
        place, left = end, count
        while place > first:
            start = max(first, place - CHUNK_BYTES)
            # What the runtime gives may be shorter than what it was asked for.
            pieces, offset = list[bytes](), start
            while offset < place:
                chunk = await self._read(offset, place - offset)
                if not chunk.data:
                    break
                if chunk.offset > offset:  # what is before that is no longer kept
                    pieces, start, first = [], min(chunk.offset, place), chunk.offset
                pieces.append(chunk.data)
                offset = chunk.offset + len(chunk.data)
            data = b"".join(pieces)[: place - start]
            # The end of the last line begins none.
            behind = len(data) - 1 if place == end else len(data)
            while (behind := data.rfind(b"\n", 0, behind)) >= 0:
                left -= 1
                if not left:
                    self.offset = start + behind + 1
                    return
            place = start
        self.offset = max(self.offset, end - count * MAX_LINE_BYTES)

    def drop(self) -> None:
        """Want nothing of what there is."""
        if self._end is not None:
            self.offset = self._end

    def copy(self) -> LogSource:
        """Return another that gives the same."""
        return LogSource(self.runtime, self.summary, self.instance, self.stream, self.offset, end=self._end)

    async def _first(self, low: int, high: int, meets: Callable[[datetime | None], bool]) -> int:
        """Return the first place from `low` on, up to `high`, whose time meets what all that come after it do."""
        if low == high:
            return high
        low = min((await self._read(low, 1)).offset, high)
        while low < high:
            middle = (low + high) // 2
            if meets((await self._read(middle, 1)).written_at):
                high = middle
            else:
                low = middle + 1
        return low

    def place(self) -> LogRecord:
        """Return a record without data of where the next byte to be read is."""
        nothing = LogChunk(stream=self.stream, offset=self.offset, data=b"")
        return record_of(nothing, self.summary, self.instance)

    @property
    def has_more(self) -> bool:
        """Whether something is left of what there was at the beginning; True where that is not known."""
        return self._end is None or self.offset < self._end

    async def hold(self, max_bytes: int) -> bool:
        """Hold a chunk; False where nothing is left of what there was at the beginning."""
        if self._chunk is not None:
            return True
        if self._end is None:
            self._end = await self._find_end()
        if self.offset >= self._end:
            return False
        chunk = await self._read(self.offset, min(max_bytes, self._end - self.offset))
        self.offset = chunk.offset + len(chunk.data)
        if not chunk.data and not chunk.gap_bytes:
            return False
        self._chunk, self._time = chunk, max(self._time, chunk.written_at or UNKNOWN)
        return True

    async def give(self, until: datetime | None, *, itself_included: bool) -> LogRecord:
        """Give the lines of the chunk that were written before `until`: the first one at least, all for None."""
        chunk = self._chunk
        if chunk is None:
            msg = "nothing is held"
            raise RuntimeError(msg)
        if self.timed and (until is None or self._time < until):
            until, itself_included = self._time, True
        size = len(chunk.data)
        if until is not None and chunk.data:
            size = await self._size_before(chunk, until, itself_included=itself_included)
        given = evolve(chunk, data=chunk.data[:size])
        self._chunk = None
        if size < len(chunk.data):
            written_at = None if self._time == UNKNOWN else self._time
            offset, data = chunk.offset + size, chunk.data[size:]
            self._chunk = evolve(chunk, offset=offset, data=data, gap_bytes=0, written_at=written_at)
        return record_of(given, self.summary, self.instance)

    async def _size_before(self, chunk: LogChunk, until: datetime, *, itself_included: bool) -> int:
        """Return how much of a chunk goes first; it is searched for in steps that double, and then by halves."""
        ends = [place + 1 for place in _places_of_ends(chunk.data)]
        if not ends or ends[-1] < len(chunk.data):
            ends.append(len(chunk.data))
        first, beyond, step = 0, len(ends), 1
        later = self._time
        while first + 1 < beyond:
            line = min(first + step, beyond - 1)
            written_at = (await self._read(chunk.offset + ends[line - 1], 1)).written_at or self._time
            if written_at < until or (itself_included and written_at == until):
                first, step = line, step * 2
            else:
                beyond, step, later = line, max(1, (line - first) // 2), written_at
        self._time = max(self._time, later)
        return ends[first]

    async def _find_end(self) -> int:
        return (await self._read(PAST_THE_END, 1)).offset

    async def _read(self, offset: int, max_bytes: int) -> LogChunk:
        return await self.runtime.read_logs(self.summary.container_id, self.stream, offset=offset, max_bytes=max_bytes)


@define(eq=False)
class LogMerge:
    """All that there is of some sources, line by line in the order of time; what is written meanwhile comes no more.

    Attributes:
        sources: The sources; those of lines of the same time come in this order. Each is left where it was read to.
    """

    sources: Sequence[LogSource]
    _queue: list[tuple[datetime, int]] = field(factory=list)

    async def records(self) -> AsyncGenerator[LogRecord, None]:
        """Yield what there is. A container that is gone meanwhile has no more."""
        async with aclosing(self.pieces()) as pieces:
            async for _, record in pieces:
                yield record

    async def pieces(self) -> AsyncGenerator[tuple[LogSource, LogRecord], None]:
        """Yield what there is, and whose that is. A container that is gone meanwhile has no more."""
        max_bytes = max(FEWEST_BYTES, min(CHUNK_BYTES, MOST_BYTES // max(1, len(self.sources))))
        for number in range(len(self.sources)):
            await self._enqueue(number, max_bytes)
        while self._queue:
            _, number = heappop(self._queue)
            until, other = self._queue[0] if self._queue else (None, 0)
            try:
                record = await self.sources[number].give(until, itself_included=number < other)
            except ContainerNotFound:
                continue
            yield self.sources[number], record
            await self._enqueue(number, max_bytes)

    async def _enqueue(self, number: int, max_bytes: int) -> None:
        source = self.sources[number]
        try:
            if await source.hold(max_bytes):
                heappush(self._queue, (source.time, number))
        except ContainerNotFound:
            return


def _places_of_ends(data: bytes) -> Iterator[int]:
    place = data.find(b"\n")
    while place >= 0:
        yield place
        place = data.find(b"\n", place + 1)


def record_of(chunk: LogChunk, summary: ContainerSummary, instance: str) -> LogRecord:
    """Return a chunk as a record of its instance."""
    return LogRecord(
        instance=instance,
        container=summary.status.name,
        attempt=summary.status.attempt,
        stream=chunk.stream,
        offset=chunk.offset,
        data=chunk.data,
        gap_bytes=chunk.gap_bytes,
        written_at=chunk.written_at,
    )
