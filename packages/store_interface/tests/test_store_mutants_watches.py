"""Stores that are wrong about watches: each fails the clause that it breaks."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import pytest
import trio
from attrs import evolve
from orchestrion.mocks import MemoryState
from orchestrion.store_interface import (
    Change,
    Revision,
    StoreClosed,
    WatchBatch,
)

from .store_mutants import Mutant, Mutants, failed_checks

MUTANTS = Mutants()


class ChangesWhatIsGiven(Mutant):
    def given(self, changes: tuple[Change, ...]) -> Sequence[Change]:
        return changes

    async def next_batch(self, watcher, /) -> WatchBatch:  # type: ignore[no-untyped-def] # as the overridden
        batch = await super().next_batch(watcher)
        return WatchBatch(tuple(self.given(batch.changes)), batch.revision)


@MUTANTS.breaks("WATCH-1")
class WatchesEverything(Mutant):
    def _watch(self, prefix, since):  # type: ignore[no-untyped-def] # as the overridden
        super()._watch(prefix, since)
        return super()._watch("", since)


@MUTANTS.breaks("WATCH-2")
class GivesTheLastOfEachKey(ChangesWhatIsGiven):
    def given(self, changes: tuple[Change, ...]) -> Sequence[Change]:
        return [*{change.key: change for change in changes}.values()]


@MUTANTS.breaks("WATCH-2")
class GivesNoLeases(ChangesWhatIsGiven):
    def given(self, changes: tuple[Change, ...]) -> Sequence[Change]:
        return [
            change if change.entry is None else evolve(change, entry=evolve(change.entry, lease=None))
            for change in changes
        ]


@MUTANTS.breaks("WATCH-3")
class EndsLeasesOnlyWhenCalled(Mutant):
    def __init__(self, state: MemoryState) -> None:
        super().__init__(state)
        self._hub._earliest_end = lambda: inf


@MUTANTS.breaks("WATCH-4")
class EndsWatchesInSilence(Mutant):
    async def next_batch(self, watcher, /) -> WatchBatch:  # type: ignore[no-untyped-def] # as the overridden
        try:
            return await super().next_batch(watcher)
        except StoreClosed:
            raise StopAsyncIteration from None


@MUTANTS.breaks("WATCH-5")
class LosesWhatWasCancelled(Mutant):
    async def next_batch(self, watcher, /) -> WatchBatch:  # type: ignore[no-untyped-def] # as the overridden
        try:
            return await super().next_batch(watcher)
        except trio.Cancelled:
            watcher.pending = []
            raise


@MUTANTS.breaks("WATCH-6")
class GivesThreeChangesAtATime(Mutant):
    async def next_batch(self, watcher, /) -> WatchBatch:  # type: ignore[no-untyped-def] # as the overridden
        batch = await super().next_batch(watcher)
        watcher.pending = [*batch.changes[3:]]
        return evolve(batch, changes=batch.changes[:3])


@MUTANTS.breaks("WATCH-7")
class SortsChanges(ChangesWhatIsGiven):
    def given(self, changes: tuple[Change, ...]) -> Sequence[Change]:
        return sorted(changes, key=lambda change: (change.revision, change.key))


@MUTANTS.breaks("WATCH-8")
class ClaimsMoreThanItGave(Mutant):
    async def next_batch(self, watcher, /) -> WatchBatch:  # type: ignore[no-untyped-def] # as the overridden
        batch = await super().next_batch(watcher)
        first = batch.changes[0].revision
        watcher.pending = [change for change in batch.changes if change.revision > first]
        return evolve(batch, changes=tuple(change for change in batch.changes if change.revision == first))


@MUTANTS.breaks("WATCH-9")
class WaitsForReaders(Mutant):
    async def put(self, *args, **options) -> Revision:  # type: ignore[no-untyped-def] # as the overridden
        while any(len(watcher.pending) > 100 for watchers in self._hub._by_prefix.values() for watcher in watchers):
            await trio.sleep(10)
        return await super().put(*args, **options)


@MUTANTS.breaks("WATCH-10")
class LeavesAGap(Mutant):
    def _compact(self, revision: Revision) -> None:
        for watchers in self._hub._by_prefix.values():
            for watcher in watchers:
                watcher.pending = [change for change in watcher.pending if change.revision > revision]
        super()._compact(revision)


@MUTANTS.breaks("WATCH-11")
class BeginsAtTheFirstWait(Mutant):
    async def next_batch(self, watcher, /) -> WatchBatch:  # type: ignore[no-untyped-def] # as the overridden
        if watcher not in self._begun:
            self._begun.append(watcher)
            watcher.pending = []
        return await super().next_batch(watcher)

    def __init__(self, state: MemoryState) -> None:
        super().__init__(state)
        self._begun: list[object] = []


@MUTANTS.breaks("WATCH-12")
class GivesTheRevisionItself(Mutant):
    def _watch(self, prefix, since):  # type: ignore[no-untyped-def] # as the overridden
        return super()._watch(prefix, since and Revision(since - 1))


@MUTANTS.breaks("WATCH-13")
class AlwaysBeginsNow(Mutant):
    def _watch(self, prefix, since):  # type: ignore[no-untyped-def] # as the overridden
        self._readable(since)
        return super()._watch(prefix, None)


@MUTANTS.breaks("WATCH-14")
class WatchesAnything(Mutant):
    def _watch(self, prefix, since):  # type: ignore[no-untyped-def] # as the overridden
        return super()._watch(prefix[:3].replace("\0", "").encode(errors="replace").decode(), since)


@pytest.mark.parametrize(("clause", "mutant"), MUTANTS.parameters())
def test_the_kit_finds_out(clause: str, mutant: type[Mutant]) -> None:
    assert failed_checks(clause, mutant)
