"""Slots of higher priority take the place of others: who goes, who comes when, and what both are told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable

import pytest
import trio
from attrs import evolve
from orchestrion.mocks import CursorScheduler, MockRuntime
from orchestrion.orchestrator_core import SlotPlacement, Timings, WorkloadPhase
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    FullScanScheduler,
    ScheduleDecision,
    Scheduler,
    SchedulingRequest,
)
from orchestrion.shared_types import (
    ContainerConfig,
    ContainerId,
    Disruption,
    Gang,
    InstanceState,
    Placement,
    Resources,
    UpdateStrategy,
    WorkloadDefinition,
)
from trio.testing import MockClock

from .core_stage import NODE, SECOND, Stage, batch, container, daemon, service, staged

Kind = Callable[..., WorkloadDefinition]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """Give an orchestrator at work on two nodes of 8 half cores each, with a scheduler that preempts."""
    async with staged(2, scheduler=FullScanScheduler) as made:
        yield made


def halves(count: int, *command: str, grace: float = 0.0) -> tuple[ContainerConfig, ...]:
    """Return containers that take so many half cores."""
    resources = Resources(cpu_millicores=500 * count)
    return (container("main", *command, resources=resources, stop_grace_seconds=grace),)


def low(name: str = "low", *, replicas: int = 2, grace: float = 0.0, **fields: object) -> WorkloadDefinition:
    """Return a service of which an instance fills half a node, and that nobody would miss."""
    fields.setdefault("priority", 0)
    stubborn = ("run", "term-takes", f"{grace:g}s") if grace else ("run",)
    return service(name, containers=halves(4, *stubborn, grace=2 * grace), replicas=replicas, preempts=False, **fields)


def high(name: str = "high", *, count: int = 4, **fields: object) -> WorkloadDefinition:
    """Return a service that goes before others."""
    fields.setdefault("priority", 100)
    return service(name, containers=halves(count), **fields)


def on_node(stage: Stage) -> dict[str, int]:
    """Return how many half cores are in use on each node by what really runs."""
    used = dict.fromkeys((NODE, SECOND), 0)
    for one in stage.running():
        used[one.options.node_id] += one.config.resources.cpu_millicores // 500
    return {str(node_id): count for node_id, count in used.items()}


async def test_where_there_is_room_nobody_has_to_go(stage: Stage) -> None:
    await stage.apply(low(replicas=3))
    await stage.apply(high())
    assert (len(stage.running("low")), len(stage.running("high"))) == (3, 1)


async def test_a_slot_without_a_place_takes_that_of_a_lower_priority(stage: Stage) -> None:
    await stage.apply(low(replicas=4))
    await stage.apply(high())
    assert (len(stage.running("low")), len(stage.running("high"))) == (3, 1)
    assert on_node(stage) == {NODE: 8, SECOND: 8}


async def test_as_many_go_as_have_to_and_no_more(stage: Stage) -> None:
    await stage.apply(low(replicas=4))
    await stage.apply(high(count=8))
    assert (len(stage.running("low")), len(stage.running("high"))) == (2, 1)


async def test_the_slot_starts_only_once_its_victims_have_ended(stage: Stage) -> None:
    await stage.apply(low(replicas=4, grace=5.0))
    await stage.apply(high())
    await trio.sleep(4)
    assert stage.running("high") == []
    (waiting,) = await stage.instances("high")
    assert waiting.status.state is InstanceState.PENDING
    (victim,) = [i for i in await stage.instances("low") if i.status.state is InstanceState.TERMINATING]
    assert waiting.status.message == f"waits for {victim.name} to end"
    assert waiting.binding.waits_for == (victim.key,)
    await trio.sleep(2)
    assert len(stage.running("high")) == 1
    assert (await stage.instances("high"))[0].status.message == ""


async def test_at_no_time_more_runs_on_a_node_than_it_has(stage: Stage) -> None:
    await stage.apply(low(replicas=4, grace=3.0))
    await stage.apply(high(replicas=3))
    for _ in range(50):
        assert all(used <= 8 for used in on_node(stage).values())
        await trio.sleep(0.1)
    assert len(stage.running("high")) == 3


@pytest.mark.parametrize("gang", [None, Gang()], ids=["one by one", "together"])
async def test_who_shares_the_room_of_one_victim_waits_for_it_too(stage: Stage, gang: Gang | None) -> None:
    fills = service("low", containers=halves(8, "run", "term-takes", "3s", grace=6.0), replicas=2, priority=0)
    await stage.apply(evolve(fills, preempts=False))
    await stage.apply(high(replicas=2, gang=gang))
    for _ in range(50):
        assert all(used <= 8 for used in on_node(stage).values())
        await trio.sleep(0.1)
    assert len(stage.running("high")) == 2


async def test_the_room_that_becomes_free_is_not_given_to_anybody_else(stage: Stage) -> None:
    await stage.apply(low(replicas=4, grace=5.0))
    await stage.apply(high())
    await stage.apply(low("other", replicas=1, priority=50))
    await trio.sleep(20)
    assert (len(stage.running("high")), len(stage.running("other"))) == (1, 0)


async def test_a_victim_is_replaced_as_soon_as_there_is_room_for_it(stage: Stage) -> None:
    await stage.apply(low(replicas=4))
    await stage.apply(high())
    assert (await stage.view("low")).phase is WorkloadPhase.PENDING
    await stage.orchestrator.remove("high")
    await stage.settle()
    assert len(stage.running("low")) == 4


async def test_an_equal_priority_takes_nobodys_place(stage: Stage) -> None:
    await stage.apply(low(replicas=4, priority=100))
    await stage.apply(high())
    assert len(stage.running("low")) == 4
    assert (await stage.view("high")).phase is WorkloadPhase.PENDING


async def test_a_class_that_does_not_preempt_waits(stage: Stage) -> None:
    await stage.apply(low(replicas=4))
    await stage.apply(high(preempts=False))
    assert len(stage.running("low")) == 4
    assert (await stage.view("high")).phase is WorkloadPhase.PENDING


async def test_with_a_scheduler_without_the_ability_a_slot_waits(autojump_clock: MockClock) -> None:
    async with staged(2, scheduler=CursorScheduler) as stage:
        await stage.apply(low(replicas=4))
        await stage.apply(high())
        assert len(stage.running("low")) == 4


async def test_a_budget_is_kept(stage: Stage) -> None:
    await stage.apply(low(replicas=4, disruption=Disruption(max_unavailable=1)))
    await stage.apply(high(replicas=3))
    await trio.sleep(100)
    assert (len(stage.running("low")), len(stage.running("high"))) == (3, 1)


async def test_a_budget_that_holds_a_slot_back_is_named(stage: Stage) -> None:
    await stage.apply(low(replicas=4, disruption=Disruption(max_unavailable=1)))
    await stage.apply(high(replicas=2, count=8))
    (one, other) = await stage.orchestrator.explain("high")
    told = "; it could push out others, but the disruption budget of low lets only 1 of its instances go now: 3 have to"
    assert (told in one.text, told in other.text) == (True, True)


async def test_no_budget_is_named_that_does_not_matter(stage: Stage) -> None:
    await stage.apply(low(replicas=4, disruption=Disruption(max_unavailable=1)))
    await stage.apply(high(count=9), service("meek", containers=halves(4), preempts=False, priority=100))
    for name in ("high", "meek"):
        (one,) = await stage.orchestrator.explain(name)
        assert "budget" not in one.text


async def test_a_budget_that_keeps_a_daemon_off_a_node_is_named(stage: Stage) -> None:
    await stage.apply(low(replicas=4, disruption=Disruption(max_unavailable=1)))
    await stage.apply(daemon("agent", containers=halves(1), priority=100))
    there, lacking = await stage.orchestrator.explain("agent")
    assert there.node_id is not None
    assert "the disruption budget of low lets none of its instances go now: 3 have to be available" in lacking.text


async def test_a_budget_that_recovers_lets_who_waits_try_at_once(autojump_clock: MockClock) -> None:
    async with staged(2, scheduler=FullScanScheduler) as stage:
        await stage.end()
        stage.timings = Timings(period=10_000.0)
        await stage.start()
        update = UpdateStrategy(min_healthy_seconds=40.0)
        await stage.apply(low(replicas=4, update=update, disruption=Disruption(max_unavailable=1)))
        await trio.sleep(100)
        stage.exit(stage.running("low")[0])
        await trio.sleep(2)
        await stage.apply(high())
        await trio.sleep(35)
        assert (len(stage.running("low")), len(stage.running("high"))) == (4, 0)
        await trio.sleep(10)
        assert (len(stage.running("low")), len(stage.running("high"))) == (3, 1)


async def test_a_budget_that_is_given_up_lets_who_waits_try_at_once(autojump_clock: MockClock) -> None:
    async with staged(2, scheduler=FullScanScheduler) as stage:
        await stage.end()
        stage.timings = Timings(period=10_000.0)
        await stage.start()
        await stage.apply(low(replicas=4, disruption=Disruption(max_unavailable=0)))
        await stage.apply(high())
        await trio.sleep(100)
        assert stage.running("high") == []
        await stage.apply(low(replicas=4))
        await trio.sleep(10)
        assert (len(stage.running("low")), len(stage.running("high"))) == (3, 1)


async def test_what_is_about_to_end_is_waited_for_instead_of_pushing_out_another(stage: Stage) -> None:
    await stage.apply(low(replicas=4, grace=5.0))
    await stage.orchestrator.scale("low", 3)
    await stage.settle()
    await stage.apply(high())
    await trio.sleep(10)
    assert (len(stage.running("low")), len(stage.running("high"))) == (3, 1)
    assert "Preempted" not in [event.reason for event in await stage.orchestrator.events()]


class StuckRuntime(MockRuntime):
    """A runtime that can't stop anything of one workload."""

    async def stop_container(self, container_id: ContainerId, /, *, grace_seconds: float) -> None:
        """Never return where it is of that workload."""
        if self.world.container(container_id).options.workload == "stuck":
            await trio.sleep_forever()
        await super().stop_container(container_id, grace_seconds=grace_seconds)


async def test_what_can_not_be_stopped_is_not_waited_for_for_ever(stage: Stage) -> None:
    await stage.end()
    stage.runtime_class = StuckRuntime
    await stage.start()
    await stage.apply(low("stuck", replicas=1), low(replicas=3))
    await stage.orchestrator.stop("stuck")
    await trio.sleep(5)
    await stage.apply(high())
    await trio.sleep(20)
    assert stage.running("high") == []
    await trio.sleep(60)
    assert len(stage.running("high")) == 1


async def _high_waits_for_what_can_not_be_stopped(stage: Stage, kind: Kind = service) -> None:
    """Let a slot push out what can't be stopped, and see that it waits for it."""
    await stage.end()
    stage.runtime_class = StuckRuntime
    await stage.start()
    await stage.apply(low("stuck", replicas=1), low(replicas=3, priority=50))
    where = Placement(select={"home": "stuck"}) if kind is daemon else Placement()
    (home,) = stage.where("stuck")
    node = stage.cluster.get_node(home)
    assert node is not None
    stage.cluster.update_node(evolve(node, labels={**node.labels, "home": "stuck"}))
    await stage.apply(kind("high", "run", containers=halves(4), priority=100, placement=where))
    await trio.sleep(20)
    assert stage.running("high") == []
    assert "stuck.0.1" in str([placed.text for placed in await stage.orchestrator.explain("high")])


@pytest.mark.parametrize("kind", [service, batch, daemon])
async def test_a_slot_whose_victim_does_not_end_gets_another_place(stage: Stage, kind: Kind) -> None:
    await _high_waits_for_what_can_not_be_stopped(stage, kind)
    await trio.sleep(12)
    assert (len(stage.running("high")), len(stage.running("stuck")), len(stage.running("low"))) == (1, 1, 2)
    assert "WaitedInVain" in [event.reason for event in await stage.orchestrator.events()]


async def test_a_slot_whose_victim_does_not_end_gets_the_room_that_is_free_by_then(stage: Stage) -> None:
    await _high_waits_for_what_can_not_be_stopped(stage)
    await stage.orchestrator.stop("low")
    await trio.sleep(12)
    (at_work,) = stage.ids("high")
    await trio.sleep(3600)
    assert stage.ids("high") == [at_work]
    assert (await stage.event_reasons("instance/high.0.1")).count("WaitedInVain") == 1


async def test_a_restart_does_not_prolong_the_wait_for_a_victim_that_does_not_end(stage: Stage) -> None:
    await _high_waits_for_what_can_not_be_stopped(stage)
    await stage.restart()
    await trio.sleep(15)
    assert len(stage.running("high")) == 1


async def test_a_slot_whose_victim_takes_as_long_as_it_may_keeps_its_place(stage: Stage) -> None:
    await stage.apply(low(replicas=4, grace=25.0))
    await stage.apply(high())
    await trio.sleep(30)
    assert stage.slots("high") == [(0, 1)]


async def test_a_slot_that_waits_for_its_victims_pushes_out_nobody_else(stage: Stage) -> None:
    await stage.apply(low(replicas=4, grace=50.0))
    await stage.apply(high())
    await trio.sleep(40)
    assert len([i for i in await stage.instances("low") if i.status.state is InstanceState.TERMINATING]) == 1


async def test_a_slot_that_waits_may_itself_be_pushed_out(stage: Stage) -> None:
    await stage.apply(low(replicas=4, grace=5.0))
    await stage.apply(high(count=8, replicas=2))
    await stage.apply(high("highest", count=8, priority=200, replicas=2))
    await trio.sleep(20)
    assert (len(stage.running("high")), len(stage.running("highest"))) == (0, 2)
    uid = (await stage.view("high")).definition.metadata.uid
    assert all(start.instance.workload_id != uid for start in stage.containers.start_records)


async def test_who_is_pushed_out_pushes_out_only_those_below_it(stage: Stage) -> None:
    await stage.apply(low(replicas=2), low("middle", replicas=2, priority=50))
    await stage.apply(high("middling", replicas=2, priority=60))
    await stage.apply(high(replicas=2))
    await trio.sleep(100)
    running = {name: len(stage.running(name)) for name in ("low", "middle", "middling", "high")}
    assert running == {"low": 0, "middle": 0, "middling": 2, "high": 2}


async def test_what_is_stopped_while_it_waits_never_starts_and_its_victims_come_back(stage: Stage) -> None:
    await stage.apply(low(replicas=4, grace=5.0))
    await stage.apply(high())
    await stage.orchestrator.stop("high")
    await trio.sleep(20)
    assert len(stage.running("low")) == 4
    uid = (await stage.view("high")).definition.metadata.uid
    assert all(start.instance.workload_id != uid for start in stage.containers.start_records)


async def test_a_daemon_takes_the_place_of_a_lower_priority_on_each_node(stage: Stage) -> None:
    await stage.apply(low(replicas=4))
    await stage.apply(daemon(containers=halves(2), priority=100))
    assert stage.where("agent") == [NODE, SECOND]
    assert len(stage.running("low")) == 2
    assert (await stage.view("agent")).phase is WorkloadPhase.HEALTHY


async def test_a_daemon_waits_for_what_is_about_to_end_on_its_node_and_for_nothing_elsewhere(stage: Stage) -> None:
    await stage.apply(low(replicas=4, grace=20.0))
    await stage.orchestrator.scale("low", 3)
    await stage.settle()
    await stage.apply(daemon(containers=halves(2), priority=100))
    stopping = [i for i in await stage.instances("low") if i.status.state is InstanceState.TERMINATING]
    assert len(stopping) == 2
    assert {i.binding.node_id for i in stopping} == {NODE, SECOND}
    await trio.sleep(25)
    assert stage.where("agent") == [NODE, SECOND]
    assert len(stage.running("low")) == 2


async def test_a_batch_instance_that_is_pushed_out_begins_again_and_has_not_failed(stage: Stage) -> None:
    await stage.apply(batch("job", containers=halves(8, "exit", "0", "after", "50s"), completions=2, priority=0))
    await trio.sleep(10)
    await stage.apply(high(count=8))
    await trio.sleep(45)
    await stage.orchestrator.remove("high")
    await trio.sleep(60)
    view = await stage.view("job")
    assert (view.phase, view.failed) == (WorkloadPhase.SUCCEEDED, 0)


async def test_both_sides_are_told(stage: Stage) -> None:
    await stage.apply(low(replicas=4))
    await stage.apply(high())
    events = {event.reason: event for event in await stage.orchestrator.events()}
    preempted, preempting = events["Preempted"], events["Preempting"]
    (high_one,) = await stage.instances("high")
    node_id = high_one.binding.node_id
    victim = preempted.subject.removeprefix("instance/")
    assert preempted.message == f"default/high.0.1 (priority 100) takes its place on node {node_id}"
    assert preempting.subject == "instance/high.0.1"
    assert preempting.message.startswith(f"it pushes out default/{victim} (priority 0) on node {node_id}")
    assert (await stage.instance(victim)).status.message == "preempted: default/high.0.1 takes its place"


async def test_explaining_names_who_is_waited_for(stage: Stage) -> None:
    await stage.apply(low(replicas=4, grace=5.0))
    await stage.apply(high())
    (placed,) = await stage.orchestrator.explain("high")
    (victim,) = [i for i in await stage.instances("low") if i.status.state is InstanceState.TERMINATING]
    assert placed.text.endswith(f"; it starts once {victim.name} has ended, whose place it takes")


def pushed(placements: Iterable[SlotPlacement]) -> list[tuple[str, ...]]:
    """Return whom each slot would push out."""
    return [placement.victims for placement in placements]


async def test_a_plan_says_whom_an_apply_would_push_out_and_pushes_out_nobody(stage: Stage) -> None:
    await stage.apply(low(replicas=4))
    plan = await stage.orchestrator.plan([high(replicas=2)])
    (first,), (second,) = pushed(plan.placements)
    names = {f"default/{instance.name}" for instance in await stage.instances("low")}
    assert first != second
    assert {first, second} <= names
    assert plan.placements[0].text.endswith(f"; it pushes out {first} (priority 0)")
    assert len(stage.running("low")) == 4


async def test_a_plan_foresees_what_becomes_of_those_that_are_applied_with_it(stage: Stage) -> None:
    plan = await stage.orchestrator.plan([low(replicas=4), high()])
    assert sorted(placement.node_id is None for placement in plan.placements) == [False] * 4 + [True]
    await stage.apply(low(replicas=4), high())
    assert (len(stage.running("low")), len(stage.running("high"))) == (3, 1)


@pytest.mark.slow
async def test_one_slot_may_push_out_more_than_a_transaction_takes(autojump_clock: MockClock) -> None:
    async with staged(1, scheduler=FullScanScheduler) as stage:
        tiny = (container("main", resources=Resources(cpu_millicores=25), stop_grace_seconds=0.0),)
        await stage.apply(service("many", containers=tiny, replicas=70, priority=0))
        await stage.apply(high(count=8))
        await trio.sleep(5)
        assert (len(stage.running("many")), len(stage.running("high"))) == (0, 1)


class Overreaching:
    """A scheduler that changes the victims of every decision."""

    def __init__(self, change: str) -> None:
        """Change them in this way."""
        self.scheduler: Scheduler = FullScanScheduler()
        self.change = change
        self.capabilities = self.scheduler.capabilities

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> list[ScheduleDecision]:
        """Decide as the other one does, with other victims."""
        asked = evolve(request, budgets={}) if self.change == "budget" else request
        decisions = await self.scheduler.schedule(asked, view)
        return [self._changed(each, request) if isinstance(each, AssignNode) else each for each in decisions]

    def _changed(self, decision: AssignNode, request: SchedulingRequest) -> AssignNode:
        if not decision.victims:
            return decision
        match self.change:
            case "nobody there":
                return evolve(decision, victims=(*decision.victims, decision.slot))
            case "too few":
                return evolve(decision, victims=decision.victims[:1])
            case "elsewhere":
                return evolve(decision, node_id=NODE if decision.node_id == SECOND else SECOND)
            case _:
                return decision


@pytest.mark.parametrize("change", ["nobody there", "too few", "elsewhere", "budget"])
async def test_a_scheduler_that_goes_too_far_pushes_out_nobody(autojump_clock: MockClock, change: str) -> None:
    async with staged(2, scheduler=lambda: Overreaching(change)) as stage:
        budget = Disruption(max_unavailable=1)
        await stage.apply(low(replicas=4, disruption=budget if change == "budget" else None))
        await stage.apply(high(count=8))
        await trio.sleep(10)
        assert (len(stage.running("low")), len(stage.running("high"))) == (4, 0)
        assert "Unplaceable" in await stage.event_reasons("workload/high")


async def test_a_selector_keeps_others_from_having_to_go_in_vain(stage: Stage) -> None:
    await stage.apply(low(replicas=4))
    await stage.apply(high(placement=Placement(select={"zone": "nowhere"})))
    await trio.sleep(10)
    assert len(stage.running("low")) == 4


async def test_a_victim_that_is_lost_before_it_has_ended_takes_the_slot_with_it(stage: Stage) -> None:
    await stage.apply(low(replicas=4, grace=5.0))
    await stage.apply(high())
    (waiting,) = await stage.instances("high")
    stage.down(waiting.binding.node_id)
    await trio.sleep(60)
    (moved,) = await stage.instances("high")
    assert moved.binding.node_id != waiting.binding.node_id
    assert len(stage.running("high")) == 1


async def test_a_restart_of_the_orchestrator_while_a_slot_waits_changes_nothing(stage: Stage) -> None:
    await stage.apply(low(replicas=4, grace=5.0))
    await stage.apply(high())
    await stage.restart()
    await trio.sleep(10)
    assert (len(stage.running("low")), len(stage.running("high"))) == (3, 1)
    assert [event.reason for event in await stage.orchestrator.events()].count("Preempted") == 1
