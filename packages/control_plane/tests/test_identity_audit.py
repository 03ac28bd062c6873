"""The audit log: what was written is on disk, and what was changed is found."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.control_plane._identity.audit import AuditLog
from orchestrion.control_plane._identity.audit_files import audit_files, last_head, last_records, verify_audit
from orchestrion.control_plane._identity.audit_records import AuditRecord, Head, Outcome, line_of, marker_of, next_head
from orchestrion.shared_types import Closed, Conflict, StateFailure

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)


def record(name: str = "web", **fields: object) -> AuditRecord:
    values = {"principal": "user:ann", "verb": "delete", "resource": "workloads", "outcome": Outcome.DONE, **fields}
    return AuditRecord(at=NOW, name=name, **values)  # type: ignore[arg-type] # they are what tests give


@asynccontextmanager
async def running(directory: Path, **settings: int) -> AsyncIterator[AuditLog]:
    log = AuditLog(directory, lambda: NOW, **settings)
    async with trio.open_nursery() as nursery:
        await nursery.start(log.run)
        yield log
        nursery.cancel_scope.cancel()


def lines_of(count: int) -> list[bytes]:
    head, lines = Head(), []
    for number in range(count):
        line, head = line_of(record(f"web-{number}"), head)
        lines.append(line)
    return lines


def made(directory: Path, *files: bytes) -> Path:
    directory.mkdir(exist_ok=True)
    for number, data in enumerate(files, 1):
        (directory / f"{number:04}.jsonl").write_bytes(data)
    return directory


async def test_a_record_that_was_written_is_on_disk_with_all_that_it_says(tmp_path: Path) -> None:
    async with running(tmp_path / "audit") as log:
        asked = record(
            via="mtls",
            namespace="prod",
            from_revision=4,
            to_revision=9,
            reason="role 'admin'",
            request_id="r1",
            source="::1",
        )
        assert await log.write(asked) == 1
        path = tmp_path / "audit" / "0001.jsonl"
        written = json.loads(path.read_text())
    assert written.pop("prev") == "0" * 64
    assert len(written.pop("hash")) == 64
    assert written == {
        "seq": 1,
        "at": "2026-11-22T10:30:00+00:00",
        "principal": "user:ann",
        "via": "mtls",
        "verb": "delete",
        "resource": "workloads",
        "namespace": "prod",
        "name": "web",
        "from": 4,
        "to": 9,
        "outcome": "done",
        "reason": "role 'admin'",
        "request": "r1",
        "source": "::1",
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_records_that_come_together_are_written_together_each_once(tmp_path: Path) -> None:
    numbers: list[int] = []
    async with running(tmp_path) as log:

        async def write(name: str) -> None:
            numbers.append(await log.write(record(name)))

        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(write, f"web-{number}")
        check = verify_audit(tmp_path, head=log.head)
    assert sorted(numbers) == list(range(1, 201))
    assert (check.records, check.broken, check.head) == (200, None, log.head)


async def test_a_log_goes_on_after_a_restart_and_in_further_files(tmp_path: Path) -> None:
    for start in range(3):
        async with running(tmp_path, max_file_bytes=600) as log:
            for number in range(4):
                assert await log.write(record()) == start * 4 + number + 1
    check = verify_audit(tmp_path)
    assert (check.records, check.first, check.broken) == (12, 1, None)
    assert [path.name for _, path in audit_files(tmp_path)] == [f"{n:04}.jsonl" for n in range(1, 7)]


def test_the_last_records_are_told_over_files_and_no_line_is_told_that_was_cut(tmp_path: Path) -> None:
    assert last_records(tmp_path / "nowhere", 5) == []
    lines = [b"%d" % number for number in range(10)]
    (tmp_path / "0001.jsonl").write_bytes(b"\n".join(lines[:6]) + b"\n")
    (tmp_path / "0002.jsonl").write_bytes(b"\n".join(lines[6:]) + b"\n")
    assert last_records(tmp_path, 3) == lines[7:]
    assert last_records(tmp_path, 7) == lines[3:]
    assert last_records(tmp_path, 70) == lines
    (tmp_path / "0003.jsonl").write_bytes(b"x" * 2_000_000 + b"\nwhole\n")
    assert last_records(tmp_path, 3) == [b"whole"]


@pytest.mark.parametrize("waits", [True, False], ids=["while-it-waits", "before-it-began"])
async def test_what_was_asked_for_is_written_also_when_the_server_ends(tmp_path: Path, waits: bool) -> None:
    numbers: list[int] = []
    log = AuditLog(tmp_path)

    async def write() -> None:
        numbers.append(await log.write(record()))

    async with trio.open_nursery() as outer, trio.open_nursery() as nursery:
        await nursery.start(log.run)
        outer.start_soon(write)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert numbers == [1]
    assert verify_audit(tmp_path).records == 1
    with pytest.raises(Closed):
        await log.write(record())


async def test_two_processes_do_not_write_one_log(tmp_path: Path) -> None:
    async with running(tmp_path) as log:
        with pytest.RaisesGroup(pytest.RaisesExc(Conflict, match="another process")):
            async with running(tmp_path):
                pass
        assert await log.write(record()) == 1


async def test_a_field_of_any_length_makes_a_line_of_limited_length(tmp_path: Path) -> None:
    async with running(tmp_path) as log:
        await log.write(record("\U0001f600" * 100_000, reason="\n" * 100_000, principal="#torn {}", source="\ud800"))
        await log.write(record())
    assert len((tmp_path / "0001.jsonl").read_bytes()) < 30_000
    assert verify_audit(tmp_path).broken is None


async def test_a_disk_that_is_full_refuses_and_damages_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as log:
        await log.write(record())
        write = os.write

        def fails(descriptor: int, data: bytes) -> int:
            if len(data) > 100:
                return write(descriptor, data[:100])
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("orchestrion.control_plane._identity.audit.os.write", fails)
            with pytest.raises(StateFailure, match="No space left"):
                await log.write(record())
        assert await log.write(record()) == 2
    assert verify_audit(tmp_path).records == 2


async def test_after_a_sync_that_failed_nothing_is_promised_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async with running(tmp_path) as log:
        await log.write(record())
        with monkeypatch.context() as patch:
            patch.setattr("orchestrion.control_plane._identity.audit.os.fsync", fails)
            with pytest.raises(StateFailure, match="any longer"):
                await log.write(record())
        with pytest.raises(StateFailure, match="any longer"):
            await log.write(record())
        assert log.head.sequence == 1


@pytest.mark.parametrize("kept", [1, 100, -2])
async def test_a_record_that_a_crash_has_torn_is_completed_by_a_marker(tmp_path: Path, kept: int) -> None:
    lines = lines_of(3)
    made(tmp_path, lines[0] + lines[1] + lines[2][:kept])
    before = verify_audit(tmp_path)
    assert (before.records, before.unfinished, before.broken) == (2, True, None)
    async with running(tmp_path) as log:
        assert await log.write(record()) == 4
    check = verify_audit(tmp_path)
    assert (check.records, check.torn, check.unfinished, check.broken) == (4, 1, False, None)
    assert (tmp_path / "0001.jsonl").read_bytes().splitlines()[2].startswith(lines[2][:kept])


async def test_a_record_that_lacks_only_its_line_break_is_one(tmp_path: Path) -> None:
    made(tmp_path, b"".join(lines_of(3))[:-1])
    async with running(tmp_path) as log:
        assert await log.write(record()) == 4
    check = verify_audit(tmp_path)
    assert (check.records, check.torn, check.broken) == (4, 0, None)


async def test_a_first_line_of_a_file_can_be_torn_too(tmp_path: Path) -> None:
    lines = lines_of(3)
    made(tmp_path, lines[0] + lines[1], lines[2][:50])
    async with running(tmp_path) as log:
        assert await log.write(record()) == 4
    assert verify_audit(tmp_path).torn == 1


@pytest.mark.parametrize("files", [(), (b"",), (b"", b"")])
async def test_a_log_that_has_no_record_yet_begins_with_the_first(tmp_path: Path, files: tuple[bytes, ...]) -> None:
    made(tmp_path, *files)
    async with running(tmp_path) as log:
        assert await log.write(record()) == 1


async def test_a_crash_after_a_new_file_was_made_loses_nothing(tmp_path: Path) -> None:
    made(tmp_path, b"".join(lines_of(2)), b"")
    async with running(tmp_path) as log:
        assert await log.write(record()) == 3
    assert verify_audit(tmp_path).records == 3


@pytest.mark.slow
def test_a_marker_can_be_torn_at_any_place_itself(tmp_path: Path) -> None:
    lines = lines_of(2)
    head, _ = next_head(lines[0][:-1], Head())
    torn = lines[1][:40]
    marker, _ = marker_of(torn, NOW, head)
    for kept in range(len(marker)):
        rest = torn + marker[:kept]
        made(tmp_path, lines[0] + rest)
        found, remains = last_head(audit_files(tmp_path))
        assert remains is not None
        completed = rest + (marker_of(remains, NOW, found)[0] if remains else b"\n")
        made(tmp_path, lines[0] + completed)
        check = verify_audit(tmp_path)
        assert (check.records, check.torn, check.broken) == (2, 1, None)


@pytest.mark.slow
@given(st.data())
def test_a_change_of_any_byte_is_found_at_its_record(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = tmp_path_factory.getbasetemp() / "changed"
    lines = lines_of(4)
    number = data.draw(st.integers(0, 3))
    place = data.draw(st.integers(0, len(lines[number]) - 2))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != lines[number][place]))
    lines[number] = lines[number][:place] + bytes([other]) + lines[number][place + 1 :]
    made(directory, b"".join(lines))
    broken = verify_audit(directory).broken
    assert broken is not None
    assert (broken.file, broken.line, broken.sequence) == ("0001.jsonl", number + 1, number + 1)


@pytest.mark.parametrize(
    ("order", "sequence"),
    [((0, 2, 3), 2), ((1, 2, 3), 1), ((0, 2, 1, 3), 2), ((0, 1, 1, 2, 3), 3), ((3,), 1)],
    ids=["out", "first", "moved", "twice", "last-only"],
)
def test_records_that_were_taken_out_moved_or_put_in_are_found(
    tmp_path: Path, order: tuple[int, ...], sequence: int
) -> None:
    lines = lines_of(4)
    broken = verify_audit(made(tmp_path, b"".join(lines[place] for place in order))).broken
    assert broken is not None
    assert broken.sequence == sequence


def test_a_record_that_was_made_anew_is_found_at_the_next(tmp_path: Path) -> None:
    lines = lines_of(3)
    head, _ = next_head(lines[0][:-1], Head())
    lines[1] = line_of(record("forged"), head)[0]
    broken = verify_audit(made(tmp_path, b"".join(lines))).broken
    assert str(broken) == (
        "0001.jsonl:3: record 3: it does not follow the record before, which is another one than there was"
    )


def test_a_record_can_not_be_hidden_as_one_that_was_torn(tmp_path: Path) -> None:
    lines = lines_of(3)
    head, _ = next_head(lines[0][:-1], Head())
    marker, _ = marker_of(lines[1][:40], NOW, head)
    lines[1] = lines[1][:40] + marker
    assert verify_audit(made(tmp_path, b"".join(lines))).broken is not None
    changed = b"".join(lines[:1]) + b"x" + lines[1][1:]
    broken = verify_audit(made(tmp_path, changed)).broken
    assert broken is not None
    assert "remains" in broken.why


def test_what_was_taken_from_the_end_is_found_by_a_head_that_was_kept(tmp_path: Path) -> None:
    lines = lines_of(4)
    made(tmp_path, b"".join(lines))
    head = verify_audit(tmp_path).head
    made(tmp_path, b"".join(lines[:3]))
    assert verify_audit(tmp_path).broken is None
    broken = verify_audit(tmp_path, head=head).broken
    assert broken is not None
    assert broken.sequence == 4
    assert verify_audit(tmp_path / "nowhere", head=head).broken is not None
    forged = (
        b"".join(lines[:3])
        + line_of(record("forged"), next_head(lines[2][:-1], Head(2, json.loads(lines[2])["prev"]))[0])[0]
    )
    made(tmp_path, forged)
    assert verify_audit(tmp_path).broken is None
    other = verify_audit(tmp_path, head=head).broken
    assert other is not None
    assert other.why == "it is not the one that was there"


def test_older_files_can_be_put_away_and_no_others(tmp_path: Path) -> None:
    lines = lines_of(3)
    made(tmp_path, *lines)
    head = verify_audit(tmp_path).head
    (tmp_path / "0001.jsonl").unlink()
    check = verify_audit(tmp_path, head=head)
    assert (check.first, check.records, check.broken) == (2, 2, None)
    made(tmp_path, *lines)
    (tmp_path / "0002.jsonl").unlink()
    broken = verify_audit(tmp_path).broken
    assert broken is not None
    assert "0002.jsonl is missing" in broken.why


def test_a_line_without_an_end_in_the_middle_of_a_log_is_found(tmp_path: Path) -> None:
    lines = lines_of(3)
    broken = verify_audit(made(tmp_path, lines[0] + lines[1][:-1], lines[2])).broken
    assert broken is not None
    assert (broken.file, broken.sequence) == ("0001.jsonl", 2)


async def test_a_log_whose_last_record_is_damaged_is_not_written_on(tmp_path: Path) -> None:
    data = b"".join(lines_of(2))[:-10] + b"x" * 9 + b"\n"
    made(tmp_path, data)
    with pytest.RaisesGroup(pytest.RaisesExc(StateFailure, match="damaged")):
        async with running(tmp_path):
            pass
    assert (tmp_path / "0001.jsonl").read_bytes() == data


def test_a_log_that_is_not_there_is_empty_and_right(tmp_path: Path) -> None:
    check = verify_audit(tmp_path / "nowhere")
    assert (check.records, check.first, check.head, check.broken) == (0, 0, Head(), None)
