"""Reaching an orchestrator: the one that owns a state directory, or its store where nobody does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from orchestrion.control_plane import ApiClient, HttpControl, SocketPeer
from orchestrion.shared_types import NetworkFailure, Unavailable

from ._output import note, warn
from ._places import Place, RemoteServer
from ._state_directory import Ownership, StateDirectory

_PATIENCE_SECONDS = 30.0
"""How long an owner may take from taking the lock to serving, or a reader to let go of it."""

_PING_SECONDS = 3.0
"""How long one question may take, after which people are told that there is somebody who does not answer."""

_PAUSE_SECONDS = 0.05


async def owner_of(place: StateDirectory) -> HttpControl | None:
    """Return the owner's Control if somebody answers at the socket, before long."""
    if not place.socket_path.exists():
        return None
    control = HttpControl(SocketPeer(place.socket_path, warned=warn))
    with trio.move_on_after(_PING_SECONDS):
        try:
            await control.ping()
        except NetworkFailure:
            return None
        return control
    return None


@asynccontextmanager
async def owner_or_lock(place: Place, *, only_looks: bool = False) -> AsyncIterator[HttpControl | Ownership]:
    """Give the owner's Control, or a server's, or else the ownership of a directory that has no owner.

    Args:
        place: Where.
        only_looks: Whether nothing is going to be changed, so that a directory on a read-only file system will do.

    Raises:
        Unavailable: Somebody holds the lock and does not answer.
        StateFailure: Others can change what is in the directory, and so may answer for the owner.
    """
    if isinstance(place, RemoteServer):
        yield HttpControl(place.peer)
        return
    place.check_safe()
    begun, told = trio.current_time(), False
    while True:
        control = await owner_of(place)
        if control is not None:
            yield control
            return
        with place.owned(only_looks=only_looks) as ownership:
            if ownership is not None:
                yield ownership
                return
        waited = trio.current_time() - begun
        if waited >= _PATIENCE_SECONDS:
            msg = f"the owner of {place.path} does not answer at {place.socket_path}"
            raise Unavailable(
                msg, remedy="Wait, let it go on if it was suspended (fg), or find the process that holds its lock."
            )
        if waited >= _PING_SECONDS and not told:
            note(f"waiting for the owner of {place.path}, which does not answer yet")
            told = True
        await trio.sleep(_PAUSE_SECONDS)


@asynccontextmanager
async def reach_owner(place: Place) -> AsyncIterator[HttpControl]:
    """Give the owner's Control, or a server's.

    Raises:
        NetworkFailure: Nobody owns the directory, or there is none.
    """
    if isinstance(place, StateDirectory) and not place.is_used():
        raise _nobody(place)
    async with owner_or_lock(place, only_looks=True) as found:
        if isinstance(found, Ownership):
            raise _nobody(found.place)
        yield found


@asynccontextmanager
async def reach_api(place: Place) -> AsyncIterator[ApiClient]:
    """Give what asks the owner, or a server, for objects.

    Raises:
        NetworkFailure: Nobody owns the directory, or there is none.
    """
    async with reach_owner(place) as control:
        yield ApiClient(control.peer)


def _nobody(place: StateDirectory) -> NetworkFailure:
    msg = f"no orchestrator runs on {place.path}"
    return NetworkFailure(msg, remedy="`orchestrion up FILE` starts one and applies the file; --state names another.")
