"""Decides what each request does, and remembers what has to be written for it. Pure: it neither reads nor writes files.

The writer thread owns it. It is ahead of what readers see by one batch at most: the batch is either taken to the file
and to the readers, or undone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import define, field, frozen
from orchestrion.store_interface import (
    MIN_HISTORY,
    Change,
    ChangeKind,
    Entry,
    FutureRevision,
    LeaseId,
    LeaseNotFound,
    Operation,
    Put,
    Revision,
    RevisionConflict,
)

from ._history import Changes
from ._requests import Compact, Grant, Request, Revoke, Write


@frozen
class Limits:
    """How much history is kept.

    Attributes:
        revisions: At least so many of the last revisions, unless `bytes` cuts it shorter; at most an eighth more.
        bytes: At most so many bytes of values that are no longer current, unless `MIN_HISTORY` takes more.
    """

    revisions: int
    bytes: int


@frozen
class Record:
    """A change, and the row that it is written to."""

    row: int
    change: Change


@define
class Batch:
    """What has to be written, in one transaction.

    Attributes:
        records: Rows to add, ascending.
        revisions: The same changes by revision.
        freed: Rows to remove, after the others were added.
        granted: Leases to add.
        ended: Leases to remove, after the others were added.
        oldest: The new oldest revision, or None where it stays.
    """

    records: list[Record] = field(factory=list)
    revisions: list[Changes] = field(factory=list)
    freed: list[int] = field(factory=list)
    granted: list[tuple[LeaseId, float]] = field(factory=list)
    ended: list[LeaseId] = field(factory=list)
    oldest: Revision | None = None

    def __bool__(self) -> bool:
        return bool(self.records or self.freed or self.granted or self.ended or self.oldest is not None)


@frozen
class _Superseded:
    """A row that no revision from `at` on sees."""

    at: Revision
    row: int
    size: int


class Ledger:
    """The newest state, by what deciding needs.

    Attributes:
        revision: The newest revision.
        oldest: The oldest revision kept.
        leases: The length of each lease, in seconds.
    """

    def __init__(self, limits: Limits, *, oldest: Revision, last_lease: int, leases: dict[LeaseId, float]) -> None:
        self.revision = oldest
        self.oldest = oldest
        self.leases = leases
        self._limits = limits
        self._last_lease = last_lease
        self._last_row = 0
        self._head: dict[str, Record] = {}
        self._keys_of: dict[LeaseId, dict[str, None]] = {}
        self._superseded: deque[_Superseded] = deque()
        self._superseded_bytes = 0
        self._batch = Batch()
        self._undo: list[Callable[[], None]] = []

    def replay(self, record: Record) -> None:
        """Take in a row that is in the file; rows come in ascending order."""
        self._last_row = record.row
        self.revision = max(self.revision, record.change.revision)
        self._supersede(record)
        self._point(record.change.key, record if record.change.entry is not None else None)

    def decide(self, request: Request) -> int:
        """Do what is asked for, or raise and change nothing.

        Raises:
            RevisionConflict: A compare does not hold.
            LeaseNotFound: An operation names a lease that does not exist.
            FutureRevision: A revision to compact to has not happened yet.
        """
        match request:
            case Write():
                return self._write(request)
            case Grant():
                return self._grant(request.ttl_seconds)
            case Revoke():
                for lease in request.leases:
                    self._revoke(lease)
                return self.revision
            case Compact():
                return self._compact(request.revision)

    def take(self) -> Batch:
        """Return what the decisions since the last call have changed, bounding history on the way; see `keep`."""
        if self._batch.records:
            self._bound_history()
        return self._batch

    def keep(self) -> None:
        """The batch is on disk."""
        self._batch = Batch()
        self._undo.clear()

    def undo(self) -> None:
        """The batch could not be written: return to the state before it."""
        for step in reversed(self._undo):
            step()
        self.keep()

    def _write(self, request: Write) -> int:
        for compare in request.compares:
            record = self._head.get(compare.key)
            actual = record.change.revision if record is not None else 0
            if actual != compare.revision:
                raise RevisionConflict(compare.key, expected=compare.revision, actual=actual)
        for operation in request.operations:
            lease = operation.lease if isinstance(operation, Put) else None
            if lease is not None and (lease in request.ended or lease not in self.leases):
                msg = f"lease {lease} does not exist or has run out; key {operation.key!r} was to live by it"
                raise LeaseNotFound(msg, remedy="grant a new lease")
        return self._apply(request.operations)

    def _apply(self, operations: tuple[Operation, ...]) -> int:
        revision = Revision(self.revision + 1)
        changes = [change for operation in operations if (change := self._change(operation, revision)) is not None]
        if changes:
            self._append(revision, tuple(changes))
        return self.revision

    def _change(self, operation: Operation, revision: Revision) -> Change | None:
        key = operation.key
        before = self._head.get(key)
        if isinstance(operation, Put):
            entry = before.change.entry if before is not None else None
            created = entry.created if entry is not None else revision
            return Change(
                ChangeKind.PUT, key, Entry(key, operation.value, created, revision, operation.lease), revision
            )
        return Change(ChangeKind.DELETE, key, None, revision) if before is not None else None

    def _append(self, revision: Revision, changes: Changes) -> None:
        before = (self.revision, self._last_row, len(self._superseded), self._superseded_bytes)
        heads = [(change.key, self._head.get(change.key)) for change in changes]

        def undo() -> None:
            for key, head in reversed(heads):
                self._point(key, head)
            self.revision, self._last_row, superseded, self._superseded_bytes = before
            while len(self._superseded) > superseded:
                self._superseded.pop()

        self._undo.append(undo)
        for change in changes:
            self._last_row += 1
            record = Record(self._last_row, change)
            self._batch.records.append(record)
            self._supersede(record)
            self._point(change.key, record if change.entry is not None else None)
        self._batch.revisions.append(changes)
        self.revision = revision

    def _supersede(self, record: Record) -> None:
        change = record.change
        before = self._head.get(change.key)
        if before is not None and before.change.entry is not None:
            size = len(before.change.entry.value)
            self._superseded.append(_Superseded(change.revision, before.row, size))
            self._superseded_bytes += size
        if change.entry is None:
            self._superseded.append(_Superseded(change.revision, record.row, 0))

    def _point(self, key: str, record: Record | None) -> None:
        """Let a key's newest record be this, and keep the index of leases in step."""
        before = self._head.get(key)
        if before is not None and before.change.entry is not None and before.change.entry.lease is not None:
            self._keys_of[before.change.entry.lease].pop(key)
        if record is None:
            self._head.pop(key, None)
            return
        self._head[key] = record
        if record.change.entry is not None and record.change.entry.lease is not None:
            self._keys_of.setdefault(record.change.entry.lease, {})[key] = None

    def _grant(self, ttl_seconds: float) -> int:
        self._last_lease += 1
        lease = LeaseId(self._last_lease)
        self.leases[lease] = ttl_seconds
        self._batch.granted.append((lease, ttl_seconds))

        def undo() -> None:
            del self.leases[lease]
            self._last_lease -= 1

        self._undo.append(undo)
        return lease

    def _revoke(self, lease: LeaseId) -> None:
        ttl_seconds = self.leases.get(lease)
        if ttl_seconds is None:
            return
        keys = sorted(self._keys_of.get(lease, ()))
        if keys:
            revision = Revision(self.revision + 1)
            self._append(revision, tuple(Change(ChangeKind.DELETE, key, None, revision) for key in keys))
        self._keys_of.pop(lease, None)
        del self.leases[lease]
        self._batch.ended.append(lease)

        def undo() -> None:
            self.leases[lease] = ttl_seconds

        self._undo.append(undo)

    def _compact(self, revision: Revision) -> int:
        if revision > self.revision:
            msg = f"revision {revision} has not happened yet; the current one is {self.revision}"
            raise FutureRevision(msg)
        if revision <= self.oldest:
            return self.oldest
        before = (self.oldest, self._superseded_bytes)
        forgotten: list[_Superseded] = []
        while self._superseded and self._superseded[0].at <= revision:
            forgotten.append(self._superseded.popleft())
        self._superseded_bytes -= sum(item.size for item in forgotten)
        self._batch.freed.extend(item.row for item in forgotten)
        self.oldest = self._batch.oldest = revision

        def undo() -> None:
            self.oldest, self._superseded_bytes = before
            self._superseded.extendleft(reversed(forgotten))

        self._undo.append(undo)
        return revision

    def _bound_history(self) -> None:
        revision = self.oldest
        # Forgetting some revisions at a time costs less than one with each write.
        if self.revision - self.oldest > self._limits.revisions + self._limits.revisions // 8:
            revision = Revision(self.revision - self._limits.revisions)
        if self._superseded_bytes > self._limits.bytes:
            excess = self._superseded_bytes - self._limits.bytes * 7 // 8
            for item in self._superseded:
                if excess <= 0 or item.at > self.revision - MIN_HISTORY:
                    break
                excess -= item.size
                revision = max(revision, item.at)
        self._compact(revision)
