"""Those who follow changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import trio
from orchestrion.store_interface import Revision, WatchBatch

from ._history import Changes, History

_REVISIONS_AT_ONCE: Final = 500
"""What a reader who is behind gets, or looks through, in one step; other tasks run between steps."""


class Watcher:
    """One reader: a place in the history, so that nothing is kept for it apart.

    While nothing under its prefix has changed since it last read, its place moves along with the current revision, and
    before a compaction it moves past what does not concern it: that cuts off only those who have something to read.
    """

    def __init__(self, history: History, prefix: str, since: Revision, check_usable: Callable[[], None]) -> None:
        """Begin after revision `since`.

        Args:
            history: Where changes are.
            prefix: What the keys begin with.
            since: The last revision that the reader knows.
            check_usable: Raises if the store was closed or has failed.
        """
        self.prefix = prefix
        self._history = history
        self._check_usable = check_usable
        self._place = since
        self._has_unread = since < history.revision
        self._changed = trio.Event()
        self._left = False

    def __aiter__(self) -> Watcher:
        return self

    async def __anext__(self) -> WatchBatch:
        """Wait for changes.

        Raises:
            StoreClosed: The store is closed.
            RevisionCompacted: What is to be read next is no longer kept.
        """
        await trio.lowlevel.checkpoint()
        while True:
            self._check_usable()
            if self._left:
                raise StopAsyncIteration
            if not self._has_unread:
                await self._changed.wait()
                continue
            changes, self._place = self._history.changes_since(self._place, self.prefix, revisions=_REVISIONS_AT_ONCE)
            self._has_unread = self._place < self._history.revision
            if changes:
                return WatchBatch(tuple(changes), self._place)
            await trio.lowlevel.checkpoint()

    def note(self, revision: Revision) -> None:
        """Something under the prefix has changed at `revision`."""
        if not self._has_unread:
            self._has_unread = True
            self._place = Revision(revision - 1)
            self.wake()

    def skip_to(self, oldest: Revision) -> None:
        """Move past revisions up to `oldest`, which are about to be forgotten, if nothing under the prefix changed."""
        if self._has_unread and self._history.oldest <= self._place < oldest:
            changes, place = self._history.changes_since(self._place, self.prefix, revisions=oldest - self._place)
            if not changes:
                self._place = place
                self._has_unread = place < self._history.revision

    def wake(self) -> None:
        """Have the reader look around."""
        # Each set event is replaced, so that several tasks may wait for one reader.
        self._changed.set()
        self._changed = trio.Event()

    def leave(self) -> None:
        """End the iteration."""
        self._left = True
        self.wake()


class Watchers:
    """All readers, found by the keys that change."""

    def __init__(self) -> None:
        self._by_prefix: dict[str, set[Watcher]] = {}
        self._lengths: list[int] = []

    def __len__(self) -> int:
        return sum(map(len, self._by_prefix.values()))

    def add(self, watcher: Watcher) -> None:
        """Tell a reader of changes from now on."""
        self._by_prefix.setdefault(watcher.prefix, set()).add(watcher)
        self._find_lengths()

    def remove(self, watcher: Watcher) -> None:
        """Tell a reader no more."""
        watcher.leave()
        readers = self._by_prefix[watcher.prefix]
        readers.discard(watcher)
        if not readers:
            del self._by_prefix[watcher.prefix]
            self._find_lengths()

    def _find_lengths(self) -> None:
        self._lengths = sorted({len(prefix) for prefix in self._by_prefix})

    def note(self, revisions: Iterable[Changes]) -> None:
        """Tell the readers whom these changes concern. It looks at no other reader, however many there are."""
        if not self._by_prefix:
            return
        for changes in revisions:
            for change in changes:
                for length in self._lengths:
                    for watcher in self._by_prefix.get(change.key[:length], ()):
                        watcher.note(change.revision)

    def skip_to(self, oldest: Revision) -> None:
        """Have all readers move past what does not concern them, up to `oldest`, before that is forgotten."""
        for readers in self._by_prefix.values():
            for watcher in readers:
                watcher.skip_to(oldest)

    def wake(self) -> None:
        """Have all readers look whether the store is still usable."""
        for readers in self._by_prefix.values():
            for watcher in readers:
                watcher.wake()
