"""Telling people what went wrong: what, where, and what to do next; on stderr, and with no traceback if foreseen."""

from __future__ import annotations

import sys
import traceback

from attrs import evolve
from orchestrion.shared_types import ConfigInvalid, NodeId, OrchestrationError

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
            complain(error.message, "\n".join(text for text in (_change_for(error), error.remedy) if text))
            return exit_code_of(error)
        case BaseExceptionGroup():
            return max(told(inner) for inner in error.exceptions)
        case KeyboardInterrupt():
            return ExitCode.INTERRUPTED
        case BrokenPipeError():
            raise error
    traceback.print_exception(error, file=sys.stderr)
    complain(
        f"{type(error).__name__}: {error}", "This is a fault of Orchestrion or of a plug-in; what is above it helps."
    )
    return ExitCode.FAILED


def _change_for(error: OrchestrationError) -> str:
    """Return the smallest change that would make a workload fit, for an error that knows one; "" for others."""
    if error.code != "unschedulable":
        return ""
    from orchestrion.orchestrator_core import Unschedulable
    from orchestrion.scheduler_interface import describe_change

    from ._node_names import NodeNames

    if not isinstance(error, Unschedulable):
        return ""
    steps = error.explanation.smallest_change
    short = [evolve(step, node_id=step.node_id and NodeId(NodeNames({}).of(step.node_id))) for step in steps]
    change = describe_change(short)
    return f"{error.workload} would fit: {change}" if change else ""


def complain(message: str, remedy: str = "") -> None:
    """Print an error and what to do next."""
    first, *rest = message.splitlines() or [""]
    print(f"error: {first}", *(f"       {line}" for line in rest), sep="\n", file=sys.stderr)
    _tell_remedy(remedy)


def _tell_remedy(remedy: str) -> None:
    for line in remedy.splitlines():
        print(f"next:  {line}", file=sys.stderr)
