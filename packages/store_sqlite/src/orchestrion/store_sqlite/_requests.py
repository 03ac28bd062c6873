"""What the writer can be asked for."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen
from orchestrion.store_interface import (
    Compare,
    InvalidRequest,
    LeaseId,
    Operation,
    Put,
    Revision,
)


@frozen
class Write:
    """Do all operations if all compares hold and all leases last. The reply is the revision.

    Attributes:
        compares: The conditions, which are looked at before the leases.
        operations: What to do.
        ended: Leases of the operations that had run out, or did not exist, when it was asked for.
    """

    compares: tuple[Compare, ...]
    operations: tuple[Operation, ...]
    ended: frozenset[LeaseId] = frozenset()


@frozen
class Grant:
    """Grant a lease. The reply is its id."""

    ttl_seconds: float


@frozen
class Revoke:
    """End leases, each with its keys in one revision. The reply is the revision."""

    leases: tuple[LeaseId, ...]


@frozen
class Compact:
    """Forget history. The reply is the oldest revision kept."""

    revision: Revision


Request = Write | Grant | Revoke | Compact


def size_of(request: Request) -> int:
    """How many bytes of values a request carries."""
    if not isinstance(request, Write):
        return 0
    return sum(len(operation.value) for operation in request.operations if isinstance(operation, Put))


def check_bytes(operations: Sequence[Operation]) -> None:
    """Raise `InvalidRequest` unless all values are bytes.

    The types of the interface say so already. But a caller without a type checker must hear of it, rather than that the
    writer stumbles and takes the store with it.
    """
    for operation in operations:
        value: object = operation.value if isinstance(operation, Put) else b""
        if not isinstance(value, bytes):
            msg = f"the value of {operation.key!r} is of type {type(value).__name__}; it must be bytes"
            raise InvalidRequest(msg, remedy="encode it")


def check_number(what: str, number: object) -> None:
    """Raise `InvalidRequest` unless this is a whole number, for the same reason as `check_bytes`."""
    if not isinstance(number, int):
        msg = f"the {what} is {number!r}; it must be a whole number"
        raise InvalidRequest(msg, remedy="give one that the store has given")
