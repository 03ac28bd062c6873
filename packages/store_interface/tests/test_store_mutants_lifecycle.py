"""Stores that are wrong about their past, their end and their tasks: each fails the clause that it breaks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from orchestrion.mocks import MemoryState
from orchestrion.store_interface import (
    InvalidRequest,
    LeaseId,
    ReadResult,
    Revision,
    StoreClosed,
    WatchBatch,
)

from .store_mutants import Mutant, Mutants, failed_checks

MUTANTS = Mutants()


@MUTANTS.breaks("COMPACT-1")
class ForgetsWhatIsOld(Mutant):
    def _compact(self, revision: Revision) -> None:
        super()._compact(revision)
        for key in [key for key, entry in self.state.entries.items() if entry.modified < revision]:
            del self.state.entries[key]
            self.state._keys.remove(key)


@MUTANTS.breaks("COMPACT-2")
class NeverForgets(Mutant):
    def _compact(self, revision: Revision) -> None:
        self._begin()
        self.state.check_happened(revision)


@MUTANTS.breaks("COMPACT-3")
class ForgetsOneMore(Mutant):
    def _compact(self, revision: Revision) -> None:
        super()._compact(revision)
        super()._compact(min(Revision(revision + 1), self.state.revision))


@MUTANTS.breaks("COMPACT-3")
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


@MUTANTS.breaks("COMPACT-4")
class RefusesRevisionsBelowZero(Mutant):
    def _compact(self, revision: Revision) -> None:
        if revision < 0:
            raise InvalidRequest("no revision")
        super()._compact(revision)


@MUTANTS.breaks("COMPACT-4")
class RefusesToCompactAgain(Mutant):
    def _compact(self, revision: Revision) -> None:
        self._begin()
        self._readable(revision)
        super()._compact(revision)


@MUTANTS.breaks("COMPACT-5")
class CompactsToTheFuture(Mutant):
    def _compact(self, revision: Revision) -> None:
        super()._compact(min(revision, self.state.revision))


@MUTANTS.breaks("CLOSE-1")
class NeverCloses(Mutant):
    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@MUTANTS.breaks("CLOSE-2")
class ClosesOnce(Mutant):
    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise StoreClosed("closed already")
        self._close()


@MUTANTS.breaks("CLOSE-3")
class ClosesBeforeItHasWritten(Mutant):
    def _close(self) -> None:
        super()._close()
        if self.state.entries:
            self.state.write([([*self.state.entries][-1], None, None)])


@MUTANTS.breaks("DURABLE-1")
class OpensWithoutTheLast(Mutant):
    def __init__(self, state: MemoryState) -> None:
        super().__init__(state)
        if state.entries:
            key = [*state.entries][-1]
            del state.entries[key]
            state._keys.remove(key)


@MUTANTS.breaks("DURABLE-2")
class OpensWithHistoryMixedUp(Mutant):
    def __init__(self, state: MemoryState) -> None:
        super().__init__(state)
        state._history.reverse()


@MUTANTS.breaks("DURABLE-3")
class CountsLeasesAnew(Mutant):
    def __init__(self, state: MemoryState) -> None:
        super().__init__(state)
        state._last_lease = len(state.leases)


@MUTANTS.breaks("CANCEL-1")
class ReadsWithEffect(Mutant):
    async def get(self, key: str, /, *, at_revision: Revision | None = None) -> ReadResult:
        try:
            return await super().get(key, at_revision=at_revision)
        except trio.Cancelled:
            self._write((("read", b"", None),))
            raise


@MUTANTS.breaks("CANCEL-2")
class LeavesHalfWhenCancelled(Mutant):
    async def _call(self, method, effect, *args, lie=None):  # type: ignore[no-untyped-def] # as the overridden
        try:
            return await super()._call(method, effect, *args, lie=lie)
        except trio.Cancelled:
            if method in ("put", "delete", "transaction", "revoke"):
                self._write((("half", b"", None),))
            raise


@MUTANTS.breaks("CANCEL-3")
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


@MUTANTS.breaks("CANCEL-4")
class StaysOpenWhenCancelled(Mutant):
    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        await super().aclose()


@MUTANTS.breaks("CHECKPOINT-1")
class GetsAtOnce(Mutant):
    async def get(self, key: str, /, *, at_revision: Revision | None = None) -> ReadResult:
        return self._get(key, at_revision)


@MUTANTS.breaks("CHECKPOINT-1")
class RefusesAtOnce(Mutant):
    async def put(
        self, key: str, value: bytes, /, *, expected: Revision | None = None, lease: LeaseId | None = None
    ) -> Revision:
        if expected is not None:
            self._compare(key, expected)
        return await super().put(key, value, expected=expected, lease=lease)


@MUTANTS.breaks("CONCURRENCY-1")
class ComparesAndThenWrites(Mutant):
    async def put(
        self, key: str, value: bytes, /, *, expected: Revision | None = None, lease: LeaseId | None = None
    ) -> Revision:
        if expected is not None:
            self._compare(key, expected)
        return await super().put(key, value, lease=lease)


@MUTANTS.breaks("CONCURRENCY-1")
class SaysTheLatestRevision(Mutant):
    async def put(
        self, key: str, value: bytes, /, *, expected: Revision | None = None, lease: LeaseId | None = None
    ) -> Revision:
        await super().put(key, value, expected=expected, lease=lease)
        await trio.lowlevel.checkpoint()
        return self.state.revision


@MUTANTS.breaks("CONCURRENCY-1")
class GivesEachChangeToOne(Mutant):
    async def next_batch(self, watcher, /) -> WatchBatch:  # type: ignore[no-untyped-def] # as the overridden
        batch = await super().next_batch(watcher)
        for other in self._hub._by_prefix[watcher.prefix]:
            other.pending = []
        return batch


@pytest.mark.parametrize(("clause", "mutant"), MUTANTS.parameters())
def test_the_kit_finds_out(clause: str, mutant: type[Mutant]) -> None:
    assert failed_checks(clause, mutant)
