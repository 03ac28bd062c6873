"""Processes: naming them, watching them and ending them, never by a bare pid."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import trio
from attrs import frozen

from ._record import ProcessName
from ._shortage import raise_if_short

OWNER_VARIABLE = "ORCHESTRION_OWNER"
CONTAINER_VARIABLE = "ORCHESTRION_CONTAINER_ID"
"""Variables that mark every process of a container: whose it is, and which container's."""

SHIM_VARIABLE = "ORCHESTRION_SHIM"
"""Marks a shim with "owner:container"."""


def boot_id() -> str:
    """Return the kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def stat_fields(pid: int) -> list[bytes]:
    """Return the fields of /proc/PID/stat from the third (the state) on; empty where there is no such process.

    Raises:
        OSError: Descriptors or memory are short.
    """
    try:
        data = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError as err:
        raise_if_short(err)
        return []
    return data.rpartition(b")")[2].split()


def start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None where there is none, or only its zombie."""
    fields = stat_fields(pid)
    if len(fields) < 20 or fields[0] in (b"Z", b"X"):
        return None
    return int(fields[19])


def open_process(name: ProcessName, current_boot: str) -> int | None:
    """Return a pidfd of a live process, or None where it has ended (a zombie has ended).

    Raises:
        OSError: Descriptors or memory are short.
    """
    if name.boot_id != current_boot or name.pid <= 0:
        return None
    try:
        pidfd = os.pidfd_open(name.pid)
    except OSError as err:
        raise_if_short(err)
        return None
    with ExitStack() as undo:
        undo.callback(os.close, pidfd)
        # Read after the pidfd was opened: from then on the number can't pass to another process unnoticed.
        if start_time(name.pid) != name.start_time:
            return None
        undo.pop_all()
    return pidfd


def send_signal(pidfd: int, number: int) -> None:
    """Send a signal; nothing happens to what has ended."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return


def reap(pidfd: int) -> None:
    """Reap a process that has ended, if it was started by this program."""
    try:
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return


async def wait_ended(pidfd: int) -> None:
    """Wait until the process has ended."""
    await trio.lowlevel.wait_readable(pidfd)


@frozen
class Marked:
    """A process that carries the marks of an owner.

    Attributes:
        pid: Its number.
        start_time: Its start in clock ticks since boot.
        container_id: The container that it belongs to.
    """

    pid: int
    start_time: int
    container_id: str


def _all_processes() -> list[int]:
    # Not by pathlib, which makes an object for each: there may be thousands.
    return [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]


def marked_processes(owner: str) -> Iterator[Marked]:
    """Yield the live processes that carry an owner's marks, shims too. Those of others that are closed are left out.

    Raises:
        OSError: Descriptors or memory are short.
    """
    of_owner = f"{OWNER_VARIABLE}={owner}".encode()
    container_mark = f"{CONTAINER_VARIABLE}=".encode()
    shim_mark = f"{SHIM_VARIABLE}={owner}:".encode()
    for pid in _all_processes():
        # Before the environment is read: if the number passes to another process meanwhile, this time is not its own.
        started = start_time(pid)
        if started is None:
            continue
        try:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError as err:
            raise_if_short(err)
            continue
        mark = container_mark if of_owner in variables else shim_mark
        container = next((v.removeprefix(mark) for v in variables if v.startswith(mark)), None)
        if container is not None:
            yield Marked(pid, started, container.decode(errors="replace"))


def kill_marked(process: Marked, current_boot: str) -> None:
    """Kill a process if it is still the one that was found."""
    name = ProcessName(boot_id=current_boot, pid=process.pid, start_time=process.start_time)
    pidfd = open_process(name, current_boot)
    if pidfd is None:
        return
    try:
        send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)


def descendants(pid: int) -> list[int]:
    """Return the processes that descend from one, without it."""
    parents: dict[int, list[int]] = {}
    for one in _all_processes():
        if fields := stat_fields(one):
            parents.setdefault(int(fields[1]), []).append(one)
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = parents.get(waiting.pop(), [])
        found += below
        waiting += below
    return found
