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
        """Higher is later; views of one cluster with the same revision are equal.

        Other clusters count for themselves.
        """
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

        None where that is no longer known, or `revision` is above this view's: look at everything.
        More ids than have changed may be returned, never fewer.
        """
        ...


class Scheduler(Protocol):
    """Decides where slots go. It only decides: it places nothing, and remembers nothing that changes a decision.

    A scheduler serves one cluster: it may keep an index of the latest view that it saw. Views may be shown in any
    order.

    **Determinism.** The decisions are a function of the request, the view, and what the scheduler was made with: of its
    content, not of the object [SAME-1]; not of time, chance, the order of calls [SAME-2], how a mapping is ordered
    [SAME-3], or which views it saw before [SAME-4]. With the capability OUTCOMES they are one of what it was told
    became of instances, too.

    **Cancellation.** *Atomic*: there is no effect [CANCEL-1]. `schedule` is a checkpoint [CANCEL-2].

    **Concurrency.** Any number of tasks may call `schedule` at once [TASKS-1].
    """

    @property
    def capabilities(self) -> frozenset[SchedulerCapability]:
        """The optional abilities that this scheduler has; constant [ABLE-1]."""
        ...

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> list[ScheduleDecision]:
        """Decide for each slot of the request.

        The decisions see each other: taken together with what the view holds, they never ask more of a node than is
        allocatable there [SAFE-1], nor a host port twice [SAFE-2], nor more than 1000 thousandths of a device [SAFE-3].
        A slot is given no node that fails a predicate [SAFE-4], and is refused only if, after the slots before it, no
        node passes all predicates [FULL-1], or for the sake of the request's minimum. What an assignment's `victims`
        hold is free for its slot.

        A slot that the view already holds on a node stays there: its decision is `AssignNode` to that node, whatever
        the predicates and `only_node` say, with the shares of devices that the view says it holds, and no `devices`,
        since a view does not say which container has which [STAY-1]. It takes nothing anew [STAY-2]. An incarnation of
        another epoch is another instance [STAY-3].

        A node passes if

        - it is Ready [FIT-1], not cordoned [FIT-2] and without an active condition [FIT-3];
        - it is the request's only node, where that names one [FIT-4];
        - it runs all drivers [FIT-5];
        - it has all labels that are selected, as labels or as its topology or name [FIT-6], and its labels match all
          expressions [FIT-7];
        - every NoSchedule and NoExecute taint is tolerated [FIT-8], for whatever time; PreferNoSchedule refuses nothing
          [FIT-9];
        - no static host port, which is a protocol and a number, is taken [FIT-10];
        - the demand fits into what is free in every dimension [FIT-11], exactly [FIT-12]; what is not asked for need
          not be free [FIT-13];
        - everything else that the placement requires holds, as the capabilities say.

        What requires an ability that the scheduler lacks fails with `Predicate.UNSUPPORTED` on every node [ABLE-2].
        `preempt` requires nothing, and makes no difference to a scheduler that is not able to push out [ABLE-3].
        Preferences, which are weights and spreads that are not required, refuse nothing [PREFER-1].

        Returns:
            One decision for each slot, in the order of the request [DECIDE-1]. Assignments name nodes of the view
            [DECIDE-2] and are explained if the request says so [DECIDE-3].

        Raises:
            InvalidSchedulingRequest: No slots [REFUSE-1], a slot twice [REFUSE-2], slots of another workload than the
                request's [REFUSE-3], a demand above `MAX_AMOUNT` [REFUSE-4], or a minimum that is negative or above the
                number of slots [REFUSE-5].
            SchedulerUnavailable: Not now; only of a scheduler that has to ask somebody else.
        """
        ...
