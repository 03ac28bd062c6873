"""The limit of open files of this program: each container that runs costs it a descriptor."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock


class FileLimit:
    """Raises the soft limit to the hard one, for as long as anybody needs it."""

    def __init__(self) -> None:
        """Raise nothing yet."""
        self._lock = Lock()
        self._holders = 0
        self._soft = 0

    @contextmanager
    def raised(self) -> Iterator[int]:
        """Raise it, and give the soft limit from before: programs that this one starts are to have that."""
        with self._lock:
            if not self._holders:
                self._soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
                with suppress(ValueError):  # where the kernel's own limit is below it by now
                    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            self._holders += 1
        try:
            yield self._soft
        finally:
            with self._lock:
                self._holders -= 1
                if not self._holders:
                    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
                    resource.setrlimit(resource.RLIMIT_NOFILE, (self._soft, hard))


FILE_LIMIT = FileLimit()
"""There is one for all runtimes of a program."""
