"""What a scheduler has learned is in its folder, survives the process, and stops nothing where it is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from orchestrion.cli._lessons import SAVE_SECONDS, lessons_kept
from orchestrion.cli._state_directory import StateDirectory
from orchestrion.scheduler_interface import (
    FullScanScheduler,
    InstanceOutcome,
    OutcomeKind,
    SimpleScheduler,
)
from orchestrion.shared_types import InstanceKey, Metadata, NodeId, Uid, WorkloadDefinition
from trio.testing import MockClock

NAME = "full-scan"
FAILED = InstanceOutcome(
    slot=InstanceKey(Uid("u"), 0, 1),
    kind=OutcomeKind.START_FAILED,
    node_id=NodeId("n1"),
    workload=WorkloadDefinition(metadata=Metadata(name="w", uid=Uid("u"))),
    at_seconds=100.0,
)


@pytest.fixture
def place(tmp_path: Path) -> StateDirectory:
    made = StateDirectory(tmp_path / "state")
    made.make()
    return made


def file_in(place: StateDirectory) -> Path:
    return place.part("scheduler", NAME) / "lessons"


async def learn(place: StateDirectory) -> bytes:
    scheduler = FullScanScheduler()
    async with lessons_kept(scheduler, NAME, place):
        scheduler.observe([FAILED], now_seconds=200.0)
    return scheduler.remembered()


async def recalled(place: StateDirectory, *, reads_only: bool = False) -> bytes:
    scheduler = FullScanScheduler()
    async with lessons_kept(scheduler, NAME, place, reads_only=reads_only):
        return scheduler.remembered()


async def test_the_next_process_goes_on_from_what_was_learned(place: StateDirectory) -> None:
    learned = await learn(place)
    assert b"n1" in learned
    assert await recalled(place) == learned
    assert [path.name for path in file_in(place).parent.iterdir()] == ["lessons"]


async def test_what_is_learned_is_kept_within_a_minute(place: StateDirectory, autojump_clock: MockClock) -> None:
    scheduler = FullScanScheduler()
    async with lessons_kept(scheduler, NAME, place):
        await trio.sleep(SAVE_SECONDS + 1)
        assert not file_in(place).exists()
        scheduler.observe([FAILED], now_seconds=200.0)
        while not file_in(place).exists():
            await trio.sleep(SAVE_SECONDS)
        assert file_in(place).read_bytes() == scheduler.remembered()


async def test_nothing_is_written_where_nothing_was_learned(place: StateDirectory) -> None:
    await learn(place)
    before = file_in(place).stat()
    await recalled(place)
    assert file_in(place).stat() == before


async def test_a_damaged_file_is_set_aside_and_told_of(
    place: StateDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    await learn(place)
    file_in(place).write_bytes(b'{"schema": ')
    assert await recalled(place) == FullScanScheduler().remembered()
    assert "damaged, and it starts anew; the file is kept as lessons.damaged" in capsys.readouterr().err
    assert (file_in(place).parent / "lessons.damaged").read_bytes() == b'{"schema": '
    assert await learn(place) == await recalled(place)


async def test_who_only_looks_writes_nothing(place: StateDirectory) -> None:
    learned = await learn(place)
    assert await recalled(place, reads_only=True) == learned
    file_in(place).write_bytes(b"damaged")
    assert await recalled(place, reads_only=True) == FullScanScheduler().remembered()
    assert file_in(place).read_bytes() == b"damaged"


async def test_what_can_not_be_kept_is_told_of_once(
    place: StateDirectory, capsys: pytest.CaptureFixture[str], autojump_clock: MockClock
) -> None:
    scheduler = FullScanScheduler()
    async with lessons_kept(scheduler, NAME, place):
        (file_in(place).parent / "lessons.new").mkdir()
        for number in range(3):
            scheduler.observe([FAILED], now_seconds=200.0 + number)
            await trio.sleep(SAVE_SECONDS)
    assert capsys.readouterr().err.count("can't be kept") == 1


async def test_a_scheduler_that_learns_nothing_has_no_folder(place: StateDirectory) -> None:
    async with lessons_kept(SimpleScheduler(), "simple", place):
        pass
    assert not place.part("scheduler", "simple").exists()
