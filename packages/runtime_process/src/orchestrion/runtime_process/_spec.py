"""What a shim is told."""

from __future__ import annotations

from typing import TypedDict


class Spec(TypedDict):
    """What a shim is told, as a `marshal` value. All paths are absolute.

    Attributes:
        command_only: True runs a command in a container that another shim stands over.
        terminal: Whether the command's standard streams are a terminal, which is to control its session.
        command: Program and arguments.
        environment: All of it.
        working_dir: Where the command starts.
        enter_as_owner: Whether to enter it before the change of user, because the way to it is closed to that user.
        user: User, group and supplementary groups to change to, or None.
        rlimits: Resource, soft and hard limit.
        cpus: The only cores to run on; empty for all.
        no_new_privs: Whether set-user-id programs are to have no effect.
        sockets: How many listening sockets are handed over.
        cgroup: A directory of cgroup v2 to start in, or empty.
        join: Files to write "0" to, in order to join further control groups.
        kill_file: Writing "1" to it kills the whole control group; or empty.
        oom_file: Has the counter `oom_kill`; or empty.
        cpu_file: Tells the processor time of the control group; or empty.
        oom_score_adj: The shim's own; 0 leaves it.
        fds: All descriptors that the shim was given, but for its standard streams.
        boot_id: The kernel's.
        directory: The container's.
        logs: Where segments are written.
        segment_bytes: The most of a segment and its index.
        segments: How many are kept per stream.
        buffer_bytes: How much output may wait for the disk, per stream.
    """

    command_only: bool
    terminal: bool
    command: list[bytes]
    environment: dict[bytes, bytes]
    working_dir: str
    enter_as_owner: bool
    user: tuple[int, int, list[int]] | None
    rlimits: list[tuple[int, int, int]]
    cpus: list[int]
    no_new_privs: bool
    sockets: int
    cgroup: str
    join: list[str]
    kill_file: str
    oom_file: str
    cpu_file: str
    oom_score_adj: int
    fds: list[int]
    boot_id: str
    directory: str
    logs: str
    segment_bytes: int
    segments: int
    buffer_bytes: int
