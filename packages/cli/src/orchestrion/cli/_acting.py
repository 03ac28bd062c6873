"""Acting on a state directory, or asking about it, whether it has an owner or not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orchestrion.control_plane import Control, HttpControl

from ._owner import observing, orchestrating
from ._reach import owner_or_lock
from ._state_directory import StateDirectory


@asynccontextmanager
async def reach_or_own(place: StateDirectory) -> AsyncIterator[Control]:
    """Give the owner's Control, or that of an orchestrator which runs as long as the context lasts.

    Such an orchestrator stops what is to stop; it starts nothing, since it would not be there to look after it.
    """
    async with owner_or_lock(place) as found:
        if isinstance(found, HttpControl):
            yield found
        else:
            async with orchestrating(place, found.plugins, only_stops=True) as orchestrator:
                yield orchestrator


@asynccontextmanager
async def reach_or_observe(place: StateDirectory) -> AsyncIterator[Control]:
    """Give the owner's Control, or one that can be asked and that neither starts nor writes anything."""
    async with owner_or_lock(place) as found:
        if isinstance(found, HttpControl):
            yield found
        else:
            async with observing(place, found.plugins) as orchestrator:
                yield orchestrator
