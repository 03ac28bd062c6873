"""Disruption budgets: how many instances may be missing for the sake of others."""

from __future__ import annotations

from datetime import timedelta

import trio
from orchestrion.orchestrator_core import trio_time
from orchestrion.orchestrator_core._state.budgets import budget_of
from orchestrion.orchestrator_core._state.records import WorkloadName
from orchestrion.shared_types import Disruption, UpdateStrategy, WorkloadDefinition

from .core_stage import NODE, SECOND, THIRD, Stage, batch, daemon, service

SLOW = UpdateStrategy(max_surge=1, max_unavailable=0, min_healthy_seconds=10.0)
ABRUPT = UpdateStrategy(max_surge=0, max_unavailable=3, min_healthy_seconds=10.0)


async def serving(stage: Stage, workload: WorkloadDefinition) -> None:
    """Apply a workload, and wait until its instances have been healthy for long enough."""
    await stage.apply(workload)
    await trio.sleep(20)


def budget(stage: Stage, name: str) -> int | None:
    """Return how many more instances of a workload may be ended now."""
    record = stage.orchestrator.world.workloads[WorkloadName("default", name)]
    return budget_of(record, stage.orchestrator.cluster_loop.facts)


async def test_a_drain_takes_no_more_at_once_than_may_be_missing(stage: Stage) -> None:
    await serving(stage, service(replicas=6, update=ABRUPT, disruption=Disruption(max_unavailable=1)))
    (node_id,) = set(stage.where("web"))
    await stage.orchestrator.drain_node(node_id, reason="repair")
    await trio.sleep(5)
    assert stage.where("web").count(node_id) == 5
    await trio.sleep(60)
    assert node_id not in stage.where("web")
    assert len(stage.running("web")) == 6


async def test_a_drain_that_a_budget_holds_back_names_it(stage: Stage) -> None:
    await serving(stage, service(replicas=6, update=ABRUPT, disruption=Disruption(max_unavailable=1)))
    (node_id,) = set(stage.where("web"))
    await stage.orchestrator.drain_node(node_id, reason="repair")
    await trio.sleep(5)
    staying = [one for one in await stage.orchestrator.explain("web") if one.node_id == node_id]
    told = "its node is drained, and the disruption budget of web lets none of its instances go now: 5 have to be"
    assert [told in one.text for one in staying] == [True] * 5


async def test_a_drain_may_take_more_than_an_update_would_where_the_budget_says_so(stage: Stage) -> None:
    await serving(stage, service(replicas=6, update=SLOW, disruption=Disruption(max_unavailable_percent=50)))
    (node_id,) = set(stage.where("web"))
    await stage.orchestrator.drain_node(node_id, reason="repair")
    await stage.settle()
    assert stage.where("web").count(node_id) == 3


async def test_a_drain_that_may_miss_none_starts_a_replacement_first_even_where_updates_do_not(stage: Stage) -> None:
    await serving(stage, service(replicas=3, update=ABRUPT, disruption=Disruption(max_unavailable=0)))
    (node_id,) = set(stage.where("web"))
    await stage.orchestrator.drain_node(node_id, reason="repair")
    await trio.sleep(5)
    assert stage.where("web").count(node_id) == 3
    assert len(stage.running("web")) == 4
    await trio.sleep(40)
    assert node_id not in stage.where("web")
    assert len(stage.running("web")) == 3


async def test_the_deadline_of_a_drain_goes_before_the_budget(stage: Stage) -> None:
    await serving(stage, service(replicas=3, update=SLOW, disruption=Disruption(max_unavailable=0)))
    for node_id in (NODE, SECOND, THIRD):
        await stage.orchestrator.drain_node(node_id, reason="repair", deadline=trio_time() + timedelta(seconds=30))
    await trio.sleep(29)
    assert len(stage.running("web")) == 3
    await trio.sleep(2)
    assert stage.running("web") == []


async def test_an_update_keeps_to_its_own_strategy(stage: Stage) -> None:
    budget = Disruption(max_unavailable=0)
    await serving(stage, service(replicas=3, update=ABRUPT, disruption=budget))
    await stage.orchestrator.apply([service("web", "run", "trap", "0", replicas=3, update=ABRUPT, disruption=budget)])
    await stage.settle()
    assert [container.options.instance.epoch for container in stage.running("web")] == [1, 1, 1]
    assert len(stage.containers.start_records) == 6


async def test_a_change_of_the_budget_restarts_nothing(stage: Stage) -> None:
    await stage.apply(service())
    before = stage.ids()
    await stage.apply(service(disruption=Disruption(max_unavailable=0)))
    assert stage.ids() == before


async def test_without_a_budget_there_is_no_limit(stage: Stage) -> None:
    await serving(stage, service())
    assert budget(stage, "web") is None


async def test_what_is_not_available_uses_the_budget_up(stage: Stage) -> None:
    await serving(stage, service(replicas=4, update=SLOW, disruption=Disruption(max_unavailable=2)))
    assert budget(stage, "web") == 2
    stage.exit(stage.running("web")[0])
    await trio.sleep(1)
    assert budget(stage, "web") == 1
    await trio.sleep(60)
    assert budget(stage, "web") == 2


async def test_a_batch_workload_is_to_have_what_it_may_run_at_once_of_what_is_left(stage: Stage) -> None:
    await stage.apply(
        batch("job", "run", completions=5, parallelism=3, disruption=Disruption(max_unavailable=1)),
        batch("end", "run", completions=2, parallelism=3, disruption=Disruption(max_unavailable=1)),
    )
    assert (budget(stage, "job"), budget(stage, "end")) == (1, 1)
    stage.exit(stage.running("end")[0], 0)
    await stage.settle()
    assert budget(stage, "end") == 0


async def test_a_daemon_is_to_be_on_the_nodes_where_it_is(stage: Stage) -> None:
    await stage.apply(daemon(disruption=Disruption(max_unavailable_percent=70)))
    assert budget(stage, "agent") == 2


async def test_a_workload_that_is_stopped_has_nothing_to_lose(stage: Stage) -> None:
    await serving(stage, service(disruption=Disruption(max_unavailable=0)))
    await stage.orchestrator.stop("web")
    await stage.settle()
    assert budget(stage, "web") is None
