"""Taints that end what runs: who leaves, when, for where, and who is told why."""

from __future__ import annotations

import gc
from weakref import ref

import pytest
import trio
from attrs import evolve
from orchestrion.orchestrator_core import WorkloadPhase
from orchestrion.orchestrator_core._state.taints import for_new_work
from orchestrion.shared_types import (
    Disruption,
    InstanceState,
    NodeId,
    Placement,
    Taint,
    TaintEffect,
    Toleration,
    UpdateStrategy,
    WorkloadDefinition,
)

from .core_stage import NODE, SECOND, THIRD, Stage, batch, daemon, service

BROKEN = Taint("gpu", "broken", TaintEffect.NO_EXECUTE)


def taint(stage: Stage, node_id: NodeId, *taints: Taint) -> None:
    """Let a node have these taints and no others."""
    node = stage.cluster.get_node(node_id)
    assert node is not None
    stage.cluster.update_node(evolve(node, taints=taints))


def tolerating(seconds: float | None, **fields: object) -> Placement:
    """Return a placement that tolerates the taint for so long."""
    return Placement(tolerations=(Toleration(key="gpu", seconds=seconds),))


async def evict(stage: Stage, workload: WorkloadDefinition) -> NodeId:
    """Apply a workload of one instance, let its node have the taint, and return the node."""
    await stage.apply(workload)
    (node_id,) = stage.where(workload.metadata.name)
    taint(stage, node_id, BROKEN)
    await stage.settle()
    return node_id


async def test_what_does_not_tolerate_a_taint_that_ends_it_is_replaced_elsewhere_at_once(stage: Stage) -> None:
    node_id = await evict(stage, service())
    assert stage.slots("web") == [(1, 1)]
    assert node_id not in stage.where("web")


@pytest.mark.parametrize("effect", [TaintEffect.NO_SCHEDULE, TaintEffect.PREFER_NO_SCHEDULE])
async def test_taints_of_other_effects_end_nothing(stage: Stage, effect: TaintEffect) -> None:
    await stage.apply(service())
    before = stage.ids()
    for node_id in (NODE, SECOND, THIRD):
        taint(stage, node_id, Taint("gpu", "broken", effect))
    await trio.sleep(100)
    assert stage.ids() == before


async def test_what_is_evicted_is_stopped_with_its_grace(stage: Stage) -> None:
    await stage.apply(service("web", "run", "term-takes", "4s"))
    (node_id,) = stage.where("web")
    taint(stage, node_id, BROKEN)
    await trio.sleep(3)
    assert (await stage.instance("web.0.1")).status.state is InstanceState.TERMINATING
    assert node_id in stage.where("web")
    await trio.sleep(2)
    assert node_id not in stage.where("web")


async def test_status_and_events_say_why_it_was_evicted(stage: Stage) -> None:
    node_id = await evict(stage, service())
    old = await stage.instance("web.0.1")
    assert old.status.state is InstanceState.SUCCEEDED
    assert old.status.message == "evicted: taint gpu=broken:NoExecute"
    (event,) = [e for e in await stage.orchestrator.events(subject="instance/web.0.1") if e.reason == "Evicted"]
    assert event.message == f"it leaves node {node_id}, which has the taint gpu=broken:NoExecute"


async def test_what_tolerates_a_taint_for_ever_stays(stage: Stage) -> None:
    await evict(stage, service(placement=tolerating(None)))
    await trio.sleep(3600)
    assert stage.slots("web") == [(0, 1)]


async def test_what_tolerates_a_taint_for_a_time_stays_for_that_time(stage: Stage) -> None:
    node_id = await evict(stage, service(placement=tolerating(60)))
    await trio.sleep(59)
    assert stage.slots("web") == [(0, 1)]
    await trio.sleep(2)
    assert stage.slots("web") == [(1, 1)]
    assert node_id not in stage.where("web")


async def test_explaining_says_how_long_it_may_stay(stage: Stage) -> None:
    await evict(stage, service(placement=tolerating(60)))
    await trio.sleep(20)
    (placed,) = await stage.orchestrator.explain("web")
    assert placed.text.endswith("; it leaves in 40 s unless the taint gpu=broken:NoExecute goes")


async def test_the_longest_of_several_tolerations_of_a_taint_counts(stage: Stage) -> None:
    tolerations = (Toleration(key="gpu", seconds=10), Toleration(value="broken", seconds=60))
    await evict(stage, service(placement=Placement(tolerations=tolerations)))
    await trio.sleep(59)
    assert stage.slots("web") == [(0, 1)]
    await trio.sleep(2)
    assert stage.slots("web") == [(1, 1)]


async def test_of_several_taints_the_first_to_end_it_counts(stage: Stage) -> None:
    tolerations = (Toleration(key="gpu", seconds=60), Toleration(key="disk", seconds=30))
    await stage.apply(service(placement=Placement(tolerations=tolerations)))
    (node_id,) = stage.where("web")
    taint(stage, node_id, BROKEN, Taint("disk", "", TaintEffect.NO_EXECUTE))
    await trio.sleep(29)
    assert stage.slots("web") == [(0, 1)]
    await trio.sleep(2)
    assert (await stage.instance("web.0.1")).status.message == "evicted: taint disk:NoExecute"


async def test_a_taint_that_goes_in_time_ends_nothing_and_counts_anew_when_it_is_back(stage: Stage) -> None:
    node_id = await evict(stage, service(placement=tolerating(60)))
    await trio.sleep(50)
    taint(stage, node_id)
    await trio.sleep(3600)
    assert stage.slots("web") == [(0, 1)]
    taint(stage, node_id, BROKEN)
    await trio.sleep(50)
    assert stage.slots("web") == [(0, 1)]
    await trio.sleep(11)
    assert stage.slots("web") == [(1, 1)]


async def test_the_time_goes_on_while_the_orchestrator_is_away(stage: Stage) -> None:
    await evict(stage, service(placement=tolerating(60)))
    await trio.sleep(20)
    await stage.end()
    await trio.sleep(30)
    await stage.start()
    await trio.sleep(5)
    assert stage.slots("web") == [(0, 1)]
    await trio.sleep(6)
    assert stage.slots("web") == [(1, 1)]


async def test_a_taint_that_went_while_the_orchestrator_was_away_is_forgotten(stage: Stage) -> None:
    node_id = await evict(stage, service(placement=tolerating(60)))
    await stage.end()
    taint(stage, node_id)
    await trio.sleep(100)
    await stage.start()
    await trio.sleep(100)
    assert stage.slots("web") == [(0, 1)]
    assert not [key for key in stage.state.entries if key.startswith("/taints/")]


async def test_a_node_with_a_taint_that_changes_nothing_causes_no_writes(stage: Stage) -> None:
    await evict(stage, service(placement=tolerating(None)))
    before = stage.state.revision
    await trio.sleep(3600)
    assert stage.state.revision == before


async def test_nothing_new_comes_to_a_node_whose_taint_it_tolerates_only_for_a_time(stage: Stage) -> None:
    for node_id in (NODE, SECOND):
        taint(stage, node_id, BROKEN)
    await stage.apply(service(replicas=4, placement=tolerating(60)))
    assert set(stage.where("web")) == {THIRD}


async def test_what_finds_no_other_place_waits_and_says_so(stage: Stage) -> None:
    await stage.apply(service(replicas=3))
    for node_id in (NODE, SECOND, THIRD):
        taint(stage, node_id, BROKEN)
    await stage.settle()
    assert stage.running() == []
    view = await stage.view("web")
    assert view.phase is WorkloadPhase.PENDING
    assert "taint gpu=broken" in view.message
    taint(stage, SECOND)
    await stage.settle()
    assert stage.where("web") == [SECOND] * 3


async def test_a_batch_instance_that_is_evicted_begins_again_elsewhere_and_has_not_failed(stage: Stage) -> None:
    await stage.apply(batch("job", "exit", "0", "after", "50s"))
    (node_id,) = stage.where("job")
    await trio.sleep(10)
    taint(stage, node_id, BROKEN)
    await stage.settle()
    assert stage.slots("job") == [(0, 2)]
    assert node_id not in stage.where("job")
    await trio.sleep(51)
    view = await stage.view("job")
    assert (view.phase, view.failed) == (WorkloadPhase.SUCCEEDED, 0)


async def test_a_daemon_leaves_a_node_and_comes_back_once_the_taint_is_gone(stage: Stage) -> None:
    await stage.apply(daemon())
    taint(stage, SECOND, BROKEN)
    await stage.settle()
    assert stage.where("agent") == [NODE, THIRD]
    assert (await stage.view("agent")).phase is WorkloadPhase.HEALTHY
    taint(stage, SECOND)
    await stage.settle()
    assert stage.where("agent") == [NODE, SECOND, THIRD]


async def test_what_is_evicted_and_lost_is_replaced_once(stage: Stage) -> None:
    node_id = await evict(stage, service(placement=tolerating(30)))
    stage.down(node_id)
    await trio.sleep(100)
    assert stage.slots("web") == [(0, 2)]


async def test_a_node_that_leaves_takes_the_time_of_its_taints_with_it(stage: Stage) -> None:
    node_id = await evict(stage, service(placement=tolerating(60)))
    assert [key for key in stage.state.entries if key.startswith("/taints/")]
    stage.cluster.remove_node(node_id)
    await trio.sleep(1)
    assert not [key for key in stage.state.entries if key.startswith("/taints/")]


async def test_what_comes_after_it_is_planned_with_the_taint_in_mind(stage: Stage) -> None:
    node_id = await evict(stage, service(placement=tolerating(60)))
    plan = await stage.orchestrator.plan([service(replicas=2, placement=tolerating(60))])
    assert [placement.node_id == node_id for placement in plan.placements] == [False]


async def budgeted(stage: Stage) -> NodeId:
    """Apply a service of three of which one may be missing, let their node have the taint, and return the node."""
    strategy = UpdateStrategy(min_healthy_seconds=2)
    budget = Disruption(max_unavailable=1)
    await stage.apply(service(replicas=3, placement=tolerating(60), update=strategy, disruption=budget))
    await trio.sleep(10)
    (node_id,) = set(stage.where("web"))
    taint(stage, node_id, BROKEN)
    await trio.sleep(29)
    assert stage.where("web") == [node_id] * 3
    return node_id


async def test_with_a_budget_they_leave_within_it_in_the_second_half_of_the_time(stage: Stage) -> None:
    node_id = await budgeted(stage)
    await trio.sleep(2)
    for _ in range(12):
        view = await stage.view("web")
        assert view.available >= 2
        await trio.sleep(1)
    assert node_id not in stage.where("web")
    assert len(stage.running("web")) == 3
    assert {i.status.message for i in await stage.ended("web")} == {"evicted: taint gpu=broken:NoExecute"}


async def test_a_taint_that_goes_while_they_leave_lets_the_others_stay(stage: Stage) -> None:
    node_id = await budgeted(stage)
    await trio.sleep(1)
    taint(stage, node_id)
    await trio.sleep(100)
    assert 1 <= stage.where("web").count(node_id) < 3
    assert len(stage.running("web")) == 3


async def test_at_the_end_of_the_time_the_budget_keeps_nothing_back(stage: Stage) -> None:
    await budgeted(stage)
    for node_id in (NODE, SECOND, THIRD):
        taint(stage, node_id, BROKEN)
    await trio.sleep(61)
    assert stage.running("web") == []


def test_a_template_is_placed_as_one_and_the_same_object() -> None:
    template = service(placement=tolerating(10))
    placed_as = for_new_work(template)
    assert placed_as is for_new_work(template)
    assert all(each.effect is not TaintEffect.NO_EXECUTE for each in placed_as.placement.tolerations)
    other = service(priority=7, placement=tolerating(10))
    assert for_new_work(other).priority == 7


def test_what_a_template_is_placed_as_goes_with_it() -> None:
    template = service(placement=tolerating(10))
    left = ref(for_new_work(template))
    assert left() is not None
    del template
    gc.collect()
    assert left() is None
