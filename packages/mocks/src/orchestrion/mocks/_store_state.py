"""What a MemoryStore stores. It outlives the store, as a disk outlives a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from attrs import define, field
from orchestrion.store_interface import (
    Change,
    ChangeKind,
    Entry,
    FutureRevision,
    LeaseId,
    LeaseNotFound,
    Revision,
    RevisionCompacted,
)

from ._store_keys import SortedKeys

Write = tuple[str, bytes | None, LeaseId | None]
"""A key, what it is to hold (None: it is to go), and its lease."""

Record = tuple[str, Entry | None, Entry | None]
"""A key, what it holds after a write, and what it held before."""


@define
class Lease:
    """A lease, without its deadline, which belongs to a clock.

    Attributes:
        ttl_seconds: Its full length.
        keys: The keys that live by it.
    """

    ttl_seconds: float
    keys: set[str] = field(factory=set)


@define(eq=False)
class MemoryState:
    """All that a `MemoryStore` stores; `MemoryStore(state)` opens it anew.

    Attributes:
        revision: The current revision, 0 when empty.
        oldest: The oldest revision that can be read at and watched since.
        entries: What is current.
        leases: The leases that have not ended.
    """

    revision: Revision = field(default=Revision(0), init=False)
    oldest: Revision = field(default=Revision(0), init=False)
    entries: dict[str, Entry] = field(factory=dict, init=False)
    leases: dict[LeaseId, Lease] = field(factory=dict, init=False)
    _keys: SortedKeys = field(factory=SortedKeys, init=False, repr=False)
    _history: list[Sequence[Record]] = field(factory=list, init=False, repr=False)
    _last_lease: int = field(default=0, init=False)
    _past: dict[str, Entry | None] = field(factory=dict, init=False, repr=False)
    _past_from: Revision = field(default=Revision(0), init=False)
    _past_to: Revision = field(default=Revision(0), init=False)
    _close_owner: Callable[[], None] | None = field(default=None, init=False, repr=False)

    def hand_over(self, close: Callable[[], None], /) -> None:
        """Close the store that had this state, as a crash would; `close` closes the one that has it now."""
        if self._close_owner is not None:
            self._close_owner()
        self._close_owner = close

    def write(self, writes: Sequence[Write], /) -> Sequence[Record]:
        """Do all at one revision and return what changed; where nothing did, there is no new revision."""
        entries = self.entries
        revision = Revision(self.revision + 1)
        records: list[Record] = []
        for key, value, lease in writes:
            before = entries.get(key)
            if value is None:
                if before is None:
                    continue
                now = None
                del entries[key]
                self._keys.remove(key)
            else:
                if before is None:
                    now = Entry(key, value, revision, revision, lease)
                    self._keys.add(key)
                else:
                    now = Entry(key, value, before.created, revision, lease)
                entries[key] = now
                if lease is not None:
                    self.leases[lease].keys.add(key)
            if before is not None and before.lease is not None and before.lease != lease:
                self.leases[before.lease].keys.discard(key)
            records.append((key, now, before))
        if records:
            self.revision = revision
            self._history.append(records)
        return records

    def get(self, key: str, at_revision: Revision, /) -> Entry | None:
        """Return what a key held at a revision that is kept."""
        if at_revision != self.revision:
            past = self._changed_since(at_revision)
            if key in past:
                return past[key]
        return self.entries.get(key)

    def list(
        self, prefix: str, at_revision: Revision, /, *, limit: int | None, start_after: str | None
    ) -> tuple[tuple[Entry, ...], bool]:
        """Return what keys with a prefix held at a revision that is kept, and whether the limit cut it."""
        most = None if limit is None else limit + 1
        if at_revision == self.revision:
            keys = self._keys.with_prefix(prefix, start_after=start_after, most=most)
            found = [*map(self.entries.__getitem__, keys)]
        else:
            past = self._changed_since(at_revision)
            live = self._keys.with_prefix(prefix, start_after=start_after, most=most and most + len(past))
            gone = [
                key
                for key in past
                if key not in self.entries and key.startswith(prefix) and (start_after is None or key > start_after)
            ]
            then = (past[key] if key in past else self.entries[key] for key in sorted(live + gone))
            found = [entry for entry in then if entry is not None]
        return tuple(found[:limit]), limit is not None and len(found) > limit

    def changes_since(self, revision: Revision, prefix: str, /) -> Iterator[Change]:
        """Give the changes after a revision that is kept, of keys with a prefix."""
        for at in range(revision + 1, self.revision + 1):
            for key, now, _ in self._history[at - self.oldest - 1]:
                if key.startswith(prefix):
                    yield change(key, now, Revision(at))

    def check_kept(self, revision: Revision, /) -> None:
        """Raise unless a revision can be read at and watched since."""
        self.check_happened(revision)
        if revision < self.oldest:
            raise compacted(f"revision {revision}", self.oldest)

    def check_happened(self, revision: Revision, /) -> None:
        """Raise unless a revision has happened."""
        if revision > self.revision:
            msg = f"revision {revision} was asked for; the store is at {self.revision}"
            raise FutureRevision(msg, remedy="ask for a revision that this store has given")

    def forget(self, revision: Revision, /) -> None:
        """Keep nothing that only reads and watches below a revision need."""
        if revision > self.oldest:
            del self._history[: revision - self.oldest]
            self.oldest = revision
            if self._past_from < revision:
                self._past.clear()
                self._past_from = self._past_to = revision

    def add_lease(self, ttl_seconds: float, /) -> LeaseId:
        """Add a lease and return its id."""
        self._last_lease += 1
        lease = LeaseId(self._last_lease)
        self.leases[lease] = Lease(ttl_seconds)
        return lease

    def find_lease(self, lease: LeaseId, /) -> Lease:
        """Return a lease that has not ended.

        Raises:
            LeaseNotFound: There is none.
        """
        found = self.leases.get(lease)
        if found is None:
            msg = f"lease {lease} does not exist or has run out"
            raise LeaseNotFound(msg, remedy="grant a new one, and put its keys again")
        return found

    def end_lease(self, lease: LeaseId, /) -> Sequence[Record]:
        """Remove a lease and its keys, and return what changed; an unknown one is no error."""
        found = self.leases.get(lease)
        if found is None:
            return ()
        records = self.write([(key, None, None) for key in sorted(found.keys)])
        del self.leases[lease]
        return records

    def _changed_since(self, revision: Revision) -> dict[str, Entry | None]:
        """Return what the keys that changed after a revision held at it.

        What was found out for the same revision before is gone on from: the pages of one list are read at one.
        """
        if self._past_from != revision:
            self._past = {}
            self._past_from = self._past_to = revision
        for records in self._history[self._past_to - self.oldest :]:
            for key, _, before in records:
                self._past.setdefault(key, before)
        self._past_to = self.revision
        return self._past


def change(key: str, now: Entry | None, revision: Revision, /) -> Change:
    """Return a change as watchers get it."""
    return Change(ChangeKind.DELETE if now is None else ChangeKind.PUT, key, now, revision)


def compacted(what: str, oldest: Revision, /) -> RevisionCompacted:
    """Return the error for what is no longer kept."""
    msg = f"{what} is no longer kept; the oldest revision kept is {oldest}"
    return RevisionCompacted(msg, oldest=oldest, remedy="list anew, and watch since the list's revision")
