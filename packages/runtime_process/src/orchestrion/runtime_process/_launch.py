"""Making a container's directory and starting its shim. Everything here blocks, and runs in a thread."""

from __future__ import annotations

import errno
import fcntl
import marshal
import os
import resource
import select
import signal
import socket
import sys
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from attrs import frozen
from orchestrion.runtime_interface import CreateOptions, RuntimeUnavailable, StartFailed
from orchestrion.shared_types import ContainerConfig, ContainerId

from . import _cgroups
from ._adoption import kill_all_marked, kill_leftovers
from ._cgroups import Cgroups, Limits
from ._plan import environment_of, limits_of
from ._ports import open_ports
from ._processes import SHIM_VARIABLE, reap, send_signal
from ._record import RECORD_FILE, Body, lock_record, new_record
from ._settings import Settings
from ._shim import FIRST_FD, RECORD_FD, REPORT_FD, SPEC_FD
from ._spec import Spec
from ._state_dir import make_passable, sync_directory
from ._trees import remove_tree
from ._users import User, find_user

TERMINAL_KIND = b"xterm"
"""What a terminal is taken for where the container does not say: what nearly all of them understand."""

_MAX_RLIMIT = (1 << 63) - 1
_FULL = (errno.ENOSPC, errno.EDQUOT)
_HIGH_FD = 100  # above all numbers that a shim is given, so that none is overwritten before it is copied


@frozen(kw_only=True)
class Started:
    """A shim that was started.

    Attributes:
        body: What the container's record says.
        pidfd: The shim.
        report_fd: Where it reports.
    """

    body: Body
    pidfd: int
    report_fd: int


def start_container(
    settings: Settings,
    container_id: ContainerId,
    config: ContainerConfig,
    options: CreateOptions,
    created_at: datetime,
) -> Started:
    """Write down what is to be, then start the shim.

    A crash at any point leaves nothing, or a directory that is not in place, or a record that says what to look for.

    Raises:
        PortTaken: A port is in use; nothing is left.
        StartFailed: It can't be; nothing is left.
        ConfigUnsupported: It may not be; nothing is left.
        ValueError: A text or a number is none that the system can be given; nothing is left.
        OverflowError: The same.
        RuntimeUnavailable: Not now; nothing is left.
        OSError: Not now, and what was begun could not be undone; see `clean_up`.
    """
    if (settings.state.containers / container_id).exists():
        msg = f"container {container_id} is there already, of a node that was not initialised"
        raise RuntimeUnavailable(msg, remedy="Initialise that node.")
    with ExitStack() as undo, ExitStack() as close:
        sockets = [close.enter_context(opened) for opened in open_ports(config.ports, settings.address)]
        user = find_user(config.user)
        limits = limits_of(config, max_processes=settings.max_processes)
        _check_places(config, options)
        groups = _make_groups(settings.cgroups, container_id, limits)
        undo.callback(_cgroups.remove, groups)
        try:
            body = _make_directory(settings, container_id, config, options, created_at, user, groups, undo)
            undo.callback(kill_leftovers, settings, container_id, body)
            report_fd, pidfd = _start_shim(settings, container_id, body, sockets)
            undo.callback(_abandon, pidfd, report_fd)
            _sync(settings, container_id)
        except OSError as err:
            full = " (the disk is full)" if err.errno in _FULL else ""
            msg = f"can't make container {container_id} below {settings.state.path}: {err.strerror}{full}"
            raise RuntimeUnavailable(msg) from err
        undo.pop_all()
    return Started(body=body, pidfd=pidfd, report_fd=report_fd)


def clean_up(settings: Settings, container_id: ContainerId) -> None:
    """Remove whatever an attempt to start a container has left.

    Raises:
        OSError: Something can't be removed; call again.
    """
    groups = settings.cgroups.of(container_id)
    _cgroups.kill(groups)
    kill_all_marked(settings, lambda one: one == container_id)
    _cgroups.remove(groups)
    for folder in (settings.state.containers, settings.state.new):
        remove_tree(folder / container_id)


def _check_places(config: ContainerConfig, options: CreateOptions) -> None:
    sources = {source.volume: source.host_path for source in options.volumes}
    for mount in config.volumes:
        if not Path(sources[mount.volume]).is_dir():
            msg = f"volume {mount.volume!r}: there is no directory {sources[mount.volume]}"
            raise StartFailed(msg)


def _make_groups(cgroups: Cgroups, container_id: str, limits: Limits) -> dict[str, str]:
    try:
        return cgroups.make(container_id, limits)
    except OSError as err:
        msg = f"can't limit container {container_id}: {err.filename}: {err.strerror}"
        raise StartFailed(msg) from err


def _make_directory(
    settings: Settings,
    container_id: ContainerId,
    config: ContainerConfig,
    options: CreateOptions,
    created_at: datetime,
    user: User | None,
    groups: dict[str, str],
    undo: ExitStack,
) -> Body:
    state = settings.state
    final = state.containers / container_id
    directory = state.new / container_id
    remove_tree(directory)  # What an attempt that failed twice over may have left.
    undo.callback(remove_tree, directory)
    make_passable(directory)
    (directory / "logs").mkdir(mode=0o700)
    private = ["tmp"] if config.working_dir is not None else ["tmp", "work"]
    for name in private:
        (directory / name).mkdir(mode=0o700)
        if user is not None:
            os.chown(directory / name, user.user_id, user.group_id)
    body = Body(
        config=config,
        options=options,
        created_at=created_at,
        boot_id=settings.boot_id,
        environment=environment_of(
            config,
            inherited=os.environ,
            search_path=settings.search_path,
            temporary=str(final / "tmp"),
            owner=state.owner,
            container_id=container_id,
        ),
        command=(*config.command, *config.args),
        working_dir=str(final / "work") if config.working_dir is None else config.working_dir,
        enter_as_owner=config.working_dir is None,
        user_id=None if user is None else user.user_id,
        group_id=None if user is None else user.group_id,
        group_ids=() if user is None else user.group_ids,
        cgroups=groups,
    )
    fd = os.open(directory / RECORD_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "wb", closefd=False) as file:
            file.write(new_record(body))
    finally:
        os.close(fd)
    directory.rename(final)
    undo.callback(remove_tree, final)
    return body


def _sync(settings: Settings, container_id: ContainerId) -> None:
    """Make the record durable before anybody is told of the container.

    It is done while the shim starts: against a crash of this program what was written is enough, and a crash of the
    machine ends the shim as well.
    """
    directory = settings.state.containers / container_id
    fd = os.open(directory / RECORD_FILE, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    sync_directory(directory)
    sync_directory(settings.state.containers)


def _abandon(pidfd: int, report_fd: int) -> None:
    """End a shim that nobody will be told of."""
    os.close(report_fd)
    send_signal(pidfd, signal.SIGKILL)
    ended = select.poll()
    ended.register(pidfd, select.POLLIN)
    ended.poll()
    reap(pidfd)
    os.close(pidfd)


def _start_shim(
    settings: Settings, container_id: ContainerId, body: Body, sockets: list[socket.socket]
) -> tuple[int, int]:
    directory = settings.state.containers / container_id
    with ExitStack() as close:
        record = _opened(close, os.open(directory / RECORD_FILE, os.O_RDWR))
        lock_record(record)
        read_end, write_end = os.pipe()
        _opened(close, write_end)
        given = {RECORD_FD: record, REPORT_FD: write_end}
        given.update({FIRST_FD + number: opened.fileno() for number, opened in enumerate(sockets)})
        spec = _spec_of(settings, directory, body)
        spec["sockets"] = len(sockets)
        try:
            pidfd = spawn_shim(settings, container_id, spec, given, errors=directory / "shim.err")
        except OSError:
            os.close(read_end)
            raise
        return read_end, pidfd


def _spec_of(settings: Settings, directory: Path, body: Body) -> Spec:
    user = None
    if body.user_id is not None and body.group_id is not None:
        user = (body.user_id, body.group_id, list(body.group_ids))
    return Spec(
        command_only=False,
        terminal=False,
        command=[os.fsencode(word) for word in body.command],
        environment={os.fsencode(name): os.fsencode(value) for name, value in body.environment.items()},
        working_dir=body.working_dir,
        enter_as_owner=body.enter_as_owner,
        user=user,
        rlimits=_rlimits(settings, body, other_user=user is not None and user[0] != 0),
        cpus=list(body.config.cpu_set or ()),
        no_new_privs=settings.no_new_privs,
        sockets=0,
        cgroup=body.cgroups.get(_cgroups.UNIFIED, ""),
        join=_cgroups.join_files(body.cgroups),
        kill_file=_cgroups.kill_file(body.cgroups),
        oom_file=_cgroups.oom_file(body.cgroups),
        cpu_file=_cgroups.cpu_file(body.cgroups),
        oom_score_adj=settings.shim_oom_score_adj,
        fds=[],
        boot_id=settings.boot_id,
        directory=str(directory),
        logs=str(directory / "logs"),
        segment_bytes=settings.log_segment_bytes,
        segments=settings.log_segments,
        buffer_bytes=settings.log_buffer_bytes,
    )


def _rlimits(settings: Settings, body: Body, *, other_user: bool) -> list[tuple[int, int, int]]:
    """Return the limits of single processes: no core files, and a poor substitute for groups that can't be made."""
    limits = limits_of(body.config, max_processes=settings.max_processes)
    found = [
        _lowered(resource.RLIMIT_CORE, 0, soft_only=True),
        _lowered(resource.RLIMIT_NOFILE, settings.file_limit, soft_only=True),
    ]
    if limits.memory_bytes and "memory" not in settings.cgroups.enforced:
        found.append(_lowered(resource.RLIMIT_DATA, limits.memory_bytes))
    # RLIMIT_NPROC counts all processes of the user: only a user of its own can be limited so, and never root.
    if limits.processes and other_user and "pids" not in settings.cgroups.enforced:
        found.append(_lowered(resource.RLIMIT_NPROC, limits.processes))
    return found


def _lowered(kind: int, value: int, *, soft_only: bool = False) -> tuple[int, int, int]:
    _, hard = resource.getrlimit(kind)
    lowered = min(value, _MAX_RLIMIT) if hard == resource.RLIM_INFINITY else min(value, hard)
    return kind, lowered, hard if soft_only else lowered


def exec_spec(settings: Settings, directory: Path, body: Body, command: list[bytes], *, terminal: bool) -> Spec:
    """Return what the shim of a command in a container is told."""
    spec = _spec_of(settings, directory, body)
    spec["command_only"] = True
    spec["terminal"] = terminal
    if terminal:
        spec["environment"].setdefault(b"TERM", TERMINAL_KIND)
    spec["command"] = command
    spec["kill_file"] = ""  # It would kill the whole container.
    for name in (b"LISTEN_FDS", b"LISTEN_FDNAMES"):
        spec["environment"].pop(name, None)
    return spec


def spawn_shim(settings: Settings, container_id: str, spec: Spec, given: dict[int, int], *, errors: Path) -> int:
    """Start a shim and return a pidfd of it.

    Args:
        settings: What all have in common.
        container_id: Whose it is.
        spec: What it is told.
        given: Which of our descriptors it gets, by the number that it gets them as.
        errors: A file that it may write its last words to.

    Raises:
        OSError: It can't be started.
    """
    spec["fds"] = sorted(given)
    with ExitStack() as close:
        told = _opened(close, os.memfd_create("orchestrion-shim"))
        os.write(told, marshal.dumps(dict(spec)))
        os.lseek(told, 0, os.SEEK_SET)
        null = _opened(close, os.open("/dev/null", os.O_RDWR))
        log = _opened(close, os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        sources = {0: null, 1: null, 2: log, SPEC_FD: told, **given}
        actions: list[tuple[int, int, int]] = []
        for target, source in sources.items():
            high = _opened(close, fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, _HIGH_FD))
            actions.append((os.POSIX_SPAWN_DUP2, high, target))
        environment = {SHIM_VARIABLE: f"{settings.state.owner}:{container_id}"}
        if "LD_LIBRARY_PATH" in os.environ:
            environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        pid = os.posix_spawn(
            settings.python,
            [settings.python, "-S", "-E", "-I", str(settings.state.shim), container_id],
            environment,
            file_actions=actions,
            # From its first moment, so that a signal of our terminal never meets it.
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD],
        )
        try:
            return os.pidfd_open(pid)
        except OSError:
            # The number is its own until we wait for it.
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise


def _opened(close: ExitStack, fd: int) -> int:
    close.callback(os.close, fd)
    return fd


def interpreter() -> str:
    """Return the interpreter that runs this program.

    Raises:
        RuntimeUnavailable: It can't be told, as in some embedding programs.
    """
    if not sys.executable:
        msg = "can't tell which Python interpreter runs this program, and shims need one"
        raise RuntimeUnavailable(msg, remedy="Give `python` to `open_runtime`.")
    return sys.executable
