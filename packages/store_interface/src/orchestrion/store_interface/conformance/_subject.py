"""What the kit is given, and the few words that its checks are written in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar

import trio
import trio.lowlevel
from attrs import frozen
from orchestrion.conformance_kit import Kit
from orchestrion.shared_types import OrchestrationError
from orchestrion.store_interface import MAX_KEY_BYTES, Change, Entry, Revision, StateStore, WatchBatch
from trio.testing import MockClock

E = TypeVar("E", bound=OrchestrationError)


@frozen
class StoreUnderTest:
    """A store together with what the kit needs beyond the interface.

    Attributes:
        store: A store, open and empty.
        reopen: Closes the store, as a crash would or cleanly, and opens the same data anew. It may be called again,
            then for the store that it returned, and for a store that was closed. None skips the checks that need it.
    """

    store: StateStore
    reopen: Callable[[], Awaitable[StateStore]] | None = None


BAD_TEXTS = ("a\0b", "\ud800", "a\udfff", "k" * (MAX_KEY_BYTES + 1), "\U0001f600" * (MAX_KEY_BYTES // 4) + "k")
"""Texts that are neither keys nor prefixes."""

KIT: Final = Kit[StoreUnderTest](lambda subject: ())


async def refused(error: type[E], call: Awaitable[object], /) -> E:
    """Await a call that must raise `error`, and return that."""
    try:
        result = await call
    except error as err:
        return err
    except OrchestrationError as err:
        msg = f"expected {error.__name__}, got {err!r}"
        raise AssertionError(msg) from err
    msg = f"expected {error.__name__}, got {result!r}"
    raise AssertionError(msg)


def on_another_clock() -> str:
    """Return, for the text of a failure about time, what else may be wrong: the clock that the store goes by."""
    if not isinstance(trio.lowlevel.current_clock(), MockClock):
        return ""
    return (
        ". If the store measures time by time.monotonic() or by a thread: the kit's clock here jumps over waiting, "
        'which such a store does not see; measure by trio.current_time(), or give the kit clock="real"'
    )


async def enter(store: StateStore, prefix: str, /, *, since: Revision | None = None) -> None:
    """Enter a watch and leave it at once."""
    async with store.watch(prefix, since=since):
        pass


async def revision_of(store: StateStore, /) -> Revision:
    """Return the current revision."""
    return (await store.list("", limit=1)).revision


async def contents(store: StateStore, /, *, at_revision: Revision | None = None) -> tuple[Entry, ...]:
    """Return all entries."""
    return (await store.list("", at_revision=at_revision)).entries


async def values(store: StateStore, /, prefix: str = "") -> dict[str, bytes]:
    """Return all values under a prefix, by key."""
    return {entry.key: entry.value for entry in (await store.list(prefix)).entries}


async def next_changes(batches: AsyncIterator[WatchBatch], /) -> tuple[Change, ...]:
    """Return the changes of the next batch that has some."""
    for _ in range(1_000):  # a mock clock's deadline does not end what never waits
        batch = await anext(batches)
        if batch.changes:
            return batch.changes
    msg = "the watch gave 1,000 batches without a change"
    raise AssertionError(msg)


async def changes_until(batches: AsyncIterator[WatchBatch], revision: Revision, /) -> list[Change]:
    """Return the changes that a watch gives, up to and including that of a revision which it has yet to give."""
    found: list[Change] = []
    while not found or found[-1].revision < revision:
        found += await next_changes(batches)
    return found
