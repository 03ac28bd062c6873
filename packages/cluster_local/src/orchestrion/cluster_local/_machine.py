"""What this machine has and what of it is free, read where the kernel tells it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import frozen
from orchestrion.cluster_interface import ClusterUnavailable

from ._cgroup import cgroups_of_this_process
from ._files import parse_cpu_list, read_fields, read_text


@frozen
class DiskUsage:
    """A file system.

    Attributes:
        total_bytes: Its size.
        available_bytes: What a process without privileges can still write.
    """

    total_bytes: int
    available_bytes: int


DiskMeter = Callable[[Path], DiskUsage]
"""Measures the file system that a path is on. It may block, and raises OSError where it can't."""


def measure_disk(path: Path) -> DiskUsage:
    """Return what the file system of `path` has, by statvfs(3).

    Raises:
        OSError: It can't be asked.
    """
    answer = os.statvfs(path)
    return DiskUsage(answer.f_blocks * answer.f_frsize, answer.f_bavail * answer.f_frsize)


@frozen
class MemoryUsage:
    """Memory that processes started from here can use.

    Attributes:
        total_bytes: The machine's, or the smallest limit of the cgroups around this process.
        available_bytes: What can still be used without swapping.
    """

    total_bytes: int
    available_bytes: int


def read_cpu_millicores(root: Path) -> int:
    """Return how many thousandths of a core this process may use: its affinity and every cgroup's quota count.

    Raises:
        ClusterUnavailable: The kernel's list of processors can't be read.
    """
    status = root / "proc/self/status"
    allowed = read_fields(status, ":").get("Cpus_allowed_list")
    if not allowed:
        msg = f"{status} does not say which processors this process may use"
        raise ClusterUnavailable(msg, remedy="mount proc, then try again")
    try:
        cpus = parse_cpu_list(allowed)
        online = parse_cpu_list(read_text(root / "sys/devices/system/cpu/online") or allowed)
    except ValueError as err:
        msg = f"{status} has a list of processors that can't be read: {allowed!r}"
        raise ClusterUnavailable(msg) from err
    # An unrestricted process is allowed processors that could be plugged in later, too.
    cores = max(1, len(cpus & online)) * 1000
    quotas = (cgroup.cpu_quota_millicores() for cgroup in cgroups_of_this_process(root, "cpu"))
    return max(1, min([cores, *(quota for quota in quotas if quota is not None)]))


def read_memory(root: Path) -> MemoryUsage:
    """Return what memory this process may use; the limit of every cgroup around it counts.

    Raises:
        ClusterUnavailable: The kernel's account can't be read.
    """
    meminfo = root / "proc/meminfo"
    fields = read_fields(meminfo, ":")
    try:
        # "MemAvailable" is there since Linux 3.14.
        total, available = (int(fields[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    except (KeyError, IndexError, ValueError) as err:
        msg = f"{meminfo} does not say how much memory there is"
        raise ClusterUnavailable(msg, remedy="mount proc, then try again") from err
    for cgroup in cgroups_of_this_process(root, "memory"):
        limit = cgroup.memory_limit_bytes()
        if limit is not None:
            total = min(total, limit)
            used = cgroup.memory_used_bytes()
            available = min(available, limit if used is None else max(0, limit - used))
    return MemoryUsage(total, available)


def read_labels(root: Path) -> Mapping[str, str]:
    """Return the labels that every node has: "os", "arch", "hostname" and "kernel"."""
    kernel = root / "proc/sys/kernel"
    return {
        "os": "linux",
        # "arch" is there since Linux 6.1.
        "arch": read_text(kernel / "arch") or os.uname().machine,
        "hostname": read_text(kernel / "hostname") or "localhost",
        "kernel": read_text(kernel / "osrelease") or os.uname().release,
    }
