"""Each clause has stores that break it, and the kit finds them out: a mutant that lives is a hole in the kit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cache
from math import inf
from typing import TypeVar
from unittest import SkipTest

import pytest
import trio
from attrs import evolve
from orchestrion.mocks import MemoryState, MemoryStore
from orchestrion.mocks._store_leases import LeaseDeadlines
from orchestrion.store_interface import (
    MAX_KEY_BYTES,
    MAX_LEASE_SECONDS,
    MAX_OPERATIONS,
    MAX_VALUE_BYTES,
    MIN_LEASE_SECONDS,
    Change,
    Compare,
    Delete,
    InvalidRequest,
    LeaseId,
    LeaseNotFound,
    ListResult,
    Operation,
    Put,
    ReadResult,
    Revision,
    RevisionCompacted,
    RevisionConflict,
    StateStore,
    StoreClosed,
    WatchBatch,
    check_key,
)
from orchestrion.store_interface.conformance import KIT, StoreUnderTest, checks

MUTANTS: dict[str, list[type[Mutant]]] = {}


class Mutant(MemoryStore):
    """A right store, of which each mutant breaks one thing."""

    make_state: Callable[[], MemoryState] = MemoryState


M = TypeVar("M", bound=type[Mutant])


def breaks(*clauses: str) -> Callable[[M], M]:
    def enter(mutant: M) -> M:
        for clause in clauses:
            MUTANTS.setdefault(clause, []).append(mutant)
        return mutant

    return enter


@cache
def killers(clause: str, name: str) -> frozenset[str]:
    """Return the ids of the clause's checks that the mutant of that name fails."""
    mutant = next((mutant for mutant in MUTANTS[clause] if mutant.__name__ == name), Mutant)

    @asynccontextmanager
    async def open_store() -> AsyncIterator[StoreUnderTest]:
        state = mutant.make_state()

        async def reopen() -> StateStore:
            return mutant(state)

        yield StoreUnderTest(mutant(state), reopen)

    failed: set[str] = set()
    for check in checks(open_store, examples=5 if mutant is Mutant else 60, shrink=False):
        if check.check.clause == clause:
            try:
                check()
            except SkipTest:
                raise
            except Exception:  # whatever a wrong store raises is a failure of the check
                failed.add(check.id)
    return frozenset(failed)


# What a write and a read say and do.


@breaks("REV-1", "TX-1", "WATCH-6")
class WritesEachOperationByItself(Mutant):
    def _write(self, writes: Sequence[tuple[str, bytes | None, LeaseId | None]]) -> Revision:
        for write in writes:
            super()._write((write,))
        return self.state.revision


@breaks("REV-2")
class ReadsLate(Mutant):
    def _get(self, key: str, at_revision: Revision | None) -> ReadResult:
        self._begin()
        return super()._get(key, self._revision_before() if at_revision is None else at_revision)


@breaks("REV-3", "LEASE-5")
class CountsGrants(Mutant):
    def _grant_lease(self, ttl_seconds: float) -> LeaseId:
        lease = super()._grant_lease(ttl_seconds)
        self._write((("lease", b"", None),))
        return lease


@breaks("HISTORY-1")
class ForgetsSoon(Mutant):
    def __init__(self, state: MemoryState) -> None:
        super().__init__(state, history_limit=100)


@breaks("KEY-1")
class FoldsCase(Mutant):
    def _put(self, key: str, value: bytes, expected: Revision | None, lease: LeaseId | None) -> Revision:
        return super()._put(key.casefold(), value, expected, lease)


@breaks("KEY-1")
class RefusesLongKeys(Mutant):
    def _put(self, key: str, value: bytes, expected: Revision | None, lease: LeaseId | None) -> Revision:
        if len(key) >= MAX_KEY_BYTES:
            raise InvalidRequest("too long")
        return super()._put(key, value, expected, lease)


@breaks("KEY-2")
class DropsNul(Mutant):
    def _put(self, key: str, value: bytes, expected: Revision | None, lease: LeaseId | None) -> Revision:
        return super()._put(key.replace("\0", ""), value, expected, lease)


@breaks("VALUE-1")
class TakesEmptyForNothing(Mutant):
    def _write(self, writes: Sequence[tuple[str, bytes | None, LeaseId | None]]) -> Revision:
        return super()._write([(key, value or None, lease) for key, value, lease in writes])


@breaks("VALUE-2")
class CutsLongValues(Mutant):
    def _put(self, key: str, value: bytes, expected: Revision | None, lease: LeaseId | None) -> Revision:
        return super()._put(key, value[:MAX_VALUE_BYTES], expected, lease)


@breaks("PREFIX-1")
class TakesEmptyPrefixForNone(Mutant):
    def _list(
        self, prefix: str, limit: int | None, start_after: str | None, at_revision: Revision | None
    ) -> ListResult:
        found = super()._list(prefix, limit, start_after, at_revision)
        return found if prefix else ListResult((), found.revision)


@breaks("PREFIX-1")
class RefusesLongPrefixes(Mutant):
    def _list(
        self, prefix: str, limit: int | None, start_after: str | None, at_revision: Revision | None
    ) -> ListResult:
        if len(prefix.encode()) >= MAX_KEY_BYTES:
            raise InvalidRequest("too long")
        return super()._list(prefix, limit, start_after, at_revision)


@breaks("PREFIX-2", "LIST-8")
class ListsAnything(Mutant):
    def _list(
        self, prefix: str, limit: int | None, start_after: str | None, at_revision: Revision | None
    ) -> ListResult:
        try:
            return super()._list(prefix, limit, start_after, at_revision)
        except InvalidRequest:
            return ListResult((), self.state.revision)


@breaks("GET-1")
class SaysModifiedForCreated(Mutant):
    def _get(self, key: str, at_revision: Revision | None) -> ReadResult:
        found = super()._get(key, at_revision)
        return found if found.entry is None else evolve(found, entry=evolve(found.entry, created=found.entry.modified))


@breaks("GET-1")
class GetsTheNextKey(Mutant):
    def _get(self, key: str, at_revision: Revision | None) -> ReadResult:
        found = super()._get(key, at_revision)
        longer = sorted(other for other in self.state.entries if other.startswith(key))
        return found if found.entry or not longer else evolve(found, entry=self.state.entries[longer[0]])


@breaks("GET-2")
class SaysTheKeysRevision(Mutant):
    def _get(self, key: str, at_revision: Revision | None) -> ReadResult:
        found = super()._get(key, at_revision)
        return found if found.entry is None else evolve(found, revision=found.entry.modified)


@breaks("GET-3", "LIST-6")
class ReadsNowWhateverIsAsked(Mutant):
    def _readable(self, revision: Revision | None) -> Revision:
        super()._readable(revision)
        return self.state.revision


@breaks("GET-4", "LIST-9", "WATCH-15")
class TakesTheFutureForNow(Mutant):
    def _readable(self, revision: Revision | None) -> Revision:
        return super()._readable(revision and min(revision, self.state.revision))


@breaks("GET-5", "LIST-10", "WATCH-16", "COMPACT-2")
class ReadsTheOldestWhereForgotten(Mutant):
    def _readable(self, revision: Revision | None) -> Revision:
        return super()._readable(None if revision is None else max(revision, self.state.oldest))


@breaks("GET-5", "LIST-10", "WATCH-16")
class NamesAWrongOldest(Mutant):
    def _readable(self, revision: Revision | None) -> Revision:
        try:
            return super()._readable(revision)
        except RevisionCompacted as err:
            raise RevisionCompacted(err.message, oldest=err.oldest + 1) from err


@breaks("GET-5")
class CountsFromTheEnd(Mutant):
    def _readable(self, revision: Revision | None) -> Revision:
        below = revision is not None and revision < 0
        return super()._readable(Revision(self.state.revision + 1 + (revision or 0)) if below else revision)


@breaks("LIST-1")
class TakesPrefixesForFolders(Mutant):
    def _list(
        self, prefix: str, limit: int | None, start_after: str | None, at_revision: Revision | None
    ) -> ListResult:
        found = super()._list(prefix, limit, start_after, at_revision)
        inside = prefix.rstrip("/") + "/"
        return evolve(
            found, entries=tuple(e for e in found.entries if not prefix or e.key == prefix or e.key.startswith(inside))
        )


@breaks("LIST-2")
class SortsAsUtf16(Mutant):
    def _list(
        self, prefix: str, limit: int | None, start_after: str | None, at_revision: Revision | None
    ) -> ListResult:
        found = super()._list(prefix, limit, start_after, at_revision)
        return evolve(found, entries=tuple(sorted(found.entries, key=lambda entry: entry.key.encode("utf-16-be"))))


@breaks("LIST-3")
class SaysTheNewestEntrysRevision(Mutant):
    def _list(
        self, prefix: str, limit: int | None, start_after: str | None, at_revision: Revision | None
    ) -> ListResult:
        found = super()._list(prefix, limit, start_after, at_revision)
        return evolve(found, revision=max((entry.modified for entry in found.entries), default=Revision(0)))


@breaks("LIST-4")
class SaysMoreWhereFull(Mutant):
    def _list(
        self, prefix: str, limit: int | None, start_after: str | None, at_revision: Revision | None
    ) -> ListResult:
        found = super()._list(prefix, limit, start_after, at_revision)
        return evolve(found, more=len(found.entries) == limit)


@breaks("LIST-5")
class BeginsAtInsteadOfAfter(Mutant):
    def _list(
        self, prefix: str, limit: int | None, start_after: str | None, at_revision: Revision | None
    ) -> ListResult:
        before = None
        if start_after in self.state.entries and start_after is not None:
            before = max((key for key in self.state.entries if key < start_after), default=None)
        return super()._list(prefix, limit, before if start_after in self.state.entries else start_after, at_revision)


@breaks("LIST-7")
class PagesAtDifferentRevisions(Mutant):
    def _list(
        self, prefix: str, limit: int | None, start_after: str | None, at_revision: Revision | None
    ) -> ListResult:
        found = super()._list(prefix, limit, start_after, None if start_after else at_revision)
        return found if at_revision is None else evolve(found, revision=at_revision)


@breaks("LIST-8")
class TakesZeroForNoLimit(Mutant):
    def _list(
        self, prefix: str, limit: int | None, start_after: str | None, at_revision: Revision | None
    ) -> ListResult:
        return super()._list(prefix, limit or None, start_after, at_revision)


# Puts, deletions and transactions.


@breaks("PUT-1")
class SaysTheRevisionBefore(Mutant):
    def _put(self, key: str, value: bytes, expected: Revision | None, lease: LeaseId | None) -> Revision:
        return Revision(super()._put(key, value, expected, lease) - 1)


@breaks("PUT-2")
class CreatesAnew(Mutant):
    def _put(self, key: str, value: bytes, expected: Revision | None, lease: LeaseId | None) -> Revision:
        revision = super()._put(key, value, expected, lease)
        self.state.entries[key] = evolve(self.state.entries[key], created=revision)
        return revision


@breaks("PUT-3")
class WritesOnlyWhatDiffers(Mutant):
    def _put(self, key: str, value: bytes, expected: Revision | None, lease: LeaseId | None) -> Revision:
        if key in self.state.entries and self.state.entries[key].value == value:
            return self.state.revision
        return super()._put(key, value, expected, lease)


@breaks("PUT-4", "DELETE-3")
class IgnoresRevisions(Mutant):
    def _compare(self, key: str, expected: Revision) -> None:
        super()._compare(key, Revision(expected and key in self.state.entries and self.state.entries[key].modified))


@breaks("PUT-5", "DELETE-4")
class TakesAbsentForAnything(Mutant):
    def _compare(self, key: str, expected: Revision) -> None:
        if expected:
            super()._compare(key, expected)


@breaks("PUT-6")
class PutsUnderNoLease(Mutant):
    def _put(self, key: str, value: bytes, expected: Revision | None, lease: LeaseId | None) -> Revision:
        return super()._put(key, value, expected, None)


@breaks("PUT-7")
class KeepsTheLease(Mutant):
    def _put(self, key: str, value: bytes, expected: Revision | None, lease: LeaseId | None) -> Revision:
        before = self.state.entries.get(key)
        return super()._put(key, value, expected, before.lease if lease is None and before else lease)


@breaks("PUT-8", "DELETE-5")
class SwapsRevisionsInConflicts(Mutant):
    def _compare(self, key: str, expected: Revision) -> None:
        try:
            super()._compare(key, expected)
        except RevisionConflict as err:
            raise RevisionConflict(key, expected=err.actual, actual=err.expected) from err


@breaks("PUT-9")
class PutsUnderAnyLease(Mutant):
    def _put(self, key: str, value: bytes, expected: Revision | None, lease: LeaseId | None) -> Revision:
        return super()._put(key, value, expected, lease if lease in self.state.leases else None)


@breaks("DELETE-1")
class DeletesAllBelow(Mutant):
    def _delete(self, key: str, expected: Revision | None) -> Revision:
        check_key(key)
        return self._write([(other, None, None) for other in sorted(self.state.entries) if other.startswith(key)])


@breaks("DELETE-2")
class WritesDeletionsOfNothing(Mutant):
    def _delete(self, key: str, expected: Revision | None) -> Revision:
        if key not in self.state.entries:
            self._write(((key, b"", None),))
        return super()._delete(key, expected)


@breaks("TX-1")
class TakesFewOperations(Mutant):
    def _transaction(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
        if len(operations) >= MAX_OPERATIONS:
            raise InvalidRequest("too many")
        return super()._transaction(compares, operations)


@breaks("TX-2")
class ComparesTheFirstOnly(Mutant):
    def _transaction(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
        return super()._transaction(compares[:1], operations)


@breaks("TX-2")
class ComparesNothing(Mutant):
    def _transaction(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
        return super()._transaction([], operations)


@breaks("TX-3")
class ComparesAfterwards(Mutant):
    def _transaction(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
        revision = super()._transaction([], operations)
        for compare in compares:
            self._compare(compare.key, compare.revision)
        return revision


@breaks("TX-4")
class CountsEmptyTransactions(Mutant):
    def _transaction(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
        before = self.state.revision
        if super()._transaction(compares, operations) == before:
            self._write((("empty", b"", None),))
        return self.state.revision


@breaks("TX-5")
class SaysZeroForNothing(Mutant):
    def _transaction(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
        before = self.state.revision
        revision = super()._transaction(compares, operations)
        return Revision(0) if revision == before else revision


@breaks("TX-6")
class TakesManyOperations(Mutant):
    def _transaction(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
        super()._transaction(compares[:MAX_OPERATIONS], operations[:MAX_OPERATIONS])
        return super()._transaction([], operations[MAX_OPERATIONS:])


@breaks("TX-7")
class LetsTheLastWin(Mutant):
    def _transaction(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
        return super()._transaction(compares, [*{operation.key: operation for operation in operations}.values()])


@breaks("TX-8")
class LeavesOutWhatIsBad(Mutant):
    def _transaction(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
        good: list[Operation] = []
        for operation in operations:
            with suppress(InvalidRequest):
                check_key(operation.key)
                good.append(operation)
        return super()._transaction(compares, good)


@breaks("TX-9")
class NamesTheLastConflict(Mutant):
    def _transaction(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
        return super()._transaction(compares[::-1], operations)


@breaks("TX-10")
class TransactsUnderAnyLease(Mutant):
    def _transaction(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
        return super()._transaction(
            compares, [op if isinstance(op, Delete) else Put(op.key, op.value) for op in operations]
        )


@breaks("ERROR-1", "TX-10", "TX-8")
class TransactsOneByOne(Mutant):
    def _transaction(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
        for operation in operations:
            super()._transaction(compares, [operation])
        return super()._transaction(compares if not operations else [], [])


@breaks("ERROR-2")
class LooksAtLeasesFirst(Mutant):
    def _put(self, key: str, value: bytes, expected: Revision | None, lease: LeaseId | None) -> Revision:
        if lease is not None and not self._closed:
            self.state.find_lease(lease)
        return super()._put(key, value, expected, lease)


@breaks("ERROR-2")
class LooksAtArgumentsLast(Mutant):
    async def get(self, key: str, /, *, at_revision: Revision | None = None) -> ReadResult:
        await trio.lowlevel.checkpoint()
        self._begin()
        return self._get(key, at_revision)


@breaks("ERROR-2")
class LooksAtRevisionsWhenClosed(Mutant):
    def _get(self, key: str, at_revision: Revision | None) -> ReadResult:
        self._readable(at_revision)
        return super()._get(key, at_revision)


# Leases.


class LeasesOfAnotherLength(Mutant):
    def length(self, ttl_seconds: float) -> float:
        return ttl_seconds

    def _grant_lease(self, ttl_seconds: float) -> LeaseId:
        lease = self.state.add_lease(ttl_seconds)
        self._begin().add(lease, trio.current_time() + self.length(ttl_seconds))
        self._hub.set_alarm()
        return lease


@breaks("LEASE-1")
class EndsEarly(LeasesOfAnotherLength):
    def length(self, ttl_seconds: float) -> float:
        return ttl_seconds - 0.01


@breaks("LEASE-2", "LEASE-4", "KEEP-2")
class GoesByAnotherClock(LeasesOfAnotherLength):
    """As one that goes by time.monotonic() does while a mock clock jumps: no lease ever ends."""

    def length(self, ttl_seconds: float) -> float:
        return inf

    def _start_leases(self):  # type: ignore[no-untyped-def] # as the overridden
        super()._start_leases()
        self._deadlines = LeaseDeadlines(dict.fromkeys(self.state.leases, inf))
        return self._deadlines


@breaks("LEASE-2")
class EndsLate(LeasesOfAnotherLength):
    def length(self, ttl_seconds: float) -> float:
        return ttl_seconds + 1.01


@breaks("LEASE-7")
class TakesAnyLength(LeasesOfAnotherLength):
    def length(self, ttl_seconds: float) -> float:
        return max(MIN_LEASE_SECONDS, min(MAX_LEASE_SECONDS, ttl_seconds))


class EndsInReverse(MemoryState):
    def end_lease(self, lease: LeaseId, /) -> Sequence[tuple[str, object, object]]:  # type: ignore[override] # a mutant
        keys = sorted(self.leases[lease].keys if lease in self.leases else (), reverse=True)
        records = self.write([(key, None, None) for key in keys])
        super().end_lease(lease)
        return records


@breaks("LEASE-3", "REVOKE-1")
class RemovesInReverse(Mutant):
    make_state = EndsInReverse


class KeepsKeysOnLeases(MemoryState):
    def write(self, writes, /):  # type: ignore[no-untyped-def] # as the overridden
        records = super().write(writes)
        for key, _, before in records:
            if before is not None and before.lease in self.leases:
                self.leases[before.lease].keys.add(key)
        return records


@breaks("LEASE-3", "PUT-7")
class NeverTakesAKeyOff(Mutant):
    make_state = KeepsKeysOnLeases


@breaks("LEASE-4")
class GoesOnWithHalfALease(Mutant):
    def __init__(self, state: MemoryState) -> None:
        super().__init__(state)
        for lease, held in state.leases.items():
            self._start_leases().prolong(lease, trio.current_time() + held.ttl_seconds / 2)


@breaks("LEASE-4")
class ForgetsLeases(Mutant):
    def _keep_alive(self, lease: LeaseId) -> None:
        if self._granted_before(lease):
            raise LeaseNotFound("forgotten")
        super()._keep_alive(lease)

    def __init__(self, state: MemoryState) -> None:
        super().__init__(state)
        self._before = set(state.leases)

    def _granted_before(self, lease: LeaseId) -> bool:
        return lease in self._before


@breaks("LEASE-6")
class UsesIdsAgain(Mutant):
    def _grant_lease(self, ttl_seconds: float) -> LeaseId:
        self.state._last_lease = len(self.state.leases)
        return super()._grant_lease(ttl_seconds)


@breaks("KEEP-1")
class KeepsNothingAlive(Mutant):
    def _keep_alive(self, lease: LeaseId) -> None:
        self._begin()
        self.state.find_lease(lease)


@breaks("KEEP-2")
class KeepsAnythingAlive(Mutant):
    def _keep_alive(self, lease: LeaseId) -> None:
        with suppress(LeaseNotFound):
            super()._keep_alive(lease)


@breaks("REVOKE-2")
class WritesEmptyRevocations(Mutant):
    def _revoke(self, lease: LeaseId) -> None:
        before = self.state.revision
        super()._revoke(lease)
        if self.state.revision == before:
            self._write((("revoked", b"", None),))


@breaks("REVOKE-3")
class RefusesUnknownRevocations(Mutant):
    def _revoke(self, lease: LeaseId) -> None:
        self._begin()
        self.state.find_lease(lease)
        super()._revoke(lease)


# Watches.


class ChangesWhatIsGiven(Mutant):
    def given(self, changes: tuple[Change, ...]) -> Sequence[Change]:
        return changes

    async def next_batch(self, watcher, /) -> WatchBatch:  # type: ignore[no-untyped-def] # as the overridden
        batch = await super().next_batch(watcher)
        return WatchBatch(tuple(self.given(batch.changes)), batch.revision)


@breaks("WATCH-1")
class WatchesEverything(Mutant):
    def _watch(self, prefix, since):  # type: ignore[no-untyped-def] # as the overridden
        super()._watch(prefix, since)
        return super()._watch("", since)


@breaks("WATCH-2")
class GivesTheLastOfEachKey(ChangesWhatIsGiven):
    def given(self, changes: tuple[Change, ...]) -> Sequence[Change]:
        return [*{change.key: change for change in changes}.values()]


@breaks("WATCH-2")
class GivesNoLeases(ChangesWhatIsGiven):
    def given(self, changes: tuple[Change, ...]) -> Sequence[Change]:
        return [
            change if change.entry is None else evolve(change, entry=evolve(change.entry, lease=None))
            for change in changes
        ]


@breaks("WATCH-3")
class EndsLeasesOnlyWhenCalled(Mutant):
    def __init__(self, state: MemoryState) -> None:
        super().__init__(state)
        self._hub._earliest_end = lambda: inf


@breaks("WATCH-4")
class EndsWatchesInSilence(Mutant):
    async def next_batch(self, watcher, /) -> WatchBatch:  # type: ignore[no-untyped-def] # as the overridden
        try:
            return await super().next_batch(watcher)
        except StoreClosed:
            raise StopAsyncIteration from None


@breaks("WATCH-5")
class LosesWhatWasCancelled(Mutant):
    async def next_batch(self, watcher, /) -> WatchBatch:  # type: ignore[no-untyped-def] # as the overridden
        try:
            return await super().next_batch(watcher)
        except trio.Cancelled:
            watcher.pending = []
            raise


@breaks("WATCH-6")
class GivesThreeChangesAtATime(Mutant):
    async def next_batch(self, watcher, /) -> WatchBatch:  # type: ignore[no-untyped-def] # as the overridden
        batch = await super().next_batch(watcher)
        watcher.pending = [*batch.changes[3:]]
        return evolve(batch, changes=batch.changes[:3])


@breaks("WATCH-7")
class SortsChanges(ChangesWhatIsGiven):
    def given(self, changes: tuple[Change, ...]) -> Sequence[Change]:
        return sorted(changes, key=lambda change: (change.revision, change.key))


@breaks("WATCH-8")
class ClaimsMoreThanItGave(Mutant):
    async def next_batch(self, watcher, /) -> WatchBatch:  # type: ignore[no-untyped-def] # as the overridden
        batch = await super().next_batch(watcher)
        first = batch.changes[0].revision
        watcher.pending = [change for change in batch.changes if change.revision > first]
        return evolve(batch, changes=tuple(change for change in batch.changes if change.revision == first))


@breaks("WATCH-9")
class WaitsForReaders(Mutant):
    async def put(self, *args, **options) -> Revision:  # type: ignore[no-untyped-def] # as the overridden
        while any(len(watcher.pending) > 100 for watchers in self._hub._by_prefix.values() for watcher in watchers):
            await trio.sleep(10)
        return await super().put(*args, **options)


@breaks("WATCH-10")
class LeavesAGap(Mutant):
    def _compact(self, revision: Revision) -> None:
        for watchers in self._hub._by_prefix.values():
            for watcher in watchers:
                watcher.pending = [change for change in watcher.pending if change.revision > revision]
        super()._compact(revision)


@breaks("WATCH-11")
class BeginsAtTheFirstWait(Mutant):
    async def next_batch(self, watcher, /) -> WatchBatch:  # type: ignore[no-untyped-def] # as the overridden
        if watcher not in self._begun:
            self._begun.append(watcher)
            watcher.pending = []
        return await super().next_batch(watcher)

    def __init__(self, state: MemoryState) -> None:
        super().__init__(state)
        self._begun: list[object] = []


@breaks("WATCH-12")
class GivesTheRevisionItself(Mutant):
    def _watch(self, prefix, since):  # type: ignore[no-untyped-def] # as the overridden
        return super()._watch(prefix, since and Revision(since - 1))


@breaks("WATCH-13")
class AlwaysBeginsNow(Mutant):
    def _watch(self, prefix, since):  # type: ignore[no-untyped-def] # as the overridden
        self._readable(since)
        return super()._watch(prefix, None)


@breaks("WATCH-14")
class WatchesAnything(Mutant):
    def _watch(self, prefix, since):  # type: ignore[no-untyped-def] # as the overridden
        return super()._watch(prefix[:3].replace("\0", "").encode(errors="replace").decode(), since)


# Compacting, closing, opening anew.


@breaks("COMPACT-1")
class ForgetsWhatIsOld(Mutant):
    def _compact(self, revision: Revision) -> None:
        super()._compact(revision)
        for key in [key for key, entry in self.state.entries.items() if entry.modified < revision]:
            del self.state.entries[key]
            self.state._keys.remove(key)


@breaks("COMPACT-2")
class NeverForgets(Mutant):
    def _compact(self, revision: Revision) -> None:
        self._begin()
        self.state.check_happened(revision)


@breaks("COMPACT-3")
class ForgetsOneMore(Mutant):
    def _compact(self, revision: Revision) -> None:
        super()._compact(revision)
        super()._compact(min(Revision(revision + 1), self.state.revision))


@breaks("COMPACT-3")
class CutsOffAllWhoAreBehind(Mutant):
    def _compact(self, revision: Revision) -> None:
        super()._compact(revision)
        for watchers in self._hub._by_prefix.values():
            for watcher in watchers:
                watcher.lost = watcher.lost or self._places.get(id(watcher), Revision(0)) < revision

    async def next_batch(self, watcher, /) -> WatchBatch:  # type: ignore[no-untyped-def] # as the overridden
        batch = await super().next_batch(watcher)
        self._places[id(watcher)] = batch.revision
        return batch

    def __init__(self, state: MemoryState) -> None:
        super().__init__(state)
        self._places: dict[int, Revision] = {}


@breaks("COMPACT-4")
class RefusesRevisionsBelowZero(Mutant):
    def _compact(self, revision: Revision) -> None:
        if revision < 0:
            raise InvalidRequest("no revision")
        super()._compact(revision)


@breaks("COMPACT-4")
class RefusesToCompactAgain(Mutant):
    def _compact(self, revision: Revision) -> None:
        self._begin()
        self._readable(revision)
        super()._compact(revision)


@breaks("COMPACT-5")
class CompactsToTheFuture(Mutant):
    def _compact(self, revision: Revision) -> None:
        super()._compact(min(revision, self.state.revision))


@breaks("CLOSE-1")
class NeverCloses(Mutant):
    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@breaks("CLOSE-2")
class ClosesOnce(Mutant):
    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise StoreClosed("closed already")
        self._close()


@breaks("CLOSE-3")
class ClosesBeforeItHasWritten(Mutant):
    def _close(self) -> None:
        super()._close()
        if self.state.entries:
            self.state.write([([*self.state.entries][-1], None, None)])


@breaks("DURABLE-1")
class OpensWithoutTheLast(Mutant):
    def __init__(self, state: MemoryState) -> None:
        super().__init__(state)
        if state.entries:
            key = [*state.entries][-1]
            del state.entries[key]
            state._keys.remove(key)


@breaks("DURABLE-2")
class OpensWithHistoryMixedUp(Mutant):
    def __init__(self, state: MemoryState) -> None:
        super().__init__(state)
        state._history.reverse()


@breaks("DURABLE-3")
class CountsLeasesAnew(Mutant):
    def __init__(self, state: MemoryState) -> None:
        super().__init__(state)
        state._last_lease = len(state.leases)


# Cancellation, checkpoints and concurrency.


@breaks("CANCEL-1")
class ReadsWithEffect(Mutant):
    async def get(self, key: str, /, *, at_revision: Revision | None = None) -> ReadResult:
        try:
            return await super().get(key, at_revision=at_revision)
        except trio.Cancelled:
            self._write((("read", b"", None),))
            raise


@breaks("CANCEL-2")
class LeavesHalfWhenCancelled(Mutant):
    async def _call(self, method, effect, *args, lie=None):  # type: ignore[no-untyped-def] # as the overridden
        try:
            return await super()._call(method, effect, *args, lie=lie)
        except trio.Cancelled:
            if method in ("put", "delete", "transaction", "revoke"):
                self._write((("half", b"", None),))
            raise


@breaks("CANCEL-3")
class WritesLater(Mutant):
    """A cancelled write stays in a queue, and is done after the next one."""

    def __init__(self, state: MemoryState) -> None:
        super().__init__(state)
        self._queued: Callable[[], Revision] | None = None

    async def put(
        self, key: str, value: bytes, /, *, expected: Revision | None = None, lease: LeaseId | None = None
    ) -> Revision:
        try:
            revision = await super().put(key, value, expected=expected, lease=lease)
        except trio.Cancelled:
            self._queued = lambda: self._put(key, value, None, lease)
            raise
        if self._queued is not None:
            self._queued()
        return revision


@breaks("CANCEL-4")
class StaysOpenWhenCancelled(Mutant):
    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        await super().aclose()


@breaks("CHECKPOINT-1")
class GetsAtOnce(Mutant):
    async def get(self, key: str, /, *, at_revision: Revision | None = None) -> ReadResult:
        return self._get(key, at_revision)


@breaks("CHECKPOINT-1")
class RefusesAtOnce(Mutant):
    async def put(
        self, key: str, value: bytes, /, *, expected: Revision | None = None, lease: LeaseId | None = None
    ) -> Revision:
        if expected is not None:
            self._compare(key, expected)
        return await super().put(key, value, expected=expected, lease=lease)


@breaks("CONCURRENCY-1")
class ComparesAndThenWrites(Mutant):
    async def put(
        self, key: str, value: bytes, /, *, expected: Revision | None = None, lease: LeaseId | None = None
    ) -> Revision:
        if expected is not None:
            self._compare(key, expected)
        return await super().put(key, value, lease=lease)


@breaks("CONCURRENCY-1")
class SaysTheLatestRevision(Mutant):
    async def put(
        self, key: str, value: bytes, /, *, expected: Revision | None = None, lease: LeaseId | None = None
    ) -> Revision:
        await super().put(key, value, expected=expected, lease=lease)
        await trio.lowlevel.checkpoint()
        return self.state.revision


@breaks("CONCURRENCY-1")
class GivesEachChangeToOne(Mutant):
    async def next_batch(self, watcher, /) -> WatchBatch:  # type: ignore[no-untyped-def] # as the overridden
        batch = await super().next_batch(watcher)
        for other in self._hub._by_prefix[watcher.prefix]:
            other.pending = []
        return batch


def test_every_clause_has_a_mutant() -> None:
    assert sorted(MUTANTS) == sorted(KIT.clauses)


@pytest.mark.parametrize(
    ("clause", "mutant"),
    [
        pytest.param(clause, mutant, id=f"mutant-{clause}-{mutant.__name__}")
        for clause, mutants in MUTANTS.items()
        for mutant in mutants
    ],
)
def test_the_kit_finds_out(clause: str, mutant: type[Mutant]) -> None:
    assert killers(clause, mutant.__name__)


@asynccontextmanager
async def open_nothing() -> AsyncIterator[StoreUnderTest]:
    yield StoreUnderTest(MemoryStore())


@pytest.mark.parametrize(
    ("clause", "check_id"),
    [pytest.param(check.check.clause, check.id, id=f"mutant-of-{check.id}") for check in checks(open_nothing)],
)
def test_every_check_fails_for_a_mutant_of_its_clause(clause: str, check_id: str) -> None:
    assert any(check_id in killers(clause, mutant.__name__) for mutant in MUTANTS[clause])


@pytest.mark.slow
def test_the_store_that_mutants_derive_from_passes() -> None:
    assert not [check for clause in KIT.clauses for check in killers(clause, Mutant.__name__)]
