"""Looking at a state directory on a read-only file system: at a copy of what it knows.

Plug-ins may write wherever they keep their state, a store when it is opened already. Whoever has the lock knows that
nobody changes the directory meanwhile, so that a copy is whole.
"""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio
from orchestrion.shared_types import StateFailure

from ._state_directory import Ownership, StateDirectory

_COPIED: Final = ("store-*", "cluster-*", "scheduler-*", "server-*")
"""What is known and not what runs, which may be large."""


@asynccontextmanager
async def looked_into(ownership: Ownership) -> AsyncIterator[StateDirectory]:
    """Give a directory in which plug-ins can be opened for looking: the one that is owned, or a copy if that can't be.

    Raises:
        StateFailure: It can't be copied.
    """
    if not ownership.is_read_only:
        yield ownership.place
        return
    # As a thread is not interrupted, what it has copied is known, and goes again.
    copy = await trio.to_thread.run_sync(_copied, ownership.place)
    try:
        yield copy
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(copy.discard)


def check_output(ownership: Ownership, /) -> None:
    """Make sure that a runtime can be opened to read what it has kept.

    Raises:
        StateFailure: The directory is on a read-only file system.
    """
    if ownership.is_read_only:
        path = ownership.place.path
        msg = f"the output in {path} can't be read: its file system is read-only, and a runtime writes to what it opens"
        copy = f"cp -a {shlex.quote(str(path))} COPY && orchestrion logs --state COPY ..."
        raise StateFailure(msg, remedy=f"Read it in a copy: {copy}")


def _copied(place: StateDirectory) -> StateDirectory:
    copy: StateDirectory | None = None
    try:
        copy = StateDirectory(Path(tempfile.mkdtemp(prefix="orchestrion-look-")))
        for pattern in _COPIED:
            for path in place.path.glob(pattern):
                shutil.copytree(path, copy.path / path.name, symlinks=True)
    except OSError as err:
        if copy is not None:
            copy.discard()
        msg = f"{place.path} is on a read-only file system, and can't be copied to look into it: {err.strerror or err}"
        raise StateFailure(msg, remedy="Make room for a copy, or name another folder for it with TMPDIR.") from err
    return copy
