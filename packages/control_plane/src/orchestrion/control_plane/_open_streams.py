"""The streams that are under way, so that the end of a server can wait for what they still give."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio
from attrs import define, field


@define(eq=False)
class OpenStreams:
    """Counts streams that have something to give until they end.

    Attributes:
        ending: Set when streams are to come to their end.
    """

    ending: trio.Event
    _count: int = 0
    _none: trio.Event = field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        self._none.set()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count a stream for as long as the context lasts."""
        if self._count == 0:
            self._none = trio.Event()
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1
            if self._count == 0:
                self._none.set()

    async def wait_over(self) -> None:
        """Wait until none is under way."""
        await self._none.wait()

    @property
    def over(self) -> bool:
        """Whether none is under way."""
        return self._count == 0
