"""What was taken from the audit log while no server ran is told by the next one, which works all the same."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
from orchestrion.control_plane._identity.audit import AuditLog
from orchestrion.control_plane._identity.audit_files import audit_files, find_record, verify_audit
from orchestrion.control_plane._identity.audit_head import HEAD_KEY, SAVE_SECONDS, KeptHead
from orchestrion.control_plane._identity.audit_records import AuditRecord, Outcome
from orchestrion.mocks import MemoryState, MemoryStore

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)


@asynccontextmanager
async def serving(
    store: MemoryStore, directory: Path, told: list[str], *, max_file_bytes: int = 1_000
) -> AsyncIterator[AuditLog]:
    """Give a log of a server that has begun."""
    log = AuditLog(directory, lambda: NOW, max_file_bytes)
    async with trio.open_nursery() as nursery:
        await nursery.start(log.run)
        kept = KeptHead(store, log, told.append, lambda: NOW)
        await kept.check()
        nursery.start_soon(kept.run)
        yield log
        nursery.cancel_scope.cancel()


async def write(log: AuditLog, count: int) -> None:
    for number in range(count):
        await log.write(AuditRecord(NOW, "user:ann", "delete", "workloads", Outcome.DONE, name=f"web-{number}"))


def remove_all(directory: Path) -> None:
    for _, path in audit_files(directory):
        path.unlink()


def remove_newest(directory: Path) -> None:
    audit_files(directory)[-1][1].unlink()


def cut_the_end(directory: Path) -> None:
    path = audit_files(directory)[-1][1]
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def change_the_last(directory: Path) -> None:
    path = audit_files(directory)[-1][1]
    *lines, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines, last.replace(b"user:ann", b"user:eve")]))


@pytest.mark.parametrize("tamper", [remove_all, remove_newest, cut_the_end])
async def test_records_that_were_taken_while_no_server_ran_are_missed(
    tmp_path: Path, tamper: Callable[[Path], None], caplog: pytest.LogCaptureFixture, autojump_clock: object
) -> None:
    store, told = MemoryStore(MemoryState()), list[str]()
    async with serving(store, tmp_path, told) as log:
        await write(log, 8)
        await trio.sleep(SAVE_SECONDS + 1)
    tamper(tmp_path)
    with caplog.at_level(logging.ERROR, "orchestrion.control_plane"):
        async with serving(store, tmp_path, told) as log:
            assert log.doubt
            await write(log, 2)
            await trio.sleep(SAVE_SECONDS + 1)
    assert len(told) == 1
    assert "it had 8 records" in told[0]
    assert told[0] in caplog.text
    assert "the log had 8 records" in verify_audit(tmp_path).told
    async with serving(store, tmp_path, told) as log:
        assert not log.doubt, "it was told, and goes on from there"
    assert len(told) == 1


async def test_a_log_that_was_made_anew_is_found_though_it_is_as_long(tmp_path: Path, autojump_clock: object) -> None:
    store, told = MemoryStore(MemoryState()), list[str]()
    async with serving(store, tmp_path, told) as log:
        await write(log, 8)
        await trio.sleep(SAVE_SECONDS + 1)
    remove_all(tmp_path)
    async with serving(MemoryStore(MemoryState()), tmp_path, told) as log:
        await log.write(AuditRecord(NOW, "user:eve", "delete", "workloads", Outcome.DONE))
        await write(log, 9)
    assert verify_audit(tmp_path).broken is None
    assert told == []
    async with serving(store, tmp_path, told) as log:
        assert "is another one" in log.doubt


@pytest.mark.parametrize("since_saved", [0, 1, 20])
@pytest.mark.parametrize("archived", [0, 1, 2])
async def test_a_log_that_nobody_has_touched_is_not_doubted(
    tmp_path: Path, since_saved: int, archived: int, autojump_clock: object
) -> None:
    store, told, directory = MemoryStore(MemoryState()), list[str](), tmp_path / "audit"
    async with serving(store, directory, told) as log:
        await write(log, 8)
        await trio.sleep(SAVE_SECONDS + 1)
        kept = (await store.get(HEAD_KEY)).revision
        await trio.sleep(60)
        assert (await store.get("/")).revision == kept, "nothing changes, nothing is written"
        await write(log, since_saved)
    for _, path in audit_files(directory)[:archived]:
        path.rename(tmp_path / path.name)
    async with serving(store, directory, told) as log:
        assert not log.doubt
    assert told == []
    assert not verify_audit(directory).told


async def test_a_record_is_found_by_its_number_in_whatever_file(tmp_path: Path) -> None:
    log, heads = AuditLog(tmp_path, lambda: NOW, 600), dict[int, object]()
    async with trio.open_nursery() as nursery:
        await nursery.start(log.run)
        for number in range(1, 9):
            await log.write(AuditRecord(NOW, "u", "delete", '{"seq":3,', Outcome.DONE, name=f"{number}"))
            heads[number] = log.head
        nursery.cancel_scope.cancel()
    files = audit_files(tmp_path)
    assert len(files) > 2
    assert {number: find_record(files, number) for number in heads} == heads
    assert find_record(files, 9) is None
    first = files[1][1].read_bytes()
    before = find_record(files[1:], int(first.partition(b",")[0].rpartition(b":")[2]) - 1)
    assert before in heads.values(), "the one before the first"
    assert find_record(files[1:], 1) is None or before == heads[1]


async def test_a_last_record_that_was_changed_keeps_no_server_from_telling(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, lambda: NOW)
    async with trio.open_nursery() as nursery:
        await nursery.start(log.run)
        await write(log, 3)
        nursery.cancel_scope.cancel()
    change_the_last(tmp_path)
    assert find_record(audit_files(tmp_path), 3) is None
