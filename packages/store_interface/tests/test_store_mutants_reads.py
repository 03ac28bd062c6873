"""Stores that are wrong about revisions, keys and reads: each fails the clause that it breaks."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import evolve
from orchestrion.mocks import MemoryState
from orchestrion.store_interface import (
    MAX_KEY_BYTES,
    MAX_VALUE_BYTES,
    InvalidRequest,
    LeaseId,
    ListResult,
    ReadResult,
    Revision,
    RevisionCompacted,
)

from .store_mutants import Mutant, Mutants, failed_checks

MUTANTS = Mutants()


@MUTANTS.breaks("REV-1", "TX-1", "WATCH-6")
class WritesEachOperationByItself(Mutant):
    def _write(self, writes: Sequence[tuple[str, bytes | None, LeaseId | None]]) -> Revision:
        for write in writes:
            super()._write((write,))
        return self.state.revision


@MUTANTS.breaks("REV-2")
class ReadsLate(Mutant):
    def _get(self, key: str, at_revision: Revision | None) -> ReadResult:
        self._begin()
        return super()._get(key, self._revision_before() if at_revision is None else at_revision)


@MUTANTS.breaks("REV-3", "LEASE-5")
class CountsGrants(Mutant):
    def _grant_lease(self, ttl_seconds: float) -> LeaseId:
        lease = super()._grant_lease(ttl_seconds)
        self._write((("lease", b"", None),))
        return lease


@MUTANTS.breaks("HISTORY-1")
class ForgetsSoon(Mutant):
    def __init__(self, state: MemoryState) -> None:
        super().__init__(state, history_limit=100)


@MUTANTS.breaks("KEY-1")
class FoldsCase(Mutant):
    def _put(self, key: str, value: bytes, expected: Revision | None, lease: LeaseId | None) -> Revision:
        return super()._put(key.casefold(), value, expected, lease)


@MUTANTS.breaks("KEY-1")
class RefusesLongKeys(Mutant):
    def _put(self, key: str, value: bytes, expected: Revision | None, lease: LeaseId | None) -> Revision:
        if len(key) >= MAX_KEY_BYTES:
            raise InvalidRequest("too long")
        return super()._put(key, value, expected, lease)


@MUTANTS.breaks("KEY-2")
class DropsNul(Mutant):
    def _put(self, key: str, value: bytes, expected: Revision | None, lease: LeaseId | None) -> Revision:
        return super()._put(key.replace("\0", ""), value, expected, lease)


@MUTANTS.breaks("VALUE-1")
class TakesEmptyForNothing(Mutant):
    def _write(self, writes: Sequence[tuple[str, bytes | None, LeaseId | None]]) -> Revision:
        return super()._write([(key, value or None, lease) for key, value, lease in writes])


@MUTANTS.breaks("VALUE-2")
class CutsLongValues(Mutant):
    def _put(self, key: str, value: bytes, expected: Revision | None, lease: LeaseId | None) -> Revision:
        return super()._put(key, value[:MAX_VALUE_BYTES], expected, lease)


@MUTANTS.breaks("PREFIX-1")
class TakesEmptyPrefixForNone(Mutant):
    def _list(
        self, prefix: str, limit: int | None, start_after: str | None, at_revision: Revision | None
    ) -> ListResult:
        found = super()._list(prefix, limit, start_after, at_revision)
        return found if prefix else ListResult((), found.revision)


@MUTANTS.breaks("PREFIX-1")
class RefusesLongPrefixes(Mutant):
    def _list(
        self, prefix: str, limit: int | None, start_after: str | None, at_revision: Revision | None
    ) -> ListResult:
        if len(prefix.encode()) >= MAX_KEY_BYTES:
            raise InvalidRequest("too long")
        return super()._list(prefix, limit, start_after, at_revision)


@MUTANTS.breaks("PREFIX-2", "LIST-8")
class ListsAnything(Mutant):
    def _list(
        self, prefix: str, limit: int | None, start_after: str | None, at_revision: Revision | None
    ) -> ListResult:
        try:
            return super()._list(prefix, limit, start_after, at_revision)
        except InvalidRequest:
            return ListResult((), self.state.revision)


@MUTANTS.breaks("GET-1")
class SaysModifiedForCreated(Mutant):
    def _get(self, key: str, at_revision: Revision | None) -> ReadResult:
        found = super()._get(key, at_revision)
        return found if found.entry is None else evolve(found, entry=evolve(found.entry, created=found.entry.modified))


@MUTANTS.breaks("GET-1")
class GetsTheNextKey(Mutant):
    def _get(self, key: str, at_revision: Revision | None) -> ReadResult:
        found = super()._get(key, at_revision)
        longer = sorted(other for other in self.state.entries if other.startswith(key))
        return found if found.entry or not longer else evolve(found, entry=self.state.entries[longer[0]])


@MUTANTS.breaks("GET-2")
class SaysTheKeysRevision(Mutant):
    def _get(self, key: str, at_revision: Revision | None) -> ReadResult:
        found = super()._get(key, at_revision)
        return found if found.entry is None else evolve(found, revision=found.entry.modified)


@MUTANTS.breaks("GET-3", "LIST-6")
class ReadsNowWhateverIsAsked(Mutant):
    def _readable(self, revision: Revision | None) -> Revision:
        super()._readable(revision)
        return self.state.revision


@MUTANTS.breaks("GET-4", "LIST-9", "WATCH-15")
class TakesTheFutureForNow(Mutant):
    def _readable(self, revision: Revision | None) -> Revision:
        return super()._readable(revision and min(revision, self.state.revision))


@MUTANTS.breaks("GET-5", "LIST-10", "WATCH-16", "COMPACT-2")
class ReadsTheOldestWhereForgotten(Mutant):
    def _readable(self, revision: Revision | None) -> Revision:
        return super()._readable(None if revision is None else max(revision, self.state.oldest))


@MUTANTS.breaks("GET-5", "LIST-10", "WATCH-16")
class NamesAWrongOldest(Mutant):
    def _readable(self, revision: Revision | None) -> Revision:
        try:
            return super()._readable(revision)
        except RevisionCompacted as err:
            raise RevisionCompacted(err.message, oldest=err.oldest + 1) from err


@MUTANTS.breaks("GET-5")
class CountsFromTheEnd(Mutant):
    def _readable(self, revision: Revision | None) -> Revision:
        below = revision is not None and revision < 0
        return super()._readable(Revision(self.state.revision + 1 + (revision or 0)) if below else revision)


@MUTANTS.breaks("LIST-1")
class TakesPrefixesForFolders(Mutant):
    def _list(
        self, prefix: str, limit: int | None, start_after: str | None, at_revision: Revision | None
    ) -> ListResult:
        found = super()._list(prefix, limit, start_after, at_revision)
        inside = prefix.rstrip("/") + "/"
        return evolve(
            found, entries=tuple(e for e in found.entries if not prefix or e.key == prefix or e.key.startswith(inside))
        )


@MUTANTS.breaks("LIST-2")
class SortsAsUtf16(Mutant):
    def _list(
        self, prefix: str, limit: int | None, start_after: str | None, at_revision: Revision | None
    ) -> ListResult:
        found = super()._list(prefix, limit, start_after, at_revision)
        return evolve(found, entries=tuple(sorted(found.entries, key=lambda entry: entry.key.encode("utf-16-be"))))


@MUTANTS.breaks("LIST-3")
class SaysTheNewestEntrysRevision(Mutant):
    def _list(
        self, prefix: str, limit: int | None, start_after: str | None, at_revision: Revision | None
    ) -> ListResult:
        found = super()._list(prefix, limit, start_after, at_revision)
        return evolve(found, revision=max((entry.modified for entry in found.entries), default=Revision(0)))


@MUTANTS.breaks("LIST-4")
class SaysMoreWhereFull(Mutant):
    def _list(
        self, prefix: str, limit: int | None, start_after: str | None, at_revision: Revision | None
    ) -> ListResult:
        found = super()._list(prefix, limit, start_after, at_revision)
        return evolve(found, more=len(found.entries) == limit)


@MUTANTS.breaks("LIST-5")
class BeginsAtInsteadOfAfter(Mutant):
    def _list(
        self, prefix: str, limit: int | None, start_after: str | None, at_revision: Revision | None
    ) -> ListResult:
        before = None
        if start_after in self.state.entries and start_after is not None:
            before = max((key for key in self.state.entries if key < start_after), default=None)
        return super()._list(prefix, limit, before if start_after in self.state.entries else start_after, at_revision)


@MUTANTS.breaks("LIST-7")
class PagesAtDifferentRevisions(Mutant):
    def _list(
        self, prefix: str, limit: int | None, start_after: str | None, at_revision: Revision | None
    ) -> ListResult:
        found = super()._list(prefix, limit, start_after, None if start_after else at_revision)
        return found if at_revision is None else evolve(found, revision=at_revision)


@MUTANTS.breaks("LIST-8")
class TakesZeroForNoLimit(Mutant):
    def _list(
        self, prefix: str, limit: int | None, start_after: str | None, at_revision: Revision | None
    ) -> ListResult:
        return super()._list(prefix, limit or None, start_after, at_revision)


@pytest.mark.parametrize(("clause", "mutant"), MUTANTS.parameters())
def test_the_kit_finds_out(clause: str, mutant: type[Mutant]) -> None:
    assert failed_checks(clause, mutant)
