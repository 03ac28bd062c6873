"""Faults that a mock can be told to have: from a script, or from a seeded generator."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from enum import StrEnum
from typing import Protocol, TypeVar

import trio
from attrs import define, field, frozen
from orchestrion.shared_types import OrchestrationError

R = TypeVar("R")


class SimulatedCrash(Exception):
    """The program that holds this mock has crashed. It is no `OrchestrationError`, so that nothing handles it."""


class FaultKind(StrEnum):
    """What goes wrong with one call."""

    FAIL = "fail"
    """The mock's "unavailable" error instead of any effect."""
    FAIL_AFTER = "fail-after"
    """The effect, and then the mock's "unavailable" error instead of a reply."""
    DELAY = "delay"
    """A wait before the effect."""
    HANG = "hang"
    """The call never returns; it can be cancelled."""
    LIE = "lie"
    """A reply that is out of date or untrue; each mock says for which calls, and what it answers."""
    CRASH_BEFORE = "crash-before"
    """`SimulatedCrash` instead of any effect; all later calls raise it too."""
    CRASH_AFTER = "crash-after"
    """The effect, and then `SimulatedCrash` instead of a reply; all later calls raise it too."""
    LOSE_EVENT = "lose-event"
    """An event is not given, where the interface permits that (or in spite of it, to test those who rely on it)."""
    REPEAT_EVENT = "repeat-event"
    """An event is given twice."""


@frozen
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: What.
        delay_seconds: How long a DELAY takes.
    """

    kind: FaultKind
    delay_seconds: float = 0.0


class FaultSource(Protocol):
    """Decides which calls go wrong."""

    def next_fault(self, method: str, /) -> Fault | None:
        """Return the fault of this call of `method`, or None.

        It is asked once for each call, and once for each event, as "event".
        """
        ...


@define
class NoFaults:
    """Nothing goes wrong."""

    def next_fault(self, method: str, /) -> Fault | None:
        """Return None."""
        return None


@define
class ScriptedFaults:
    """Faults at given calls.

    Attributes:
        script: The fault of the n-th call of a method, by (method, n), n from 1; the method "*" counts all calls, and
            "event" counts events, which are no calls.
        calls: How often each method was called so far, and "*" for all together.
    """

    script: dict[tuple[str, int], Fault]
    calls: Counter[str] = field(factory=Counter)

    def next_fault(self, method: str, /) -> Fault | None:
        """Return what the script has for this call."""
        self.calls[method] += 1
        fault = self.script.get((method, self.calls[method]))
        if method == "event":
            return fault
        self.calls["*"] += 1
        return fault or self.script.get(("*", self.calls["*"]))


@define
class SeededFaults:
    """Faults by chance, the same for the same seed and the same calls.

    Attributes:
        random: The generator.
        rate: The share of calls that go wrong, 0 to 1.
        kinds: What may go wrong.
        max_delay_seconds: The longest DELAY.
        enabled: False lets everything go right from now on.
    """

    random: random.Random
    rate: float
    kinds: tuple[FaultKind, ...]
    max_delay_seconds: float = 1.0
    enabled: bool = True

    def next_fault(self, method: str, /) -> Fault | None:
        """Draw."""
        if not self.enabled or self.random.random() >= self.rate:
            return None
        kinds = [kind for kind in self.kinds if (kind in _EVENT_KINDS) == (method == "event")]
        if not kinds:
            return None
        return Fault(self.random.choice(kinds), self.random.random() * self.max_delay_seconds)


_EVENT_KINDS = frozenset({FaultKind.LOSE_EVENT, FaultKind.REPEAT_EVENT})


@define
class FaultInjector:
    """Puts a source's faults around the calls of one mock.

    Attributes:
        source: Decides.
        unavailable: Makes the mock's "unavailable" error, given a text.
        crashed: Whether a crash has happened.
    """

    source: FaultSource
    unavailable: Callable[[str], OrchestrationError]
    crashed: bool = False

    async def call(
        self,
        method: str,
        effect: Callable[[], Awaitable[R]],
        /,
        *,
        lie: Callable[[], Awaitable[R]] | None = None,
    ) -> R:
        """Do `effect`, or what goes wrong with this call instead. It is a checkpoint.

        Args:
            method: The call's name.
            effect: What the call does when nothing goes wrong.
            lie: What it answers instead under LIE; None leaves LIE without effect.
        """
        await trio.lowlevel.checkpoint()
        self.raise_if_crashed()
        fault = self.source.next_fault(method)
        if fault is not None:
            match fault.kind:
                case FaultKind.FAIL:
                    raise self.unavailable(f"{method} failed by order of the test")
                case FaultKind.CRASH_BEFORE:
                    self.crash()
                case FaultKind.HANG:
                    await trio.sleep_forever()
                case FaultKind.DELAY:
                    await trio.sleep(fault.delay_seconds)
                    self.raise_if_crashed()
                case FaultKind.LIE if lie is not None:
                    return await lie()
        try:
            result = await effect()
        except OrchestrationError as err:
            self._lose_reply(method, fault, err)
            raise
        self._lose_reply(method, fault, None)
        return result

    def copies_of_event(self) -> int:
        """Return how often the next event is to be given: 0, 1 or 2."""
        fault = self.source.next_fault("event")
        match None if fault is None else fault.kind:
            case FaultKind.LOSE_EVENT:
                return 0
            case FaultKind.REPEAT_EVENT:
                return 2
            case _:
                return 1

    def _lose_reply(self, method: str, fault: Fault | None, reply: OrchestrationError | None) -> None:
        """Raise what takes the place of a reply, which may itself be an error."""
        self.raise_if_crashed()  # a crash may have come while the effect waited
        if fault is None:
            return
        match fault.kind:
            case FaultKind.FAIL_AFTER:
                raise self.unavailable(f"{method} failed after its effect by order of the test") from reply
            case FaultKind.CRASH_AFTER:
                self.crash()

    def crash(self) -> None:
        """Let this and all later calls raise `SimulatedCrash`."""
        self.crashed = True
        self.raise_if_crashed()

    def raise_if_crashed(self) -> None:
        """Raise `SimulatedCrash` if a crash has happened."""
        if self.crashed:
            msg = "the program that holds this mock has crashed by order of the test"
            raise SimulatedCrash(msg)


def script(*faults: tuple[str, int, Fault | FaultKind]) -> ScriptedFaults:
    """Return the script with these (method, n-th call, fault)."""
    return ScriptedFaults({(m, n): f if isinstance(f, Fault) else Fault(f) for m, n, f in _once(faults)})


def _once(faults: Iterable[tuple[str, int, Fault | FaultKind]]) -> list[tuple[str, int, Fault | FaultKind]]:
    listed = list(faults)
    if len({(method, n) for method, n, _ in listed}) != len(listed):
        msg = "two faults for the same call"
        raise ValueError(msg)
    return listed
