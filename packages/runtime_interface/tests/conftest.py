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
from orchestrion.runtime_interface import ContainerRuntime
from orchestrion.runtime_interface.conformance import (
    KIT,
    Behaviour,
    CannotStart,
    CopiesStdin,
    Dies,
    Exits,
    Forks,
    IgnoresSigterm,
    ListensOn,
    Prints,
    PrintsEnvironment,
    RuntimeUnderTest,
    Sleeps,
    TrapsSigterm,
    Unsupported,
    checks,
    conformance_checks,
    pattern,
)
from orchestrion.shared_types import ContainerConfig, NodeId, OrchestrationError

NODES = (NodeId("node-1"), NodeId("node-2"))
BUDGET = 100_000
READY = ("print", "stdout", "ready\n")

Factory = Callable[[], AbstractAsyncContextManager[RuntimeUnderTest]]


def command_for(behaviour: Behaviour) -> tuple[str, ...]:
    """Return the mock command that behaves so."""
    match behaviour:
        case Exits(code):
            return ("exit", str(code))
        case Dies(signal):
            return ("die", str(signal))
        case Sleeps(token):
            return ("run", "token", token)
        case TrapsSigterm(code):
            return (*READY, "trap", str(code))
        case IgnoresSigterm():
            return (*READY, "ignore-term")
        case Forks(token):
            return (*READY, "fork", "token", token)
        case Prints(size, stream, then_sleeps):
            printing = ("print", stream.value, pattern(0, size).decode())
            return printing if then_sleeps else (*printing, "exit", "0")
        case PrintsEnvironment():
            return ("env", "exit", "0")
        case CopiesStdin():
            return ("copy-stdin",)
        case ListensOn():
            return ("run",)
        case CannotStart():
            return ("fail", "no such program")
        case Unsupported():
            return ("unsupported", "no such ability")


@asynccontextmanager
async def open_mock(runtime_class: type[MockRuntime]) -> AsyncIterator[RuntimeUnderTest]:
    """Open a mock runtime of that class on a fresh world. Its `strays` count as processes."""
    world = ContainerWorld(set(NODES), log_budget_bytes=BUDGET)
    runtimes = [runtime_class(world)]

    async def reopen() -> ContainerRuntime:
        runtimes.append(runtime_class(world))
        return runtimes[-1]

    async def starts(token: str) -> int:
        return world.starts_of(token)

    async def processes(token: str) -> int:
        strays: Counter[str] = Counter()
        for runtime in runtimes:
            strays.update(getattr(runtime, "strays", {}))
        return world.processes_of(token) + strays[token]

    @asynccontextmanager
    async def occupied_port() -> AsyncIterator[int]:
        world.occupy_port(NODES[0], 2000)
        yield 2000
        world.release_port(NODES[0], 2000)

    yield RuntimeUnderTest(
        runtime=runtimes[0],
        node_ids=NODES,
        config_for=lambda behaviour: ContainerConfig(name="main", command=command_for(behaviour)),
        reopen=reopen,
        starts=starts,
        processes=processes,
        free_port=lambda: 3000,
        occupied_port=occupied_port,
        log_budget_bytes=BUDGET,
    )


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
