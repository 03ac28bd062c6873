"""Checks of leases. All hold on a real clock too: what a check can't be sure of in time, it does not ask."""

from __future__ import annotations

from math import inf, nan

import trio
from orchestrion.store_interface import (
    MAX_LEASE_SECONDS,
    MIN_LEASE_SECONDS,
    ChangeKind,
    InvalidRequest,
    LeaseId,
    LeaseNotFound,
    Put,
    StateStore,
)

from ._subject import KIT, StoreUnderTest, changes_until, contents, on_another_clock, refused, revision_of, values

TTL = 1.5
LATE = 1.001
"""What a lease may live beyond its length, and a moment."""


async def assert_kept(store: StateStore, key: str, /, *, until: float) -> None:
    """Assert that a key is there at several moments before `until`, which is TTL after now or less."""
    for moment in (until - 0.8 * TTL, until - 0.4 * TTL, until - 0.001):
        await trio.sleep_until(moment)
        entry = (await store.get(key)).entry
        # On a real clock the read may have taken so long that its result says nothing.
        early = until - trio.current_time()
        assert entry is not None or early <= 0, (
            f"key {key!r} is gone {early:.3f} s before its lease may end{on_another_clock()}"
        )


async def assert_gone(store: StateStore, key: str, /, *, after: float) -> None:
    """Wait until a key is gone, and assert that it was a second after `after` at the latest."""
    while True:
        begun = trio.current_time()
        if (await store.get(key)).entry is None:
            return
        assert begun < after + LATE, (
            f"key {key!r} is still there {begun - after:.3f} s after its lease should have ended; a lease ends at the "
            f"latest one second late{on_another_clock()}"
        )
        await trio.sleep_until(min(begun + 0.05, after + LATE))


@KIT.clause("LEASE-1", "a-lease-never-ends-early")
async def not_early(t: StoreUnderTest) -> None:
    begun = trio.current_time()
    lease = await t.store.grant_lease(TTL)
    await t.store.put("a", b"v", lease=lease)
    await assert_kept(t.store, "a", until=begun + TTL)


@KIT.clause("LEASE-2", "a-lease-ends-a-second-late-at-most")
async def not_late(t: StoreUnderTest) -> None:
    lease = await t.store.grant_lease(MIN_LEASE_SECONDS)
    granted = trio.current_time()
    revision = await t.store.put("a", b"v", lease=lease)
    await t.store.put("b", b"v")
    await assert_gone(t.store, "a", after=granted + MIN_LEASE_SECONDS)
    assert await values(t.store) == {"b": b"v"}
    assert await revision_of(t.store) == revision + 2


@KIT.clause("LEASE-3", "a-leases-keys-go-in-one-revision-in-order")
async def end_at_once(t: StoreUnderTest) -> None:
    lease = await t.store.grant_lease(MIN_LEASE_SECONDS)
    for key in ("b", "\U0001f600", "a/1", "\uffff", "a"):
        await t.store.put(key, b"v", lease=lease)
    await t.store.put("stays", b"v")
    async with t.store.watch("") as batches:
        await assert_gone(t.store, "a", after=trio.current_time() + MIN_LEASE_SECONDS)
        assert await revision_of(t.store) == 7
        changes = await changes_until(batches, (await t.store.get("stays")).revision)
    assert [(change.kind, change.key, change.revision) for change in changes] == [
        (ChangeKind.DELETE, key, 7) for key in ("a", "a/1", "b", "\uffff", "\U0001f600")
    ]


@KIT.clause("LEASE-3", "keys-that-left-a-lease-outlive-it")
async def moved_keys(t: StoreUnderTest) -> None:
    short = await t.store.grant_lease(MIN_LEASE_SECONDS)
    long = await t.store.grant_lease(60)
    for key in ("freed", "moved", "deleted", "kept"):
        await t.store.put(key, b"v", lease=short)
    await t.store.put("freed", b"v")
    await t.store.transaction([], [Put("moved", b"v", long)])
    await t.store.delete("deleted")
    await t.store.put("deleted", b"again")
    await assert_gone(t.store, "kept", after=trio.current_time() + MIN_LEASE_SECONDS)
    assert [entry.key for entry in await contents(t.store)] == ["deleted", "freed", "moved"]


@KIT.clause("LEASE-4", "a-lease-starts-again-when-the-store-is-opened-anew", needs=("reopen",))
async def restart(t: StoreUnderTest) -> None:
    assert t.reopen is not None
    lease = await t.store.grant_lease(TTL)
    await t.store.put("a", b"v", lease=lease)
    await trio.sleep(0.7 * TTL)
    begun = trio.current_time()
    store = await t.reopen()
    opened = trio.current_time()
    await assert_kept(store, "a", until=begun + TTL)
    await assert_gone(store, "a", after=opened + TTL)
    await refused(LeaseNotFound, store.keep_alive(lease))


@KIT.clause("LEASE-4", "a-lease-is-kept-alive-and-revoked-after-opening-anew", needs=("reopen",))
async def lease_after_restart(t: StoreUnderTest) -> None:
    assert t.reopen is not None
    lease = await t.store.grant_lease(60)
    await t.store.put("a", b"v", lease=lease)
    store = await t.reopen()
    await store.keep_alive(lease)
    await store.put("b", b"v", lease=lease)
    assert [entry.lease for entry in await contents(store)] == [lease, lease]
    await store.revoke(lease)
    assert await contents(store) == ()


@KIT.clause("LEASE-5", "granting-and-keeping-alive-write-no-revision")
async def no_revision(t: StoreUnderTest) -> None:
    first = await t.store.put("a", b"v")
    async with t.store.watch("") as batches:
        lease = await t.store.grant_lease(60)
        await t.store.keep_alive(lease)
        assert await revision_of(t.store) == first
        second = await t.store.put("b", b"v")
        assert [change.key for change in await changes_until(batches, second)] == ["b"]
    assert second == first + 1


@KIT.clause("LEASE-6", "a-leases-id-is-used-once")
async def unique_ids(t: StoreUnderTest) -> None:
    ids: list[LeaseId] = []
    for number in range(20):
        ids.append(await t.store.grant_lease(60))
        if number % 2:
            await t.store.revoke(ids[number // 2])
    assert len(set(ids)) == len(ids)
    assert all(lease > 0 for lease in ids)


@KIT.clause("LEASE-7", "lengths-outside-the-range-are-refused")
async def bad_lengths(t: StoreUnderTest) -> None:
    for ttl in (0, -1, MIN_LEASE_SECONDS - 0.001, MAX_LEASE_SECONDS + 0.001, inf, -inf, nan):
        await refused(InvalidRequest, t.store.grant_lease(ttl))
    for ttl in (MIN_LEASE_SECONDS, MAX_LEASE_SECONDS):
        assert await t.store.grant_lease(ttl) > 0


@KIT.clause("KEEP-1", "keeping-alive-starts-the-length-anew")
async def keep(t: StoreUnderTest) -> None:
    lease = await t.store.grant_lease(TTL)
    await t.store.put("a", b"v", lease=lease)
    await trio.sleep(0.7 * TTL)
    begun = trio.current_time()
    await t.store.keep_alive(lease)
    kept = trio.current_time()
    await assert_kept(t.store, "a", until=begun + TTL)
    await assert_gone(t.store, "a", after=kept + TTL)


@KIT.clause("KEEP-2", "what-does-not-exist-or-has-ended-is-not-kept-alive")
async def keep_nothing(t: StoreUnderTest) -> None:
    await refused(LeaseNotFound, t.store.keep_alive(LeaseId(987_654_321)))
    lease = await t.store.grant_lease(60)
    await t.store.revoke(lease)
    await refused(LeaseNotFound, t.store.keep_alive(lease))
    lease = await t.store.grant_lease(MIN_LEASE_SECONDS)
    await t.store.put("a", b"v", lease=lease)
    await assert_gone(t.store, "a", after=trio.current_time() + MIN_LEASE_SECONDS)
    await refused(LeaseNotFound, t.store.keep_alive(lease))
    await refused(LeaseNotFound, t.store.put("a", b"v", lease=lease))


@KIT.clause("PUT-6", "a-key-under-a-lease-goes-with-it")
async def put_lease(t: StoreUnderTest) -> None:
    lease = await t.store.grant_lease(60)
    other = await t.store.grant_lease(60)
    await t.store.put("a", b"v")
    await t.store.put("a", b"v", lease=lease)
    await t.store.transaction([], [Put("b", b"v", lease)])
    await t.store.put("c", b"v", lease=other)
    assert [entry.lease for entry in await contents(t.store)] == [lease, lease, other]
    await t.store.revoke(lease)
    assert [entry.key for entry in await contents(t.store)] == ["c"]


@KIT.clause("PUT-7", "a-put-without-a-lease-takes-the-key-off-it")
async def put_off_lease(t: StoreUnderTest) -> None:
    lease = await t.store.grant_lease(60)
    await t.store.put("a", b"v", lease=lease)
    await t.store.put("b", b"v", lease=lease)
    await t.store.put("a", b"v")
    await t.store.transaction([], [Put("b", b"v")])
    assert [entry.lease for entry in await contents(t.store)] == [None, None]
    await t.store.revoke(lease)
    assert [entry.key for entry in await contents(t.store)] == ["a", "b"]


@KIT.clause("REVOKE-1", "revoking-removes-the-keys-in-one-revision-in-order")
async def revoke(t: StoreUnderTest) -> None:
    lease = await t.store.grant_lease(60)
    for key in ("b", "\U0001f600", "a/1", "\uffff", "a"):
        await t.store.put(key, b"v", lease=lease)
    before = await t.store.put("stays", b"v")
    async with t.store.watch("") as batches:
        await t.store.revoke(lease)
        assert await values(t.store) == {"stays": b"v"}
        changes = await changes_until(batches, await revision_of(t.store))
    assert [(change.kind, change.key, change.revision) for change in changes] == [
        (ChangeKind.DELETE, key, before + 1) for key in ("a", "a/1", "b", "\uffff", "\U0001f600")
    ]


@KIT.clause("REVOKE-2", "revoking-a-lease-without-keys-writes-nothing")
async def revoke_empty(t: StoreUnderTest) -> None:
    never = await t.store.grant_lease(60)
    left = await t.store.grant_lease(60)
    await t.store.put("a", b"v", lease=left)
    before = await t.store.delete("a")
    await t.store.revoke(never)
    await t.store.revoke(left)
    assert await revision_of(t.store) == before
    await refused(LeaseNotFound, t.store.put("a", b"v", lease=left))


@KIT.clause("REVOKE-3", "revoking-what-does-not-exist-succeeds")
async def revoke_unknown(t: StoreUnderTest) -> None:
    await t.store.put("a", b"v")
    await t.store.revoke(LeaseId(987_654_321))
    lease = await t.store.grant_lease(60)
    for _ in range(3):
        await t.store.revoke(lease)
    assert await revision_of(t.store) == 1
