"""From errors to exit codes, and to what people read."""

from __future__ import annotations

import pytest
from orchestrion.cli._complaints import complain, told
from orchestrion.cli._exit_codes import exit_code_of
from orchestrion.cli._plugins import PluginBroken
from orchestrion.orchestrator_core import Unschedulable
from orchestrion.runtime_interface import CommandNotExecutable, CommandNotFound, StaleEpoch, StartFailed
from orchestrion.scheduler_interface import Explanation
from orchestrion.shared_types import (
    Closed,
    ConfigInvalid,
    Denied,
    InternalError,
    NetworkFailure,
    NodeNotFound,
    OrchestrationError,
    PreconditionFailed,
    Problem,
    QuotaExceeded,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    WorkloadNotFound,
)
from orchestrion.store_interface import RevisionConflict, StoreCorrupt, StoreFull


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigInvalid((Problem("wrong"),)), 2),
        (WorkloadNotFound("x"), 3),
        (NodeNotFound("x"), 3),
        (RevisionConflict("k", expected=1, actual=2), 4),
        (StaleEpoch("x", known=2), 4),
        (Unschedulable("x", namespace="n", workload="w", explanation=Explanation()), 7),
        (NetworkFailure("x"), 9),
        (Unauthenticated("x"), 5),
        (Denied("x"), 5),
        (QuotaExceeded("x"), 6),
        (PreconditionFailed("x"), 4),
        (TooManyRequests("x", retry_after_seconds=1.0), 9),
        (Unavailable("x"), 9),
        (Closed("x"), 9),
        (StoreFull("x"), 9),
        (StoreCorrupt("x"), 9),
        (StartFailed("x"), 1),
        (CommandNotExecutable("x"), 126),
        (CommandNotFound("x"), 127),
        (PluginBroken("x"), 1),
        (InternalError("x"), 1),
        (OrchestrationError("x"), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_an_error_ends_with_the_code_of_its_class_or_the_nearest_base(error: OrchestrationError, code: int) -> None:
    assert exit_code_of(error) == code


def test_an_error_says_what_and_what_next(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(WorkloadNotFound("no workload 'web'\nthere is 'wed'", remedy="look\nagain")) == 3
    assert capsys.readouterr().err == ("error: no workload 'web'\n       there is 'wed'\nnext:  look\nnext:  again\n")


def test_a_problem_with_a_place_begins_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    told(ConfigInvalid((Problem("unknown key", path="a.b", file="f.yaml", line=3, column=5),)))
    assert capsys.readouterr().err == "f.yaml:3:5: a.b: unknown key\n"


def test_a_group_of_one_is_that_one(capsys: pytest.CaptureFixture[str]) -> None:
    error = ExceptionGroup("nursery", [ExceptionGroup("nursery", [NetworkFailure("nobody there")])])
    assert told(error) == 9
    assert "Traceback" not in capsys.readouterr().err


def test_a_group_of_several_tells_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(ExceptionGroup("nursery", [NetworkFailure("one"), WorkloadNotFound("two")])) == 9
    assert capsys.readouterr().err == "error: one\nerror: two\n"


def test_what_nobody_foresaw_comes_with_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(ZeroDivisionError("division by zero")) == 1
    printed = capsys.readouterr().err
    assert "error: ZeroDivisionError: division by zero" in printed
    assert "a fault of Orchestrion" in printed


def test_an_empty_message_is_no_crash(capsys: pytest.CaptureFixture[str]) -> None:
    complain("")
    assert capsys.readouterr().err == "error: \n"
