"""What is to be done about a workload: values that the cluster loop executes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from attrs import define, evolve, field
from orchestrion.orchestrator_core._state.facts import Refusal
from orchestrion.orchestrator_core._state.records import InstanceName, WorkloadProgress
from orchestrion.orchestrator_core._state.world import InstanceRecord
from orchestrion.scheduler_interface import Explanation, Predicate
from orchestrion.shared_types import MAX_GANG, EventSeverity, NodeId
from orchestrion.store_interface import Revision

CHUNK: Final = 60
"""Instances that one transaction writes: each takes up to two operations or compares of 128."""

MAX_TOGETHER: Final = MAX_GANG
"""Instances that one transaction binds if it has to: with what guards it that is less than 128 compares."""

NEVER_ON_THIS_NODE: Final = frozenset(
    {Predicate.DRIVER, Predicate.SELECTOR, Predicate.EXPRESSION, Predicate.TAINT, Predicate.NODE_AFFINITY}
)
"""Reasons that a node is no place for a template, however empty it is."""


@define(eq=False)
class WantedSlot:
    """A slot that wants a place.

    Attributes:
        name: The instance that it will be.
        only_node: The only node that it may go to, or None.
    """

    name: InstanceName
    only_node: NodeId | None = None


@define(eq=False)
class Notice:
    """An event to record.

    Attributes:
        reason: A stable word.
        message: One line for people.
        severity: Whether somebody should look.
        instance: The instance that it is about; None is the workload.
    """

    reason: str
    message: str
    severity: EventSeverity = EventSeverity.NORMAL
    instance: InstanceName | None = None


@define(eq=False)
class WorkloadPlan:
    """What is to be done about a workload, in this order.

    Attributes:
        lose: Instances to give up, because their node was away for too long.
        stop: Instances to stop, each with the reason.
        forget: Ended instances whose records go; `progress` accounts for them.
        progress: The cluster loop's part as it is to be, or None where it stays.
        place: Slots to place, all from the template of `generation`.
        generation: That generation.
        minimum: How many of `place` have to get a place for any to get one; 0 where each is for itself.
        present: How many others count for the gang's minimum already.
        drop_templates: Generations whose templates nothing needs.
        purge: Whether all that is left of the workload goes.
        notices: Events to record.
        wake_after: Seconds until time alone may change the plan, or None.
        spec_revision: The revision of the author's part that the plan was made from.
        control_revision: The revision of the operator's part that it was made from.
    """

    lose: list[InstanceRecord] = field(factory=list)
    stop: list[tuple[InstanceRecord, str]] = field(factory=list)
    forget: list[InstanceRecord] = field(factory=list)
    progress: WorkloadProgress | None = None
    place: list[WantedSlot] = field(factory=list)
    generation: int = 0
    minimum: int = 0
    present: int = 0
    drop_templates: list[int] = field(factory=list)
    purge: bool = False
    notices: list[Notice] = field(factory=list)
    wake_after: float | None = None
    spec_revision: Revision = Revision(0)
    control_revision: Revision = Revision(0)

    def wake(self, seconds: float) -> None:
        """Look again after so long at the latest."""
        self.wake_after = seconds if self.wake_after is None else min(self.wake_after, seconds)

    @property
    def empty(self) -> bool:
        """Whether nothing is to be done now."""
        return not (
            self.lose
            or self.stop
            or self.forget
            or self.progress is not None
            or self.place
            or self.drop_templates
            or self.purge
            or self.notices
        )


def by_node(slots: Sequence[WantedSlot]) -> Iterator[tuple[NodeId | None, list[WantedSlot]]]:
    """Yield the slots that may go to the same node; None is any."""
    groups = dict[NodeId | None, list[WantedSlot]]()
    for slot in slots:
        groups.setdefault(slot.only_node, []).append(slot)
    yield from groups.items()


def portions(slots: Sequence[WantedSlot], minimum: int) -> Iterator[tuple[Sequence[WantedSlot], int]]:
    """Yield the slots, as many at a time as one transaction takes, each time with how many have to be placed together.

    The first have the minimum of all of them: where it is reached, the others are each for itself.
    """
    first = max(CHUNK, minimum)
    yield slots[:first], minimum
    for start in range(first, len(slots), CHUNK):
        yield slots[start : start + CHUNK], 0


def refusal_of(explanation: Explanation) -> Refusal:
    """Return why one node was refused; `explanation` is of a request for that node only."""
    groups = tuple(group for group in explanation.groups if group.predicate is not Predicate.OTHER_NODE)
    never = not {group.predicate for group in groups}.isdisjoint(NEVER_ON_THIS_NODE)
    return Refusal(explanation=evolve(explanation, groups=groups, nodes_considered=1), never=never)
