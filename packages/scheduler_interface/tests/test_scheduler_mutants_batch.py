"""Schedulers that decide batches in wrong ways: each fails the clause that it breaks."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from attrs import evolve
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    FullScanScheduler,
    InvalidSchedulingRequest,
    NodeView,
    PlacedInstance,
    ScheduleDecision,
    SchedulingRequest,
    StaticClusterView,
    check_batch,
    less_victims,
    node_view,
    with_decisions,
)

from .scheduler_mutants import AbleMutant, Decisions, MutantKind, Mutants, failed_checks

MUTANTS = Mutants()

Requests = Sequence[SchedulingRequest]


class InTurn(AbleMutant):
    """Asks the scheduler with all abilities request by request, as is right; each step can be tampered with."""

    def requests(self, requests: Requests) -> Requests:
        return requests

    def check(self, requests: Requests) -> None:
        check_batch(requests)

    def left(self, request: SchedulingRequest, made: list[Decisions]) -> SchedulingRequest:
        return less_victims(request, made)

    def next(self, view: ClusterView, request: SchedulingRequest, decisions: Decisions) -> ClusterView:
        return with_decisions(view, request.workload, decisions)

    async def decide(self, request: SchedulingRequest, view: ClusterView) -> Decisions:
        return await FullScanScheduler().schedule(request, view)

    async def schedule_batch(self, requests: Requests, view: ClusterView, /) -> list[Decisions]:
        await trio.lowlevel.checkpoint()
        self.check(requests)
        made: list[Decisions] = []
        for request in self.requests(requests):
            decisions = await self.decide(self.left(request, made), view)
            made.append(decisions)
            view = self.next(view, request, decisions)
        return made


def bare(instance: PlacedInstance) -> PlacedInstance:
    """Return an instance of which nothing but its demand is known."""
    return evolve(instance, host_ports=frozenset(), device_thousandths={}, labels={})


def unless_there(before: NodeView | None, after: NodeView) -> NodeView:
    """Return the view of a node on which those that are new hold nothing but their demand."""
    old = before.instances if before is not None else {}
    return node_view(after.node, [each if key in old else bare(each) for key, each in after.instances.items()])


@MUTANTS.breaks("BATCH-1")
class AnswersInOrderOfSize(InTurn):
    async def schedule_batch(self, requests: Requests, view: ClusterView, /) -> list[Decisions]:
        return sorted(await super().schedule_batch(requests, view), key=len)


@MUTANTS.breaks("BATCH-1")
class LeavesOutWhatGotNothing(InTurn):
    async def schedule_batch(self, requests: Requests, view: ClusterView, /) -> list[Decisions]:
        batch = await super().schedule_batch(requests, view)
        return [[each for each in decisions if isinstance(each, AssignNode)] for decisions in batch]


@MUTANTS.breaks("BATCH-1")
class HasAnAnswerToNothing(InTurn):
    async def schedule_batch(self, requests: Requests, view: ClusterView, /) -> list[Decisions]:
        return await super().schedule_batch(requests, view) or [[]]


@MUTANTS.breaks("BATCH-2", "BATCH-3")
class LooksAtTheViewAlone(InTurn):
    def next(self, view: ClusterView, request: SchedulingRequest, decisions: Decisions) -> ClusterView:
        return view


@MUTANTS.breaks("BATCH-2")
class HighestPriorityFirst(InTurn):
    async def schedule_batch(self, requests: Requests, view: ClusterView, /) -> list[Decisions]:
        ranked = sorted(range(len(requests)), key=lambda number: -requests[number].workload.priority)
        batch = await super().schedule_batch([requests[number] for number in ranked], view)
        return [decisions for _, decisions in sorted(zip(ranked, batch, strict=True))]


@MUTANTS.breaks("BATCH-2")
class ExplainsNoAssignment(InTurn):
    async def decide(self, request: SchedulingRequest, view: ClusterView) -> Decisions:
        return await super().decide(evolve(request, explain=False), view)


@MUTANTS.breaks("BATCH-2")
class ExplainsTheViewBeforeTheBatch(InTurn):
    async def schedule_batch(self, requests: Requests, view: ClusterView, /) -> list[Decisions]:
        batch = await super().schedule_batch(requests, view)
        return [
            [await self._retold(request, view, each) for each in decisions]
            for request, decisions in zip(requests, batch, strict=True)
        ]

    async def _retold(
        self, request: SchedulingRequest, view: ClusterView, decision: ScheduleDecision
    ) -> ScheduleDecision:
        if isinstance(decision, AssignNode):
            return decision
        (alone,) = await self.decide(evolve(request, slots=(decision.slot,), minimum=0, explain=True), view)
        return evolve(decision, explanation=alone.explanation or decision.explanation)


@MUTANTS.breaks("BATCH-3")
class CountsRoomAlone(InTurn):
    """Ports, devices and labels of what the requests before have got are lost."""

    def next(self, view: ClusterView, request: SchedulingRequest, decisions: Decisions) -> ClusterView:
        after = super().next(view, request, decisions)
        return StaticClusterView.hypothetical(unless_there(view.get(each.node.id), each) for each in after)


@MUTANTS.breaks("BATCH-3")
class CountsOneSlotOfEach(InTurn):
    def next(self, view: ClusterView, request: SchedulingRequest, decisions: Decisions) -> ClusterView:
        return super().next(view, request, decisions[:1])


@MUTANTS.breaks("BATCH-4")
class PushesOutTheSameTwice(InTurn):
    """Who was pushed out for a request before is there again for the next."""

    def next(self, view: ClusterView, request: SchedulingRequest, decisions: Decisions) -> ClusterView:
        kept = [evolve(each, victims=()) if isinstance(each, AssignNode) else each for each in decisions]
        return super().next(view, request, kept)


@MUTANTS.breaks("BATCH-4")
class HasBudgetsForEach(InTurn):
    def left(self, request: SchedulingRequest, made: list[Decisions]) -> SchedulingRequest:
        return request


@MUTANTS.breaks("BATCH-4")
class CountsSlotsAgainstBudgets(InTurn):
    """Takes a budget for used up as soon as anything was placed."""

    def left(self, request: SchedulingRequest, made: list[Decisions]) -> SchedulingRequest:
        placed = any(isinstance(each, AssignNode) for decisions in made for each in decisions)
        return evolve(request, budgets=dict.fromkeys(request.budgets, 0)) if placed else request


@MUTANTS.breaks("BATCH-5")
class HoldsRoomForGangs(InTurn):
    """What a gang that was refused would have had is kept free for it."""

    def __init__(self) -> None:
        self._kept: dict[int, Decisions] = {}

    async def decide(self, request: SchedulingRequest, view: ClusterView) -> Decisions:
        self._kept[id(request.workload)] = await super().decide(evolve(request, minimum=0), view)
        return await super().decide(request, view)

    def next(self, view: ClusterView, request: SchedulingRequest, decisions: Decisions) -> ClusterView:
        return super().next(view, request, self._kept[id(request.workload)])


@MUTANTS.breaks("BATCH-5")
class GivesUpAfterAGang(InTurn):
    """Takes the minimum for one of the whole batch: once a gang is refused, so is what comes after it."""

    def __init__(self) -> None:
        self._refused = False

    async def decide(self, request: SchedulingRequest, view: ClusterView) -> Decisions:
        decisions = await super().decide(request, StaticClusterView() if self._refused else view)
        self._refused |= request.minimum > 1 and not any(isinstance(each, AssignNode) for each in decisions)
        return decisions


@MUTANTS.breaks("BATCH-6")
class TakesBatchesForDone(InTurn):
    """Remembers what a batch was decided to make of a view, and answers who asks about that view accordingly."""

    def __init__(self) -> None:
        self._done: dict[int, ClusterView] = {}

    def next(self, view: ClusterView, request: SchedulingRequest, decisions: Decisions) -> ClusterView:
        after = super().next(view, request, decisions)
        self._done[view.revision] = after
        return after

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        return await super().schedule(request, self._done.get(view.revision, view))


@MUTANTS.breaks("BATCH-6")
class KeepsItsLastView(InTurn):
    """An index that is left as the batch has made it, and is taken for what later views have changed little of."""

    def __init__(self) -> None:
        self._latest: ClusterView | None = None

    def next(self, view: ClusterView, request: SchedulingRequest, decisions: Decisions) -> ClusterView:
        self._latest = super().next(view, request, decisions)
        return self._latest

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        latest = self._latest
        if latest is None:
            return await super().schedule(request, view)
        return await super().schedule(request, StaticClusterView.hypothetical(latest))


@MUTANTS.breaks("BATCH-7")
class NotesTheBatchBeforeItWaits(InTurn):
    def __init__(self) -> None:
        self._begun = 0

    async def schedule_batch(self, requests: Requests, view: ClusterView, /) -> list[Decisions]:
        self._begun += 1
        batch = await super().schedule_batch(requests, view if self._begun == 1 else StaticClusterView())
        self._begun = 0
        return batch


@MUTANTS.breaks("BATCH-7")
class IsDoneAtOnceWithNothing(InTurn):
    async def schedule_batch(self, requests: Requests, view: ClusterView, /) -> list[Decisions]:
        return await super().schedule_batch(requests, view) if requests else []


@MUTANTS.breaks("BATCH-7")
class CanNotBeCancelled(InTurn):
    async def schedule_batch(self, requests: Requests, view: ClusterView, /) -> list[Decisions]:
        batch: list[Decisions] = []
        with trio.CancelScope(shield=True):
            batch += await super().schedule_batch(requests, view)
        return batch


@MUTANTS.breaks("BATCH-8")
class KeepsTheBatchInItself(InTurn):
    async def schedule_batch(self, requests: Requests, view: ClusterView, /) -> list[Decisions]:
        self._view = view
        await trio.lowlevel.checkpoint()
        return await super().schedule_batch(requests, self._view)


@MUTANTS.breaks("BATCH-8")
class AnswersOthersFromTheMidstOfABatch(InTurn):
    def __init__(self) -> None:
        self._midst: ClusterView | None = None

    def next(self, view: ClusterView, request: SchedulingRequest, decisions: Decisions) -> ClusterView:
        self._midst = super().next(view, request, decisions)
        return self._midst

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        return await super().schedule(request, self._midst or view)

    async def schedule_batch(self, requests: Requests, view: ClusterView, /) -> list[Decisions]:
        batch = await super().schedule_batch(requests, view)
        self._midst = None
        return batch


@MUTANTS.breaks("BATCH-9")
class TakesSlotsTwice(InTurn):
    def check(self, requests: Requests) -> None:
        for request in requests:
            check_batch([request])


@MUTANTS.breaks("BATCH-9")
class TellsSlotsApartByTheirWorkloads(InTurn):
    """Looks for a slot twice only where the very same definition asks for it."""

    def check(self, requests: Requests) -> None:
        for request in requests:
            check_batch([other for other in requests if other.workload is request.workload])


@MUTANTS.breaks("BATCH-9")
class DecidesUpToTheBadOne(InTurn):
    async def schedule_batch(self, requests: Requests, view: ClusterView, /) -> list[Decisions]:
        good: list[SchedulingRequest] = []
        for request in requests:
            try:
                check_batch([*good, request])
            except InvalidSchedulingRequest:
                break
            good.append(request)
        return await super().schedule_batch(good, view)


@pytest.mark.parametrize(("clause", "kind"), MUTANTS.parameters())
def test_the_kit_kills(clause: str, kind: MutantKind) -> None:
    assert failed_checks(clause, kind)
