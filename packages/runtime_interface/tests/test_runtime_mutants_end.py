"""Runtimes that are wrong about stopping, removing and closing: each fails the clause that it breaks."""

from __future__ import annotations

import math

import pytest
import trio
from orchestrion.mocks import MockContainer, MockRuntime
from orchestrion.runtime_interface import (
    LogChunk,
    LogStream,
    RuntimeClosed,
)
from orchestrion.shared_types import (
    ContainerId,
    ExitStatus,
    NodeId,
)

from .runtime_mutants import Mutant, Mutants, failed_checks

MUTANTS = Mutants()


class Stops(Mutant):
    """Stops with another grace."""

    def grace(self, seconds: float) -> float:
        return seconds

    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        await super().stop_container(container_id, grace_seconds=self.grace(grace_seconds))


@MUTANTS.breaks("STOP-1")
class OnlyPretendsToStop(Mutant):
    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        await self.get_container_status(container_id)


@MUTANTS.breaks("STOP-2", "REMOVE-2")
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


@MUTANTS.breaks("STOP-3")
class KillsAtOnce(Stops):
    def grace(self, seconds: float) -> float:
        return 0


@MUTANTS.breaks("STOP-4")
class CutsTheGrace(Stops):
    def grace(self, seconds: float) -> float:
        return seconds * 0.6


@MUTANTS.breaks("STOP-5")
class NeverKills(Stops):
    def grace(self, seconds: float) -> float:
        return math.inf


@MUTANTS.breaks("STOP-6")
class TakesNoGraceForTheDefault(Stops):
    def grace(self, seconds: float) -> float:
        return seconds or 100


@MUTANTS.breaks("STOP-7")
class RemovesWhatItStops(Mutant):
    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        await super().stop_container(container_id, grace_seconds=grace_seconds)
        await self.remove_container(container_id)


@MUTANTS.breaks("STOP-8")
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


@MUTANTS.breaks("STOP-9", "CONCURRENCY-5")
class StopsOneAfterAnother(Locks):
    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        async with self.lock:
            await super().stop_container(container_id, grace_seconds=grace_seconds)

    async def remove_container(self, container_id: ContainerId, /) -> None:
        await trio.sleep(0.1)
        async with self.lock:
            await super().remove_container(container_id)


@MUTANTS.breaks("STOP-10")
class LengthensTheGrace(Mutant):
    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        container = self.world.container(container_id)
        if container.kill_at is not None:
            container.kill_at = self.world.clock() + grace_seconds
        await super().stop_container(container_id, grace_seconds=grace_seconds)


@MUTANTS.breaks("STOP-11")
class StopsTheUnknown(Mutant):
    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        if container_id in self.world.containers:
            await super().stop_container(container_id, grace_seconds=grace_seconds)
        await trio.lowlevel.checkpoint()


@MUTANTS.breaks("STOP-12")
class StopsTheInstance(Mutant):
    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        instance = self.world.container(container_id).options.instance
        for other in list(self.world.containers.values()):
            if other.options.instance == instance:
                await super().stop_container(other.container_id, grace_seconds=grace_seconds)


@MUTANTS.breaks("REMOVE-1")
class OnlyStops(Mutant):
    async def remove_container(self, container_id: ContainerId, /) -> None:
        if container_id in self.world.containers:
            await super().stop_container(container_id, grace_seconds=0)
        await trio.lowlevel.checkpoint()


@MUTANTS.breaks("REMOVE-3", "CONCURRENCY-6")
class RefusesTheUnknown(Mutant):
    async def _remove(self, container_id: ContainerId) -> None:
        self.world.remove(self.world.container(container_id))


@MUTANTS.breaks("REMOVE-4")
class KeepsLogs(Mutant):
    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.seen: dict[ContainerId, MockContainer] = {}

    def _found(self, container_id: ContainerId) -> MockContainer:
        if container_id not in self.seen:
            self.seen[container_id] = super()._found(container_id)
        return self.seen[container_id]

    async def _remove(self, container_id: ContainerId) -> None:
        self.world.remove(self.world.container(container_id))


@MUTANTS.breaks("REMOVE-5")
class KeepsPorts(Mutant):
    async def remove_container(self, container_id: ContainerId, /) -> None:
        container = self.world.containers.get(container_id)
        await super().remove_container(container_id)
        for port in container.host_ports.values() if container is not None else ():
            self.world.occupy_port(NodeId("node-1"), port)


@MUTANTS.breaks("CLOSE-1", "CLOSE-3", "CLOSE-4")
class NeverCloses(Mutant):
    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@MUTANTS.breaks("CLOSE-1")
class ReadsAfterClosing(Mutant):
    async def read_logs(
        self, container_id: ContainerId, stream: LogStream, /, *, offset: int = 0, max_bytes: int = 65536
    ) -> LogChunk:
        await trio.lowlevel.checkpoint()
        container = self.world.container(container_id)
        log = container.log(stream, self.world.log_budget_bytes)
        return log.read(stream, offset, max_bytes, ended=container.ended)


@MUTANTS.breaks("CLOSE-2")
class KillsAtClosing(Mutant):
    async def aclose(self) -> None:
        for container_id in self.world.containers:
            self.world.exit(container_id, ExitStatus(signal=9))
        await super().aclose()


@MUTANTS.breaks("CLOSE-3")
class ClosesOnce(Mutant):
    async def aclose(self) -> None:
        if self._closed:
            msg = "it was closed before"
            raise RuntimeClosed(msg)
        await super().aclose()


@MUTANTS.breaks("CLOSE-4")
class ClosesLate(Mutant):
    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        await super().aclose()


@pytest.mark.parametrize(("clause", "mutant"), MUTANTS.parameters())
def test_the_kit_finds_out(clause: str, mutant: type[MockRuntime]) -> None:
    assert failed_checks(clause, mutant)
