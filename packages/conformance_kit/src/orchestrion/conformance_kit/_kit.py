"""A kit: named clauses of an interface, each with checks that anybody can run against an implementation."""

from __future__ import annotations

import os
import re
import unittest
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import hypothesis
import trio
from attrs import define, field, frozen
from trio.testing import MockClock

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

S = TypeVar("S")
R = TypeVar("R")

Factory = Callable[[], AbstractAsyncContextManager[S]]
"""Opens a fresh, empty subject: an implementation together with what the kit needs beyond the interface."""

ClockKind = Literal["mock", "real"]

EXAMPLES: Mapping[str, int] = {"quick": 15, "ci": 50, "deep": 500}
"""Examples per property, by profile; the environment variable ORCHESTRION_KIT_PROFILE chooses, "ci" unless it is set."""


@frozen
class Runner(Generic[S]):
    """Runs async functions, each against a fresh subject, in a trio run of its own.

    Attributes:
        factory: Opens a subject.
        clock: "mock" jumps over waiting; "real" is for implementations that wait for threads, processes or sockets.
        examples: How many examples a property draws.
        deadline_seconds: A run that takes longer, by a real clock's time or a mock clock's, has failed.
    """

    factory: Factory[S]
    clock: ClockKind
    examples: int
    deadline_seconds: float = 120.0

    def __call__(self, function: Callable[..., Awaitable[R]], /, *args: object) -> R:
        """Open a subject and return what `function(subject, *args)` returns."""

        async def main() -> R:
            with trio.fail_after(self.deadline_seconds):
                async with self.factory() as subject:
                    return await function(subject, *args)

        return self.run(main)

    def run(self, main: Callable[[], Awaitable[R]], /, *instruments: trio.abc.Instrument) -> R:
        """Run `main` on the kit's clock, with no subject."""
        clock = MockClock(autojump_threshold=0) if self.clock == "mock" else None
        return trio.run(main, clock=clock, instruments=instruments, strict_exception_groups=True)

    def settings(self) -> hypothesis.settings:
        """Return the settings that a property of the kit runs with: reproducible, and bounded by `examples`."""
        return hypothesis.settings(
            max_examples=self.examples,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(hypothesis.HealthCheck),
        )


@frozen
class Check(Generic[S]):
    """One check of one clause.

    Attributes:
        clause: The clause's id, such as "PUT-3".
        sentence: What holds, with hyphens between the words.
        requires: The capability that the clause belongs to, or None.
        needs: Names of the subject's attributes that must not be None.
        body: Takes a runner.
    """

    clause: str
    sentence: str
    requires: str | None
    needs: tuple[str, ...]
    body: Callable[[Runner[S]], None]

    @property
    def id(self) -> str:
        """The check's id: the clause and the sentence."""
        return f"{self.clause}-{self.sentence}"


@define
class BoundCheck(Generic[S]):
    """A check bound to an implementation: call it. It raises AssertionError, or `unittest.SkipTest` with the reason."""

    check: Check[S]
    runner: Runner[S]
    capabilities: frozenset[str] | None
    capabilities_of: Callable[[S], Iterable[str]]
    expected_failure: str | None = None
    __name__: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.__name__ = self.check.id

    @property
    def id(self) -> str:
        """The check's id."""
        return self.check.id

    def __call__(self) -> None:
        """Run the check.

        Raises:
            AssertionError: The clause does not hold; the text begins with the check's id.
            unittest.SkipTest: The implementation does not declare the capability, or the factory gives no such help.
        """
        self._skip_if_not_applicable()
        try:
            self.check.body(self.runner)
        except AssertionError as err:
            err.add_note(f"clause {self.check.id}")
            raise

    def _skip_if_not_applicable(self) -> None:
        if self.check.requires is None and not self.check.needs:
            return

        async def look(subject: S) -> tuple[frozenset[str], tuple[str, ...]]:
            declared = self.capabilities if self.capabilities is not None else frozenset(self.capabilities_of(subject))
            return declared, tuple(name for name in self.check.needs if getattr(subject, name) is None)

        declared, missing = self.runner(look)
        if self.check.requires is not None and self.check.requires not in declared:
            msg = f"the implementation does not declare the capability {self.check.requires!r}"
            raise unittest.SkipTest(msg)
        if missing:
            msg = f"the factory gives no {', '.join(missing)}"
            raise unittest.SkipTest(msg)


_CLAUSE = re.compile(r"[A-Z]+(-[A-Z]+)*-[0-9]+")
_SENTENCE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class Kit(Generic[S]):
    """The checks of one interface, in the order in which they were declared."""

    def __init__(self, capabilities_of: Callable[[S], Iterable[str]]) -> None:
        """Make an empty kit.

        Args:
            capabilities_of: Asks a subject for the capabilities that its implementation declares.
        """
        self._capabilities_of = capabilities_of
        self._checks: dict[str, Check[S]] = {}

    def clause(
        self, clause: str, sentence: str, /, *, requires: str | None = None, needs: tuple[str, ...] = ()
    ) -> Callable[[Callable[[S], Awaitable[None]]], Callable[[S], Awaitable[None]]]:
        """Declare an async function of a fresh subject as a check."""

        def declare(function: Callable[[S], Awaitable[None]]) -> Callable[[S], Awaitable[None]]:
            self._add(Check(clause, sentence, requires, needs, lambda run: run(function)))
            return function

        return declare

    def property_clause(
        self, clause: str, sentence: str, /, *, requires: str | None = None, needs: tuple[str, ...] = ()
    ) -> Callable[[Callable[[Runner[S]], None]], Callable[[Runner[S]], None]]:
        """Declare a sync function of a runner as a check: it draws examples, and runs each against a subject of its own."""

        def declare(function: Callable[[Runner[S]], None]) -> Callable[[Runner[S]], None]:
            self._add(Check(clause, sentence, requires, needs, function))
            return function

        return declare

    def _add(self, check: Check[S]) -> None:
        if not _CLAUSE.fullmatch(check.clause) or not _SENTENCE.fullmatch(check.sentence):
            msg = f"not a clause id and a hyphenated sentence: {check.id!r}"
            raise ValueError(msg)
        if check.id in self._checks:
            msg = f"declared twice: {check.id!r}"
            raise ValueError(msg)
        self._checks[check.id] = check

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all checks."""
        return tuple(self._checks)

    def checks(
        self,
        factory: Factory[S],
        /,
        *,
        capabilities: Iterable[str] | None = None,
        expected_failures: Mapping[str, str] | None = None,
        clock: ClockKind = "mock",
        examples: int | None = None,
        deadline_seconds: float = 120.0,
    ) -> list[BoundCheck[S]]:
        """Return all checks, bound to an implementation. They need no pytest.

        Args:
            factory: Opens a fresh subject.
            capabilities: What the implementation can do; None asks it.
            expected_failures: Reasons by check id or clause id: these checks are known to fail.
            clock: "mock", or "real" for an implementation that waits for threads, processes or sockets.
            examples: Examples per property; None takes the profile's.
            deadline_seconds: The longest time of a single run.

        Raises:
            ValueError: An expected failure names no check.
        """
        if examples is None:
            profile = os.environ.get("ORCHESTRION_KIT_PROFILE", "ci")
            if profile not in EXAMPLES:
                msg = f"ORCHESTRION_KIT_PROFILE is {profile!r}; it must be one of {', '.join(EXAMPLES)}"
                raise ValueError(msg)
            examples = EXAMPLES[profile]
        reasons = dict(expected_failures or {})
        known = set(self._checks) | {check.clause for check in self._checks.values()}
        unknown = sorted(set(reasons) - known)
        if unknown:
            msg = f"expected failures that name no check: {', '.join(unknown)}"
            raise ValueError(msg)
        runner = Runner(factory, clock, examples, deadline_seconds)
        declared = None if capabilities is None else frozenset(str(capability) for capability in capabilities)
        return [
            BoundCheck(check, runner, declared, self._capabilities_of, reasons.get(check.id, reasons.get(check.clause)))
            for check in self._checks.values()
        ]

    def conformance_checks(self, factory: Factory[S], /, **options: Any) -> list[ParameterSet]:
        """Return all checks as parameters for `pytest.mark.parametrize`; expected failures are strict.

        It takes the options of `checks`.
        """
        import pytest

        return [
            pytest.param(
                bound,
                id=bound.id,
                marks=[]
                if bound.expected_failure is None
                else [pytest.mark.xfail(strict=True, reason=bound.expected_failure)],
            )
            for bound in self.checks(factory, **options)
        ]
