"""Reading what is large beside the loop, so that nobody else waits for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, TypeVar

import trio
from orchestrion.control_plane._limits import LaneSize, Seats
from orchestrion.shared_types import ConfigInvalid, Problem, from_json, structure

T = TypeVar("T")

AT_ONCE_BYTES: Final = 65_536
"""JSON up to this size is read at once; what takes longer is read in a thread."""

_READING: Final = Seats(LaneSize(each=1, all=2, queue=64, queue_seconds=30))
"""As many of one who asks may wait as may be at work on writes: who was let in is let in here too."""


async def read_json(body: bytes, read: Callable[[bytes], T], who: str) -> T:
    """Return what `read` makes of a body.

    Args:
        body: JSON.
        read: Reads it; it raises what is wrong with it.
        who: By what name the sender is counted: one large body of each is read at a time.

    Raises:
        TooManyRequests: Too many large ones are being read.
    """
    if len(body) <= AT_ONCE_BYTES:
        return read(body)
    async with _READING.taken(who):
        return await trio.to_thread.run_sync(read, body)


def value_of(body: bytes, kind: type[T]) -> T:
    """Return the value that a body stands for, as `from_json` does, and let other threads go on meanwhile.

    Raises:
        ConfigInvalid: It is not JSON, or stands for no such value.
    """
    if len(body) <= AT_ONCE_BYTES or b"\\u" in body:
        return from_json(body, kind)  # it looks for halves of letters too, which only escapes can make
    try:
        plain = json.loads(body.decode(), parse_constant=_no_number, object_pairs_hook=_as_dict)
    except (ValueError, RecursionError) as err:
        raise ConfigInvalid((Problem(f"this is not JSON: {err}"),)) from err
    return structure(plain, kind)


def _as_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Code of Python's own lets another thread have its turn, which the reader of JSON alone never does.
    return dict(pairs)


def _no_number(word: str) -> float:
    msg = f"{word} is not a number that JSON has"
    raise ValueError(msg)
