"""Workloads that are restarted: new instances of the same, step by step, as a generation that says why it is there."""

from __future__ import annotations

import pytest
import trio
from orchestrion.orchestrator_core import CAUSE_ANNOTATION, WorkloadName, WorkloadPhase
from orchestrion.shared_types import (
    ConfigInvalid,
    Conflict,
    InstanceState,
    UpdateStrategy,
    WorkloadDefinition,
    WorkloadNotFound,
)

from .core_stage import Stage, batch, daemon, service

STEPWISE = UpdateStrategy(max_surge=1, max_unavailable=0, min_healthy_seconds=5, progress_deadline_seconds=30)
WEB = WorkloadName("default", "web")


def web(token: str = "old") -> WorkloadDefinition:
    return service("web", "run", "token", token, replicas=3, update=STEPWISE)


async def running(stage: Stage) -> set[str]:
    return {one.name for one in await stage.instances() if one.status.state is InstanceState.RUNNING}


async def test_new_instances_of_the_same_take_the_place_of_all(stage: Stage) -> None:
    await stage.apply(web())
    await trio.sleep(60)
    before = await running(stage)
    result = await stage.orchestrator.restart("web")
    assert (result.changes[0].generation, result.changes[0].restarts) == (2, True)
    await trio.sleep(90)
    assert len(await running(stage)) == 3
    assert not await running(stage) & before
    view = await stage.view("web")
    assert (view.phase, view.updated, view.generation) == (WorkloadPhase.HEALTHY, 3, 2)
    assert "generation 2: restart" in [event.message for event in await stage.orchestrator.events()]


async def test_as_many_serve_meanwhile_as_the_update_strategy_wants(stage: Stage) -> None:
    await stage.apply(web())
    await trio.sleep(60)
    await stage.orchestrator.restart("web")
    while (view := await stage.view("web")).updated < 3 or view.phase is not WorkloadPhase.HEALTHY:
        assert view.available >= 3
        assert len(await running(stage)) <= 4
        await trio.sleep(1)


async def test_its_template_names_the_cause_and_its_definition_stays_as_it_was(stage: Stage) -> None:
    await stage.apply(web())
    await stage.orchestrator.restart("web")
    record = stage.orchestrator.world.workloads[WEB]
    assert record.spec is not None
    assert record.templates[2].metadata.annotations == {CAUSE_ANNOTATION: "restart"}
    assert record.spec.definition.metadata.annotations == {}
    (again,) = (await stage.orchestrator.apply([web()])).changes
    assert (again.differences, again.generation) == ((), 2)


async def test_a_daemon_is_restarted_as_well(stage: Stage) -> None:
    await stage.apply(daemon())
    await trio.sleep(60)
    before = await running(stage)
    await stage.orchestrator.restart("agent")
    await trio.sleep(60)
    assert len(await running(stage)) == len(before) > 0
    assert not await running(stage) & before


async def test_a_restart_that_is_only_tried_out_changes_nothing(stage: Stage) -> None:
    await stage.apply(web())
    await trio.sleep(60)
    before = await running(stage)
    assert (await stage.orchestrator.restart("web", dry_run=True)).changes[0].generation == 2
    await trio.sleep(60)
    assert await running(stage) == before


async def test_what_has_nothing_to_restart_says_what_to_do_instead(stage: Stage) -> None:
    await stage.apply(web(), batch())
    await trio.sleep(60)
    with pytest.raises(WorkloadNotFound):
        await stage.orchestrator.restart("nobody")
    with pytest.raises(ConfigInvalid) as batch_work:
        await stage.orchestrator.restart("job")
    assert "start --rerun job" in batch_work.value.remedy
    await stage.orchestrator.pause("web")
    with pytest.raises(Conflict, match="paused") as paused:
        await stage.orchestrator.restart("web")
    assert paused.value.remedy == "orchestrion rollout resume web"
    await stage.orchestrator.resume("web")
    await stage.orchestrator.stop("web")
    with pytest.raises(Conflict, match="stopped"):
        await stage.orchestrator.restart("web")
    await stage.orchestrator.remove("web")
    with pytest.raises(Conflict, match="being removed"):
        await stage.orchestrator.restart("web")


async def test_what_was_rolled_back_is_not_brought_in_again_by_a_restart(stage: Stage) -> None:
    await stage.apply(web())
    await trio.sleep(60)
    await stage.apply(service("web", "exit", "1", replicas=3, update=STEPWISE))
    await trio.sleep(300)
    assert (await stage.view("web")).reason == "rolled-back"
    before = await running(stage)
    with pytest.raises(Conflict, match="rolled back"):
        await stage.orchestrator.restart("web")
    assert await running(stage) == before
