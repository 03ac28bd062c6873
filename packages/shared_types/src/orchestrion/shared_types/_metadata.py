"""What every stored object says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from attrs import field, frozen, validators

from ._ids import DEFAULT_NAMESPACE, Uid
from ._mappings import EMPTY, unchanging


@frozen
class OwnerReference:
    """The object that this one belongs to and is removed with.

    Attributes:
        kind: What the owner is, such as "Workload" or a custom kind.
        name: The owner's name, in the same namespace.
        uid: The owner's uid, so that a namesake that came later is not taken for it.
    """

    kind: str
    name: str
    uid: Uid


@frozen
class Finalizer:
    """A claim that delays removal until its owner has cleaned up.

    Attributes:
        name: What is to be done, unique within the object.
        owner: Who does it.
        deadline: After this time removal goes on without it; None waits for ever.
    """

    name: str
    owner: str
    deadline: datetime | None = None


@frozen(kw_only=True)
class Metadata:
    """Identity and history of an object.

    Attributes:
        uid: Given when the object is first applied; empty before.
        namespace: The namespace, a DNS label.
        name: Unique within kind and namespace, a DNS label.
        generation: Counts the author's changes, from 1; 0 before the object is first applied.
        revision: The store's revision of the last write of this part; 0 before. It is not stored with the object but
            filled in when it is read.
        created_at: When the object was first applied (UTC); None before.
        updated_at: When the author last changed it (UTC); None before.
        labels: Free keys and values, for selection.
        annotations: Free keys and values, never selected by.
        owners: Objects that this one is removed with.
        finalizers: Claims that delay removal.
    """

    name: str
    namespace: str = DEFAULT_NAMESPACE
    uid: Uid = Uid("")
    generation: int = field(default=0, validator=validators.ge(0))
    revision: int = field(default=0, validator=validators.ge(0))
    created_at: datetime | None = None
    updated_at: datetime | None = None
    labels: Mapping[str, str] = field(default=EMPTY, converter=unchanging)
    annotations: Mapping[str, str] = field(default=EMPTY, converter=unchanging)
    owners: tuple[OwnerReference, ...] = ()
    finalizers: tuple[Finalizer, ...] = ()
