"""Reading the log segments that shims write. Everything here blocks, and runs in a thread."""

from __future__ import annotations

import os
from bisect import bisect_right
from datetime import UTC, datetime
from pathlib import Path

from attrs import frozen
from orchestrion.runtime_interface import LogChunk, LogStream

_ENTRY_BYTES = 16
_SUFFIX = ".log"


@frozen
class Segments:
    """A stream's segments: each has the offset of its first byte in its name.

    Attributes:
        prefix: What the paths of their files begin with.
        starts: Their first offsets, ascending.
    """

    prefix: str
    starts: list[int]

    @classmethod
    def find(cls, directory: Path, stream: LogStream) -> Segments:
        """Return the segments that are there now. Not one size is asked for: there may be very many."""
        prefix = f"{stream.value}-"
        try:
            with os.scandir(directory) as entries:
                names = [entry.name for entry in entries]
        except FileNotFoundError:
            names = []
        starts = [
            int(name[len(prefix) : -len(_SUFFIX)])
            for name in names
            if name.startswith(prefix) and name.endswith(_SUFFIX)
        ]
        return cls(f"{directory}/{prefix}", sorted(starts))

    def path(self, number: int) -> Path:
        """Return the path of a segment's data."""
        return Path(f"{self.prefix}{self.starts[number]:020d}{_SUFFIX}")

    def end(self, number: int) -> int:
        """Return the offset behind a segment's last byte.

        All names were asked for before, so that the size of a segment with another one after it is final.

        Raises:
            FileNotFoundError: It was given up meanwhile.
        """
        return self.starts[number] + self.path(number).stat().st_size

    def first_beyond(self, offset: int) -> int | None:
        """Return the first segment with a byte at `offset` or after it, or None where there is none.

        Raises:
            FileNotFoundError: It was given up meanwhile.
        """
        number = max(0, bisect_right(self.starts, offset) - 1)
        if number < len(self.starts) and self.end(number) <= offset:
            number += 1
        return number if number < len(self.starts) else None


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
    looked_twice = False
    while True:
        segments = Segments.find(directory, stream)
        try:
            end = max(total or 0, segments.end(-1) if segments.starts else 0)
            wanted = max(0, end + offset) if offset < 0 else offset
            if wanted >= end:
                return LogChunk(stream=stream, offset=end, final=ended)
            first = segments.first_beyond(wanted)
            if first is None:
                return LogChunk(stream=stream, offset=end, gap_bytes=end - wanted, final=ended)
            start = max(wanted, segments.starts[first])
            if start > wanted and not looked_twice:
                # A listing may lack what is made while it goes on, and have what is made after that. Only what a second
                # one lacks as well is given up.
                looked_twice = True
                continue
            data = _read(segments, first, start, max_bytes)
            written_at = _written_at(segments.path(first), start)
        except FileNotFoundError:
            continue  # A segment was given up between looking and reading.
        return LogChunk(
            stream=stream,
            offset=start,
            data=data,
            gap_bytes=start - wanted,
            written_at=written_at,
            final=ended and start + len(data) == end,
        )


def _read(segments: Segments, first: int, start: int, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    position, left = start, max_bytes
    for number in range(first, len(segments.starts)):
        if segments.starts[number] > position or left == 0:
            break
        file = os.open(segments.path(number), os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.pread(file, left, position - segments.starts[number])
        finally:
            os.close(file)
        parts.append(data)
        position += len(data)
        left -= len(data)
    return b"".join(parts)


def _written_at(path: Path, offset: int) -> datetime | None:
    """Return when a byte was written: entries have an offset and a time in nanoseconds, 8 bytes each, little-endian."""
    try:
        file = path.with_suffix(".index").open("rb")
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
