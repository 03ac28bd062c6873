"""The local cluster passes the kit, on a machine made of files."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from orchestrion.cluster_interface import ClusterManager
from orchestrion.cluster_interface.conformance import ClusterUnderTest, conformance_checks
from orchestrion.cluster_local import DiskUsage, LocalCluster, open_cluster
from orchestrion.conformance_kit import BoundCheck

GIB = 2**30


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


@asynccontextmanager
async def open_local() -> AsyncIterator[ClusterUnderTest]:
    with tempfile.TemporaryDirectory() as directory:
        root, state_dir = Path(directory, "root"), Path(directory, "state")
        write(root, "proc/self/status", "Cpus_allowed_list:\t0-3\n")
        write(root, "proc/meminfo", "MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n")
        write(root, "proc/sys/kernel/hostname", "box\n")
        disk = DiskUsage(100 * GIB, 50 * GIB)
        async with AsyncExitStack() as stack:

            async def open_one() -> LocalCluster:
                return await stack.enter_async_context(
                    open_cluster(state_dir, root=root, disk_meter=lambda _: disk, nvidia_smi=lambda: None)
                )

            async def reopen() -> ClusterManager:
                manager.close_nowait()
                return await open_one()

            async def touch() -> None:
                nonlocal disk
                disk = DiskUsage(100 * GIB, 50 * GIB if disk.available_bytes == GIB else GIB)
                await manager.sample_now()

            manager = await open_one()
            yield ClusterUnderTest(manager=manager, touch=touch, reopen=reopen)


@pytest.mark.parametrize("check", conformance_checks(open_local, clock="real"))
def test_conformance(check: BoundCheck[ClusterUnderTest]) -> None:
    check()
