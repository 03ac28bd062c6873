"""Several requests in one call, for schedulers that decide them together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Protocol, runtime_checkable

from attrs import evolve
from orchestrion.shared_types import InstanceKey, Resources, Uid

from ._errors import InvalidSchedulingRequest
from ._evictions import budgets_after
from ._interface import ClusterView, Scheduler
from ._requests import check_request
from ._types import ScheduleDecision, SchedulerCapability, SchedulingRequest
from ._view import StaticClusterView, with_decisions


@runtime_checkable
class SupportsBatches(Protocol):
    """A `Scheduler` with the capability BATCH: it decides several requests in one call."""

    async def schedule_batch(
        self, requests: Sequence[SchedulingRequest], view: ClusterView, /
    ) -> list[list[ScheduleDecision]]:
        """Decide several requests one after the other, in the order in which they are given, whatever their priorities.

        Each is decided as `schedule` would decide it [BATCH-2] in the cluster that the decisions before it make of the
        view: what they assign is placed there [BATCH-3], and their victims are gone and have used up budgets, each
        request's own being those of before the batch [BATCH-4]. So a gang that misses its minimum takes nothing and
        pushes nobody out, and the others are decided without it [BATCH-5]. A slot that was pushed out for a request
        before holds no place any more, and is decided anew.

        Nothing of a batch is remembered: what the view is asked about next is decided as if there had been none
        [BATCH-6].

        **Cancellation.** *Atomic*: there is no effect. It is a checkpoint, without requests, too [BATCH-7].

        **Concurrency.** Any number of tasks may call it and `schedule` at once [BATCH-8].

        Args:
            requests: None, one or more. Several may be of one workload. Each says for itself what it wants, and
                whether assignments are to be explained.
            view: The cluster before the first of them.

        Returns:
            For each request, in their order, the decisions about its slots, in theirs [BATCH-1].

        Raises:
            InvalidSchedulingRequest: A request is one that `schedule` refuses, or a slot is in two of them; none of the
                requests is decided then [BATCH-9].
            SchedulerUnavailable: Not now; only of a scheduler that has to ask somebody else.
        """
        ...


def check_batch(requests: Iterable[SchedulingRequest], /) -> list[Resources]:
    """Return what each slot reserves, request by request, if the batch is one that the interface allows.

    Raises:
        InvalidSchedulingRequest: See `check_request`; or a slot is in two requests.
    """
    demands = []
    seen: set[InstanceKey] = set()
    for request in requests:
        demands.append(check_request(request))
        for slot in request.slots:
            if slot in seen:
                msg = f"slot {slot} of workload {request.workload.metadata.name!r} is in two requests of a batch"
                raise InvalidSchedulingRequest(msg, remedy="Ask for each slot in one of the requests.")
            seen.add(slot)
    return demands


def less_victims(request: SchedulingRequest, made: Iterable[Iterable[ScheduleDecision]], /) -> SchedulingRequest:
    """Return a request of a batch with what is left of its budgets after the decisions about those before it."""
    left: Mapping[Uid, int] = request.budgets
    return evolve(request, budgets=budgets_after(left, chain.from_iterable(made))) if left else request


async def schedule_in_turn(
    scheduler: Scheduler, requests: Sequence[SchedulingRequest], view: ClusterView, /
) -> list[list[ScheduleDecision]]:
    """Decide several requests as `SupportsBatches.schedule_batch` does, with any scheduler.

    One with the capability BATCH does so itself. Any other is asked request by request, each time about views that
    nobody takes for states of the real cluster; it may look at all nodes each time.

    Cancellation is atomic; it is a checkpoint where there is a request.

    Raises:
        InvalidSchedulingRequest: See `check_batch`; none of the requests is decided then.
        SchedulerUnavailable: The scheduler can't decide one of them now.
    """
    if SchedulerCapability.BATCH in scheduler.capabilities and isinstance(scheduler, SupportsBatches):
        return await scheduler.schedule_batch(requests, view)
    check_batch(requests)
    made: list[list[ScheduleDecision]] = []
    for request in requests:
        decisions = await scheduler.schedule(less_victims(request, made), view)
        made.append(decisions)
        if len(made) < len(requests):
            view = StaticClusterView.hypothetical(with_decisions(view, request.workload, decisions))
    return made
