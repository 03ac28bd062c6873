"""A runtime over worlds of mock containers, as the kit of runtimes takes it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from orchestrion.mocks import ContainerWorld
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
    NotExecutable,
    Prints,
    PrintsEnvironment,
    RuntimeUnderTest,
    Sleeps,
    TellsSize,
    TrapsSigterm,
    Unsupported,
    pattern,
)
from orchestrion.shared_types import ContainerConfig

_READY = ("print", "stdout", "ready\n")
_OCCUPIED_PORT = 2000
_FREE_PORT = 3000


def command_for(behaviour: Behaviour, /) -> tuple[str, ...]:
    """Return the command of a mock container that behaves so."""
    match behaviour:
        case Exits(code):
            return ("exit", str(code))
        case Dies(signal):
            return ("die", str(signal))
        case Sleeps(token):
            return ("run", "token", token)
        case TrapsSigterm(code):
            return (*_READY, "trap", str(code))
        case IgnoresSigterm():
            return (*_READY, "ignore-term")
        case Forks(token):
            return (*_READY, "fork", "token", token)
        case Prints(size, stream, then_sleeps):
            printing = ("print", stream.value, pattern(0, size).decode())
            return printing if then_sleeps else (*printing, "exit", "0")
        case PrintsEnvironment():
            return ("env", "exit", "0")
        case CopiesStdin():
            return ("copy-stdin",)
        case TellsSize():
            return ("tell-size",)
        case ListensOn():
            return ("run",)
        case CannotStart():
            return ("fail", "no such program")
        case NotExecutable():
            return ("not-executable", "permission denied")
        case Unsupported():
            return ("unsupported", "no such ability")


@asynccontextmanager
async def open_runtime_over(
    worlds: tuple[ContainerWorld, ...], make: Callable[[], ContainerRuntime], /
) -> AsyncIterator[RuntimeUnderTest]:
    """Open a runtime over mock containers for the kit: a mock, or what stands before mocks.

    All that was opened is closed at the end.

    Args:
        worlds: Where the runtime's containers are; each names its nodes. The first has the nodes that come first, and
            says how much of a log is kept.
        make: Opens a runtime of all of these nodes: one at first, and another for each time that the program restarts.
    """
    node_ids = tuple(node_id for world in worlds for node_id in sorted(world.node_ids or ()))
    first = worlds[0]
    made = [make()]

    async def reopen() -> ContainerRuntime:
        made.append(make())
        return made[-1]

    async def starts(token: str) -> int:
        return sum(world.starts_of(token) for world in worlds)

    async def processes(token: str) -> int:
        return sum(world.processes_of(token) for world in worlds)

    @asynccontextmanager
    async def occupied_port() -> AsyncIterator[int]:
        first.occupy_port(node_ids[0], _OCCUPIED_PORT)
        yield _OCCUPIED_PORT
        first.release_port(node_ids[0], _OCCUPIED_PORT)

    yield RuntimeUnderTest(
        runtime=made[0],
        node_ids=node_ids,
        config_for=lambda behaviour: ContainerConfig(name="main", command=command_for(behaviour)),
        reopen=reopen,
        starts=starts,
        processes=processes,
        free_port=lambda: _FREE_PORT,
        occupied_port=occupied_port,
        log_budget_bytes=first.log_budget_bytes,
    )
    for runtime in made:
        await runtime.aclose()
