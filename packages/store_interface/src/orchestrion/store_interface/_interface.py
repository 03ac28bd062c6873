"""The interface of a state store. Each sentence with an id in brackets is a clause, which the kit checks by that id."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from ._types import Compare, LeaseId, ListResult, Operation, ReadResult, Revision, WatchBatch


class StateStore(Protocol):
    """String keys, byte values, one revision that counts all writes.

    **Consistency.** Writes are atomic and strictly ordered; an empty store is at revision 0 and the n-th write has
    revision n [REV-1]. A read sees every write that was acknowledged before the read began, by whatever task [REV-2].
    Nothing else counts: reads, leases that hold no key, compactions and calls that raise leave the revision as it
    is [REV-3].

    **History.** At least the last `MIN_HISTORY` revisions can be read at and watched since, unless `compact` was told
    otherwise or the store was opened anew [HISTORY-1].

    **Durability.** A write that was acknowledged is durable as far as the implementation's README says. A store that
    is opened anew has what was acknowledged, and counts its revisions on from there [DURABLE-1]. What it then gives of
    its history is right, or `RevisionCompacted` [DURABLE-2]. It uses no lease id again [DURABLE-3].

    **Cancellation.** Reads have no effect [CANCEL-1]. Writes are *indeterminate*: after `trio.Cancelled` the write has
    happened entirely or not at all, and reading tells which [CANCEL-2]; a repeat with the same expected revision is
    safe [CANCEL-3]. `aclose` is *closing* [CANCEL-4]. Every method is a checkpoint, also when it raises, except where
    it raises `InvalidRequest`; so are entering a watch and waiting for its next batch [CHECKPOINT-1].

    **Concurrency.** Any number of tasks of one trio run may call any methods at once [CONCURRENCY-1].

    **Errors.** Each method can raise `StoreClosed` after `aclose`, and `StoreUnavailable`. A method that raises has
    changed nothing, except that a write which raises `StoreUnavailable` may have happened [ERROR-1]. Where several
    errors apply, the first of these is raised: `InvalidRequest` for what the arguments show by themselves, also of a
    closed store; `StoreClosed`; `FutureRevision` or `RevisionCompacted`; `RevisionConflict`; `LeaseNotFound` [ERROR-2].
    `StoreUnavailable` may come instead of any but the first two.

    **Keys and values.** Keys have 1 to `MAX_KEY_BYTES` bytes in UTF-8 and no NUL, and are kept as they are: nothing is
    normalised, trimmed or folded [KEY-1]. Anything else, also text that UTF-8 can't encode, raises
    `InvalidRequest` [KEY-2]. Values have up to `MAX_VALUE_BYTES` bytes, any of them; none at all is a value [VALUE-1].
    Longer ones raise `InvalidRequest` [VALUE-2]. A prefix is any text a key could begin with; the empty one is the
    beginning of all keys [PREFIX-1]. Any other prefix raises `InvalidRequest` [PREFIX-2].
    """

    async def get(self, key: str, /, *, at_revision: Revision | None = None) -> ReadResult:
        """Read one key.

        Args:
            key: The key.
            at_revision: Read as of this revision [GET-3]; None is now.

        Returns:
            The entry, or None where there is none [GET-1], and the revision read at [GET-2].

        Raises:
            InvalidRequest: The key is not valid.
            FutureRevision: `at_revision` is above the current revision [GET-4].
            RevisionCompacted: `at_revision` is below the oldest revision kept, which the error names [GET-5]. What is
                below 0 is below every oldest revision.
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
        """Read all keys with a prefix and no others [LIST-1].

        They are ascending by code point [LIST-2], and come with the revision that all of them were read at [LIST-3].

        Args:
            prefix: What the keys begin with; "" is all.
            limit: The most entries to return, >= 1; None is no limit. The result says whether there are more [LIST-4].
            start_after: Only keys greater than this; it need not exist, be a key nor have the prefix [LIST-5].
            at_revision: Read as of this revision [LIST-6]; None is now. Pages of one list are read at one revision, and
                then fit together whatever is written meanwhile [LIST-7].

        Raises:
            InvalidRequest: The prefix or the limit is not valid, or UTF-8 can't encode `start_after` [LIST-8].
            FutureRevision: `at_revision` is above the current revision [LIST-9].
            RevisionCompacted: `at_revision` is below the oldest revision kept, which the error names [LIST-10].
        """
        ...

    async def put(
        self, key: str, value: bytes, /, *, expected: Revision | None = None, lease: LeaseId | None = None
    ) -> Revision:
        """Set a key.

        Args:
            key: The key. It keeps the revision at which it came to exist, and gets a new one after a deletion [PUT-2].
            value: What it is to hold. Putting what is there already is a write like any other [PUT-3].
            expected: The key's `modified` revision must be this [PUT-4]; `ABSENT`: it must not exist [PUT-5]; None:
                whatever.
            lease: The key goes when this lease ends [PUT-6]; None takes the key off any lease [PUT-7].

        Returns:
            The revision of this write [PUT-1].

        Raises:
            InvalidRequest: The key or the value is not valid.
            RevisionConflict: `expected` is not the key's revision; the error names the key and both
                revisions [PUT-8].
            LeaseNotFound: The lease does not exist or has run out [PUT-9].
        """
        ...

    async def delete(self, key: str, /, *, expected: Revision | None = None) -> Revision:
        """Remove a key [DELETE-1].

        With `expected` None, removing what does not exist succeeds and writes nothing [DELETE-2].

        Args:
            key: The key.
            expected: The key's `modified` revision must be this [DELETE-3]; `ABSENT` succeeds only where there is
                nothing to remove [DELETE-4].

        Returns:
            The revision of this write, or the current one where nothing was written.

        Raises:
            InvalidRequest: The key is not valid.
            RevisionConflict: `expected` is not the key's revision; the error names the key and both
                revisions [DELETE-5].
        """
        ...

    async def transaction(self, compares: Sequence[Compare], operations: Sequence[Operation], /) -> Revision:
        """Do all operations if all compares hold, at one revision [TX-1]; else none of them [TX-2].

        Args:
            compares: Up to `MAX_OPERATIONS` conditions on what was before the operations [TX-3]; may be empty, and may
                name a key twice.
            operations: Up to `MAX_OPERATIONS` operations on different keys; may be empty. If none of them changes
                anything (only deletions of what does not exist), nothing is written [TX-4].

        Returns:
            The revision of this write, or the current one where nothing was written [TX-5].

        Raises:
            InvalidRequest: Too many compares or operations [TX-6], a key twice among the
                operations [TX-7], or a key or value that is not valid [TX-8].
            RevisionConflict: A compare does not hold; it names the first that does not [TX-9].
            LeaseNotFound: A lease does not exist or has run out [TX-10].
        """
        ...

    async def grant_lease(self, ttl_seconds: float, /) -> LeaseId:
        """Grant a lease that ends `ttl_seconds` after its last keep-alive.

        It never ends earlier [LEASE-1], and ends at the latest one second later [LEASE-2]: by `trio.current_time()`
        where the store runs in this program, else by the monotonic clock of where it runs. Its keys then go in one
        revision, ascending by code point [LEASE-3]. When the store is opened anew, every lease starts again at its full
        length [LEASE-4]. Granting and keeping alive write no revision [LEASE-5].

        Args:
            ttl_seconds: `MIN_LEASE_SECONDS` to `MAX_LEASE_SECONDS`.

        Returns:
            An id that was never used before [LEASE-6].

        Raises:
            InvalidRequest: `ttl_seconds` is outside that range, as an infinity is, or is NaN [LEASE-7].
        """
        ...

    async def keep_alive(self, lease: LeaseId, /) -> None:
        """Start a lease's length anew [KEEP-1].

        Raises:
            LeaseNotFound: The lease does not exist or has run out [KEEP-2].
        """
        ...

    async def revoke(self, lease: LeaseId, /) -> None:
        """End a lease now and remove its keys in one revision, as its own end would [REVOKE-1].

        Where it has no keys nothing is written [REVOKE-2]. An unknown lease is success [REVOKE-3].
        """
        ...

    def watch(
        self, prefix: str, /, *, since: Revision | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchBatch]]:
        """Follow the changes of all keys with a prefix, and of no others [WATCH-1].

        They are given in order, each once, none left out [WATCH-2].
        The iteration waits for changes, also for those that a lease's end makes [WATCH-3], and ends with `StoreClosed`
        when the store is closed [WATCH-4]. A wait that is cancelled loses nothing: iterating again goes on [WATCH-5].
        A batch has all of a revision's changes under the prefix or none [WATCH-6], in the order of the transaction's
        operations [WATCH-7], and its revision is never lower than before [WATCH-8]. A reader that is slow delays
        nobody [WATCH-9], and is cut off with `RevisionCompacted` where changes under the prefix that it was not given
        yet are no longer kept [WATCH-10]; what changed elsewhere cuts nobody off. Entering does not wait for a change;
        all writes after it are seen [WATCH-11].

        Args:
            prefix: What the keys begin with.
            since: Give the changes after this revision [WATCH-12]; None is after the current one. Listing, and then
                watching since the list's revision, misses nothing [WATCH-13].

        Raises:
            InvalidRequest: The prefix is not valid (on entering) [WATCH-14].
            FutureRevision: `since` is above the current revision (on entering) [WATCH-15].
            RevisionCompacted: `since` is below the oldest revision kept, whatever has changed under the prefix (on
                entering) [WATCH-16]; or the reader was cut off (while iterating).
        """
        ...

    async def compact(self, revision: Revision, /) -> None:
        """Forget what only reads and watches below `revision` need. What is current stays [COMPACT-1].

        Afterwards reads at, and watches since, a revision below it raise `RevisionCompacted` [COMPACT-2]; at and since
        it they work, and watches that are open go on if they were given all that changed under their prefix up to
        it [COMPACT-3]. Compacting to the oldest revision kept or below, also below 0, succeeds and does
        nothing [COMPACT-4].

        Raises:
            FutureRevision: `revision` is above the current one [COMPACT-5].
        """
        ...

    async def aclose(self) -> None:
        """Close the store: later and waiting calls raise `StoreClosed` [CLOSE-1]. Closing twice succeeds [CLOSE-2].

        What was acknowledged stays [CLOSE-3]. An error or cancellation means that it closed less gracefully, never that
        it is still open.
        """
        ...
