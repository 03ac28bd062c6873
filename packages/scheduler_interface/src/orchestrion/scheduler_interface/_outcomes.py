"""What becomes of instances, for schedulers that take it into account."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Protocol, runtime_checkable

from attrs import field, frozen, validators
from orchestrion.shared_types import InstanceKey, NodeId, WorkloadDefinition

from ._types import NodeView


class OutcomeKind(StrEnum):
    """What has become of an instance on its node."""

    PLACED = "placed"
    """It was given its place."""
    STARTED = "started"
    """A container of it has begun to run."""
    START_FAILED = "start-failed"
    """A container of it could not be started; that says more about the node than about the instance."""
    SUCCEEDED = "succeeded"
    """It has done its work and gave its place up."""
    FAILED = "failed"
    """It has failed and gave its place up."""
    RELEASED = "released"
    """It gave its place up for any other reason: it was stopped, or its node was lost."""


@frozen(kw_only=True)
class InstanceOutcome:
    """Something that has become of an instance.

    Two with the same slot, attempt and kind are about the same event.

    Attributes:
        slot: Which incarnation of which slot.
        attempt: Of which start in place, from 0; 0 for what is not about a start.
        kind: What has become of it.
        node_id: Where.
        workload: What it runs.
        at_seconds: When, in seconds since 1970 (UTC); a finite number.
        around: Its node without it, as it was when this was noticed; None where that is not known.
    """

    slot: InstanceKey
    attempt: int = field(default=0, validator=validators.ge(0))
    kind: OutcomeKind
    node_id: NodeId
    workload: WorkloadDefinition
    at_seconds: float
    around: NodeView | None = None


@runtime_checkable
class SupportsOutcomes(Protocol):
    """A `Scheduler` with the capability OUTCOMES: it prefers nodes by what became of earlier instances, too.

    What it was told of is the one thing that its decisions depend on beside what `Scheduler` says. It is made for
    being told again: whoever begins to tell it tells it of all that is on record. All calls return quickly and are no
    checkpoints; what takes longer is left to `prepare`.
    """

    def observe(self, outcomes: Iterable[InstanceOutcome], /, *, now_seconds: float) -> None:
        """Take in what has become of instances.

        What is preferred follows from the outcomes, in their order, and from the time [OUTCOME-1]; being told again of
        the same events makes no difference [OUTCOME-2]. They bear on preferences alone: a slot is given no node that
        fails a predicate, and is refused only where it would be without them [OUTCOME-3]. After outcomes without
        number, what is remembered takes no more than a bounded space [OUTCOME-4]; what is older than all that is
        remembered may be disregarded.

        Nothing is raised, whatever workloads and nodes they are about, known or not, and in whatever order of times
        [OUTCOME-5].

        Args:
            outcomes: What has become of instances; may be empty where only time has passed.
            now_seconds: How late it is, in seconds since 1970 (UTC).
        """
        ...

    def prepare(self) -> None:
        """Work out what the next decisions need of what was observed; changes no decision [OUTCOME-6]."""
        ...

    @property
    def lessons(self) -> int:
        """A number that is another one once `remembered` would return something else [OUTCOME-7]."""
        ...

    def remembered(self) -> bytes:
        """Return all that was learned from outcomes, for `recall` of another scheduler made alike."""
        ...

    def recall(self, data: bytes, /) -> None:
        """Go on from what another scheduler remembered, in place of all that was learned here.

        It decides as that one would [OUTCOME-8], and knows the events that that one was told of.

        Raises:
            ValueError: The data is none that `remembered` returns, or of another version; nothing has changed
                [OUTCOME-9].
        """
        ...
