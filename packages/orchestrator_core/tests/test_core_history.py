"""What is kept, what is forgotten, and that nothing is written when nothing changes."""

from __future__ import annotations

import random

import pytest
import trio
from orchestrion.mocks import MemoryStore
from orchestrion.orchestrator_core import StoreReader, trio_time
from orchestrion.orchestrator_core._state.world import World
from orchestrion.shared_types import RestartPolicy, Retention

from .core_stage import Stage, batch, daemon, service

QUICK = RestartPolicy(initial_delay_seconds=0.1, max_delay_seconds=0.1, jitter=0.0)


async def keys(stage: Stage, prefix: str) -> list[str]:
    return [entry.key for entry in (await stage.orchestrator.store.list(prefix)).entries]


async def test_ended_instances_are_kept_up_to_their_retention(stage: Stage) -> None:
    await stage.apply(batch(completions=30, retention=Retention(terminal_instances=4)))
    await trio.sleep(5)
    assert len(await stage.ended("job")) == 4
    assert len(stage.containers.containers) == 4
    assert (await stage.view("job")).succeeded == 30


async def test_ended_attempts_are_kept_up_to_their_retention(stage: Stage) -> None:
    await stage.apply(service("web", "exit", "1", "after", "1s", restart=QUICK, retention=Retention(attempts=2)))
    await trio.sleep(20.5)
    kept = sorted(c.options.attempt for c in stage.containers.containers.values())
    newest = kept[-1]
    assert newest > 10
    assert kept == [newest - 2, newest - 1, newest]


async def test_templates_that_nothing_needs_are_dropped(stage: Stage) -> None:
    for number in range(6):
        await stage.apply(service("web", "run", "token", f"t{number}", retention=Retention(terminal_instances=1)))
        await trio.sleep(5)
    assert await keys(stage, "/template/") == ["/template/default/web.5", "/template/default/web.6"]


async def test_epochs_never_fall_even_when_the_history_is_forgotten(stage: Stage) -> None:
    forget = Retention(terminal_instances=0)
    epochs = list[int]()
    for _ in range(4):
        await stage.apply(service(retention=forget))
        epochs += [epoch for _, epoch in stage.slots("web")]
        await stage.orchestrator.stop("web")
        await trio.sleep(5)
    assert epochs == sorted(set(epochs))


@pytest.mark.slow
async def test_two_hundred_instances_at_rest_cause_no_write_and_no_start_for_an_hour(stage: Stage) -> None:
    await stage.apply(service("a", replicas=100), service("b", replicas=97), daemon())
    assert len(stage.running()) == 200
    await stage.orchestrator.events()
    revision, starts = stage.state.revision, len(stage.containers.start_records)
    before = stage.ids()
    await trio.sleep(3600)
    assert stage.state.revision == revision
    assert len(stage.containers.start_records) == starts
    assert stage.ids() == before


async def test_a_reader_sees_the_same_without_loops_at_work(stage: Stage) -> None:
    await stage.apply(service(replicas=2), batch())
    there = await stage.orchestrator.list_instances()
    await stage.end()
    reader = StoreReader(MemoryStore(stage.state), now=trio_time)
    assert await reader.list_instances() == there
    assert [view.definition.metadata.name for view in await reader.list_workloads()] == ["job", "web"]
    assert (await reader.get_workload("job")).succeeded == 1
    assert await reader.events(subject="workload/web")


def picture(world: World) -> object:
    return (
        {
            name: (r.spec, r.spec_revision, r.control, r.control_revision, r.progress, r.progress_revision, r.templates)
            for name, r in world.workloads.items()
        },
        {
            name: (r.bound, r.binding_revision, r.status, r.status_revision, r.state)
            for name, r in world.instances.items()
        },
        {node: set(held) for node, held in world.nodes.items()},
        world.leases,
        {name: held for name, held in world.dependants.items() if held},
    )


@pytest.mark.parametrize("seed", range(10))
async def test_a_world_that_kept_up_equals_one_that_is_loaded_afresh(stage: Stage, seed: int) -> None:
    chance = random.Random(seed)
    store = stage.orchestrator.store
    for _ in range(15):
        name = chance.choice("abc")
        match chance.randrange(5):
            case 0 | 1:
                token = str(chance.randrange(3))
                await stage.orchestrator.apply([service(name, "run", "token", token, replicas=chance.randrange(4))])
            case 2 if await stage.orchestrator.list_workloads():
                view = chance.choice(await stage.orchestrator.list_workloads())
                await stage.orchestrator.stop(view.definition.metadata.name)
            case 3 if await stage.orchestrator.list_workloads():
                view = chance.choice(await stage.orchestrator.list_workloads())
                await stage.orchestrator.remove(view.definition.metadata.name)
                await trio.sleep(5)
            case _:
                # What is forgotten makes every watch that lags behind begin anew.
                await store.compact((await store.get("/")).revision)
        await trio.sleep(chance.random())
    await stage.settle()
    fresh = World()
    await fresh.load(store)
    assert picture(stage.orchestrator.world) == picture(fresh)


async def test_a_world_that_is_loaded_again_forgets_what_is_gone(stage: Stage) -> None:
    await stage.apply(service("a", replicas=2), service("b"))
    late = World()
    await late.load(stage.orchestrator.store)
    await stage.orchestrator.remove("a")
    await stage.apply(service("c"))
    await trio.sleep(1)
    await late.load(stage.orchestrator.store)
    assert picture(late) == picture(stage.orchestrator.world)
