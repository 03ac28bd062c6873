"""Runtimes that are wrong where tasks meet or are cancelled: each fails the clause that it breaks."""

from __future__ import annotations

import pytest
import trio
from attrs import evolve
from orchestrion.mocks import MockRuntime
from orchestrion.runtime_interface import (
    ContainerSummary,
    CreateOptions,
    RuntimeUnavailable,
)
from orchestrion.shared_types import (
    ContainerConfig,
    ContainerId,
    NodeId,
)

from .runtime_mutants import Lists, Mutant, Mutants, failed_checks

MUTANTS = Mutants()


@MUTANTS.breaks("CONCURRENCY-1")
class LooksThenStarts(Mutant):
    async def _create(self, config: ContainerConfig, options: CreateOptions) -> ContainerId:
        container = self.existing(config, options)
        await trio.lowlevel.checkpoint()
        if container is None and (other := self.existing(config, options)) is not None:
            self.world.remove(other)
        return await super()._create(config, options)


@MUTANTS.breaks("CONCURRENCY-2")
class SharesItsScratchpad(Mutant):
    async def _create(self, config: ContainerConfig, options: CreateOptions) -> ContainerId:
        self.scratchpad = config
        await trio.lowlevel.checkpoint()
        return await super()._create(self.scratchpad, options)


@MUTANTS.breaks("CONCURRENCY-3")
class LetsTheLowerEpochWin(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        await trio.sleep(1 / options.instance.epoch)
        self.reset_epoch(options)
        return await super().create_container(config, options)


@MUTANTS.breaks("CONCURRENCY-4")
class RefusesASecondStop(Mutant):
    stopping = 0

    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        if self.stopping:
            msg = "it is being stopped"
            raise RuntimeUnavailable(msg)
        self.stopping += 1
        try:
            await super().stop_container(container_id, grace_seconds=grace_seconds)
        finally:
            self.stopping -= 1


class Believes(Mutant):
    """Takes for done what was only begun."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.begun: set[ContainerId] = set()

    async def first_time(self, container_id: ContainerId) -> bool:
        if container_id in self.begun:
            await trio.lowlevel.checkpoint()
            return False
        self.begun.add(container_id)
        await trio.lowlevel.checkpoint()
        return True


@MUTANTS.breaks("CANCEL-2")
class BelievesInStops(Believes):
    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        if await self.first_time(container_id):
            await super().stop_container(container_id, grace_seconds=grace_seconds)


@MUTANTS.breaks("CANCEL-3")
class BelievesInRemovals(Believes):
    async def remove_container(self, container_id: ContainerId, /) -> None:
        if await self.first_time(container_id):
            await super().remove_container(container_id)


@MUTANTS.breaks("CANCEL-5")
class BelievesInInits(Believes):
    async def init_node(self, node_id: NodeId, /) -> None:
        if await self.first_time(ContainerId(node_id)):
            await super().init_node(node_id)


@MUTANTS.breaks("CANCEL-4")
class ListsTheHalfMade(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        draft = await super().create_container(evolve(config, name=f"{config.name}-draft"), options)
        await trio.lowlevel.checkpoint()
        await self.remove_container(draft)
        return await super().create_container(config, options)


@MUTANTS.breaks("MODEL-1")
class RemovesAllAttempts(Mutant):
    async def remove_container(self, container_id: ContainerId, /) -> None:
        container = self.world.containers.get(container_id)
        if container is not None:
            for other in list(self.world.containers.values()):
                if other.key[:2] == container.key[:2] and other is not container:
                    self.world.remove(other)
        await super().remove_container(container_id)


@MUTANTS.breaks("MODEL-2")
class LosesLaterAttemptsAtARestart(Lists):
    def shows(self, summary: ContainerSummary) -> bool:
        return summary.container_id in self.mine or summary.status.attempt == 0


@MUTANTS.breaks("MODEL-3")
class IsBusy(Mutant):
    busy = False

    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        if self.busy:
            msg = "another call is not done"
            raise RuntimeUnavailable(msg)
        self.busy = True
        try:
            await trio.sleep(0.1)
            return await super().create_container(config, options)
        finally:
            self.busy = False


@pytest.mark.parametrize(("clause", "mutant"), MUTANTS.parameters())
def test_the_kit_finds_out(clause: str, mutant: type[MockRuntime]) -> None:
    assert failed_checks(clause, mutant)
