"""What has changed lately, for any number of followers: one ring of events, each encoded once."""

from __future__ import annotations

import bisect
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from operator import attrgetter
from typing import Final

import trio
from attrs import define, field
from orchestrion.orchestrator_core import CommitGate, wait_free, whole_revision
from orchestrion.shared_types import Compacted, Unavailable
from orchestrion.store_interface import Revision, RevisionCompacted, StateStore, WatchBatch

from .event import ALL_SEEN, EventType, Item, ObjectEvent, Position
from .projection import WORKLOADS, ObjectName, Projection, StatusOf

MAX_EVENTS: Final = 50_000
"""How many events are kept."""

MAX_BYTES: Final = 64 * 1024 * 1024
"""How many bytes of objects they may hold."""

GATHER_SECONDS: Final = 0.02
"""Events that come within this time share what it costs to wake who follows."""

_REPLAYED: Final = 900
"""How many revisions back a fresh server looks, so that who followed the one before goes on without a gap."""

_RETRY_SECONDS: Final = 0.5

_PAGE: Final = 1_000

_ALL_KEYS: Final = "/"

_position_of: Final = attrgetter("position")


def _mark() -> int:
    """Return a number that no program before has come to by counting."""
    return time.time_ns() // 1_000


@define(eq=False)
class History:
    """Follows the store and keeps what its changes meant.

    Attributes:
        store: What is followed.
        status_of: Tells of workloads what is not stored but derived.
        max_events: How many events are kept.
        max_bytes: How many bytes of objects they may hold.
        refreshed: The mark of the last look at what is derived; it counts up from one that is of this program alone.
    """

    store: StateStore
    status_of: StatusOf
    max_events: int = MAX_EVENTS
    max_bytes: int = MAX_BYTES
    refreshed: int = field(factory=_mark)
    _projection: Projection = field(init=False)
    _events: deque[ObjectEvent] = field(factory=deque)
    _first: int = 0
    _bytes: int = 0
    _oldest: Position = Position(0, 0)
    _revision: int = 0
    _loaded: Position = Position(0, 0)
    """Where what is derived was first looked at: nobody was told of it before, or by another program."""
    _gaps: int = 0
    _advanced: trio.Event = field(factory=trio.Event)
    _woken: trio.Event = field(factory=trio.Event)
    _changed: trio.Event = field(factory=trio.Event)
    _listeners: list[Callable[[ObjectEvent], None]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self._projection = Projection(self.status_of)

    # -- keeping up -------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep up with the store, until cancelled. It is started once it shows all that was written before.

        A store that does not answer is asked again; who follows sees nothing new meanwhile.
        """
        now = await wait_free(self.store)
        began = await self._load(now)
        started, lost = False, False
        while True:
            # What is written as one is taken in as one.
            gate = CommitGate()
            try:
                if lost:
                    # Not in the middle of what is written as one: how that began may no longer be kept.
                    began = await self._load(await wait_free(self.store))
                    lost = False
                async with self.store.watch(_ALL_KEYS, since=Revision(began)) as batches:
                    if self._revision >= now and not started:
                        task_status.started()
                        started = True
                    async for given in batches:
                        batch = gate.passed(given)
                        if batch is None:
                            continue
                        self._take(batch)
                        began = batch.revision
                        if self._revision >= now and not started:
                            task_status.started()
                            started = True
            except RevisionCompacted:
                lost = True
            except Unavailable:
                await trio.sleep(_RETRY_SECONDS)

    async def wake_followers(self) -> None:
        """Wake who follows, once for what comes together, until cancelled; it goes on beside `run`.

        Where very many follow, a wait of its own for each of them would be most of the work.
        """
        while True:
            await self._changed.wait()
            await trio.sleep(GATHER_SECONDS)
            self._changed = trio.Event()
            self._woken.set()
            self._woken = trio.Event()

    async def _load(self, now: Revision) -> Revision:
        """Take in what there was a while ago, or as long ago as the store can say; return the revision of that."""
        for back in (_REPLAYED, _REPLAYED // 10, 0):
            projection = Projection(self.status_of)
            try:
                wanted = await whole_revision(self.store, Revision(max(0, now - back)))
                last, more = "", True
                while more:
                    listed = await self.store.list(_ALL_KEYS, limit=_PAGE, start_after=last or None, at_revision=wanted)
                    projection.load(listed.entries)
                    more = listed.more
                    last = listed.entries[-1].key if listed.entries else last
            except RevisionCompacted:
                continue
            before, self._projection = self._projection, projection
            # One more, so that who had all that there was is behind too: it does not know what it has missed.
            self._first += len(self._events) + 1
            self._gaps += 1
            self._events.clear()
            self._bytes = 0
            self._oldest = Position(wanted, ALL_SEEN)
            self._revision = wanted
            self.refreshed += 1
            self._loaded = Position(now, ALL_SEEN, self.refreshed)
            self._tell(_differences(before, projection))
            self._advance()
            return wanted
        return now

    def _take(self, batch: WatchBatch) -> None:
        self._append(self._projection.take(batch.changes))
        self._revision = batch.revision
        self._advance()

    def refresh(self, namespace: str, name: str) -> None:
        """Look at what is derived of a workload again."""
        at = Position(self._revision, ALL_SEEN, self.refreshed + 1)
        event = self._projection.refresh(namespace, name, at)
        if event is not None:
            self.refreshed += 1
            self._append((event,))
            self._changed.set()

    def _append(self, events: Iterable[ObjectEvent]) -> None:
        for event in events:
            self._events.append(event)
            self._bytes += len(event.item.data)
            self._tell((event,))
        while self._events and (len(self._events) > self.max_events or self._bytes > self.max_bytes):
            gone = self._events.popleft()
            self._first += 1
            self._bytes -= len(gone.item.data)
            if gone.position is not None:
                self._oldest = gone.position

    def _tell(self, events: Iterable[ObjectEvent]) -> None:
        for event in events:
            for listener in self._listeners:
                listener(event)

    def _advance(self) -> None:
        self._advanced.set()
        self._advanced = trio.Event()
        self._changed.set()

    def listen(self, listener: Callable[[ObjectEvent], None]) -> None:
        """Call `listener` with each event, at once; it must not raise nor wait.

        After a gap it is called for each object that is another than before.
        """
        self._listeners.append(listener)

    # -- reading ----------------------------------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        """All changes up to this revision are in it."""
        return self._revision

    @property
    def position(self) -> Position:
        """The place after all that is in it, what is derived too."""
        return Position(self._revision, ALL_SEEN, self.refreshed)

    @property
    def count(self) -> int:
        """How many events there were."""
        return self._first + len(self._events) - self._gaps

    async def wait_for(self, revision: int) -> None:
        """Wait until all changes up to a revision are in it."""
        while self._revision < revision:
            await self._advanced.wait()

    def get(self, name: ObjectName) -> Item | None:
        """Return an object as it is now."""
        return self._projection.items.get(name)

    def find(self, kind: str, namespace: str, name: str) -> Item | None:
        """Return the object of a kind's plural, a namespace or the empty one, and a name, as it is now."""
        return self.get(ObjectName(kind, namespace, name))

    def names(self, kind: str, namespace: str | None = None) -> list[ObjectName]:
        """Return the names of a kind's objects, of one namespace or of all, sorted."""
        known = self._projection.names.get(kind, {})
        wanted = known if namespace is None else (namespace,)
        return sorted(ObjectName(kind, each, name) for each in wanted for name in known.get(each, ()))

    def within(self, kind: str, namespace: str) -> Collection[str]:
        """Return the names of a kind's objects of a namespace as they are now, in no order."""
        return self._projection.names.get(kind, {}).get(namespace, {}).keys()

    @property
    def claimed(self) -> Collection[ObjectName]:
        """The names of the objects that have owners or finalizers, or are about to go, in no order."""
        return self._projection.claimed.keys()

    # -- following --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def follow(self, since: Position) -> AsyncIterator[Follower]:
        """Follow all events after a position.

        What is derived may have changed while nobody looked, or have been told of by another program: then the
        workloads that there are come once more as they are now, after the events.

        Raises:
            Compacted: They are no longer all kept; or the position is after all that there is, so of another store.
            Unavailable: The position is ahead of what is known, and the store can't say whether it is its own.
        """
        if since.revision > self._revision:
            now = (await self.store.get(_ALL_KEYS)).revision
            if since.revision > now:
                msg = f"{since} is after all that has happened, which is {now}: it is of another store"
                raise Compacted(msg, oldest=self._oldest.revision, remedy=_LIST_AGAIN)
            await self.wait_for(since.revision)
        if self._loaded.refreshed <= since.refreshed <= self.refreshed:
            yield Follower(self, self._place_of(since), since)
            return
        unsure = since.refreshed > 0 or since.revision <= self._loaded.revision
        since = since._replace(refreshed=0)
        yield Follower(self, self._place_of(since), since, unsure=unsure)

    def _place_of(self, since: Position) -> int:
        if since < self._oldest:
            raise self._too_old(since)
        return self._first + bisect.bisect_right(self._events, since, key=_position_of)

    def _too_old(self, since: Position) -> Compacted:
        oldest = self._oldest.revision
        msg = f"what changed after {since} is no longer kept; the oldest that is kept is {oldest}"
        return Compacted(msg, oldest=oldest, remedy=_LIST_AGAIN)

    def derived(self, known: Collection[ObjectName]) -> Iterable[ObjectEvent]:
        """Give what there is of derived things as it is now, but for those that are known."""
        for name in self.names(WORKLOADS):
            item = self.get(name)
            if item is not None and name not in known:
                yield ObjectEvent(None, EventType.MODIFIED, *name, item, item)

    def slice_from(self, place: int) -> tuple[Sequence[ObjectEvent], int]:
        """Return the events from a place on, and the place after them.

        Raises:
            Compacted: They are no longer all kept.
        """
        if place < self._first:
            raise self._too_old(self._oldest)
        start = place - self._first
        if start == 0:
            found = list(self._events)
        else:
            # From the right: who keeps up asks for the last few of many.
            count = len(self._events) - start
            found = [self._events[-left] for left in range(count, 0, -1)]
        return found, self._first + len(self._events)

    async def wait_beyond(self, place: int) -> None:
        """Wait until there are events from a place on, and those that have come with them."""
        if self._first + len(self._events) > place:
            await trio.lowlevel.checkpoint()
            return
        while self._first + len(self._events) <= place:
            await self._woken.wait()


_LIST_AGAIN: Final = "List again, and follow from the revision of the list."


def _differences(before: Projection, after: Projection) -> Iterable[ObjectEvent]:
    """Give what makes the one of the other; nobody knows in which order it was."""
    for name in before.items.keys() | after.items.keys():
        was, item = before.items.get(name), after.items.get(name)
        if item is None:
            if was is not None:
                yield ObjectEvent(None, EventType.DELETED, *name, was, was)
        elif was is None:
            yield ObjectEvent(None, EventType.ADDED, *name, item, None)
        elif was.data != item.data:
            yield ObjectEvent(None, EventType.MODIFIED, *name, item, was)


@define(eq=False)
class Follower:
    """A place in a history.

    Attributes:
        position: Where who has all that was taken is.
    """

    _history: History
    _place: int
    position: Position
    _unsure: bool = field(default=False, kw_only=True)

    def behind(self) -> Sequence[ObjectEvent]:
        """Return the events that were not taken yet, and take them.

        Raises:
            Compacted: They are no longer all kept: it was too slow.
        """
        history = self._history
        events, self._place = history.slice_from(self._place)
        self.position = history.position
        if self._unsure:
            self._unsure = False
            told = {ObjectName(event.kind, event.namespace, event.name) for event in events}
            return [*events, *history.derived(told)]
        return events

    async def wait(self) -> None:
        """Wait until there are some."""
        await self._history.wait_beyond(self._place)
