"""Keys in order, for prefix lists over hundreds of thousands of them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import Final

_BLOCK: Final = 1024


class SortedKeys:
    """Different strings, ascending by code point, in blocks so that adding and removing don't move all of them."""

    __slots__ = ("_blocks", "_last_keys")

    def __init__(self) -> None:
        self._blocks: list[list[str]] = []
        self._last_keys: list[str] = []

    def add(self, key: str, /) -> None:
        """Add a key that is not there."""
        if not self._blocks:
            self._blocks.append([key])
            self._last_keys.append(key)
            return
        at = bisect_left(self._last_keys, key)
        if at == len(self._blocks):
            at -= 1
            block = self._blocks[at]
            block.append(key)
            self._last_keys[at] = key
        else:
            block = self._blocks[at]
            insort(block, key)
        if len(block) > _BLOCK:
            half = len(block) // 2
            self._blocks.insert(at + 1, block[half:])
            self._last_keys.insert(at, block[half - 1])
            del block[half:]

    def remove(self, key: str, /) -> None:
        """Remove a key that is there."""
        at = bisect_left(self._last_keys, key)
        block = self._blocks[at]
        del block[bisect_left(block, key)]
        if block:
            self._last_keys[at] = block[-1]
        else:
            del self._blocks[at], self._last_keys[at]

    def with_prefix(self, prefix: str, /, *, start_after: str | None, most: int | None) -> list[str]:
        """Return the first `most` keys (None: all) with a prefix that are greater than `start_after`."""
        end = _after_all_with(prefix)
        if start_after is None or start_after < prefix:
            at = bisect_left(self._last_keys, prefix)
            first = bisect_left(self._blocks[at], prefix) if at < len(self._blocks) else 0
        else:
            at = bisect_right(self._last_keys, start_after)
            first = bisect_right(self._blocks[at], start_after) if at < len(self._blocks) else 0
        found: list[str] = []
        for number in range(at, len(self._blocks)):
            block = self._blocks[number]
            last = len(block) if end is None or self._last_keys[number] < end else bisect_left(block, end)
            found += block[first:last]
            if last < len(block) or (most is not None and len(found) >= most):
                break
            first = 0
        return found if most is None else found[:most]


def _after_all_with(prefix: str) -> str | None:
    """Return the least string that is greater than all with this prefix; None where there is none."""
    stem = prefix.rstrip("\U0010ffff")
    return stem[:-1] + chr(ord(stem[-1]) + 1) if stem else None
