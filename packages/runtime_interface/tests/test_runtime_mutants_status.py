"""Runtimes that are wrong about what they tell of containers: each fails the clause that it breaks."""

from __future__ import annotations

from datetime import timedelta, timezone

import pytest
from attrs import evolve
from orchestrion.mocks import MockRuntime
from orchestrion.runtime_interface import (
    ContainerNotFound,
    ContainerSummary,
    RuntimeCapability,
)
from orchestrion.shared_types import (
    ContainerHealth,
    ContainerId,
    ContainerState,
    ContainerStatus,
    ExitStatus,
    NodeId,
)

from .runtime_mutants import Lists, Mutant, Mutants, Tells, failed_checks

MUTANTS = Mutants()


@MUTANTS.breaks("CAPABILITY-1")
class DeclaresTooMuch(Mutant):
    read_logs = None  # type: ignore[assignment]  # that it is not implemented is what is wrong


@MUTANTS.breaks("CAPABILITY-2")
class LosesAbilities(Mutant):
    @property
    def capabilities(self) -> frozenset[RuntimeCapability]:
        return frozenset() if self._closed else super().capabilities


@MUTANTS.breaks("CHECKPOINT-1")
class NeverYields(Mutant):
    async def get_container_status(self, container_id: ContainerId, /) -> ContainerStatus:
        return self.world.container(container_id).summary().status


@MUTANTS.breaks("STATUS-1")
class ForgetsAttempts(Tells):
    def change(self, status: ContainerStatus) -> ContainerStatus:
        return evolve(status, attempt=0)


@MUTANTS.breaks("STATUS-2")
class CutsCodes(Tells):
    def change(self, status: ContainerStatus) -> ContainerStatus:
        if status.exit is None or status.exit.code is None:
            return status
        return evolve(status, exit=ExitStatus(code=status.exit.code & 127))


@MUTANTS.breaks("STATUS-2")
class TakesSignalsForFailures(Tells):
    def change(self, status: ContainerStatus) -> ContainerStatus:
        if status.exit is None or status.exit.signal is None:
            return status
        return evolve(status, exit=ExitStatus(code=1))


@MUTANTS.breaks("STATUS-3")
class GoesBack(Tells):
    told = 0

    def change(self, status: ContainerStatus) -> ContainerStatus:
        self.told += 1
        if status.state is ContainerState.RUNNING and self.told % 2 == 0:
            return evolve(status, state=ContainerState.STARTING)
        return status


@MUTANTS.breaks("STATUS-4")
class StampsTheEndAnew(Tells):
    def change(self, status: ContainerStatus) -> ContainerStatus:
        return status if status.exit is None else evolve(status, finished_at=self.world.now())


@MUTANTS.breaks("STATUS-5")
class TellsLocalTime(Tells):
    def change(self, status: ContainerStatus) -> ContainerStatus:
        assert status.created_at is not None
        return evolve(status, created_at=status.created_at.astimezone(timezone(timedelta(hours=1))))


@MUTANTS.breaks("STATUS-7")
class InventsHealth(Tells):
    def change(self, status: ContainerStatus) -> ContainerStatus:
        return evolve(status, health=ContainerHealth.HEALTHY)


@MUTANTS.breaks("STATUS-8")
class InventsStatuses(Mutant):
    async def get_container_status(self, container_id: ContainerId, /) -> ContainerStatus:
        try:
            return await super().get_container_status(container_id)
        except ContainerNotFound:
            return ContainerStatus(name="", state=ContainerState.UNKNOWN)


@MUTANTS.breaks("LIST-1")
class HidesTheDead(Lists):
    def shows(self, summary: ContainerSummary) -> bool:
        return summary.status.exit is None


@MUTANTS.breaks("LIST-2")
class ListsOldStatuses(Mutant):
    async def list_containers(self, node_id: NodeId, /) -> list[ContainerSummary]:
        return [evolve(s, status=evolve(s.status, started_at=None)) for s in await super().list_containers(node_id)]


@MUTANTS.breaks("LIST-3")
class ListsAllNodes(Mutant):
    async def list_containers(self, node_id: NodeId, /) -> list[ContainerSummary]:
        await super().list_containers(node_id)
        return [container.summary() for container in self.world.containers.values()]


@pytest.mark.parametrize(("clause", "mutant"), MUTANTS.parameters())
def test_the_kit_finds_out(clause: str, mutant: type[MockRuntime]) -> None:
    assert failed_checks(clause, mutant)
