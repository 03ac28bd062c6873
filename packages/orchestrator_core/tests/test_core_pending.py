"""What waits for a place: who goes first, what wakes it, and that nobody is left behind."""

from __future__ import annotations

import pytest
import trio
from attrs import evolve
from orchestrion.mocks import CursorScheduler
from orchestrion.orchestrator_core import WorkloadPhase
from orchestrion.scheduler_interface import ClusterView, FullScanScheduler, ScheduleDecision, SchedulingRequest
from orchestrion.shared_types import (
    Disruption,
    InstanceAffinity,
    MissPolicy,
    Placement,
    Resources,
    Taint,
    TaintEffect,
    WorkloadDefinition,
)

from .core_stage import NODE, SECOND, THIRD, Stage, batch, container, service

WHOLE = (container("main", "run", resources=Resources(cpu_millicores=4000)),)
"""One instance that fills a node."""
HALF = (container("main", "run", resources=Resources(cpu_millicores=2000)),)


class _Counting(CursorScheduler):
    """Counts how often it was asked for which workload."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[str, int] = {}

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> list[ScheduleDecision]:
        name = request.workload.metadata.name
        self.asked[name] = self.asked.get(name, 0) + 1
        return await super().schedule(request, view)


async def _count(stage: Stage) -> _Counting:
    """Let a scheduler decide that counts."""
    await stage.end()
    scheduler = _Counting()
    stage.scheduler = lambda: scheduler
    await stage.start()
    return scheduler


async def fill(stage: Stage, *waiting: WorkloadDefinition) -> None:
    """Fill every node, and apply what then has to wait, one after the other."""
    await stage.apply(service("full", replicas=3, containers=WHOLE))
    for workload in waiting:
        await stage.apply(workload)
        assert stage.running(workload.metadata.name) == []


async def free_one(stage: Stage, left: int) -> None:
    """Make room for one more."""
    await stage.orchestrator.scale("full", left)
    await stage.settle()


def names(stage: Stage) -> set[str]:
    """Return of which workloads something runs, but for those that fill."""
    return {container.options.workload for container in stage.running()} - {"full"}


async def test_the_highest_priority_gets_the_room_whoever_came_first(stage: Stage) -> None:
    await fill(
        stage,
        service("low", containers=WHOLE, priority=-5),
        service("mid", containers=WHOLE, priority=0),
        service("high", containers=WHOLE, priority=7),
    )
    order = []
    for left in (2, 1, 0):
        before = names(stage)
        await free_one(stage, left)
        order.append(names(stage) - before)
    assert order == [{"high"}, {"mid"}, {"low"}]


async def test_of_equals_who_came_first_goes_first(stage: Stage) -> None:
    await fill(stage, service("b", containers=WHOLE), service("a", containers=WHOLE))
    await free_one(stage, 2)
    assert names(stage) == {"b"}


async def test_an_apply_of_many_places_the_highest_priority_first(stage: Stage) -> None:
    await stage.apply(
        *(service(f"low{n}", containers=WHOLE, priority=0) for n in range(3)),
        *(service(f"high{n}", containers=WHOLE, priority=1) for n in range(2)),
    )
    assert {"high0", "high1"} <= names(stage)
    assert len(names(stage)) == 3


async def test_long_waiting_makes_up_for_priority(stage: Stage) -> None:
    await fill(stage, service("patient", containers=WHOLE, priority=0))
    await trio.sleep(310)
    await stage.apply(service("urgent", containers=WHOLE, priority=49))
    await free_one(stage, 2)
    assert names(stage) == {"patient"}


async def test_equals_take_turns_at_the_room_that_there_comes(stage: Stage) -> None:
    """Room for two comes three times, and each could use all of it."""
    await fill(stage, service("a", replicas=6, containers=HALF), service("b", replicas=6, containers=HALF))
    running = []
    for left in (2, 1, 0):
        await free_one(stage, left)
        running.append((len(stage.running("a")), len(stage.running("b"))))
    assert running == [(2, 0), (2, 2), (4, 2)]


async def test_what_needs_more_than_became_free_is_not_tried(stage: Stage) -> None:
    scheduler = await _count(stage)
    await stage.apply(service("full", replicas=6, containers=HALF))
    await stage.apply(service("big", containers=WHOLE))
    asked = scheduler.asked["big"]
    await stage.orchestrator.scale("full", 5)
    await stage.settle()
    assert scheduler.asked["big"] == asked
    await stage.orchestrator.scale("full", 0)
    await stage.settle()
    assert names(stage) == {"big"}


async def test_only_one_of_many_is_asked_about_when_one_place_becomes_free(stage: Stage) -> None:
    scheduler = await _count(stage)
    await fill(stage, *(service(f"s{n}", containers=WHOLE) for n in range(5)))
    before = dict(scheduler.asked)
    await free_one(stage, 2)
    assert len(names(stage)) == 1
    assert sum(scheduler.asked.values()) - sum(before.values()) == 1


async def test_what_sleeps_is_not_asked_about_because_of_its_own_instances(stage: Stage) -> None:
    scheduler = await _count(stage)
    await stage.apply(service("web", replicas=4, containers=WHOLE))
    asked = scheduler.asked["web"]
    for running in stage.running("web"):
        stage.exit(running)
        await trio.sleep(30)
    assert len(stage.running("web")) == 3
    assert scheduler.asked["web"] == asked


async def test_another_template_is_tried_at_once(stage: Stage) -> None:
    await fill(stage, service("web", containers=WHOLE))
    none = (container("main", "run", resources=Resources()),)
    await stage.apply(service("web", containers=none))
    assert names(stage) == {"web"}


async def test_what_was_given_up_on_is_tried_again_after_a_long_time_whatever_happens(stage: Stage) -> None:
    scheduler = await _count(stage)
    await fill(stage, service("web", containers=WHOLE))
    asked = scheduler.asked["web"]
    await trio.sleep(290)
    assert scheduler.asked["web"] == asked
    await trio.sleep(20)
    assert scheduler.asked["web"] == asked + 1


@pytest.mark.parametrize("change", ["uncordon", "taint", "label", "add"])
async def test_each_change_of_a_node_that_makes_room_places_what_waits(stage: Stage, change: str) -> None:
    nodes = {node_id: stage.cluster.get_node(node_id) for node_id in (NODE, SECOND, THIRD)}
    for node in nodes.values():
        assert node is not None
        stage.cluster.update_node(
            evolve(
                node,
                cordoned=change == "uncordon",
                taints=(Taint("a", "", TaintEffect.NO_SCHEDULE),) if change == "taint" else (),
            )
        )
    select = {"disk": "ssd"} if change in ("label", "add") else {}
    await stage.apply(service("web", placement=Placement(select=select)))
    assert names(stage) == set()
    known = nodes[SECOND]
    assert known is not None
    labelled = evolve(known, labels={"disk": "ssd"})
    if change == "add":
        stage.cluster.remove_node(SECOND)
        await stage.settle()
        stage.cluster.add_node(labelled)
    else:
        stage.cluster.update_node(labelled)
    await trio.sleep(1)
    assert stage.where("web") == [SECOND]


async def test_whom_it_waits_for_wakes_what_is_to_be_beside_it(stage: Stage) -> None:
    await stage.end()
    stage.scheduler = FullScanScheduler
    await stage.start()
    beside = Placement(instance_affinities=(InstanceAffinity(match_labels={"app": "db"}, by="node"),))
    await stage.apply(service("web", placement=beside))
    assert names(stage) == set()
    await stage.apply(service("db", labels={"app": "db"}))
    await trio.sleep(2)
    assert stage.where("web") == stage.where("db")


async def test_short_jobs_that_wait_for_one_another_lose_no_time(stage: Stage) -> None:
    """Six jobs of ten seconds on three nodes take twenty seconds and next to nothing."""
    job = (container("main", "exit", "0", "after", "10s", resources=Resources(cpu_millicores=4000)),)
    for number in range(6):
        await stage.apply(batch(f"job{number}", containers=job))
    await trio.sleep(21)
    assert [(await stage.view(f"job{n}")).phase for n in range(6)] == [WorkloadPhase.SUCCEEDED] * 6


async def test_a_budget_that_grows_lets_a_higher_priority_in_with_the_next_pass(stage: Stage) -> None:
    """No change of the cluster tells of it."""
    await stage.end()
    stage.scheduler = FullScanScheduler
    await stage.start()
    for budget in (0, 1):
        low = service("low", replicas=3, containers=WHOLE, priority=0, disruption=Disruption(max_unavailable=budget))
        await stage.apply(low)
        if budget == 0:
            await stage.apply(service("high", containers=WHOLE, priority=10))
            assert stage.running("high") == []
    await trio.sleep(31)
    assert (len(stage.running("low")), len(stage.running("high"))) == (2, 1)


async def test_explain_says_when_the_next_try_is(stage: Stage) -> None:
    await fill(stage, service("web", containers=WHOLE))
    (placement,) = await stage.orchestrator.explain("web")
    assert placement.text.endswith("; next try when something changes that can help, and in 300 s in any case")


async def test_explain_is_about_the_cluster_as_it_is_now(stage: Stage) -> None:
    await fill(stage, service("web", containers=WHOLE))
    for node_id in (NODE, SECOND):
        node = stage.cluster.get_node(node_id)
        assert node is not None
        stage.cluster.update_node(evolve(node, cordoned=True))
    await stage.settle()
    (placement,) = await stage.orchestrator.explain("web")
    assert "2 nodes: cordoned" in placement.text


async def test_a_back_off_is_shown_with_its_end(stage: Stage) -> None:
    """Whoever asks for neighbours can't be sure: the change was worth a try, and it is soon after one in vain."""
    await stage.end()
    stage.scheduler = FullScanScheduler
    await stage.start()
    beside = Placement(instance_affinities=(InstanceAffinity(match_labels={"app": "db"}, by="node"),))
    await stage.apply(service("web", placement=beside, containers=WHOLE))
    await stage.apply(service("db", labels={"app": "db"}, containers=HALF))
    view = await stage.view("web")
    assert view.phase is WorkloadPhase.PENDING
    assert view.message.endswith("; next try in 1 s")
    await trio.sleep(1)
    assert not (await stage.view("web")).message.endswith("; next try in 1 s")


async def test_a_try_without_a_change_writes_nothing_whatever_it_finds(stage: Stage) -> None:
    """Why there is no place may be otherwise since; that is told to who asks."""
    await fill(stage, service("web", containers=WHOLE))
    node = stage.cluster.get_node(NODE)
    assert node is not None
    stage.cluster.update_node(evolve(node, cordoned=True))
    await trio.sleep(200)
    writes = stage.orchestrator.cluster_loop.writes, len(await stage.orchestrator.events())
    await trio.sleep(200)
    assert (stage.orchestrator.cluster_loop.writes, len(await stage.orchestrator.events())) == writes


async def test_a_batch_that_finds_no_place_in_time_fails_if_it_says_so(stage: Stage) -> None:
    late = batch(
        "late", containers=WHOLE, start_within_seconds=60, missed_start=MissPolicy.DROP, priority=0, preempts=False
    )
    await fill(stage, late)
    await trio.sleep(59)
    assert (await stage.view("late")).phase is WorkloadPhase.PENDING
    await trio.sleep(2)
    view = await stage.view("late")
    assert (view.phase, view.reason) == (WorkloadPhase.FAILED, "not-started")
    assert view.message == "it found no place within 60 s"
    await free_one(stage, 2)
    assert stage.running("late") == []


async def test_a_batch_that_is_late_goes_on_waiting_and_is_told_of_once(stage: Stage) -> None:
    await fill(stage, batch("late", containers=WHOLE, start_within_seconds=60))
    await trio.sleep(200)
    assert (await stage.event_reasons("workload/late")).count("Late") == 1
    view = await stage.view("late")
    assert (view.phase, view.reason) == (WorkloadPhase.PENDING, "unplaceable")
    assert view.message.endswith("; it found no place within 60 s")
    await free_one(stage, 2)
    view = await stage.view("late")
    assert (view.phase, view.reason, view.message) == (
        WorkloadPhase.RUNNING,
        "late",
        "it found no place within 60 s",
    )


async def test_a_restart_does_not_put_off_when_a_start_is_missed(stage: Stage) -> None:
    await fill(stage, batch("late", containers=WHOLE, start_within_seconds=60, missed_start=MissPolicy.DROP))
    await trio.sleep(40)
    await stage.restart()
    await trio.sleep(21)
    assert (await stage.view("late")).phase is WorkloadPhase.FAILED


async def test_what_has_a_place_in_time_may_wait_for_others(stage: Stage) -> None:
    """The first place is what counts."""
    await stage.apply(service("full", replicas=2, containers=WHOLE))
    await stage.apply(
        batch("job", completions=2, containers=WHOLE, start_within_seconds=60, missed_start=MissPolicy.DROP)
    )
    await trio.sleep(120)
    assert len(stage.running("job")) == 1


async def test_of_equals_the_earliest_start_goes_first(stage: Stage) -> None:
    await fill(
        stage,
        batch("whenever", containers=WHOLE),
        batch("later", containers=WHOLE, start_within_seconds=200),
        batch("soon", containers=WHOLE, start_within_seconds=100),
    )
    order = []
    for left in (2, 1, 0):
        before = names(stage)
        await free_one(stage, left)
        order.append(names(stage) - before)
    assert order == [{"soon"}, {"later"}, {"whenever"}]
