"""Cancel an operation at each of its checkpoints in turn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
from attrs import define, field

from ._runner import Runner

S = TypeVar("S")
T = TypeVar("T")


@define(eq=False)
class _CancelAtStep(trio.abc.Instrument):
    """Cancels `scope` when the watched task has yielded for the n-th time."""

    step: int
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    task: trio.lowlevel.Task | None = None
    seen: int = 0

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.seen += 1
            if self.seen == self.step:
                self.scope.cancel()


def cancellation_sweep(
    run: Runner[S],
    operation: Callable[[S], Awaitable[None]],
    verify: Callable[[S, bool], Awaitable[None]],
    /,
    *,
    prepare: Callable[[S], Awaitable[None]] | None = None,
    max_steps: int = 200,
) -> int:
    """Cancel `operation` at its first checkpoint, then, against a fresh subject, at its second, and so on to its end.

    Args:
        run: Runs against fresh subjects.
        operation: What is cancelled. Only the checkpoints of its own task count, not those of tasks that it starts.
        verify: Looks at the subject afterwards; it is told whether the operation was cancelled.
        prepare: Runs before the operation and is not cancelled.
        max_steps: An operation with more checkpoints is swept no further.

    Returns:
        How many steps were cancelled at.

    Raises:
        AssertionError: The operation never yields, so that it can't be cancelled at all.
    """
    for step in range(1, max_steps + 1):
        instrument = _CancelAtStep(step)

        async def main(subject: S, instrument: _CancelAtStep = instrument) -> bool:
            if prepare is not None:
                await prepare(subject)
            trio.lowlevel.add_instrument(instrument)
            try:
                with instrument.scope:
                    instrument.task = trio.lowlevel.current_task()
                    await operation(subject)
                instrument.task = None
            finally:
                trio.lowlevel.remove_instrument(instrument)
            await verify(subject, instrument.scope.cancelled_caught)
            return instrument.seen >= instrument.step

        if not run(main):
            if step == 1:
                msg = "the operation returned without a checkpoint"
                raise AssertionError(msg)
            return step - 1
    return max_steps
