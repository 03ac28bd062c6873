"""The interface of a state store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from ._types import Compare, LeaseId, ListResult, Operation, ReadResult, Revision, WatchBatch


class StateStore(Protocol):
    """String keys, byte values, one revision that counts all writes.

    **Consistency.** Writes are atomic and strictly ordered; the n-th has revision n. A read sees every write that was
    acknowledged before the read began, by whatever task. A write that was acknowledged is durable as far as the
    implementation's README says.

    **Cancellation.** Reads have no effect. Writes are *indeterminate*: after `trio.Cancelled` the write has happened
    entirely or not at all, and reading tells which; a repeat with the same expected revision is safe. `aclose` is
    *closing*. Every method is a checkpoint, also when it raises, except where it raises `InvalidRequest`.

    **Concurrency.** Any number of tasks of one trio run may call any methods at once.

    **Errors.** Each method can raise `StoreClosed` after `aclose`, and `StoreUnavailable`. A method that raises has
    changed nothing, except that a write which raises `StoreUnavailable` may have happened.

    Keys have 1 to `MAX_KEY_BYTES` bytes in UTF-8 and no NUL; values up to `MAX_VALUE_BYTES` bytes. Anything else, also
    text that UTF-8 can't encode, raises `InvalidRequest`. A prefix is any text a key could begin with; the empty one is
    the beginning of all keys.
    """

    async def get(self, key: str, /, *, at_revision: Revision | None = None) -> ReadResult:
        """Read one key.

        Args:
            key: The key.
            at_revision: Read as of this revision; None is now.

        Returns:
            The entry, or None where there is none, and the revision read at.

        Raises:
            InvalidRequest: The key is not valid.
            FutureRevision: `at_revision` is above the current revision.
            RevisionCompacted: `at_revision` is below the oldest revision kept.
        """
        ...

    async def list(
        self,
        prefix: str,
        /,
        *,
        limit: int | None = None,
        start_after: str | None = None,
        at_revision: Revision | None = None,
    ) -> ListResult:
        """Read all keys with a prefix, ascending by code point.

        Args:
            prefix: What the keys begin with; "" is all.
            limit: The most entries to return, >= 1; None is no limit.
            start_after: Only keys greater than this; it need not exist nor have the prefix.
            at_revision: Read as of this revision; None is now. Pages of one list are read at one revision.

        Raises:
            InvalidRequest: The prefix or the limit is not valid.
            FutureRevision: `at_revision` is above the current revision.
            RevisionCompacted: `at_revision` is below the oldest revision kept.
        """
        ...

    async def put(
        self, key: str, value: bytes, /, *, expected: Revision | None = None, lease: LeaseId | None = None
    ) -> Revision:
        """Set a key.

        Args:
            key: The key.
            value: What it is to hold. Putting what is there already is a write like any other.
            expected: The key's `modified` revision must be this; `ABSENT`: it must not exist; None: whatever.
            lease: The key goes when this lease ends; None takes the key off any lease.

        Returns:
            The revision of this write.

        Raises:
            InvalidRequest: The key or the value is not valid.
            RevisionConflict: `expected` is not the key's revision.
            LeaseNotFound: The lease does not exist or has run out.
        """
        ...

    async def delete(self, key: str, /, *, expected: Revision | None = None) -> Revision:
        """Remove a key. With `expected` None, removing what does not exist succeeds and writes nothing.

        Args:
            key: The key.
            expected: The key's `modified` revision must be this; `ABSENT` succeeds only where there is nothing to remove.

        Returns:
            The revision of this write, or the current one where nothing was written.

        Raises:
            InvalidRequest: The key is not valid.
            RevisionConflict: `expected` is not the key's revision.
        """
        ...

    async def transaction(self, compares: Sequence[Compare], operations: Sequence[Operation], /) -> Revision:
        """Do all operations if all compares hold, at one revision.

        Args:
            compares: Up to `MAX_OPERATIONS` conditions; may be empty.
            operations: Up to `MAX_OPERATIONS` operations on different keys; may be empty. If none of them changes
                anything (only deletions of what does not exist), nothing is written.

        Returns:
            The revision of this write, or the current one where nothing was written.

        Raises:
            InvalidRequest: Too many compares or operations, a key twice among the operations, or a key or value that is not valid.
            RevisionConflict: A compare does not hold; it names the first that does not.
            LeaseNotFound: A lease does not exist or has run out.
        """
        ...

    async def grant_lease(self, ttl_seconds: float, /) -> LeaseId:
        """Grant a lease that ends `ttl_seconds` after its last keep-alive.

        It never ends earlier, by the store's monotonic clock; it ends at the latest one second later. When the store
        is opened anew, every lease starts again at its full length. Granting and keeping alive write no revision.

        Args:
            ttl_seconds: `MIN_LEASE_SECONDS` to `MAX_LEASE_SECONDS`.

        Raises:
            InvalidRequest: `ttl_seconds` is outside that range.
        """
        ...

    async def keep_alive(self, lease: LeaseId, /) -> None:
        """Start a lease's length anew.

        Raises:
            LeaseNotFound: The lease does not exist or has run out.
        """
        ...

    async def revoke(self, lease: LeaseId, /) -> None:
        """End a lease now and remove its keys in one revision; none where it has no keys. An unknown lease is success."""
        ...

    def watch(
        self, prefix: str, /, *, since: Revision | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchBatch]]:
        """Follow the changes of all keys with a prefix: in order, each once, none left out.

        The iteration waits for changes and ends with `StoreClosed` when the store is closed. A reader that is slow
        delays nobody, and is cut off with `RevisionCompacted` where the store no longer keeps what it has to read.
        Entering does not wait for a change; all writes after it are seen.

        Args:
            prefix: What the keys begin with.
            since: Give the changes after this revision; None is after the current one. Listing, and then watching since
                the list's revision, misses nothing.

        Raises:
            InvalidRequest: The prefix is not valid (on entering).
            FutureRevision: `since` is above the current revision (on entering).
            RevisionCompacted: Changes after `since` are no longer kept (on entering or while iterating).
        """
        ...

    async def compact(self, revision: Revision, /) -> None:
        """Forget what only reads and watches below `revision` need. What is current stays.

        Afterwards reads at, and watches since, a revision below it raise `RevisionCompacted`; at and since it they
        work. Compacting to a revision that is already forgotten succeeds and does nothing.

        Raises:
            FutureRevision: `revision` is above the current one.
        """
        ...

    async def aclose(self) -> None:
        """Close the store: later and waiting calls raise `StoreClosed`. Closing twice succeeds.

        What was acknowledged stays. An error or cancellation means that it closed less gracefully, never that it is
        still open.
        """
        ...
