"""Following a container's log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Self

import trio
from orchestrion.runtime_interface import LogChunk, LogStream

from ._container import Container
from ._inotify import Watch

CHUNK_BYTES = 1 << 18

Read = Callable[[Container, LogStream, int, int], Awaitable[LogChunk]]


class LogFollower:
    """Iterates over a stream's chunks from an offset on, waiting for more."""

    def __init__(self, read: Read, container: Container, stream: LogStream, offset: int, watch: Watch) -> None:
        self._read = read
        self._container = container
        self._stream = stream
        self._offset = offset
        self._watch = watch
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LogChunk:
        await trio.lowlevel.checkpoint()
        while not self._over:
            # Armed before the look, so that what is written in between is seen at the next one.
            changed = trio.Event()
            self._watch.arm(changed)
            self._container.wake_at_end.add(changed)
            try:
                if self._is_removed():
                    break
                chunk = await self._read(self._container, self._stream, self._offset, CHUNK_BYTES)
                if self._is_removed():
                    break  # What was read may already lack files.
                self._over = chunk.final
                if chunk.data or chunk.gap_bytes or chunk.final:
                    self._offset = chunk.offset + len(chunk.data)
                    return chunk
                if self._offset < 0:
                    self._offset = chunk.offset
                await self._watch.wait(changed)
            finally:
                self._watch.disarm(changed)
                self._container.wake_at_end.discard(changed)
        self._over = True
        raise StopAsyncIteration

    def _is_removed(self) -> bool:
        return self._container.removed
