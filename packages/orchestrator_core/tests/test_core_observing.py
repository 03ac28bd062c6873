"""An orchestrator that only looks, and one that only stops."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from orchestrion.mocks import CursorScheduler, MemoryStore, MockClusterManager, MockRuntime
from orchestrion.orchestrator_core import Orchestrator, StoreReader, trio_time
from orchestrion.shared_types import ExecProbe, HealthCheck, InstanceState, Resources, WorkloadDefinition

from .core_stage import NODE, Stage, after, batch, container, daemon, service

HALF = (container("main", "run", resources=Resources(cpu_millicores=2000)),)
"""Two of these fill a node."""

WHOLE = (container("main", "run", resources=Resources(cpu_millicores=4000)),)
"""One of these fills a node."""


@asynccontextmanager
async def _observer(stage: Stage) -> AsyncIterator[Orchestrator]:
    """Give an orchestrator that only looks at what there is."""
    observer = Orchestrator(
        MockRuntime(stage.containers),
        MockClusterManager(stage.cluster),
        CursorScheduler(),
        MemoryStore(stage.state),
        now=trio_time,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(observer.observe)
        yield observer
        nursery.cancel_scope.cancel()


async def _written(stage: Stage) -> list[object]:
    """Return everything on record but leases, which run out by themselves."""
    entries = (await MemoryStore(stage.state).list("/")).entries
    return [entry for entry in entries if not entry.lease]


async def test_who_only_looks_starts_and_writes_nothing(stage: Stage) -> None:
    web = service("web", replicas=2)
    await stage.apply(web)
    await stage.end()
    for one in stage.running("web"):
        stage.exit(one)
    await trio.sleep(100.0)
    before = await _written(stage)
    async with _observer(stage) as observer:
        plan = await observer.plan([web])
        explained = await observer.explain("web")
        await trio.sleep(100.0)
    assert not plan.changes_anything
    assert [one.node_id is not None for one in explained] == [True, True]
    assert await _written(stage) == before
    assert stage.running("web") == []


async def test_a_plan_of_who_only_looks_places_what_is_new(stage: Stage) -> None:
    await stage.apply(service("web"))
    await stage.end()
    await trio.sleep(100.0)
    async with _observer(stage) as observer:
        plan = await observer.plan([service("more", replicas=6, containers=HALF)])
    assert [one.node_id is not None for one in plan.placements] == [True] * 6


async def test_who_only_looks_says_why_a_slot_has_no_place(stage: Stage) -> None:
    await stage.apply(service("web", replicas=7, containers=HALF))
    await stage.end()
    async with _observer(stage) as observer:
        explained = await observer.explain("web")
    assert [one.node_id is not None for one in explained] == [True] * 6 + [False]
    assert "cpu" in explained[-1].text


async def test_who_only_looks_says_that_there_is_room_and_nobody_who_places(stage: Stage) -> None:
    await stage.apply(service("high", replicas=6, containers=HALF), service("low", containers=HALF))
    stage.options = {"only_stops": True}
    await stage.end()
    orchestrator = await stage.start()
    await orchestrator.stop("high")
    await stage.settle()
    await stage.end()
    async with _observer(stage) as observer:
        (explained,) = await observer.explain("low")
    assert explained.node_id is None
    assert "no orchestrator runs" in explained.text


@pytest.mark.parametrize(
    ("workload", "replicas"),
    [
        (service("web", replicas=8, containers=HALF), 8),
        (batch("web", "run", completions=9, parallelism=8, containers=HALF), 9),
        (daemon("web", containers=WHOLE), 3),
        (service("web", after=after("never")), 1),
    ],
    ids=["service", "batch", "daemon", "waiting"],
)
async def test_who_reads_counts_as_many_slots_without_a_place_as_are_explained(
    stage: Stage, workload: WorkloadDefinition, replicas: int
) -> None:
    await stage.apply(service("never", replicas=0), service("first", containers=WHOLE))
    await stage.apply(workload)
    await stage.end()
    await trio.sleep(100.0)
    nodes = stage.cluster.list_nodes()
    view = await StoreReader(MemoryStore(stage.state), now=trio_time, nodes=nodes).get_workload("web")
    async with _observer(stage) as observer:
        lacking = [one for one in await observer.explain("web") if one.node_id is None]
    assert bool(lacking) is not bool(workload.after)
    said = re.match("([0-9]+) instances? ha", view.message)
    assert int(said[1] if said is not None else 0) == len(lacking)
    assert (view.reason == "no-orchestrator") == bool(lacking)
    assert view.replicas == replicas


async def test_who_only_stops_stops_what_is_to_stop_and_binds_nothing(stage: Stage) -> None:
    await stage.apply(service("high", replicas=6, containers=HALF), service("low", replicas=2, containers=HALF))
    await stage.end()
    stage.options = {"only_stops": True}
    orchestrator = await stage.start()
    await orchestrator.stop("high")
    await trio.sleep(100.0)
    assert stage.running("high") == []
    assert await orchestrator.list_instances(workload="low") == []
    await stage.end()
    stage.options = {}
    await stage.start()
    await trio.sleep(100.0)
    assert len(stage.running("low")) == 2


async def test_who_only_stops_restarts_nothing_that_ended_while_nobody_looked(stage: Stage) -> None:
    await stage.apply(service("asked", replicas=2), service("other", replicas=2))
    await stage.end()
    ended, stays = stage.running("other")
    stage.exit(ended)
    stage.exit(stage.running("asked")[0])
    await trio.sleep(100.0)
    starts = len(stage.containers.start_records)
    stage.options = {"only_stops": True}
    orchestrator = await stage.start()
    await trio.sleep(100.0)
    await orchestrator.stop("asked")
    await trio.sleep(100.0)
    assert stage.running("asked") == []
    assert stage.running("other") == [stays]
    assert len(stage.containers.start_records) == starts


async def test_who_only_stops_starts_nothing_that_was_bound_and_not_started(stage: Stage) -> None:
    stage.containers.partition(NODE)
    await stage.apply(service("asked"), daemon("other"))
    await stage.end()
    stage.containers.heal(NODE)
    await trio.sleep(100.0)
    before = stage.where("other")
    stage.options = {"only_stops": True}
    orchestrator = await stage.start()
    await orchestrator.remove("asked")
    await trio.sleep(100.0)
    assert (stage.where("other"), len(before)) == (before, 2)
    assert [view.definition.metadata.name for view in await orchestrator.list_workloads()] == ["other"]


async def test_who_only_stops_leaves_an_update_where_it_was(stage: Stage) -> None:
    await stage.apply(service("asked"), service("other", replicas=3))
    await stage.orchestrator.apply([service("other", "run", "anew", replicas=3)])
    await stage.end()
    await trio.sleep(100.0)
    before = stage.ids("other")
    stage.options = {"only_stops": True}
    orchestrator = await stage.start()
    await orchestrator.stop("asked")
    await trio.sleep(2000.0)
    assert stage.ids("other") == before
    assert (await stage.view("other")).message == ""


async def test_who_only_stops_notes_how_the_others_have_ended(stage: Stage) -> None:
    await stage.apply(service("asked"), batch("other", "exit", "0", "after", "20s"))
    await stage.end()
    await trio.sleep(100.0)
    stage.options = {"only_stops": True}
    orchestrator = await stage.start()
    await orchestrator.stop("asked")
    await trio.sleep(10.0)
    (other,) = await orchestrator.list_instances(workload="other")
    assert other.status.state is InstanceState.SUCCEEDED


async def test_who_only_stops_checks_nobodys_health(stage: Stage) -> None:
    check = HealthCheck(probe=ExecProbe(command=("true",)))
    await stage.apply(service("other", containers=(container("main", health=check),)))
    await stage.end()
    stage.prober.sick = lambda _container: True
    before = stage.ids("other")
    stage.options = {"only_stops": True}
    await stage.start()
    await trio.sleep(100.0)
    assert stage.ids("other") == before
