"""How workloads are doing, over restarts of who tells it: what has changed meanwhile is told afterwards."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Final

import trio
from orchestrion.control_plane import HttpControl
from orchestrion.orchestrator_core import Update, UpdateKind
from orchestrion.shared_types import OrchestrationError

from ._patience import OUTAGES, Patience
from ._picture import Picture
from ._places import Place
from ._state_directory import StateDirectory

STORE_SECONDS: Final = 2.5
"""How long the store of an owner that has gone may take to say whether there is anything left to follow."""

_RETRY_SECONDS: Final = 1.0

_REMOVED: Final = {
    UpdateKind.WORKLOAD: UpdateKind.WORKLOAD_REMOVED,
    UpdateKind.INSTANCE: UpdateKind.INSTANCE_REMOVED,
    UpdateKind.NODE: UpdateKind.NODE_REMOVED,
}


async def followed_updates(
    control: HttpControl,
    place: Place,
    picture: Picture,
    patience: Patience,
    is_over: Callable[[Picture], bool],
    *,
    namespace: str | None = None,
) -> AsyncGenerator[Update, None]:
    """Give updates as a watch does, until what is followed is over. Close the iterator to end it before.

    After an outage all that has changed is in the picture before the first of it is given, and what is as it was is not
    given again.

    Args:
        control: Who tells.
        place: Where that is.
        picture: What each update is taken into before it is given; empty to begin with.
        patience: Waits for who tells.
        is_over: Whether what is followed is over, and its owner may have gone because of that.
        namespace: Where; None is everywhere.

    Raises:
        NetworkFailure: Nobody answers, or nobody for so long that it is given up; Unavailable or Closed likewise.
    """
    begun = False
    while True:
        error: OrchestrationError | None = None
        try:
            async with control.watch(namespace=namespace) as updates:
                for update in await _caught_up(updates, picture) if begun else ():
                    yield update
                begun = True
                patience.met()
                async for update in updates:
                    picture.take(update)
                    yield update
        except OUTAGES as err:
            if not begun:
                raise
            error = err
        stored = await stored_if(place, is_over)
        if stored is None:
            try:
                if not await patience.wait(error) and error is None:
                    await trio.sleep(_RETRY_SECONDS)  # it has ended the watch in good order, and answers until it ends
                continue
            except OUTAGES:
                stored = await stored_if(place, is_over)  # its owner went only after it had waited for others
                if stored is None:
                    raise
        stored.nodes = picture.nodes  # which the store does not tell
        for update in _news(picture, _things_of(stored)):
            yield update
        return


async def stored_if(place: Place, holds: Callable[[Picture], bool]) -> Picture | None:
    """Return how things are at an owner that has gone, by its store, if something holds of that; None where not."""
    if not isinstance(place, StateDirectory):
        return None
    from ._offline import stored_picture

    with trio.move_on_after(STORE_SECONDS):
        try:
            picture = await stored_picture(place)
        except OrchestrationError:
            return None
        return picture if holds(picture) else None
    return None


_Thing = tuple[UpdateKind, str, str]
"""A kind of things, a namespace and a name."""


async def _caught_up(updates: AsyncIterator[Update], picture: Picture) -> list[Update]:
    """Read what there is of a watch that begins, and return what of it is new to a picture, which then has it."""
    there = dict[_Thing, Update]()
    async for update in updates:
        if update.kind is UpdateKind.SYNCED:
            news = [*_news(picture, there), update]
            picture.take(update)
            return news
        if update.kind in _REMOVED:
            there[update.kind, update.namespace, update.name] = update
    return []  # it was cut short: what it did not come to is not gone


def _news(picture: Picture, there: Mapping[_Thing, Update]) -> list[Update]:
    """Return by what a picture differs from all that there is, and take it in."""
    known = _things_of(picture)
    news = [update for thing, update in there.items() if known.get(thing) != update]
    for kind, namespace, name in known.keys() - there.keys():
        news.append(Update(kind=_REMOVED[kind], namespace=namespace, name=name))
    for update in news:
        picture.take(update)
    return news


def _things_of(picture: Picture) -> dict[_Thing, Update]:
    """Return what a picture has, as it would be told."""
    found = list[Update]()
    for (namespace, name), view in picture.views.items():
        found.append(Update(kind=UpdateKind.WORKLOAD, namespace=namespace, name=name, workload=view))
    for (namespace, name), instance in picture.instances.items():
        found.append(Update(kind=UpdateKind.INSTANCE, namespace=namespace, name=name, instance=instance))
    for name, node in picture.nodes.items():
        found.append(Update(kind=UpdateKind.NODE, name=name, node=node))
    return {(update.kind, update.namespace, update.name): update for update in found}
