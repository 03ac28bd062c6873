"""MockRuntime passes the kit of its interface, so that whoever tests with it tests with a runtime."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from orchestrion.mocks import ContainerWorld, MockRuntime
from orchestrion.mocks.conformance import open_runtime_over
from orchestrion.runtime_interface.conformance import RuntimeUnderTest, conformance_checks
from orchestrion.shared_types import NodeId


@asynccontextmanager
async def open_mock() -> AsyncIterator[RuntimeUnderTest]:
    world = ContainerWorld({NodeId("node-1"), NodeId("node-2")}, log_budget_bytes=100_000)
    async with open_runtime_over((world,), lambda: MockRuntime(world)) as subject:
        yield subject


@pytest.mark.parametrize("check", conformance_checks(open_mock))
def test_mock_runtime_conforms(check: Callable[[], None]) -> None:
    check()
