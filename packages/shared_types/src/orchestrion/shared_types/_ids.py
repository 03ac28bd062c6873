"""Identities: what names an object, a place in a workload, and a container."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NewType

from attrs import field, frozen, validators

NodeId = NewType("NodeId", str)
"""An opaque, non-empty string. A node keeps it in its state directory; it outlives restarts."""

ContainerId = NewType("ContainerId", str)
"""An opaque, non-empty string that a runtime chose. It names one attempt of one container."""

Uid = NewType("Uid", str)
"""A UUIDv7 in its canonical 36-character form; later ones sort after earlier ones."""

DEFAULT_NAMESPACE: Final = "default"

MAX_NAME_LENGTH: Final = 63
"""The limit of a DNS label (RFC 1123, section 2.1), so that a name can be a host name."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")

UidFactory = Callable[[], Uid]


def new_uid() -> Uid:
    """Return a fresh UUIDv7.

    It reads the wall clock and the system's randomness: take it as an argument, so that a test can replace it.
    """
    import uuid6  # here, because it imports much that a command which makes no id need not wait for

    return Uid(str(uuid6.uuid7()))


def is_name(text: str) -> bool:
    """Whether `text` can name an object: 1 to 63 lower-case letters, digits and inner hyphens (a label of RFC 1123)."""
    return len(text) <= MAX_NAME_LENGTH and _NAME.fullmatch(text) is not None


@frozen(order=True, cache_hash=True, weakref_slot=False)
class InstanceKey:
    """One incarnation of one slot of a workload.

    At most one incarnation of a key is ever live. A restart in place keeps the key and raises the attempt; a new
    placement of the slot takes a higher epoch.

    Attributes:
        workload_id: The uid of the workload. A workload that is removed and applied again has another one.
        index: The slot, >= 0. The slots of a workload need not be contiguous.
        epoch: >= 1; a later placement of the slot has a higher one.
    """

    workload_id: Uid
    index: int = field(validator=validators.ge(0))
    epoch: int = field(validator=validators.ge(1))

    def __str__(self) -> str:
        return f"{self.workload_id}.{self.index}.{self.epoch}"


@frozen
class ContainerRef:
    """Names a container across nodes and drivers.

    Attributes:
        node_id: The node whose runtime holds the container.
        driver: The name of that runtime, as in `ContainerConfig.driver`.
        container_id: The id within that runtime.
    """

    node_id: NodeId
    driver: str
    container_id: ContainerId
