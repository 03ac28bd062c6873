"""Checks of watches."""

from __future__ import annotations

import trio
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.conformance_kit import Runner
from orchestrion.store_interface import (
    MIN_LEASE_SECONDS,
    Change,
    ChangeKind,
    Delete,
    FutureRevision,
    InvalidRequest,
    Operation,
    Put,
    Revision,
    RevisionCompacted,
    StoreClosed,
)

from ._strategies import few_keys
from ._strategies import values as any_values
from ._subject import BAD_TEXTS, KIT, StoreUnderTest, changes_until, enter, next_changes, refused


@KIT.clause("WATCH-1", "a-watch-gives-the-keys-with-the-prefix-and-no-others")
async def only_prefix(t: StoreUnderTest) -> None:
    async with t.store.watch("a/") as batches:
        for key in ("a", "a/", "a0", "a/b/c", "A/b", "b/a/", "%", "a/z"):
            last = await t.store.put(key, b"v")
        changes = await changes_until(batches, last)
    assert [change.key for change in changes] == ["a/", "a/b/c", "a/z"]


@KIT.clause("WATCH-2", "a-change-says-all-about-itself")
async def whole_changes(t: StoreUnderTest) -> None:
    async with t.store.watch("") as batches:
        lease = await t.store.grant_lease(60)
        first = await t.store.put("a", b"1", lease=lease)
        entry = (await t.store.get("a")).entry
        second = await t.store.delete("a")
        changes = await changes_until(batches, second)
    assert changes == [Change(ChangeKind.PUT, "a", entry, first), Change(ChangeKind.DELETE, "a", None, second)]


@KIT.clause("WATCH-3", "those-who-wait-see-a-lease-end-with-nobody-else-calling")
async def watch_lease(t: StoreUnderTest) -> None:
    async def wait(prefix: str, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        with trio.CancelScope() as scope:
            async with t.store.watch(prefix) as batches:
                task_status.started(scope)
                changes = await next_changes(batches)
                assert [(change.kind, change.key) for change in changes] == [(ChangeKind.DELETE, prefix)]

    for key in ("a", "b"):
        await t.store.put(key, b"v", lease=await t.store.grant_lease(MIN_LEASE_SECONDS))
    async with trio.open_nursery() as others:
        leaver: trio.CancelScope = await others.start(wait, "none")
        async with trio.open_nursery() as nursery:
            await nursery.start(wait, "a")
            await nursery.start(wait, "b")
            stayer: trio.CancelScope = await others.start(wait, "nothing")
            await trio.sleep(0.1)
            leaver.cancel()
        stayer.cancel()


@KIT.clause("WATCH-4", "a-watch-ends-when-the-store-is-closed")
async def watch_closed(t: StoreUnderTest) -> None:
    ends: list[type[Exception]] = []

    async def follow(task_status: trio.TaskStatus[None]) -> None:
        async with t.store.watch("") as batches:
            task_status.started()
            ends.extend([type(await refused(StoreClosed, next_changes(batches))) for _ in range(2)])

    async with trio.open_nursery() as nursery:
        await nursery.start(follow)
        await nursery.start(follow)
        await trio.sleep(0.05)
        await t.store.aclose()
    assert ends == [StoreClosed] * 4


@KIT.clause("WATCH-5", "a-wait-that-is-cancelled-loses-nothing")
async def cancelled_wait(t: StoreUnderTest) -> None:
    seen: list[Change] = []
    async with t.store.watch("") as batches:
        for number in range(3):
            with trio.move_on_after(0.05) as scope:
                await next_changes(batches)
            assert scope.cancelled_caught
            revision = await t.store.put(f"{number}", b"v")
            with trio.CancelScope() as scope:
                scope.cancel()
                seen += await next_changes(batches)
            if not seen or seen[-1].revision < revision:
                seen += await changes_until(batches, revision)
    assert [change.key for change in seen] == ["0", "1", "2"]


@KIT.clause("WATCH-6", "a-batch-never-has-a-part-of-a-revision")
async def whole_revisions(t: StoreUnderTest) -> None:
    async with t.store.watch("a") as batches:
        for number in range(4):
            await t.store.transaction([], [Put(f"a{key:03}", b"v") for key in range(100)] + [Put("b", b"v")])
            await t.store.put(f"a{number}", b"v")
        seen: list[int] = []
        while len(seen) < 404:
            given = [change.revision for change in await next_changes(batches)]
            for revision in set(given):
                assert given.count(revision) == (100 if revision % 2 else 1), f"revision {revision} was cut"
            seen += given
    assert seen == [revision for number in range(1, 9) for revision in [number] * (100 if number % 2 else 1)]


@KIT.property_clause("WATCH-6", "any-transactions-are-given-whole")
def any_revisions(run: Runner[StoreUnderTest]) -> None:
    async def check(t: StoreUnderTest, transactions: list[dict[str, bytes]], live: bool) -> None:
        sizes = {number: len(puts) for number, puts in enumerate(transactions, 1)}
        seen: list[int] = []

        async def write() -> None:
            for puts in transactions:
                await t.store.transaction([], [Put(key, value) for key, value in puts.items()])

        async def follow() -> None:
            async with t.store.watch("", since=Revision(0)) as batches:
                while len(seen) < sum(sizes.values()):
                    given = [change.revision for change in await next_changes(batches)]
                    assert all(given.count(revision) == sizes[revision] for revision in given)
                    seen.extend(given)

        if live:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follow)
                nursery.start_soon(write)
        else:
            await write()
            await follow()
        assert seen == sorted(seen)

    @run.settings()
    @given(st.lists(st.dictionaries(few_keys(), any_values(), min_size=1, max_size=5), max_size=6), st.booleans())
    def any_transactions(transactions: list[dict[str, bytes]], live: bool) -> None:
        run(check, transactions, live)

    any_transactions()


@KIT.clause("WATCH-7", "a-revisions-changes-come-in-the-order-of-its-operations")
async def operation_order(t: StoreUnderTest) -> None:
    await t.store.transaction([], [Put("m", b"v"), Put("d", b"v")])
    operations: list[Operation] = [
        Put("z", b"v"),
        Delete("m"),
        Delete("none"),
        Put("a", b"v"),
        Delete("d"),
        Put("k", b"v"),
    ]
    async with t.store.watch("") as live:
        revision = await t.store.transaction([], operations)
        async with t.store.watch("", since=Revision(1)) as late:
            for batches in (live, late):
                changes = await changes_until(batches, revision)
                assert [(change.kind.value, change.key) for change in changes] == [
                    ("put", "z"),
                    ("delete", "m"),
                    ("put", "a"),
                    ("delete", "d"),
                    ("put", "k"),
                ]


@KIT.clause("WATCH-8", "a-batchs-revision-never-falls-and-covers-what-was-given")
async def batch_revisions(t: StoreUnderTest) -> None:
    written: list[int] = []
    seen: list[int] = []
    last = 0
    async with t.store.watch("a") as batches:
        for number in range(100):
            if number < 12:
                revision = await t.store.put("ab"[number % 2], b"v")
                if number % 2 == 0:
                    written.append(revision)
            if number % 4 == 0 or number >= 12:
                batch = await anext(batches)
                seen += [change.revision for change in batch.changes]
                assert batch.revision >= last
                assert seen == [revision for revision in written if revision <= batch.revision]
                last = batch.revision
            if len(seen) == 6:
                break
    assert seen == [1, 3, 5, 7, 9, 11]


@KIT.clause("WATCH-9", "a-reader-that-does-not-read-delays-nobody")
async def slow_reader(t: StoreUnderTest) -> None:
    async with t.store.watch("") as slow, t.store.watch("") as fast:
        for number in range(300):
            revision = await t.store.put(f"{number % 7}", b"v" * 1000)
            assert (await changes_until(fast, revision))[-1].key == f"{number % 7}"
        changes = await changes_until(slow, Revision(300))
    assert [change.revision for change in changes] == [*range(1, 301)]


@KIT.clause("WATCH-10", "a-reader-that-fell-behind-gets-all-or-is-cut-off")
async def cut_off(t: StoreUnderTest) -> None:
    seen: list[int] = []
    async with t.store.watch("") as batches:
        for number in range(20):
            await t.store.put(f"{number % 3}", b"v")
        await t.store.compact(Revision(15))
        await t.store.put("last", b"v")
        try:
            while len(seen) < 21:
                seen += [change.revision for change in await next_changes(batches)]
        except RevisionCompacted:
            assert len(seen) < 15, "cut off from what is kept"
            err = await refused(RevisionCompacted, next_changes(batches))
            assert err.oldest == 15
    assert seen == [*range(1, len(seen) + 1)]


@KIT.clause("WATCH-11", "entering-waits-for-nothing-and-all-that-is-written-then-is-seen")
async def entering(t: StoreUnderTest) -> None:
    await t.store.put("before", b"v")
    async with t.store.watch("") as first:
        await t.store.put("a", b"v")
        async with t.store.watch("") as second:
            await t.store.put("b", b"v")
            assert [change.key for change in await changes_until(second, Revision(3))] == ["b"]
        assert [change.key for change in await changes_until(first, Revision(3))] == ["a", "b"]


@KIT.clause("WATCH-12", "a-watch-gives-the-changes-after-a-revision")
async def since(t: StoreUnderTest) -> None:
    for number in range(1, 6):
        await t.store.put("ab"[number % 2], str(number).encode())
    for after in range(5):
        async with t.store.watch("", since=Revision(after)) as batches:
            changes = await changes_until(batches, Revision(5))
        assert [change.revision for change in changes] == [*range(after + 1, 6)]
        assert [change.entry and change.entry.value for change in changes] == [
            b"12345"[n : n + 1] for n in range(after, 5)
        ]
    async with t.store.watch("", since=Revision(5)) as batches:
        await t.store.delete("a")
        assert [change.revision for change in await changes_until(batches, Revision(6))] == [6]


@KIT.clause("WATCH-13", "listing-and-then-watching-misses-nothing")
async def list_then_watch(t: StoreUnderTest) -> None:
    async def write(number: int) -> None:
        for key in range(10):
            await t.store.put(f"{number}/{key}", b"v")

    async def follow() -> None:
        listed = await t.store.list("")
        seen = {entry.key for entry in listed.entries}
        async with t.store.watch("", since=listed.revision) as batches:
            while len(seen) < 40:
                for change in await next_changes(batches):
                    assert change.key not in seen
                    seen.add(change.key)

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(write, number)
            nursery.start_soon(follow)


@KIT.clause("WATCH-14", "a-bad-prefix-is-refused-on-entering")
async def bad_prefix(t: StoreUnderTest) -> None:
    for prefix in BAD_TEXTS:
        await refused(InvalidRequest, enter(t.store, prefix))


@KIT.clause("WATCH-15", "a-revision-to-come-is-refused-on-entering")
async def future(t: StoreUnderTest) -> None:
    await refused(FutureRevision, enter(t.store, "", since=Revision(1)))
    await t.store.put("a", b"v")
    await enter(t.store, "", since=Revision(1))
    await refused(FutureRevision, enter(t.store, "", since=Revision(2)))


@KIT.clause("WATCH-16", "a-compacted-revision-is-refused-on-entering")
async def compacted(t: StoreUnderTest) -> None:
    for _ in range(4):
        await t.store.put("a", b"v")
    await t.store.compact(Revision(3))
    for after in range(3):
        err = await refused(RevisionCompacted, enter(t.store, "none", since=Revision(after)))
        assert err.oldest == 3
    async with t.store.watch("", since=Revision(3)) as batches:
        assert [change.revision for change in await changes_until(batches, Revision(4))] == [4]
