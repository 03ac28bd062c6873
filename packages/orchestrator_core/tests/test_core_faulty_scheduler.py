"""A scheduler plug-in with a fault costs the workload that it was asked about a wait, and nobody else anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import trio
from attrs import evolve
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    FullScanScheduler,
    ScheduleDecision,
    SchedulingRequest,
)
from orchestrion.shared_types import NodeId, Resources, SchedulingFailure, WorkloadDefinition
from trio.testing import MockClock

from .core_stage import NODE, SECOND, Stage, container, daemon, service, staged

Decisions = list[ScheduleDecision]
Fault = Callable[[SchedulingRequest, Decisions], Decisions]


class Faulty:
    """A scheduler that answers wrongly where it is asked about a workload of the name "bad", until it is mended."""

    def __init__(self, fault: Fault) -> None:
        """Answer wrongly in this way."""
        self.scheduler = FullScanScheduler()
        self.capabilities = self.scheduler.capabilities
        self.fault = fault
        self.mended = False
        self.asked = 0

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        """Decide as the other one does, with a fault."""
        decisions = await self.scheduler.schedule(request, view)
        if request.workload.metadata.name != "bad" or self.mended:
            return decisions
        self.asked += 1
        return self.fault(request, decisions)


def nothing(_request: SchedulingRequest, _decisions: Decisions) -> Decisions:
    """Leave out every slot."""
    return []


def twice(_request: SchedulingRequest, decisions: Decisions) -> Decisions:
    """Decide twice about each slot."""
    return [*decisions, *decisions]


def another(_request: SchedulingRequest, decisions: Decisions) -> Decisions:
    """Decide about a slot that nobody has asked about."""
    return [evolve(each, slot=evolve(each.slot, index=99)) for each in decisions]


def no_node(_request: SchedulingRequest, decisions: Decisions) -> Decisions:
    """Choose a node that there is not."""
    return [
        evolve(each, node_id=NodeId("node-of-dreams")) if isinstance(each, AssignNode) else each for each in decisions
    ]


def no_device(_request: SchedulingRequest, decisions: Decisions) -> Decisions:
    """Grant a device that the node does not have."""
    return [
        evolve(each, devices={"main": ("gpu-of-dreams",)}) if isinstance(each, AssignNode) else each
        for each in decisions
    ]


def raising(_request: SchedulingRequest, _decisions: Decisions) -> Decisions:
    """Raise what no scheduler may."""
    raise KeyError("a slip")


def no_list(_request: SchedulingRequest, _decisions: Decisions) -> Decisions:
    """Answer with what is no list of decisions."""
    return None  # type: ignore[return-value] # as an untyped plug-in may


def no_decisions(_request: SchedulingRequest, _decisions: Decisions) -> Decisions:
    """Answer with words."""
    return ["yes"]  # type: ignore[list-item] # as an untyped plug-in may


FAULTS = {
    nothing: "left out 1 of the 1 slots",
    twice: "more than once",
    another: "was not asked about it",
    no_node: "'node-of-dreams', which does not exist",
    no_device: "granted device 'gpu-of-dreams'",
    raising: "the scheduler failed: KeyError: 'a slip'",
    no_list: "the scheduler failed: TypeError",
    no_decisions: "answered with str, which is no decision",
}
every_fault = pytest.mark.parametrize(("fault", "words"), FAULTS.items(), ids=[fault.__name__ for fault in FAULTS])


async def messages(stage: Stage) -> Sequence[str]:
    """Return what was written about the workload whose scheduler is at fault."""
    events = await stage.orchestrator.events(subject="workload/bad")
    return [event.message for event in events if event.reason == "Unplaceable"]


def whole(name: str, priority: int) -> WorkloadDefinition:
    """Return a service of which an instance fills a node."""
    resources = Resources(cpu_millicores=4000)
    containers = (container("main", resources=resources, stop_grace_seconds=0.0),)
    return service(name, containers=containers, priority=priority)


@every_fault
async def test_a_wrong_answer_is_told_and_others_are_placed(
    autojump_clock: MockClock, fault: Fault, words: str
) -> None:
    scheduler = Faulty(fault)
    async with staged(2, scheduler=lambda: scheduler) as stage:
        await stage.apply(service("bad"))
        await stage.apply(service("good"))
        await trio.sleep(60)
        assert (len(stage.running("bad")), len(stage.running("good"))) == (0, 1)
        assert any(words in message for message in await messages(stage))
        scheduler.mended = True
        await trio.sleep(60)
        assert len(stage.running("bad")) == 1


@every_fault
async def test_a_wrong_answer_about_who_has_to_go_pushes_out_nobody(
    autojump_clock: MockClock, fault: Fault, words: str
) -> None:
    def when_pushing(request: SchedulingRequest, decisions: Decisions) -> Decisions:
        return fault(request, decisions) if request.preempt else decisions

    async with staged(1, scheduler=lambda: Faulty(when_pushing)) as stage:
        await stage.apply(whole("low", 0))
        await stage.apply(whole("bad", 100))
        await trio.sleep(60)
        assert (len(stage.running("low")), len(stage.running("bad"))) == (1, 0)
        assert any(words in message for message in await messages(stage))


async def test_a_daemon_is_never_put_on_another_node_than_the_one_asked_for(autojump_clock: MockClock) -> None:
    def first_node(_request: SchedulingRequest, decisions: Decisions) -> Decisions:
        return [evolve(each, node_id=NODE) if isinstance(each, AssignNode) else each for each in decisions]

    scheduler = Faulty(first_node)
    async with staged(2, scheduler=lambda: scheduler) as stage:
        await stage.apply(daemon("bad"))
        await trio.sleep(120)
        assert stage.where("bad") == [NODE]
        assert scheduler.asked < 30
        assert any(f"may only go to {SECOND!r}" in message for message in await messages(stage))


async def test_a_fault_is_written_down_once_for_as_long_as_it_lasts(autojump_clock: MockClock) -> None:
    scheduler = Faulty(raising)
    async with staged(2, scheduler=lambda: scheduler) as stage:
        await stage.apply(service("bad"))
        await trio.sleep(300)
        assert scheduler.asked > 5
        assert len(await messages(stage)) == 1


async def test_a_fault_that_comes_back_is_written_down_again(autojump_clock: MockClock) -> None:
    scheduler = Faulty(raising)
    async with staged(2, scheduler=lambda: scheduler) as stage:
        await stage.apply(service("bad"))
        await trio.sleep(60)
        scheduler.mended = True
        await trio.sleep(60)
        scheduler.mended = False
        await stage.orchestrator.scale("bad", 2)
        await trio.sleep(60)
        assert len(await messages(stage)) == 2


async def test_who_asks_for_a_plan_is_told_what_the_scheduler_did_wrong(autojump_clock: MockClock) -> None:
    async with staged(2, scheduler=lambda: Faulty(another)) as stage:
        with pytest.raises(SchedulingFailure, match="was not asked about it"):
            await stage.orchestrator.plan([service("bad")])
