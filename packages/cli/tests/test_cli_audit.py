"""`audit verify`: what a server has put on record, and what somebody has done to it since."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import rmtree

import pytest
import trio
from orchestrion.cli._main import run
from orchestrion.cli._offline import store_reader
from orchestrion.cli._reach import owner_or_lock
from orchestrion.cli._state_directory import Ownership, at
from orchestrion.control_plane._identity.audit import AuditLog
from orchestrion.control_plane._identity.audit_head import HEAD_KEY, KeptHead
from orchestrion.control_plane._identity.audit_records import AuditRecord, Outcome
from orchestrion.control_plane.audit import verify_audit
from orchestrion.mocks import MemoryState, MemoryStore
from orchestrion.orchestrator_core import system_time


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory whose server has put three things on record."""
    monkeypatch.setenv("ORCHESTRION_STATE", str(tmp_path))
    log = AuditLog(tmp_path / "server-api" / "audit")

    async def write() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(log.run)
            for number in range(3):
                await log.write(
                    AuditRecord(system_time(), "user:ann", "create", "configmaps", Outcome.DONE, name=f"c{number}")
                )
            nursery.cancel_scope.cancel()

    trio.run(write)
    return tmp_path


def verify(*arguments: str) -> int:
    return run(["audit", "verify", *arguments])


def test_what_was_written_is_proved_and_its_head_told(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify() == 0
    words, head = capsys.readouterr().out.splitlines()
    assert words == "3 records are as they were written"
    assert verify("--head", head.removeprefix("head: ")) == 0


def test_a_record_that_was_changed_is_found(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = state / "server-api" / "audit" / "0001.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"c1"', b'"cx"'))
    assert verify() == 1
    assert "0001.jsonl:2: record 2" in capsys.readouterr().err


def test_records_that_were_taken_from_the_end_are_missed(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify() == 0
    head = capsys.readouterr().out.splitlines()[1].removeprefix("head: ")
    path = state / "server-api" / "audit" / "0001.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    assert verify() == 0
    assert verify("--head", head) == 1


@pytest.mark.parametrize("head", ["", "3", "three:" + "a" * 64, "3:abc"])
def test_a_head_is_a_number_and_a_hash(state: Path, head: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify("--head", head) == 2
    assert "NUMBER:HASH" in capsys.readouterr().err


def test_where_no_server_has_run_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ORCHESTRION_STATE", str(tmp_path))
    assert verify() == 3
    assert "no server has run" in capsys.readouterr().err


def test_older_files_that_were_put_away_are_proved_together_with_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ORCHESTRION_STATE", str(tmp_path))
    directory, archive = tmp_path / "server-api" / "audit", tmp_path / "archive"
    log = AuditLog(directory, max_file_bytes=1)

    async def write() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(log.run)
            for number in range(4):
                await log.write(
                    AuditRecord(system_time(), "user:ann", "create", "maps", Outcome.DONE, name=f"{number}")
                )
            nursery.cancel_scope.cancel()

    trio.run(write)
    archive.mkdir()
    for name in ("0001.jsonl", "0002.jsonl"):
        (directory / name).rename(archive / name)
    assert verify() == 0
    assert "2 records are as they were written, from number 3 on" in capsys.readouterr().out
    assert verify("--archive", str(archive)) == 0
    assert "4 records are as they were written\n" in capsys.readouterr().out
    other = archive / "0002.jsonl"
    other.write_bytes(other.read_bytes().replace(b"maps", b"mops"))
    assert verify("--archive", str(archive)) == 1
    other.unlink()
    assert verify("--archive", str(archive)) == 1
    assert "0002.jsonl is missing" in capsys.readouterr().err
    assert verify("--archive", str(tmp_path / "nowhere")) == 2


def test_what_a_server_missed_when_it_began_is_told(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log, store = AuditLog(state / "server-api" / "audit"), MemoryStore(MemoryState())

    async def begin() -> None:
        await store.put(HEAD_KEY, b'{"version": 1, "sequence": 9, "hash": "0"}')
        async with trio.open_nursery() as nursery:
            await nursery.start(log.run)
            await KeptHead(store, log, lambda _: None).check()
            nursery.cancel_scope.cancel()

    trio.run(begin)
    assert verify() == 1
    assert "record 4: the log had 9 records" in capsys.readouterr().err


def keep(state: Path) -> Path:
    """Have the store beside the log keep its last record, as a server does; return the log's file."""
    path = state / "server-api" / "audit" / "0001.jsonl"
    head = verify_audit(path.parent).head

    async def put() -> None:
        async with owner_or_lock(at(state)) as found:
            assert isinstance(found, Ownership)
            async with store_reader(found) as reader:
                value = {"version": 1, "sequence": head.sequence, "hash": head.hash}
                await reader.store.put(HEAD_KEY, json.dumps(value).encode())

    trio.run(put)
    return path


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_what_was_taken_from_the_end_is_missed_by_what_the_store_keeps(
    state: Path, kept: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = keep(state)
    assert verify() == 0
    assert capsys.readouterr().out.startswith("3 records are as they were written\n")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:kept]))
    assert verify("--state", str(state)) == 1
    assert capsys.readouterr().err.endswith(f"record {kept + 1}: the log ends here, and had 3 records before\n")


def test_a_log_that_is_gone_is_missed_by_what_the_store_keeps(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = keep(state)
    rmtree(path.parent)
    assert verify() == 1
    assert "had 3 records before" in capsys.readouterr().err


def test_a_last_line_without_an_end_is_told(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = keep(state)
    with path.open("ab") as file:
        file.write(b'{"seq":4,"prev')
    assert verify() == 0
    assert "3 records are as they were written; behind them is a line without an end" in capsys.readouterr().out


def test_a_store_that_cannot_be_read_is_told_and_the_log_looked_at_all_the_same(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(state)
    for path in (state / "store-sqlite").iterdir():
        path.write_bytes(b"no database" * 1000)
    assert verify() == 0
    told = capsys.readouterr()
    assert told.out.startswith("3 records are as they were written\n")
    assert "was not compared, for it can't be read" in told.err
