"""Runtimes that are wrong in one way about logs, exec, stats or events: each fails the clause that it breaks."""

from __future__ import annotations

import copy
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Generic, TypeVar, cast

import pytest
import trio
from attrs import evolve
from orchestrion.mocks import MockBehaviour, MockContainer, MockRuntime
from orchestrion.mocks._runtime_exec import MockExecSession
from orchestrion.runtime_interface import (
    CommandNotExecutable,
    CommandNotFound,
    ContainerHint,
    ContainerNotFound,
    ContainerStats,
    CreateOptions,
    ExecOutput,
    ExecSession,
    LogChunk,
    LogStream,
    NodeNotFound,
    RuntimeFailure,
)
from orchestrion.shared_types import ContainerConfig, ContainerId, ContainerState, ContainerStatus, ExitStatus, NodeId

from .runtime_mutants import Mutants, failed_checks

MUTANTS = Mutants()

T = TypeVar("T")


class Stream(Generic[T]):
    """An iterator over what a function returns again and again."""

    def __init__(self, next_item: Callable[[], Awaitable[T]]) -> None:
        self._next_item = next_item

    def __aiter__(self) -> Stream[T]:
        return self

    async def __anext__(self) -> T:
        return await self._next_item()


class Reads(MockRuntime):
    """Asks for something else than it was asked for, or changes what it gives."""

    def ask(self, offset: int, max_bytes: int) -> tuple[int, int]:
        return offset, max_bytes

    async def change(self, container_id: ContainerId, chunk: LogChunk, offset: int) -> LogChunk:
        return chunk

    async def read_logs(
        self, container_id: ContainerId, stream: LogStream, /, *, offset: int = 0, max_bytes: int = 65536
    ) -> LogChunk:
        asked, most = self.ask(offset, max_bytes)
        chunk = await super().read_logs(container_id, stream, offset=asked, max_bytes=most)
        return await self.change(container_id, chunk, offset)


@MUTANTS.breaks("LOGS-1")
class MixesStreams(MockRuntime):
    async def read_logs(
        self, container_id: ContainerId, stream: LogStream, /, *, offset: int = 0, max_bytes: int = 65536
    ) -> LogChunk:
        chunks = [await super(MixesStreams, self).read_logs(container_id, each) for each in LogStream]
        return evolve(max(chunks, key=lambda chunk: len(chunk.data)), stream=stream)


@MUTANTS.breaks("LOGS-1")
class MixesAttempts(MockRuntime):
    async def read_logs(
        self, container_id: ContainerId, stream: LogStream, /, *, offset: int = 0, max_bytes: int = 65536
    ) -> LogChunk:
        return await super().read_logs(min(self.world.containers), stream, offset=offset, max_bytes=max_bytes)


@MUTANTS.breaks("LOGS-2")
class StopsTheWriter(MockRuntime):
    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        if sum(map(len, config.command)) > 1_000_000:
            config = evolve(config, command=("run",))
        return await super().create_container(config, options)


@MUTANTS.breaks("LOGS-3")
class WaitsForMore(Reads):
    async def change(self, container_id: ContainerId, chunk: LogChunk, offset: int) -> LogChunk:
        if not chunk.data:
            await trio.sleep(3600)
        return chunk


@MUTANTS.breaks("LOGS-4")
class RoundsOffsets(Reads):
    def ask(self, offset: int, max_bytes: int) -> tuple[int, int]:
        return offset // 16 * 16, max_bytes


@MUTANTS.breaks("LOGS-5")
class TakesNegativeForZero(Reads):
    def ask(self, offset: int, max_bytes: int) -> tuple[int, int]:
        return max(0, offset), max_bytes


@MUTANTS.breaks("LOGS-6")
class EchoesTheOffset(Reads):
    async def change(self, container_id: ContainerId, chunk: LogChunk, offset: int) -> LogChunk:
        return chunk if chunk.data else evolve(chunk, offset=offset)


@MUTANTS.breaks("LOGS-7")
class GivesMore(Reads):
    def ask(self, offset: int, max_bytes: int) -> tuple[int, int]:
        return offset, max_bytes + 1


@MUTANTS.breaks("LOGS-8")
class HidesGaps(Reads):
    async def change(self, container_id: ContainerId, chunk: LogChunk, offset: int) -> LogChunk:
        return evolve(chunk, gap_bytes=0)


@MUTANTS.breaks("LOGS-9")
class InventsLogs(MockRuntime):
    async def read_logs(
        self, container_id: ContainerId, stream: LogStream, /, *, offset: int = 0, max_bytes: int = 65536
    ) -> LogChunk:
        try:
            return await super().read_logs(container_id, stream, offset=offset, max_bytes=max_bytes)
        except ContainerNotFound:
            return LogChunk(stream=stream, offset=0)


@MUTANTS.breaks("LOGS-10")
class SaysFinalEarly(Reads):
    async def change(self, container_id: ContainerId, chunk: LogChunk, offset: int) -> LogChunk:
        return evolve(chunk, final=True)


@MUTANTS.breaks("LOGS-10")
class SaysFinalAtTheEndOfWhatIsThere(Reads):
    async def change(self, container_id: ContainerId, chunk: LogChunk, offset: int) -> LogChunk:
        return evolve(chunk, final=len(chunk.data) == 1000)


@MUTANTS.breaks("LOGS-11")
class LosesLogsAtARestart(MockRuntime):
    async def init_node(self, node_id: NodeId, /) -> None:
        await super().init_node(node_id)
        for container in self.world.containers.values():
            container.logs = None


class Follows(MockRuntime):
    """Follows in a way of its own."""

    async def next_chunk(self, container: MockContainer, honest: AsyncIterator[LogChunk]) -> LogChunk:
        return await anext(honest)

    def start(self, container_id: ContainerId, offset: int) -> int:
        return offset

    @asynccontextmanager
    async def follow_logs(
        self, container_id: ContainerId, stream: LogStream, /, *, offset: int = 0
    ) -> AsyncIterator[AsyncIterator[LogChunk]]:
        async with super().follow_logs(container_id, stream, offset=self.start(container_id, offset)) as honest:
            container = self.world.container(container_id)
            yield Stream(lambda: self.next_chunk(container, honest))


@MUTANTS.breaks("FOLLOW-1")
class NeverSaysFinal(Follows):
    async def next_chunk(self, container: MockContainer, honest: AsyncIterator[LogChunk]) -> LogChunk:
        return evolve(await anext(honest), final=False)


@MUTANTS.breaks("FOLLOW-1")
class RepeatsBytes(Follows):
    async def next_chunk(self, container: MockContainer, honest: AsyncIterator[LogChunk]) -> LogChunk:
        chunk = await anext(honest)
        return evolve(chunk, data=chunk.data + chunk.data[-1:])


@MUTANTS.breaks("FOLLOW-2")
class FollowsFromTheStart(Follows):
    def start(self, container_id: ContainerId, offset: int) -> int:
        return 0


@MUTANTS.breaks("FOLLOW-3")
class WaitsForTheEnd(Follows):
    async def next_chunk(self, container: MockContainer, honest: AsyncIterator[LogChunk]) -> LogChunk:
        while not container.ended:
            await trio.sleep(1)
        return await anext(honest)


@MUTANTS.breaks("FOLLOW-4")
class MissesTheEnd(Follows):
    async def next_chunk(self, container: MockContainer, honest: AsyncIterator[LogChunk]) -> LogChunk:
        running = not container.ended
        chunk = await anext(honest)
        if running and container.ended:
            await trio.sleep_forever()
        return chunk


@MUTANTS.breaks("FOLLOW-5")
class MissesTheRemoval(Follows):
    async def next_chunk(self, container: MockContainer, honest: AsyncIterator[LogChunk]) -> LogChunk:
        try:
            return await anext(honest)
        except StopAsyncIteration:
            if container.removed:
                await trio.sleep_forever()
            raise


@MUTANTS.breaks("FOLLOW-6")
class SharesOneCursor(Follows):
    taken = 0

    async def next_chunk(self, container: MockContainer, honest: AsyncIterator[LogChunk]) -> LogChunk:
        chunk = await anext(honest)
        self.taken += 1
        return await anext(honest) if self.taken == 2 else chunk


@MUTANTS.breaks("FOLLOW-7")
class BreaksWhenLeft(MockRuntime):
    left = False

    @asynccontextmanager
    async def follow_logs(
        self, container_id: ContainerId, stream: LogStream, /, *, offset: int = 0
    ) -> AsyncIterator[AsyncIterator[LogChunk]]:
        if self.left:
            await trio.sleep_forever()
        async with super().follow_logs(container_id, stream, offset=offset) as honest:
            self.left = True
            yield honest


class Execs(MockRuntime):
    """Runs commands in a way of its own."""

    def container_of(self, container: MockContainer) -> MockContainer:
        return container

    def behaviour_of(self, behaviour: MockBehaviour) -> MockBehaviour:
        return behaviour

    async def _exec(self, container_id: ContainerId, command: tuple[str, ...]) -> MockExecSession:
        honest = await super()._exec(container_id, command)
        container, behaviour = self.container_of(honest.container), self.behaviour_of(honest.behaviour)
        return MockExecSession(self.world, container, behaviour, honest.check)


@MUTANTS.breaks("EXEC-1")
class LosesCodes(Execs):
    def behaviour_of(self, behaviour: MockBehaviour) -> MockBehaviour:
        return evolve(behaviour, exit=ExitStatus(code=0))


@MUTANTS.breaks("EXEC-1")
class MixesOutput(Execs):
    def behaviour_of(self, behaviour: MockBehaviour) -> MockBehaviour:
        return evolve(behaviour, output=tuple(evolve(o, stream=LogStream.STDOUT) for o in behaviour.output))


@MUTANTS.breaks("EXEC-2")
class DropsInput(Execs):
    def behaviour_of(self, behaviour: MockBehaviour) -> MockBehaviour:
        return evolve(behaviour, copies_stdin=False)


class Session:
    """A session that passes on to an honest one."""

    def __init__(self, honest: ExecSession) -> None:
        self.honest = honest

    async def send_stdin(self, data: bytes, /) -> None:
        await self.honest.send_stdin(data)

    async def close_stdin(self) -> None:
        await self.honest.close_stdin()

    def output(self) -> AsyncIterator[ExecOutput]:
        return self.honest.output()

    async def wait(self) -> ExitStatus:
        return await self.honest.wait()


class WrapsExec(MockRuntime):
    session_class: type[Session] = Session

    @asynccontextmanager
    async def exec_in_container(
        self, container_id: ContainerId, command: Sequence[str], /
    ) -> AsyncIterator[ExecSession]:
        async with super().exec_in_container(container_id, command) as honest:
            yield self.session_class(honest)


class BrokenPipe(Session):
    async def send_stdin(self, data: bytes, /) -> None:
        msg = "broken pipe"
        raise RuntimeFailure(msg)


@MUTANTS.breaks("EXEC-3")
class RefusesLateInput(WrapsExec):
    session_class = BrokenPipe


@MUTANTS.breaks("EXEC-4")
class LeavesCommandsRunning(MockRuntime):
    @asynccontextmanager
    async def exec_in_container(
        self, container_id: ContainerId, command: Sequence[str], /
    ) -> AsyncIterator[ExecSession]:
        async with super().exec_in_container(container_id, command) as honest:
            yield honest
            self.strays = Counter(command)


class InventsSessions(MockRuntime):
    """Gives a session of a command that ends with 127, where it ought to raise."""

    caught: type[Exception] = RuntimeFailure

    @asynccontextmanager
    async def exec_in_container(
        self, container_id: ContainerId, command: Sequence[str], /
    ) -> AsyncIterator[ExecSession]:
        try:
            async with super().exec_in_container(container_id, command) as honest:
                yield honest
        except self.caught:
            yield Session(cast("ExecSession", None))


@MUTANTS.breaks("EXEC-5")
class RunsInTheUnknown(InventsSessions):
    caught = ContainerNotFound


class SpeaksInGeneral(InventsSessions):
    @asynccontextmanager
    async def exec_in_container(
        self, container_id: ContainerId, command: Sequence[str], /
    ) -> AsyncIterator[ExecSession]:
        try:
            async with super(InventsSessions, self).exec_in_container(container_id, command) as honest:
                yield honest
        except self.caught as err:
            raise RuntimeFailure(str(err)) from err


@MUTANTS.breaks("EXEC-12")
class NamesNoMissingProgram(SpeaksInGeneral):
    caught = CommandNotFound


@MUTANTS.breaks("EXEC-13")
class NamesNoProgramThatIsNotExecutable(SpeaksInGeneral):
    caught = CommandNotExecutable


@MUTANTS.breaks("EXEC-6", "EXEC-7", "EXEC-12", "EXEC-13")
class RunsInTheDead(InventsSessions):
    caught = RuntimeFailure


class FullPipe(Session):
    async def wait(self) -> ExitStatus:
        await trio.sleep_forever()
        raise AssertionError


@MUTANTS.breaks("EXEC-8")
class WaitsForAReader(WrapsExec):
    session_class = FullPipe


def twin(container: MockContainer) -> MockContainer:
    """Return a copy that has nothing to do with the container any more."""
    return copy.copy(container)


class Loses(MockExecSession):
    """Drops output, whoever reads."""

    keeps = 1 << 20
    hole = 0

    def _write(self, stream: LogStream, data: bytes) -> None:
        super()._write(stream, data[: self.keeps] + data[self.keeps + self.hole :] if self.hole else data[: self.keeps])


class LosesOutput(MockRuntime):
    session_class: type[Loses] = Loses

    async def _exec(self, container_id: ContainerId, command: tuple[str, ...]) -> MockExecSession:
        honest = await super()._exec(container_id, command)
        return self.session_class(self.world, honest.container, honest.behaviour, honest.check)


@MUTANTS.breaks("EXEC-11")
class DropsWhatIsNotReadAtOnce(LosesOutput):
    pass


class LosesTheMiddle(Loses):
    keeps, hole = 1000, 1000


@MUTANTS.breaks("EXEC-8", "EXEC-11")
class DropsInBetween(LosesOutput):
    session_class = LosesTheMiddle


@MUTANTS.breaks("EXEC-9")
class ForgetsTheEnvironment(Execs):
    def container_of(self, container: MockContainer) -> MockContainer:
        other = twin(container)
        other.config = evolve(container.config, env_vars={})
        return other


@MUTANTS.breaks("EXEC-10")
class OutlivesTheContainer(Execs):
    def container_of(self, container: MockContainer) -> MockContainer:
        return twin(container)


class Counts(MockRuntime):
    """Changes what containers are said to use."""

    def change(self, stats: ContainerStats) -> ContainerStats:
        return stats

    async def get_container_stats(self, container_id: ContainerId, /) -> ContainerStats:
        return self.change(await super().get_container_stats(container_id))


@MUTANTS.breaks("STATS-1")
class SeesNoProcess(Counts):
    def change(self, stats: ContainerStats) -> ContainerStats:
        return evolve(stats, processes=0)


@MUTANTS.breaks("STATS-2")
class CountsDown(Counts):
    def change(self, stats: ContainerStats) -> ContainerStats:
        return evolve(stats, cpu_nanoseconds=10**15 - stats.cpu_nanoseconds)


@MUTANTS.breaks("STATS-3")
class KeepsMemory(Counts):
    def change(self, stats: ContainerStats) -> ContainerStats:
        return evolve(stats, memory_bytes=1)


@MUTANTS.breaks("STATS-4")
class InventsStats(MockRuntime):
    async def get_container_stats(self, container_id: ContainerId, /) -> ContainerStats:
        try:
            return await super().get_container_stats(container_id)
        except ContainerNotFound:
            return ContainerStats(sampled_at=self.world.now(), cpu_nanoseconds=0, memory_bytes=0, processes=0)


async def never() -> ContainerHint:
    await trio.sleep_forever()
    raise AssertionError


@MUTANTS.breaks("EVENTS-1")
class NeverHints(MockRuntime):
    @asynccontextmanager
    async def watch_containers(self, node_id: NodeId, /) -> AsyncIterator[AsyncIterator[ContainerHint]]:
        async with super().watch_containers(node_id):
            yield Stream(never)


@MUTANTS.breaks("EVENTS-2")
class ArmsLate(MockRuntime):
    @asynccontextmanager
    async def watch_containers(self, node_id: NodeId, /) -> AsyncIterator[AsyncIterator[ContainerHint]]:
        async with super().watch_containers(node_id) as honest:

            async def first_forget() -> ContainerHint:
                if not self.armed:
                    self.armed = True
                    honest.hints.clear()  # type: ignore[attr-defined]  # the mock's reader has them
                return await anext(honest)

            yield Stream(first_forget)

    armed = False


@MUTANTS.breaks("EVENTS-3")
class DropsHints(MockRuntime):
    @asynccontextmanager
    async def watch_containers(self, node_id: NodeId, /) -> AsyncIterator[AsyncIterator[ContainerHint]]:
        async with super().watch_containers(node_id) as honest:
            honest.hints = deque(maxlen=4)  # type: ignore[attr-defined]  # the mock's reader has them
            yield honest


@MUTANTS.breaks("EVENTS-4")
class WatchesAnything(MockRuntime):
    @asynccontextmanager
    async def watch_containers(self, node_id: NodeId, /) -> AsyncIterator[AsyncIterator[ContainerHint]]:
        try:
            async with super().watch_containers(node_id) as honest:
                yield honest
        except NodeNotFound:
            yield Stream(never)


@MUTANTS.breaks("EVENTS-5")
class HasOneReader(MockRuntime):
    readers = 0

    @asynccontextmanager
    async def watch_containers(self, node_id: NodeId, /) -> AsyncIterator[AsyncIterator[ContainerHint]]:
        self.readers += 1
        async with super().watch_containers(node_id) as honest:
            yield honest if self.readers == 1 else Stream(never)


@MUTANTS.breaks("EVENTS-6")
class HintsAtTheFirstStatus(MockRuntime):
    @asynccontextmanager
    async def watch_containers(self, node_id: NodeId, /) -> AsyncIterator[AsyncIterator[ContainerHint]]:
        first = dict[ContainerId | None, ContainerStatus | None]()
        async with super().watch_containers(node_id) as honest:

            async def stale() -> ContainerHint:
                hint = await anext(honest)
                known = first.get(hint.container_id)
                if known is None and hint.status is not None:
                    known = evolve(hint.status, state=ContainerState.RUNNING, exit=None, finished_at=None)
                    first[hint.container_id] = known
                return evolve(hint, status=known)

            yield Stream(stale)


@pytest.mark.parametrize(("clause", "mutant"), MUTANTS.parameters())
def test_the_kit_finds_out(clause: str, mutant: type[MockRuntime]) -> None:
    assert failed_checks(clause, mutant)
