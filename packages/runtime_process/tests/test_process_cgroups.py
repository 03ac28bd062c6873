"""Control groups: finding them, and version 2 on a tree of plain files.

Limits of version 2 are unverified on a real kernel: this tree only shows that the right files are written.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from orchestrion.runtime_process import _cgroups
from orchestrion.runtime_process._cgroups import Limits, find_bases, open_cgroups

HYBRID = """\
24 1 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw
30 24 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
32 24 0:28 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
33 24 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
UNIFIED = "30 24 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n"


def test_bases_are_beside_this_program_in_each_hierarchy() -> None:
    membership = "4:memory:/session\n3:cpu,cpuacct:/\n2:blkio:/\n0::/user/me\n"
    assert find_bases(HYBRID, membership) == {
        "memory": Path("/sys/fs/cgroup/memory/session"),
        "cpu": Path("/sys/fs/cgroup/cpu,cpuacct"),
        "cpuacct": Path("/sys/fs/cgroup/cpu,cpuacct"),
        "unified": Path("/sys/fs/cgroup/unified/user/me"),
    }


def test_a_mount_of_a_part_of_the_hierarchy_is_seen_from_its_root() -> None:
    assert find_bases(UNIFIED, "0::/docker/abc/inner\n") == {"unified": Path("/sys/fs/cgroup/inner")}


def test_without_control_groups_there_are_no_bases() -> None:
    assert find_bases("24 1 0:22 / /tmp rw - tmpfs tmpfs rw\n", "") == {}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that behaves, as far as names go, like a delegated group of version 2."""
    files = {
        "cgroup.procs": "",
        "cgroup.subtree_control": "",
        "cgroup.controllers": "cpu io memory pids",
        "cgroup.kill": "",
        "cpu.max": "",
        "cpu.weight": "",
        "cpu.stat": "usage_usec 1500\nuser_usec 1000\n",
        "memory.max": "",
        "memory.oom.group": "",
        "memory.swap.max": "",
        "memory.current": "4096\n",
        "memory.events": "oom 1\noom_kill 2\n",
        "pids.max": "",
        "pids.current": "3\n",
    }
    real = Path.mkdir

    def mkdir(path: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        real(path, mode, parents, exist_ok)
        if path.is_relative_to(tmp_path):
            for name, text in files.items():
                (path / name).write_text(text)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    base = tmp_path / "base"
    base.mkdir()
    return base


def test_version_2_limits_with_the_controllers_that_it_is_given(tree: Path) -> None:
    cgroups = open_cgroups({"unified": tree}, "abc")
    assert cgroups.enforced == {"memory", "cpu", "pids"}
    assert (tree / "orchestrion-abc" / "cgroup.subtree_control").read_text().startswith("+")
    limits = Limits(memory_bytes=1 << 20, cpu_millicores=1500, processes=7, cpu_share_millicores=500)
    made = cgroups.make("box", limits)
    box = Path(made["unified"])
    assert box == tree / "orchestrion-abc" / "box"
    texts = {name: (box / name).read_text() for name in ("memory.max", "cpu.max", "cpu.weight", "pids.max")}
    assert texts == {"memory.max": "1048576", "cpu.max": "150000 100000", "cpu.weight": "50", "pids.max": "7"}
    assert (box / "memory.oom.group").read_text() == "1"
    assert (box / "memory.swap.max").read_text() == "0"
    assert _cgroups.kill_file(made) == f"{box}/cgroup.kill"
    assert _cgroups.oom_file(made) == f"{box}/memory.events"
    assert _cgroups.join_files(made) == []
    usage = _cgroups.usage(made)
    assert (usage.cpu_nanoseconds, usage.memory_bytes, usage.processes) == (1_500_000, 4096, 3)


def test_a_group_with_processes_of_others_limits_nothing_but_still_kills(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.write_text

    def write_text(path: Path, text: str, *arguments: str) -> int:
        if path == tree / "cgroup.subtree_control":
            raise OSError(16, "Device or resource busy")
        return real(path, text, *arguments)

    monkeypatch.setattr(Path, "write_text", write_text)
    cgroups = open_cgroups({"unified": tree}, "abc")
    assert cgroups.enforced == frozenset()
    made = cgroups.make("box", Limits(memory_bytes=1 << 20))
    assert _cgroups.kill_file(made)
    assert Path(made["unified"], "memory.max").read_text() == ""


def test_where_nothing_is_permitted_nothing_is_made() -> None:
    cgroups = open_cgroups({"unified": Path("/proc/self"), "memory": Path("/no/such/place")}, "abc")
    assert cgroups.groups == {}
    assert cgroups.make("box", Limits(memory_bytes=1 << 20)) == {}


def test_strays_are_found_in_former_places_too(tmp_path: Path) -> None:
    for place in ("now", "then"):
        for name in ("known", "stray"):
            (tmp_path / place / "orchestrion-abc" / name).mkdir(parents=True)
    group = tmp_path / "now" / "orchestrion-abc"
    cgroups = _cgroups.Cgroups("orchestrion-abc", {"unified": group}, former=(tmp_path / "then" / "orchestrion-abc",))
    found = sorted(path for groups in cgroups.strays({"known"}) for path in groups.values())
    assert found == [str(tmp_path / place / "orchestrion-abc" / "stray") for place in ("now", "then")]
