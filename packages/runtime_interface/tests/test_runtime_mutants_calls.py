"""Runtimes that are wrong in one way about their containers: each fails the clause that it breaks."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable
from datetime import timedelta, timezone
from typing import TypeVar

import trio
from attrs import evolve
from orchestrion.mocks import MockContainer, MockRuntime
from orchestrion.runtime_interface import (
    ConfigUnsupported,
    ContainerConflict,
    ContainerNotFound,
    ContainerSummary,
    CreateOptions,
    LogChunk,
    LogStream,
    NodeNotFound,
    RuntimeCapability,
    RuntimeClosed,
    RuntimeUnavailable,
    StaleEpoch,
    StartFailed,
)
from orchestrion.runtime_interface.conformance import KIT
from orchestrion.shared_types import (
    ContainerConfig,
    ContainerHealth,
    ContainerId,
    ContainerState,
    ContainerStatus,
    ExitStatus,
    NodeId,
)

PREFIXES = (
    "CANCEL",
    "CAPABILITY",
    "CHECKPOINT",
    "CLOSE",
    "CONCURRENCY",
    "CONFIG",
    "CREATE",
    "FENCE",
    "IDENTITY",
    "LIST",
    "MODEL",
    "NODE",
    "REMOVE",
    "STATUS",
    "STOP",
)
MUTANTS: dict[str, list[type[MockRuntime]]] = {}

Failed = Callable[[type[MockRuntime], str], list[str]]
"""Returns the ids of the clause's checks that a runtime fails."""

C = TypeVar("C", bound=type[MockRuntime])


def breaks(*clauses: str) -> Callable[[C], C]:
    """Declare a mutant of these clauses."""

    def declare(cls: C) -> C:
        for clause in clauses:
            MUTANTS.setdefault(clause, []).append(cls)
        return cls

    return declare


def test_mutant_of_the_calls_fails_its_clause(mutant: tuple[str, type[MockRuntime]], failed: Failed) -> None:
    clause, cls = mutant
    assert failed(cls, clause)


def test_each_check_of_the_calls_is_failed_by_a_mutant(clause: str, failed: Failed) -> None:
    missed = {check_id for check_id in KIT.ids if check_id.startswith(f"{clause}-")}
    for cls in MUTANTS[clause]:
        missed -= set(failed(cls, clause))
    assert not missed


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


# Nodes, identity, fencing


@breaks("NODE-1", "REMOVE-6")
class TakesNothingUp(Lists):
    def shows(self, summary: ContainerSummary) -> bool:
        return summary.container_id in self.mine


@breaks("NODE-1", "STATUS-4")
class LosesExits(Tells):
    def change(self, status: ContainerStatus) -> ContainerStatus:
        if status.exit is None or status.container_id in self.mine:
            return status
        return evolve(status, exit=ExitStatus(reason="lost"))


@breaks("NODE-2")
class RestartsTheNode(Mutant):
    async def init_node(self, node_id: NodeId, /) -> None:
        for container_id in self.mine:
            self.world.exit(container_id, ExitStatus(code=1))
        await super().init_node(node_id)


@breaks("NODE-3")
class KnowsEveryNode(Mutant):
    async def init_node(self, node_id: NodeId, /) -> None:
        try:
            await super().init_node(node_id)
        except NodeNotFound:
            return


@breaks("NODE-4", "LIST-4")
class ListsUnknownNodes(Mutant):
    async def list_containers(self, node_id: NodeId, /) -> list[ContainerSummary]:
        try:
            return await super().list_containers(node_id)
        except NodeNotFound:
            return []


@breaks("IDENTITY-1")
class IgnoresAttempts(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        return await super().create_container(config, evolve(options, attempt=0))


@breaks("IDENTITY-2")
class RenamesAtARestart(Mutant):
    async def list_containers(self, node_id: NodeId, /) -> list[ContainerSummary]:
        summaries = await super().list_containers(node_id)
        return [
            s if s.container_id in self.mine else evolve(s, container_id=ContainerId(f"new-{s.container_id}"))
            for s in summaries
        ]


@breaks("FENCE-1")
class HasNoFence(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        self.reset_epoch(options)
        return await super().create_container(config, options)


@breaks("FENCE-1")
class RefusesEqualEpochs(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        known = self.world.node(options.node_id).memory.slot(options.instance).epoch
        if options.instance.epoch <= known and self.existing(config, options) is None:
            msg = "not higher"
            raise StaleEpoch(msg, known=known)
        return await super().create_container(config, options)


@breaks("FENCE-2")
class FencesAllSlotsTogether(Mutant):
    highest = 0

    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        if options.instance.epoch < self.highest:
            msg = "lower"
            raise StaleEpoch(msg, known=self.highest)
        self.highest = options.instance.epoch
        return await super().create_container(config, options)


@breaks("FENCE-3")
class ForgetsEpochsAtRemoval(Mutant):
    async def remove_container(self, container_id: ContainerId, /) -> None:
        if container_id in self.world.containers:
            self.reset_epoch(self.world.container(container_id).options)
        await super().remove_container(container_id)


@breaks("FENCE-4")
class ForgetsEpochsAtARestart(Mutant):
    async def init_node(self, node_id: NodeId, /) -> None:
        for slot in self.world.node(node_id).memory.slots.values():
            slot.epoch = 0
        await super().init_node(node_id)


@breaks("FENCE-5")
class ForgetsFailedEpochs(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        before = self.world.node(options.node_id).memory.slot(options.instance).epoch
        try:
            return await super().create_container(config, options)
        except StartFailed:
            self.reset_epoch(options, before)
            raise


# Creating


@breaks("CONFIG-1")
class InheritsTheEnvironment(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        return await super().create_container(evolve(config, env_vars={**os.environ, **config.env_vars}), options)


@breaks("CONFIG-1")
class StripsValues(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        stripped = {name: value[:3] for name, value in config.env_vars.items()}
        return await super().create_container(evolve(config, env_vars=stripped), options)


@breaks("CONFIG-2")
class TakesArgsFirst(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        return await super().create_container(evolve(config, command=config.args + config.command, args=()), options)


@breaks("CREATE-1")
class ListsLate(Lists):
    def shows(self, summary: ContainerSummary) -> bool:
        created_at = summary.status.created_at
        return created_at is not None and self.world.now() - created_at > timedelta(seconds=1)


@breaks("CREATE-2")
class ReturnsWhileStarting(Tells):
    def change(self, status: ContainerStatus) -> ContainerStatus:
        if status.created_at is not None and self.world.now() - status.created_at < timedelta(seconds=1):
            return evolve(status, state=ContainerState.STARTING, exit=None)
        return status


@breaks("CREATE-2")
class QueuesForEver(Tells):
    def change(self, status: ContainerStatus) -> ContainerStatus:
        if status.state is ContainerState.RUNNING:
            return evolve(status, state=ContainerState.QUEUED)
        return status


@breaks("CREATE-3")
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


@breaks("CREATE-4", "CONCURRENCY-1", "CANCEL-1")
class AlwaysStarts(Restarts):
    pass


@breaks("CREATE-5")
class RestartsWhatEnded(Restarts):
    def restarts(self, container: MockContainer) -> bool:
        return container.ended


@breaks("CREATE-5")
class RestartsWhatItDidNotCreate(Restarts):
    def restarts(self, container: MockContainer) -> bool:
        return container.container_id not in self.mine


@breaks("CREATE-6")
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


@breaks("CREATE-7")
class IgnoresConfigs(SeesNoConflict):
    def same(self, container: MockContainer, config: ContainerConfig, options: CreateOptions) -> bool:
        return container.options == options


@breaks("CREATE-7")
class IgnoresOptions(SeesNoConflict):
    def same(self, container: MockContainer, config: ContainerConfig, options: CreateOptions) -> bool:
        return container.config == config


@breaks("CREATE-8")
class AllowsLowerAttempts(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        self.world.node(options.node_id).memory.slot(options.instance).attempts.clear()
        return await super().create_container(config, options)


@breaks("CREATE-9")
class LeavesWhatDidNotStart(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        try:
            return await super().create_container(config, options)
        except StartFailed:
            await super().create_container(evolve(config, command=("exit", "127")), options)
            raise


@breaks("CREATE-10")
class RunsWhatItCannot(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        try:
            return await super().create_container(config, options)
        except ConfigUnsupported:
            return await super().create_container(evolve(config, command=("run",)), options)


@breaks("CREATE-11", "STATUS-6")
class IgnoresPorts(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        return await super().create_container(evolve(config, ports=()), options)


# Statuses, lists, abilities


@breaks("CAPABILITY-1")
class DeclaresTooMuch(Mutant):
    read_logs = None  # type: ignore[assignment]  # that it is not implemented is what is wrong


@breaks("CAPABILITY-2")
class LosesAbilities(Mutant):
    @property
    def capabilities(self) -> frozenset[RuntimeCapability]:
        return frozenset() if self._closed else super().capabilities


@breaks("CHECKPOINT-1")
class NeverYields(Mutant):
    async def get_container_status(self, container_id: ContainerId, /) -> ContainerStatus:
        return self.world.container(container_id).summary().status


@breaks("STATUS-1")
class ForgetsAttempts(Tells):
    def change(self, status: ContainerStatus) -> ContainerStatus:
        return evolve(status, attempt=0)


@breaks("STATUS-2")
class CutsCodes(Tells):
    def change(self, status: ContainerStatus) -> ContainerStatus:
        if status.exit is None or status.exit.code is None:
            return status
        return evolve(status, exit=ExitStatus(code=status.exit.code & 127))


@breaks("STATUS-2")
class TakesSignalsForFailures(Tells):
    def change(self, status: ContainerStatus) -> ContainerStatus:
        if status.exit is None or status.exit.signal is None:
            return status
        return evolve(status, exit=ExitStatus(code=1))


@breaks("STATUS-3")
class GoesBack(Tells):
    told = 0

    def change(self, status: ContainerStatus) -> ContainerStatus:
        self.told += 1
        if status.state is ContainerState.RUNNING and self.told % 2 == 0:
            return evolve(status, state=ContainerState.STARTING)
        return status


@breaks("STATUS-4")
class StampsTheEndAnew(Tells):
    def change(self, status: ContainerStatus) -> ContainerStatus:
        return status if status.exit is None else evolve(status, finished_at=self.world.now())


@breaks("STATUS-5")
class TellsLocalTime(Tells):
    def change(self, status: ContainerStatus) -> ContainerStatus:
        assert status.created_at is not None
        return evolve(status, created_at=status.created_at.astimezone(timezone(timedelta(hours=1))))


@breaks("STATUS-7")
class InventsHealth(Tells):
    def change(self, status: ContainerStatus) -> ContainerStatus:
        return evolve(status, health=ContainerHealth.HEALTHY)


@breaks("STATUS-8")
class InventsStatuses(Mutant):
    async def get_container_status(self, container_id: ContainerId, /) -> ContainerStatus:
        try:
            return await super().get_container_status(container_id)
        except ContainerNotFound:
            return ContainerStatus(name="", state=ContainerState.UNKNOWN)


@breaks("LIST-1")
class HidesTheDead(Lists):
    def shows(self, summary: ContainerSummary) -> bool:
        return summary.status.exit is None


@breaks("LIST-2")
class ListsOldStatuses(Mutant):
    async def list_containers(self, node_id: NodeId, /) -> list[ContainerSummary]:
        return [evolve(s, status=evolve(s.status, started_at=None)) for s in await super().list_containers(node_id)]


@breaks("LIST-3")
class ListsAllNodes(Mutant):
    async def list_containers(self, node_id: NodeId, /) -> list[ContainerSummary]:
        await super().list_containers(node_id)
        return [container.summary() for container in self.world.containers.values()]


# Stopping


class Stops(Mutant):
    """Stops with another grace."""

    def grace(self, seconds: float) -> float:
        return seconds

    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        await super().stop_container(container_id, grace_seconds=self.grace(grace_seconds))


@breaks("STOP-1")
class OnlyPretendsToStop(Mutant):
    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        await self.get_container_status(container_id)


@breaks("STOP-2", "REMOVE-2")
class LeavesProcesses(Mutant):
    def leave(self, container_id: ContainerId) -> None:
        if container_id in self.world.containers:
            self.strays[self.world.container(container_id).behaviour.token] += 1

    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        self.leave(container_id)
        await super().stop_container(container_id, grace_seconds=grace_seconds)

    async def remove_container(self, container_id: ContainerId, /) -> None:
        self.leave(container_id)
        await super().remove_container(container_id)


@breaks("STOP-3")
class KillsAtOnce(Stops):
    def grace(self, seconds: float) -> float:
        return 0


@breaks("STOP-4")
class CutsTheGrace(Stops):
    def grace(self, seconds: float) -> float:
        return seconds * 0.6


@breaks("STOP-5")
class NeverKills(Stops):
    def grace(self, seconds: float) -> float:
        return math.inf


@breaks("STOP-6")
class TakesNoGraceForTheDefault(Stops):
    def grace(self, seconds: float) -> float:
        return seconds or 100


@breaks("STOP-7")
class RemovesWhatItStops(Mutant):
    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        await super().stop_container(container_id, grace_seconds=grace_seconds)
        await self.remove_container(container_id)


@breaks("STOP-8")
class RewritesExits(Mutant):
    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        await super().stop_container(container_id, grace_seconds=grace_seconds)
        container = self.world.container(container_id)
        container.exit = ExitStatus(signal=15)
        container.forget_summary()


class Locks(Mutant):
    """Lets only one task at a time do something."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.lock = trio.Lock()


@breaks("STOP-9", "CONCURRENCY-5")
class StopsOneAfterAnother(Locks):
    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        async with self.lock:
            await super().stop_container(container_id, grace_seconds=grace_seconds)

    async def remove_container(self, container_id: ContainerId, /) -> None:
        await trio.sleep(0.1)
        async with self.lock:
            await super().remove_container(container_id)


@breaks("STOP-10")
class LengthensTheGrace(Mutant):
    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        container = self.world.container(container_id)
        if container.kill_at is not None:
            container.kill_at = self.world.clock() + grace_seconds
        await super().stop_container(container_id, grace_seconds=grace_seconds)


@breaks("STOP-11")
class StopsTheUnknown(Mutant):
    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        if container_id in self.world.containers:
            await super().stop_container(container_id, grace_seconds=grace_seconds)
        await trio.lowlevel.checkpoint()


@breaks("STOP-12")
class StopsTheInstance(Mutant):
    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        instance = self.world.container(container_id).options.instance
        for other in list(self.world.containers.values()):
            if other.options.instance == instance:
                await super().stop_container(other.container_id, grace_seconds=grace_seconds)


# Removing and closing


@breaks("REMOVE-1")
class OnlyStops(Mutant):
    async def remove_container(self, container_id: ContainerId, /) -> None:
        if container_id in self.world.containers:
            await super().stop_container(container_id, grace_seconds=0)
        await trio.lowlevel.checkpoint()


@breaks("REMOVE-3", "CONCURRENCY-6")
class RefusesTheUnknown(Mutant):
    async def _remove(self, container_id: ContainerId) -> None:
        self.world.remove(self.world.container(container_id))


@breaks("REMOVE-4")
class KeepsLogs(Mutant):
    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.seen: dict[ContainerId, MockContainer] = {}

    async def _find(self, container_id: ContainerId) -> MockContainer:
        if container_id not in self.seen:
            self.seen[container_id] = await super()._find(container_id)
        return self.seen[container_id]

    async def _remove(self, container_id: ContainerId) -> None:
        self.world.remove(self.world.container(container_id))


@breaks("REMOVE-5")
class KeepsPorts(Mutant):
    async def remove_container(self, container_id: ContainerId, /) -> None:
        container = self.world.containers.get(container_id)
        await super().remove_container(container_id)
        for port in container.host_ports.values() if container is not None else ():
            self.world.occupy_port(NodeId("node-1"), port)


@breaks("CLOSE-1", "CLOSE-3", "CLOSE-4")
class NeverCloses(Mutant):
    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@breaks("CLOSE-1")
class ReadsAfterClosing(Mutant):
    async def read_logs(
        self, container_id: ContainerId, stream: LogStream, /, *, offset: int = 0, max_bytes: int = 65536
    ) -> LogChunk:
        await trio.lowlevel.checkpoint()
        container = self.world.container(container_id)
        log = container.log(stream, self.world.log_budget_bytes)
        return log.read(stream, offset, max_bytes, ended=container.ended)


@breaks("CLOSE-2")
class KillsAtClosing(Mutant):
    async def aclose(self) -> None:
        for container_id in self.world.containers:
            self.world.exit(container_id, ExitStatus(signal=9))
        await super().aclose()


@breaks("CLOSE-3")
class ClosesOnce(Mutant):
    async def aclose(self) -> None:
        if self._closed:
            msg = "it was closed before"
            raise RuntimeClosed(msg)
        await super().aclose()


@breaks("CLOSE-4")
class ClosesLate(Mutant):
    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        await super().aclose()


# Several tasks, cancellation, histories


@breaks("CONCURRENCY-1")
class LooksThenStarts(Mutant):
    async def _create(self, config: ContainerConfig, options: CreateOptions) -> ContainerId:
        container = self.existing(config, options)
        await trio.lowlevel.checkpoint()
        if container is None and (other := self.existing(config, options)) is not None:
            self.world.remove(other)
        return await super()._create(config, options)


@breaks("CONCURRENCY-2")
class SharesItsScratchpad(Mutant):
    async def _create(self, config: ContainerConfig, options: CreateOptions) -> ContainerId:
        self.scratchpad = config
        await trio.lowlevel.checkpoint()
        return await super()._create(self.scratchpad, options)


@breaks("CONCURRENCY-3")
class LetsTheLowerEpochWin(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        await trio.sleep(1 / options.instance.epoch)
        self.reset_epoch(options)
        return await super().create_container(config, options)


@breaks("CONCURRENCY-4")
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


@breaks("CANCEL-2")
class BelievesInStops(Believes):
    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        if await self.first_time(container_id):
            await super().stop_container(container_id, grace_seconds=grace_seconds)


@breaks("CANCEL-3")
class BelievesInRemovals(Believes):
    async def remove_container(self, container_id: ContainerId, /) -> None:
        if await self.first_time(container_id):
            await super().remove_container(container_id)


@breaks("CANCEL-5")
class BelievesInInits(Believes):
    async def init_node(self, node_id: NodeId, /) -> None:
        if await self.first_time(ContainerId(node_id)):
            await super().init_node(node_id)


@breaks("CANCEL-4")
class ListsTheHalfMade(Mutant):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        draft = await super().create_container(evolve(config, name=f"{config.name}-draft"), options)
        await trio.lowlevel.checkpoint()
        await self.remove_container(draft)
        return await super().create_container(config, options)


@breaks("MODEL-1")
class RemovesAllAttempts(Mutant):
    async def remove_container(self, container_id: ContainerId, /) -> None:
        container = self.world.containers.get(container_id)
        if container is not None:
            for other in list(self.world.containers.values()):
                if other.key[:2] == container.key[:2] and other is not container:
                    self.world.remove(other)
        await super().remove_container(container_id)


@breaks("MODEL-2")
class LosesLaterAttemptsAtARestart(Lists):
    def shows(self, summary: ContainerSummary) -> bool:
        return summary.container_id in self.mine or summary.status.attempt == 0


@breaks("MODEL-3")
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
