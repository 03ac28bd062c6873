"""What a request that is to be done once brings along is written with what it does, however deep that is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from orchestrion.orchestrator_core import Beside, Gate, ProposedChange, no_gate
from orchestrion.shared_types import Conflict
from orchestrion.store_interface import ABSENT, StateStore

from .intent import Intent

_REQUESTED: Final[ContextVar[Intent | None]] = ContextVar("orchestrion.requested", default=None)


@contextmanager
def requested(intent: Intent) -> Iterator[None]:
    """Have what an intent brings along written, while inside, by whoever asks for it by `brought` or `with_request`."""
    token = _REQUESTED.set(intent)
    try:
        yield
    finally:
        _REQUESTED.reset(token)


async def brought(store: StateStore, /) -> Beside:
    """Return what the request under way brings along.

    Raises:
        Conflict: It was done, or is being done.
    """
    intent = _REQUESTED.get()
    if intent is None:
        return Beside()
    await check_once(store, intent)
    return Beside(compares=intent.compares, operations=intent.operations)


def with_request(store: StateStore, gate: Gate = no_gate, /) -> Gate:
    """Return a gate that has another one's say, and has written what the request under way brings along."""

    async def both(changes: Sequence[ProposedChange], world: Any, /) -> Beside:
        own, other = await brought(store), await gate(changes, world)
        return Beside(
            compares=(*other.compares, *own.compares),
            operations=(*other.operations, *own.operations),
        )

    return both


async def check_once(store: StateStore, intent: Intent, /) -> None:
    """Make sure that a request was not done already.

    Raises:
        Conflict: It was, or is being done.
    """
    for compare in intent.compares:
        entry = (await store.get(compare.key)).entry
        if (ABSENT if entry is None else entry.modified) != compare.revision:
            raise asked_twice()


def asked_twice() -> Conflict:
    """Return what a request is refused with whose like is being answered."""
    return Conflict("the same request is being answered already", remedy="Send it again in a moment.")
