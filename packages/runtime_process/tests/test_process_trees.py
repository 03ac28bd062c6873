"""Directories are removed whatever containers have made of them, and nothing else is."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from orchestrion.runtime_process._trees import remove_tree

NOBODY = 65534


@contextmanager
def without_privileges(directory: Path) -> Iterator[None]:
    """Be in a directory as its owner, whom permissions bind."""
    before = Path.cwd()
    os.chdir(directory)
    try:
        if os.geteuid() == 0:
            os.chown(directory, NOBODY, -1)
            os.seteuid(NOBODY)
            try:
                yield
            finally:
                os.seteuid(0)
        else:
            yield
    finally:
        os.chdir(before)


def test_what_is_missing_is_removed_already(tmp_path: Path) -> None:
    remove_tree(tmp_path / "absent")
    remove_tree(tmp_path / "absent" / "too")


def test_links_go_and_what_they_lead_to_stays(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "other")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    remove_tree(tmp_path / "tree")
    remove_tree(tmp_path / "link")
    assert [path.name for path in tmp_path.rglob("*")] == ["other", "file"]


MODES = st.sampled_from([0, 0o100, 0o200, 0o400, 0o500, 0o700])
SHAPES = st.recursive(
    st.none(),
    lambda inner: st.tuples(MODES, st.dictionaries(st.sampled_from(["a", "b", "0.removed", "1.removed"]), inner)),
    max_leaves=12,
)
Shape = tuple[int, dict[str, "Shape"]] | None


def make(path: Path, shape: Shape) -> None:
    """Make a file, or a directory with what it has."""
    if shape is None:
        path.touch()
        return
    path.mkdir()
    for name, inner in shape[1].items():
        make(path / name, inner)
    path.chmod(shape[0])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=SHAPES)
def test_no_permission_is_in_the_way(tmp_path: Path, shape: Shape) -> None:
    directory = tmp_path / "place"
    directory.mkdir(exist_ok=True)
    with without_privileges(directory):
        make(Path("tree"), shape)
        remove_tree(Path("tree"))
        assert list(Path().iterdir()) == []


@pytest.mark.engine
@pytest.mark.parametrize("place", ["tree", "tree/a", "tree/a/b"])
def test_what_others_have_mounted_in_it_is_not_removed(tmp_path: Path, place: str) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    (tmp_path / place).mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "--bind", str(tmp_path / "other"), str(tmp_path / place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.fail(f"tests marked `engine` mount file systems, and this one may not: {mounted.stderr}")
    try:
        with pytest.raises(OSError, match="busy") as caught:
            remove_tree(tmp_path / "tree")
        assert caught.value.filename.startswith(str(tmp_path / "tree"))
    finally:
        (where,) = [
            line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(tmp_path) in line
        ]
        subprocess.run(["umount", where], check=True)
    assert (tmp_path / "other" / "file").exists()
    remove_tree(tmp_path / "tree")
