"""Several runtimes behind RoutingRuntime pass the kit that each of them passes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from orchestrion.mocks import ContainerWorld, MockRuntime
from orchestrion.mocks.conformance import open_runtime_over
from orchestrion.orchestrator_core import RoutingRuntime
from orchestrion.runtime_interface.conformance import RuntimeUnderTest, conformance_checks
from orchestrion.shared_types import NodeId

NEAR, FAR = NodeId("node-1"), NodeId("node/2")
BUDGET = 100_000


@asynccontextmanager
async def open_routed() -> AsyncIterator[RuntimeUnderTest]:
    """Open two nodes, the second with runtimes of its own; a driver that nothing uses is on both."""
    near, far = ContainerWorld({NEAR}, log_budget_bytes=BUDGET), ContainerWorld({FAR}, log_budget_bytes=BUDGET)
    idle = ContainerWorld()

    def make() -> RoutingRuntime:
        return RoutingRuntime(
            {"process": MockRuntime(near), "docker": MockRuntime(idle)},
            {FAR: {"process": MockRuntime(far), "docker": MockRuntime(idle)}},
        )

    async with open_runtime_over((near, far), make) as subject:
        yield subject


@pytest.mark.parametrize("check", conformance_checks(open_routed))
def test_routing_runtime_conforms(check: Callable[[], None]) -> None:
    check()
