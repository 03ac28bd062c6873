"""Opens the cluster that is this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import trio
from orchestrion.shared_types import PROCESS_DRIVER, Resources, Topology, UidFactory, new_uid

from ._cluster import LocalCluster
from ._machine import DiskMeter, measure_disk
from ._pressure import DISK_WATERMARK, MEMORY_WATERMARK, Watermark
from ._settings import LocalSettings, find_nvidia_smi, utc_now


@asynccontextmanager
async def open_cluster(
    state_dir: Path,
    /,
    *,
    drivers: Iterable[str] = (PROCESS_DRIVER,),
    labels: Mapping[str, str] | None = None,
    topology: Topology | None = None,
    reserve: Resources | None = None,
    now: Callable[[], datetime] = utc_now,
    new_id: UidFactory = new_uid,
    sample_seconds: float = 10.0,
    disk_watermark: Watermark = DISK_WATERMARK,
    memory_watermark: Watermark = MEMORY_WATERMARK,
    root: Path = Path("/"),
    disk_meter: DiskMeter = measure_disk,
    nvidia_smi: Callable[[], str | None] = find_nvidia_smi,
) -> AsyncIterator[LocalCluster]:
    """Open the cluster of one node that is this machine; leaving the context closes it.

    Nothing is read or written before `initialize`.

    Args:
        state_dir: Where `node.json` is kept, and the directory whose file system is the node's disk. It is made where
            it does not exist. One program at a time may own it.
        drivers: Names of the runtimes that the caller can run here.
        labels: More labels than "os", "arch", "hostname" and "kernel"; they win over those of the same name.
        topology: Where the machine is.
        reserve: What is not promised to instances; None keeps 5 % of memory and disk, at most 512 MiB and 5 GiB.
        now: The wall clock, in UTC.
        new_id: Makes the id of a machine that has none yet: a UUIDv7.
        sample_seconds: How long to wait between two looks at what is free, > 0.
        disk_watermark: When disk is short; by default below 5 % and below 2 GiB.
        memory_watermark: When memory is short; by default below 3 % and below 256 MiB.
        root: Where proc and sys are.
        disk_meter: Measures a file system; it runs in a thread.
        nvidia_smi: Finds the program to ask for details of Nvidia's GPUs; None asks no program.
    """
    settings = LocalSettings(
        state_dir=state_dir,
        drivers=frozenset(drivers),
        labels={} if labels is None else dict(labels),
        topology=Topology() if topology is None else topology,
        reserve=reserve,
        now=now,
        new_id=new_id,
        sample_seconds=sample_seconds,
        disk_watermark=disk_watermark,
        memory_watermark=memory_watermark,
        root=root,
        disk_meter=disk_meter,
        nvidia_smi=nvidia_smi,
    )
    opening = trio.open_nursery()
    nursery = await opening.__aenter__()
    cluster = LocalCluster(settings, nursery)
    try:
        yield cluster
    finally:
        # The caller's error passes by the nursery, which would wrap it into a group; its one task ends by being closed.
        cluster.close_nowait()
        await opening.__aexit__(None, None, None)
