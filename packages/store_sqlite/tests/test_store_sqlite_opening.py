"""Opening: what is refused, what it says, and that it touches nothing."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from orchestrion.store_interface import MIN_HISTORY, Revision, StateStore, StoreCorrupt, StoreUnavailable
from orchestrion.store_sqlite import StoreInUse, open_store

State = dict[str, tuple[bytes, int]]


def state_of(directory: Path) -> State:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(directory.iterdir())}


async def fill(directory: Path, count: int = 60) -> None:
    async with open_store(directory) as store:
        for n in range(count):
            await store.put(f"/k/{n % 40:02}", b"%d" % n * 300)


async def refusal(directory: Path) -> StoreUnavailable | StoreCorrupt:
    with pytest.raises((StoreCorrupt, StoreUnavailable)) as caught:
        async with open_store(directory):
            pass
    assert isinstance(caught.value, StoreCorrupt | StoreUnavailable)
    return caught.value


def edit(directory: Path, *statements: str) -> None:
    connection = sqlite3.connect(directory / "state.db", isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def overwrite(path: Path, offset: int, new: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(new)


async def test_a_new_store_is_one_file_that_only_its_owner_can_read(tmp_path: Path) -> None:
    directory = tmp_path / "some" / "state"
    async with open_store(directory) as store:
        assert (await store.list("")).revision == 0
        assert {oct(path.stat().st_mode & 0o077) for path in directory.iterdir()} == {"0o0"}
    assert [path.name for path in directory.iterdir()] == ["state.db"]
    assert directory.stat().st_mode & 0o077 == 0


async def test_a_closed_store_stands_alone_without_a_log(tmp_path: Path) -> None:
    await fill(tmp_path)
    (tmp_path / "state.db").rename(tmp_path / "copy.db")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "copy.db").rename(tmp_path / "elsewhere" / "state.db")
    async with open_store(tmp_path / "elsewhere") as store:
        assert (await store.list("")).revision == 60


async def test_opening_and_closing_without_a_write_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    await fill(tmp_path)
    before = state_of(tmp_path)
    async with open_store(tmp_path) as store:
        await store.list("")
    assert state_of(tmp_path) == before


async def test_a_draft_that_a_crash_has_left_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "state.db.new").write_bytes(b"half")
    (tmp_path / "state.db.new-journal").write_bytes(b"half")
    async with open_store(tmp_path) as store:
        assert await store.put("a", b"1") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["state.db"]


def _truncate_to_nothing(directory: Path) -> None:
    (directory / "state.db").write_bytes(b"")


def _not_a_database(directory: Path) -> None:
    (directory / "state.db").write_bytes(b"name: web\n" * 1000)


def _cut_off(directory: Path) -> None:
    with (directory / "state.db").open("r+b") as file:
        file.truncate(5 * 4096)


def _damage_a_page(directory: Path) -> None:
    overwrite(directory / "state.db", 6 * 4096, os.urandom(4096))


def _flip_a_bit_of_a_value(directory: Path) -> None:
    content = (directory / "state.db").read_bytes()
    offset = content.index(b"2020202020") + 100
    overwrite(directory / "state.db", offset, bytes([content[offset] ^ 1]))


def _belongs_to_another_program(directory: Path) -> None:
    edit(directory, "PRAGMA application_id = 7")


def _was_written_by_a_newer_version(directory: Path) -> None:
    edit(directory, "PRAGMA user_version = 2")


def _has_no_version(directory: Path) -> None:
    edit(directory, "PRAGMA user_version = 0")


def _lacks_a_revision(directory: Path) -> None:
    edit(directory, "DELETE FROM log WHERE revision = 30")


def _lacks_a_table(directory: Path) -> None:
    edit(directory, "DROP TABLE leases")


def _lacks_a_counter(directory: Path) -> None:
    edit(directory, "DELETE FROM counters WHERE name = 'oldest'")


def _has_a_row_of_other_types(directory: Path) -> None:
    edit(directory, "UPDATE log SET value = 'text' WHERE revision = 60")


def _lost_the_file_but_not_its_log(directory: Path) -> None:
    (directory / "state.db").rename(directory / "state.db-wal")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_truncate_to_nothing, "not a SQLite file"),
        (_not_a_database, "not a SQLite file"),
        (_cut_off, "damaged"),
        (_damage_a_page, "damaged"),
        (_flip_a_bit_of_a_value, "does not match its checksum"),
        (_belongs_to_another_program, "belongs to another program"),
        (_was_written_by_a_newer_version, "has schema version 2, this program knows versions up to 1"),
        (_has_no_version, "schema version 0"),
        (_lacks_a_revision, "revision 30 is missing"),
        (_lacks_a_table, "its tables are not those"),
        (_lacks_a_counter, "its counters are missing"),
        (_has_a_row_of_other_types, "does not match its checksum"),
        (_lost_the_file_but_not_its_log, "the file is missing, but state.db-wal is there"),
    ],
)
async def test_a_file_that_cannot_be_trusted_is_refused_and_left_as_it_is(
    tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    await fill(tmp_path)
    damage(tmp_path)
    before = state_of(tmp_path)
    error = await refusal(tmp_path)
    assert isinstance(error, StoreCorrupt)
    assert words in error.message
    assert str(tmp_path / "state.db") in error.message
    assert "nothing was changed" in error.message
    assert error.remedy
    assert state_of(tmp_path) == before


async def test_a_damaged_file_with_a_log_that_a_crash_has_left_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    await fill(tmp_path)
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    async with open_store(tmp_path) as store:
        await store.put("a", b"1")
        for name in ("state.db", "state.db-wal"):
            (crashed / name).write_bytes((tmp_path / name).read_bytes())
    _flip_a_bit_of_a_value(crashed)
    before = state_of(crashed)
    assert "checksum" in (await refusal(crashed)).message
    assert state_of(crashed) == before


async def test_after_a_refusal_the_mended_file_opens(tmp_path: Path) -> None:
    await fill(tmp_path)
    whole = (tmp_path / "state.db").read_bytes()
    _damage_a_page(tmp_path)
    await refusal(tmp_path)
    (tmp_path / "state.db").write_bytes(whole)
    async with open_store(tmp_path) as store:
        assert (await store.list("")).revision == 60


async def test_damage_that_shows_while_running_stops_the_store_with_a_clear_error(tmp_path: Path) -> None:
    await fill(tmp_path, 400)
    async with open_store(tmp_path) as store, store.watch("") as batches:
        size = (tmp_path / "state.db").stat().st_size
        overwrite(tmp_path / "state.db", 4096, os.urandom(size - 4096))
        with pytest.raises(StoreCorrupt, match="damaged"):
            await store.compact(Revision(400))
        for call in (store.get("a"), store.put("a", b"1"), anext(batches)):
            with pytest.raises(StoreCorrupt, match=r"state\.db"):
                await call


async def test_a_second_opener_in_this_process_is_told_who_has_it(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        with pytest.raises(StoreInUse, match=f"process {os.getpid()} ") as caught:
            async with open_store(tmp_path):
                pass
        assert caught.value.owner_pid == os.getpid()
        assert str(tmp_path) in caught.value.message
        assert await store.put("a", b"1") == 1
    async with open_store(tmp_path) as store:
        assert (await store.list("")).revision == 1


@pytest.mark.slow  # starts an interpreter
async def test_a_second_opener_in_another_process_is_told_who_has_it(tmp_path: Path) -> None:
    script = (
        "import sys, trio\n"
        "from pathlib import Path\n"
        "from orchestrion.store_sqlite import StoreInUse, open_store\n"
        "async def main():\n"
        "    try:\n"
        "        async with open_store(Path(sys.argv[1])): print('opened')\n"
        "    except StoreInUse as err: print('in use by', err.owner_pid)\n"
        "trio.run(main)\n"
    )

    async def other() -> bytes:
        done: subprocess.CompletedProcess[bytes] = await trio.run_process(
            [sys.executable, "-c", script, str(tmp_path)], capture_stdout=True
        )
        return done.stdout.strip()

    async with open_store(tmp_path):
        before = state_of(tmp_path)
        assert await other() == b"in use by %d" % os.getpid()
        assert state_of(tmp_path) == before
    assert await other() == b"opened"


async def test_a_lock_that_outlives_a_killed_owner_for_a_moment_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a killed program may leave of itself: a process that was just started by it and still has its descriptors.
    script = (
        "import fcntl, os, sys\n"
        "fd = os.open(sys.argv[1], os.O_RDONLY)\n"
        "fcntl.flock(fd, fcntl.LOCK_EX)\n"
        "if os.fork() == 0:\n"
        "    print('locked', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-ISc", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as killed:
        assert killed.stdin is not None
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"locked\n"
        assert killed.wait() == 0
        waits = []

        def let_go(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 1:
                killed.stdin.close()  # type: ignore[union-attr]  # it is a pipe
                killed.stdout.read()  # type: ignore[union-attr]  # it is a pipe

        monkeypatch.setattr("orchestrion.store_sqlite._lock.time.sleep", let_go)
        async with open_store(tmp_path) as store:
            assert waits
            await store.put("a", b"1")


async def test_what_is_made_is_there_after_a_power_failure_with_the_way_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = set()
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.add(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr("orchestrion.store_sqlite._file.os.fsync", fsync)
    async with open_store(tmp_path / "new" / "state"):
        pass
    assert {tmp_path, tmp_path / "new", tmp_path / "new" / "state"} <= synced, "each holds the name of the next"


async def test_an_unforeseen_fault_while_opening_leaves_the_directory_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("orchestrion.store_sqlite._opening.load", fault)
        with pytest.raises(MemoryError):
            async with open_store(tmp_path):
                pass
    async with open_store(tmp_path) as store:
        await store.put("a", b"1")


async def test_a_program_that_reads_the_file_with_sqlite_keeps_the_store_from_opening(tmp_path: Path) -> None:
    await fill(tmp_path)
    reader = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM log").fetchall()
    error = await refusal(tmp_path)
    assert "locked by a program" in error.message
    reader.execute("COMMIT")
    reader.close()
    async with open_store(tmp_path) as store:
        assert (await store.list("")).revision == 60


@pytest.mark.engine  # mounts
async def test_a_read_only_directory_is_refused_and_left_as_it_is(read_only_view: tuple[Path, Path]) -> None:
    place, view = read_only_view
    await fill(place)
    before = state_of(place)
    error = await refusal(view)
    assert str(view) in error.message
    assert "is read-only" in error.message
    assert "mounted" in error.remedy
    assert state_of(place) == before


@pytest.mark.engine  # mounts
async def test_no_store_is_made_in_a_read_only_directory(read_only_view: tuple[Path, Path]) -> None:
    place, view = read_only_view
    assert "is read-only" in (await refusal(view)).message
    assert "could not make the state directory" in (await refusal(view / "below")).message
    assert list(place.iterdir()) == []


async def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"")
    error = await refusal(tmp_path / "state")
    assert "could not make the state directory" in error.message


async def test_limits_out_of_range_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1000 and 0"):
        async with open_store(tmp_path / "state", history_revisions=MIN_HISTORY - 1):
            pass
    assert list(tmp_path.iterdir()) == []


async def test_an_error_of_the_caller_comes_through_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        async with open_store(tmp_path):
            raise KeyError


async def test_the_store_is_a_state_store(tmp_path: Path) -> None:
    async with open_store(tmp_path) as opened:
        store: StateStore = opened
        assert (await store.get("a")).entry is None
