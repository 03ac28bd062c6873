"""The state directory: where it is, who owns it, and where its owner is reached."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen
from orchestrion.shared_types import ConfigInvalid, NotFound, Problem, StateFailure

from ._output import note

DEFAULT_NAME: Final = ".orchestrion"

VARIABLE: Final = "ORCHESTRION_STATE"
"""The environment variable that names another; set to nothing is not set."""

DEFAULT_PLUGINS: Final[Mapping[str, str]] = {
    "runtime": "process",
    "cluster": "local",
    "scheduler": "packing",
    "store": "sqlite",
}
"""Names of plug-ins by interface."""


_PRIVATE: Final = 0o700
_PASSABLE: Final = 0o711
_PRIVATE_FILE: Final = 0o600
_OTHERS: Final = 0o077

_PARTS: Final = {
    "lock": _PRIVATE_FILE,
    "volumes": _PASSABLE,
    "runtime-*": _PASSABLE,
    "store-*": _PRIVATE,
    "cluster-*": _PRIVATE,
    "scheduler-*": _PRIVATE,
    "server-*": _PRIVATE,
}
"""What others may do at most with what is in a state directory."""


@frozen
class StateDirectory:
    """A directory that holds the state of one orchestrator.

    Attributes:
        path: Where it is; it need not exist.
    """

    path: Path

    @property
    def socket_path(self) -> Path:
        """Where its owner serves."""
        return self.path / "control.sock"

    def part(self, interface: str, plugin: str, /) -> Path:
        """Return where a plug-in keeps its state: apart from the others, which may use any names."""
        return self.path / f"{interface}-{plugin}"

    @property
    def volumes_path(self) -> Path:
        """Where shared volumes are."""
        return self.path / "volumes"

    def make(self) -> None:
        """Make the directory if it is not there.

        Containers of other users pass through it to what is theirs, and can't list it; what is private within is so
        by its own mode. A directory that is there keeps the mode that somebody gave it, what is private within does
        not.

        Raises:
            StateFailure: It can't be made.
        """
        try:
            _make(self.path, _PASSABLE)
        except OSError as err:
            raise self._failure("can't make the state directory", err) from err

    def make_part(self, interface: str, plugin: str, /) -> Path:
        """Make the folder of a plug-in if it is not there, and return it.

        Only what is a runtime's may be passed through by other users: its containers may run as any.

        Raises:
            StateFailure: It can't be made.
        """
        path = self.part(interface, plugin)
        try:
            _make(path, _PASSABLE if interface == "runtime" else _PRIVATE)
        except OSError as err:
            raise self._failure(f"can't make the folder {path.name} in the state directory", err) from err
        return path

    def must_exist(self) -> None:
        """Make sure that the directory is there, and is one of an orchestrator.

        Raises:
            NotFound: It is not.
        """
        if not self.path.is_dir():
            msg = f"nothing was ever run here: there is no state directory {self.path}"
            raise NotFound(msg, remedy="`orchestrion up FILE` makes one; --state names another.")
        if not self.is_used():
            msg = f"{self.path} is no state directory: nothing was ever run there"
            raise NotFound(msg, remedy="`orchestrion up FILE` makes it one; --state names another.")

    def is_used(self) -> bool:
        """Whether it is what an owner has made of it, or one is there, and not some other folder or none.

        A file `lock` is not enough, which other programs have as well. What can't be looked at counts as used: who
        wants to use it is told why that is not possible.
        """
        if self.socket_path.exists() or any(self.path.glob("store-*")):
            return True
        try:
            descriptor = os.open(self.path / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except PermissionError:
            return True
        except OSError:
            return False
        try:
            return stat.S_ISREG(os.fstat(descriptor).st_mode) and Ownership(descriptor, self).was_begun
        finally:
            os.close(descriptor)

    def check_safe(self) -> None:
        """Make sure that nobody but root and who runs this can change what is there, where it is there.

        Whoever can would say what runs, and as whom. The group of who runs this is trusted: many systems give each user
        one of their own.

        Raises:
            StateFailure: Others can write to the directory, or it is theirs.
        """
        try:
            found = self.path.stat()
        except OSError:
            return
        user = os.geteuid()
        if found.st_uid not in (0, user):
            msg = f"the state directory {self.path} belongs to another user (uid {found.st_uid})"
            raise StateFailure(msg, remedy=f"Choose another with --state, or: chown {user} {self.path}")
        if found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and found.st_gid != os.getegid()):
            msg = f"others can write to the state directory {self.path} (mode {stat.S_IMODE(found.st_mode):o})"
            raise StateFailure(msg, remedy=f"Choose another with --state, or: chmod go-w {self.path}")

    def discard(self) -> None:
        """Remove the directory with all that is in it; what can't be removed stays."""
        shutil.rmtree(self.path, ignore_errors=True)

    def has_ended(self) -> bool:
        """Whether the last owner has ended in good order, and no other is there or about to be."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            # Who wants to own it meanwhile tries again before long.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return Ownership(descriptor, self).has_ended
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)

    @contextmanager
    def owned(self, *, only_looks: bool = False) -> Iterator[Ownership | None]:
        """Own the directory for as long as the context lasts; None where another process does.

        The lock goes with the process, however it ends. What is private in the directory is made so, where it was not.

        Args:
            only_looks: Whether a directory on a read-only file system will do.

        Raises:
            StateFailure: The directory can't be used, or others can change what is in it.
        """
        self.check_safe()
        try:
            descriptor, is_read_only = self._open_lock(only_looks=only_looks)
        except OSError as err:
            raise self._failure("can't use the state directory", err) from err
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
            else:
                if not is_read_only:
                    self._narrow()
                yield Ownership(descriptor, self, is_read_only=is_read_only)
        finally:
            os.close(descriptor)

    def _open_lock(self, *, only_looks: bool) -> tuple[int, bool]:
        """Return a descriptor of the lock, and whether it can only be read; a lock can be taken on such a one too."""
        path, flags = self.path / "lock", os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o600), False
        except OSError as err:
            if not only_looks or err.errno != errno.EROFS:
                raise
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | flags), True

    def _narrow(self) -> None:
        """Take from others what they may not do; a link leads to what somebody else is answerable for."""
        for pattern, most in _PARTS.items():
            for path in self.path.glob(pattern):
                mode = stat.S_IMODE(path.lstat().st_mode)
                if path.is_symlink() or not mode & ~most & _OTHERS:
                    continue
                try:
                    path.chmod(mode & (most | ~_OTHERS))
                except OSError as err:
                    note(f"others can get at {path}, which is private, and that can't be mended: {err.strerror}")

    def _failure(self, doing: str, error: OSError) -> StateFailure:
        return StateFailure(
            f"{doing} {self.path}: {error.strerror or error}",
            remedy="Choose another with --state, or mend its permissions.",
        )


@frozen
class Ownership:
    """The lock on a state directory, and the note in it: which plug-ins were at work, and how the last owner ended.

    Attributes:
        descriptor: The lock's file.
        place: The directory.
        is_read_only: Whether nothing can be written to it.
    """

    descriptor: int
    place: StateDirectory
    is_read_only: bool = field(default=False, kw_only=True)

    @property
    def was_cut_short(self) -> bool:
        """Whether the last owner ended without a word, as by a crash: what it ran is to be taken up again."""
        return bool(self._note().get("at_work"))

    @property
    def was_begun(self) -> bool:
        """Whether an orchestrator was ever at work there."""
        return isinstance(self._note().get("plugins"), dict)

    @property
    def has_ended(self) -> bool:
        """Whether the last owner has ended in good order."""
        return self._note().get("at_work") is False

    @property
    def plugins(self) -> Mapping[str, str]:
        """The plug-ins that the directory was used with last, by interface; the defaults where it was not yet used."""
        noted = self._note().get("plugins")
        return {**DEFAULT_PLUGINS, **(noted if isinstance(noted, dict) else {})}

    def begin(self, plugins: Mapping[str, str], /) -> None:
        """Note that an owner is at work, with these plug-ins."""
        self._write({"at_work": True, "plugins": dict(plugins)})

    def end(self) -> None:
        """Note that the owner has ended in good order."""
        self._write({**self._note(), "at_work": False})

    def _note(self) -> dict[str, Any]:
        try:
            note = json.loads(os.pread(self.descriptor, 4096, 0) or b"{}")
        except ValueError:
            return {"at_work": True}
        return note if isinstance(note, dict) else {}

    def _write(self, note: dict[str, Any]) -> None:
        data = json.dumps(note).encode()
        os.pwrite(self.descriptor, data, 0)
        os.ftruncate(self.descriptor, len(data))


def _make(path: Path, mode: int) -> None:
    """Make a directory and those above it, whatever the umask is; those that are there stay as they are.

    A power failure does not take away the way to what they will hold.
    """
    for one in reversed([one for one in (path, *path.parents) if not one.exists()]):
        one.mkdir(exist_ok=True)
        one.chmod(mode if one == path else _PASSABLE)
        descriptor = os.open(one.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    path.mkdir(exist_ok=True)  # what is there may be no directory


def at(path: Path | None, /) -> StateDirectory:
    """Return the state directory at `path`, that of the environment, or the one of the current folder.

    Raises:
        ConfigInvalid: Its path is no text, which it would have to be in what containers are told.
    """
    place = (path or Path(os.environ.get(VARIABLE) or DEFAULT_NAME)).absolute()
    try:
        str(place).encode()
    except UnicodeEncodeError as err:
        problem = Problem(f"the path of a state directory has to be UTF-8, and {str(place)!r} is not")
        raise ConfigInvalid((problem,), remedy="Choose another with --state.") from err
    return StateDirectory(place)
