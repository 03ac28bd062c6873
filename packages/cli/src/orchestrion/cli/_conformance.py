"""`conformance`: run an interface's kit on somebody's implementation, and report check by check."""

from __future__ import annotations

import time
import traceback
import unittest
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from importlib import import_module
from types import ModuleType
from typing import Any, Final, Literal

import trio
from attrs import frozen
from orchestrion.shared_types import ConfigInvalid, NotFound, Problem

from ._exit_codes import ExitCode
from ._factories import factory_at
from ._interrupts import in_good_order
from ._output import Form, coloured, show_one

KITS: Final = ("runtime", "store", "cluster", "scheduler")

Factory = Callable[[], AbstractAsyncContextManager[Any]]


class Outcome(StrEnum):
    """How a check went."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@frozen
class CheckResult:
    """How one check went.

    Attributes:
        check: Its id.
        outcome: How it went.
        message: Why it failed or was skipped; empty if it passed.
        seconds: How long it took.
    """

    check: str
    outcome: Outcome
    message: str
    seconds: float


@frozen
class Report:
    """How all checks went.

    Attributes:
        target: What was tested.
        kit: Which kit.
        passed: How many checks passed.
        failed: How many failed.
        skipped: How many were skipped.
        checks: Each of them.
    """

    target: str
    kit: str
    passed: int
    failed: int
    skipped: int
    checks: tuple[CheckResult, ...]

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """The checks that failed."""
        return tuple(result for result in self.checks if result.outcome is Outcome.FAILED)


def run_conformance(target: str, kit: str | None, clock: Literal["mock", "real"], only: str | None, form: Form) -> int:
    """Run the kit and print its report; 1 if a check failed."""
    with in_good_order():
        return _run_kit(target, kit, clock, only, form)


def _run_kit(target: str, kit: str | None, clock: Literal["mock", "real"], only: str | None, form: Form) -> int:
    factory = _factory(target)
    name = _kit_of(factory, target, kit)
    checks = _checks(name, factory, clock)
    chosen = [check for check in checks if only is None or only in check.id]
    if not chosen:
        raise NotFound(f"the {name} kit has no check whose id contains {only!r}", remedy="Leave --only out to see all.")
    results = []
    for check in chosen:
        result = _run(check)
        results.append(result)
        if form == "table":
            _print_result(result)
    report = _report(target, name, results)
    if form == "table":
        _print_end(report)
    elif form == "name":
        for result in report.failures:
            print(result.check)
    else:
        show_one(report, form, table=lambda _: (), name=str)
    return ExitCode.FAILED if report.failed else ExitCode.OK


def _factory(target: str) -> Factory:
    factory: Factory = factory_at(target)
    return factory


def _kit_module(kit: str) -> ModuleType:
    try:
        return import_module(f"orchestrion.{kit}_interface.conformance")
    except ModuleNotFoundError as err:
        msg = f"the {kit} kit can't be imported: {err}"
        raise NotFound(msg, remedy="pip install 'orchestrion[conformance]'") from err


def _checks(kit: str, factory: Factory, clock: Literal["mock", "real"]) -> Sequence[Any]:
    try:
        checks: Sequence[Any] = _kit_module(kit).checks(factory, clock=clock)
    except ValueError as err:  # the environment names no profile
        raise ConfigInvalid((Problem(str(err)),), remedy="Set it to one of these, or unset it.") from err
    return checks


def _subject(kit: str) -> str:
    return f"{kit.capitalize()}UnderTest"


def _kit_of(factory: Factory, target: str, wanted: str | None) -> str:
    """Return the kit for what the factory gives, which has to be the one that is wanted, if one is."""

    async def look() -> type:
        async with factory() as subject:
            return type(subject)

    try:
        kind = trio.run(look)
    except Exception as err:
        msg = f"{target} gives nothing to test: {type(err).__name__}: {err}"
        raise ConfigInvalid((Problem(msg),), remedy=_FACTORY_HELP) from err
    names = {base.__name__ for base in kind.__mro__}
    if wanted is not None and _subject(wanted) not in names:
        msg = f"{target} gives a {kind.__name__}, not a {_subject(wanted)}"
        raise ConfigInvalid((Problem(msg),), remedy="Leave --kit out: what the factory gives says which kit it is for.")
    for kit in KITS:
        if _subject(kit) in names:
            return kit
    raise ConfigInvalid(
        (Problem(f"{target} gives a {kind.__name__}, for which there is no kit"),), remedy=_FACTORY_HELP
    )


_FACTORY_HELP: Final = (
    "A factory takes nothing and returns an async context manager of RuntimeUnderTest, StoreUnderTest, "
    "ClusterUnderTest or SchedulerUnderTest."
)


def _run(check: Any) -> CheckResult:
    begin = time.monotonic()
    outcome, message = Outcome.PASSED, ""
    try:
        check()
    except unittest.SkipTest as err:
        outcome, message = Outcome.SKIPPED, str(err)
    except KeyboardInterrupt:
        raise
    except Exception as err:
        outcome, message = Outcome.FAILED, _message(err)
    return CheckResult(check.id, outcome, message, round(time.monotonic() - begin, 3))


def _message(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, AssertionError):
        text = str(error) or _failed_line(error)
    else:
        text = f"{type(error).__name__}: {error}"
    return "\n".join([text, *getattr(error, "__notes__", ())])


def _failed_line(error: AssertionError) -> str:
    """Return the line of the kit that does not hold, for an error without words."""
    frames = traceback.extract_tb(error.__traceback__)
    return (frames[-1].line if frames else None) or "AssertionError"


_MARKS: Final = {
    Outcome.PASSED: ("ok  ", "green"),
    Outcome.FAILED: ("FAIL", "red"),
    Outcome.SKIPPED: ("skip", "yellow"),
}


def _print_result(result: CheckResult) -> None:
    mark, colour = _MARKS[result.outcome]
    first = result.message.splitlines()[0] if result.message and result.outcome is Outcome.SKIPPED else ""
    print(f"{coloured(mark, colour)}  {result.check}{f'  ({first})' if first else ''}", flush=True)
    if result.outcome is Outcome.FAILED:
        for line in result.message.splitlines():
            print(f"        {line}")


def _print_end(report: Report) -> None:
    if report.failed:
        print(f"\n{coloured('failed:', 'red')}")
        for result in report.failures:
            first = next(iter(result.message.splitlines()), "")
            print(f"  {result.check}: {first}")
    print(f"\n{_summary(report)}")


def _report(target: str, kit: str, results: Sequence[CheckResult]) -> Report:
    def count(outcome: Outcome) -> int:
        return sum(result.outcome is outcome for result in results)

    return Report(target, kit, count(Outcome.PASSED), count(Outcome.FAILED), count(Outcome.SKIPPED), tuple(results))


def _summary(report: Report) -> str:
    verdict = coloured("does not conform", "red") if report.failed else coloured("conforms", "green")
    return (
        f"{report.target} {verdict} to the {report.kit} kit: "
        f"{report.passed} passed, {report.failed} failed, {report.skipped} skipped"
    )
