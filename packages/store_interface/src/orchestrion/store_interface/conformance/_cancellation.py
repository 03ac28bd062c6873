"""Checks that cancel each call at each of its checkpoints, and then hold it to the promised word."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from attrs import define, field
from orchestrion.conformance_kit import Runner, cancellation_sweep
from orchestrion.store_interface import (
    ABSENT,
    Change,
    Compare,
    Delete,
    LeaseId,
    Put,
    Revision,
    RevisionConflict,
    StateStore,
    StoreClosed,
    WatchBatch,
)

from ._subject import KIT, StoreUnderTest, changes_until, contents, enter, refused, revision_of, values

BEFORE = {"a": b"1", "b": b"2", "leased": b"3"}
LEASE_TTL = 3_600


async def prepare(t: StoreUnderTest) -> None:
    """Put BEFORE, at revisions 1 to 3."""
    lease = await t.store.grant_lease(LEASE_TTL)
    await t.store.put("a", b"1")
    await t.store.put("b", b"2")
    await t.store.put("leased", b"3", lease=lease)


async def lease_of(store: StateStore) -> LeaseId:
    """Return the lease that `prepare` granted."""
    entry = (await store.get("leased")).entry
    assert entry is not None
    assert entry.lease is not None
    return entry.lease


def sweep_write(
    run: Runner[StoreUnderTest], write: Callable[[StateStore], Awaitable[object]], after: dict[str, bytes]
) -> None:
    """Sweep a write, which turns BEFORE into `after` entirely or not at all, and what watches say of it."""

    async def operation(t: StoreUnderTest) -> None:
        await write(t.store)

    async def verify(t: StoreUnderTest, cancelled: bool) -> None:
        now, revision = await values(t.store), await revision_of(t.store)
        assert (now, revision) in ([(BEFORE, 3), (after, 4)] if cancelled else [(after, 4)])
        last = await t.store.put("last", b"v")
        assert last == revision + 1
        async with t.store.watch("", since=Revision(3)) as batches:
            changed = {change.key for change in await changes_until(batches, last)}
        assert changed == {"last"} | {key for key in BEFORE | after if BEFORE.get(key) != now.get(key)}

    cancellation_sweep(run, operation, verify, prepare=prepare)


@KIT.property_clause("CANCEL-1", "a-cancelled-read-has-no-effect")
def cancelled_reads(run: Runner[StoreUnderTest]) -> None:
    async def verify(t: StoreUnderTest, cancelled: bool) -> None:
        del cancelled
        assert (await values(t.store), await revision_of(t.store)) == (BEFORE, 3)
        assert await t.store.put("last", b"v") == 4

    async def get(t: StoreUnderTest) -> None:
        await t.store.get("a")

    async def list_(t: StoreUnderTest) -> None:
        await contents(t.store)

    async def watch(t: StoreUnderTest) -> None:
        await enter(t.store, "")

    for operation in (get, list_, watch):
        cancellation_sweep(run, operation, verify, prepare=prepare)


@KIT.property_clause("CANCEL-2", "a-cancelled-put-has-happened-entirely-or-not-at-all")
def cancelled_put(run: Runner[StoreUnderTest]) -> None:
    sweep_write(run, lambda store: store.put("a", b"new"), BEFORE | {"a": b"new"})
    sweep_write(run, lambda store: store.put("new", b"new"), BEFORE | {"new": b"new"})


@KIT.property_clause("CANCEL-2", "a-cancelled-deletion-has-happened-entirely-or-not-at-all")
def cancelled_delete(run: Runner[StoreUnderTest]) -> None:
    sweep_write(run, lambda store: store.delete("a"), {"b": b"2", "leased": b"3"})


@KIT.property_clause("CANCEL-2", "a-cancelled-transaction-has-happened-entirely-or-not-at-all")
def cancelled_transaction(run: Runner[StoreUnderTest]) -> None:
    sweep_write(
        run,
        lambda store: store.transaction([Compare("a", Revision(1))], [Put("new", b"4"), Delete("a"), Put("b", b"5")]),
        {"b": b"5", "leased": b"3", "new": b"4"},
    )


@KIT.property_clause("CANCEL-2", "a-cancelled-revocation-has-happened-entirely-or-not-at-all")
def cancelled_revoke(run: Runner[StoreUnderTest]) -> None:
    async def revoke(store: StateStore) -> None:
        await store.revoke(await lease_of(store))

    sweep_write(run, revoke, {"a": b"1", "b": b"2"})


@KIT.property_clause("CANCEL-3", "a-cancelled-write-is-repeated-safely")
def repeated(run: Runner[StoreUnderTest]) -> None:
    def sweep(write: Callable[[StateStore], Awaitable[object]], after: dict[str, bytes]) -> None:
        async def operation(t: StoreUnderTest) -> None:
            await write(t.store)

        async def verify(t: StoreUnderTest, cancelled: bool) -> None:
            if cancelled:
                with suppress(RevisionConflict):  # then it had happened
                    await write(t.store)
            else:
                await refused(RevisionConflict, write(t.store))
            assert (await values(t.store), await revision_of(t.store)) == (after, 4)

        cancellation_sweep(run, operation, verify, prepare=prepare)

    sweep(lambda store: store.put("new", b"4", expected=ABSENT), BEFORE | {"new": b"4"})
    sweep(lambda store: store.put("a", b"4", expected=Revision(1)), BEFORE | {"a": b"4"})
    sweep(lambda store: store.delete("a", expected=Revision(1)), {"b": b"2", "leased": b"3"})
    sweep(
        lambda store: store.transaction([Compare("a", Revision(1))], [Put("a", b"4"), Delete("b")]),
        {"a": b"4", "leased": b"3"},
    )


@KIT.property_clause("CANCEL-4", "a-cancelled-closing-has-closed")
def cancelled_close(run: Runner[StoreUnderTest]) -> None:
    async def operation(t: StoreUnderTest) -> None:
        await t.store.aclose()

    async def verify(t: StoreUnderTest, cancelled: bool) -> None:
        del cancelled
        await refused(StoreClosed, t.store.get("a"))
        await refused(StoreClosed, t.store.put("a", b"v"))
        await t.store.aclose()

    cancellation_sweep(run, operation, verify, prepare=prepare)


@define
class _Watched:
    store: StateStore
    batches: AsyncIterator[WatchBatch]
    seen: list[Change] = field(factory=list)


@KIT.property_clause("WATCH-5", "a-wait-cancelled-anywhere-loses-nothing")
def cancelled_next(run: Runner[StoreUnderTest]) -> None:
    @asynccontextmanager
    async def watched() -> AsyncIterator[_Watched]:
        async with run.factory() as subject, subject.store.watch("") as batches:
            yield _Watched(subject.store, batches)

    async def write(watched: _Watched) -> None:
        await watched.store.put("a", b"1")
        await watched.store.transaction([], [Put("b", b"2"), Put("c", b"3")])

    async def operation(watched: _Watched) -> None:
        watched.seen += (await anext(watched.batches)).changes

    async def verify(watched: _Watched, cancelled: bool) -> None:
        del cancelled
        last = await watched.store.put("last", b"v")
        watched.seen += await changes_until(watched.batches, last)
        assert [change.key for change in watched.seen] == ["a", "b", "c", "last"]

    runner = Runner(watched, run.clock, run.examples, run.deadline_seconds, run.shrink)
    cancellation_sweep(runner, operation, verify, prepare=write)
