"""What a container uses, from its control groups or from /proc. Everything here blocks."""

from __future__ import annotations

import os
from pathlib import Path

from . import _cgroups
from ._cgroups import Usage
from ._processes import descendants, stat_fields
from ._record import Body, ProcessName

_TICK_NANOSECONDS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_UTIME, _CUTIME = 11, 13  # places in /proc/PID/stat, counted from the third field on; stime and cstime follow


def usage_of(body: Body, shim: ProcessName | None) -> Usage:
    """Return what a running container uses; groups count exactly, and what they don't count is added up from /proc."""
    counted = _cgroups.usage(body.cgroups)
    if None not in (counted.cpu_nanoseconds, counted.memory_bytes, counted.processes) or shim is None:
        return counted
    added = _added_up(shim.pid)
    return Usage(
        cpu_nanoseconds=added.cpu_nanoseconds if counted.cpu_nanoseconds is None else counted.cpu_nanoseconds,
        memory_bytes=added.memory_bytes if counted.memory_bytes is None else counted.memory_bytes,
        processes=added.processes if counted.processes is None else counted.processes,
    )


def _added_up(shim: int) -> Usage:
    ticks = memory = processes = 0
    for pid in [shim, *descendants(shim)]:
        fields = stat_fields(pid)
        if not fields:
            continue
        # What has ended and was reaped is in the times of its parent's children; the shim's own time does not count.
        ticks += int(fields[_CUTIME]) + int(fields[_CUTIME + 1])
        if pid == shim:
            continue
        ticks += int(fields[_UTIME]) + int(fields[_UTIME + 1])
        processes += 1
        try:
            memory += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
        except OSError:
            continue
    return Usage(cpu_nanoseconds=ticks * _TICK_NANOSECONDS, memory_bytes=memory, processes=processes)
