"""Files that only their owner can read, replaced as a whole. All of it blocks."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from orchestrion.shared_types import StateFailure


def write_private(path: Path, data: bytes, /) -> None:
    """Write a file of mode 0600: after a crash at any moment there is the old one or the new one.

    Raises:
        StateFailure: It can't be written; what was there still is.
    """
    draft = path.with_name(f"{path.name}.new")
    try:
        draft.unlink(missing_ok=True)  # one that a crash has left may be open to others
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        sync_directory(path.parent)
    except OSError as err:
        msg = f"writing {path} failed: {err.strerror}"
        raise StateFailure(msg, remedy="make room in the state directory and make it writable") from err


def read_private(path: Path, /) -> bytes | None:
    """Return what a file holds that only its owner can read, or None where there is none.

    Raises:
        StateFailure: It can't be read, is no file, or others can read or write it.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise StateFailure(f"{path} is no file", remedy="move it away")
            if status.st_mode & 0o077:
                msg = f"{path} can be read or written by others than its owner (mode {status.st_mode & 0o777:04o})"
                raise StateFailure(
                    msg, remedy=f"replace what it holds if others may have seen it, then chmod 600 {path}"
                )
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as err:
        msg = f"reading {path} failed: {err.strerror}"
        raise StateFailure(msg, remedy="make it a file that the server can read") from err


def sync_directory(path: Path, /) -> None:
    """Write down which names a directory has; without it a rename may be undone by a power failure."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
