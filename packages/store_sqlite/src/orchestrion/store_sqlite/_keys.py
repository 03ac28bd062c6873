"""A sorted set of keys."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

_CHUNK = 512
"""Keys per chunk when it is built; it is split at twice as many, so that an insertion moves a few kilobytes at most."""


class SortedKeys:
    """Keys in ascending order by code point."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        """Hold these keys, which may come in any order but not twice."""
        ordered = sorted(keys)
        self._chunks = [ordered[start : start + _CHUNK] for start in range(0, len(ordered), _CHUNK)]
        self._lasts = [chunk[-1] for chunk in self._chunks]

    def __len__(self) -> int:
        return sum(map(len, self._chunks))

    def add(self, key: str) -> None:
        """Add a key that is not in the set."""
        if not self._chunks:
            self._chunks.append([key])
            self._lasts.append(key)
            return
        at = min(bisect_left(self._lasts, key), len(self._chunks) - 1)
        chunk = self._chunks[at]
        insort(chunk, key)
        if len(chunk) > 2 * _CHUNK:
            self._chunks[at : at + 1] = [chunk[:_CHUNK], chunk[_CHUNK:]]
            self._lasts[at : at + 1] = [chunk[_CHUNK - 1], chunk[-1]]
        else:
            self._lasts[at] = chunk[-1]

    def remove(self, key: str) -> None:
        """Remove a key that is in the set."""
        at = bisect_left(self._lasts, key)
        chunk = self._chunks[at]
        del chunk[bisect_left(chunk, key)]
        if chunk:
            self._lasts[at] = chunk[-1]
        else:
            del self._chunks[at]
            del self._lasts[at]

    def starting_at(self, first: str) -> Iterator[str]:
        """Yield the keys that are not below `first`. The set must not change meanwhile."""
        at = bisect_left(self._lasts, first)
        if at == len(self._chunks):
            return
        chunk = self._chunks[at]
        yield from chunk[bisect_left(chunk, first) :]
        for chunk in self._chunks[at + 1 :]:
            yield from chunk
