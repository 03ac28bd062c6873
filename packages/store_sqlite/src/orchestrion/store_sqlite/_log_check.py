"""Damage in the middle of the log that a crash has left, which SQLite takes for its end.

SQLite reads a log up to the first frame that does not match its checksum. Behind that may be what a crash cut off while
it was written, or writes that were acknowledged. The two can be told apart: a checksum goes on from that of the frame
before, and with FULL sync nothing is added to the log before the transaction that goes before is on disk. So if a frame
goes on from the last frame of a transaction that was not accepted, then that transaction was whole once.

The format is that of https://www.sqlite.org/walformat.html.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 24
_MAGIC: Final = 0x377F0682
"""Of a log with little-endian checksums; one more is big-endian."""

_ACCEPTED_AT: Final = 16
"""Where the index says how many frames were accepted, in the byte order of the machine."""

_MASK: Final = 0xFFFFFFFF


def accepted_frames(index: Path) -> int:
    """Return how many frames of its log SQLite has accepted, as the index file of an open connection says."""
    with index.open("rb") as file:
        file.seek(_ACCEPTED_AT)
        return int.from_bytes(file.read(4), sys.byteorder)


def hides_writes(log: Path, accepted: int, page_bytes: int) -> bool:
    """Whether a log holds transactions beyond the frames that were accepted which were whole once."""
    with log.open("rb") as file:
        header = _Header.read(file)
        frames = _Frames(file, page_bytes)
        for number in range(accepted, len(frames) - 1):
            last, following = frames.head(number), frames.head(number + 1)
            # Where the header is damaged nobody knows which salts are those of the log; it is never written by halves.
            salts = header.salts if header.holds else last.salts
            if not last.commits or last.salts != salts or following.salts != salts:
                continue
            content = frames.content(number + 1)
            # A transaction that is padded to the end of a sector ends with its last frame several times.
            is_copy = following.subject == last.subject and content == frames.content(number)
            if not is_copy and header.checksum(following.subject + content, last.checksum) == following.checksum:
                return True
    return False


class _Header(NamedTuple):
    """The header of a log.

    Attributes:
        holds: Whether it matches its checksum.
        salts: What marks frames as its own.
        order: The byte order of checksums, as `struct` has it.
    """

    holds: bool
    salts: bytes
    order: str

    @classmethod
    def read(cls, file: BinaryIO) -> _Header:
        data = file.read(_HEADER_BYTES)
        if len(data) < _HEADER_BYTES:
            return cls(holds=True, salts=b"", order="<")
        magic = int.from_bytes(data[:4], "big")
        big = magic & 1 if magic & ~1 == _MAGIC else sys.byteorder == "big"
        header = cls(holds=True, salts=data[16:24], order=">" if big else "<")
        return header._replace(holds=header.checksum(data[:24], (0, 0)) == struct.unpack(">II", data[24:]))

    def checksum(self, data: bytes, before: tuple[int, int]) -> tuple[int, int]:
        """Return the checksum of some data that goes on from another."""
        first, second = before
        words = iter(struct.unpack(f"{self.order}{len(data) // 4}I", data))
        for one, other in zip(words, words, strict=True):
            first = (first + one + second) & _MASK
            second = (second + other + first) & _MASK
        return first, second


class _FrameHead(NamedTuple):
    """The head of a frame.

    Attributes:
        subject: Which page, and the size of the file after a transaction that ends here; its checksum begins with this.
        salts: Of which log it is.
        checksum: Of everything up to its end.
    """

    subject: bytes
    salts: bytes
    checksum: tuple[int, int]

    @property
    def commits(self) -> bool:
        """Whether a transaction ends here."""
        return any(self.subject[4:])


class _Frames:
    """The frames of a log, by number from 0."""

    def __init__(self, file: BinaryIO, page_bytes: int) -> None:
        self._file = file
        self._page_bytes = page_bytes
        self._bytes = page_bytes + _FRAME_HEADER_BYTES
        self._count = max(0, file.seek(0, 2) - _HEADER_BYTES) // self._bytes

    def __len__(self) -> int:
        return self._count

    def head(self, number: int) -> _FrameHead:
        self._file.seek(_HEADER_BYTES + number * self._bytes)
        data = self._file.read(_FRAME_HEADER_BYTES)
        first, second = struct.unpack(">II", data[16:])
        return _FrameHead(data[:8], data[8:16], (first, second))

    def content(self, number: int) -> bytes:
        self._file.seek(_HEADER_BYTES + number * self._bytes + _FRAME_HEADER_BYTES)
        return self._file.read(self._page_bytes)
