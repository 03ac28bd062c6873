"""Tasks that help a block of code while it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def background() -> AsyncIterator[trio.Nursery]:
    """Open a nursery whose tasks are cancelled at the end of the block.

    A nursery wraps what goes wrong inside it in a group, an error of the block itself too. Those who use the block
    expect the errors that its calls are documented to raise, so an error that came alone is raised as it is.
    """
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        alone = _alone(group)
        if alone is None:
            raise
        raise alone from alone.__cause__


def leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """Iterate over the errors of a group and of the groups in it."""
    for found in group.exceptions:
        if isinstance(found, BaseExceptionGroup):
            yield from leaves(found)
        else:
            yield found


def _alone(group: BaseExceptionGroup[BaseException]) -> Exception | None:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        if len(found.exceptions) != 1:
            return None
        found = found.exceptions[0]
    return found if isinstance(found, Exception) else None
