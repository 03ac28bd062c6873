"""Runtimes that are wrong in one way about terminals: each fails the clause that it breaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
from attrs import evolve
from orchestrion.mocks import MockBehaviour, MockRuntime
from orchestrion.mocks._runtime_exec import MockTerminalSession
from orchestrion.runtime_interface import (
    CommandNotFound,
    ContainerNotFound,
    LogStream,
    RuntimeCapability,
    RuntimeClosed,
    RuntimeFailure,
    TerminalSession,
    TerminalSize,
)
from orchestrion.shared_types import ContainerId, ExitStatus

from .runtime_mutants import Mutants, failed_checks

MUTANTS = Mutants()


@MUTANTS.breaks("CAPABILITY-3")
class HasTerminalsAlone(MockRuntime):
    @property
    def capabilities(self) -> frozenset[RuntimeCapability]:
        return super().capabilities - {RuntimeCapability.EXEC}


class Terminals(MockRuntime):
    """Has terminals of its own kind."""

    session_class: type[MockTerminalSession] = MockTerminalSession

    def size_of(self, size: TerminalSize) -> TerminalSize:
        return size

    def behaviour_of(self, behaviour: MockBehaviour) -> MockBehaviour:
        return behaviour

    async def _terminal(
        self, container_id: ContainerId, command: tuple[str, ...], size: TerminalSize
    ) -> MockTerminalSession:
        container, behaviour, check = self._command(container_id, command)
        changed = self.behaviour_of(behaviour)
        return self.session_class(self.world, container, changed, check, size=self.size_of(size))


@MUTANTS.breaks("TERMINAL-1")
class HasOneSize(Terminals):
    def size_of(self, size: TerminalSize) -> TerminalSize:
        return TerminalSize()


@MUTANTS.breaks("TERMINAL-1")
class SharesOneTerminal(Terminals):
    last: TerminalSize | None = None

    def size_of(self, size: TerminalSize) -> TerminalSize:
        self.last = self.last or size
        return self.last


class OfNoKind(MockTerminalSession):
    @property
    def _environment(self) -> Mapping[str, str]:
        return self.container.config.env_vars


@MUTANTS.breaks("TERMINAL-1")
class NamesNoKind(Terminals):
    session_class = OfNoKind


class OfItsOwnKind(MockTerminalSession):
    @property
    def _environment(self) -> Mapping[str, str]:
        return {**self.container.config.env_vars, "TERM": "xterm"}


@MUTANTS.breaks("TERMINAL-1")
class NamesItsOwnKind(Terminals):
    session_class = OfItsOwnKind


class Silent(MockTerminalSession):
    def _type(self, character: int) -> None:
        kept, self._unread = self._unread.copy(), self._unread.copy()
        super()._type(character)
        if not self.ended and character not in b"\r\n":
            self._unread = kept


@MUTANTS.breaks("TERMINAL-2")
class EchoesNothing(Terminals):
    session_class = Silent


class Pipe(MockTerminalSession):
    async def send_stdin(self, data: bytes, /) -> None:
        await super(MockTerminalSession, self).send_stdin(data)


@MUTANTS.breaks("TERMINAL-1", "TERMINAL-2", "TERMINAL-3", "TERMINAL-4", "TERMINAL-5")
class HasPipes(Terminals):
    session_class = Pipe


class Apart(MockTerminalSession):
    def _write(self, stream: LogStream, data: bytes) -> None:
        super(MockTerminalSession, self)._write(stream, data.replace(b"\n", b"\r\n"))


@MUTANTS.breaks("TERMINAL-2")
class KeepsErrorsApart(Terminals):
    session_class = Apart


@MUTANTS.breaks("TERMINAL-2")
class LosesCodesAtTerminals(Terminals):
    def behaviour_of(self, behaviour: MockBehaviour) -> MockBehaviour:
        return evolve(behaviour, exit=None if behaviour.exit is None else ExitStatus(code=0))


class Rigid(MockTerminalSession):
    async def resize(self, size: TerminalSize, /) -> None:
        await super().resize(self.size)


@MUTANTS.breaks("TERMINAL-3")
class KeepsTheSize(Terminals):
    session_class = Rigid


class Fragile(MockTerminalSession):
    async def resize(self, size: TerminalSize, /) -> None:
        if self.ended:
            msg = "no terminal any longer"
            raise RuntimeFailure(msg)
        await super().resize(size)


@MUTANTS.breaks("TERMINAL-3")
class ResizesNothingLate(Terminals):
    session_class = Fragile


class Unstoppable(MockTerminalSession):
    def _type(self, character: int) -> None:
        if character != 3:
            super()._type(character)


@MUTANTS.breaks("TERMINAL-4")
class PassesInterruptsBy(Terminals):
    session_class = Unstoppable


class Endless(MockTerminalSession):
    async def close_stdin(self) -> None:
        await self.send_stdin(b"")


@MUTANTS.breaks("TERMINAL-5")
class NeverEndsInput(Terminals):
    session_class = Endless


@MUTANTS.breaks("TERMINAL-6")
class LeavesTerminalsRunning(MockRuntime):
    @asynccontextmanager
    async def exec_at_terminal(
        self, container_id: ContainerId, command: Sequence[str], /, *, size: TerminalSize
    ) -> AsyncIterator[TerminalSession]:
        async with super().exec_at_terminal(container_id, command, size=size) as honest:
            yield honest
            self.strays = Counter(command)


class InventsTerminals(MockRuntime):
    """Gives what can't be used, where it ought to raise."""

    caught: type[Exception] = RuntimeFailure

    @asynccontextmanager
    async def exec_at_terminal(
        self, container_id: ContainerId, command: Sequence[str], /, *, size: TerminalSize
    ) -> AsyncIterator[TerminalSession]:
        try:
            async with super().exec_at_terminal(container_id, command, size=size) as honest:
                yield honest
        except self.caught:
            yield None  # type: ignore[misc] # it is wrong on purpose


@MUTANTS.breaks("TERMINAL-7")
class HasTerminalsInTheUnknown(InventsTerminals):
    caught = ContainerNotFound


@MUTANTS.breaks("TERMINAL-7", "TERMINAL-8")
class HasTerminalsInTheDead(InventsTerminals):
    caught = RuntimeFailure


@MUTANTS.breaks("TERMINAL-8")
class NamesNoMissingProgramAtTerminals(InventsTerminals):
    @asynccontextmanager
    async def exec_at_terminal(
        self, container_id: ContainerId, command: Sequence[str], /, *, size: TerminalSize
    ) -> AsyncIterator[TerminalSession]:
        try:
            async with super(InventsTerminals, self).exec_at_terminal(container_id, command, size=size) as honest:
                yield honest
        except CommandNotFound as err:
            raise RuntimeFailure(str(err)) from err


@MUTANTS.breaks("CLOSE-1")
class HasTerminalsAfterTheEnd(InventsTerminals):
    caught = RuntimeClosed


@pytest.mark.parametrize(("clause", "mutant"), MUTANTS.parameters())
def test_the_kit_finds_out(clause: str, mutant: type[MockRuntime]) -> None:
    assert failed_checks(clause, mutant)
