"""Checks of history, compaction, closing, durability, concurrency, errors and checkpoints."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.conformance_kit import Runner
from orchestrion.store_interface import (
    ABSENT,
    MIN_HISTORY,
    ChangeKind,
    Compare,
    Delete,
    FutureRevision,
    InvalidRequest,
    LeaseId,
    LeaseNotFound,
    Put,
    Revision,
    RevisionCompacted,
    RevisionConflict,
    StateStore,
    StoreClosed,
)

from ._strategies import few_keys
from ._strategies import values as any_values
from ._subject import KIT, StoreUnderTest, changes_until, contents, enter, next_changes, refused, revision_of, values

NO_LEASE = LeaseId(987_654_321)


def every_call(store: StateStore, lease: LeaseId) -> dict[str, Callable[[], Awaitable[object]]]:
    """Return a call of each method, by name, which succeeds on an open store."""
    return {
        "get": lambda: store.get("a"),
        "list": lambda: store.list(""),
        "put": lambda: store.put("a", b"v"),
        "delete": lambda: store.delete("a"),
        "delete of nothing": lambda: store.delete("none"),
        "transaction": lambda: store.transaction([], [Put("a", b"v")]),
        "empty transaction": lambda: store.transaction([], []),
        "grant_lease": lambda: store.grant_lease(60),
        "keep_alive": lambda: store.keep_alive(lease),
        "revoke": lambda: store.revoke(lease),
        "revoke of nothing": lambda: store.revoke(NO_LEASE),
        "watch": lambda: enter(store, ""),
        "compact": lambda: store.compact(Revision(0)),
    }


@KIT.clause("HISTORY-1", "the-last-revisions-are-kept")
async def history(t: StoreUnderTest) -> None:
    async def write(number: int) -> None:
        for _ in range(MIN_HISTORY // 50):
            await t.store.put(f"{number}", b"v")

    first = await t.store.put("first", b"1")
    await t.store.put("first", b"2")
    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(write, number)
    await t.store.put("first", b"3")
    oldest = Revision(await revision_of(t.store) - MIN_HISTORY + 1)
    assert oldest > first
    entry = (await t.store.get("first", at_revision=oldest)).entry
    assert entry is not None
    assert entry.value == b"2"
    async with t.store.watch("", since=oldest) as batches:
        changes = await changes_until(batches, Revision(oldest + MIN_HISTORY - 1))
    assert [change.revision for change in changes] == [*range(oldest + 1, oldest + MIN_HISTORY)]


@KIT.clause("COMPACT-1", "what-is-current-stays")
async def compact_current(t: StoreUnderTest) -> None:
    lease = await t.store.grant_lease(60)
    await t.store.put("old", b"1")
    await t.store.put("leased", b"2", lease=lease)
    await t.store.put("gone", b"3")
    await t.store.delete("gone")
    before = await contents(t.store)
    for revision in range(5):
        await t.store.compact(Revision(revision))
        assert await contents(t.store) == before
    assert await t.store.put("old", b"4", expected=Revision(1)) == 5
    await t.store.revoke(lease)
    assert await values(t.store) == {"old": b"4"}


@KIT.clause("COMPACT-2", "what-is-below-is-refused")
async def compact_below(t: StoreUnderTest) -> None:
    for _ in range(5):
        await t.store.put("a", b"v")
    await t.store.compact(Revision(4))
    for at in range(4):
        await refused(RevisionCompacted, t.store.get("a", at_revision=Revision(at)))
        await refused(RevisionCompacted, t.store.list("", at_revision=Revision(at)))
        await refused(RevisionCompacted, enter(t.store, "", since=Revision(at)))


@KIT.clause("COMPACT-3", "what-is-at-and-above-works")
async def compact_above(t: StoreUnderTest) -> None:
    for number in range(5):
        await t.store.put("a", str(number).encode())
    await t.store.delete("a")
    await t.store.compact(Revision(3))
    held = [(await t.store.get("a", at_revision=Revision(at))).entry for at in (3, 4, 5, 6)]
    assert [entry and entry.value for entry in held] == [b"2", b"3", b"4", None]
    listed = [await contents(t.store, at_revision=Revision(at)) for at in (3, 6)]
    assert [[entry.value for entry in entries] for entries in listed] == [[b"2"], []]
    async with t.store.watch("", since=Revision(3)) as batches:
        assert [change.revision for change in await changes_until(batches, Revision(6))] == [4, 5, 6]


@KIT.clause("COMPACT-3", "an-open-watch-that-was-given-all-of-its-own-goes-on")
async def compact_beside_watch(t: StoreUnderTest) -> None:
    await t.store.put("a/1", b"v")
    async with t.store.watch("a/", since=Revision(0)) as told, t.store.watch("a/") as idle:
        await changes_until(told, Revision(1))
        for _ in range(4):
            await t.store.put("b", b"v")
        await t.store.compact(Revision(5))
        await t.store.put("a/2", b"v")
        for what, batches in (("was given all", told), ("had nothing to give", idle)):
            try:
                changes = await changes_until(batches, Revision(6))
            except RevisionCompacted as err:
                msg = (
                    f"a watch of 'a/' that {what} up to revision 1 was cut off by compacting to 5, though nothing "
                    "under 'a/' changed at 2 to 5: only changes under its prefix that it was not given cut a watch off"
                )
                raise AssertionError(msg) from err
            assert [(change.key, change.revision) for change in changes] == [("a/2", 6)], changes


@KIT.clause("COMPACT-4", "compacting-again-or-to-less-does-nothing")
async def compact_again(t: StoreUnderTest) -> None:
    for _ in range(4):
        await t.store.put("a", b"v")
    for revision in (3, 3, 1, 0, 2, -1):
        await t.store.compact(Revision(revision))
        await t.store.get("a", at_revision=Revision(3))
        await refused(RevisionCompacted, t.store.get("a", at_revision=Revision(2)))
    assert await revision_of(t.store) == 4


@KIT.clause("COMPACT-5", "compacting-to-what-is-to-come-is-refused")
async def compact_future(t: StoreUnderTest) -> None:
    await refused(FutureRevision, t.store.compact(Revision(1)))
    await t.store.put("a", b"v")
    await refused(FutureRevision, t.store.compact(Revision(2)))
    assert (await t.store.get("a", at_revision=Revision(0))).entry is None
    await t.store.compact(Revision(1))


@KIT.clause("CLOSE-1", "every-call-after-closing-is-refused")
async def closed(t: StoreUnderTest) -> None:
    await t.store.put("a", b"v")
    lease = await t.store.grant_lease(60)
    await t.store.aclose()
    for call in every_call(t.store, lease).values():
        await refused(StoreClosed, call())


@KIT.clause("CLOSE-1", "calls-that-closing-overtakes-succeed-or-are-refused")
async def overtaken(t: StoreUnderTest) -> None:
    outcomes: list[bool] = []

    async def write(number: int) -> None:
        try:
            await t.store.put(f"{number}", b"v")
        except StoreClosed:
            outcomes.append(False)
        else:
            outcomes.append(True)

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(write, number)
        nursery.start_soon(t.store.aclose)
    assert len(outcomes) == 20
    await refused(StoreClosed, t.store.get("0"))


@KIT.clause("CLOSE-2", "closing-twice-succeeds")
async def close_twice(t: StoreUnderTest) -> None:
    for _ in range(3):
        await t.store.aclose()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(t.store.aclose)
        nursery.start_soon(t.store.aclose)
    await refused(StoreClosed, t.store.get("a"))


@KIT.clause("CLOSE-3", "what-was-acknowledged-before-closing-stays", needs=("reopen",))
async def close_keeps(t: StoreUnderTest) -> None:
    assert t.reopen is not None
    acknowledged: dict[str, bytes] = {}

    async def write(number: int) -> None:
        try:
            await t.store.put(f"{number}", b"v")
        except StoreClosed:
            return
        acknowledged[f"{number}"] = b"v"

    for number in range(20, 24):
        await write(number)
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(write, number)
        nursery.start_soon(t.store.aclose)
    assert await values(await t.reopen()) == acknowledged


@KIT.clause("DURABLE-1", "what-was-acknowledged-is-there-after-opening-anew", needs=("reopen",))
async def durable(t: StoreUnderTest) -> None:
    assert t.reopen is not None
    store = t.store
    lease = await store.grant_lease(3_600)
    await store.put("a", b"1", lease=lease)
    await store.put("\U0001f600", b"")
    await store.transaction([], [Put("b", bytes(range(256))), Put("gone", b"v")])
    await store.delete("gone")
    for _ in range(2):
        before = await contents(store)
        revision = await revision_of(store)
        store = await t.reopen()
        assert await contents(store) == before
        assert await revision_of(store) == revision
        assert await store.put("a", b"2", lease=lease) == revision + 1


@KIT.property_clause("DURABLE-1", "any-writes-are-there-after-opening-anew", needs=("reopen",))
def any_durable(run: Runner[StoreUnderTest]) -> None:
    async def check(t: StoreUnderTest, transactions: list[dict[str, bytes | None]]) -> None:
        assert t.reopen is not None
        store = t.store
        for touched in transactions:
            await store.transaction([], [Delete(k) if v is None else Put(k, v) for k, v in touched.items()])
            before = await contents(store), await revision_of(store)
            store = await t.reopen()
            assert (await contents(store), await revision_of(store)) == before

    @run.settings()
    @given(st.lists(st.dictionaries(few_keys(), st.none() | any_values(), min_size=1, max_size=4), max_size=4))
    def any_transactions(transactions: list[dict[str, bytes | None]]) -> None:
        run(check, transactions)

    any_transactions()


@KIT.clause("DURABLE-2", "the-history-after-opening-anew-is-right-or-refused", needs=("reopen",))
async def durable_history(t: StoreUnderTest) -> None:
    assert t.reopen is not None
    for number in range(6):
        await t.store.put("ab"[number % 2], str(number).encode())
    await t.store.delete("a")
    before = [await contents(t.store, at_revision=Revision(at)) for at in range(8)]
    store = await t.reopen()
    for at in range(8):
        try:
            assert await contents(store, at_revision=Revision(at)) == before[at]
        except RevisionCompacted:
            assert at < 7
    for after in range(7):
        try:
            async with store.watch("", since=Revision(after)) as batches:
                changes = await changes_until(batches, Revision(7))
        except RevisionCompacted:
            continue
        assert [change.revision for change in changes] == [*range(after + 1, 8)]
        assert changes[-1].kind is ChangeKind.DELETE
    async with store.watch("", since=Revision(7)) as batches:
        await store.put("c", b"v")
        assert [change.key for change in await changes_until(batches, Revision(8))] == ["c"]


@KIT.clause("DURABLE-3", "no-lease-id-is-used-again-after-opening-anew", needs=("reopen",))
async def durable_leases(t: StoreUnderTest) -> None:
    assert t.reopen is not None
    store = t.store
    ids = [await store.grant_lease(3_600) for _ in range(3)]
    await store.revoke(ids[-1])
    for _ in range(2):
        store = await t.reopen()
        ids.append(await store.grant_lease(3_600))
    assert len(set(ids)) == len(ids)


@KIT.clause("CONCURRENCY-1", "writers-at-once-lose-no-update")
async def writers(t: StoreUnderTest) -> None:
    async def count() -> None:
        done = 0
        while done < 10:
            entry = (await t.store.get("count")).entry
            expected = ABSENT if entry is None else entry.modified
            number = 0 if entry is None else int(entry.value)
            try:
                await t.store.put("count", str(number + 1).encode(), expected=expected)
            except RevisionConflict:
                continue
            done += 1

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(count)
    assert await values(t.store) == {"count": b"40"}
    assert await revision_of(t.store) == 40


@KIT.clause("CONCURRENCY-1", "of-many-who-expect-absence-one-succeeds")
async def race(t: StoreUnderTest) -> None:
    winners: list[bytes] = []

    async def take(number: int) -> None:
        value = str(number).encode()
        try:
            if number % 2:
                await t.store.put("a", value, expected=ABSENT)
            else:
                await t.store.transaction([Compare("a", ABSENT)], [Put("a", value)])
        except RevisionConflict:
            return
        winners.append(value)

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(take, number)
    assert [*(await values(t.store)).values()] == winners
    assert len(winners) == 1


@KIT.clause("CONCURRENCY-1", "writers-at-once-get-different-revisions")
async def ordered(t: StoreUnderTest) -> None:
    revisions: list[int] = []

    async def write(number: int) -> None:
        revisions.extend([await t.store.put(f"{number}/{key}", b"v") for key in range(10)])

    async with t.store.watch("") as batches:
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(write, number)
        assert sorted(revisions) == [*range(1, 51)]
        assert [change.revision for change in await changes_until(batches, Revision(50))] == [*range(1, 51)]


@KIT.clause("CONCURRENCY-1", "many-watchers-each-see-all-of-theirs")
async def many_watchers(t: StoreUnderTest) -> None:
    async def follow(prefix: str, count: int, task_status: trio.TaskStatus[None]) -> None:
        seen: list[str] = []
        async with t.store.watch(prefix) as batches:
            task_status.started()
            while len(seen) < count:
                seen += [change.key for change in await next_changes(batches)]
        assert seen == [f"{number % 5}/{number}" for number in range(50) if f"{number % 5}/".startswith(prefix)]

    async with trio.open_nursery() as nursery:
        for number in range(5):
            for _ in range(6):
                await nursery.start(follow, f"{number}/", 10)
        for _ in range(6):
            await nursery.start(follow, "", 50)
        for number in range(50):
            await t.store.put(f"{number % 5}/{number}", b"v")


@KIT.clause("ERROR-1", "a-call-that-raises-changes-nothing")
async def errors(t: StoreUnderTest) -> None:
    lease = await t.store.grant_lease(60)
    await t.store.put("a", b"1", lease=lease)
    await t.store.put("b", b"2")
    before = await contents(t.store)
    refusals: list[tuple[type[RevisionConflict | LeaseNotFound | InvalidRequest], Callable[[], Awaitable[object]]]] = [
        (RevisionConflict, lambda: t.store.put("a", b"3", expected=ABSENT)),
        (RevisionConflict, lambda: t.store.put("new", b"3", expected=Revision(1))),
        (RevisionConflict, lambda: t.store.delete("a", expected=Revision(2))),
        (LeaseNotFound, lambda: t.store.put("a", b"3", lease=NO_LEASE)),
        (LeaseNotFound, lambda: t.store.transaction([], [Put("a", b"3"), Delete("b"), Put("c", b"3", NO_LEASE)])),
        (RevisionConflict, lambda: t.store.transaction([Compare("b", ABSENT)], [Put("a", b"3"), Delete("b")])),
        (InvalidRequest, lambda: t.store.transaction([], [Put("a", b"3"), Delete("b"), Put("", b"3")])),
        (InvalidRequest, lambda: t.store.grant_lease(0)),
        (LeaseNotFound, lambda: t.store.keep_alive(NO_LEASE)),
        (FutureRevision, lambda: t.store.compact(Revision(3))),
    ]
    async with t.store.watch("") as batches:
        for error, call in refusals:
            await refused(error, call())
            assert await contents(t.store) == before
            assert await revision_of(t.store) == 2
        assert (await t.store.get("a", at_revision=Revision(0))).entry is None
        await t.store.put("last", b"v")
        assert [change.key for change in await changes_until(batches, Revision(3))] == ["last"]
    await t.store.revoke(lease)
    assert [entry.key for entry in await contents(t.store)] == ["b", "last"]


@KIT.clause("ERROR-2", "what-the-arguments-show-comes-before-being-closed")
async def invalid_before_closed(t: StoreUnderTest) -> None:
    await t.store.aclose()
    calls: tuple[Callable[[], Awaitable[object]], ...] = (
        lambda: t.store.get(""),
        lambda: t.store.list("", limit=0),
        lambda: t.store.put("", b"v"),
        lambda: t.store.delete("a\0"),
        lambda: t.store.transaction([], [Delete("a"), Delete("a")]),
        lambda: t.store.grant_lease(0),
        lambda: enter(t.store, "a\0"),
    )
    for call in calls:
        await refused(InvalidRequest, call())


@KIT.clause("ERROR-2", "being-closed-comes-before-what-only-the-state-shows")
async def closed_before_the_rest(t: StoreUnderTest) -> None:
    await t.store.put("a", b"v")
    await t.store.compact(Revision(1))
    await t.store.aclose()
    calls: tuple[Callable[[], Awaitable[object]], ...] = (
        lambda: t.store.get("a", at_revision=Revision(9)),
        lambda: t.store.list("", at_revision=Revision(0)),
        lambda: enter(t.store, "", since=Revision(9)),
        lambda: t.store.compact(Revision(9)),
        lambda: t.store.put("a", b"v", expected=ABSENT, lease=NO_LEASE),
        lambda: t.store.keep_alive(NO_LEASE),
    )
    for call in calls:
        await refused(StoreClosed, call())


@KIT.clause("ERROR-2", "a-conflict-comes-before-a-lease-that-is-not-there")
async def conflict_before_lease(t: StoreUnderTest) -> None:
    await t.store.put("a", b"v")
    ended = await t.store.grant_lease(60)
    await t.store.revoke(ended)
    for lease in (NO_LEASE, ended):
        await refused(RevisionConflict, t.store.put("a", b"v", expected=ABSENT, lease=lease))
        await refused(RevisionConflict, t.store.transaction([Compare("a", ABSENT)], [Put("b", b"v", lease)]))
        await refused(LeaseNotFound, t.store.put("a", b"v", expected=Revision(1), lease=lease))


@KIT.clause("CHECKPOINT-1", "every-call-is-a-checkpoint")
async def checkpoints(t: StoreUnderTest) -> None:
    await t.store.put("a", b"v")
    lease = await t.store.grant_lease(60)
    for call in every_call(t.store, lease).values():
        with trio.testing.assert_checkpoints():
            await call()
    async with t.store.watch("", since=Revision(0)) as batches:
        with trio.testing.assert_checkpoints():
            await anext(batches)
    with trio.testing.assert_checkpoints():
        await t.store.aclose()
    with trio.testing.assert_checkpoints():
        await t.store.aclose()


@KIT.clause("CHECKPOINT-1", "every-call-that-raises-is-a-checkpoint")
async def raising_checkpoints(t: StoreUnderTest) -> None:
    await t.store.put("a", b"v")
    for call in (
        lambda: refused(RevisionConflict, t.store.put("a", b"v", expected=ABSENT)),
        lambda: refused(RevisionConflict, t.store.delete("a", expected=ABSENT)),
        lambda: refused(RevisionConflict, t.store.transaction([Compare("a", ABSENT)], [])),
        lambda: refused(LeaseNotFound, t.store.put("a", b"v", lease=NO_LEASE)),
        lambda: refused(LeaseNotFound, t.store.keep_alive(NO_LEASE)),
    ):
        with trio.testing.assert_checkpoints():
            await call()
    lease = await t.store.grant_lease(60)
    await t.store.aclose()
    for closed_call in every_call(t.store, lease).values():
        with trio.testing.assert_checkpoints():
            await refused(StoreClosed, closed_call())
