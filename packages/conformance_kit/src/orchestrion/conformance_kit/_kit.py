"""A kit: named clauses of an interface, each with checks that anybody can run against an implementation."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Generic, TypedDict, TypeVar, Unpack

from ._check import BoundCheck, Check, Offer
from ._runner import ClockKind, Factory, Runner

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

S = TypeVar("S")

EXAMPLES: Mapping[str, int] = {"quick": 15, "ci": 50, "deep": 500}
"""Examples per property, by profile. The environment variable ORCHESTRION_KIT_PROFILE chooses; without it, "ci"."""


class CheckOptions(TypedDict, total=False):
    """The options of `Kit.checks`."""

    capabilities: Iterable[str] | None
    expected_failures: Mapping[str, str] | None
    clock: ClockKind
    examples: int | None
    deadline_seconds: float
    shrink: bool


_CLAUSE = re.compile(r"[A-Z]+(-[A-Z]+)*-[0-9]+")
_SENTENCE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class Kit(Generic[S]):
    """The checks of one interface, in the order in which they were declared."""

    def __init__(self, capabilities_of: Callable[[S], Iterable[str]], *, real_share: int = 1) -> None:
        """Make an empty kit.

        Args:
            capabilities_of: Asks a subject for the capabilities that its implementation declares.
            real_share: With a real clock one in so many of the profile's examples is drawn, and 3 at least.
        """
        self._capabilities_of = capabilities_of
        self._real_share = real_share
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
        """Declare a sync function of a runner as a check: it draws examples, each for a subject of its own."""

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

    @property
    def clauses(self) -> tuple[str, ...]:
        """The ids of all clauses that have a check, each once."""
        return tuple(dict.fromkeys(check.clause for check in self._checks.values()))

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
        shrink: bool = True,
    ) -> list[BoundCheck[S]]:
        """Return all checks, bound to an implementation. They need no pytest.

        Args:
            factory: Opens a fresh subject.
            capabilities: What the implementation can do; None asks it.
            expected_failures: Reasons by check id or clause id: these checks, or all of the clause, are known to fail.
            clock: "mock", or "real" for an implementation that waits for threads, processes or sockets.
            examples: Examples per property; None takes the profile's, or the kit's share of them on a real clock.
            deadline_seconds: The longest time of a single run.
            shrink: Whether a property that fails looks for the simplest example.

        Raises:
            ValueError: An expected failure names no check, or the profile does not exist.
        """
        if examples is None:
            profile = os.environ.get("ORCHESTRION_KIT_PROFILE", "ci")
            if profile not in EXAMPLES:
                msg = f"ORCHESTRION_KIT_PROFILE is {profile!r}; it must be one of {', '.join(EXAMPLES)}"
                raise ValueError(msg)
            examples = max(3, EXAMPLES[profile] // (self._real_share if clock == "real" else 1))
        reasons = dict(expected_failures or {})
        known = set(self._checks) | {check.clause for check in self._checks.values()}
        unknown = sorted(set(reasons) - known)
        if unknown:
            msg = f"expected failures that name no check: {', '.join(unknown)}"
            raise ValueError(msg)
        runner = Runner(factory, clock, examples, deadline_seconds, shrink)
        declared = None if capabilities is None else frozenset(str(capability) for capability in capabilities)
        offer = Offer(runner, declared, self._capabilities_of)
        return [
            BoundCheck(check, runner, offer, reasons.get(check.id, reasons.get(check.clause)))
            for check in self._checks.values()
        ]

    def conformance_checks(self, factory: Factory[S], /, **options: Unpack[CheckOptions]) -> list[ParameterSet]:
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
