"""A scheduler that does not answer holds up whom it was asked for, and nobody else for long."""

from __future__ import annotations

import pytest
import trio
from orchestrion.mocks import CursorScheduler
from orchestrion.orchestrator_core import WorkloadPhase
from orchestrion.orchestrator_core._cluster.leadership import Campaign
from orchestrion.scheduler_interface import (
    ClusterView,
    FullScanScheduler,
    ScheduleDecision,
    SchedulerUnavailable,
    SchedulingRequest,
)
from orchestrion.shared_types import Resources, SchedulingFailure, WorkloadDefinition
from trio.testing import MockClock

from .core_stage import Stage, container, service, staged


class _Hanging(CursorScheduler):
    """A scheduler that never decides about some workloads, as long as a test says so."""

    stuck: frozenset[str] = frozenset()
    asked = 0

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> list[ScheduleDecision]:
        if request.workload.metadata.name in _Hanging.stuck:
            _Hanging.asked += 1
            await trio.sleep_forever()
        return await super().schedule(request, view)


async def _start(stage: Stage, *stuck: str) -> None:
    _Hanging.stuck, _Hanging.asked = frozenset(stuck), 0
    await stage.end()
    stage.scheduler = _Hanging
    await stage.start()


async def test_others_go_on_where_the_scheduler_hangs_for_one(stage: Stage) -> None:
    await _start(stage, "web")
    await stage.apply(service("web"))
    await stage.orchestrator.apply([service("other")])
    await trio.sleep(11)
    assert len(stage.running("other")) == 1
    assert stage.running("web") == []


async def test_who_waits_for_the_scheduler_is_told_so(stage: Stage) -> None:
    await _start(stage, "web")
    await stage.apply(service("web", replicas=2))
    await trio.sleep(11)
    view = await stage.view("web")
    assert (view.phase, view.reason) == (WorkloadPhase.PENDING, "undecided")
    assert view.message == "waits for the scheduler: the scheduler has not decided for 10 s"
    explained = await stage.orchestrator.explain("web")
    assert [(placed.instance, placed.text) for placed in explained] == [
        ("web.0", view.message),
        ("web.1", view.message),
    ]
    assert "Unplaceable" in await stage.event_reasons("workload/web")


async def test_it_is_placed_once_the_scheduler_decides_again(stage: Stage) -> None:
    await _start(stage, "web")
    await stage.apply(service("web"))
    await trio.sleep(11)
    _Hanging.stuck = frozenset()
    await trio.sleep(60)
    assert len(stage.running("web")) == 1
    view = await stage.view("web")
    assert (view.phase, view.reason) == (WorkloadPhase.HEALTHY, "")


async def test_a_scheduler_that_hangs_for_one_is_asked_ever_more_rarely(stage: Stage) -> None:
    await _start(stage, "web")
    await stage.apply(service("web"))
    for replicas in range(1, 11):
        await stage.apply(service("other", replicas=replicas))
        await trio.sleep(60)
    assert len(stage.running("other")) == 10
    assert _Hanging.asked <= 12


class _HangingPusher(FullScanScheduler):
    """A scheduler that answers where there is room, and never who has to go; that costs its askers `spent` seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.spent = 0.0

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> list[ScheduleDecision]:
        if request.preempt:
            self.asked += 1
            began = trio.current_time()
            try:
                await trio.sleep_forever()
            finally:
                self.spent += trio.current_time() - began
        return await super().schedule(request, view)


def _half(name: str, priority: int, replicas: int = 1) -> WorkloadDefinition:
    resources = Resources(cpu_millicores=2000)
    return service(name, containers=(container(resources=resources),), priority=priority, replicas=replicas)


async def test_a_scheduler_that_never_says_who_has_to_go_is_asked_ever_more_rarely(autojump_clock: MockClock) -> None:
    scheduler = _HangingPusher()
    async with staged(1, scheduler=lambda: scheduler) as stage:
        await stage.apply(_half("low", 0, replicas=2))
        await stage.orchestrator.apply([_half("high", 100)])
        await trio.sleep(11)
        assert (await stage.view("high")).reason == "undecided"
        await trio.sleep(589)
        assert scheduler.asked <= 12
        assert scheduler.spent < 150


async def test_a_scheduler_that_only_fails_has_decided(autojump_clock: MockClock) -> None:
    class Failing(_Hanging):
        async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> list[ScheduleDecision]:
            if not _Hanging.stuck and request.workload.metadata.name == "web":
                raise SchedulingFailure("it does not know the way")
            return await super().schedule(request, view)

    async with staged(1) as stage:
        await _start(stage, "web")
        await stage.end()
        stage.scheduler = Failing
        await stage.start()
        await stage.apply(service("web"))
        await trio.sleep(11)
        assert (await stage.view("web")).reason == "undecided"
        _Hanging.stuck = frozenset()
        await trio.sleep(60)
        assert (await stage.view("web")).reason != "undecided"


async def test_another_template_is_tried_at_once(stage: Stage) -> None:
    await _start(stage, "web")
    await stage.apply(service("web"))
    await trio.sleep(100)
    _Hanging.stuck = frozenset()
    await stage.apply(service("web", "run", "token", "new"))
    await trio.sleep(11)
    assert len(stage.running("web")) == 1


async def test_one_that_is_wanted_no_more_waits_for_no_scheduler(stage: Stage) -> None:
    await _start(stage, "web")
    await stage.apply(service("web"))
    await trio.sleep(11)
    await stage.orchestrator.stop("web")
    await trio.sleep(30)
    assert (await stage.view("web")).phase is WorkloadPhase.STOPPED
    assert await stage.orchestrator.explain("web") == []


async def test_the_lead_is_given_up_only_where_the_scheduler_decides_nothing_for_long(stage: Stage) -> None:
    stage.options["take_over"] = False
    await _start(stage, "web", "other")
    await stage.apply(service("web"))
    led = stage.orchestrator.cluster_loop.leading
    await trio.sleep(11)
    await stage.orchestrator.apply([service("other")])
    assert stage.orchestrator.cluster_loop.leading is led
    with trio.fail_after(60):
        async with Campaign(stage.orchestrator.store, "rival", 10).lead():
            await trio.sleep(0)


async def test_what_runs_is_explained_by_a_scheduler_that_hangs_without_reasons(stage: Stage) -> None:
    await _start(stage)
    await stage.apply(service("web", replicas=3))
    _Hanging.stuck = frozenset({"web"})
    began = trio.current_time()
    explained = await stage.orchestrator.explain("web")
    assert [placed.node_id is None for placed in explained] == [False] * 3
    assert explained[0].text == "the scheduler has not decided for 10 s"
    assert trio.current_time() - began == 10


async def test_a_plan_that_the_scheduler_does_not_answer_fails_in_time(stage: Stage) -> None:
    await _start(stage, "web")
    with pytest.raises(SchedulerUnavailable, match="has not decided"):
        await stage.orchestrator.plan([service("web")])
    stage.orchestrator.refuse_impossible = True
    with pytest.raises(SchedulerUnavailable, match="has not decided"):
        await stage.orchestrator.apply([service("web")])


async def test_whoever_watches_is_told_that_it_waits_for_the_scheduler(stage: Stage) -> None:
    await _start(stage, "web")
    async with stage.orchestrator.watch() as updates:
        await stage.orchestrator.apply([service("web")])
        with trio.fail_after(15):
            async for update in updates:
                if update.workload is not None and update.workload.reason == "undecided":
                    break
