"""One owner per state directory."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Final

from ._failures import Failure, StoreInUse, unavailable
from ._file import FileFailure

_WAIT_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.005


class DirectoryLock:
    """An exclusive lock on a directory, held until it is released or the process ends, however it ends.

    The directory itself is locked (flock(2)): that leaves no file behind, and touches nothing where it is refused. A
    lock on the database would be lost as soon as anybody in this process closed another descriptor of it (fcntl(2)).
    """

    def __init__(self, directory: Path) -> None:
        """Take the lock.

        Raises:
            FileFailure: Somebody else holds it, or the directory can't be opened.
        """
        try:
            self._descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as err:
            raise FileFailure(unavailable(directory, "could not open the state directory", err)) from err
        deadline = time.monotonic() + _WAIT_SECONDS
        try:
            while (held := self._try()) is not None:
                owner = _owner_of(self._descriptor)
                if _is_alive(owner) or time.monotonic() > deadline:
                    raise FileFailure(_in_use(directory, owner, held)) from held
                # Its owner was killed, but a process that it was just starting still has its descriptors for a moment.
                time.sleep(_LOOK_SECONDS)
        except OSError as err:
            self.release()
            raise FileFailure(unavailable(directory, "could not lock the state directory", err)) from err
        except FileFailure:
            self.release()
            raise

    def _try(self) -> BlockingIOError | None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            return err
        return None

    def release(self) -> None:
        """Let others in."""
        os.close(self._descriptor)


def _in_use(directory: Path, owner: int | None, cause: Exception) -> Failure:
    def error(message: str, *, remedy: str) -> StoreInUse:
        return StoreInUse(message, owner_pid=owner, remedy=remedy)

    who = "another process" if owner is None else f"process {owner}{_command_of(owner)}"
    return Failure(
        error,
        f"the store in {directory} is in use by {who}; nothing was changed",
        "stop that process, or use another state directory",
        cause,
        fatal=False,
    )


def _owner_of(descriptor: int) -> int | None:
    """Return who holds the lock, as far as the kernel's list of locks tells."""
    status = os.fstat(descriptor)
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        # For example "3: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF"; 0 is a process of another pid namespace.
        fields = line.split()
        if len(fields) >= 6 and fields[1] == "FLOCK" and fields[5] == place and int(fields[4]) > 0:
            return int(fields[4])
    return None


def _is_alive(pid: int | None) -> bool:
    """Whether a process is there and has not ended; False where it can't be told."""
    try:
        return pid is not None and Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def _command_of(pid: int) -> str:
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    command = b" ".join(arguments).decode(errors="replace").strip()
    return f" ({command[:80]})" if command else ""
