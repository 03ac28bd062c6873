"""Being told by the kernel that files in a directory change."""

from __future__ import annotations

import ctypes
import logging
import os
import struct
from pathlib import Path
from types import TracebackType

import trio

_log = logging.getLogger(__name__)

_IN_MODIFY, _IN_CREATE, _IN_Q_OVERFLOW = 0x2, 0x100, 0x4000
_HEADER = struct.Struct("iIII")
POLL_SECONDS = 0.1
"""How often directories are looked at where the kernel has no inotify instance or watch left to give."""


class DirectoryWatcher:
    """Watches any number of directories with one inotify instance, of which a user has only 128 by default."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            _log.warning("no inotify instance left; following logs looks every %g s instead", POLL_SECONDS)
        self._waiting: dict[int, set[trio.Event]] = {}
        self._users: dict[int, int] = {}

    def watch(self, directory: Path) -> Watch:
        """Begin to watch a directory; enter the result."""
        return Watch(self, directory)

    def add(self, directory: Path) -> int | None:
        """Return the number of a watch, or None where the kernel gives none."""
        if self._fd < 0:
            return None
        number = int(self._libc.inotify_add_watch(self._fd, os.fsencode(directory), _IN_MODIFY | _IN_CREATE))
        if number < 0:
            return None
        self._users[number] = self._users.get(number, 0) + 1
        return number

    def drop(self, number: int) -> None:
        """Undo one `add`."""
        self._users[number] -= 1
        if not self._users[number]:
            del self._users[number]
            self._libc.inotify_rm_watch(self._fd, number)

    def arm(self, number: int, event: trio.Event) -> None:
        """Set `event` at the next change."""
        self._waiting.setdefault(number, set()).add(event)

    def disarm(self, number: int, event: trio.Event) -> None:
        """Undo `arm`."""
        events = self._waiting.get(number)
        if events is not None:
            events.discard(event)
            if not events:
                del self._waiting[number]

    async def run(self) -> None:
        """Pass on what the kernel tells, for ever."""
        while self._fd >= 0:
            await trio.lowlevel.wait_readable(self._fd)
            try:
                data = os.read(self._fd, 65536)
            except BlockingIOError:
                continue
            place = 0
            while place < len(data):
                number, mask, _, length = _HEADER.unpack_from(data, place)
                place += _HEADER.size + length
                numbers = list(self._waiting) if mask & _IN_Q_OVERFLOW else [number]
                for changed in numbers:
                    for event in self._waiting.pop(changed, ()):
                        event.set()

    def close(self) -> None:
        """Stop watching."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Watch:
    """One reader's interest in a directory."""

    def __init__(self, watcher: DirectoryWatcher, directory: Path) -> None:
        self._watcher = watcher
        self._directory = directory
        self._number: int | None = None

    def __enter__(self) -> Watch:
        self._number = self._watcher.add(self._directory)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._number is not None:
            self._watcher.drop(self._number)
            self._number = None

    def arm(self, event: trio.Event) -> None:
        """Set `event` at the next change, if the kernel tells of it."""
        if self._number is not None:
            self._watcher.arm(self._number, event)

    def disarm(self, event: trio.Event) -> None:
        """Undo `arm`."""
        if self._number is not None:
            self._watcher.disarm(self._number, event)

    async def wait(self, event: trio.Event) -> None:
        """Wait for an event that was armed; where the kernel tells nothing, no longer than until the next look."""
        if self._number is not None:
            await event.wait()
            return
        # There is no other way to learn of a change than to look: the kernel refused a watch.
        with trio.move_on_after(POLL_SECONDS):
            await event.wait()
