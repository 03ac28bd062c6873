"""Opens mock runtimes, honest ones and mutants, for the kit, and finds the mutants of a module.

A module of mutants has `PREFIXES`, those of the clauses that it is about, and `MUTANTS`: classes by clause.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import pytest
from orchestrion.mocks import ContainerWorld, MockRuntime
from orchestrion.mocks.conformance import open_runtime_over
from orchestrion.runtime_interface.conformance import KIT, RuntimeUnderTest, checks, conformance_checks
from orchestrion.shared_types import NodeId, OrchestrationError

NODES = {NodeId("node-1"), NodeId("node-2")}
BUDGET = 100_000

Factory = Callable[[], AbstractAsyncContextManager[RuntimeUnderTest]]


@asynccontextmanager
async def open_mock(runtime_class: type[MockRuntime]) -> AsyncIterator[RuntimeUnderTest]:
    """Open a mock runtime of that class on a fresh world. Its `strays` count as processes."""
    world = ContainerWorld(NODES, log_budget_bytes=BUDGET)
    runtimes: list[MockRuntime] = []

    def make() -> MockRuntime:
        runtimes.append(runtime_class(world))
        return runtimes[-1]

    async def processes(token: str) -> int:
        strays: Counter[str] = Counter()
        for runtime in runtimes:
            strays.update(getattr(runtime, "strays", {}))
        return world.processes_of(token) + strays[token]

    async with open_runtime_over((world,), make) as subject:
        subject.processes = processes
        yield subject


def failed_checks(runtime_class: type[MockRuntime], clause: str) -> list[str]:
    """Return the ids of the clause's checks that a mutant fails."""
    failed = []
    for check in checks(partial(open_mock, runtime_class), shrink=False):
        if check.check.clause == clause:
            try:
                check()
            except (AssertionError, OrchestrationError):
                failed.append(check.id)
    return failed


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise over the honest mock's checks, over a module's mutants, and over the clauses that it is about."""
    if "honest_check" in metafunc.fixturenames:
        metafunc.parametrize("honest_check", conformance_checks(partial(open_mock, MockRuntime)))
    if "mutant" in metafunc.fixturenames:
        mutants = [(clause, cls) for clause, classes in metafunc.module.MUTANTS.items() for cls in classes]
        ids = [f"mutant-{clause}-{cls.__name__}" for clause, cls in mutants]
        metafunc.parametrize("mutant", mutants, ids=ids)
    if "clause" in metafunc.fixturenames:
        clauses = [clause for clause in KIT.clauses if clause.rpartition("-")[0] in metafunc.module.PREFIXES]
        metafunc.parametrize("clause", clauses, ids=[f"mutants-of-{clause}" for clause in clauses])


@pytest.fixture
def failed() -> Callable[[type[MockRuntime], str], list[str]]:
    """Give `failed_checks`."""
    return failed_checks


@pytest.fixture
def open_honest() -> Factory:
    """Give a factory of honest runtimes."""
    return partial(open_mock, MockRuntime)
