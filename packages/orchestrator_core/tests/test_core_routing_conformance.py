"""Several runtimes behind RoutingRuntime pass the kit that each of them passes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from orchestrion.mocks import ContainerWorld, MockRuntime
from orchestrion.orchestrator_core import RoutingRuntime
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

NEAR, FAR = NodeId("node-1"), NodeId("node/2")
BUDGET = 100_000
READY = ("print", "stdout", "ready\n")


def command_for(behaviour: Behaviour) -> tuple[str, ...]:
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
async def open_routed() -> AsyncIterator[RuntimeUnderTest]:
    """Open two nodes, the second with runtimes of its own; a driver that nothing uses is on both."""
    near, far = ContainerWorld({NEAR}, log_budget_bytes=BUDGET), ContainerWorld({FAR}, log_budget_bytes=BUDGET)
    idle = ContainerWorld()
    made = list[RoutingRuntime]()

    def make() -> RoutingRuntime:
        made.append(
            RoutingRuntime(
                {"process": MockRuntime(near), "docker": MockRuntime(idle)},
                {FAR: {"process": MockRuntime(far), "docker": MockRuntime(idle)}},
            )
        )
        return made[-1]

    async def reopen() -> ContainerRuntime:
        return make()

    async def starts(token: str) -> int:
        return near.starts_of(token) + far.starts_of(token)

    async def processes(token: str) -> int:
        return near.processes_of(token) + far.processes_of(token)

    @asynccontextmanager
    async def occupied_port() -> AsyncIterator[int]:
        near.occupy_port(NEAR, 2000)
        yield 2000
        near.release_port(NEAR, 2000)

    yield RuntimeUnderTest(
        runtime=make(),
        node_ids=(NEAR, FAR),
        config_for=lambda behaviour: ContainerConfig(name="main", command=command_for(behaviour)),
        reopen=reopen,
        starts=starts,
        processes=processes,
        free_port=lambda: 3000,
        occupied_port=occupied_port,
        log_budget_bytes=BUDGET,
    )
    for runtime in made:
        await runtime.aclose()


@pytest.mark.parametrize("check", conformance_checks(open_routed))
def test_routing_runtime_conforms(check: Callable[[], None]) -> None:
    check()
