"""A container's record on disk: a head of fixed slots that the shim fills in, and a body that never changes.

The head is written in place, into blocks that were allocated when the container was created, so that a full disk can't
lose an exit status. Slot 0 names the format and its version; a slot that is all zero was never written.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from attrs import field, frozen
from immutabledict import immutabledict
from orchestrion.runtime_interface import CreateOptions
from orchestrion.shared_types import ConfigInvalid, ContainerConfig, ExitStatus, from_json, to_json

from ._shim import END_SLOT, EXIT_SLOT, MAIN_SLOT, SHIM_SLOT, SLOT_BYTES

FORMAT: Final = "orchestrion-process-container"
VERSION: Final = 1
HEAD_BYTES: Final = 4096
RECORD_FILE: Final = "record"

SHIM_LOST: Final = "shim-lost"
NODE_REBOOTED: Final = "node-rebooted"
RECORD_LOST: Final = "record-lost"


class RecordDamaged(Exception):
    """A record is not what this version wrote; the text says what is wrong with it."""


class RecordTooNew(Exception):
    """A record was written by a later version."""


@frozen(kw_only=True)
class Body:
    """What is known of a container from its creation on.

    Attributes:
        config: As it was given.
        options: As they were given.
        created_at: When (UTC).
        boot_id: The kernel's when it was created.
        environment: All of its environment.
        command: Program and arguments.
        working_dir: Where it starts.
        enter_as_owner: Whether the way to the working directory is closed to its user.
        user_id: The user to change to, or None.
        group_id: The group to change to, or None.
        group_ids: The supplementary groups to change to.
        cgroups: Directories of control groups by controller; "unified" is version 2.
    """

    config: ContainerConfig
    options: CreateOptions
    created_at: datetime
    boot_id: str
    environment: Mapping[str, str] = field(converter=immutabledict)
    command: tuple[str, ...]
    working_dir: str
    enter_as_owner: bool
    user_id: int | None = None
    group_id: int | None = None
    group_ids: tuple[int, ...] = ()
    cgroups: Mapping[str, str] = field(factory=immutabledict, converter=immutabledict)


@frozen(kw_only=True)
class ProcessName:
    """Names a process for ever.

    Attributes:
        boot_id: The boot that it belongs to.
        pid: Its number, which is used again after its end.
        start_time: Its start in clock ticks since boot.
    """

    boot_id: str
    pid: int
    start_time: int


@frozen(kw_only=True)
class Head:
    """What the shim, or the runtime in its place, has written.

    Attributes:
        shim: The shim, or None before it began.
        main_pid: The main process, or None before it ran.
        main_start_time: Its start in clock ticks since boot.
        started_at: When it began to run (UTC), or None.
        exit: How it ended, or None.
        finished_at: When (UTC), or None.
        end: Bytes written to stdout and stderr, and the processor time in nanoseconds; None before all was over.
    """

    shim: ProcessName | None = None
    main_pid: int | None = None
    main_start_time: int = 0
    started_at: datetime | None = None
    exit: ExitStatus | None = None
    finished_at: datetime | None = None
    end: tuple[int, int, int] | None = None


def new_record(body: Body) -> bytes:
    """Return a record in which no slot but the first is written."""
    first = f"{FORMAT} {VERSION}\n".encode().ljust(SLOT_BYTES, b"\0")
    return first.ljust(HEAD_BYTES, b"\0") + to_json(body)


def parse_record(data: bytes) -> tuple[Head, Body]:
    """Return what a record says.

    Raises:
        RecordTooNew: A later version wrote it.
        RecordDamaged: It is not whole.
    """
    head = parse_head(data)
    try:
        return head, from_json(data[HEAD_BYTES:], Body)
    except ConfigInvalid as err:
        raise RecordDamaged(str(err)) from err


def parse_head(data: bytes) -> Head:
    """Return what a record's slots say.

    Raises:
        RecordTooNew: A later version wrote it.
        RecordDamaged: They are not whole.
    """
    name, _, version = _slot(data, 0).partition(" ")
    if name != FORMAT or not version.isdigit():
        msg = f"it does not begin with {FORMAT!r} and a version"
        raise RecordDamaged(msg)
    if int(version) > VERSION:
        msg = f"its format has version {version}; this program reads up to {VERSION}"
        raise RecordTooNew(msg)
    try:
        return _parse_slots(data)
    except (ValueError, IndexError) as err:
        msg = f"a slot can't be read: {err}"
        raise RecordDamaged(msg) from err


def _parse_slots(data: bytes) -> Head:
    shim = main = None
    started_at = finished_at = None
    status = end = None
    start_time = 0
    if text := _slot(data, SHIM_SLOT):
        _, pid, start, boot_id = text.split()
        shim = ProcessName(boot_id=boot_id, pid=int(pid), start_time=int(start))
    if text := _slot(data, MAIN_SLOT):
        _, pid, start, at = text.split()
        main, start_time, started_at = int(pid), int(start), _time(at)
    if text := _slot(data, EXIT_SLOT):
        _, code, signal, out_of_memory, at, reason, message = text.split(" ", 6)
        finished_at = _time(at)
        status = ExitStatus(
            code=None if code == "-" else int(code),
            signal=None if signal == "-" else int(signal),
            out_of_memory=out_of_memory == "1",
            reason="" if reason == "-" else reason,
            message=message.strip(),
        )
    if text := _slot(data, END_SLOT):
        _, out, err, processor = text.split()
        end = int(out), int(err), int(processor)
    return Head(
        shim=shim,
        main_pid=main,
        main_start_time=start_time,
        started_at=started_at,
        exit=status,
        finished_at=finished_at,
        end=end,
    )


def _slot(data: bytes, number: int) -> str:
    line, newline, _ = data[number * SLOT_BYTES : (number + 1) * SLOT_BYTES].partition(b"\n")
    return line.decode(errors="replace") if newline else ""


def _time(nanoseconds: str) -> datetime:
    return datetime.fromtimestamp(int(nanoseconds) / 1e9, UTC)


def read_head(directory: Path) -> Head:
    """Return what the slots of a container's record say now."""
    with (directory / RECORD_FILE).open("rb") as file:
        return parse_head(file.read(HEAD_BYTES))


def write_lost(directory: Path, *, reason: str, message: str, at: datetime) -> None:
    """Write the exit status that a shim could not, durably. It blocks."""
    nanoseconds = int(at.timestamp() * 1e9)
    line = f"exit - - 0 {nanoseconds} {reason} {message}".encode()[: SLOT_BYTES - 1] + b"\n"
    fd = os.open(directory / RECORD_FILE, os.O_WRONLY)
    try:
        os.pwrite(fd, line.ljust(SLOT_BYTES, b"\0"), EXIT_SLOT * SLOT_BYTES)
        os.fsync(fd)
    finally:
        os.close(fd)


def lock_record(fd: int) -> bool:
    """Lock a record. False: a shim, or its child before exec, holds the lock and so is alive."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
