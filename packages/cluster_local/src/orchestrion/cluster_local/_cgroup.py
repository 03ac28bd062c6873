"""Finds the cgroups that this process is in, of version 1 and 2, up to the outermost that can be seen.

The formats are those of cgroups(7) and of proc_pid_mountinfo(5).
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from attrs import frozen

from ._files import read_fields, read_int, read_text

_ESCAPE = re.compile(r"\\([0-7]{3})")

NO_LIMIT = 1 << 60
"""Version 1 writes "no limit" as the largest number of whole pages, which is above this."""


@frozen
class Cgroup:
    """One directory of a hierarchy.

    Attributes:
        directory: Where it is.
        version: 1 or 2.
    """

    directory: Path
    version: int

    def memory_limit_bytes(self) -> int | None:
        """Return the limit of this cgroup, or None where it has none."""
        name = "memory.max" if self.version == 2 else "memory.limit_in_bytes"
        limit = read_int(self.directory / name)
        return None if limit is None or limit >= NO_LIMIT else limit

    def memory_used_bytes(self) -> int | None:
        """Return what is in use and can't be given back at once, or None where that isn't told."""
        name, cache = (
            ("memory.current", "inactive_file")
            if self.version == 2
            else ("memory.usage_in_bytes", "total_inactive_file")
        )
        used = read_int(self.directory / name)
        if used is None:
            return None
        reclaimable = read_fields(self.directory / "memory.stat").get(cache, "0")
        return max(0, used - (int(reclaimable) if reclaimable.isdigit() else 0))

    def cpu_quota_millicores(self) -> int | None:
        """Return how many thousandths of a core this cgroup may use, or None where it has no quota."""
        if self.version == 2:
            quota_text, _, period_text = (read_text(self.directory / "cpu.max") or "max").partition(" ")
            quota = int(quota_text) if quota_text.isdigit() else None
            period = int(period_text) if period_text.isdigit() else 100_000
        else:
            quota = read_int(self.directory / "cpu.cfs_quota_us")
            period = read_int(self.directory / "cpu.cfs_period_us") or 100_000
        if quota is None or quota <= 0 or period <= 0:
            return None
        return quota * 1000 // period


def cgroups_of_this_process(root: Path, controller: str) -> list[Cgroup]:
    """Return the process's cgroup of that controller and those around it, innermost first; both versions.

    Args:
        root: Where proc and sys are.
        controller: "cpu" or "memory".
    """
    found: list[Cgroup] = []
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            found += _chain(root, path, 2, None)
        elif controller in controllers.split(","):
            found += _chain(root, path, 1, controller)
    return found


def _chain(root: Path, path: str, version: int, controller: str | None) -> list[Cgroup]:
    mount = _mount(root, version, controller)
    if mount is None:
        return []
    inner, directory = mount
    parts: tuple[str, ...] = ()
    own = PurePosixPath(path)
    # A path outside of what is mounted (a container without a cgroup namespace): only the mount's own top can be seen.
    if own.is_relative_to(inner) and ".." not in own.parts:
        parts = own.relative_to(inner).parts
    return [Cgroup(directory.joinpath(*parts[:depth]), version) for depth in range(len(parts), -1, -1)]


def _mount(root: Path, version: int, controller: str | None) -> tuple[PurePosixPath, Path] | None:
    """Return which part of the hierarchy is mounted, and where."""
    for line in (read_text(root / "proc/self/mountinfo") or "").splitlines():
        before, separator, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if not separator or len(fields) < 5 or len(kind) < 3:
            continue
        is_wanted = kind[0] == "cgroup2" if version == 2 else kind[0] == "cgroup" and controller in kind[2].split(",")
        if is_wanted:
            return PurePosixPath(_unescape(fields[3])), root / _unescape(fields[4]).lstrip("/")
    return None


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match.group(1), 8)), text)
