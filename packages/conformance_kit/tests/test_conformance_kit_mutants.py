"""Mutants are entered by the clause that they break, and what they fail is told apart from what is broken itself."""

from __future__ import annotations

import unittest
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest
from orchestrion.conformance_kit import BoundCheck, FailedChecks, Kit, Mutants, Runner


class Counter:
    """Counts what it is given, and starts at 0."""

    start = 0

    def __init__(self) -> None:
        self.value = self.start
        self.opened.append(type(self).__name__)

    opened: ClassVar[list[str]] = []

    def add(self, number: int) -> None:
        self.value += number


class StartsLate(Counter):
    start = 1


class Forgets(Counter):
    def add(self, number: int) -> None:
        self.value = number


class Raises(Counter):
    def add(self, number: int) -> None:
        raise LookupError(number)


KIT = Kit[Counter](lambda _counter: ())


@KIT.clause("START-1", "it-starts-at-nothing")
async def starting(counter: Counter) -> None:
    assert counter.value == 0, f"it starts at {counter.value}"


@KIT.clause("ADD-1", "two-are-added")
async def adding(counter: Counter) -> None:
    counter.add(1)
    counter.add(2)
    assert counter.value == 3, f"1 and 2 make {counter.value}"


@KIT.clause("ADD-1", "nothing-can-be-added")
async def adding_nothing(counter: Counter) -> None:
    counter.add(0)
    assert counter.value == 0, "nothing made something"


@KIT.property_clause("ADD-2", "several-things-are-wrong")
def several(_run: Runner[Counter]) -> None:
    raise ExceptionGroup("two", [AssertionError("one"), AssertionError("other")])


@KIT.clause("ADD-3", "it-says-nothing")
async def silent(_counter: Counter) -> None:
    raise AssertionError


@KIT.clause("ADD-4", "it-is-skipped")
async def skipped(_counter: Counter) -> None:
    raise unittest.SkipTest("not here")


def checks_of(kind: type[Counter]) -> Sequence[BoundCheck[Counter]]:
    @asynccontextmanager
    async def factory() -> AsyncIterator[Counter]:
        yield kind()

    return KIT.checks(factory)


def test_a_mutant_fails_checks_of_its_clause_and_the_right_one_none() -> None:
    failed = FailedChecks(checks_of)
    assert failed("START-1", StartsLate) == {"START-1-it-starts-at-nothing"}
    assert failed("ADD-1", Forgets) == {"ADD-1-two-are-added"}
    assert failed("ADD-1", Counter) == failed("START-1", Forgets) == frozenset()


def test_what_was_found_out_is_not_found_out_again() -> None:
    failed = FailedChecks(checks_of)
    assert failed("ADD-1", Forgets)
    Counter.opened.clear()
    assert failed("ADD-1", Forgets)
    assert Counter.opened == []


def test_an_error_that_no_check_may_fail_by_comes_out() -> None:
    with pytest.raises(LookupError):
        FailedChecks(checks_of)("ADD-1", Raises)
    assert len(FailedChecks(checks_of, errors=LookupError)("ADD-1", Raises)) == 2


def test_several_failures_at_once_are_one() -> None:
    assert FailedChecks(checks_of)("ADD-2", Counter) == {"ADD-2-several-things-are-wrong"}


def test_a_check_has_to_say_what_is_wrong() -> None:
    with pytest.raises(AssertionError, match="ADD-3-it-says-nothing failed without a word"):
        FailedChecks(checks_of)("ADD-3", Counter)


def test_a_check_that_is_skipped_has_not_failed() -> None:
    assert FailedChecks(checks_of)("ADD-4", Counter) == frozenset()


def test_mutants_are_parameters_by_clause_in_the_order_in_which_they_were_entered() -> None:
    mutants = Mutants[type[Counter]]()
    assert mutants.breaks("ADD-1", "START-1")(StartsLate) is StartsLate
    mutants.breaks("ADD-1")(Forgets)
    assert mutants.by_clause == {"ADD-1": [StartsLate, Forgets], "START-1": [StartsLate]}
    ids = [parameters.id for parameters in mutants.parameters()]
    assert ids == ["mutant-ADD-1-StartsLate", "mutant-ADD-1-Forgets", "mutant-START-1-StartsLate"]
    assert mutants.parameters()[1].values == ("ADD-1", Forgets)
