"""A kit runs its checks, skips what does not apply by name, and says clearly what failed."""

from __future__ import annotations

import math
import unittest
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from attrs import define
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.conformance_kit import EXAMPLES, BoundCheck, Kit, Runner


@define
class Counter:
    """The subject: counts up."""

    capabilities: tuple[str, ...] = ()
    reopen: object | None = None
    value: int = 0

    async def add(self, number: int = 1) -> None:
        await trio.lowlevel.checkpoint()
        self.value += number


@asynccontextmanager
async def open_counter() -> AsyncIterator[Counter]:
    yield Counter()


@asynccontextmanager
async def open_counter_in_a_nursery() -> AsyncIterator[Counter]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        yield Counter()
        nursery.cancel_scope.cancel()


def new_kit() -> Kit[Counter]:
    return Kit[Counter](lambda counter: counter.capabilities)


def only(kit: Kit[Counter]) -> BoundCheck[Counter]:
    (check,) = kit.checks(open_counter)
    return check


# Declaring


def test_a_check_is_called_by_its_clause_and_sentence() -> None:
    kit = new_kit()

    @kit.clause("ADD-1", "adding-counts")
    async def adding(counter: Counter) -> None:
        await counter.add()
        assert counter.value == 1

    check = only(kit)
    assert check.id == check.__name__ == "ADD-1-adding-counts"
    check()


@pytest.mark.parametrize(
    ("clause", "sentence"),
    [("add-1", "ok"), ("ADD", "ok"), ("ADD-1", "Not ok"), ("ADD-1", ""), ("ADD-1", "-a"), ("ADD-X", "a")],
)
def test_ids_are_clauses_and_hyphenated_sentences(clause: str, sentence: str) -> None:
    async def check(counter: Counter) -> None:
        raise AssertionError

    with pytest.raises(ValueError, match="not a clause id and a hyphenated sentence"):
        new_kit().clause(clause, sentence)(check)


def test_no_check_is_declared_twice() -> None:
    kit = new_kit()

    async def check(counter: Counter) -> None:
        raise AssertionError

    kit.clause("ADD-1", "adds")(check)
    kit.clause("ADD-1", "adds-twice")(check)
    with pytest.raises(ValueError, match="declared twice: 'ADD-1-adds'"):
        kit.clause("ADD-1", "adds")(check)
    assert kit.ids == ("ADD-1-adds", "ADD-1-adds-twice")
    assert kit.clauses == ("ADD-1",)


# Running


def test_each_check_has_a_fresh_subject() -> None:
    kit = new_kit()
    for sentence in ("once", "again"):

        @kit.clause("ADD-1", sentence)
        async def adding(counter: Counter) -> None:
            await counter.add()
            assert counter.value == 1

    for check in kit.checks(open_counter):
        check()
        check()


def test_a_failure_names_its_clause() -> None:
    kit = new_kit()

    @kit.clause("ADD-1", "adding-counts")
    async def adding(counter: Counter) -> None:
        assert counter.value == 1

    with pytest.raises(AssertionError) as raised:
        only(kit)()
    assert raised.value.__notes__ == ["clause ADD-1-adding-counts"]


@pytest.mark.parametrize("error", [AssertionError("wrong"), OSError("broken")])
def test_a_failure_inside_the_factorys_nursery_comes_out_of_its_groups(error: Exception) -> None:
    kit = new_kit()

    @kit.clause("ADD-1", "adding-counts")
    async def adding(counter: Counter) -> None:
        raise error

    (check,) = kit.checks(open_counter_in_a_nursery)
    with pytest.raises(type(error)) as raised:
        check()
    assert raised.value is error
    assert raised.value.__notes__ == ["clause ADD-1-adding-counts"]


def test_several_failures_at_once_stay_together() -> None:
    kit = new_kit()

    async def fail() -> None:
        raise AssertionError

    @kit.clause("ADD-1", "adding-counts")
    async def adding(counter: Counter) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            nursery.start_soon(fail)

    with pytest.raises(ExceptionGroup) as raised:
        only(kit)()
    assert len(raised.value.exceptions) == 2


def test_a_factory_may_skip() -> None:
    why_not = "no such engine here"

    @asynccontextmanager
    async def open_nothing() -> AsyncIterator[Counter]:
        async with trio.open_nursery():
            if why_not:
                raise unittest.SkipTest(why_not)
        yield Counter()

    kit = new_kit()

    @kit.clause("ADD-1", "adding-counts")
    async def adding(counter: Counter) -> None:
        raise AssertionError

    (check,) = kit.checks(open_nothing)
    with pytest.raises(unittest.SkipTest, match="no such engine here"):
        check()


def test_a_mock_clock_jumps_over_waiting() -> None:
    kit = new_kit()

    @kit.clause("WAIT-1", "an-hour-passes")
    async def hour(counter: Counter) -> None:
        begun = trio.current_time()
        await trio.sleep(100)
        assert trio.current_time() - begun == 100

    only(kit)()


def test_a_real_clock_does_not_jump() -> None:
    kit = new_kit()

    @kit.clause("WAIT-1", "a-moment-passes")
    async def moment(counter: Counter) -> None:
        with trio.move_on_after(0.001) as scope:
            await trio.to_thread.run_sync(math.factorial, 10)
            await trio.sleep_forever()
        assert scope.cancelled_caught

    (check,) = kit.checks(open_counter, clock="real")
    check()


@pytest.mark.parametrize("factory", [open_counter, open_counter_in_a_nursery])
def test_what_hangs_fails_and_says_so(factory: type) -> None:
    kit = new_kit()

    @kit.clause("WAIT-1", "it-waits")
    async def hang(counter: Counter) -> None:
        await trio.sleep_forever()

    (check,) = kit.checks(factory, deadline_seconds=5)
    with pytest.raises(AssertionError, match="not done after 5 seconds: it waits for what does not happen"):
        check()


def test_a_timeout_of_the_implementation_is_its_own() -> None:
    kit = new_kit()

    @kit.clause("WAIT-1", "it-waits")
    async def too_slow(counter: Counter) -> None:
        with trio.fail_after(1):
            await trio.sleep_forever()

    with pytest.raises(trio.TooSlowError):
        only(kit)()


# Properties


def declare_property(kit: Kit[Counter], seen: list[int], *, wrong_from: int = 10**9) -> None:
    @kit.property_clause("ADD-2", "any-number-adds")
    def any_number(run: Runner[Counter]) -> None:
        async def check(counter: Counter, number: int) -> None:
            seen.append(number)
            await counter.add(number)
            assert counter.value == number
            assert number < wrong_from

        @run.settings()
        @given(st.integers(0, 1_000))
        def numbers(number: int) -> None:
            run(check, number)

        numbers()


def test_a_property_draws_as_many_examples_as_it_is_told_and_the_same_each_time() -> None:
    kit, seen = new_kit(), list[int]()
    declare_property(kit, seen)
    (check,) = kit.checks(open_counter, examples=20)
    check()
    first = seen.copy()
    seen.clear()
    check()
    assert seen == first
    assert len(first) == 20


def test_a_property_that_fails_looks_for_the_simplest_example() -> None:
    kit, seen = new_kit(), list[int]()
    declare_property(kit, seen, wrong_from=100)
    (check,) = kit.checks(open_counter)
    with pytest.raises(AssertionError) as raised:
        check()
    assert seen[-1] == 100
    assert "clause ADD-2-any-number-adds" in raised.value.__notes__


def test_without_shrinking_the_first_example_that_fails_is_it() -> None:
    kit, seen = new_kit(), list[int]()
    declare_property(kit, seen, wrong_from=100)
    (check,) = kit.checks(open_counter, shrink=False)
    with pytest.raises(AssertionError):
        check()
    wrong = [number for number in seen if number >= 100]
    assert len(set(wrong)) == 1


@pytest.mark.parametrize(("profile", "examples"), [*EXAMPLES.items(), (None, EXAMPLES["ci"])])
def test_the_profile_says_how_many_examples(
    profile: str | None, examples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if profile is None:
        monkeypatch.delenv("ORCHESTRION_KIT_PROFILE", raising=False)
    else:
        monkeypatch.setenv("ORCHESTRION_KIT_PROFILE", profile)
    kit = new_kit()
    declare_property(kit, [])
    assert only(kit).runner.examples == examples


def test_a_kit_may_draw_fewer_examples_on_a_real_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRION_KIT_PROFILE", "ci")
    kit = Kit[Counter](lambda counter: counter.capabilities, real_share=5)
    declare_property(kit, [])

    def examples(**options: Any) -> int:
        (check,) = kit.checks(open_counter, **options)
        return check.runner.examples

    assert (examples(), examples(clock="real"), examples(clock="real", examples=4)) == (50, 10, 4)
    monkeypatch.setenv("ORCHESTRION_KIT_PROFILE", "quick")
    assert examples(clock="real") == 3


def test_an_unknown_profile_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRION_KIT_PROFILE", "lazy")
    with pytest.raises(ValueError, match="ORCHESTRION_KIT_PROFILE is 'lazy'; it must be one of quick, ci, deep"):
        new_kit().checks(open_counter)


# Skipping and expected failures


def declare_optional(kit: Kit[Counter]) -> None:
    @kit.clause("FLY-1", "it-flies", requires="flight")
    async def flies(counter: Counter) -> None:
        assert counter.value == 0

    @kit.clause("OPEN-1", "it-opens-again", needs=("reopen",))
    async def opens(counter: Counter) -> None:
        assert counter.reopen is not None


def outcomes(checks: list[BoundCheck[Counter]]) -> dict[str, str]:
    seen = {}
    for check in checks:
        try:
            check()
        except unittest.SkipTest as skip:
            seen[check.check.clause] = str(skip)
        else:
            seen[check.check.clause] = "ran"
    return seen


def test_what_is_not_declared_or_not_given_is_skipped_by_name() -> None:
    kit = new_kit()
    declare_optional(kit)
    assert outcomes(kit.checks(open_counter)) == {
        "FLY-1": "the implementation does not declare the capability 'flight'",
        "OPEN-1": "the factory gives no reopen",
    }


def test_what_is_declared_and_given_runs_and_is_looked_at_once() -> None:
    opened = 0

    @asynccontextmanager
    async def open_able() -> AsyncIterator[Counter]:
        nonlocal opened
        opened += 1
        yield Counter(capabilities=("flight",), reopen=object())

    kit = new_kit()
    declare_optional(kit)
    kit.clause("FLY-2", "it-flies-far", requires="flight", needs=("reopen",))(Counter.add)
    checks = kit.checks(open_able)
    assert outcomes(checks) == {"FLY-1": "ran", "OPEN-1": "ran", "FLY-2": "ran"}
    assert opened == 3 + 2
    assert outcomes(checks) == {"FLY-1": "ran", "OPEN-1": "ran", "FLY-2": "ran"}
    assert opened == 3 + 2 + 3


def test_capabilities_that_are_named_are_not_asked_for() -> None:
    kit = new_kit()
    declare_optional(kit)
    assert outcomes(kit.checks(open_counter, capabilities={"flight"}))["FLY-1"] == "ran"


def test_expected_failures_are_strict_and_by_check_or_clause() -> None:
    kit = new_kit()
    declare_optional(kit)
    declare_property(kit, [])
    params = kit.conformance_checks(
        open_counter, expected_failures={"FLY-1": "no wings", "ADD-2-any-number-adds": "can't count"}
    )
    marks = {param.id: [(mark.name, mark.kwargs) for mark in param.marks] for param in params}
    assert marks == {
        "FLY-1-it-flies": [("xfail", {"strict": True, "reason": "no wings"})],
        "OPEN-1-it-opens-again": [],
        "ADD-2-any-number-adds": [("xfail", {"strict": True, "reason": "can't count"})],
    }


def test_an_expected_failure_that_names_nothing_is_an_error() -> None:
    kit = new_kit()
    declare_optional(kit)
    with pytest.raises(ValueError, match="expected failures that name no check: FLY-9, OPEN-1-it"):
        kit.checks(open_counter, expected_failures={"FLY-9": "", "OPEN-1-it": "", "FLY-1": ""})


def parameters() -> list[object]:
    kit = new_kit()
    declare_optional(kit)

    @kit.clause("ADD-1", "adding-counts-down")
    async def wrong(counter: Counter) -> None:
        await counter.add()
        assert counter.value == -1

    return [*kit.conformance_checks(open_counter, capabilities={"flight"}, expected_failures={"ADD-1": "it counts up"})]


@pytest.mark.parametrize("check", parameters())
def test_pytest_runs_skips_and_expects(check: BoundCheck[Counter]) -> None:
    check()
