"""Control groups of version 1 and 2, together or alone, wherever this program may make them.

Limits come from whichever version has the controller. Killing comes from version 2 where it is mounted, with or without
controllers, because there the kernel kills a whole group at once.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from ._shortage import raise_if_short

UNIFIED: Final = "unified"
LIMITING: Final = ("memory", "cpu", "pids")
_FIRST_VERSION: Final = ("memory", "cpu", "pids", "cpuacct", "freezer")
_PERIOD_MICROSECONDS: Final = 100_000
_EMPTY_SECONDS: Final = 10.0


@frozen(kw_only=True)
class Limits:
    """What a control group is to hold its processes to; 0 is unlimited.

    Attributes:
        memory_bytes: The most memory.
        cpu_millicores: The most processor time.
        processes: The most processes and threads.
        cpu_share_millicores: What it is promised when processors are short.
    """

    memory_bytes: int = 0
    cpu_millicores: int = 0
    processes: int = 0
    cpu_share_millicores: int = 0


@frozen(kw_only=True)
class Usage:
    """What a control group uses; None where it doesn't count that."""

    cpu_nanoseconds: int | None = None
    memory_bytes: int | None = None
    processes: int | None = None


def find_bases(mountinfo: str, membership: str) -> dict[str, Path]:
    """Return where groups can be made beside this program's own, by controller and "unified".

    Args:
        mountinfo: The text of /proc/self/mountinfo.
        membership: The text of /proc/self/cgroup.
    """
    own: dict[str, str] = {}
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(",") if controllers else [UNIFIED]:
            own[controller] = path
    bases: dict[str, Path] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        root, mount_point = before.split()[3:5]
        if kind == "cgroup2":
            names = [UNIFIED]
        elif kind == "cgroup":
            names = [name for name in options.rpartition(" ")[2].split(",") if name in _FIRST_VERSION]
        else:
            continue
        for name in names:
            if name in own:
                below = own[name] if root == "/" else own[name].removeprefix(root)
                bases.setdefault(name, Path(mount_point) / below.lstrip("/"))
    return bases


@define
class Cgroups:
    """The control groups of one owner.

    Attributes:
        folder: The name of the owner's own group in each hierarchy.
        groups: The owner's groups by controller, where they could be made.
        unified_controllers: The controllers that version 2 limits with.
        former: The owner's groups where an earlier program had its place in the hierarchies, not here.
    """

    folder: str
    groups: dict[str, Path] = field(factory=dict)
    unified_controllers: frozenset[str] = frozenset()
    former: tuple[Path, ...] = ()

    @property
    def enforced(self) -> frozenset[str]:
        """Which of memory, cpu and pids can be limited."""
        return self.unified_controllers | (frozenset(LIMITING) & frozenset(self.groups))

    def make(self, container_id: str, limits: Limits) -> dict[str, str]:
        """Make a container's groups and set their limits. Return their directories by controller. It blocks.

        Raises:
            OSError: The kernel refused; what was made is removed again.
        """
        made: dict[str, str] = {}
        try:
            for controller, group in self.groups.items():
                if controller == "cpu" and not (limits.cpu_millicores or limits.cpu_share_millicores):
                    continue
                directory = group / container_id
                directory.mkdir(exist_ok=True)
                made[controller] = str(directory)
                if controller == UNIFIED:
                    self._limit_second(directory, limits)
                else:
                    _limit_first(controller, directory, limits)
        except OSError:
            remove(made)
            raise
        return made

    def of(self, container_id: str) -> dict[str, str]:
        """Return where a container's groups are, if it has them, by controller."""
        return {controller: str(group / container_id) for controller, group in self.groups.items()}

    def _limit_second(self, directory: Path, limits: Limits) -> None:
        if "memory" in self.unified_controllers and limits.memory_bytes:
            (directory / "memory.max").write_text(str(limits.memory_bytes))
            (directory / "memory.oom.group").write_text("1")
            swap = directory / "memory.swap.max"
            if swap.exists():
                swap.write_text("0")
        if "cpu" in self.unified_controllers:
            if limits.cpu_millicores:
                (directory / "cpu.max").write_text(f"{_quota(limits.cpu_millicores)} {_PERIOD_MICROSECONDS}")
            if limits.cpu_share_millicores:
                weight = limits.cpu_share_millicores // 10
                (directory / "cpu.weight").write_text(str(min(max(weight, 1), 10_000)))
        if "pids" in self.unified_controllers and limits.processes:
            (directory / "pids.max").write_text(str(limits.processes))

    def strays(self, known: Iterable[str]) -> Iterator[dict[str, str]]:
        """Yield the owner's groups of containers that are not known."""
        wanted = set(known)
        found: dict[str, dict[str, str]] = {}
        places = [*self.groups.items(), *((str(group), group) for group in self.former)]
        for controller, group in places:
            for entry in os.scandir(group):
                if entry.is_dir() and entry.name not in wanted:
                    found.setdefault(entry.name, {})[controller] = entry.path
        yield from found.values()

    def close(self) -> None:
        """Remove the owner's groups if they are empty. It blocks."""
        for group in (*self.groups.values(), *self.former):
            try:
                group.rmdir()
            except OSError:
                continue


def open_cgroups(bases: Mapping[str, Path], owner: str, former: Iterable[Path] = ()) -> Cgroups:
    """Make the owner's groups wherever that is permitted. It blocks.

    Args:
        bases: Where, by controller and "unified".
        owner: The owner's mark.
        former: Groups that the owner was known to have.
    """
    folder = f"orchestrion-{owner}"
    groups: dict[str, Path] = {}
    controllers: frozenset[str] = frozenset()
    for name, base in bases.items():
        if (name == "freezer" or name == "cpuacct") and UNIFIED in bases:
            continue
        group = base / folder
        try:
            group.mkdir(exist_ok=True)
            # Permission to make a group is not yet permission to use it.
            if not os.access(group / "cgroup.procs", os.W_OK):
                group.rmdir()
                continue
            if name == UNIFIED:
                controllers = _delegate(base, group, set(LIMITING) - set(bases))
        except OSError:
            continue
        groups[name] = group
    elsewhere = tuple(group for group in former if group not in groups.values() and group.is_dir())
    return Cgroups(folder, groups, controllers, elsewhere)


def _delegate(base: Path, group: Path, wanted: set[str]) -> frozenset[str]:
    """Let `group` limit with the controllers of version 2 that can be had. Return them."""
    offered = (base / "cgroup.controllers").read_text().split()
    had = []
    for controller in sorted(wanted & set(offered)):
        try:
            for place in (base, group):
                (place / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError:
            continue  # Processes in `base`, or it is not delegated to us.
        had.append(controller)
    return frozenset(had)


def _limit_first(controller: str, directory: Path, limits: Limits) -> None:
    if controller == "memory" and limits.memory_bytes:
        (directory / "memory.limit_in_bytes").write_text(str(limits.memory_bytes))
        with_swap = directory / "memory.memsw.limit_in_bytes"
        if with_swap.exists():
            with_swap.write_text(str(limits.memory_bytes))
    elif controller == "cpu":
        if limits.cpu_millicores:
            (directory / "cpu.cfs_period_us").write_text(str(_PERIOD_MICROSECONDS))
            (directory / "cpu.cfs_quota_us").write_text(str(_quota(limits.cpu_millicores)))
        if limits.cpu_share_millicores:
            (directory / "cpu.shares").write_text(str(max(limits.cpu_share_millicores * 1024 // 1000, 2)))
    elif controller == "pids" and limits.processes:
        (directory / "pids.max").write_text(str(limits.processes))


def _quota(millicores: int) -> int:
    return max(millicores * _PERIOD_MICROSECONDS // 1000, 1000)  # the kernel takes no less than 1 ms


def join_files(groups: Mapping[str, str]) -> list[str]:
    """Return the files that a process writes "0" to in order to join the groups of version 1.

    "tasks" moves one thread, without the wait for a grace period that "cgroup.procs" brings.
    """
    return [f"{directory}/tasks" for controller, directory in groups.items() if controller != UNIFIED]


def kill_file(groups: Mapping[str, str]) -> str:
    """Return the file that kills the group when "1" is written to it, or "" where there is none (before Linux 5.14)."""
    path = f"{groups[UNIFIED]}/cgroup.kill" if UNIFIED in groups else ""
    return path if path and Path(path).exists() else ""


def oom_file(groups: Mapping[str, str]) -> str:
    """Return the file with the counter `oom_kill`, or ""."""
    if "memory" in groups:
        return f"{groups['memory']}/memory.oom_control"
    path = f"{groups[UNIFIED]}/memory.events" if UNIFIED in groups else ""
    return path if path and Path(path).exists() else ""


def cpu_file(groups: Mapping[str, str]) -> str:
    """Return the file that tells the processor time, after the word "usage_usec" or alone in nanoseconds; or ""."""
    if UNIFIED in groups:
        return f"{groups[UNIFIED]}/cpu.stat"
    return f"{groups['cpuacct']}/cpuacct.usage" if "cpuacct" in groups else ""


def members(groups: Mapping[str, str]) -> set[int]:
    """Return the processes in any of the groups, or in those that containers have made within them.

    Raises:
        OSError: Descriptors or memory are short.
    """
    found: set[int] = set()
    for folder in _folders(groups):
        try:
            found.update(int(pid) for pid in Path(folder, "cgroup.procs").read_text().split())
        except OSError as err:
            raise_if_short(err)
    return found


def _folders(groups: Mapping[str, str]) -> list[str]:
    """Return the groups and all within them, each before those within it."""
    found: list[str] = []
    waiting = list(groups.values())
    while waiting:
        folder = waiting.pop()
        found.append(folder)
        try:
            with os.scandir(folder) as entries:
                waiting += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError as err:
            raise_if_short(err)
    return found


def kill(groups: Mapping[str, str]) -> None:
    """Kill everything in the groups and wait until they are empty. It blocks.

    Raises:
        TimeoutError: Something in them does not die.
    """
    deadline = time.monotonic() + _EMPTY_SECONDS
    whole = kill_file(groups)
    while members(groups):
        if whole:
            Path(whole).write_text("1")
        else:
            _freeze_and_kill(groups)
        time.sleep(0.002)
        if time.monotonic() > deadline:
            msg = f"processes {sorted(members(groups))} do not die"
            raise TimeoutError(msg)


def _freeze_and_kill(groups: Mapping[str, str]) -> None:
    state = Path(groups["freezer"], "freezer.state") if "freezer" in groups else None
    if state is not None:
        state.write_text("FROZEN")
    try:
        for pid in members(groups):
            try:
                # What is a member now can't be a stranger: while frozen nothing in the group dies of itself, and a
                # number is only given to another process once its former one was reaped.
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    finally:
        if state is not None:
            state.write_text("THAWED")


def remove(groups: Mapping[str, str]) -> None:
    """Remove groups whose processes have ended, and those within them. Missing ones are success. It blocks.

    Raises:
        OSError: A group is not empty.
    """
    for directory in reversed(_folders(groups)):
        for tries in range(200):
            try:
                Path(directory).rmdir()
            except FileNotFoundError:
                pass
            except OSError as err:
                # A dying process leaves its group a moment after it can be waited for.
                if err.errno != errno.EBUSY or tries == 199:
                    raise
                time.sleep(0.001)
                continue
            break


def usage(groups: Mapping[str, str]) -> Usage:
    """Return what the groups count. It blocks."""
    return Usage(
        cpu_nanoseconds=_cpu(groups),
        memory_bytes=_number(groups, "memory", "memory.usage_in_bytes", "memory.current"),
        processes=_number(groups, "pids", "pids.current", "pids.current"),
    )


def _cpu(groups: Mapping[str, str]) -> int | None:
    if UNIFIED in groups:
        try:
            for line in Path(groups[UNIFIED], "cpu.stat").read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == "usage_usec":
                    return int(value) * 1000
        except OSError:
            return None
    return _number(groups, "cpuacct", "cpuacct.usage", "")


def _number(groups: Mapping[str, str], controller: str, first: str, second: str) -> int | None:
    if controller in groups:
        path = Path(groups[controller], first)
    elif UNIFIED in groups and second:
        path = Path(groups[UNIFIED], second)
    else:
        return None
    try:
        return int(path.read_text())
    except OSError:
        return None
