"""Telling people what went wrong: what, where, and what to do next; on stderr, and with no traceback if foreseen."""

from __future__ import annotations

import errno
import sys
import traceback

from orchestrion.shared_types import ConfigInvalid, OrchestrationError

from ._exit_codes import ExitCode, exit_code_of


def told(error: BaseException) -> int:
    """Tell of an error, and return the exit code."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    match error:
        case ConfigInvalid() if all(problem.line for problem in error.problems):
            # file:line:column first, so that editors find their way
            for problem in error.problems:
                print(f"{problem}", file=sys.stderr)
            _tell_remedy(error.remedy)
            return exit_code_of(error)
        case OrchestrationError():
            complain(_message(error), error.remedy)
            return exit_code_of(error)
        case BaseExceptionGroup():
            return max(told(inner) for inner in error.exceptions)
        case KeyboardInterrupt():
            return ExitCode.INTERRUPTED
        case BrokenPipeError():
            raise error
        case OSError() if error.errno == errno.ENOSPC:
            complain("no space is left on the device to which this command writes", "Make room, or write elsewhere.")
            return ExitCode.FAILED
    traceback.print_exception(error, file=sys.stderr)
    complain(
        f"{type(error).__name__}: {error}", "This is a fault of Orchestrion or of a plug-in; what is above it helps."
    )
    return ExitCode.FAILED


def _message(error: OrchestrationError) -> str:
    """Return an error's message; where it names nodes, by what people can read."""
    if error.code != "unschedulable":
        return error.message
    from orchestrion.orchestrator_core import Unschedulable

    from ._node_names import NodeNames

    if not isinstance(error, Unschedulable):
        return error.message
    steps = [step for one in error.impossible for step in one.explanation.smallest_change]
    return NodeNames({step.node_id: "" for step in steps if step.node_id is not None}).within(error.message)


def why_unread(error: OSError | UnicodeDecodeError) -> str:
    """Return why a file can't be read as text, without the name of the file, which the caller tells."""
    if isinstance(error, UnicodeDecodeError):
        return "it is no text in UTF-8"
    return error.strerror or str(error)


def complain(message: str, remedy: str = "") -> None:
    """Print an error and what to do next."""
    first, *rest = message.splitlines() or [""]
    print(f"error: {first}", *(f"       {line}" for line in rest), sep="\n", file=sys.stderr)
    _tell_remedy(remedy)


def _tell_remedy(remedy: str) -> None:
    for line in remedy.splitlines():
        print(f"next:  {line}", file=sys.stderr)
