"""A state store in memory, with faults on demand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import trio
from orchestrion.store_interface import (
    ABSENT,
    Compare,
    LeaseId,
    ListResult,
    Operation,
    Put,
    ReadResult,
    Revision,
    RevisionConflict,
    StoreClosed,
    StoreUnavailable,
    WatchBatch,
    check_key,
    check_page,
    check_prefix,
    check_transaction,
    check_ttl,
    check_value,
)

from ._faults import FaultInjector, FaultSource, NoFaults
from ._store_leases import LeaseDeadlines
from ._store_state import MemoryState, Record, Write, compacted
from ._store_watch import Watcher, WatchHub

R = TypeVar("R")


class MemoryStore:
    """A `StateStore` in memory: no thread, no file, one checkpoint per call, which is before the effect.

    So a call that is cancelled has done nothing, and what happens is repeated exactly where trio's schedule is.

    **Durability.** What was written is in the `MemoryState`, and so outlives the store. Opening a state anew, with
    `MemoryStore(state)`, closes the store that had it, as a crash would, and starts all leases again.

    **Faults.** A fault source knows the calls by the names of the methods; entering a watch is "watch", waiting for its
    next batch is "next", and each change that it gives is an "event". LIE lets `get` and `list` answer as of the
    revision before, and lets `keep_alive` succeed without effect; other calls can't lie. LOSE_EVENT leaves a change out
    of a batch, and REPEAT_EVENT puts it in twice.
    """

    def __init__(
        self, state: MemoryState | None = None, /, *, faults: FaultSource | None = None, history_limit: int = 10_000
    ) -> None:
        """Open a state.

        Args:
            state: What is stored; None is a new, empty one.
            faults: What goes wrong; None is nothing.
            history_limit: How many of the latest revisions can be read at and watched since, at least; a quarter more
                at most. Below `MIN_HISTORY` it forgets sooner than a store may, to spare a test many writes.
        """
        self.state = MemoryState() if state is None else state
        self._history_limit = history_limit
        self._injector = (
            None if faults is None or isinstance(faults, NoFaults) else FaultInjector(faults, StoreUnavailable)
        )
        self._closed = False
        self._deadlines: LeaseDeadlines | None = None
        self._hub = WatchHub(self.state, self._earliest_end)
        self.state.hand_over(self._close)
        if trio.lowlevel.in_trio_run():
            self._start_leases()

    async def get(self, key: str, /, *, at_revision: Revision | None = None) -> ReadResult:
        """Read one key. See `StateStore.get`."""
        return await self._call("get", self._get, key, at_revision, lie=self._get_before)

    async def list(
        self,
        prefix: str,
        /,
        *,
        limit: int | None = None,
        start_after: str | None = None,
        at_revision: Revision | None = None,
    ) -> ListResult:
        """Read all keys with a prefix. See `StateStore.list`."""
        return await self._call("list", self._list, prefix, limit, start_after, at_revision, lie=self._list_before)

    async def put(
        self, key: str, value: bytes, /, *, expected: Revision | None = None, lease: LeaseId | None = None
    ) -> Revision:
        """Set a key. See `StateStore.put`."""
        return await self._call("put", self._put, key, value, expected, lease)

    async def delete(self, key: str, /, *, expected: Revision | None = None) -> Revision:
        """Remove a key. See `StateStore.delete`."""
        return await self._call("delete", self._delete, key, expected)

    async def transaction(self, compares: Sequence[Compare], operations: Sequence[Operation], /) -> Revision:
        """Do all operations if all compares hold. See `StateStore.transaction`."""
        return await self._call("transaction", self._transaction, compares, operations)

    async def grant_lease(self, ttl_seconds: float, /) -> LeaseId:
        """Grant a lease. See `StateStore.grant_lease`."""
        return await self._call("grant_lease", self._grant_lease, ttl_seconds)

    async def keep_alive(self, lease: LeaseId, /) -> None:
        """Start a lease's length anew. See `StateStore.keep_alive`."""
        await self._call("keep_alive", self._keep_alive, lease, lie=self._keep_nothing_alive)

    async def revoke(self, lease: LeaseId, /) -> None:
        """End a lease now. See `StateStore.revoke`."""
        await self._call("revoke", self._revoke, lease)

    @asynccontextmanager
    async def watch(self, prefix: str, /, *, since: Revision | None = None) -> AsyncIterator[AsyncIterator[WatchBatch]]:
        """Follow the changes of all keys with a prefix. See `StateStore.watch`."""
        watcher = await self._call("watch", self._watch, prefix, since)
        try:
            yield _Batches(self, watcher)
        finally:
            self._hub.remove(watcher)

    async def compact(self, revision: Revision, /) -> None:
        """Forget what is below a revision. See `StateStore.compact`."""
        await self._call("compact", self._compact, revision)

    async def aclose(self) -> None:
        """Close the store; the state stays. No fault touches it. See `StateStore.aclose`."""
        self._close()
        await trio.lowlevel.checkpoint()

    async def _call(
        self, method: str, effect: Callable[..., R], *args: object, lie: Callable[..., R] | None = None
    ) -> R:
        if self._injector is None:
            await trio.lowlevel.checkpoint()
            return effect(*args)

        async def do() -> R:
            return effect(*args)

        async def tell_a_lie() -> R:
            return effect(*args) if lie is None else lie(*args)

        return await self._injector.call(method, do, lie=tell_a_lie)

    def _get(self, key: str, at_revision: Revision | None) -> ReadResult:
        check_key(key)
        self._begin()
        revision = self._readable(at_revision)
        return ReadResult(self.state.get(key, revision), revision)

    def _get_before(self, key: str, at_revision: Revision | None) -> ReadResult:
        self._begin()
        return self._get(key, self._revision_before() if at_revision is None else at_revision)

    def _list(
        self, prefix: str, limit: int | None, start_after: str | None, at_revision: Revision | None
    ) -> ListResult:
        check_prefix(prefix)
        check_page(limit, start_after)
        self._begin()
        revision = self._readable(at_revision)
        entries, more = self.state.list(prefix, revision, limit=limit, start_after=start_after)
        return ListResult(entries, revision, more)

    def _list_before(
        self, prefix: str, limit: int | None, start_after: str | None, at_revision: Revision | None
    ) -> ListResult:
        self._begin()
        return self._list(prefix, limit, start_after, self._revision_before() if at_revision is None else at_revision)

    def _put(self, key: str, value: bytes, expected: Revision | None, lease: LeaseId | None) -> Revision:
        check_key(key)
        check_value(key, value)
        self._begin()
        if expected is not None:
            self._compare(key, expected)
        if lease is not None:
            self.state.find_lease(lease)
        return self._write(((key, value, lease),))

    def _delete(self, key: str, expected: Revision | None) -> Revision:
        check_key(key)
        self._begin()
        if expected is not None:
            self._compare(key, expected)
        return self._write(((key, None, None),))

    def _transaction(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Revision:
        check_transaction(compares, operations)
        self._begin()
        for compare in compares:
            self._compare(compare.key, compare.revision)
        writes: list[Write] = []
        for operation in operations:
            if isinstance(operation, Put):
                if operation.lease is not None:
                    self.state.find_lease(operation.lease)
                writes.append((operation.key, operation.value, operation.lease))
            else:
                writes.append((operation.key, None, None))
        return self._write(writes)

    def _grant_lease(self, ttl_seconds: float) -> LeaseId:
        check_ttl(ttl_seconds)
        deadlines = self._begin()
        lease = self.state.add_lease(ttl_seconds)
        deadlines.add(lease, trio.current_time() + ttl_seconds)
        self._hub.set_alarm()
        return lease

    def _keep_alive(self, lease: LeaseId) -> None:
        deadlines = self._begin()
        deadlines.prolong(lease, trio.current_time() + self.state.find_lease(lease).ttl_seconds)

    def _keep_nothing_alive(self, lease: LeaseId) -> None:
        del lease
        self._begin()

    def _revoke(self, lease: LeaseId) -> None:
        deadlines = self._begin()
        deadlines.remove(lease)
        self._publish(self.state.end_lease(lease))

    def _watch(self, prefix: str, since: Revision | None) -> Watcher:
        check_prefix(prefix)
        self._begin()
        after = self._readable(since)
        watcher = Watcher(prefix, [*self.state.changes_since(after, prefix)])
        self._hub.add(watcher)
        return watcher

    def _compact(self, revision: Revision) -> None:
        self._begin()
        self.state.check_happened(revision)
        self.state.forget(revision)

    def _begin(self) -> LeaseDeadlines:
        """Do what each call begins with: refuse if closed, and end the leases whose time has come."""
        if self._closed:
            msg = "the store is closed"
            raise StoreClosed(msg, remedy="open it anew")
        deadlines = self._deadlines or self._start_leases()
        if deadlines.earliest() <= (now := trio.current_time()):
            while (lease := deadlines.pop_ended(now)) is not None:
                self._publish(self.state.end_lease(lease))
        return deadlines

    def _start_leases(self) -> LeaseDeadlines:
        now = trio.current_time()
        self._deadlines = LeaseDeadlines({id_: now + lease.ttl_seconds for id_, lease in self.state.leases.items()})
        return self._deadlines

    def _earliest_end(self) -> float:
        return (self._deadlines or self._start_leases()).earliest()

    def _readable(self, revision: Revision | None) -> Revision:
        if revision is None:
            return self.state.revision
        self.state.check_kept(revision)
        return revision

    def _revision_before(self) -> Revision:
        return max(self.state.oldest, Revision(self.state.revision - 1))

    def _compare(self, key: str, expected: Revision) -> None:
        entry = self.state.entries.get(key)
        actual = ABSENT if entry is None else entry.modified
        if actual != expected:
            raise RevisionConflict(key, expected=expected, actual=actual)

    def _write(self, writes: Sequence[Write]) -> Revision:
        self._publish(self.state.write(writes))
        return self.state.revision

    def _publish(self, records: Sequence[Record]) -> None:
        if records:
            self._hub.publish(records)
            if self.state.revision - self.state.oldest > self._history_limit * 5 // 4:
                self.state.forget(Revision(self.state.revision - self._history_limit))

    def _close(self) -> None:
        self._closed = True
        self._hub.wake_all()

    async def next_batch(self, watcher: Watcher, /) -> WatchBatch:
        """Return what a watcher has to give, when there is something. For the iterators of `watch`."""
        if self._injector is None:
            await self._wait(watcher)
        else:
            await self._injector.call("next", lambda: self._wait(watcher))
        changes = tuple(watcher.pending)
        watcher.pending = []
        if self._injector is not None:
            changes = tuple(change for change in changes for _ in range(self._injector.copies_of_event()))
        return WatchBatch(changes, self.state.revision)

    async def _wait(self, watcher: Watcher) -> None:
        if self._is_ready(watcher):
            await trio.lowlevel.checkpoint()
        while not self._is_ready(watcher):
            await self._hub.park(watcher)
        if self._injector is not None:
            self._injector.raise_if_crashed()
        self._begin()
        watcher.drop_forgotten(self.state.oldest)
        if watcher.lost:
            msg = f"what the watch of {watcher.prefix!r} has to give next"
            raise compacted(msg, self.state.oldest)

    def _is_ready(self, watcher: Watcher) -> bool:
        if not self._closed:
            self._begin()
        return self._closed or watcher.lost or bool(watcher.pending)


class _Batches:
    """The iterator of one watch."""

    def __init__(self, store: MemoryStore, watcher: Watcher) -> None:
        self._store = store
        self._watcher = watcher

    def __aiter__(self) -> _Batches:
        return self

    async def __anext__(self) -> WatchBatch:
        return await self._store.next_batch(self._watcher)
