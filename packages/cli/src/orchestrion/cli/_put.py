"""Putting files where `cp` was told to, so that nothing is replaced that is no file."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from orchestrion.shared_types import ConfigInvalid, Problem

_KINDS: Final[tuple[tuple[Callable[[int], bool], str], ...]] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def target_of(to: Path, /) -> Path:
    """Return a target as it can be written: a link to a file, or to a folder, by what it leads to.

    Raises:
        ConfigInvalid: Nothing can be written there: the folder is not there, or it is neither a file nor a folder.
    """
    try:
        found = Path(os.path.realpath(to)) if to.is_symlink() else to
        mode = _mode(found)
        if mode is None and to.is_symlink():
            raise _refused(to, f"is a link to {found}, which is not there", "Name what it is to lead to, or remove it.")
        if mode is not None and not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
            raise _refused(to, f"is {_kind(mode)}, and no file", "Name a file or a folder; - is the standard output.")
        parent = found.absolute().parent
        if not parent.is_dir():
            what = "is no folder" if parent.exists() else "is not there"
            raise _refused(parent, what, "Make the folder first, or name another one.")
    except OSError as err:
        raise _refused(to, f"can't be written: {err.strerror}", "Name another file or folder.") from err
    return found


def put(found: Path, target: Path, /) -> None:
    """Put a file or a folder in a place: a file replaces a file, a folder goes into one that is there.

    All is looked at before anything is written. It blocks.

    Args:
        found: What there is, on the same file system as the folder of the target; in the target may be other ones.
        target: Its new name.

    Raises:
        ConfigInvalid: Something else is in its place, such as a folder, a pipe or a device.
    """
    made = list[tuple[Path, Path]]()
    for source, place in list(_pairs(found, target)):
        if not stat.S_ISDIR(source.lstat().st_mode):
            _move(source, place)
        elif _mode(place) is None:
            place.mkdir()
            made.append((source, place))
    for source, place in reversed(made):
        shutil.copystat(source, place)


def _move(source: Path, place: Path) -> None:
    try:
        source.replace(place)
    except OSError as err:
        if err.errno != errno.EXDEV:
            raise
        # Beside its place, from where it takes that at once: nobody finds half a file there.
        with tempfile.TemporaryDirectory(prefix=".orchestrion-", dir=place.parent) as near:
            copied = Path(near) / "copied"
            shutil.copy2(source, copied, follow_symlinks=False)
            copied.replace(place)
        source.unlink()


def _pairs(found: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    """Yield what goes where, folders before what is in them."""
    there, wanted = _mode(target), found.lstat().st_mode
    same = there is not None and stat.S_IFMT(there) == stat.S_IFMT(wanted)
    if there is not None and (not same or not (stat.S_ISDIR(wanted) or stat.S_ISREG(wanted) or stat.S_ISLNK(wanted))):
        told = f"is {_kind(there)}, and {_kind(wanted)} is to be there; nothing was written"
        raise _refused(target, told, "Remove it, or name another place.")
    yield found, target
    if stat.S_ISDIR(wanted):
        for inner in sorted(found.iterdir()):
            yield from _pairs(inner, target / inner.name)


def _mode(path: Path) -> int | None:
    try:
        return path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "a file"
    return next((words for is_so, words in _KINDS if is_so(mode)), "a device")


def _refused(path: Path, what: str, remedy: str) -> ConfigInvalid:
    return ConfigInvalid((Problem(f"{path} {what}"),), remedy=remedy)
