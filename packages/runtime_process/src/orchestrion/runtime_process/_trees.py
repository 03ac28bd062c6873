"""Removing directories that containers had in their hands: any depth, any permissions, links, and places in use."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TAKEN: Final = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


def remove_tree(path: Path) -> None:
    """Remove a directory or file; a missing one is success. It blocks.

    What lies deeper is moved up before it is emptied, so that neither a path nor a stack grows with the depth. Moving
    also proves that nothing is mounted there: what others have mounted is not ours to remove. No link is followed,
    whatever is swapped for one meanwhile.

    Raises:
        OSError: Something in it can't be removed, or is a place where something is mounted.
    """
    try:
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if path.name not in _names(parent):
            return
        if _is_directory(parent, path.name):
            numbers = itertools.count()
            # There and back: it keeps its name for whoever tries again.
            os.rename(_moved(parent, path.name, parent, numbers), path.name, src_dir_fd=parent, dst_dir_fd=parent)
            with _opened(parent, path.name) as top:
                while names := _names(top):
                    for name in names:
                        _remove_level(top, name, numbers)
            os.rmdir(path.name, dir_fd=parent)
        else:
            os.unlink(path.name, dir_fd=parent)
    except OSError as err:
        if isinstance(err.filename, str):
            err.filename = str(path / err.filename)
        raise
    finally:
        os.close(parent)


def _remove_level(top: int, name: str, numbers: Iterator[int]) -> None:
    """Remove a file, or a directory whose own directories are moved up to `top`."""
    # A directory that was empty may have made room for one that was moved, after its name was read.
    with contextlib.suppress(FileNotFoundError):
        if not _is_directory(top, name):
            os.unlink(name, dir_fd=top)
            return
        moved = _moved(top, name, top, numbers)
        with _opened(top, moved) as below:
            for inner in _names(below):
                if _is_directory(below, inner):
                    _moved(below, inner, top, numbers)
                else:
                    os.unlink(inner, dir_fd=below)
        os.rmdir(moved, dir_fd=top)


def _names(directory: int) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries]


def _is_directory(parent: int, name: str) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


def _moved(source: int, name: str, target: int, numbers: Iterator[int]) -> str:
    """Move a directory to a free name in another one; return that."""
    while True:
        free = f"{next(numbers)}.removed"
        if free == name:
            continue  # Giving it the name that it has proves nothing.
        try:
            _rename(source, name, target, free)
        except OSError as err:
            if err.errno not in _TAKEN:
                raise
        else:
            return free


def _rename(source: int, name: str, target: int, free: str) -> None:
    try:
        os.rename(name, free, src_dir_fd=source, dst_dir_fd=target)
    except PermissionError:
        # To move a directory elsewhere is to write in it: its ".." changes.
        _permit(source, name)
        os.rename(name, free, src_dir_fd=source, dst_dir_fd=target)


@contextlib.contextmanager
def _opened(parent: int, name: str) -> Iterator[int]:
    """Open a directory with the permission to read and change it."""
    _permit(parent, name)
    directory = os.open(name, _OPEN, dir_fd=parent)
    try:
        yield directory
    finally:
        os.close(directory)


def _permit(parent: int, name: str) -> None:
    """Let this program read, enter and change a directory, where it lacks that."""
    place = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if os.fstat(place).st_mode & stat.S_IRWXU != stat.S_IRWXU:
            # A descriptor of a mere place can't be given to fchmod(2), but its name here can't be swapped for a link.
            Path(f"/proc/self/fd/{place}").chmod(stat.S_IRWXU)
    finally:
        os.close(place)
