"""What the one node of a local cluster is to be like, beyond what is detected."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from attrs import field, frozen, validators
from orchestrion.shared_types import PROCESS_DRIVER, Resources, Topology, UidFactory, new_uid

from ._machine import DiskMeter, measure_disk
from ._pressure import DISK_WATERMARK, MEMORY_WATERMARK, Watermark


def utc_now() -> datetime:
    """Return the wall clock's time."""
    return datetime.now(UTC)


def find_nvidia_smi() -> str | None:
    """Return the path of `nvidia-smi`, or None where it is not installed."""
    return shutil.which("nvidia-smi")


def default_reserve(capacity: Resources) -> Resources:
    """Return what is kept for the system and for us: of memory and disk 5 %, at most 512 MiB and 5 GiB."""
    return Resources(
        memory_bytes=min(capacity.memory_bytes // 20, 512 * 2**20),
        disk_bytes=min(capacity.disk_bytes // 20, 5 * 2**30),
    )


@frozen(kw_only=True)
class LocalSettings:
    """How a local cluster looks at its machine, and what it says of it.

    Attributes:
        state_dir: Where `node.json` is kept, and the directory whose file system is the node's disk.
        drivers: Names of the runtimes that the caller can run here.
        labels: More labels; they win over detected ones of the same name.
        topology: Where the machine is.
        reserve: What is not promised to instances; None is `default_reserve` of the capacity.
        now: The wall clock, in UTC.
        new_id: Makes the id of a machine that has none yet.
        sample_seconds: How long to wait between two looks at what is free, > 0.
        disk_watermark: When disk is short.
        memory_watermark: When memory is short.
        root: Where proc and sys are.
        disk_meter: Measures a file system.
        nvidia_smi: Finds the program to ask for details of Nvidia's GPUs; None asks no program.
    """

    state_dir: Path
    drivers: frozenset[str] = frozenset({PROCESS_DRIVER})
    labels: Mapping[str, str] = field(factory=dict)
    topology: Topology = Topology()
    reserve: Resources | None = None
    now: Callable[[], datetime] = utc_now
    new_id: UidFactory = new_uid
    sample_seconds: float = field(default=10.0, validator=validators.gt(0))
    disk_watermark: Watermark = DISK_WATERMARK
    memory_watermark: Watermark = MEMORY_WATERMARK
    root: Path = Path("/")
    disk_meter: DiskMeter = measure_disk
    nvidia_smi: Callable[[], str | None] = find_nvidia_smi
