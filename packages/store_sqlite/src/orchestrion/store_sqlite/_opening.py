"""The steps from a directory to an open store."""

from __future__ import annotations

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
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as err:
        raise FileFailure(unavailable(state_dir, "could not make the state directory", err)) from err
    lock = DirectoryLock(state_dir)
    try:
        path = state_dir / FILE_NAME
        create(path)
        check_header(path)
        check_writable(path)
        loaded = load(path, limits)
        return Opened(lock, StateFile(path), loaded)
    except FileFailure:
        lock.release()
        raise
