"""The directory that holds everything a process runtime knows, and that nothing is lost with but itself."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import logging
import marshal
import os
import time
from collections.abc import Callable
from pathlib import Path

from attrs import frozen
from orchestrion.runtime_interface import RuntimeUnavailable
from orchestrion.shared_types import StateFailure

from ._trees import remove_tree

_log = logging.getLogger(__name__)

FORMAT_VERSION = 1
_LOCK_SECONDS = 0.5
_LOCK_LOOK_SECONDS = 0.005


@frozen
class StateDirectory:
    """Paths within a state directory that is open.

    Attributes:
        path: The directory.
        owner: Marks everything outside the directory that belongs to it; 16 hexadecimal digits.
        shim: The compiled shim.
        lock_fd: Held open as long as the directory is in use.
    """

    path: Path
    owner: str
    shim: Path
    lock_fd: int

    @property
    def containers(self) -> Path:
        """A directory for each container."""
        return self.path / "containers"

    @property
    def new(self) -> Path:
        """Directories of containers that are being made."""
        return self.path / "new"

    @property
    def trash(self) -> Path:
        """Directories that are being removed."""
        return self.path / "trash"

    @property
    def damaged(self) -> Path:
        """Directories whose record can't be read, kept for people."""
        return self.path / "damaged"

    @property
    def epochs(self) -> Path:
        """The memory of epochs."""
        return self.path / "epochs"

    def close(self) -> None:
        """Let another program use the directory."""
        os.close(self.lock_fd)


def open_state_directory(path: Path, new_owner: Callable[[], str]) -> StateDirectory:
    """Open a state directory, or begin one. It blocks.

    Args:
        path: The directory; it is made where it does not exist.
        new_owner: Makes the mark of a new directory.

    Raises:
        RuntimeUnavailable: Another program uses it, or it can't be written to.
        StateFailure: A later version wrote it; it was not touched.
    """
    path = path.absolute()
    try:
        make_passable(path)
        lock_fd = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as err:
        msg = f"can't use the state directory {path}: {err.strerror}"
        raise RuntimeUnavailable(msg, remedy="Choose a directory that can be written to.") from err
    try:
        try:
            _lock(lock_fd)
        except BlockingIOError as err:
            msg = f"the state directory {path} is in use by another program"
            raise RuntimeUnavailable(msg, remedy="End that program, or choose another directory.") from err
        try:
            return _prepare(path, lock_fd, new_owner)
        except OSError as err:
            msg = f"can't use the state directory {path}: {err.strerror}"
            raise RuntimeUnavailable(msg, remedy="Make it writable, or free space on its disk.") from err
    except (RuntimeUnavailable, StateFailure):
        os.close(lock_fd)
        raise


def make_passable(path: Path) -> None:
    """Make a directory that is not there, and those above it.

    Containers of other users pass through to their own directories, whatever the umask is, and can't list those of
    others. What is there already has the permissions that somebody wanted. It blocks.

    Raises:
        OSError: It can't be made.
    """
    for one in reversed([one for one in (path, *path.parents) if not one.exists()]):
        one.mkdir(exist_ok=True)
        one.chmod(0o711)


def _lock(fd: int) -> None:
    """Lock a file.

    A program that was killed while it started a process leaves one that holds its descriptors until it has become
    another program: that is waited for, so that whoever is started anew at once is not refused.

    Raises:
        BlockingIOError: Somebody else holds the lock, and keeps it.
    """
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(_LOCK_LOOK_SECONDS)


def _prepare(path: Path, lock_fd: int, new_owner: Callable[[], str]) -> StateDirectory:
    owner = _owner(path / "owner.json", new_owner)
    shim = _compiled_shim(path)
    state = StateDirectory(path, owner, shim, lock_fd)
    for folder in (state.containers, state.new, state.trash):
        make_passable(folder)
    for folder in (state.new, state.trash):
        for entry in folder.iterdir():
            try:
                remove_tree(entry)
            except OSError as err:
                # It belongs to no container any more, and the next program will try again.
                _log.warning("can't remove %s: %s", err.filename or entry, err.strerror)
    return state


def _owner(path: Path, new_owner: Callable[[], str]) -> str:
    try:
        known = json.loads(path.read_bytes())
    except FileNotFoundError:
        owner = new_owner()
        write_durably(path, json.dumps({"version": FORMAT_VERSION, "owner": owner}).encode())
        return owner
    except (ValueError, RecursionError):
        known = None
    match known:
        case {"version": int(version)} if version > FORMAT_VERSION:
            msg = f"{path.parent} was written by a later version (format {version}, known is {FORMAT_VERSION})"
            raise StateFailure(msg, remedy="Use that version; nothing was changed.")
        case {"version": int(), "owner": str(owner)} if owner:
            return owner
    msg = f"{path} is damaged"
    raise StateFailure(msg, remedy="Restore it: it names what runs on this machine for this directory.")


def _compiled_shim(path: Path) -> Path:
    """Compile the shim once: as a script it would be compiled at each start, which takes longer than all else."""
    source = Path(__file__).with_name("_shim.py").read_bytes()
    digest = hashlib.sha256(source + importlib.util.MAGIC_NUMBER).hexdigest()[:16]
    target = path / f"shim-{digest}.pyc"
    if not target.exists():
        code = compile(source, "orchestrion-shim", "exec", dont_inherit=True, optimize=2)
        head = importlib.util.MAGIC_NUMBER + bytes(12)
        write_durably(target, head + marshal.dumps(code))
    return target


def write_durably(path: Path, data: bytes) -> None:
    """Write a file, for this user alone, so that after a crash it is there as a whole or not at all. It blocks."""
    temporary = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make what was made, renamed or removed in a directory durable. It blocks."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
