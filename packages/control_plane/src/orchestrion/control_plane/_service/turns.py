"""One after the other with each of several things."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from attrs import define, field


@define(eq=False)
class Turns:
    """Lets one task at a time be at work with a thing; what nobody is at work with takes no memory."""

    _locks: dict[str, trio.Lock] = field(factory=dict, init=False)

    def __len__(self) -> int:
        """Return with how many things anybody is at work, or waits to be."""
        return len(self._locks)

    @asynccontextmanager
    async def of(self, name: str) -> AsyncIterator[None]:
        """Wait until nobody else is at work with a thing, and keep others waiting until this is left.

        Who comes first is first. Who has it may not ask for it again.
        """
        lock = self._locks.setdefault(name, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked():  # nobody waits for it either
                self._locks.pop(name, None)
