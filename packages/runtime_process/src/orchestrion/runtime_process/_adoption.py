"""Finding out what became of containers, after a crash of the program or the end of a shim. Everything here blocks."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from attrs import evolve, frozen
from orchestrion.runtime_interface import RuntimeUnavailable
from orchestrion.shared_types import ContainerId, ExitStatus, StateFailure

from . import _cgroups, _processes
from ._record import (
    NODE_REBOOTED,
    RECORD_FILE,
    RECORD_LOST,
    SHIM_LOST,
    Body,
    Head,
    RecordDamaged,
    RecordTooNew,
    lock_record,
    parse_record,
    read_head,
    write_lost,
)
from ._settings import Settings
from ._state_dir import StateDirectory
from ._trees import remove_tree

_log = logging.getLogger(__name__)

_DEATH_SECONDS = 10.0
_LOOK_SECONDS = 0.002


@frozen(kw_only=True)
class Found:
    """A container's record that was found on disk.

    Attributes:
        container_id: Whose.
        body: What it says from the start.
        head: What was added to it.
    """

    container_id: ContainerId
    body: Body
    head: Head


def load_records(state: StateDirectory) -> list[Found]:
    """Read all records. One that is damaged is put aside for people, and what ran for it is swept up as a stray.

    Raises:
        StateFailure: A later version wrote one; nothing was changed.
    """
    found = []
    damaged = []
    for directory in sorted(state.containers.iterdir()):
        try:
            head, body = parse_record((directory / RECORD_FILE).read_bytes())
        except RecordTooNew as err:
            msg = f"{directory / RECORD_FILE}: {err}"
            raise StateFailure(msg, remedy="Use the later version; nothing was changed.") from err
        except (RecordDamaged, OSError) as err:
            damaged.append((directory, err))
            continue
        found.append(Found(container_id=ContainerId(directory.name), body=body, head=head))
    for directory, error in damaged:
        state.damaged.mkdir(mode=0o700, exist_ok=True)
        target = state.damaged / directory.name
        remove_tree(target)
        directory.rename(target)
        _log.error("the record of container %s is damaged (%s); it was moved to %s", directory.name, error, target)
    return found


@frozen(kw_only=True)
class Adopted:
    """What a container was found to be.

    Attributes:
        found: Its record.
        pidfd: Its shim where that lives.
        never_started: Nothing ever ran for it.
    """

    found: Found
    pidfd: int | None = None
    never_started: bool = False


def adopt_each(settings: Settings, left: Iterable[Found], adopted: list[Adopted]) -> list[Found]:
    """Find out what containers are like now. Return those whose shims are starting: ask again for them.

    Args:
        settings: What all have in common.
        left: The containers.
        adopted: Where the others are put, each as soon as its descriptor is open.

    Raises:
        OSError: A record can't be read; nothing was changed.
    """
    starting = []
    for found in left:
        one = _adopt(settings, found)
        if one is None:
            starting.append(found)
        else:
            adopted.append(one)
    return starting


def _adopt(settings: Settings, found: Found) -> Adopted | None:
    directory = settings.state.containers / found.container_id
    try:
        head = read_head(directory)
    except FileNotFoundError:
        return Adopted(found=found, never_started=True)  # Removed by an attempt that then failed elsewhere.
    except (RecordDamaged, RecordTooNew):
        head = found.head  # Damaged since it was found, by what runs; its end will tell so.
    if head.shim is not None:
        pidfd = _processes.open_process(head.shim, settings.boot_id)
        if pidfd is not None and head.main_pid is None and head.exit is None:
            os.close(pidfd)
            return None
        if pidfd is None:
            head = read_head(directory)  # It may have written its last between the first look and its end.
        return Adopted(found=Found(container_id=found.container_id, body=found.body, head=head), pidfd=pidfd)
    if found.body.boot_id != settings.boot_id:
        return Adopted(found=found)
    # No shim has signed. One may be on its way: then it holds the lock that it was started with.
    fd = os.open(directory / RECORD_FILE, os.O_RDWR)
    try:
        free = lock_record(fd)
    finally:
        os.close(fd)
    if not free:
        return None
    if read_head(directory).shim is not None:
        return None
    return Adopted(found=found, never_started=True)


def conclude(
    settings: Settings, container_id: ContainerId, body: Body, known: Head, now: Callable[[], datetime]
) -> Head:
    """Tidy up after a shim that has ended, and return the final word on its container.

    If the shim ended before its work was done, everything that is left of the container is killed first; if it could
    not say how the container ended, that is said in its place.

    Args:
        settings: What all have in common.
        container_id: The container.
        body: What its record said from the start.
        known: What was added to it when it was last read.
        now: The wall clock, in UTC.

    Raises:
        OSError: The disk refuses, or a process does not die; call again.
    """
    directory = settings.state.containers / container_id
    try:
        head = read_head(directory)
    except (FileNotFoundError, NotADirectoryError, RecordDamaged, RecordTooNew) as err:
        _log.error("how container %s ended is not known: its record is lost (%s)", container_id, err)
        lost = ExitStatus(reason=RECORD_LOST, message="the container's record was damaged or taken away while it ran")
        head = evolve(known, exit=lost, finished_at=now())
    if head.end is None:
        kill_leftovers(settings, container_id, body)
    if head.exit is None:
        if body.boot_id == settings.boot_id:
            reason, message = (
                SHIM_LOST,
                "the process that stood over the container was killed, and the container with it",
            )
        else:
            reason, message = NODE_REBOOTED, "the machine was restarted while the container ran"
        write_lost(directory, reason=reason, message=message, at=now())
        head = read_head(directory)
    if body.boot_id == settings.boot_id:
        _cgroups.kill(body.cgroups)
        _cgroups.remove(body.cgroups)
    return head


def kill_leftovers(settings: Settings, container_id: ContainerId, body: Body) -> None:
    """Kill what is left of a container whose shim is gone, by its control groups and by its marks.

    Raises:
        OSError: A process does not die.
    """
    if body.boot_id != settings.boot_id:
        return
    _cgroups.kill(body.cgroups)
    # What carries the mark but is in none of the groups: where there are none, or where it was moved out.
    kill_all_marked(settings, lambda one: one == container_id)


def kill_all_marked(settings: Settings, unwanted: Callable[[str], bool]) -> int:
    """Kill the processes with this owner's marks whose container is unwanted, until none is left. Return how many.

    Raises:
        TimeoutError: Some do not die.
    """
    killed: set[int] = set()
    deadline = time.monotonic() + _DEATH_SECONDS
    while found := [one for one in _processes.marked_processes(settings.state.owner) if unwanted(one.container_id)]:
        for process in found:
            _processes.kill_marked(process, settings.boot_id)
            killed.add(process.pid)
        # Dying takes a moment, and what forked meanwhile is found at the next look.
        time.sleep(_LOOK_SECONDS)
        if time.monotonic() > deadline:
            msg = f"processes {sorted(process.pid for process in found)} do not die"
            raise TimeoutError(msg)
    return len(killed)


def discard(settings: Settings, container_id: ContainerId, body: Body) -> None:
    """Remove all of a container that was never handed out.

    Raises:
        OSError: Something can't be removed.
    """
    kill_leftovers(settings, container_id, body)
    if body.boot_id == settings.boot_id:
        _cgroups.remove(body.cgroups)
    put_away(settings.state, container_id)


def put_away(state: StateDirectory, container_id: ContainerId) -> None:
    """Remove a container's directory: unlisted at once, then gone.

    Raises:
        RuntimeUnavailable: It can't be removed.
    """
    directory = state.containers / container_id
    target = state.trash / container_id
    try:
        remove_tree(target)
        directory.rename(target)
        remove_tree(target)
    except FileNotFoundError:
        return
    except OSError as err:
        msg = f"can't remove {err.filename or directory}: {err.strerror}"
        raise RuntimeUnavailable(msg, remedy="See what keeps it, then remove the container again.") from err


def sweep_strays(settings: Settings, live: Iterable[ContainerId]) -> int:
    """Kill and remove what carries this owner's marks but belongs to no live container. Return how much it was."""
    known = set(live)
    count = 0
    try:
        count += kill_all_marked(settings, lambda one: one not in known)
    except TimeoutError as err:
        _log.warning("strays: %s", err)
    if count:
        _log.warning("killed %d stray processes of containers that are not known", count)
    for groups in settings.cgroups.strays(known):
        try:
            _cgroups.kill(groups)
            _cgroups.remove(groups)
        except OSError as err:
            _log.warning("can't remove stray control groups %s: %s", ", ".join(groups.values()), err)
            continue
        count += 1
    return count


def last_words(directory: Path) -> str:
    """Return what a shim wrote before it ended, or ""."""
    try:
        return (directory / "shim.err").read_text(errors="replace").strip()[-500:]
    except OSError:
        return ""
