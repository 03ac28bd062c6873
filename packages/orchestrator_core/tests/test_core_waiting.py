"""Workloads that wait for others: woken in time, and told what for."""

from __future__ import annotations

import trio
from orchestrion.orchestrator_core import WorkloadPhase
from orchestrion.shared_types import UpdateStrategy

from .core_stage import Stage, after, service


async def test_what_waits_for_a_time_of_health_starts_when_it_is_over(stage: Stage) -> None:
    await stage.apply(service("db", update=UpdateStrategy(min_healthy_seconds=2.0)))
    await trio.sleep(10)
    stage.exit(stage.running("db")[0])
    await stage.settle()
    await stage.apply(service("app", after=after("db")))
    assert stage.running("app") == []
    await trio.sleep(5)
    assert len(stage.running("app")) == 1


async def test_what_waits_for_something_stopped_says_so_and_starts_with_it(stage: Stage) -> None:
    await stage.apply(service("db"))
    await stage.orchestrator.stop("db")
    await stage.apply(service("app", after=after("db")))
    view = await stage.view("app")
    assert view.phase is WorkloadPhase.WAITING
    assert view.message == "waits for db healthy (it is stopped; apply it to start it)"
    await stage.apply(service("db"))
    await trio.sleep(5)
    assert len(stage.running("app")) == 1


async def test_what_waits_for_something_without_replicas_says_so(stage: Stage) -> None:
    await stage.apply(service("db"))
    await stage.orchestrator.scale("db", 0)
    await stage.apply(service("app", after=after("db")))
    assert (await stage.view("app")).message == "waits for db healthy (it has 0 replicas; scale it up)"
