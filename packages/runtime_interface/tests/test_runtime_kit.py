"""The kit passes what is right, names all its clauses in the interface, and is used in five lines."""

from __future__ import annotations

import inspect
import re
import unittest
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from attrs import evolve
from orchestrion.runtime_interface import _interface
from orchestrion.runtime_interface.conformance import (
    KIT,
    Behaviour,
    Exits,
    RuntimeUnderTest,
    Sleeps,
    checks,
    conformance_checks,
    pattern,
)
from orchestrion.shared_types import ContainerConfig

Factory = Callable[[], AbstractAsyncContextManager[RuntimeUnderTest]]


def test_an_honest_runtime_passes(honest_check: Callable[[], None]) -> None:
    honest_check()


def test_each_clause_is_named_in_the_interface_once_at_its_sentence() -> None:
    named = set(re.findall(r"\b[A-Z]+-[0-9]+\b", inspect.getsource(_interface)))
    assert named == set(KIT.clauses)


def test_the_kit_has_at_least_sixty_checks() -> None:
    assert len(KIT.ids) >= 60


def test_without_abilities_and_help_only_what_needs_them_is_skipped(open_honest: Factory) -> None:
    @asynccontextmanager
    async def bare() -> AsyncIterator[RuntimeUnderTest]:
        def config_for(behaviour: Behaviour) -> ContainerConfig | None:
            return subject.config_for(behaviour) if isinstance(behaviour, (Exits, Sleeps)) else None

        async with open_honest() as subject:
            yield RuntimeUnderTest(
                runtime=subject.runtime, node_ids=subject.node_ids[:1], config_for=config_for, unknown_node=None
            )

    passed, skipped = 0, list[str]()
    for check in checks(bare, capabilities=(), examples=2):
        try:
            check()
        except unittest.SkipTest as skip:
            skipped.append(str(skip))
        else:
            passed += 1
    assert passed >= 40
    assert len(skipped) >= 50
    assert all("does not declare" in reason or "gives no" in reason for reason in skipped)


def test_a_skip_names_what_is_missing(open_honest: Factory) -> None:
    @asynccontextmanager
    async def without_reopen() -> AsyncIterator[RuntimeUnderTest]:
        async with open_honest() as subject:
            subject.reopen = None
            yield subject

    check = next(check for check in checks(without_reopen) if check.check.clause == "FENCE-4")
    with pytest.raises(unittest.SkipTest, match="reopen"):
        check()


def test_an_expected_failure_that_names_nothing_is_an_error(open_honest: Factory) -> None:
    with pytest.raises(ValueError, match="CREATE-99"):
        conformance_checks(open_honest, expected_failures={"CREATE-99": "there is none"})


def test_a_real_clock_draws_fewer_examples(open_honest: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRION_KIT_PROFILE", "ci")
    assert {check.runner.examples for check in checks(open_honest, clock="real")} == {10}
    assert {check.runner.examples for check in checks(open_honest, clock="real", examples=4)} == {4}
    assert {check.runner.examples for check in checks(open_honest)} == {50}


def test_a_config_that_a_check_needs_and_does_not_get_is_an_assertion(open_honest: Factory) -> None:
    @asynccontextmanager
    async def without_exits() -> AsyncIterator[RuntimeUnderTest]:
        async with open_honest() as subject:
            honest = subject.config_for
            subject.config_for = lambda behaviour: None if isinstance(behaviour, Exits) else honest(behaviour)
            yield subject

    check = next(check for check in checks(without_exits) if check.check.clause == "CREATE-3")
    with pytest.raises(AssertionError, match="Exits"):
        check()


def test_what_a_check_made_is_cleared_away(open_honest: Factory) -> None:
    left: list[int] = []

    @asynccontextmanager
    async def watched() -> AsyncIterator[RuntimeUnderTest]:
        async with open_honest() as subject:
            yield subject
            left.extend([len(await subject.runtime.list_containers(node_id)) for node_id in subject.node_ids])

    for check in checks(watched, capabilities=()):
        if check.check.clause in {"CREATE-1", "LIST-1", "FENCE-2"}:
            check()
    assert left == [0] * 6


@pytest.mark.parametrize(("start", "size"), [(0, 0), (0, 1), (0, 16), (5, 100), (16, 16), (31, 2), (1000, 5000)])
def test_the_pattern_is_the_same_wherever_it_is_cut(start: int, size: int) -> None:
    assert pattern(start, size) == pattern(0, start + size)[start:]
    assert len(pattern(start, size)) == size


def test_the_pattern_is_what_seq_prints() -> None:
    assert pattern(0, 48) == b"000000000000000\n000000000000016\n000000000000032\n"


def test_a_subject_has_no_config_for_what_is_no_behaviour(open_honest: Factory) -> None:
    subject = RuntimeUnderTest(runtime=object(), node_ids=(), config_for=lambda _: None)  # type: ignore[arg-type]  # not called
    with pytest.raises(AttributeError):
        _ = subject.Unheard
    assert subject.Sleeps is None
    assert evolve(subject, node_ids=()).other_node is None
