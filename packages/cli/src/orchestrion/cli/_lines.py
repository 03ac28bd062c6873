"""Output of containers as whole lines, each behind the name of the instance that wrote it."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from attrs import define, field
from orchestrion.orchestrator_core import LogRecord
from orchestrion.runtime_interface import LogStream

from ._output import coloured
from ._screen import lines_for

_COLOURS: Final = ("cyan", "yellow", "green", "magenta", "blue")

_MAX_LINE_BYTES: Final = 65536
"""A line that is longer is cut into several: a program that never ends its line must not fill the memory."""

_FIRST_EPOCH: Final = "1"

Source = tuple[str, str, int, LogStream]
"""Instance, container, attempt and stream."""


@define
class LineMaker:
    """Puts pieces of output together to lines, source by source."""

    _rests: dict[Source, bytes] = field(factory=dict)

    def take(self, record: LogRecord, /) -> tuple[Source, list[bytes]]:
        """Return whose a piece is, and the lines that it completes, without their ends."""
        source, told = (record.instance, record.container, record.attempt, record.stream), list[bytes]()
        if record.gap_bytes:
            told += [line for _, line in self._rest(source)]
            told.append(b"... %d bytes are no longer kept ..." % record.gap_bytes)
        data = self._rests.pop(source, b"") + record.data
        *lines, rest = data.split(b"\n")
        told += [line.removesuffix(b"\r") for line in lines] if b"\r" in data else lines
        while len(rest) > _MAX_LINE_BYTES:
            told.append(rest[:_MAX_LINE_BYTES])
            rest = rest[_MAX_LINE_BYTES:]
        if rest:
            self._rests[source] = rest
        return source, told

    def end(self) -> Iterator[tuple[Source, bytes]]:
        """Yield what was written without an end of line."""
        for source in list(self._rests):
            yield from self._rest(source)

    def _rest(self, source: Source) -> Iterator[tuple[Source, bytes]]:
        rest = self._rests.pop(source, b"")
        if rest:
            yield source, rest


Print = Callable[[LogStream, str, Sequence[bytes]], None]
"""Takes the stream, the prefix and the lines."""


def prefix_of(source: Source, *, with_container: bool) -> str:
    """Return what stands before a line: the slot's name, and the container's where there are several.

    Later instances of a slot are named in full, and later attempts of a container with their number: "web.0.2#1".
    """
    instance, container, attempt, _ = source
    slot, _, epoch = instance.rpartition(".")
    name = slot if epoch == _FIRST_EPOCH else instance
    return f"{name}{f'/{container}' if with_container else ''}{f'#{attempt}' if attempt else ''}"


def print_line(stream: LogStream, prefix: str, line: bytes) -> None:
    """Print a line where it belongs: stdout to stdout, stderr to stderr; see `print_lines`."""
    print_lines(stream, prefix, (line,))


def print_lines(stream: LogStream, prefix: str, lines: Sequence[bytes]) -> None:
    """Print lines, one at least, where they belong, in one piece: byte for byte, but harmless to a terminal."""
    target = sys.stdout if stream is LogStream.STDOUT else sys.stderr
    colour = _COLOURS[zlib.crc32(prefix.encode()) % len(_COLOURS)]
    head = coloured(f"{prefix} | ", colour, target).encode()
    target.flush()
    target.buffer.write(head + (b"\n" + head).join(lines_for(target, lines)) + b"\n")
    target.buffer.flush()
