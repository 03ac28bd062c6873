"""Who may use the directory behind a volume."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable, Set
from pathlib import Path

_PRIVATE = 0o700
_PASSABLE = 0o711
_OPEN = 0o1777


def make_passable(path: Path) -> None:
    """Make a directory, and those above it, so that every user can pass through what was made, and list none of it.

    What is there already has the permissions that somebody wanted. It blocks.
    """
    for one in reversed([one for one in (path, *path.parents) if not one.exists()]):
        one.mkdir(exist_ok=True)
        one.chmod(_PASSABLE)


def make_volume(path: Path, users: Set[str]) -> None:
    """Make a volume's directory where it is not there, and let containers of some users use it. It blocks.

    Args:
        path: The directory; the one above it exists.
        users: Names or numbers, with an optional ":group", beside the orchestrator's own user.
    """
    path.mkdir(mode=_PRIVATE, exist_ok=True)
    own = os.geteuid()
    others = {number for number in map(_number_of, users) if number is not None} - {own}
    if own != 0 or not others:
        return  # None but root has containers of other users, and root itself may use everything.
    status = path.stat()
    if stat.S_IMODE(status.st_mode) == _OPEN:
        return
    if status.st_uid != own:
        others.add(status.st_uid)
    if len(others) > 1:
        path.chmod(_OPEN)
    elif status.st_uid == own:
        os.chown(path, others.pop(), -1)


def make_private(paths: Iterable[Path], user: str | None) -> None:
    """Give files and directories that were made just now to the user of a container. It blocks.

    None but root can: without it they stay the orchestrator's own, as whom its containers run then.

    Args:
        paths: What was made.
        user: A name or number, with an optional ":group"; None is the orchestrator's own user.
    """
    number = _number_of(user) if user is not None else None
    if os.geteuid() != 0 or number is None:
        return
    for path in paths:
        os.chown(path, number, -1, follow_symlinks=False)


def _number_of(user: str) -> int | None:
    """Return a user's number; None for one whom this machine does not know, which the runtime tells."""
    name = user.partition(":")[0]
    try:
        return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid
    except KeyError:
        return None
