"""How something is to be written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Protocol

from attrs import frozen
from orchestrion.control_plane._history.projection import ObjectName
from orchestrion.control_plane._identity.access import Access
from orchestrion.control_plane._identity.principals import Principal
from orchestrion.control_plane._objects.claims import Cascade
from orchestrion.control_plane._objects.document import Document
from orchestrion.control_plane._objects.kinds import Kind
from orchestrion.orchestrator_core import WorkloadName
from orchestrion.shared_types import WorkloadDefinition
from orchestrion.store_interface import Compare, Operation


@frozen(kw_only=True)
class Intent:
    """How a change is meant.

    Attributes:
        manager: Whose fields they are.
        dry_run: Whether all is checked, and nothing written.
        force: Whether fields of other managers are taken over.
        hands_on: Whether who said what is changed is to say it still, as it is then.
        promoted: Whether the update of a workload that it leads to goes on beyond its canary at once.
        if_revision: Only if the object's last write was at this revision; None is whatever it is.
        if_there: Only if the object is there.
        if_index: Only if nothing of many objects was written after this revision; None is whatever was.
        principal: Who asks; None is the server itself.
        cascade: What becomes of what an object owns that is removed.
        creating: Called with what it takes before an apply makes an object; raises where who asks may only change what
            is there.
        compares: What must hold besides, for the write to be done.
        operations: What is written with it; not for a dry run, nor where nothing changes.
    """

    manager: str = "api"
    dry_run: bool = False
    force: bool = False
    hands_on: bool = False
    promoted: bool = False
    if_revision: int | None = None
    if_there: bool = False
    if_index: int | None = None
    principal: Principal | None = None
    cascade: Cascade = Cascade.BACKGROUND
    creating: Callable[[Access], None] | None = None
    compares: tuple[Compare, ...] = ()
    operations: tuple[Operation, ...] = ()


MAKING: Final[ContextVar[frozenset[str]]] = ContextVar("orchestrion.making", default=frozenset())
"""Namespaces that are made in the transaction that is thought through; the core's gates have no word for it."""

TOGETHER: Final[ContextVar[Mapping[ObjectName, Document]]] = ContextVar(
    "orchestrion.together", default=MappingProxyType({})
)
"""As they will be, objects that are written in the same transaction and have a say in others of it."""

BESIDE: Final[ContextVar[Mapping[WorkloadName, WorkloadDefinition]]] = ContextVar(
    "orchestrion.beside", default=MappingProxyType({})
)
"""Workloads that are written in the same transaction, roughly: their names, and whether they are batches."""


class ChangeKind(StrEnum):
    """What is done to an object."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@frozen(kw_only=True)
class Review:
    """A change that admission looks at.

    Attributes:
        change: What is done.
        kind: The object's kind.
        document: The object as it would be; for DELETE as it is.
        before: The object as it is; None where it is new.
        intent: How it is meant.
        action: What is done beside writing the object, such as "restart"; empty where it is written. Then the object
            is judged, and nobody changes it.
    """

    change: ChangeKind
    kind: Kind
    document: Document
    before: Document | None
    intent: Intent
    action: str = ""


Admit = Callable[[Review], Awaitable[Document]]
"""Looks at a change; returns the object as it shall be, or raises to refuse."""


async def admit_all(review: Review) -> Document:
    """Let everything pass as it is."""
    return review.document


May = Callable[[Principal, Access], bool]
"""Says whether somebody may do something."""


def everybody(_principal: Principal, _access: Access, /) -> bool:
    """Let everybody do everything."""
    return True


class Act(Protocol):
    """Looks at what is done with a workload; raises to refuse."""

    async def __call__(self, action: str, workload: WorkloadDefinition, *, dry_run: bool) -> None:
        """Look at an action, such as "start"."""


async def act_freely(action: str, workload: WorkloadDefinition, *, dry_run: bool) -> None:
    """Let everything be done."""


Edit = Callable[[Any], Any]
"""From an object as plain data to what it should be."""
