"""Runtimes that are wrong on purpose: what they derive from, and what the kit says of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from attrs import evolve
from orchestrion import conformance_kit
from orchestrion.conformance_kit import EXAMPLES, FailedChecks
from orchestrion.mocks import ContainerWorld, MockContainer, MockRuntime
from orchestrion.mocks.conformance import open_runtime_over
from orchestrion.runtime_interface import (
    ContainerSummary,
    CreateOptions,
)
from orchestrion.runtime_interface.conformance import RuntimeUnderTest, checks
from orchestrion.shared_types import (
    ContainerConfig,
    ContainerId,
    ContainerStatus,
    NodeId,
    OrchestrationError,
)

__all__ = ["Lists", "Mutant", "Mutants", "Tells", "failed_checks", "open_mock"]

NODES = {NodeId("node-1"), NodeId("node-2")}
BUDGET = 100_000


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


Mutants = conformance_kit.Mutants[type[MockRuntime]]

failed_checks = FailedChecks[type[MockRuntime]](
    lambda runtime_class: checks(partial(open_mock, runtime_class), examples=EXAMPLES["ci"], shrink=False),
    errors=(AssertionError, OrchestrationError),
)


class Mutant(MockRuntime):
    """Knows which containers this program created, and finds containers by their key."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.mine: set[ContainerId] = set()
        self.strays: Counter[str] = Counter()

    def existing(self, config: ContainerConfig, options: CreateOptions) -> MockContainer | None:
        memory = self.world.node(options.node_id).memory
        return memory.keys.get((options.instance, config.name, options.attempt))

    def reset_epoch(self, options: CreateOptions, epoch: int = 0) -> None:
        self.world.node(options.node_id).memory.slot(options.instance).epoch = epoch

    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        container_id = await super().create_container(config, options)
        self.mine.add(container_id)
        return container_id


class Tells(Mutant):
    """Changes each status that it tells."""

    def change(self, status: ContainerStatus) -> ContainerStatus:
        return status

    async def get_container_status(self, container_id: ContainerId, /) -> ContainerStatus:
        return self.change(await super().get_container_status(container_id))

    async def list_containers(self, node_id: NodeId, /) -> list[ContainerSummary]:
        return [evolve(s, status=self.change(s.status)) for s in await super().list_containers(node_id)]


class Lists(Mutant):
    """Leaves containers out of its lists."""

    def shows(self, summary: ContainerSummary) -> bool:
        return True

    async def list_containers(self, node_id: NodeId, /) -> list[ContainerSummary]:
        return [summary for summary in await super().list_containers(node_id) if self.shows(summary)]
