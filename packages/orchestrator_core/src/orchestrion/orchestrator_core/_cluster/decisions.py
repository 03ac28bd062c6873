"""A scheduler whose decisions have an end and are decisions: a faulty plug-in holds up nobody for long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import trio
from attrs import define, evolve, field
from orchestrion.orchestrator_core._cluster.leadership import LeadershipLost
from orchestrion.orchestrator_core._cluster.plan import WorkloadPlan
from orchestrion.orchestrator_core._cluster.view import check_answer
from orchestrion.orchestrator_core._observed import Observed
from orchestrion.orchestrator_core._state.facts import Undecided
from orchestrion.orchestrator_core._state.records import WorkloadName
from orchestrion.scheduler_interface import (
    ClusterView,
    ScheduleDecision,
    Scheduler,
    SchedulerCapability,
    SchedulerUnavailable,
    SchedulingRequest,
    SupportsBatches,
    keep_minimum,
)
from orchestrion.shared_types import OrchestrationError, SchedulingFailure

T = TypeVar("T")

MAX_IN_ROW: Final = 3
"""So many requests in a row without a decision, of whatever workloads, cost the lead: another may have an answer."""

MAX_WAIT_SECONDS: Final = 60.0
"""The longest wait before a scheduler that has not decided about a workload is asked about it again."""


class NoDecision(SchedulerUnavailable):
    """The scheduler has not decided within its time. Nothing was placed; it is asked again.

    Attributes:
        seconds: How long it had.
    """

    def __init__(self, seconds: float, /) -> None:
        super().__init__(f"the scheduler has not decided for {seconds:g} s", remedy="It is asked again. Does it hang?")
        self.seconds = seconds


@define(eq=False)
class TimedScheduler:
    """A scheduler that is given up when it takes too long, and believed only where its answer is one to the question.

    It keeps the minimum of a request whether or not the scheduler can.

    Attributes:
        scheduler: Decides.
        seconds: How long it may take for one request.
        observed: Who looks on is told of each request.
    """

    scheduler: Scheduler
    seconds: float
    observed: Observed = field(factory=Observed)
    _lacking: frozenset[SchedulerCapability] = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Look whether a plug-in that says so has the method that batches take."""
        has_batches = isinstance(self.scheduler, SupportsBatches)
        self._lacking = frozenset() if has_batches else frozenset({SchedulerCapability.BATCH})

    @property
    def capabilities(self) -> frozenset[SchedulerCapability]:
        """What the scheduler is able to do."""
        return self.scheduler.capabilities - self._lacking

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> list[ScheduleDecision]:
        """Decide for each slot of the request.

        Raises:
            NoDecision: It took too long.
            SchedulingFailure: It failed, in whatever way, or what it decided is no answer to the request.
        """
        with self.observed.step("schedule", _name_of(request)):
            return await self._in_time(lambda: self._decide(request, view))

    async def schedule_batch(
        self, requests: Sequence[SchedulingRequest], view: ClusterView, /
    ) -> list[list[ScheduleDecision]]:
        """Decide for each slot of requests without minimums, with a scheduler that has the capability BATCH.

        All of it may take as long as one request.

        Raises:
            NoDecision: It took too long.
            SchedulingFailure: It failed, in whatever way, or what it decided is no answer to the requests.
        """
        with self.observed.step("schedule", ",".join(map(_name_of, requests))):
            return await self._in_time(lambda: self._decide_batch(requests, view))

    async def _in_time(self, decide: Callable[[], Awaitable[T]]) -> T:
        with trio.move_on_after(self.seconds):
            try:
                decisions = await decide()
            except OrchestrationError:
                raise
            except Exception as err:
                msg = f"the scheduler failed: {type(err).__name__}: {err}"
                raise SchedulingFailure(msg, remedy="This is a fault of the scheduler: tell its author.") from err
            return decisions
        raise NoDecision(self.seconds)

    async def _decide_batch(
        self, requests: Sequence[SchedulingRequest], view: ClusterView
    ) -> list[list[ScheduleDecision]]:
        scheduler = self.scheduler
        if not isinstance(scheduler, SupportsBatches):
            msg = "a scheduler without the capability for batches was asked for one"
            raise AssertionError(msg)
        batch = await scheduler.schedule_batch(requests, view)
        if len(batch) != len(requests):
            msg = f"the scheduler answered {len(batch)} of the {len(requests)} requests of a batch"
            raise SchedulingFailure(msg)
        for request, decisions in zip(requests, batch, strict=True):
            check_answer(request, decisions, view)
        return batch

    async def _decide(self, request: SchedulingRequest, view: ClusterView) -> list[ScheduleDecision]:
        if request.minimum <= 1 or SchedulerCapability.GANG in self.scheduler.capabilities:
            decisions = await self.scheduler.schedule(request, view)
            check_answer(request, decisions, view)
            return decisions
        # One that does not know of gangs decides slot by slot, and what it finds for too few of them is not taken.
        decisions = await self.scheduler.schedule(evolve(request, minimum=0), view)
        check_answer(evolve(request, minimum=0), decisions, view)
        return keep_minimum(request, decisions, ())


def _name_of(request: SchedulingRequest) -> str:
    metadata = request.workload.metadata
    return f"{metadata.namespace}/{metadata.name}"


@define(eq=False)
class Stalls:
    """Remembers what the scheduler has not decided: each asks ever more rarely, so that others get their turn.

    Attributes:
        undecided: What waits, by workload.
    """

    undecided: dict[WorkloadName, Undecided] = field(factory=dict)
    _in_row: int = 0

    def left(self, name: WorkloadName, plan: WorkloadPlan) -> float:
        """Return the seconds until the scheduler is to be asked; another template is asked for at once."""
        known = self.undecided.get(name)
        if known is None or known.generation != plan.generation:
            return 0.0
        return max(0.0, known.due - trio.current_time())

    def note(self, name: WorkloadName, plan: WorkloadPlan, err: NoDecision) -> float:
        """Note that the scheduler has not decided, and return the wait in seconds.

        Raises:
            LeadershipLost: It has decided nothing for long.
        """
        known = self.undecided.get(name)
        row = known.row + 1 if known is not None and known.generation == plan.generation else 1
        wait = min(MAX_WAIT_SECONDS, err.seconds * 2.0 ** min(row - 1, 10))
        self.undecided[name] = Undecided(
            generation=plan.generation,
            slots=tuple(sorted({slot.name.slot for slot in plan.place})),
            message=err.message,
            row=row,
            due=trio.current_time() + wait,
        )
        self._in_row += 1
        if self._in_row >= MAX_IN_ROW:
            self._in_row = 0
            raise LeadershipLost(err.message) from err
        return wait

    def forget(self, name: WorkloadName, *, decided: bool = False) -> None:
        """Note that nothing of a workload waits for the scheduler; `decided` is that it has just answered."""
        self.undecided.pop(name, None)
        if decided:
            self._in_row = 0
