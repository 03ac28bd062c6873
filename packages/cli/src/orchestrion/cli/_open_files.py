"""The limit of open files of a server: each connection costs it one."""

from __future__ import annotations

import logging
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_log = logging.getLogger("orchestrion.server")


@contextmanager
def open_files_raised() -> Iterator[int]:
    """Have the soft limit of open files as high as it may be while inside, and give it; the log says so.

    A runtime that gives its programs the limit from before has to be open by then.
    """
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError):  # where the kernel's own limit is below it by now
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    now = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    _log.info("up to %d files may be open, connections among them", now)
    try:
        yield now
    finally:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(before, hard), hard))
