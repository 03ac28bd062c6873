"""The unix socket that an orchestrator is reached by."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrion.shared_types import Conflict, NetworkFailure

_MAX_ADDRESS_BYTES = 107
"""What `sun_path` holds besides the final NUL (unix(7))."""

_BACKLOG = 128


@contextmanager
def address_of(path: Path) -> Iterator[str]:
    """Give a text that can be used as the address of the socket at `path`, for as long as the context lasts.

    A path that is too long for an address is reached through a descriptor of its folder.
    """
    if len(os.fsencode(path)) <= _MAX_ADDRESS_BYTES:
        yield os.fspath(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


@contextmanager
def listening_socket(path: Path) -> Iterator[socket.socket]:
    """Listen at `path`, for its owner alone (mode 0600), and take the path away at the end.

    A socket that was left behind, at which nobody listens, is replaced.

    Raises:
        Conflict: Somebody listens there, or something that is no socket is there.
        NetworkFailure: The socket can't be made there.
    """
    with contextlib.ExitStack() as stack:
        try:
            address = stack.enter_context(address_of(path))
            listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC))
            _take_away_stale(path, address)
            # The mode of the descriptor becomes that of the path, so that at no time it is open to others.
            os.fchmod(listener.fileno(), 0o600)
            listener.bind(address)
            made = path.lstat()
            listener.listen(_BACKLOG)
        except OSError as err:
            msg = f"can't listen at {path}: {err.strerror or err}"
            raise NetworkFailure(
                msg, remedy="Choose another state directory, on a file system that has sockets."
            ) from err
        listener.setblocking(False)
        try:
            yield listener
        finally:
            _take_away(path, made)


def _take_away_stale(path: Path, address: str) -> None:
    try:
        there = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(there.st_mode):
        msg = f"{path} is in the way: it is no socket"
        raise Conflict(msg, remedy="Move it away.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.connect(address)
        except (ConnectionRefusedError, FileNotFoundError):
            _take_away(path, there)
            return
        except BlockingIOError:
            pass  # its queue is full, so somebody listens
    msg = f"another orchestrator listens at {path}"
    raise Conflict(msg, remedy="Use that one, or choose another state directory.")


def _take_away(path: Path, made: os.stat_result) -> None:
    """Remove the path if it still is what `made` says: somebody else may have put a socket of theirs there."""
    try:
        there = path.lstat()
        if (there.st_dev, there.st_ino) == (made.st_dev, made.st_ino):
            path.unlink()
    except FileNotFoundError:
        pass


def unreachable(path: Path) -> NetworkFailure:
    """Return what to say where nobody answers, or where an answer is cut off."""
    return NetworkFailure(
        f"no answer from an orchestrator at {path}",
        remedy="Look whether it still runs; `orchestrion up` starts one.",
    )
