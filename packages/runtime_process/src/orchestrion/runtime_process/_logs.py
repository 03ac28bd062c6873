"""Reading the log segments that shims write. Everything here blocks, and runs in a thread."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from attrs import frozen
from orchestrion.runtime_interface import LogChunk, LogStream

_ENTRY_BYTES = 16


@frozen
class Segment:
    """A piece of a stream in one file.

    Attributes:
        start: The offset of its first byte in the stream.
        size: How many bytes it has.
        path: The file.
    """

    start: int
    size: int
    path: Path

    @property
    def end(self) -> int:
        """The offset behind its last byte."""
        return self.start + self.size


def find_segments(directory: Path, stream: LogStream) -> list[Segment]:
    """Return a stream's segments in order."""
    prefix = f"{stream.value}-"
    try:
        # All names before any size: once the name of a later segment is seen, the sizes of earlier ones are final.
        names = [path.name for path in directory.iterdir() if path.suffix == ".log" and path.name.startswith(prefix)]
    except FileNotFoundError:
        return []
    found = []
    for name in sorted(names):
        path = directory / name
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            continue  # Given up meanwhile, as the oldest.
        found.append(Segment(int(name.removeprefix(prefix).removesuffix(".log")), size, path))
    return found


def read_chunk(
    directory: Path, stream: LogStream, *, offset: int, max_bytes: int, ended: bool, total: int | None
) -> LogChunk:
    """Return what a stream has from `offset` on.

    Args:
        directory: Where the segments are.
        stream: Which output.
        offset: The first byte wanted; negative counts from the end.
        max_bytes: The most bytes, >= 1.
        ended: Whether nothing more will be written.
        total: How many bytes were written, where that is known.
    """
    while True:
        segments = find_segments(directory, stream)
        end = max([total or 0, *(segment.end for segment in segments)])
        wanted = max(0, end + offset) if offset < 0 else offset
        if wanted >= end:
            return LogChunk(stream=stream, offset=end, final=ended)
        first = next((number for number, segment in enumerate(segments) if segment.end > wanted), None)
        if first is None:
            return LogChunk(stream=stream, offset=end, gap_bytes=end - wanted, final=ended)
        start = max(wanted, segments[first].start)
        try:
            data = _read(segments[first:], start, max_bytes)
            written_at = _written_at(segments[first], start)
        except FileNotFoundError:
            continue  # The segment was given up between looking and reading.
        return LogChunk(
            stream=stream,
            offset=start,
            data=data,
            gap_bytes=start - wanted,
            written_at=written_at,
            final=ended and start + len(data) == end,
        )


def _read(segments: list[Segment], start: int, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    position, left = start, max_bytes
    for segment in segments:
        if segment.start > position or left == 0:
            break
        with segment.path.open("rb") as file:
            data = os.pread(file.fileno(), min(left, segment.end - position), position - segment.start)
        parts.append(data)
        position += len(data)
        left -= len(data)
        if position < segment.end:
            break
    return b"".join(parts)


def _written_at(segment: Segment, offset: int) -> datetime | None:
    """Return when a byte was written: entries have an offset and a time in nanoseconds, 8 bytes each, little-endian."""
    try:
        file = segment.path.with_suffix(".index").open("rb")
    except FileNotFoundError:
        return None
    with file:
        low, high = 0, os.fstat(file.fileno()).st_size // _ENTRY_BYTES
        nanoseconds = None
        while low < high:
            middle = (low + high) // 2
            entry = os.pread(file.fileno(), _ENTRY_BYTES, middle * _ENTRY_BYTES)
            if int.from_bytes(entry[:8], "little") <= offset:
                nanoseconds = int.from_bytes(entry[8:], "little")
                low = middle + 1
            else:
                high = middle
    return None if nanoseconds is None else datetime.fromtimestamp(nanoseconds / 1e9, UTC)
