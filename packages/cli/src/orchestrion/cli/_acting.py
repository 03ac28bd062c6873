"""Acting on a state directory, or asking about it, whether it has an owner or not; or on a server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orchestrion.control_plane import Control, HttpControl

from ._owner import observing, orchestrating, way_in
from ._places import Place
from ._reach import owner_or_lock
from ._read_only import looked_into


@asynccontextmanager
async def reach_or_own(place: Place) -> AsyncIterator[Control]:
    """Give the owner's Control, or that of an orchestrator which runs as long as the context lasts.

    Such an orchestrator stops what is to stop; it starts nothing, since it would not be there to look after it. What it
    is asked for passes what it would at a server of that directory.
    """
    async with owner_or_lock(place) as found:
        if isinstance(found, HttpControl):
            yield found
        else:
            async with orchestrating(found.place, found.plugins, only_stops=True) as orchestrator:
                yield await way_in(orchestrator, found.place)


@asynccontextmanager
async def reach_or_observe(place: Place) -> AsyncIterator[Control]:
    """Give the owner's Control, or one that can be asked and that neither starts nor writes anything."""
    async with owner_or_lock(place, only_looks=True) as found:
        if isinstance(found, HttpControl):
            yield found
        else:
            async with looked_into(found) as there, observing(there, found.plugins) as orchestrator:
                yield orchestrator
