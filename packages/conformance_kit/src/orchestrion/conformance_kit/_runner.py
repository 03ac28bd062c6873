"""Running async checks, each in a trio run of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic, Literal, TypeVar

import hypothesis
import trio
from attrs import frozen
from trio.testing import MockClock

S = TypeVar("S")
R = TypeVar("R")

Factory = Callable[[], AbstractAsyncContextManager[S]]
"""Opens a fresh, empty subject: an implementation together with what the kit needs beyond the interface."""

ClockKind = Literal["mock", "real"]


@frozen
class Runner(Generic[S]):
    """Runs async functions, each against a fresh subject, in a trio run of its own.

    Attributes:
        factory: Opens a subject.
        clock: "mock" jumps over waiting; "real" is for implementations that wait for threads, processes or sockets.
        examples: How many examples a property draws.
        deadline_seconds: A run that takes longer, by a real clock's time or a mock clock's, has failed.
        shrink: Whether a property that fails looks for the simplest example; False gives the first one at once.
    """

    factory: Factory[S]
    clock: ClockKind
    examples: int
    deadline_seconds: float = 120.0
    shrink: bool = True

    def __call__(self, function: Callable[..., Awaitable[R]], /, *args: object) -> R:
        """Open a subject and return what `function(subject, *args)` returns.

        Raises:
            AssertionError: It did not return in time.
        """

        async def main() -> R:
            with trio.move_on_after(self.deadline_seconds):
                async with self.factory() as subject:
                    return await function(subject, *args)
            msg = f"not done after {self.deadline_seconds} seconds: it waits for what does not happen"
            raise AssertionError(msg)

        return self.run(main)

    def run(self, main: Callable[[], Awaitable[R]], /, *instruments: trio.abc.Instrument) -> R:
        """Run `main` on the kit's clock, with no subject."""
        clock = MockClock(autojump_threshold=0) if self.clock == "mock" else None
        return trio.run(main, clock=clock, instruments=instruments, strict_exception_groups=True)

    def settings(self) -> hypothesis.settings:
        """Return the settings that a property of the kit runs with: reproducible, and bounded by `examples`."""
        return hypothesis.settings(
            max_examples=self.examples,
            deadline=None,
            database=None,
            derandomize=True,
            report_multiple_bugs=False,
            phases=[phase for phase in hypothesis.Phase if self.shrink or phase is not hypothesis.Phase.shrink],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
