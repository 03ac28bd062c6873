"""The file: its format, how it is checked without touching it, and how a batch gets into it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from zlib import crc32

from attrs import frozen
from orchestrion.store_interface import Change, ChangeKind, Entry, LeaseId, Revision, StoreFull

from ._failures import Failure, corrupt, newer, of_sqlite, read_only, unavailable
from ._history import History
from ._ledger import Batch, Ledger, Limits, Record
from ._log_check import accepted_frames, hides_writes

APPLICATION_ID: Final = 0x4F524348
"""The bytes "ORCH", where file(1) and SQLite look for them."""

SCHEMA_VERSION: Final = 1

_HEADER_BYTES: Final = 100
_PAGE_BYTES_AT: Final = 16
_MAGIC: Final = b"SQLite format 3\0"

_SCHEMA: Final = """
PRAGMA auto_vacuum = INCREMENTAL;
CREATE TABLE log (
    id INTEGER PRIMARY KEY, revision INTEGER NOT NULL, key TEXT NOT NULL, value BLOB,
    created INTEGER NOT NULL, lease INTEGER NOT NULL, checksum INTEGER NOT NULL);
CREATE TABLE leases (id INTEGER PRIMARY KEY, ttl_seconds REAL NOT NULL);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counters VALUES ('oldest', 0), ('last_lease', 0);
"""

_CHECKPOINT_PAGES: Final = 4000
"""The write-ahead log is carried over into the file after so many pages, 16 MB: seldom enough to cost little."""

_VACUUM_PAGES: Final = 2500
"""Free pages that are kept for later, and the most that are given back at a time, so that no batch waits long."""


class FileFailure(Exception):
    """Carries a failure out of this module; it never reaches callers of the store.

    Attributes:
        failure: The failure.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@frozen
class Loaded:
    """What a file holds."""

    ledger: Ledger
    history: History


@contextlib.contextmanager
def translated(path: Path, doing: str) -> Iterator[None]:
    """Raise errors of SQLite and of the operating system as `FileFailure`."""
    try:
        yield
    except sqlite3.Error as err:
        raise FileFailure(of_sqlite(path, doing, err)) from err
    except OSError as err:
        raise FileFailure(unavailable(path, doing, err)) from err


def log_of(path: Path) -> Path:
    """Where SQLite keeps the write-ahead log of a file."""
    return path.with_name(path.name + "-wal")


def create(path: Path) -> None:
    """Make an empty file, whole or not at all, unless it exists.

    It is made under another name, so that whatever has the real name has a valid header, also after a crash.
    """
    if path.exists():
        return
    if log_of(path).exists():
        raise FileFailure(corrupt(path, f"the file is missing, but {log_of(path).name} is there"))
    check_writable(path)
    draft = path.with_name(path.name + ".new")
    with translated(path, "could not create"):
        try:
            for suffix in ("", "-journal", "-wal", "-shm"):
                draft.with_name(draft.name + suffix).unlink(missing_ok=True)
            # SQLite gives the log the permissions of the file: values may hold what is nobody else's business.
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            with contextlib.closing(sqlite3.connect(draft, isolation_level=None)) as connection:
                # Until it has its name it is worth nothing, so it is enough to wait for the disk once, at the end.
                connection.execute("PRAGMA synchronous = OFF")
                connection.executescript(_SCHEMA)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                connection.execute("PRAGMA journal_mode = WAL").fetchall()
            sync(draft)
            draft.rename(path)
            sync(path.parent)
        except (sqlite3.Error, OSError):
            draft.unlink(missing_ok=True)
            raise


def sync(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_writable(path: Path) -> None:
    """Raise unless the file, where it exists, and its directory can be written to. Nothing is touched."""
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise FileFailure(read_only(path.parent))
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise FileFailure(read_only(path))


def check_header(path: Path) -> None:
    """Raise unless the file begins as this package's files do. Nothing is touched."""
    with translated(path, "could not read"), path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise FileFailure(corrupt(path, "this is not a SQLite file"))
    application = int.from_bytes(header[68:72], "big")
    version = int.from_bytes(header[60:64], "big")
    if application != APPLICATION_ID:
        raise FileFailure(corrupt(path, f"the file belongs to another program (application id {application:#x})"))
    if version > SCHEMA_VERSION:
        raise FileFailure(newer(path, version, SCHEMA_VERSION))
    if version < 1:
        raise FileFailure(corrupt(path, f"the file has schema version {version}, which never existed"))


def load(path: Path, limits: Limits) -> Loaded:
    """Check the whole file and read it, leaving each byte and time of it as it is.

    A log that a crash has left has to be read with it, which SQLite does only with an index file beside it: that is
    removed again. Without a log, SQLite is told that nobody changes the file, and touches nothing.
    """
    with translated(path, "could not read"):
        has_log = log_of(path).exists() and log_of(path).stat().st_size > 0
        index = path.with_name(path.name + "-shm")
        index_is_ours = has_log and not index.exists()
        uri = path.absolute().as_uri() + ("?mode=ro" if has_log else "?mode=ro&immutable=1")
        try:
            with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
                # Damaged text must not fail inside SQLite's module, where nobody knows which row it was.
                connection.text_factory = bytes
                loaded = _read(path, connection, limits)
                if has_log:
                    _check_log(path, accepted_frames(index))
                return loaded
        except sqlite3.OperationalError as err:
            if err.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                raise
            raise FileFailure(corrupt(path, "its tables are not those of this package", err)) from err
        finally:
            if index_is_ours:
                index.unlink(missing_ok=True)


def _check_log(path: Path, accepted: int) -> None:
    with path.open("rb") as file:
        file.seek(_PAGE_BYTES_AT)
        page_bytes = int.from_bytes(file.read(2), "big")
    if hides_writes(log_of(path), accepted, 65536 if page_bytes == 1 else page_bytes):
        raise FileFailure(corrupt(path, f"{log_of(path).name}, which belongs to it, is damaged before its end"))


def _read(path: Path, connection: sqlite3.Connection, limits: Limits) -> Loaded:
    problems = [row[0].decode(errors="replace") for row in connection.execute("PRAGMA quick_check(3)")]
    if problems != ["ok"]:
        raise FileFailure(corrupt(path, f"the file is damaged ({'; '.join(problems)})"))
    counters = dict(connection.execute("SELECT name, value FROM counters"))
    oldest, last_lease = (counters.get(name) for name in (b"oldest", b"last_lease"))
    if not isinstance(oldest, int) or not isinstance(last_lease, int):
        raise FileFailure(corrupt(path, "its counters are missing"))
    leases = {
        LeaseId(lease): ttl for lease, ttl in connection.execute("SELECT id, ttl_seconds FROM leases ORDER BY id")
    }
    ledger = Ledger(limits, oldest=Revision(oldest), last_lease=last_lease, leases=leases)
    kept: dict[str, Change] = {}
    since: dict[int, list[Change]] = {}
    for row in connection.execute("SELECT id, revision, key, value, created, lease, checksum FROM log ORDER BY id"):
        record = _record(path, row)
        change = record.change
        if change.revision > oldest:
            if change.revision not in (ledger.revision, ledger.revision + 1):
                raise FileFailure(corrupt(path, f"revision {ledger.revision + 1} is missing"))
            since.setdefault(change.revision, []).append(change)
        else:
            kept[change.key] = change
        ledger.replay(record)
    history = History(Revision(oldest), kept.values())
    for changes in since.values():
        history.append(tuple(changes))
    return Loaded(ledger, history)


def _record(path: Path, row: tuple[object, ...]) -> Record:
    match row:
        case (int(id_), int(revision), bytes(key), bytes() | None as value, int(created), int(lease), int(checksum)):
            if _checksum(id_, revision, key, value, created, lease) == checksum:
                text = key.decode()
                entry = None
                if value is not None:
                    entry = Entry(text, value, Revision(created), Revision(revision), LeaseId(lease) if lease else None)
                kind = ChangeKind.DELETE if entry is None else ChangeKind.PUT
                return Record(id_, Change(kind, text, entry, Revision(revision)))
    raise FileFailure(corrupt(path, f"row {row[0]} of its log does not match its checksum"))


def _checksum(row: int, revision: int, key: bytes, value: bytes | None, created: int, lease: int) -> int:
    head = b"%d %d %d %d %d " % (row, revision, created, lease, value is None)
    return crc32(value or b"", crc32(key, crc32(head)))


class StateFile:
    """The file, open for writing. Several threads may use it one after the other."""

    def __init__(self, path: Path) -> None:
        """Open a file that was checked.

        Raises:
            FileFailure: It can't be opened for writing.
        """
        self.path = path
        with translated(path, "could not open"):
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=0.0, check_same_thread=False)
            try:
                # Exclusive, no other program can come between, and the log needs no index file shared with others.
                self._pragma("locking_mode = EXCLUSIVE")
                self._pragma("journal_mode = WAL")
                self._pragma("synchronous = FULL")
                self._pragma(f"wal_autocheckpoint = {_CHECKPOINT_PAGES}")
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.execute("ROLLBACK")
            except sqlite3.Error:
                self._connection.close()
                raise

    def _pragma(self, pragma: str) -> list[tuple[object, ...]]:
        return self._connection.execute(f"PRAGMA {pragma}").fetchall()

    def commit(self, batch: Batch) -> None:
        """Write a batch to disk, whole or not at all.

        Raises:
            FileFailure: It was not written, or, where the failure is fatal, nobody knows.
        """
        try:
            self._commit(batch)
        except FileFailure as err:
            if err.failure.kind is not StoreFull or not self._empty_log():
                raise
            self._commit(batch)

    def _empty_log(self) -> bool:
        """Carry the log over into the file and give its room back; return whether there was room to do so."""
        with translated(self.path, "could not carry over the log of"):
            try:
                ((busy, _, _),) = self._pragma("wal_checkpoint(TRUNCATE)")
            except sqlite3.OperationalError as err:
                if _is_full(err):
                    return False
                raise
        return busy == 0

    def _commit(self, batch: Batch) -> None:
        execute = self._connection.execute
        many = self._connection.executemany
        with translated(self.path, "could not write to"):
            try:
                execute("BEGIN IMMEDIATE")
                if batch.records:
                    many("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?)", map(_row, batch.records))
                if batch.granted:
                    many("INSERT INTO leases VALUES (?, ?)", batch.granted)
                    execute("UPDATE counters SET value = ? WHERE name = 'last_lease'", (batch.granted[-1][0],))
                if batch.ended:
                    many("DELETE FROM leases WHERE id = ?", [(lease,) for lease in batch.ended])
                if batch.freed:
                    many("DELETE FROM log WHERE id BETWEEN ? AND ?", _ranges(batch.freed))
                if batch.oldest is not None:
                    execute("UPDATE counters SET value = ? WHERE name = 'oldest'", (batch.oldest,))
                execute("COMMIT")
            except sqlite3.Error:
                if self._connection.in_transaction:
                    execute("ROLLBACK")
                raise
        if batch.freed:
            # The batch is on disk: what fails from here on must not be told as if it were not. A later batch will do
            # it, or hear of it where the disk itself fails.
            with contextlib.suppress(sqlite3.Error):
                self._shrink()

    def _shrink(self) -> None:
        """Give room back to the file system where much is free, which takes some room at first."""
        ((free,),) = self._pragma("freelist_count")
        if isinstance(free, int) and free > 2 * _VACUUM_PAGES:
            # It frees a page per step, and only a script is stepped to its end: execute() would free a single one.
            self._connection.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")

    def close(self) -> None:
        """Carry the log over into the file, which then stands alone, and close it.

        Where there is no room for that, the log stays beside the file and is read with it at the next opening.

        Raises:
            FileFailure: The disk fails; the file is closed.
        """
        with translated(self.path, "could not close"):
            try:
                self._empty_log()
            finally:
                self._connection.close()


def _row(record: Record) -> tuple[int, int, str, bytes | None, int, int, int]:
    change, entry = record.change, record.change.entry
    if entry is None:
        value, created, lease = None, 0, 0
    else:
        value, created, lease = entry.value, entry.created, entry.lease or 0
    checksum = _checksum(record.row, change.revision, change.key.encode(), value, created, lease)
    return record.row, change.revision, change.key, value, created, lease, checksum


def _is_full(err: sqlite3.Error) -> bool:
    return err.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL


def _ranges(rows: list[int]) -> list[tuple[int, int]]:
    """Return the rows as ranges from first to last, ascending."""
    ranges: list[tuple[int, int]] = []
    for row in sorted(rows):
        if ranges and ranges[-1][1] == row - 1:
            ranges[-1] = (ranges[-1][0], row)
        else:
            ranges.append((row, row))
    return ranges
