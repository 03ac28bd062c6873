"""Closing, cancelling and failing: nobody waits for ever, nothing is left behind, and nobody is told an untruth."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from orchestrion.store_interface import (
    InvalidRequest,
    Put,
    Revision,
    RevisionCompacted,
    StoreClosed,
    StoreUnavailable,
)
from orchestrion.store_sqlite import SqliteStore, open_store


@pytest.fixture(autouse=True)
def no_thread_is_left_behind() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("writer of")] == []


async def test_a_watch_that_waits_ends_when_the_store_is_closed(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store, trio.open_nursery() as nursery:

        async def reader() -> None:
            async with store.watch("") as batches:
                with pytest.raises(StoreClosed):
                    await anext(batches)

        nursery.start_soon(reader)
        await trio.testing.wait_all_tasks_blocked()
        await store.aclose()


async def test_all_who_wait_for_one_watch_are_woken(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store, store.watch("") as batches, trio.open_nursery() as nursery:
        got = []

        async def reader() -> None:
            got.append(await anext(batches))

        nursery.start_soon(reader)
        nursery.start_soon(reader)
        await trio.testing.wait_all_tasks_blocked()
        await store.put("a", b"1")
        await trio.testing.wait_all_tasks_blocked()
        await store.put("b", b"1")
        nursery.cancel_scope.deadline = trio.current_time() + 10
    assert [batch.changes[0].key for batch in got] == ["a", "b"]


async def test_an_iteration_ends_when_its_watch_was_left(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store, trio.open_nursery() as nursery:
        async with store.watch("") as batches:

            async def reader() -> None:
                assert [batch async for batch in batches] == []

            nursery.start_soon(reader)
            await trio.testing.wait_all_tasks_blocked()
        assert store.statistics().watches == 0


async def test_a_write_that_is_refused_by_closing_has_not_happened_and_the_others_have(tmp_path: Path) -> None:
    told: dict[str, Revision | None] = {}
    async with open_store(tmp_path) as store, trio.open_nursery() as nursery:

        async def writer(key: str) -> None:
            try:
                told[key] = await store.put(key, b"1")
            except StoreClosed:
                told[key] = None

        for n in range(100):
            nursery.start_soon(writer, f"/{n}")
        async with store.watch("/") as batches:
            await anext(batches)
            await store.aclose()
    assert len(told) == 100
    async with open_store(tmp_path) as store:
        assert {entry.key: entry.modified for entry in (await store.list("")).entries} == {
            key: revision for key, revision in told.items() if revision is not None
        }


async def test_closing_twice_at_once_waits_for_both(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.put("a", b"1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.aclose)
            nursery.start_soon(store.aclose)
        async with open_store(tmp_path) as other:
            assert (await other.list("")).revision == 1


async def test_a_cancelled_close_has_closed(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.put("a", b"1")
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.aclose()
        assert scope.cancelled_caught
        with pytest.raises(StoreClosed):
            await store.get("a")
    assert [path.name for path in tmp_path.iterdir()] == ["state.db"]


async def test_a_cancelled_body_closes_the_store(tmp_path: Path) -> None:
    with trio.CancelScope() as scope:
        async with open_store(tmp_path) as store:
            await store.put("a", b"1")
            scope.cancel()
            await trio.sleep_forever()
    async with open_store(tmp_path) as store:
        assert (await store.list("")).revision == 1


async def test_a_cancelled_opening_leaves_the_directory_free(tmp_path: Path) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_store(tmp_path):
            pytest.fail("it was cancelled")
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:

        async def opener() -> None:
            async with open_store(tmp_path):
                await trio.sleep_forever()

        nursery.start_soon(opener)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    async with open_store(tmp_path) as store:
        assert await store.put("a", b"1") == 1


async def test_a_write_on_its_way_is_finished_though_it_is_cancelled(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.put, "a", b"1")
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()
                scope.cancel()
        assert (await store.get("a")).entry is not None


class FailingConnection:
    """SQLite, until the disk fails at the end of a commit."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.executemany = connection.executemany
        self.close = connection.close

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, statement: str, *parameters: tuple[object, ...]) -> sqlite3.Cursor:
        if statement == "COMMIT":
            err = sqlite3.OperationalError("disk I/O error")
            err.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise err
        return self._connection.execute(statement, *parameters)


def break_disk(store: SqliteStore) -> None:
    store._file._connection = FailingConnection(store._file._connection)  # type: ignore[assignment]  # as far as used


async def test_after_a_failed_sync_nothing_is_answered_until_the_store_is_opened_anew(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.put("a", b"1")
        async with store.watch("") as batches:
            break_disk(store)
            with pytest.raises(StoreUnavailable, match=r"could not write to .*state\.db") as caught:
                await store.put("b", b"2")
            assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
            assert "open the store again" in caught.value.remedy
            for call in (store.get("a"), store.list(""), store.put("c", b"3"), anext(batches)):
                with pytest.raises(StoreUnavailable):
                    await call
    async with open_store(tmp_path) as store:
        assert (await store.list("")).entries[0].key == "a"
        await store.put("d", b"4")


async def test_a_value_that_is_not_bytes_is_refused_and_does_no_harm(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        with pytest.raises(InvalidRequest, match="of type str; it must be bytes"):
            await store.put("a", "text")  # type: ignore[arg-type]  # what callers without a type checker may do
        with pytest.raises(InvalidRequest, match="of type list"):
            await store.transaction([], [Put("a", [1])])  # type: ignore[arg-type]  # as above
        assert await store.put("a", b"1") == 1


@pytest.mark.parametrize("wrong", ["1", 1.5, None, [1]])
async def test_a_revision_or_lease_that_is_no_whole_number_is_refused_and_does_no_harm(
    tmp_path: Path, wrong: Any
) -> None:
    async with open_store(tmp_path) as store:
        await store.put("a", b"1")
        await store.put("a", b"2")
        for call in (store.compact(wrong), store.revoke(wrong)):
            with pytest.raises(InvalidRequest, match="must be a whole number"):
                await call
        assert await store.put("a", b"3") == 3
    async with open_store(tmp_path) as store:
        assert (await store.list("")).revision == 3


class FailingToShrink(FailingConnection):
    """A disk that is locked just when room is given back, after a commit."""

    def execute(self, statement: str, *parameters: tuple[object, ...]) -> sqlite3.Cursor:
        if statement == "PRAGMA freelist_count":
            err = sqlite3.OperationalError("database is locked")
            err.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise err
        return self._connection.execute(statement, *parameters)


async def test_what_is_on_disk_is_true_whatever_fails_after_it(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        for value in (b"1", b"2"):
            await store.put("a", value)
        store._file._connection = FailingToShrink(store._file._connection)  # type: ignore[assignment]  # as far as used
        await store.compact(Revision(2))
        assert await store.put("a", b"3") == 3
        with pytest.raises(RevisionCompacted):
            await store.get("a", at_revision=Revision(1))
    async with open_store(tmp_path) as store:
        assert (await store.list("")).revision == 3
