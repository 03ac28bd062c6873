"""The steps from a directory to an open store."""

from __future__ import annotations

import contextlib
from pathlib import Path

from attrs import frozen

from ._failures import unavailable
from ._file import (
    FileFailure,
    Loaded,
    StateFile,
    check_header,
    check_writable,
    create,
    load,
    sync,
)
from ._ledger import Limits
from ._lock import DirectoryLock

FILE_NAME = "state.db"


@frozen
class Opened:
    """What opening gives."""

    lock: DirectoryLock
    file: StateFile
    loaded: Loaded


def open_file(state_dir: Path, limits: Limits) -> Opened:
    """Lock the directory, check and read the file there, or make it, and open it for writing.

    Raises:
        FileFailure: One of these failed; the directory is unlocked, and a file that was there is untouched.
    """
    try:
        _make(state_dir.absolute())
    except OSError as err:
        raise FileFailure(unavailable(state_dir, "could not make the state directory", err)) from err
    lock = DirectoryLock(state_dir)
    with contextlib.ExitStack() as undo:
        undo.callback(lock.release)
        path = state_dir / FILE_NAME
        create(path)
        check_header(path)
        check_writable(path)
        loaded = load(path, limits)
        opened = Opened(lock, StateFile(path), loaded)
        undo.pop_all()
    return opened


def _make(directory: Path) -> None:
    """Make a directory, and those above it, so that a power failure does not take away the way to what it will hold."""
    missing = [one for one in (directory, *directory.parents) if not one.exists()]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for one in missing:
        sync(one.parent)
