"""A machine made of files, for all tests of this package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from orchestrion.cluster_local import DiskUsage, LocalCluster, open_cluster
from orchestrion.shared_types import Uid

GIB = 2**30


@define
class FakeMachine:
    """Files under `root` and a disk, both of which a test changes at will."""

    root: Path
    state_dir: Path
    disk: DiskUsage = DiskUsage(100 * GIB, 50 * GIB)
    disk_error: Exception | None = None
    time: datetime = datetime(2030, 1, 1, tzinfo=UTC)
    ids: Iterator[int] = field(factory=lambda: iter(range(1, 100)))

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def set_cpus(self, allowed: str, online: str) -> None:
        self.write("proc/self/status", f"Name:\tpython3\nCpus_allowed:\tff\nCpus_allowed_list:\t{allowed}\n")
        self.write("sys/devices/system/cpu/online", f"{online}\n")

    def set_memory(self, total: int, available: int) -> None:
        self.write(
            "proc/meminfo",
            f"MemTotal:       {total // 1024} kB\nMemFree:  12 kB\nMemAvailable:   {available // 1024} kB\n",
        )

    def measure_disk(self, path: Path) -> DiskUsage:
        assert path.exists()
        if self.disk_error is not None:
            raise self.disk_error
        return self.disk

    def now(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time

    def new_id(self) -> Uid:
        return Uid(f"01940000-0000-7000-8000-{next(self.ids):012d}")

    def open(self, **options: Any) -> AbstractAsyncContextManager[LocalCluster]:
        return open_cluster(
            self.state_dir,
            **{
                "now": self.now,
                "new_id": self.new_id,
                "root": self.root,
                "disk_meter": self.measure_disk,
                "nvidia_smi": lambda: None,
                **options,
            },
        )


def make_machine(directory: Path) -> FakeMachine:
    machine = FakeMachine(directory / "root", directory / "state")
    machine.set_cpus("0-7", "0-3")
    machine.set_memory(16 * GIB, 8 * GIB)
    machine.write("proc/sys/kernel/hostname", "box\n")
    machine.write("proc/sys/kernel/osrelease", "6.18.0\n")
    machine.write("proc/sys/kernel/arch", "x86_64\n")
    return machine


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    return make_machine(tmp_path)


@pytest.fixture
def make() -> Any:
    return make_machine
