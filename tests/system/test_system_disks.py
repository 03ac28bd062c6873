"""State directories that can't be used: full, read-only, damaged, or of a later version."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

UNREACHABLE = 9
SIZE_BYTES = 4 * 2**20


def mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"can't mount: {done.stderr.strip()}")


@pytest.fixture
def small_state(system: Any) -> Iterator[Path]:
    """The state directory, on a file system of its own of 4 MiB."""
    system.state.mkdir()
    mount("-t", "tmpfs", "-o", f"size={SIZE_BYTES},mode=0700", "tmpfs", str(system.state))
    yield system.state
    system.clean()
    subprocess.run(["umount", "--lazy", str(system.state)], check=True)


def fill(place: Path) -> Path:
    """Leave no room on a file system; return what takes it."""
    ballast = place / "ballast"
    for size in (65536, 4096, 1):
        try:
            with ballast.open("ab", buffering=0) as file:
                while True:
                    file.write(bytes(size))
        except OSError:
            continue
    return ballast


def contents(place: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


def hello(system: Any, container: Callable[..., dict[str, Any]]) -> str:
    return str(system.manifest({"hello": {"kind": "batch", "containers": [container("echo hello")]}}))


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one error of a command that could not use its state directory."""
    assert done.returncode == UNREACHABLE, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error:") == 1, done.stderr
    assert "next:" in done.stderr, done.stderr
    return done.stderr


@pytest.mark.engine
def test_a_full_disk_is_told_and_room_is_all_that_it_needs(
    system: Any, small_state: Path, container: Callable[..., dict[str, Any]]
) -> None:
    path = hello(system, container)
    ballast = fill(small_state)
    told = complaint(system.run("up", path))
    assert str(small_state) in told
    ballast.unlink()
    done = system.run("up", path)
    assert (done.returncode, done.stdout) == (0, "hello.0 | hello\n"), done.stderr


@pytest.mark.engine
def test_a_disk_that_fills_up_refuses_changes_and_loses_no_exit_code(
    system: Any, small_state: Path, container: Callable[..., dict[str, Any]]
) -> None:
    release = system.folder / "release"
    waits = container(f"while [ ! -e {release} ]; do sleep 0.05; done; exit 42")
    job = {"kind": "batch", "containers": [waits]}
    large = container("exec sleep 100000", env={"MUCH": "x" * 20_000})
    more = system.manifest({f"more{n}": {"containers": [large]} for n in range(30)})
    up = system.up(system.manifest({"job": job}))
    up.wait_for("job.0.1: Running")
    system.run("status")  # the server is there from now on
    ballast = fill(small_state)
    refused = system.run("apply", more)
    assert refused.returncode == UNREACHABLE, refused.stderr
    assert "room" in refused.stderr
    assert "next:" in refused.stderr
    release.touch()
    system.until(lambda: not system.main_processes(), "the container has ended")
    ballast.unlink()
    assert up.end() == 1, up.err
    (instance,) = system.reports()["job"]["instances"]
    assert instance["status"]["containers"][0]["exit"]["code"] == 42
    assert system.reports().keys() == {"job"}


@pytest.mark.engine
def test_a_read_only_state_directory_is_told_and_left_alone(
    system: Any, container: Callable[..., dict[str, Any]]
) -> None:
    path = hello(system, container)
    assert system.run("up", path).returncode == 0
    before = contents(system.state)
    mount("--bind", str(system.state), str(system.state))
    try:
        mount("-o", "remount,bind,ro", str(system.state))
        for command in (["up", path], ["stop", "hello"]):
            assert str(system.state) in complaint(system.run(*command))
        assert "hello" in system.run("status").stdout
    finally:
        subprocess.run(["umount", str(system.state)], check=True)
    assert contents(system.state) == before


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:8192] = b"\xa5" * 4096
    path.write_bytes(data)


def replace(path: Path) -> None:
    path.write_bytes(b"this is no database\n" * 100)


def renew(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize(
    ("harm", "words"),
    [(damage, "state.db"), (replace, "not a SQLite file"), (renew, "99")],
    ids=lambda one: str(one)[:9],
)
def test_a_store_that_can_not_be_read_is_told_and_left_alone(
    system: Any, container: Callable[..., dict[str, Any]], harm: Callable[[Path], None], words: str
) -> None:
    path = hello(system, container)
    assert system.run("up", path).returncode == 0
    harm(system.state / "store-sqlite" / "state.db")
    before = contents(system.state / "store-sqlite")
    for command in (["up", path], ["status"], ["rm", "--yes", "hello"]):
        assert words in complaint(system.run(*command))
    after = contents(system.state / "store-sqlite")
    assert {name: data for name, data in after.items() if not name.endswith(("-shm", "-wal"))} == {
        name: data for name, data in before.items() if not name.endswith(("-shm", "-wal"))
    }
