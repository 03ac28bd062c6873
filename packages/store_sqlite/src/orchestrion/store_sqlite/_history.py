"""What is stored now, and what was: the side of the store that is read, all of it in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from orchestrion.store_interface import (
    Change,
    Entry,
    FutureRevision,
    ListResult,
    ReadResult,
    Revision,
    RevisionCompacted,
)

from ._keys import SortedKeys

Changes = tuple[Change, ...]
"""All changes of one revision, in the order of its operations."""


class History:
    """The keys, their entries, and the changes since the oldest revision kept.

    Attributes:
        revision: The current revision.
        oldest: The oldest revision that can be read at, and watched since.
    """

    def __init__(self, oldest: Revision, kept: Iterable[Change]) -> None:
        """Begin at revision `oldest` with the entries that existed then, each given by its last change."""
        self.revision = oldest
        self.oldest = oldest
        self._latest = {change.key: change for change in kept}
        self._keys = SortedKeys(self._latest)
        # Changes of a key before its latest one, ascending; only what a revision from `oldest` on can see.
        self._past: dict[str, deque[Change]] = {}
        # The changes of revision `oldest + 1 + i` at index i.
        self._log: list[Changes] = []

    def __len__(self) -> int:
        return len(self._keys)

    def append(self, changes: Changes) -> None:
        """Take in the changes of the next revision."""
        self.revision = changes[0].revision
        self._log.append(changes)
        for change in changes:
            before = self._latest.get(change.key)
            if before is None:
                self._keys.add(change.key)
            else:
                self._past.setdefault(change.key, deque()).append(before)
            self._latest[change.key] = change

    def compact(self, oldest: Revision) -> None:
        """Forget what only revisions below `oldest` see."""
        count = oldest - self.oldest
        for changes in self._log[:count]:
            for change in changes:
                self._forget_before(change)
        del self._log[:count]
        self.oldest = oldest

    def _forget_before(self, change: Change) -> None:
        key = change.key
        past = self._past.get(key)
        if past is not None:
            while past and past[0].revision < change.revision:
                past.popleft()
            # A deletion is itself nothing to see, so it goes together with what it deleted.
            if past and past[0] is change and change.entry is None:
                past.popleft()
            if not past:
                del self._past[key]
        if change.entry is None and self._latest[key] is change:
            del self._latest[key]
            self._keys.remove(key)

    def get(self, key: str, at_revision: Revision | None) -> ReadResult:
        """See `StateStore.get`."""
        return ReadResult(self._entry(key, at_revision), self._readable(at_revision))

    def entries(
        self, prefix: str, *, limit: int | None, start_after: str | None, at_revision: Revision | None
    ) -> ListResult:
        """See `StateStore.list`."""
        revision = self._readable(at_revision)
        entries: list[Entry] = []
        first = prefix if start_after is None else max(prefix, start_after)
        for key in self._keys.starting_at(first):
            if not key.startswith(prefix):
                break
            entry = self._entry(key, at_revision)
            if entry is None or key == start_after:
                continue
            if len(entries) == limit:
                return ListResult(tuple(entries), revision, more=True)
            entries.append(entry)
        return ListResult(tuple(entries), revision)

    def changes_since(self, revision: Revision, prefix: str, *, revisions: int) -> tuple[list[Change], Revision]:
        """Return the changes under a prefix of up to so many revisions after `revision`, and the last of those.

        Raises:
            RevisionCompacted: They are no longer kept.
        """
        if revision < self.oldest:
            raise self._compacted(revision)
        start = revision - self.oldest
        scanned = self._log[start : start + revisions]
        found = [change for changes in scanned for change in changes if change.key.startswith(prefix)]
        return found, Revision(revision + len(scanned))

    def check_readable(self, revision: Revision) -> None:
        """Raise unless `revision` can be read at, and watched since.

        Raises:
            FutureRevision: It is above the current one.
            RevisionCompacted: It is below the oldest one.
        """
        if revision > self.revision:
            msg = f"revision {revision} has not happened yet; the current one is {self.revision}"
            raise FutureRevision(msg)
        if revision < self.oldest:
            raise self._compacted(revision)

    def _compacted(self, revision: int) -> RevisionCompacted:
        return RevisionCompacted(
            f"revision {revision} is no longer kept; the oldest one is {self.oldest}",
            oldest=self.oldest,
            remedy="list anew, and go on from that list's revision",
        )

    def _readable(self, at_revision: Revision | None) -> Revision:
        if at_revision is None:
            return self.revision
        self.check_readable(at_revision)
        return at_revision

    def _entry(self, key: str, at_revision: Revision | None) -> Entry | None:
        latest = self._latest.get(key)
        if latest is None:
            return None
        if at_revision is None or latest.revision <= at_revision:
            return latest.entry
        for change in reversed(self._past.get(key, ())):
            if change.revision <= at_revision:
                return change.entry
        return None
