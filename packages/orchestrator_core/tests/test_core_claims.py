"""What delays the removal of a workload, what it belongs to, and how many instances it lays claim to."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from attrs import evolve
from orchestrion.orchestrator_core import WorkloadName, claimed_now, trio_time
from orchestrion.shared_types import Finalizer, Metadata, OwnerReference, Uid, WorkloadDefinition, WorkloadNotFound

from .core_stage import Stage, batch, daemon, service

OWNER = OwnerReference("ConfigMap", "settings", Uid("u-1"))


def claimed(definition: WorkloadDefinition, *claims: Finalizer) -> WorkloadDefinition:
    return evolve(definition, metadata=evolve(definition.metadata, finalizers=claims))


def without_claims(metadata: Metadata) -> Metadata:
    return evolve(metadata, finalizers=())


def names(stage: Stage) -> list[str]:
    return [str(name) for name in stage.orchestrator.world.workloads]


async def test_a_removed_workload_waits_for_its_finalizers_with_nothing_running(stage: Stage) -> None:
    await stage.apply(claimed(service("web"), Finalizer("backup", "db-tool")))
    await stage.orchestrator.remove("web")
    await trio.sleep(3600)
    assert await stage.instances("web") == []
    assert names(stage) == ["default/web"]
    assert "waits for finalizer backup of db-tool" in (await stage.orchestrator.get_workload("web")).message
    revision = stage.state.revision
    await trio.sleep(3600)
    assert stage.state.revision == revision

    await stage.orchestrator.relate("web", without_claims)
    await trio.sleep(1)
    assert names(stage) == []


async def test_a_finalizer_is_waited_for_until_its_deadline(stage: Stage) -> None:
    deadline = trio_time() + timedelta(seconds=100)
    await stage.apply(claimed(service("web"), Finalizer("backup", "db-tool", deadline)))
    await stage.orchestrator.remove("web")
    await trio.sleep(90)
    assert names(stage) == ["default/web"]
    await trio.sleep(20)
    assert names(stage) == []
    assert "FinalizerExpired" in await stage.event_reasons("workload/web")


async def test_the_last_deadline_of_several_counts_and_one_without_counts_for_ever(stage: Stage) -> None:
    soon, late = (trio_time() + timedelta(seconds=each) for each in (10, 100))
    await stage.apply(
        claimed(service("two"), Finalizer("a", "x", soon), Finalizer("b", "x", late)),
        claimed(service("ever"), Finalizer("a", "x", soon), Finalizer("b", "x")),
    )
    for name in ("two", "ever"):
        await stage.orchestrator.remove(name)
    await trio.sleep(60)
    assert names(stage) == ["default/two", "default/ever"]
    await trio.sleep(60)
    assert names(stage) == ["default/ever"]


async def test_what_a_workload_belongs_to_changes_nothing_that_runs(stage: Stage) -> None:
    await stage.apply(service("web", replicas=2))
    before = {instance.name for instance in await stage.instances()}
    generation = (await stage.view("web")).definition.metadata.generation
    await stage.orchestrator.relate("web", lambda now: evolve(now, owners=(OWNER,), labels={"not": "taken"}))
    await trio.sleep(60)
    view = await stage.view("web")
    assert view.definition.metadata.owners == (OWNER,)
    assert view.definition.metadata.labels == {}
    assert view.definition.metadata.generation == generation
    assert {instance.name for instance in await stage.instances()} == before


async def test_a_stopped_workload_stays_stopped_whatever_it_belongs_to(stage: Stage) -> None:
    await stage.apply(service("web"))
    await stage.orchestrator.stop("web")
    await stage.orchestrator.relate("web", lambda now: evolve(now, owners=(OWNER,)))
    await trio.sleep(60)
    assert await stage.instances("web") == []


async def test_the_same_again_is_not_written_and_nobody_unknown_is_changed(stage: Stage) -> None:
    await stage.apply(service("web"))
    await stage.orchestrator.relate("web", lambda now: evolve(now, owners=(OWNER,)))
    revision = stage.state.revision
    await stage.orchestrator.relate("web", lambda now: evolve(now, owners=(OWNER,)))
    assert stage.state.revision == revision
    with pytest.raises(WorkloadNotFound):
        await stage.orchestrator.relate("nobody", without_claims)


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        (service("w", replicas=3), 3),
        (batch("w", "run", completions=5), 5),
        (batch("w", "run", completions=5, parallelism=2), 2),
        (batch("w", "run", completions=2, parallelism=5), 2),
        (daemon("w"), 4),
    ],
)
async def test_a_workload_claims_as_many_as_may_run_at_once(
    stage: Stage, definition: WorkloadDefinition, expected: int
) -> None:
    await stage.apply(definition)
    assert claimed_now(stage.orchestrator.world, WorkloadName("default", "w"), 4) == expected


@pytest.mark.parametrize("end", ["stop", "remove"])
async def test_what_is_to_end_claims_what_is_still_there(stage: Stage, end: str) -> None:
    await stage.apply(claimed(service("w", "term-takes", "5s", replicas=2), Finalizer("kept", "x")))
    world, name = stage.orchestrator.world, WorkloadName("default", "w")
    await getattr(stage.orchestrator, end)("w")
    await stage.settle()
    held = len(await stage.instances("w"))
    assert claimed_now(world, name, 1) == held
    await trio.sleep(60)
    assert claimed_now(world, name, 1) == 0
    assert claimed_now(world, WorkloadName("default", "nobody"), 1) == 0


async def test_batch_work_that_has_ended_claims_nothing_and_scaled_services_what_they_are_scaled_to(
    stage: Stage,
) -> None:
    await stage.apply(batch("job", completions=3), service("web", replicas=1))
    await stage.orchestrator.scale("web", 4)
    await trio.sleep(60)
    world = stage.orchestrator.world
    assert claimed_now(world, WorkloadName("default", "job"), 1) == 0
    assert claimed_now(world, WorkloadName("default", "web"), 1) == 4
