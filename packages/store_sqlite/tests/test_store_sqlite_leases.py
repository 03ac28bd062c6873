"""Leases last by the clock of the run, and by nothing that is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from orchestrion.store_interface import LeaseNotFound
from orchestrion.store_sqlite import SqliteStore, open_store
from trio.testing import MockClock


async def gone(store: SqliteStore, key: str) -> None:
    """Wait until a key that exists does not."""
    async with store.watch(key) as batches:
        while (await store.get(key)).entry is not None:
            await anext(batches)


async def test_a_lease_ends_with_its_keys_when_its_time_is_over(tmp_path: Path, mock_clock: MockClock) -> None:
    async with open_store(tmp_path) as store:
        lease = await store.grant_lease(30.0)
        await store.put("a", b"1", lease=lease)
        mock_clock.jump(29.9)
        await trio.testing.wait_all_tasks_blocked()
        assert (await store.get("a")).entry is not None
        mock_clock.jump(0.1)
        await gone(store, "a")
        await trio.testing.wait_all_tasks_blocked()
        assert store.statistics().leases == 0
        with pytest.raises(LeaseNotFound):
            await store.put("a", b"1", lease=lease)


async def test_a_short_lease_granted_later_ends_before_a_long_one(tmp_path: Path, mock_clock: MockClock) -> None:
    async with open_store(tmp_path) as store:
        await store.put("long", b"1", lease=await store.grant_lease(100.0))
        await store.put("short", b"1", lease=await store.grant_lease(10.0))
        mock_clock.jump(10.0)
        await gone(store, "short")
        assert (await store.get("long")).entry is not None
        mock_clock.jump(90.0)
        await gone(store, "long")


async def test_keeping_a_lease_alive_prolongs_it_and_writes_nothing(tmp_path: Path, mock_clock: MockClock) -> None:
    async with open_store(tmp_path) as store:
        lease = await store.grant_lease(10.0)
        await store.put("a", b"1", lease=lease)
        before = store.statistics()
        for _ in range(20):
            mock_clock.jump(9.0)
            await store.keep_alive(lease)
        assert store.statistics() == before
        mock_clock.jump(10.0)
        await gone(store, "a")


async def test_many_leases_that_end_at_once_end_in_one_commit(tmp_path: Path, mock_clock: MockClock) -> None:
    async with open_store(tmp_path) as store:
        for n in range(40):
            lease = await store.grant_lease(10.0)
            await store.put(f"/{n:02}", b"1", lease=lease)
        mock_clock.jump(9.0)
        commits = store.statistics().commits
        mock_clock.jump(2.0)
        await gone(store, "/39")
        assert (await store.list("")).entries == ()
        assert store.statistics().revision == 80
        assert store.statistics().commits == commits + 1


async def test_an_idle_store_with_leases_writes_nothing(tmp_path: Path, mock_clock: MockClock) -> None:
    async with open_store(tmp_path) as store:
        lease = await store.grant_lease(86_400.0)
        await store.put("a", b"1", lease=lease)
        before = store.statistics()
        mock_clock.jump(80_000.0)
        await trio.testing.wait_all_tasks_blocked()
        assert store.statistics() == before


async def test_a_lease_starts_at_its_full_length_when_the_store_is_opened_anew(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_store(tmp_path) as store:
        lease = await store.grant_lease(30.0)
        await store.put("a", b"1", lease=lease)
        mock_clock.jump(29.0)
    async with open_store(tmp_path) as store:
        mock_clock.jump(29.0)
        await trio.testing.wait_all_tasks_blocked()
        assert (await store.get("a")).entry is not None
        mock_clock.jump(1.0)
        await gone(store, "a")
    async with open_store(tmp_path) as store:
        assert (await store.get("a")).entry is None
        assert await store.grant_lease(30.0) == lease + 1


async def test_leases_that_were_revoked_early_leave_nothing(tmp_path: Path, mock_clock: MockClock) -> None:
    async with open_store(tmp_path) as store:
        kept = await store.grant_lease(60)
        await store.put("a", b"1", lease=kept)
        for _ in range(300):
            await store.revoke(await store.grant_lease(86400))
        assert len(store._leases._looks) < 100
        async with store.watch("") as batches:
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(60)
            assert (await anext(batches)).changes[0].key == "a"
