"""The errors of a store, by what the caller can do."""

from __future__ import annotations

from orchestrion.shared_types import Closed, Compacted, Conflict, NotFound, StateFailure, Unavailable


class InvalidRequest(StateFailure, ValueError):
    """The arguments are outside what the interface allows; nothing happened. Do not repeat."""

    code = "state-invalid-request"


class RevisionConflict(Conflict):
    """A key's revision is not the expected one; nothing was written. Read again, then decide.

    Attributes:
        key: The first key, in the order of the compares, that differs.
        expected: What the caller expected; 0 is absent.
        actual: What it is; 0 is absent.
    """

    code = "state-conflict"

    def __init__(self, key: str, *, expected: int, actual: int) -> None:
        def words(revision: int) -> str:
            return f"at revision {revision}" if revision else "absent"

        super().__init__(f"key {key!r} is {words(actual)}, not {words(expected)} as expected")
        self.key = key
        self.expected = expected
        self.actual = actual


class RevisionCompacted(Compacted, StateFailure):
    """The revision asked for is no longer kept. List anew and go on from there.

    Attributes:
        oldest: The oldest revision kept when this was raised: the lowest that can be read at and watched since. 0 is
            that of a store that has forgotten nothing.
    """

    code = "state-compacted"


class FutureRevision(InvalidRequest):
    """The revision asked for has not happened yet."""

    code = "state-future-revision"


class LeaseNotFound(NotFound, StateFailure):
    """The lease does not exist or has run out. Grant a new one."""

    code = "state-lease-not-found"


class StoreUnavailable(Unavailable, StateFailure):
    """The store can't answer now. What a write did is unknown: read before repeating it."""

    code = "state-unavailable"


class StoreFull(StoreUnavailable):
    """There is no room for the write; nothing was written. Make room, then repeat."""

    code = "state-full"


class StoreCorrupt(StateFailure):
    """What is stored can't be trusted or is of a newer format; nothing was changed. A person must look."""

    code = "state-corrupt"


class StoreClosed(Closed, StateFailure):
    """You closed the store, or it was closed while you waited."""

    code = "state-closed"
