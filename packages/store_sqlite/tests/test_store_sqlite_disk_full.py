"""A full disk refuses writes whole, loses nothing, and is no trouble once there is room."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio
from orchestrion.store_interface import Entry, LeaseNotFound, Put, Revision, StoreFull
from orchestrion.store_sqlite import SqliteStore, open_store

pytestmark = pytest.mark.engine  # mounts a small file system

BALLAST_BYTES = 700_000
VALUE_BYTES = 20_000


class Disk:
    """A small file system with something on it that can be taken off."""

    def __init__(self, place: Path) -> None:
        self.state_dir = place / "state"
        self._ballast = place / "ballast"

    def load(self) -> None:
        self._ballast.write_bytes(b"x" * BALLAST_BYTES)

    def unload(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def disk(small_disk: Path) -> Disk:
    disk = Disk(small_disk)
    disk.load()
    return disk


async def fill(store: SqliteStore) -> int:
    """Put new keys until the disk is full; return how many there are."""
    for n in range(1000):
        try:
            assert await store.put(f"/fill/{n:04}", random.Random(n).randbytes(VALUE_BYTES)) == n + 1
        except StoreFull:
            return n
    pytest.fail("the disk never filled up")


async def entries(store: SqliteStore) -> tuple[Entry, ...]:
    return (await store.list("")).entries


async def test_a_write_without_room_is_refused_whole_and_clearly(disk: Disk) -> None:
    async with open_store(disk.state_dir) as store:
        count = await fill(store)
        before = await entries(store)
        assert len(before) == count
        with pytest.raises(StoreFull, match=r"no room on .*state\.db; nothing was written") as caught:
            await store.transaction([], [Put(f"/new/{n}", b"y" * VALUE_BYTES) for n in range(10)])
        assert "make room" in caught.value.remedy
        assert await entries(store) == before
        assert (await store.list("")).revision == count


async def test_writes_go_on_where_they_stopped_once_there_is_room(disk: Disk) -> None:
    async with open_store(disk.state_dir) as store, store.watch("/new/") as batches:
        count = await fill(store)
        disk.unload()
        assert await store.put("/new/a", b"y" * VALUE_BYTES) == count + 1
        assert [change.revision for change in (await anext(batches)).changes] == [count + 1]


async def test_what_was_acknowledged_is_there_after_opening_anew_and_nothing_else(disk: Disk) -> None:
    async with open_store(disk.state_dir) as store:
        count = await fill(store)
        before = await entries(store)
    disk.unload()
    async with open_store(disk.state_dir) as store:
        assert await entries(store) == before
        assert await store.put("/new/a", b"z") == count + 1


async def test_of_many_writers_each_is_told_the_truth(disk: Disk) -> None:
    told: dict[str, Revision | None] = {}
    async with open_store(disk.state_dir) as store:

        async def writer(n: int) -> None:
            for m in range(20):
                key = f"/{n}/{m}"
                try:
                    told[key] = await store.put(key, random.Random(key).randbytes(VALUE_BYTES // 4))
                except StoreFull:
                    told[key] = None

        async with trio.open_nursery() as nursery:
            for n in range(16):
                nursery.start_soon(writer, n)
        acknowledged = {key: revision for key, revision in told.items() if revision is not None}
        assert 0 < len(acknowledged) < len(told)
        assert {entry.key: entry.modified for entry in await entries(store)} == acknowledged
    disk.unload()
    async with open_store(disk.state_dir) as store:
        assert {entry.key: entry.modified for entry in await entries(store)} == acknowledged
        assert sorted(acknowledged.values()) == list(range(1, len(acknowledged) + 1))


async def test_a_lease_that_could_not_be_ended_is_ended_once_there_is_room(
    disk: Disk, mock_clock: trio.testing.MockClock
) -> None:
    async with open_store(disk.state_dir) as store, store.watch("/leased") as batches:
        lease = await store.grant_lease(10.0)
        await store.put("/leased", b"1", lease=lease)
        await anext(batches)
        for n in range(1000):
            try:
                await store.put(f"/fill/{n:04}", random.Random(n).randbytes(VALUE_BYTES if n < 100 else 1))
            except StoreFull:
                if n >= 100:
                    break
        mock_clock.jump(10.0)
        looks = store._leases._looks
        while not looks or looks[0][0] <= trio.current_time():
            await trio.lowlevel.checkpoint()
        assert (await store.get("/leased")).entry is not None
        with pytest.raises(LeaseNotFound):
            await store.keep_alive(lease)
        disk.unload()
        mock_clock.jump(1.0)
        (change,) = (await anext(batches)).changes
        assert change.entry is None


async def test_no_store_is_made_where_there_is_no_room_for_it(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        (small_disk / "ballast").write_bytes(b"x" * 3_000_000)
    with pytest.raises(StoreFull):
        async with open_store(small_disk / "state"):
            pass
    assert list((small_disk / "state").iterdir()) == []
    (small_disk / "ballast").unlink()
    async with open_store(small_disk / "state") as store:
        assert await store.put("a", b"1") == 1
