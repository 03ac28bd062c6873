"""What SQLite says, translated in this one place into the errors of the interface."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from attrs import frozen
from orchestrion.shared_types import InternalError, OrchestrationError
from orchestrion.store_interface import StoreCorrupt, StoreFull, StoreUnavailable


class StoreInUse(StoreUnavailable):
    """Another program has the store open; nothing was changed. Speak to that program, or stop it.

    Attributes:
        owner_pid: Its process id, or None where the kernel does not tell.
    """

    code = "state-in-use"

    def __init__(self, message: str, /, *, owner_pid: int | None, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.owner_pid = owner_pid


@frozen
class Failure:
    """A failure that any number of callers are told about, each with an error object of its own.

    Attributes:
        kind: Makes the error, given the message and the remedy.
        message: What happened, and where.
        remedy: What to do next.
        cause: What it was translated from.
        fatal: Whether what is on disk is no longer known, so that nothing may be read or written until the store is
            opened anew.
    """

    kind: Callable[..., OrchestrationError]
    message: str
    remedy: str
    cause: Exception | None
    fatal: bool

    def error(self) -> OrchestrationError:
        """Make an error for one caller."""
        error = self.kind(self.message, remedy=self.remedy)
        error.__cause__ = self.cause
        return error


def full(path: Path, cause: Exception | None) -> Failure:
    """There is no room on the file system."""
    return Failure(
        StoreFull,
        f"no room on the file system of {path}; nothing was written",
        "make room there, then repeat",
        cause,
        fatal=False,
    )


def corrupt(path: Path, what: str, cause: Exception | None = None) -> Failure:
    """The file is not what this package wrote."""
    return Failure(
        StoreCorrupt,
        f"{path}: {what}; nothing was changed",
        f"restore {path.name} from a copy, or move it and its {path.name}-wal away to begin with an empty store",
        cause,
        fatal=True,
    )


def newer(path: Path, found: int, known: int) -> Failure:
    """The file was written by a later version of this package."""
    return Failure(
        StoreCorrupt,
        f"{path}: the file has schema version {found}, this program knows versions up to {known}; nothing was changed",
        "use the newer program that wrote it, or another state directory",
        None,
        fatal=True,
    )


def read_only(path: Path) -> Failure:
    """The file or its directory can't be written to."""
    return Failure(
        StoreUnavailable,
        f"{path} is read-only for this program; nothing was changed",
        "make it writable (its permissions, and how the file system is mounted), or use another state directory",
        None,
        fatal=False,
    )


def unavailable(path: Path, doing: str, cause: Exception) -> Failure:
    """The operating system refused something that is not in the hands of this package."""
    return Failure(StoreUnavailable, f"{doing} {path}", "see the cause, then open the store again", cause, fatal=True)


def internal(path: Path, doing: str, cause: Exception) -> Failure:
    """A fault of this package."""
    return Failure(InternalError, f"{doing} {path}", "report this, with the traceback", cause, fatal=True)


def of_sqlite(path: Path, doing: str, err: sqlite3.Error) -> Failure:
    """Translate an error of SQLite.

    Args:
        path: The file.
        doing: What was being done, as the beginning of a sentence that ends with the file's name.
        err: The error.
    """
    # The low byte is the primary result code; errors raised by the Python module itself have none.
    match getattr(err, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return full(path, err)
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return corrupt(path, "the file is damaged", err)
        case sqlite3.SQLITE_READONLY:
            return read_only(path)
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Failure(
                StoreUnavailable,
                f"{path} is locked by a program that reads it with SQLite",
                "close that program, then repeat",
                err,
                fatal=False,
            )
        case _:
            # After a failed fsync nobody knows what is on disk, and asking again would get a wrong "all is well".
            return unavailable(path, doing, err)
