"""The interface of a scheduler, and of the view of a cluster that it decides on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from orchestrion.shared_types import NodeId

from ._types import NodeView, ScheduleDecision, SchedulerCapability, SchedulingRequest


class ClusterView(Protocol):
    """The nodes of a cluster at one revision, and what is placed on them. It never changes."""

    @property
    def revision(self) -> int:
        """Higher is later; views of one cluster with the same revision are equal."""
        ...

    def __len__(self) -> int:
        """Return the number of nodes."""
        ...

    def __iter__(self) -> Iterator[NodeView]:
        """Iterate over the nodes, ascending by id."""
        ...

    def get(self, node_id: NodeId, /) -> NodeView | None:
        """Return one node, or None where there is none of that id."""
        ...

    def changes_since(self, revision: int, /) -> frozenset[NodeId] | None:
        """Return the ids of all nodes that were added, changed or removed after `revision` and up to this view's.

        None where that is no longer known, or `revision` is of another cluster or above this view's: look at everything.
        More ids than have changed may be returned, never fewer.
        """
        ...


class Scheduler(Protocol):
    """Decides where slots go. It only decides: it places nothing, and remembers nothing that changes a decision.

    **Determinism.** The decisions are a function of the request, the view, and what the scheduler was made with; not of time,
    chance, the order of calls or how a mapping is ordered.

    **Cancellation.** *Atomic*: there is no effect. `schedule` is a checkpoint.

    **Concurrency.** Any number of tasks may call `schedule` at once.
    """

    @property
    def capabilities(self) -> frozenset[SchedulerCapability]:
        """The optional abilities that this scheduler has; constant."""
        ...

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> list[ScheduleDecision]:
        """Decide for each slot of the request.

        The decisions see each other: taken together with what the view holds, they never ask more of a node than is
        allocatable there, nor a host port twice, nor more than 1000 thousandths of a device. A slot is refused only if,
        after the slots before it, no node passes all predicates. A slot that the view already holds on a node stays
        there: its decision is `AssignNode` to that node with what it holds, and takes nothing anew.

        A node passes if it is Ready, not cordoned and without an active condition; if it runs all drivers; if it matches
        all selectors and expressions; if every NoSchedule and NoExecute taint is tolerated; if no static host port is
        taken; if the demand fits into what is free in every dimension; and if everything else that the placement
        requires holds. What requires an ability that the scheduler lacks fails with `Predicate.UNSUPPORTED` on every node.

        Returns:
            One decision for each slot, in the order of the request.

        Raises:
            InvalidSchedulingRequest: No slots, a slot twice, or slots of another workload than the request's.
        """
        ...
