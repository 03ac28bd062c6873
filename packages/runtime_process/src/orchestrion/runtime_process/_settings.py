"""What all containers of a runtime have in common."""

from __future__ import annotations

from attrs import frozen

from ._cgroups import Cgroups
from ._state_dir import StateDirectory


@frozen(kw_only=True)
class Settings:
    """What does not differ between containers.

    Attributes:
        state: The state directory.
        cgroups: The owner's control groups.
        boot_id: The kernel's.
        python: The interpreter that shims run on.
        address: Where sockets that are handed over listen.
        search_path: PATH where a config has none.
        file_limit: The soft limit of open files of a process.
        max_processes: The most processes and threads of a container.
        log_segment_bytes: The most of a log segment and its index.
        log_segments: How many are kept per stream.
        log_buffer_bytes: How much output may wait for the disk, per stream.
        shim_oom_score_adj: How unlikely the kernel is to kill shims when memory is short, 0 to -1000.
        no_new_privs: Whether set-user-id programs have no effect in containers.
    """

    state: StateDirectory
    cgroups: Cgroups
    boot_id: str
    python: str
    address: str
    search_path: str
    file_limit: int
    max_processes: int
    log_segment_bytes: int
    log_segments: int
    log_buffer_bytes: int
    shim_oom_score_adj: int
    no_new_privs: bool
