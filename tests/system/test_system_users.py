"""Containers of other users: they reach what is theirs, and nothing else."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can run containers as another user"),
]

NOBODY = 65534


@pytest.fixture
def reachable(system: Any) -> Iterator[Any]:
    """The system, with its state where every user can get to: the folders of tests are closed to others."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o711)
    system.state = folder / "state"
    yield system
    system.clean()
    shutil.rmtree(folder)


def job(command: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"kind": "batch", "containers": [{**command, **more}]}


def test_a_container_of_nobody_writes_to_its_volume_and_to_its_temporary_directory(
    reachable: Any, container: Callable[..., dict[str, Any]]
) -> None:
    write = 'id -un && echo kept > "$VOLUME_DATA/file" && echo gone > "$TMPDIR/file" && cat "$TMPDIR/file"'
    read = 'cat "$VOLUME_DATA/file"'
    path = reachable.manifest(
        {
            "write": job(container(write), user="nobody", volumes=["data"]),
            "read": {**job(container(read), volumes=["data"]), "after": {"write": "succeeded"}},
        },
        volumes=["data"],
    )
    done = reachable.run("up", path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["write.0 | nobody", "write.0 | gone", "read.0 | kept"]
    (volume,) = (reachable.state / "volumes").glob("*/shared/data")
    assert (volume.stat().st_uid, stat.S_IMODE(volume.stat().st_mode)) == (NOBODY, 0o700)


def test_nothing_else_is_open_to_the_users_of_containers(
    reachable: Any, container: Callable[..., dict[str, Any]]
) -> None:
    path = reachable.manifest({"job": job(container("echo hello"), volumes=["data"])}, volumes=["data"])
    done = reachable.run("up", path)
    assert done.returncode == 0, done.stderr
    found = [reachable.state]
    for one in found:
        status = one.stat()
        others = stat.S_IMODE(status.st_mode) & 0o077
        assert others == (0o011 if one.is_dir() and others else 0), f"{one} has mode {status.st_mode:o}"
        if one.is_dir() and others:  # whatever lies below a private directory is out of reach
            found += one.iterdir()
    assert len(found) > 5
