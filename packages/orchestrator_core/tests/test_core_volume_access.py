"""Whoever a container runs as, it can use its volumes, and nobody else can without need."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from orchestrion.orchestrator_core import DirectoryVolumes, VolumeOwner
from orchestrion.orchestrator_core._state.records import InstanceName
from orchestrion.shared_types import Uid, Volume, VolumeMount, VolumeScope

from .core_stage import container, service

UID = Uid("01900000-0000-7000-8000-000000000001")
MOUNTS = (VolumeMount(volume="data"),)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has containers of other users")


async def provided(
    root: Path, *users: str | None, scope: VolumeScope = VolumeScope.SHARED, mounted: bool = True
) -> Path:
    """Return the volume of a workload with a container for each user."""
    containers = tuple(
        container(f"c{place}", volumes=MOUNTS if mounted else (), user=user) for place, user in enumerate(users)
    )
    template = service("web", containers=containers, volumes=(Volume(name="data", scope=scope),))
    owner = VolumeOwner(InstanceName("default", "web", 0, 1), UID)
    (source,) = await DirectoryVolumes(root).provide(owner, template)
    return Path(source.host_path)


def access(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_uid, stat.S_IMODE(status.st_mode)


@pytest.mark.parametrize("scope", list(VolumeScope))
async def test_a_volume_is_private_to_who_runs_its_containers(tmp_path: Path, scope: VolumeScope) -> None:
    before = os.umask(0o027)
    try:
        path = await provided(tmp_path / "volumes", None, scope=scope)
    finally:
        os.umask(before)
    assert access(path) == (os.geteuid(), 0o700)
    for one in path.relative_to(tmp_path).parents[:-1]:
        assert stat.S_IMODE((tmp_path / one).stat().st_mode) == 0o711


@as_root
@pytest.mark.parametrize("scope", list(VolumeScope))
@pytest.mark.parametrize("user", ["4711", "4711:4711"])
async def test_a_volume_of_one_other_user_is_theirs(tmp_path: Path, user: str, scope: VolumeScope) -> None:
    assert access(await provided(tmp_path, user, None, "root", scope=scope)) == (4711, 0o700)
    assert access(await provided(tmp_path, user, scope=scope)) == (4711, 0o700)


@as_root
async def test_a_volume_of_several_other_users_is_open_to_all(tmp_path: Path) -> None:
    assert access(await provided(tmp_path, "4711", "4712"))[1] == 0o1777


@as_root
async def test_a_user_that_comes_later_can_use_a_shared_volume_too(tmp_path: Path) -> None:
    assert access(await provided(tmp_path, None)) == (0, 0o700)
    assert access(await provided(tmp_path, "4711")) == (4711, 0o700)
    assert access(await provided(tmp_path, None)) == (4711, 0o700)
    assert access(await provided(tmp_path, "4712"))[1] == 0o1777
    assert access(await provided(tmp_path, "4711"))[1] == 0o1777


@as_root
async def test_a_user_without_a_mount_gets_nothing(tmp_path: Path) -> None:
    assert access(await provided(tmp_path, "4711", mounted=False)) == (0, 0o700)


@as_root
async def test_a_user_whom_nobody_knows_is_left_to_the_runtime(tmp_path: Path) -> None:
    assert access(await provided(tmp_path, "no-such-user-here")) == (0, 0o700)
