"""What a scheduling queue knows about each of its entries."""

from __future__ import annotations

from collections.abc import Hashable
from enum import StrEnum
from typing import Final, Generic, TypeVar

from attrs import define, field, frozen
from orchestrion.shared_types import MissPolicy, NodeId

from ._cluster_change import ClusterChange, ClusterChangeKind
from ._sleep import Chance, Sleep
from ._types import Explanation

K = TypeVar("K", bound=Hashable)

FOREVER: Final = float("inf")


class QueuePart(StrEnum):
    """Where an entry of a `SchedulingQueue` is."""

    ACTIVE = "active"
    """It may be tried."""
    BACKOFF = "back-off"
    """Another try is worth it, once its back-off is over."""
    UNSCHEDULABLE = "unschedulable"
    """It sleeps until a change can help, or for `flush_seconds`."""
    IN_HAND = "in-hand"
    """It was taken, and is being tried."""


@frozen(kw_only=True)
class QueueEntry(Generic[K]):
    """An entry as it was when it was asked for. Times are those of the caller's clock, in seconds.

    Attributes:
        key: Whose entry.
        part: Where it is.
        priority: Higher goes first.
        since: From when its waiting counts: when it came, or when a try of it last had some success.
        deadline: When it is to be placed at the latest, or None.
        late: Whether it has missed its deadline.
        fruitless: How many tries in a row had no success at all.
        not_before: No try before this, unless there surely is a place.
        flush_at: When it is tried again whatever happens, for one that sleeps; else None.
        flushed: Whether it may be tried, or is, only since it has slept for so long.
        explanation: Why it had no place when it was last tried; None where it was not, or has changed since.
    """

    key: K
    part: QueuePart
    priority: int
    since: float
    deadline: float | None
    late: bool
    fruitless: int
    not_before: float
    flush_at: float | None
    flushed: bool
    explanation: Explanation | None


@define(eq=False)
class Entry(Generic[K]):
    """An entry at work.

    Attributes:
        arrival: Its number among all that came.
        sleep: Why it sleeps, or slept last; None where it was not tried yet.
        hints: The nodes that it was woken for; empty is that any may do.
        chance: How good that of the best of these was when it was looked at.
        listens_to: The kinds of changes that it is to be shown.
        meanwhile: What has changed since it was taken in hand.
        untold: Whether more has changed since then than is told.
        renewed: Whether something else is asked for since then.
        sure: Whether it was taken in hand for a node that passes all predicates.
        deceived: Whether it found no place when that was so.
        version: Another one whenever it moves, so that what heaps hold of before counts no longer.
    """

    key: K
    arrival: int
    since: float
    priority: int = 0
    deadline: float | None = None
    policy: MissPolicy = MissPolicy.LATE
    late: bool = False
    part: QueuePart = QueuePart.ACTIVE
    fruitless: int = 0
    not_before: float = 0.0
    flush_at: float = FOREVER
    flushed: bool = False
    explanation: Explanation | None = None
    sleep: Sleep | None = None
    hints: dict[NodeId, None] = field(factory=dict)
    chance: Chance = Chance.NONE
    listens_to: frozenset[ClusterChangeKind] = frozenset()
    meanwhile: list[ClusterChange] = field(factory=list)
    untold: bool = False
    renewed: bool = False
    sure: bool = False
    deceived: bool = False
    version: int = 0
