"""Opening a runtime."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import trio
from orchestrion.runtime_interface import RuntimeUnavailable
from orchestrion.shared_types import NodeId, StateFailure

from ._adoption import Found, load_records
from ._cgroups import Cgroups, find_bases, open_cgroups
from ._epochs import EpochMemory, Slot
from ._file_limit import FILE_LIMIT
from ._launch import interpreter
from ._plan import DEFAULT_PATH
from ._processes import boot_id
from ._runtime import ProcessRuntime
from ._settings import Settings
from ._state_dir import StateDirectory, open_state_directory, write_durably


def utc_now() -> datetime:
    """Return the wall clock's time."""
    return datetime.now(UTC)


def new_owner() -> str:
    """Return a mark that no other state directory has."""
    return secrets.token_hex(8)


def host_cgroups() -> dict[str, Path]:
    """Return where control groups can be made on this machine, by controller and "unified"; empty where nowhere."""
    try:
        return find_bases(Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text())
    except FileNotFoundError:
        return {}


def _remembered_cgroups(state: StateDirectory, bases: Mapping[str, Path]) -> Cgroups:
    """Make the owner's control groups, and remember where: the next program may have another place."""
    known = state.path / "cgroups"
    former = [Path(os.fsdecode(line)) for line in known.read_bytes().splitlines()] if known.exists() else []
    cgroups = open_cgroups(bases, state.owner, former)
    paths = [*cgroups.groups.values(), *cgroups.former]
    if set(paths) != set(former):
        write_durably(known, b"".join(os.fsencode(path) + b"\n" for path in paths))
    return cgroups


@asynccontextmanager
async def open_runtime(
    state_dir: Path,
    *,
    node_ids: Iterable[NodeId] | None = None,
    address: str = "127.0.0.1",
    log_segment_bytes: int = 10 << 20,
    log_segments: int = 5,
    log_buffer_bytes: int = 1 << 20,
    max_processes: int = 8192,
    search_path: str | None = None,
    no_new_privs: bool = True,
    shim_oom_score_adj: int = -500,
    cgroup_bases: Mapping[str, Path] | None = None,
    python: str | None = None,
    now: Callable[[], datetime] = utc_now,
    new_owner: Callable[[], str] = new_owner,
) -> AsyncIterator[ProcessRuntime]:
    """Open a process runtime on a state directory, and close it on leaving. What runs goes on running.

    Each container that runs costs a file descriptor: this program's soft limit of open files is raised to the hard
    one until the last runtime is closed. Containers have the limit from before.

    Args:
        state_dir: Holds all that the runtime knows; made where it does not exist. One program uses it at a time.
        node_ids: The nodes that it is the runtime of; None takes any.
        address: Where the containers' ports can be reached, and where sockets that are handed over listen.
        log_segment_bytes: The most bytes of a log segment together with its index, >= 4096.
        log_segments: How many segments are kept of each of a container's two streams, >= 1.
        log_buffer_bytes: How much output may wait for a slow disk, per stream, before the container waits, >= 1.
        max_processes: The most processes and threads of a container whose limits have no "pids"; 0 is unlimited.
        search_path: PATH of containers that have none; None takes this program's own.
        no_new_privs: Whether set-user-id programs have no effect in containers.
        shim_oom_score_adj: How unlikely the kernel is to kill shims when memory is short: 0 to -1000, where permitted.
        cgroup_bases: Where control groups are made, by controller ("memory", "cpu", "pids", "cpuacct", "freezer") and
            "unified"; None takes those of this program, empty does without.
        python: The interpreter that shims run on; None takes this program's.
        now: The wall clock, in UTC.
        new_owner: Makes the mark of a new state directory: letters and digits.

    Raises:
        RuntimeUnavailable: The directory can't be written to, or another program uses it.
        StateFailure: A later version wrote it; it was not touched.
    """
    if log_segment_bytes < 4096 or log_segments < 1 or log_buffer_bytes < 1:
        msg = "log_segment_bytes must be >= 4096, log_segments and log_buffer_bytes >= 1"
        raise ValueError(msg)

    def prepare(file_limit: int) -> tuple[Settings, list[Found], EpochMemory]:
        state = open_state_directory(state_dir, new_owner)
        try:
            settings = Settings(
                state=state,
                cgroups=_remembered_cgroups(state, host_cgroups() if cgroup_bases is None else cgroup_bases),
                boot_id=boot_id(),
                python=python or interpreter(),
                address=address,
                search_path=os.environ.get("PATH", DEFAULT_PATH) if search_path is None else search_path,
                file_limit=file_limit,
                max_processes=max_processes,
                log_segment_bytes=log_segment_bytes,
                log_segments=log_segments,
                log_buffer_bytes=log_buffer_bytes,
                shim_oom_score_adj=shim_oom_score_adj,
                no_new_privs=no_new_privs,
            )
            found = load_records(state)
            epochs = EpochMemory(state.epochs)
            epochs.load()
            for one in found:
                epochs.note(one.body.options.instance, one.body.config.name, one.body.options.attempt)
            if epochs.is_large:
                keys = [one.body.options.instance for one in found]
                held: set[Slot] = {(key.workload_id, key.index) for key in keys}
                epochs.rewrite(epochs.compacted(held))
        except OSError as err:
            state.close()
            msg = f"can't use the state directory {state.path}: {err.strerror}"
            raise RuntimeUnavailable(msg) from err
        except (RuntimeUnavailable, StateFailure):
            state.close()
            raise
        return settings, found, epochs

    with FILE_LIMIT.raised() as file_limit:
        settings, found, epochs = await trio.to_thread.run_sync(prepare, file_limit)
        runtime = ProcessRuntime(
            settings,
            node_ids=None if node_ids is None else frozenset(node_ids),
            found=found,
            epochs=epochs,
            now=now,
        )
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(runtime.run)
                try:
                    yield runtime
                finally:
                    await runtime.aclose()
        except BaseExceptionGroup as group:
            # The nursery is no business of the caller: what the caller's block raised comes out as it was.
            if len(group.exceptions) == 1:
                raise group.exceptions[0] from group.exceptions[0].__cause__
            raise
