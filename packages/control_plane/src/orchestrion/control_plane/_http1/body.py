"""The body of a request, taken out of what comes over a connection."""

from __future__ import annotations

import re
from typing import Final

from attrs import define, field

from .head import BadRequest

MAX_CHUNK_LINE_BYTES: Final = 256
MAX_TRAILER_BYTES: Final = 8_192

_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,12})[ \t]*(?:;[\t !-~\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\x00-\x08\x0a-\x1f\x7f]*")


@define(eq=False)
class Body:
    """What is left of a body.

    Attributes:
        left: Bytes that are still to come, of the body or of its present chunk.
        chunked: Whether it comes in chunks.
        over: Whether all of it was taken.
    """

    left: int
    chunked: bool
    over: bool = field(default=False, init=False)
    _state: str = field(default="size", init=False)
    _trailer_bytes: int = field(default=0, init=False)

    @classmethod
    def of(cls, length: int | None) -> Body:
        """Return the body of so many bytes; None is in chunks."""
        body = cls(length or 0, length is None)
        body.over = length == 0
        return body

    def take(self, buffer: bytearray) -> bytes:
        """Take what there is of the body out of a buffer, and leave what comes after it.

        Raises:
            BadRequest: It is no body.
        """
        if not self.chunked:
            data = self._data(buffer)
            self.over = self.left == 0
            return data
        parts = list[bytes]()
        while not self.over and self._step(buffer, parts):
            pass
        return b"".join(parts)

    def _data(self, buffer: bytearray) -> bytes:
        data = bytes(buffer[: self.left])
        del buffer[: len(data)]
        self.left -= len(data)
        return data

    def _step(self, buffer: bytearray, parts: list[bytes]) -> bool:
        """Go on; False where more has to come first."""
        if self._state == "data":
            if not buffer:
                return False
            parts.append(self._data(buffer))
            if self.left == 0:
                self._state = "end"
            return True
        limit = MAX_CHUNK_LINE_BYTES if self._state != "trailer" else MAX_TRAILER_BYTES
        line = _line(buffer, limit)
        if line is None:
            return False
        if self._state == "end":
            if line:
                raise BadRequest(400, "a chunk is longer than it says")
            self._state = "size"
        elif self._state == "size":
            match = _CHUNK.fullmatch(line)
            if match is None:
                raise BadRequest(400, "no chunk")
            self.left = int(match[1], 16)
            self._state = "data" if self.left else "trailer"
        elif line:
            self._trailer_bytes += len(line)
            if not _TRAILER.fullmatch(line) or self._trailer_bytes > MAX_TRAILER_BYTES:
                raise BadRequest(400, "no trailer")
        else:
            self.over = True
        return True


def _line(buffer: bytearray, limit: int) -> bytes | None:
    end = buffer.find(b"\r\n", 0, limit + 2)
    if end < 0:
        if len(buffer) > limit:
            raise BadRequest(400, "a line is too long")
        return None
    line = bytes(buffer[:end])
    del buffer[: end + 2]
    return line
