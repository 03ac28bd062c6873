"""The exit codes: one table from the codes of errors to them."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from orchestrion.shared_types import OrchestrationError


class ExitCode(IntEnum):
    """What the command ends with. They are stable."""

    OK = 0
    FAILED = 1
    """The workload failed, differences were found, or a fault without a code of its own."""
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    DENIED = 5
    QUOTA = 6
    UNSCHEDULABLE = 7
    TIMEOUT = 8
    UNREACHABLE = 9
    NOT_EXECUTABLE = 126
    NO_SUCH_PROGRAM = 127
    """These two as a shell tells of a command that it can't run."""
    INTERRUPTED = 130


_BY_ERROR_CODE: Final[dict[str, ExitCode]] = {
    "config-invalid": ExitCode.USAGE,
    "unsupported": ExitCode.USAGE,
    "not-found": ExitCode.NOT_FOUND,
    "conflict": ExitCode.CONFLICT,
    "stale": ExitCode.CONFLICT,
    "compacted": ExitCode.CONFLICT,
    "unauthenticated": ExitCode.DENIED,
    "denied": ExitCode.DENIED,
    "quota-exceeded": ExitCode.QUOTA,
    "too-many-requests": ExitCode.UNREACHABLE,
    "runtime-command-not-executable": ExitCode.NOT_EXECUTABLE,
    "runtime-command-not-found": ExitCode.NO_SUCH_PROGRAM,
    "unschedulable": ExitCode.UNSCHEDULABLE,
    "network-failure": ExitCode.UNREACHABLE,
    "unavailable": ExitCode.UNREACHABLE,
    "closed": ExitCode.UNREACHABLE,
    "state-failure": ExitCode.UNREACHABLE,
    "cluster-failure": ExitCode.UNREACHABLE,
}


def exit_code_of(error: OrchestrationError) -> ExitCode:
    """Return the exit code of an error: that of its own code, or of the nearest of its bases that has one."""
    for kind in type(error).__mro__:
        code = _BY_ERROR_CODE.get(str(vars(kind).get("code")))
        if code is not None:
            return code
    return ExitCode.FAILED
