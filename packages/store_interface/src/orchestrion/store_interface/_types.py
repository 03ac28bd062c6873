"""The values that a store takes and gives."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NewType

from attrs import frozen

Revision = NewType("Revision", int)
"""Counts the writes of a store. 0 is the empty store; every successful write or transaction adds exactly 1."""

LeaseId = NewType("LeaseId", int)
"""Names a lease, > 0. An id is never used twice by a store."""

ABSENT: Final = Revision(0)
"""As an expected revision: the key must not exist."""

MAX_KEY_BYTES: Final = 1024
"""The longest key, in UTF-8."""

MAX_VALUE_BYTES: Final = 1_048_576
"""The longest value."""

MAX_OPERATIONS: Final = 128
"""The most compares, and the most operations, of one transaction (etcd's default limit)."""

MIN_HISTORY: Final = 1_000
"""The least number of latest revisions that a store keeps for reads and watches, unless it was told to compact."""

MIN_LEASE_SECONDS: Final = 1.0
MAX_LEASE_SECONDS: Final = 86_400.0


@frozen
class Entry:
    """A key and what it holds.

    Attributes:
        key: 1 to `MAX_KEY_BYTES` bytes in UTF-8, without NUL.
        value: 0 to `MAX_VALUE_BYTES` bytes.
        created: The revision at which the key came to exist; a deletion and a new put give a new one.
        modified: The revision of its last put; what an expected revision is compared with.
        lease: The lease that it lives by, or None.
    """

    key: str
    value: bytes
    created: Revision
    modified: Revision
    lease: LeaseId | None = None


@frozen
class ReadResult:
    """What `get` found.

    Attributes:
        entry: None where the key does not exist.
        revision: The store's revision that was read at.
    """

    entry: Entry | None
    revision: Revision


@frozen
class ListResult:
    """What `list` found.

    Attributes:
        entries: Ascending by key, compared by code point.
        revision: The store's revision that was read at; the same for all entries.
        more: Whether the limit cut the list; go on with `start_after` the last key, `at_revision` this revision.
    """

    entries: tuple[Entry, ...]
    revision: Revision
    more: bool = False


@frozen
class Compare:
    """A condition of a transaction: the key's last put was at `revision`.

    Attributes:
        key: The key.
        revision: `ABSENT`: the key must not exist.
    """

    key: str
    revision: Revision


@frozen
class Put:
    """An operation of a transaction: set a key. See `StateStore.put`."""

    key: str
    value: bytes
    lease: LeaseId | None = None


@frozen
class Delete:
    """An operation of a transaction: remove a key; removing what does not exist is no error."""

    key: str


Operation = Put | Delete


class ChangeKind(StrEnum):
    """What happened to a key."""

    PUT = "put"
    DELETE = "delete"


@frozen
class Change:
    """One change of one key.

    Attributes:
        kind: What happened.
        key: The key.
        entry: What it holds now; None if and only if it was deleted.
        revision: The revision of the change.
    """

    kind: ChangeKind
    key: str
    entry: Entry | None
    revision: Revision


@frozen
class WatchBatch:
    """Changes of one or more consecutive revisions, never a part of a revision's.

    Attributes:
        changes: In the order of their revisions; within a revision in the order of the transaction's operations. May be
            empty: then nothing under the prefix changed up to `revision`.
        revision: All changes up to and including this revision have now been given; never lower than before.
    """

    changes: tuple[Change, ...]
    revision: Revision
