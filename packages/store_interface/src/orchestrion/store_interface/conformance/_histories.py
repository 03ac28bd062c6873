"""Histories against a plain model: what is read, watched, leased and compacted must be what the model says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import trio
from attrs import define, field
from hypothesis import given, note
from orchestrion.conformance_kit import Runner
from orchestrion.store_interface import (
    Change,
    Compare,
    Delete,
    Entry,
    FutureRevision,
    LeaseId,
    LeaseNotFound,
    Put,
    Revision,
    RevisionCompacted,
    RevisionConflict,
    StateStore,
    WatchBatch,
)

from ._model import Held, Model
from ._strategies import (
    CompactStep,
    LeaseStep,
    ReadStep,
    SleepStep,
    Step,
    WatchStep,
    WriteStep,
    histories,
)
from ._subject import KIT, StoreUnderTest, changes_until, enter, on_another_clock, refused


def held(entry: Entry | None) -> Held | None:
    """Return what the model says instead of an entry."""
    return None if entry is None else (entry.value, entry.created, entry.modified, entry.lease)


def happened(change: Change) -> tuple[int, str, Held | None]:
    """Return what the model says instead of a change."""
    return change.revision, change.key, held(change.entry)


@define
class _Watch:
    prefix: str
    since: int
    batches: AsyncIterator[WatchBatch]
    seen: list[Change] = field(factory=list)


@define
class _History:
    """One run of a history: does each step to the store and to the model, and compares."""

    store: StateStore
    stack: AsyncExitStack
    model: Model = field(factory=Model)
    leases: list[LeaseId] = field(factory=list)
    watches: list[_Watch] = field(factory=list)

    async def do(self, step: Step) -> None:
        match step:
            case WriteStep():
                await self.write(step)
            case ReadStep():
                await self.read(step)
            case LeaseStep():
                await self.lease(step)
            case SleepStep():
                await self.sleep(step.seconds)
            case CompactStep():
                await self.compact(step)
            case WatchStep():
                await self.watch(step)

    async def write(self, step: WriteStep) -> None:
        leases = [self.leases[n] if n is not None and n < len(self.leases) else None for n in step.leases]
        operations: list[tuple[str, bytes | None, int | None]] = [
            (key, value, lease) for (key, value), lease in zip(step.operations, leases, strict=True)
        ]
        (first, value), lease = step.operations[0], leases[0]
        modified = self.model.modified(first)
        expected = {None: None, "right": modified, "wrong": modified + 1, "absent": 0}[step.expect]
        call = (
            self.store.transaction(
                [] if expected is None else [Compare(first, Revision(expected))],
                [Delete(k) if v is None else Put(k, v, x) for (k, v), x in zip(step.operations, leases, strict=True)],
            )
            if step.how == "transaction"
            else self.store.delete(first, expected=None if expected is None else Revision(expected))
            if value is None
            else self.store.put(first, value, expected=None if expected is None else Revision(expected), lease=lease)
        )
        conflict = expected is not None and expected != modified
        ended = any(v is not None and x is not None and x not in self.model.deadlines for _, v, x in operations)
        if conflict:
            err = await refused(RevisionConflict, call)
            assert (err.key, err.expected, err.actual) == (first, expected, modified)
        elif ended:
            await refused(LeaseNotFound, call)
        else:
            assert await call == self.model.write(operations)

    async def read(self, step: ReadStep) -> None:
        at = Revision(max(0, self.model.revision - step.back))
        if at > self.model.revision:
            await refused(FutureRevision, self.store.get(step.key, at_revision=at))
            await refused(FutureRevision, self.store.list(step.prefix, at_revision=at))
            return
        if at < self.model.oldest:
            await refused(RevisionCompacted, self.store.get(step.key, at_revision=at))
            await refused(RevisionCompacted, self.store.list(step.prefix, at_revision=at))
            return
        got = await self.store.get(step.key, at_revision=None if step.back == 0 else at)
        assert (held(got.entry), got.revision) == (self.model.states[at].get(step.key), at)
        page = await self.store.list(
            step.prefix,
            limit=step.limit,
            start_after=step.start_after,
            at_revision=None if step.back == 0 else at,
        )
        entries = [(entry.key, held(entry)) for entry in page.entries]
        assert ((entries, page.more), page.revision) == (
            self.model.page(step.prefix, at, step.limit, step.start_after),
            at,
        )

    async def lease(self, step: LeaseStep) -> None:
        if step.what == "grant":
            if len(self.leases) < 3 and trio.current_time() + step.ttl_seconds not in self.model.deadlines.values():
                lease = await self.store.grant_lease(step.ttl_seconds)
                assert lease > 0
                assert lease not in self.leases
                self.leases.append(lease)
                self.model.ttls[lease] = step.ttl_seconds
                self.model.deadlines[lease] = trio.current_time() + step.ttl_seconds
            return
        if step.number >= len(self.leases):
            return
        lease = self.leases[step.number]
        if step.what == "revoke":
            await self.store.revoke(lease)
            self.model.end_lease(lease)
        elif lease not in self.model.deadlines:
            await refused(LeaseNotFound, self.store.keep_alive(lease))
        elif trio.current_time() + self.model.ttls[lease] not in self.model.deadlines.values():
            await self.store.keep_alive(lease)
            self.model.deadlines[lease] = trio.current_time() + self.model.ttls[lease]

    async def sleep(self, seconds: int) -> None:
        # Leases end at odd seconds and a half. The times looked at are even, so never within the second in which a
        # lease may have ended or not; and leases that end at the same time are not granted, so their order is known.
        for _ in range(0, seconds, 2):
            await trio.sleep(2)
            for lease, deadline in sorted(self.model.deadlines.items(), key=lambda item: item[1]):
                if deadline + 1 < trio.current_time():
                    self.model.end_lease(lease)
            result = await self.store.list("")
            entries = [(entry.key, held(entry)) for entry in result.entries]
            expected = (self.model.page("", self.model.revision)[0], self.model.revision)
            assert (entries, result.revision) == expected, (
                f"at {trio.current_time()} there should be {expected}, and are {(entries, result.revision)}; "
                f"leases end at {self.model.deadlines}{on_another_clock()}"
            )

    async def compact(self, step: CompactStep) -> None:
        to = Revision(max(0, self.model.revision - step.back))
        if to > self.model.revision:
            await refused(FutureRevision, self.store.compact(to))
            return
        for watch in self.watches:
            await self.catch_up(watch)
        await self.store.compact(to)
        self.model.oldest = max(self.model.oldest, to)

    async def watch(self, step: WatchStep) -> None:
        since = Revision(max(0, self.model.revision - step.back))
        if since > self.model.revision:
            await refused(FutureRevision, enter(self.store, step.prefix, since=since))
        elif since < self.model.oldest:
            await refused(RevisionCompacted, enter(self.store, step.prefix, since=since))
        else:
            batches = await self.stack.enter_async_context(
                self.store.watch(step.prefix, since=None if step.back == 0 else since)
            )
            self.watches.append(_Watch(step.prefix, since, batches))

    async def catch_up(self, watch: _Watch) -> None:
        """Read what a watch has to give, and compare all that it gave."""
        expected = self.model.history(watch.prefix, watch.since)
        if len(watch.seen) < len(expected):
            given = len(watch.seen)
            try:
                watch.seen += await changes_until(watch.batches, Revision(expected[-1][0]))
            except RevisionCompacted as err:
                msg = (
                    f"the watch of {watch.prefix!r} since {watch.since} was cut off, with {err.oldest} as the oldest "
                    f"revision kept: it had been given all {given} changes under its prefix before that was compacted, "
                    f"and has yet to give {expected[given:]}, which are later. Only changes under its prefix that are "
                    f"forgotten before they are given cut a watch off"
                )
                raise AssertionError(msg) from err
        found = [happened(change) for change in watch.seen]
        assert found == expected, (
            f"the watch of {watch.prefix!r} since {watch.since} should have given {expected}, and gave {found}"
        )

    async def finish(self) -> None:
        """Compare all that can be read, and all that was watched up to a last write that each watch sees."""
        for at in range(self.model.oldest, self.model.revision + 1):
            result = await self.store.list("", at_revision=Revision(at))
            assert [(entry.key, held(entry)) for entry in result.entries] == self.model.page("", at)[0]
        for watch in self.watches:
            key = f"{watch.prefix}last"
            assert await self.store.put(key, b"") == self.model.write([(key, b"", None)])
        for watch in self.watches:
            await self.catch_up(watch)


async def play(subject: StoreUnderTest, history: list[Step]) -> None:
    """Do a history and compare all along."""
    async with AsyncExitStack() as stack:
        run = _History(subject.store, stack)
        if any(isinstance(step, SleepStep) for step in history):
            await trio.sleep(-trio.current_time() % 2)
        for step in history:
            note(f"revision {run.model.revision}, then {step}")
            await run.do(step)
        await run.finish()


def _play_any(
    run: Runner[StoreUnderTest], *kinds: type[Step], begin: tuple[Step, ...] = (), end: tuple[Step, ...] = ()
) -> None:
    @run.settings()
    @given(histories(*kinds, time=run.clock == "mock"))
    def any_history(history: list[Step]) -> None:
        run(play, [*begin, *history, *end])

    any_history()


@KIT.property_clause("REV-1", "a-history-of-writes-leaves-what-a-plain-dict-has")
def writes(run: Runner[StoreUnderTest]) -> None:
    _play_any(run, WriteStep)


@KIT.property_clause("GET-3", "a-history-can-be-read-at-each-of-its-revisions")
def reads(run: Runner[StoreUnderTest]) -> None:
    _play_any(run, WriteStep, ReadStep)


@KIT.property_clause("WATCH-2", "watches-of-a-history-give-what-a-plain-list-has")
def watches(run: Runner[StoreUnderTest]) -> None:
    _play_any(run, WriteStep, WatchStep)


@KIT.property_clause("COMPACT-3", "a-history-with-compactions-keeps-what-a-plain-list-has")
def compactions(run: Runner[StoreUnderTest]) -> None:
    _play_any(run, WriteStep, ReadStep, WatchStep, CompactStep)


@KIT.property_clause("LEASE-3", "a-history-with-leases-leaves-what-a-plain-dict-has")
def leases(run: Runner[StoreUnderTest]) -> None:
    timed = run.clock == "mock"
    grants = tuple(LeaseStep("grant", number, 8.5 + 4 * number if timed else 3_600.5) for number in range(2))
    ends: tuple[Step, ...] = (
        (SleepStep(14),) if timed else (LeaseStep("revoke", 0, 3_600.5), LeaseStep("revoke", 1, 3_600.5))
    )
    _play_any(run, WriteStep, LeaseStep, SleepStep, WatchStep, begin=(*grants, WatchStep("", 0)), end=ends)


@KIT.property_clause("REV-1", "a-history-of-everything-is-that-of-a-plain-model")
def everything(run: Runner[StoreUnderTest]) -> None:
    _play_any(run)
