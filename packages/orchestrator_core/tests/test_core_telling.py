"""A scheduler that takes it into account is told what became of instances; nothing of that is written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import pytest
import trio
from attrs import evolve
from orchestrion.orchestrator_core import WorkloadPhase
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    FullScanScheduler,
    InstanceOutcome,
    OutcomeKind,
    ScheduleDecision,
    Scheduler,
    SchedulingRequest,
)
from orchestrion.shared_types import NodeId, RestartPolicy
from trio.testing import MockClock

from .core_stage import NODE, SECOND, THIRD, BadNodeRuntime, Stage, batch, service

AT_ONCE = RestartPolicy(initial_delay_seconds=0.0, jitter=0.0)


class Listening(FullScanScheduler):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[int, OutcomeKind, NodeId]] = []
        self.times: list[float] = []
        self.around: list[int] = []

    def observe(self, outcomes: Iterable[InstanceOutcome], /, *, now_seconds: float) -> None:
        told = list(outcomes)
        self.heard += [(each.slot.index, each.kind, each.node_id) for each in told]
        self.around += [len(each.around.instances) for each in told if each.around is not None]
        self.times.append(now_seconds)
        super().observe(told, now_seconds=now_seconds)


class Deaf(FullScanScheduler):
    """Fails when it is told anything."""

    def observe(self, outcomes: Iterable[InstanceOutcome], /, *, now_seconds: float) -> None:
        msg = "not now"
        raise RuntimeError(msg)


@asynccontextmanager
async def acting(make: Callable[[], Scheduler]) -> AsyncIterator[Stage]:
    async with trio.open_nursery() as nursery:
        stage = Stage.build(nursery, 3)
        stage.scheduler = make
        stage.runtime_class = BadNodeRuntime
        await stage.start()
        yield stage
        nursery.cancel_scope.cancel()
    assert stage.forbidden == []


async def nodes_of(stage: Stage, name: str) -> set[NodeId]:
    return {each.binding.node_id for each in await stage.orchestrator.list_instances(workload=name)}


def heard(stage: Stage) -> list[tuple[int, OutcomeKind, NodeId]]:
    scheduler = stage.orchestrator.scheduler
    assert isinstance(scheduler, Listening)
    return scheduler.heard


async def test_after_one_failed_start_a_scheduler_that_is_told_prefers_other_nodes(autojump_clock: MockClock) -> None:
    async with acting(FullScanScheduler) as stage:
        await stage.apply(batch("first", restart=AT_ONCE))
        assert await nodes_of(stage, "first") == {NODE}
        await trio.sleep(1)
        await stage.apply(batch("second", completions=3, restart=AT_ONCE))
        assert not await nodes_of(stage, "second") & {NODE}
        assert (await stage.view("second")).phase is WorkloadPhase.SUCCEEDED


async def test_who_begins_is_told_of_all_that_is_on_record(autojump_clock: MockClock) -> None:
    async with acting(Listening) as stage:
        await stage.apply(batch("first", restart=AT_ONCE))
        await trio.sleep(1)
        before = set(heard(stage))
        await stage.restart()
        await trio.sleep(1)
        assert set(heard(stage)) == before != set()
        await stage.apply(batch("second", restart=AT_ONCE))
        assert not await nodes_of(stage, "second") & {NODE}


async def test_each_way_of_an_instance_is_told(autojump_clock: MockClock) -> None:
    async with acting(Listening) as stage:
        await stage.apply(batch("job", restart=AT_ONCE))
        await trio.sleep(1)
        assert heard(stage)[-1] == (0, OutcomeKind.RELEASED, NODE)
        assert {kind for _, kind, _ in heard(stage)} == {
            OutcomeKind.PLACED,
            OutcomeKind.START_FAILED,
            OutcomeKind.RELEASED,
        }

        del heard(stage)[:]
        await stage.apply(batch("good", restart=AT_ONCE), batch("bad", "exit", "1", restart=AT_ONCE))
        await trio.sleep(1)
        assert {OutcomeKind.STARTED, OutcomeKind.SUCCEEDED, OutcomeKind.FAILED} <= {each[1] for each in heard(stage)}
        assert not {each[2] for each in heard(stage)} & {NODE}

        del heard(stage)[:]
        await stage.apply(service("web"))
        (node_id,) = stage.where("web")
        stage.down(node_id)
        await trio.sleep(60)
        assert (0, OutcomeKind.RELEASED, node_id) in heard(stage)


async def test_the_node_is_told_without_the_instance(autojump_clock: MockClock) -> None:
    async with acting(Listening) as stage:
        await stage.apply(service("web", replicas=2))
        await trio.sleep(1)
        scheduler = stage.orchestrator.scheduler
        assert isinstance(scheduler, Listening)
        assert scheduler.around
        assert max(scheduler.around) <= 1


async def test_where_nothing_happens_the_time_is_told_and_nothing_written(autojump_clock: MockClock) -> None:
    async with acting(Listening) as stage:
        assert isinstance(stage.runtime, BadNodeRuntime)
        stage.runtime.broken = frozenset()
        await stage.apply(service("web"))
        await trio.sleep(120)
        scheduler, revision = stage.orchestrator.scheduler, stage.orchestrator.world.revision
        assert isinstance(scheduler, Listening)
        del scheduler.heard[:]
        times = len(scheduler.times)
        await trio.sleep(600)
        assert scheduler.heard == []
        assert 8 <= len(scheduler.times) - times <= 12
        assert stage.orchestrator.world.revision == revision


async def test_a_scheduler_that_fails_when_told_still_decides(autojump_clock: MockClock) -> None:
    async with acting(Deaf) as stage:
        await stage.apply(service("web", replicas=2))
        await trio.sleep(300)
        await stage.apply(service("other"))
        assert len(await stage.instances("other")) == 1
        assert await stage.event_reasons("cluster/default") == ["SchedulerFault"]


class Vanishing(FullScanScheduler):
    """Lets the first node leave the cluster once it has been chosen, before the answer is given."""

    stage: Stage

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> list[ScheduleDecision]:
        decisions = await super().schedule(request, view)
        if self.stage.cluster.get_node(NODE) is not None and not request.explain:
            assert {each.node_id for each in decisions if isinstance(each, AssignNode)} == {NODE}
            self.stage.cluster.remove_node(NODE)
            while NODE in self.stage.orchestrator.cluster_loop.nodes:
                await trio.sleep(0.01)
        return decisions


@pytest.mark.parametrize("replicas", [1, 4])
async def test_a_node_that_vanishes_between_view_and_commit_gets_nothing(
    autojump_clock: MockClock, replicas: int
) -> None:
    async with acting(Vanishing) as stage:
        Vanishing.stage = stage
        await stage.apply(evolve(service("web", replicas=replicas)))
        await trio.sleep(1)
        assert len(stage.where("web")) == replicas
        assert {*stage.where("web")} <= {SECOND, THIRD}
        assert [each.key.epoch for each in await stage.orchestrator.list_instances(workload="web")] == [1] * replicas
