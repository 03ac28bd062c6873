"""What a store has under a prefix, read and kept in memory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import trio
from attrs import define, field
from orchestrion.shared_types import ConfigInvalid
from orchestrion.store_interface import Entry, Revision, RevisionCompacted, StateStore, StoreUnavailable, WatchBatch

RETRY_SECONDS: Final = 1.0
"""After how long a store that could not be read is asked again."""

T = TypeVar("T")

_log = logging.getLogger("orchestrion.control_plane")


@define(eq=False)
class Mirror(Generic[T]):
    """Follows a prefix of a store, so that a look-up asks nobody.

    Attributes:
        store: Where the items are.
        prefix: What their keys begin with; the rest of a key is the name of the item.
        read: Makes an item of an entry. What it refuses with `ConfigInvalid` is left out, and logged.
        items: The items by name, as of the last change that was seen.
        ended: Called after an item has gone or is another one.
    """

    store: StateStore
    prefix: str
    read: Callable[[Entry], T]
    items: dict[str, T] = field(init=False, factory=dict)
    ended: Callable[[], None] = field(init=False, default=lambda: None)
    _own: dict[str, Revision] = field(init=False, factory=dict)
    """What this program wrote itself and the watch has not come to yet: what is older says nothing about it."""

    async def follow(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the store until cancelled. It is started when `items` has what there is.

        A store that can't be read for a time is asked again every second; meanwhile what was known last holds.

        Raises:
            StoreUnavailable: The store can't be read at the start.
            StoreClosed: The store was closed.
        """
        since = await self._load()
        task_status.started()
        while True:
            try:
                async with self.store.watch(self.prefix, since=since) as batches:
                    async for batch in batches:
                        self._take(batch)
                        since = batch.revision
            except (RevisionCompacted, StoreUnavailable) as err:
                _log.info("following %s anew: %s", self.prefix, err.message)
                since = await self._load_again()

    def apply_own(self, name: str, entry: Entry | None, revision: Revision) -> None:
        """Take over what this program has written, so that it holds before the watch tells of it."""
        self._own[name] = max(revision, self._own.get(name, revision))
        self._set(name, entry)

    async def _load_again(self) -> Revision:
        while True:
            try:
                return await self._load()
            except StoreUnavailable:
                await trio.sleep(RETRY_SECONDS)

    async def _load(self) -> Revision:
        listed = await self.store.list(self.prefix)
        found = {entry.key.removeprefix(self.prefix): entry for entry in listed.entries}
        self._forget_own(listed.revision)
        for name in self.items.keys() | found.keys():
            if name not in self._own:
                self._set(name, found.get(name))
        return listed.revision

    def _take(self, batch: WatchBatch) -> None:
        for change in batch.changes:
            name = change.key.removeprefix(self.prefix)
            if change.revision > self._own.get(name, 0):
                self._set(name, change.entry)
        self._forget_own(batch.revision)

    def _forget_own(self, seen: Revision) -> None:
        for name in [name for name, revision in self._own.items() if revision <= seen]:
            del self._own[name]

    def _set(self, name: str, entry: Entry | None) -> None:
        before = self.items.pop(name, None)
        if entry is not None:
            try:
                self.items[name] = self.read(entry)
            except ConfigInvalid as err:
                _log.warning("what is stored as %s can't be used and is left out: %s", entry.key, err.message)
        if before is not None and before != self.items.get(name):
            self.ended()
