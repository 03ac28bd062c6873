"""Runtimes that are wrong about nodes, epochs and creating: each fails the clause that it breaks."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest
from attrs import evolve
from orchestrion.mocks import MockContainer, MockRuntime
from orchestrion.runtime_interface import (
    ConfigUnsupported,
    ContainerConflict,
    ContainerSummary,
    CreateOptions,
    NodeNotFound,
    StaleEpoch,
    StartFailed,
)
from orchestrion.shared_types import (
    ContainerConfig,
    ContainerId,
    ContainerState,
    ContainerStatus,
    ExitStatus,
    NodeId,
)

from .runtime_mutants import Lists, Mutant, Mutants, Tells, failed_checks

MUTANTS = Mutants()


@MUTANTS.breaks("NODE-1", "REMOVE-6")
class TakesNothingUp(Lists):
    def shows(self, summary: ContainerSummary) -> bool:
        return summary.container_id in self.mine


@MUTANTS.breaks("NODE-1", "STATUS-4")
class LosesExits(Tells):
    def change(self, status: ContainerStatus) -> ContainerStatus:
        if status.exit is None or status.container_id in self.mine:
            return status
        return evolve(status, exit=ExitStatus(reason="lost"))


@MUTANTS.breaks("NODE-2")
class RestartsTheNode(Mutant):
    async def init_node(self, node_id: NodeId, /) -> None:
        for container_id in self.mine:
            self.world.exit(container_id, ExitStatus(code=1))
        await super().init_node(node_id)


@MUTANTS.breaks("NODE-3")
class KnowsEveryNode(Mutant):
    async def init_node(self, node_id: NodeId, /) -> None:
        try:
            await super().init_node(node_id)
        except NodeNotFound:
            return


@MUTANTS.breaks("NODE-4", "LIST-4")
class ListsUnknownNodes(Mutant):
    async def list_containers(self, node_id: NodeId, /) -> list[ContainerSummary]:
        try:
            return await super().list_containers(node_id)
        except NodeNotFound:
            return []


@MUTANTS.breaks("IDENTITY-1")
class IgnoresAttempts(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        return await super().create_container(config, evolve(options, attempt=0))


@MUTANTS.breaks("IDENTITY-2")
class RenamesAtARestart(Mutant):
    async def list_containers(self, node_id: NodeId, /) -> list[ContainerSummary]:
        summaries = await super().list_containers(node_id)
        return [
            s if s.container_id in self.mine else evolve(s, container_id=ContainerId(f"new-{s.container_id}"))
            for s in summaries
        ]


@MUTANTS.breaks("FENCE-1")
class HasNoFence(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        self.reset_epoch(options)
        return await super().create_container(config, options)


@MUTANTS.breaks("FENCE-1")
class RefusesEqualEpochs(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        known = self.world.node(options.node_id).memory.slot(options.instance).epoch
        if options.instance.epoch <= known and self.existing(config, options) is None:
            msg = "not higher"
            raise StaleEpoch(msg, known=known)
        return await super().create_container(config, options)


@MUTANTS.breaks("FENCE-2")
class FencesAllSlotsTogether(Mutant):
    highest = 0

    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        if options.instance.epoch < self.highest:
            msg = "lower"
            raise StaleEpoch(msg, known=self.highest)
        self.highest = options.instance.epoch
        return await super().create_container(config, options)


@MUTANTS.breaks("FENCE-3")
class ForgetsEpochsAtRemoval(Mutant):
    async def remove_container(self, container_id: ContainerId, /) -> None:
        if container_id in self.world.containers:
            self.reset_epoch(self.world.container(container_id).options)
        await super().remove_container(container_id)


@MUTANTS.breaks("FENCE-4")
class ForgetsEpochsAtARestart(Mutant):
    async def init_node(self, node_id: NodeId, /) -> None:
        for slot in self.world.node(node_id).memory.slots.values():
            slot.epoch = 0
        await super().init_node(node_id)


@MUTANTS.breaks("FENCE-5")
class ForgetsFailedEpochs(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        before = self.world.node(options.node_id).memory.slot(options.instance).epoch
        try:
            return await super().create_container(config, options)
        except StartFailed:
            self.reset_epoch(options, before)
            raise


@MUTANTS.breaks("CONFIG-1")
class InheritsTheEnvironment(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        return await super().create_container(evolve(config, env_vars={**os.environ, **config.env_vars}), options)


@MUTANTS.breaks("CONFIG-1")
class StripsValues(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        stripped = {name: value[:3] for name, value in config.env_vars.items()}
        return await super().create_container(evolve(config, env_vars=stripped), options)


@MUTANTS.breaks("CONFIG-2")
class TakesArgsFirst(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        return await super().create_container(evolve(config, command=config.args + config.command, args=()), options)


@MUTANTS.breaks("CREATE-1")
class ListsLate(Lists):
    def shows(self, summary: ContainerSummary) -> bool:
        created_at = summary.status.created_at
        return created_at is not None and self.world.now() - created_at > timedelta(seconds=1)


@MUTANTS.breaks("CREATE-2")
class ReturnsWhileStarting(Tells):
    def change(self, status: ContainerStatus) -> ContainerStatus:
        if status.created_at is not None and self.world.now() - status.created_at < timedelta(seconds=1):
            return evolve(status, state=ContainerState.STARTING, exit=None)
        return status


@MUTANTS.breaks("CREATE-2")
class QueuesForEver(Tells):
    def change(self, status: ContainerStatus) -> ContainerStatus:
        if status.state is ContainerState.RUNNING:
            return evolve(status, state=ContainerState.QUEUED)
        return status


@MUTANTS.breaks("CREATE-3")
class LosesImmediateExits(Tells):
    def change(self, status: ContainerStatus) -> ContainerStatus:
        if status.exit is not None and status.finished_at == status.started_at:
            return evolve(status, exit=ExitStatus(code=0))
        return status


class Restarts(Mutant):
    """Starts a container anew when it is created again."""

    def restarts(self, container: MockContainer) -> bool:
        return True

    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        container = self.existing(config, options)
        if container is not None and self.restarts(container):
            self.world.remove(container)
        return await super().create_container(config, options)


@MUTANTS.breaks("CREATE-4", "CONCURRENCY-1", "CANCEL-1")
class AlwaysStarts(Restarts):
    pass


@MUTANTS.breaks("CREATE-5")
class RestartsWhatEnded(Restarts):
    def restarts(self, container: MockContainer) -> bool:
        return container.ended


@MUTANTS.breaks("CREATE-5")
class RestartsWhatItDidNotCreate(Restarts):
    def restarts(self, container: MockContainer) -> bool:
        return container.container_id not in self.mine


@MUTANTS.breaks("CREATE-6")
class KeepsKeysTaken(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        if self.world.starts[options.instance, config.name, options.attempt] and not self.existing(config, options):
            msg = "that existed once"
            raise ContainerConflict(msg)
        return await super().create_container(config, options)


class SeesNoConflict(Mutant):
    """Takes another config or other options for the same."""

    def same(self, container: MockContainer, config: ContainerConfig, options: CreateOptions) -> bool:
        return True

    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        container = self.existing(config, options)
        if container is not None and self.same(container, config, options):
            return container.container_id
        return await super().create_container(config, options)


@MUTANTS.breaks("CREATE-7")
class IgnoresConfigs(SeesNoConflict):
    def same(self, container: MockContainer, config: ContainerConfig, options: CreateOptions) -> bool:
        return container.options == options


@MUTANTS.breaks("CREATE-7")
class IgnoresOptions(SeesNoConflict):
    def same(self, container: MockContainer, config: ContainerConfig, options: CreateOptions) -> bool:
        return container.config == config


@MUTANTS.breaks("CREATE-8")
class AllowsLowerAttempts(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        self.world.node(options.node_id).memory.slot(options.instance).attempts.clear()
        return await super().create_container(config, options)


@MUTANTS.breaks("CREATE-9")
class LeavesWhatDidNotStart(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        try:
            return await super().create_container(config, options)
        except StartFailed:
            await super().create_container(evolve(config, command=("exit", "127")), options)
            raise


@MUTANTS.breaks("CREATE-10")
class RunsWhatItCannot(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        try:
            return await super().create_container(config, options)
        except ConfigUnsupported:
            return await super().create_container(evolve(config, command=("run",)), options)


@MUTANTS.breaks("CREATE-11", "STATUS-6")
class IgnoresPorts(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        return await super().create_container(evolve(config, ports=()), options)


@pytest.mark.parametrize(("clause", "mutant"), MUTANTS.parameters())
def test_the_kit_finds_out(clause: str, mutant: type[MockRuntime]) -> None:
    assert failed_checks(clause, mutant)
