"""Gangs: instances that come up together or not at all, and what becomes of them afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from attrs import evolve
from orchestrion.mocks import CursorScheduler
from orchestrion.orchestrator_core import Unschedulable, WorkloadPhase
from orchestrion.orchestrator_core._cluster.plan import MAX_TOGETHER
from orchestrion.orchestrator_core._cluster.pushing import in_parts
from orchestrion.scheduler_interface import (
    ClusterView,
    Explanation,
    FullScanScheduler,
    NoPlacement,
    ScheduleDecision,
    SchedulerCapability,
    SchedulingRequest,
)
from orchestrion.shared_types import (
    MAX_GANG,
    ConfigInvalid,
    ContainerConfig,
    Disruption,
    Gang,
    MissPolicy,
    Placement,
    Resources,
    RestartPolicy,
    UpdateStrategy,
    WorkloadDefinition,
)
from orchestrion.store_interface import MAX_OPERATIONS
from trio.testing import MockClock

from .core_stage import NODE, SECOND, THIRD, Stage, after, batch, container, service, staged

ALL = Gang()


@pytest.fixture(params=[CursorScheduler, FullScanScheduler], ids=["no ability", "with the ability"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """Give an orchestrator at work on three nodes of two halves each."""
    async with staged(3, scheduler=request.param) as made:
        yield made


def halves(count: int = 1, *command: str, grace: float = 0.0) -> tuple[ContainerConfig, ...]:
    """Return containers that take so many halves of a node."""
    resources = Resources(cpu_millicores=2000 * count)
    return (container("main", *command, resources=resources, stop_grace_seconds=grace),)


def gang(replicas: int = 5, least: Gang = ALL, **fields: Any) -> WorkloadDefinition:
    """Return a service whose instances come up together and take half a node each."""
    fields.setdefault("containers", halves())
    return service("gang", replicas=replicas, gang=least, **fields)


def work(completions: int, *command: str, least: Gang = ALL, **fields: Any) -> WorkloadDefinition:
    """Return batch work whose instances come up together and take half a node each."""
    return batch("gang", completions=completions, gang=least, containers=halves(1, *command), **fields)


def others(replicas: int) -> WorkloadDefinition:
    """Return a service that takes so many halves of nodes."""
    return service("others", replicas=replicas, containers=halves())


async def test_a_gang_comes_up_together_where_there_is_room(stage: Stage) -> None:
    await stage.apply(gang(6))
    assert len(stage.running("gang")) == 6
    assert (await stage.view("gang")).phase is WorkloadPhase.HEALTHY


async def test_a_gang_that_lacks_one_place_gets_none(stage: Stage) -> None:
    await stage.apply(others(2))
    await stage.apply(gang(5))
    assert stage.running("gang") == []
    assert await stage.instances("gang") == []


async def test_what_a_refused_gang_would_take_is_free_for_others(stage: Stage) -> None:
    await stage.apply(others(2))
    await stage.apply(gang(5))
    await stage.apply(service("small", replicas=4, containers=halves()))
    assert len(stage.running("small")) == 4


async def test_a_gang_comes_up_as_soon_as_the_last_place_is_free(stage: Stage) -> None:
    await stage.apply(others(3))
    await stage.apply(gang(5))
    await stage.orchestrator.scale("others", 2)
    await trio.sleep(60)
    assert stage.running("gang") == []
    await stage.orchestrator.scale("others", 1)
    await trio.sleep(60)
    assert len(stage.running("gang")) == 5


async def test_beyond_its_minimum_a_gang_takes_what_there_is(stage: Stage) -> None:
    await stage.apply(others(2))
    await stage.apply(gang(6, Gang(minimum=3)))
    assert len(stage.running("gang")) == 4
    await stage.orchestrator.scale("others", 1)
    await trio.sleep(1)
    assert len(stage.running("gang")) == 5


async def test_everybody_who_asks_is_told_how_much_of_a_gang_could_be_placed(stage: Stage) -> None:
    await stage.apply(others(1))
    planned = await stage.orchestrator.plan([gang(6)])
    await stage.apply(gang(6))
    said = "gang of 6: 5 could be placed, 6 needed; 3 nodes: cpu short by 2 cores at best"
    view = await stage.view("gang")
    assert (view.phase, view.reason) == (WorkloadPhase.PENDING, "unplaceable")
    assert view.message.startswith(f"6 instances have no place: {said}")
    explained = await stage.orchestrator.explain("gang")
    assert [one.instance for one in explained] == [f"gang.{slot}" for slot in range(6)]
    assert all(one.text.startswith(said) for one in explained)
    assert [(one.node_id, one.text) for one in planned.placements] == [(None, said)] * 6
    (event,) = [one for one in await stage.orchestrator.events() if one.reason == "Unplaceable"]
    assert event.message == f"6 instances have no place: {said}"


async def test_a_waiting_gang_is_explained_by_the_cluster_as_it_is(stage: Stage) -> None:
    await stage.apply(others(1))
    await stage.apply(gang(6))
    # Less room helps nobody, and nobody is asked again for it.
    await stage.orchestrator.scale("others", 2)
    await trio.sleep(1)
    for one in await stage.orchestrator.explain("gang"):
        assert one.text.startswith("gang of 6: 4 could be placed, 6 needed; 3 nodes: cpu short by 2 cores at best")
        assert "next try" in one.text


async def test_a_gang_that_lacks_one_is_explained_with_those_that_are_there(stage: Stage) -> None:
    await stage.apply(gang(4), others(2))
    await stage.orchestrator.scale("gang", 6)
    await trio.sleep(1)
    for one in await stage.orchestrator.explain("gang"):
        if one.node_id is None:
            assert one.text.startswith("gang of 6: 4 could be placed, 6 needed")


async def test_a_lost_member_is_replaced_and_the_others_go_on(stage: Stage) -> None:
    await stage.apply(gang(5))
    staying = {i.key for i in await stage.instances("gang") if i.binding.node_id != THIRD}
    gone = 5 - len(staying)
    stage.down(THIRD)
    await trio.sleep(60)
    assert {i.key for i in await stage.instances("gang")} >= staying
    stage.back(THIRD)
    await trio.sleep(60)
    assert len(stage.running("gang")) == 5
    assert sum(epoch == 2 for _, epoch in stage.slots("gang")) == gone


async def test_lost_members_come_back_only_where_that_restores_the_minimum(stage: Stage) -> None:
    await stage.apply(gang(6))
    stage.down(THIRD)
    stage.down(SECOND)
    await trio.sleep(60)
    assert stage.where("gang") == [NODE, NODE]
    stage.back(THIRD)
    await trio.sleep(60)
    assert stage.where("gang") == [NODE, NODE]
    assert "gang of 6: 4 could be placed, 6 needed" in (await stage.view("gang")).message
    stage.back(SECOND)
    await trio.sleep(60)
    assert len(stage.running("gang")) == 6


async def test_a_failed_member_of_a_service_is_replaced_by_itself(stage: Stage) -> None:
    policy = RestartPolicy(max_restarts=0, initial_delay_seconds=1.0, jitter=0.0)
    await stage.apply(gang(4, restart=policy))
    running = stage.running("gang")
    stage.exit(running[0])
    await trio.sleep(30)
    assert len(stage.running("gang")) == 4
    assert {one.container_id for one in running[1:]} <= set(stage.ids("gang"))


async def test_an_update_goes_from_one_member_to_the_next(stage: Stage) -> None:
    await stage.apply(gang(6, update=UpdateStrategy(max_surge=0, max_unavailable=1)))
    await stage.apply(
        gang(6, update=UpdateStrategy(max_surge=0, max_unavailable=1), containers=halves(1, "run", "trap", "0"))
    )
    fewest = 6
    for _ in range(100):
        fewest = min(fewest, len(stage.running("gang")))
        await trio.sleep(0.1)
    assert fewest >= 5
    view = await stage.view("gang")
    assert (view.phase, view.updated) == (WorkloadPhase.HEALTHY, 6)


async def test_an_update_that_may_stop_all_at_once_brings_up_the_next_together(stage: Stage) -> None:
    at_once = UpdateStrategy(max_surge=0, max_unavailable=6)
    await stage.apply(gang(6, update=at_once, containers=halves(1, "run", "term-takes", "3s", grace=9.0)))
    await stage.apply(gang(6, update=at_once, containers=halves(1, "run", "trap", "0")))
    seen = set[int]()
    for _ in range(300):
        await trio.sleep(0.1)
        seen.add(sum("trap" in one.config.command for one in stage.running("gang")))
    assert seen == {0, 6}
    assert (await stage.view("gang")).phase is WorkloadPhase.HEALTHY


async def test_a_drained_node_is_left_member_by_member(stage: Stage) -> None:
    await stage.apply(gang(4))
    (first, *_) = sorted(stage.where("gang"))
    await stage.orchestrator.drain_node(first, reason="repair")
    fewest = 4
    for _ in range(100):
        fewest = min(fewest, len(stage.running("gang")))
        await trio.sleep(0.1)
    assert fewest == 4
    assert first not in stage.where("gang")


async def test_a_member_that_is_pushed_out_takes_no_other_with_it(autojump_clock: MockClock) -> None:
    async with staged(3, scheduler=FullScanScheduler) as stage:
        await stage.apply(gang(6, priority=0, preempts=False))
        before = set(stage.ids("gang"))
        await stage.apply(service("high", containers=halves(), priority=100))
        await trio.sleep(60)
        assert len(before & set(stage.ids("gang"))) == 5
        await stage.orchestrator.remove("high")
        await trio.sleep(60)
        assert len(stage.running("gang")) == 6


async def test_a_gang_waits_for_what_it_comes_after(stage: Stage) -> None:
    await stage.apply(batch("first", "exit", "0", "after", "5s"), gang(3, after=after("first")))
    assert await stage.instances("gang") == []
    await trio.sleep(6)
    assert len(stage.running("gang")) == 3


async def test_a_gang_that_finds_no_place_in_time_is_given_up_whole(stage: Stage) -> None:
    await stage.apply(others(3))
    await stage.apply(work(4, "run", start_within_seconds=30.0, missed_start=MissPolicy.DROP))
    await trio.sleep(40)
    view = await stage.view("gang")
    assert (view.phase, view.reason) == (WorkloadPhase.FAILED, "not-started")


async def test_a_gang_that_is_stopped_and_applied_again_comes_up_together_again(stage: Stage) -> None:
    await stage.apply(gang(5))
    await stage.orchestrator.stop("gang")
    await trio.sleep(1)
    await stage.apply(others(2))
    await stage.apply(gang(5))
    await trio.sleep(5)
    assert stage.running("gang") == []
    await stage.orchestrator.remove("others")
    await trio.sleep(60)
    assert len(stage.running("gang")) == 5


async def test_a_gang_that_is_scaled_down_below_its_minimum_is_all_that_is_wanted(stage: Stage) -> None:
    await stage.apply(others(4))
    await stage.apply(gang(5, Gang(minimum=5)))
    await stage.orchestrator.scale("gang", 2)
    await trio.sleep(1)
    assert len(stage.running("gang")) == 2


async def test_those_that_a_whole_gang_is_scaled_up_by_come_up_together(stage: Stage) -> None:
    await stage.apply(gang(2), others(2))
    await stage.orchestrator.scale("gang", 5)
    await trio.sleep(1)
    assert len(stage.running("gang")) == 2
    await stage.orchestrator.scale("others", 1)
    await trio.sleep(1)
    assert len(stage.running("gang")) == 5


async def test_a_gang_is_not_scaled_beyond_what_can_come_up_together(stage: Stage) -> None:
    await stage.apply(gang(2))
    with pytest.raises(ConfigInvalid, match=f"at most {MAX_GANG} can come up together"):
        await stage.orchestrator.scale("gang", MAX_GANG + 1)


async def test_another_minimum_needs_no_update(stage: Stage) -> None:
    await stage.apply(gang(4))
    before = stage.ids("gang")
    await stage.apply(gang(4, Gang(minimum=2)))
    assert stage.ids("gang") == before


async def test_a_gang_that_no_empty_cluster_has_room_for_is_refused_at_once(stage: Stage) -> None:
    stage.orchestrator.refuse_impossible = True
    with pytest.raises(Unschedulable, match=r"not all nodes together could ever run .* gang of 7: 6 could be placed"):
        await stage.orchestrator.apply([gang(7)])
    await stage.apply(gang(7, Gang(minimum=6)))
    assert len(stage.running("gang")) == 6


async def test_batch_work_comes_up_together_and_ends(stage: Stage) -> None:
    await stage.apply(others(3))
    await stage.apply(work(4, "exit", "0", "after", "10s"))
    await trio.sleep(60)
    assert (await stage.view("gang")).phase is WorkloadPhase.PENDING
    await stage.orchestrator.scale("others", 2)
    seen = set[int]()
    for _ in range(60):
        await trio.sleep(1)
        seen.add(len(stage.running("gang")))
    assert seen == {0, 4}
    assert (await stage.view("gang")).phase is WorkloadPhase.SUCCEEDED


async def test_a_failed_index_is_tried_again_by_itself_once_others_have_succeeded(stage: Stage) -> None:
    await stage.apply(work(3, "run", retries=1))
    first, second, third = stage.running("gang")
    stage.exit(second, 0)
    stage.exit(first, 1)
    await trio.sleep(30)
    assert stage.slots("gang") == [(0, 2), (2, 1)]
    assert third.container_id in stage.ids("gang")


async def test_failed_indexes_of_batch_work_come_back_together(stage: Stage) -> None:
    await stage.apply(work(4, "run", retries=3, restart=RestartPolicy(initial_delay_seconds=5.0, jitter=0.0)))
    first, second, *_ = stage.running("gang")
    stage.exit(first, 1)
    await trio.sleep(3)
    stage.exit(second, 1)
    await trio.sleep(3)
    assert [slot for slot, _ in stage.slots("gang")] == [2, 3]
    await trio.sleep(3)
    assert stage.slots("gang") == [(0, 2), (1, 2), (2, 1), (3, 1)]


async def test_a_crash_of_the_orchestrator_leaves_a_waiting_gang_whole(stage: Stage) -> None:
    await stage.apply(others(2))
    await stage.apply(gang(5))
    await stage.restart()
    assert stage.running("gang") == []
    await stage.orchestrator.scale("others", 1)
    await trio.sleep(1)
    assert len(stage.running("gang")) == 5


def _low(replicas: int, *, grace: float = 0.0, **fields: Any) -> WorkloadDefinition:
    command = ("run", "term-takes", f"{grace:g}s") if grace else ("run",)
    containers = halves(1, *command, grace=2 * grace)
    return service("low", replicas=replicas, containers=containers, priority=0, preempts=False, **fields)


@pytest.fixture
async def pushing() -> AsyncIterator[Stage]:
    """Give an orchestrator at work on three nodes of two halves each, with a scheduler that preempts."""
    async with staged(3, scheduler=FullScanScheduler) as made:
        yield made


async def test_a_gang_pushes_out_no_more_than_it_lacks_room_for(pushing: Stage, autojump_clock: MockClock) -> None:
    await pushing.apply(_low(4, grace=5.0))
    await pushing.apply(gang(5, priority=100))
    assert len(await pushing.instances("gang")) == 5
    await trio.sleep(10)
    assert (len(pushing.running("gang")), len(pushing.running("low"))) == (5, 1)


async def test_a_gang_that_can_not_push_its_way_to_its_minimum_pushes_out_nobody(
    pushing: Stage, autojump_clock: MockClock
) -> None:
    await pushing.apply(_low(3), service("high", replicas=2, containers=halves(), priority=100))
    await pushing.apply(gang(5, priority=50))
    await trio.sleep(60)
    assert (len(pushing.running("low")), pushing.running("gang")) == (3, [])
    assert "Preempted" not in [event.reason for event in await pushing.orchestrator.events()]


async def test_a_budget_that_holds_a_gang_back_is_named(pushing: Stage, autojump_clock: MockClock) -> None:
    await pushing.apply(_low(4, disruption=Disruption(max_unavailable=1)))
    await pushing.apply(gang(5, priority=100))
    told = "; it could push out others, but the disruption budget of low lets only 1 of its instances go now: 3 have to"
    explained = await pushing.orchestrator.explain("gang")
    assert len(explained) == 5
    assert all(told in one.text for one in explained)


async def test_no_budget_is_named_where_a_gang_could_not_push_its_way_without_one(
    pushing: Stage, autojump_clock: MockClock
) -> None:
    await pushing.apply(
        _low(2, disruption=Disruption(max_unavailable=0)),
        service("high", replicas=2, containers=halves(), priority=100),
    )
    await pushing.apply(gang(5, priority=50))
    explained = await pushing.orchestrator.explain("gang")
    assert len(explained) == 5
    assert not any("budget" in one.text for one in explained)


async def test_plan_says_whom_a_gang_would_push_out(pushing: Stage, autojump_clock: MockClock) -> None:
    await pushing.apply(_low(4))
    planned = await pushing.orchestrator.plan([gang(5, priority=100)])
    coming = [one for one in planned.placements if one.instance.startswith("gang.")]
    assert [one.node_id is not None for one in coming] == [True] * 5
    assert sum(len(one.victims) for one in coming) == 3


class Halfhearted(FullScanScheduler):
    """Says that it knows of gangs, and places all but the last member."""

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> list[ScheduleDecision]:
        """Refuse the last."""
        decisions = await super().schedule(evolve(request, minimum=0), view)
        return [*decisions[:-1], NoPlacement(slot=decisions[-1].slot, explanation=Explanation())]


async def test_half_a_gang_is_not_believed(autojump_clock: MockClock) -> None:
    async with staged(3, scheduler=Halfhearted) as stage:
        await stage.apply(service("gang", replicas=4, gang=ALL, containers=halves()))
        assert SchedulerCapability.GANG in stage.scheduler().capabilities
        assert await stage.instances("gang") == []
        (failure,) = {one.message for one in await stage.orchestrator.events() if one.reason == "Unplaceable"}
        assert failure.startswith("the scheduler gave places to 3 of a gang that needs 4")


@pytest.mark.slow
async def test_the_largest_gang_is_bound_in_one_transaction(stage: Stage) -> None:
    ready = Placement(select={"ready": "yes"})
    await stage.apply(service("gang", replicas=MAX_GANG + 10, gang=Gang(minimum=MAX_GANG), placement=ready))
    assert await stage.instances("gang") == []
    node = stage.cluster.get_node(NODE)
    assert node is not None
    stage.cluster.update_node(evolve(node, labels={"ready": "yes"}))
    await trio.sleep(60)
    instances = stage.orchestrator.world.instances.values()
    together = Counter(instance.binding_revision for instance in instances)
    assert sorted(together.values()) == [10, MAX_GANG]


def test_a_gangs_transaction_takes_all_that_is_bound_at_once() -> None:
    assert MAX_GANG + 3 <= MAX_OPERATIONS
    for stops in (0, 1, 19, 20, 21, 60, 61, 300):
        for whole in (2, 60, MAX_GANG):
            parts = list(in_parts(range(stops + whole), whole))
            assert [each for part in parts for each in part] == list(range(stops + whole))
            assert all(0 < len(part) <= MAX_TOGETHER for part in parts)
            assert len(parts[-1]) >= whole
