"""An orchestrator that only looks, and one that places nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from orchestrion.mocks import CursorScheduler, MemoryStore, MockClusterManager, MockRuntime
from orchestrion.orchestrator_core import Orchestrator, trio_time
from orchestrion.shared_types import Resources

from .core_stage import Stage, container, service

HALF = (container("main", "run", resources=Resources(cpu_millicores=2000)),)
"""Two of these fill a node."""


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
    stage.options = {"places": False}
    await stage.end()
    orchestrator = await stage.start()
    await orchestrator.stop("high")
    await stage.settle()
    await stage.end()
    async with _observer(stage) as observer:
        (explained,) = await observer.explain("low")
    assert explained.node_id is None
    assert "no orchestrator runs" in explained.text


async def test_who_places_nothing_stops_what_is_to_stop_and_binds_nothing(stage: Stage) -> None:
    await stage.apply(service("high", replicas=6, containers=HALF), service("low", replicas=2, containers=HALF))
    await stage.end()
    stage.options = {"places": False}
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
