"""Acting on a state directory whether it has an owner or not: without one, this process owns it for a while."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orchestrion.control_plane import Control, HttpControl

from ._owner import orchestrating
from ._reach import owner_or_lock
from ._state_directory import StateDirectory


@asynccontextmanager
async def reach_or_own(place: StateDirectory) -> AsyncIterator[Control]:
    """Give the owner's Control, or that of an orchestrator which runs as long as the context lasts."""
    async with owner_or_lock(place) as found:
        if isinstance(found, HttpControl):
            yield found
        else:
            async with orchestrating(place, found.plugins) as orchestrator:
                yield orchestrator
