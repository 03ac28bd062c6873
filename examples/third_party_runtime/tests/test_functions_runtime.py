"""The runtime keeps to the interface, of which only the published package is there."""

from __future__ import annotations

import importlib.util
import sysconfig
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import orchestrion.runtime_interface
import pytest
import trio
from functions_runtime import Call, open_functions
from orchestrion.runtime_interface import CreateOptions
from orchestrion.runtime_interface.conformance import (
    Behaviour,
    CannotStart,
    Exits,
    IgnoresSigterm,
    RuntimeUnderTest,
    Sleeps,
    TrapsSigterm,
    Unsupported,
    conformance_checks,
)
from orchestrion.shared_types import ContainerConfig, InstanceKey, NodeId, new_uid


def config_for(behaviour: Behaviour) -> ContainerConfig | None:
    match behaviour:
        case Exits(code):
            return ContainerConfig(name="main", command=("exit", str(code)))
        case Sleeps(token):
            return ContainerConfig(name="main", command=("sleep", token))
        case TrapsSigterm(code):
            return ContainerConfig(name="main", command=("sleep", "", str(code)))
        case IgnoresSigterm():
            return ContainerConfig(name="main", command=("ignore",))
        case CannotStart():
            return ContainerConfig(name="main", command=("no-such-function",))
        case Unsupported():
            return ContainerConfig(name="main", image="functions/have-no:images", command=("exit", "0"))
        case _:
            return None


@asynccontextmanager
async def open_subject() -> AsyncIterator[RuntimeUnderTest]:
    started = Counter[str]()
    running = Counter[str]()

    async def exits(call: Call) -> int:
        return int(call.arguments[0])

    async def sleeps(call: Call) -> int:
        token, *code = call.arguments
        started[token] += 1
        running[token] += 1
        try:
            await call.terminated.wait()
        finally:
            running[token] -= 1
        return int(*code)

    async def ignores(call: Call) -> int:
        await trio.sleep_forever()

    async def starts(token: str) -> int:
        return started[token]

    async def processes(token: str) -> int:
        return running[token]

    nodes = (NodeId("node-1"), NodeId("node-2"))
    functions = {"exit": exits, "sleep": sleeps, "ignore": ignores}
    async with open_functions(functions, node_ids=frozenset(nodes)) as runtime:
        yield RuntimeUnderTest(
            runtime=runtime, node_ids=nodes, config_for=config_for, starts=starts, processes=processes
        )


@pytest.mark.parametrize("check", conformance_checks(open_subject))
def test_conformance(check: Callable[[], None]) -> None:
    check()


def test_the_interface_is_the_installed_one() -> None:
    assert Path(orchestrion.runtime_interface.__file__).is_relative_to(sysconfig.get_path("purelib"))


def test_there_is_no_orchestrator_here() -> None:
    assert importlib.util.find_spec("orchestrion.orchestrator_core") is None


def test_a_function_that_fails_has_exited_with_1_and_says_why() -> None:
    async def fails(call: Call) -> int:
        raise ValueError(call.environment["WHAT"])

    async def main() -> None:
        async with open_functions({"fail": fails}) as runtime:
            await runtime.init_node(NodeId("here"))
            config = ContainerConfig(name="main", command=("fail",), env_vars={"WHAT": "no luck"})
            options = CreateOptions(node_id=NodeId("here"), instance=InstanceKey(new_uid(), 0, 1))
            container_id = await runtime.create_container(config, options)
            await runtime.stop_container(container_id, grace_seconds=1)
            status = await runtime.get_container_status(container_id)
            assert status.exit is not None
            assert (status.exit.code, status.exit.message) == (1, "ValueError: no luck")

    trio.run(main)
