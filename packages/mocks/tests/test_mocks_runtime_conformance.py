"""MockRuntime passes the kit of its interface, so that whoever tests with it tests with a runtime."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from orchestrion.mocks import ContainerWorld, MockRuntime
from orchestrion.runtime_interface import ContainerRuntime
from orchestrion.runtime_interface.conformance import (
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
    conformance_checks,
    pattern,
)
from orchestrion.shared_types import ContainerConfig, NodeId

BUDGET = 100_000
READY = ("print", "stdout", "ready\n")


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
async def open_mock() -> AsyncIterator[RuntimeUnderTest]:
    world = ContainerWorld({NodeId("node-1"), NodeId("node-2")}, log_budget_bytes=BUDGET)
    runtimes = [MockRuntime(world)]

    async def reopen() -> ContainerRuntime:
        runtimes.append(MockRuntime(world))
        return runtimes[-1]

    async def starts(token: str) -> int:
        return world.starts_of(token)

    async def processes(token: str) -> int:
        return world.processes_of(token)

    @asynccontextmanager
    async def occupied_port() -> AsyncIterator[int]:
        world.occupy_port(NodeId("node-1"), 2000)
        yield 2000
        world.release_port(NodeId("node-1"), 2000)

    yield RuntimeUnderTest(
        runtime=runtimes[0],
        node_ids=(NodeId("node-1"), NodeId("node-2")),
        config_for=lambda behaviour: ContainerConfig(name="main", command=command_for(behaviour)),
        reopen=reopen,
        starts=starts,
        processes=processes,
        free_port=lambda: 3000,
        occupied_port=occupied_port,
        log_budget_bytes=BUDGET,
    )
    for runtime in runtimes:
        await runtime.aclose()


@pytest.mark.parametrize("check", conformance_checks(open_mock))
def test_mock_runtime_conforms(check: Callable[[], None]) -> None:
    check()
