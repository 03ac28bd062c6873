"""Running what waits, so that Ctrl-C ends it in good order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

import trio

from ._interrupts import but_at_once_in_imports, in_good_order

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def run_async(function: Callable[[*Ts], Awaitable[T]], *arguments: *Ts) -> T:
    """Run a function with trio, and return what it returns.

    Raises:
        KeyboardInterrupt: It was interrupted, and has ended.
    """
    with in_good_order():
        try:
            return trio.run(_run, function, arguments)
        except BaseExceptionGroup as err:
            if err.subgroup(KeyboardInterrupt) is None:
                raise
            raise KeyboardInterrupt from err


async def _run(function: Callable[[*Ts], Awaitable[T]], arguments: tuple[*Ts]) -> T:
    with but_at_once_in_imports():
        return await function(*arguments)
