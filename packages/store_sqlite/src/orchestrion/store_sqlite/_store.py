"""The store itself."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Sequence
from pathlib import Path

import trio
from attrs import evolve, frozen
from orchestrion.shared_types import OrchestrationError
from orchestrion.store_interface import (
    MIN_HISTORY,
    Compare,
    Delete,
    LeaseId,
    ListResult,
    Operation,
    Put,
    ReadResult,
    Revision,
    WatchBatch,
    check_key,
    check_page,
    check_prefix,
    check_transaction,
    check_ttl,
    check_value,
)

from ._failures import Failure
from ._file import FileFailure
from ._leases import Leases
from ._ledger import Limits
from ._opening import Opened, open_file
from ._requests import (
    Compact,
    Grant,
    Request,
    Revoke,
    Write,
    check_bytes,
    check_number,
)
from ._watchers import Watcher, Watchers
from ._writer import Commit, Writer, closed


@frozen(kw_only=True)
class Statistics:
    """How a store is doing.

    Attributes:
        revision: The current revision.
        oldest_revision: The oldest revision kept.
        keys: Keys that exist, and those whose deletion is still kept.
        leases: Leases that have not run out.
        watches: Open watches.
        commits: How often the file was written since the store was opened.
    """

    revision: Revision
    oldest_revision: Revision
    keys: int
    leases: int
    watches: int
    commits: int


class SqliteStore:
    """A `StateStore` in one SQLite file. `open_store` makes it.

    Reads are answered from memory, which holds the current state and the history that is kept, and never wait for the
    disk.
    """

    def __init__(self, opened: Opened) -> None:
        """Start the writer; it must be closed."""
        self._file = opened.file
        self._lock = opened.lock
        self._history = opened.loaded.history
        self._leases = Leases(opened.loaded.ledger.leases)
        self._watchers = Watchers()
        self._failure: Failure | None = None
        self._commits = 0
        self._is_closed = False
        self._has_closed = trio.Event()
        self._writer = Writer(opened.file, opened.loaded.ledger, self._publish)
        self._expiry = trio.CancelScope()
        self._expiry_ended = trio.Event()
        # A nursery would have to be open around the caller's code, and would wrap the caller's errors into groups.
        trio.lowlevel.spawn_system_task(self._expire, name=f"leases of {opened.file.path}")

    def statistics(self) -> Statistics:
        """Return how the store is doing."""
        return Statistics(
            revision=self._history.revision,
            oldest_revision=self._history.oldest,
            keys=len(self._history),
            leases=len(self._leases),
            watches=len(self._watchers),
            commits=self._commits,
        )

    async def get(self, key: str, /, *, at_revision: Revision | None = None) -> ReadResult:
        """See `StateStore.get`."""
        check_key(key)
        await trio.lowlevel.checkpoint()
        self._check_usable()
        return self._history.get(key, at_revision)

    async def list(
        self,
        prefix: str,
        /,
        *,
        limit: int | None = None,
        start_after: str | None = None,
        at_revision: Revision | None = None,
    ) -> ListResult:
        """See `StateStore.list`."""
        check_prefix(prefix)
        check_page(limit, start_after)
        await trio.lowlevel.checkpoint()
        self._check_usable()
        return self._history.entries(prefix, limit=limit, start_after=start_after, at_revision=at_revision)

    async def put(
        self, key: str, value: bytes, /, *, expected: Revision | None = None, lease: LeaseId | None = None
    ) -> Revision:
        """See `StateStore.put`."""
        check_key(key)
        check_value(key, value)
        return await self._write(Write(_expecting(key, expected), (Put(key, value, lease),)))

    async def delete(self, key: str, /, *, expected: Revision | None = None) -> Revision:
        """See `StateStore.delete`."""
        check_key(key)
        return await self._write(Write(_expecting(key, expected), (Delete(key),)))

    async def transaction(self, compares: Sequence[Compare], operations: Sequence[Operation], /) -> Revision:
        """See `StateStore.transaction`."""
        check_transaction(compares, operations)
        return await self._write(Write(tuple(compares), tuple(operations)))

    async def grant_lease(self, ttl_seconds: float, /) -> LeaseId:
        """See `StateStore.grant_lease`."""
        check_ttl(ttl_seconds)
        lease = LeaseId(await self._ask(Grant(ttl_seconds)))
        self._leases.add(lease, ttl_seconds)
        return lease

    async def keep_alive(self, lease: LeaseId, /) -> None:
        """See `StateStore.keep_alive`. It writes nothing."""
        await trio.lowlevel.checkpoint()
        self._check_usable()
        self._leases.keep_alive(lease)

    async def revoke(self, lease: LeaseId, /) -> None:
        """See `StateStore.revoke`."""
        check_number("lease", lease)
        await self._ask(Revoke((lease,)))
        self._leases.remove(lease)

    @contextlib.asynccontextmanager
    async def watch(self, prefix: str, /, *, since: Revision | None = None) -> AsyncIterator[AsyncIterator[WatchBatch]]:
        """See `StateStore.watch`."""
        check_prefix(prefix)
        await trio.lowlevel.checkpoint()
        self._check_usable()
        if since is None:
            since = self._history.revision
        self._history.check_readable(since)
        watcher = Watcher(self._history, prefix, since, self._check_usable)
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.remove(watcher)

    async def compact(self, revision: Revision, /) -> None:
        """See `StateStore.compact`."""
        check_number("revision", revision)
        await self._ask(Compact(revision))

    async def aclose(self) -> None:
        """See `StateStore.aclose`. It ends when the file is closed, which cancelling does not hasten."""
        if self._is_closed:
            with trio.CancelScope(shield=True):
                await self._has_closed.wait()
            await trio.lowlevel.checkpoint()
            return
        self._is_closed = True
        self._watchers.wake()
        self._expiry.cancel()
        with trio.CancelScope(shield=True):
            try:
                await self._writer.aclose()
                await self._expiry_ended.wait()
                await trio.to_thread.run_sync(self._file.close, limiter=trio.CapacityLimiter(1))
            except FileFailure as err:
                raise err.failure.error() from err.failure.cause
            finally:
                self._lock.release()
                self._has_closed.set()
        await trio.lowlevel.checkpoint_if_cancelled()

    async def _write(self, request: Write) -> Revision:
        check_bytes(request.operations)
        leases = {each.lease for each in request.operations if isinstance(each, Put) and each.lease is not None}
        ended = frozenset(lease for lease in leases if not self._leases.lasts(lease))
        return Revision(await self._ask(evolve(request, ended=ended) if ended else request))

    async def _ask(self, request: Request) -> int:
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            self._check_usable()
        except OrchestrationError:
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise
        return await self._writer.ask(request)

    def _check_usable(self) -> None:
        if self._is_closed:
            raise closed()
        if self._failure is not None:
            raise self._failure.error()

    def _publish(self, commit: Commit) -> None:
        """Let readers see a commit, before the writers are told that it is done."""
        self._commits += commit.written
        for changes in commit.revisions:
            self._history.append(changes)
        self._watchers.note(commit.revisions)
        if commit.oldest is not None:
            self._watchers.skip_to(commit.oldest)
            self._history.compact(commit.oldest)
        if commit.failure is not None and self._failure is None:
            self._failure = commit.failure
            self._watchers.wake()

    async def _expire(self) -> None:
        def end(leases: tuple[LeaseId, ...]) -> Awaitable[int]:
            return self._ask(Revoke(leases))

        try:
            with self._expiry:
                await self._leases.expire(end)
        finally:
            self._expiry_ended.set()


def _expecting(key: str, revision: Revision | None) -> tuple[Compare, ...]:
    return () if revision is None else (Compare(key, revision),)


@contextlib.asynccontextmanager
async def open_store(
    state_dir: Path, /, *, history_revisions: int = 20_000, history_bytes: int = 67_108_864
) -> AsyncIterator[SqliteStore]:
    """Open the store in `state_dir`, whose file is `state.db`; both are made where they do not exist.

    Args:
        state_dir: The directory; on a local file system. One store at a time has it open.
        history_revisions: At least so many of the last revisions can be read at and watched since, >= `MIN_HISTORY`;
            at most an eighth more are kept.
        history_bytes: Values that are no longer current take at most so many bytes, >= 0; this cuts
            `history_revisions` shorter, though not below `MIN_HISTORY`.

    Raises:
        StoreInUse: Another program, or another part of this one, has it open.
        StoreCorrupt: What is there is damaged, is not a store, or was written by a newer version. Nothing was touched.
        StoreFull: There is no room to make the file.
        StoreUnavailable: The directory can't be read or written.
        ValueError: A limit is out of range.
    """
    if history_revisions < MIN_HISTORY or history_bytes < 0:
        least = f"at least {MIN_HISTORY} and 0 are needed"
        msg = f"a history of {history_revisions} revisions and {history_bytes} bytes was asked for; {least}"
        raise ValueError(msg)
    limits = Limits(history_revisions, history_bytes)
    try:
        # It can't be cancelled: there is no moment at which the lock could be lost track of.
        opened = await trio.to_thread.run_sync(open_file, Path(state_dir), limits, limiter=trio.CapacityLimiter(1))
    except FileFailure as err:
        raise err.failure.error() from err.failure.cause
    store = SqliteStore(opened)
    try:
        yield store
    finally:
        await store.aclose()
