"""What the tests of the package share."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where that can be had: nothing here outlives the kernel, and a disk makes only slower."""
    in_memory = Path("/dev/shm")
    if not os.access(in_memory, os.W_OK):
        yield tmp_path
        return
    with TemporaryDirectory(dir=in_memory) as directory:
        yield Path(directory)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system in memory of 2 MiB."""
    place = tmp_path / "small-disk"
    place.mkdir()
    _mount("-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place))
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def read_only_view(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A directory, and a mount of it that refuses writes, to root as well."""
    place, view = tmp_path / "place", tmp_path / "view"
    place.mkdir()
    view.mkdir()
    _mount("--bind", str(place), str(view))
    try:
        _mount("-o", "remount,bind,ro", str(view))
        yield place, view
    finally:
        subprocess.run(["umount", str(view)], check=True)


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"mounting needs root: {done.stderr.strip()}")
