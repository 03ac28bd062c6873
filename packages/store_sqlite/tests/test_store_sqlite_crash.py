"""Whatever a crash interrupts, what was acknowledged is there, and history has no gap."""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest
import trio
from orchestrion.store_interface import Change, Entry, Revision, StoreCorrupt
from orchestrion.store_sqlite import SqliteStore, open_store

ROUNDS = int(os.environ.get("ORCHESTRION_CRASH_ROUNDS", "60"))
PATIENCE_SECONDS = 30.0


class Child:
    """The program that writes until it is killed."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("store_sqlite_crash_child.py")
        self._process = subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._read = b""

    def begin(self, directory: Path, seed: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{directory} {seed}\n".encode())
        self._process.stdin.flush()

    def lines(self) -> Iterator[str]:
        assert self._process.stdout is not None
        while True:
            line, newline, rest = self._read.partition(b"\n")
            if newline:
                self._read = rest
                yield line.decode()
                continue
            ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE_SECONDS)
            assert ready, "the child has stopped writing"
            chunk = os.read(self._process.stdout.fileno(), 65536)
            assert chunk, "the child has ended"
            self._read += chunk

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture
def child() -> Iterator[Child]:
    child = Child()
    yield child
    child.close()


Told = dict[int, dict[str, int]]


def run_until_killed(child: Child, directory: Path, seed: str, rng: random.Random) -> Told:
    """Let the child write, kill it after a random number of acknowledgements, and return all that it was told."""
    told: Told = {}
    last = rng.choice((0, 1, rng.randrange(2, 20), rng.randrange(20, 400)))
    child.begin(directory, seed)
    pid = 0
    for line in child.lines():
        word, *rest = line.split()
        match word:
            case "begun":
                pid = int(rest[0])
            case "told":
                pairs = (pair.split("=") for pair in rest[1:])
                told[int(rest[0])] = {key: int(checksum) for key, checksum in pairs}
            case "ended":
                return told
        if len(told) >= last:
            os.kill(pid, signal.SIGKILL)
            last = sys.maxsize
    raise AssertionError


async def changes_since(store: SqliteStore, revision: Revision) -> list[Change]:
    changes: list[Change] = []
    current = (await store.list("")).revision
    async with store.watch("", since=revision) as batches:
        while (changes[-1].revision if changes else revision) < current:
            changes += (await anext(batches)).changes
    return changes


@pytest.mark.slow  # kills a process again and again
def test_whatever_was_acknowledged_before_a_kill_is_there_afterwards(tmp_path: Path, child: Child) -> None:
    rng = random.Random(4711)
    revision = Revision(0)
    acknowledged = 0

    async def look(told: Told) -> Revision:
        async with open_store(tmp_path) as store:
            oldest = max(store.statistics().oldest_revision, revision)
            changes = await changes_since(store, oldest)
            current = (await store.list("")).revision
            assert sorted({change.revision for change in changes}) == list(range(oldest + 1, current + 1))
            assert current >= max(told, default=revision)
            written: Told = {}
            for change in changes:
                if change.entry is not None:
                    written.setdefault(change.revision, {})[change.key] = crc32(change.entry.value)
            for at, keys in told.items():
                assert at > revision
                if at > oldest:
                    assert written[at] == keys
            return current

    for n in range(ROUNDS):
        told = run_until_killed(child, tmp_path, f"round-{n}", rng)
        acknowledged += len(told)
        revision = trio.run(look, told)
    assert acknowledged > 10 * ROUNDS


async def history(directory: Path) -> tuple[list[tuple[Entry, ...]], Path]:
    """Write some, and return what is stored at each revision, and the files as they are before the store is closed."""
    rng = random.Random(7)
    frozen = directory / "frozen"
    async with open_store(directory / "state") as store:
        states = [(await store.list("")).entries]
        for _ in range(25):
            key = f"/{rng.randrange(6)}"
            if rng.random() < 0.2 and (await store.get(key)).entry is not None:
                await store.delete(key)
            else:
                await store.put(key, rng.randbytes(rng.randrange(3000)))
            states.append((await store.list("")).entries)
        shutil.copytree(directory / "state", frozen)
    return states, frozen


@pytest.mark.slow  # opens a hundred stores
async def test_a_log_that_breaks_off_anywhere_leaves_a_beginning_of_history(tmp_path: Path) -> None:
    states, frozen = await history(tmp_path)
    whole = (frozen / "state.db-wal").read_bytes()
    rng = random.Random(1)
    seen = set()
    for n in range(100):
        torn = tmp_path / f"torn-{n}"
        shutil.copytree(frozen, torn)
        cut = rng.randrange(len(whole) + 1)
        # What a disk may leave of the last page that it was writing.
        (torn / "state.db-wal").write_bytes(whole[:cut] + rng.randbytes(n % 2 * 512))
        async with open_store(torn) as store:
            found = await store.list("")
            seen.add(found.revision)
            assert found.entries == states[found.revision]
            assert await store.put("/next", b"1") == found.revision + 1
    assert len(seen) > 10


def ends_of_writes(log: bytes) -> list[int]:
    """Return where each transaction ends in a log of pages of 4096 bytes."""
    frames = range(32, len(log), 24 + 4096)
    return [frame + 24 + 4096 for frame in frames if any(log[frame + 4 : frame + 8])]


@pytest.mark.slow  # opens a hundred stores
async def test_damage_before_the_last_writes_of_a_log_is_refused_and_the_log_left_as_it_is(tmp_path: Path) -> None:
    states, frozen = await history(tmp_path)
    whole = (frozen / "state.db-wal").read_bytes()
    *_, before_both, before_last, end = ends_of_writes(whole)
    assert end == len(whole)
    rng = random.Random(2)
    places = [
        *range(32),
        *(rng.randrange(32, before_last) for _ in range(60)),
        *range(before_last - 24, len(whole), 400),
    ]
    refused = 0
    for n, place in enumerate(places):
        broken = tmp_path / f"broken-{n}"
        shutil.copytree(frozen, broken)
        damaged = whole[:place] + bytes([whole[place] ^ (1 << rng.randrange(8))]) + whole[place + 1 :]
        (broken / "state.db-wal").write_bytes(damaged)
        refusal, found = "", None
        try:
            async with open_store(broken) as store:
                found = await store.list("")
        except StoreCorrupt as err:
            refusal = err.message
        if found is not None:
            # Nobody can tell this from a crash in the middle of what was written last.
            assert place >= before_both
            assert found.entries == states[found.revision]
            assert found.revision >= len(states) - 3
        else:
            assert place < before_last
            assert "state.db-wal, which belongs to it, is damaged before its end" in refusal
            assert (broken / "state.db-wal").read_bytes() == damaged
            assert sorted(path.name for path in broken.iterdir()) == sorted(path.name for path in frozen.iterdir())
            refused += 1
    assert refused > 80


async def test_what_an_earlier_log_left_behind_the_end_is_no_damage(tmp_path: Path) -> None:
    frozen = tmp_path / "frozen"
    async with open_store(tmp_path / "state") as store:
        for n in range(20):
            await store.put("/a", b"%d" % n * 1000)
        # The log begins anew over the old one, which stays behind its end.
        store._file._pragma("wal_checkpoint(RESTART)")
        await store.put("/a", b"last")
        shutil.copytree(tmp_path / "state", frozen)
    assert len(ends_of_writes((frozen / "state.db-wal").read_bytes())) == 20
    async with open_store(frozen) as store:
        assert [entry.value for entry in (await store.list("")).entries] == [b"last"]


async def test_a_crash_leaves_no_file_that_keeps_the_next_store_from_opening(tmp_path: Path) -> None:
    states, frozen = await history(tmp_path)
    async with open_store(frozen) as store:
        assert (await store.list("")).entries == states[-1]
    assert [path.name for path in frozen.iterdir()] == ["state.db"]


async def test_every_commit_waits_for_the_disk(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        assert store._file._pragma("synchronous") == [(2,)]
        assert store._file._pragma("journal_mode") == [("wal",)]
