"""Updates that are paused: nothing new starts, nothing old stops, and what fails is replaced by what there was."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
from attrs import evolve
from orchestrion.orchestrator_core import WorkloadPhase
from orchestrion.shared_types import (
    ConfigInvalid,
    InstanceState,
    UpdateStrategy,
    WorkloadDefinition,
    WorkloadNotFound,
)

from .core_stage import NODE, Stage, batch, daemon, service

SLOW = UpdateStrategy(max_surge=1, max_unavailable=0, min_healthy_seconds=5, progress_deadline_seconds=30)


def old(replicas: int = 3, update: UpdateStrategy = SLOW) -> WorkloadDefinition:
    return service("web", "run", "token", "old", replicas=replicas, update=update)


def new(replicas: int = 3, update: UpdateStrategy = SLOW) -> WorkloadDefinition:
    return service("web", "run", "token", "new", replicas=replicas, update=update)


async def running(stage: Stage) -> Counter[int]:
    """Count the instances that run, by generation."""
    found = Counter[int]()
    for one in await stage.instances():
        if one.status.state is InstanceState.RUNNING and one.binding is not None:
            found[one.binding.generation] += 1
    return found


async def rolled_out(stage: Stage, definition: WorkloadDefinition) -> None:
    await stage.apply(definition)
    await trio.sleep(40)


async def half_way(stage: Stage) -> None:
    """Bring an update to where one instance of three is new, and one more than wanted may run, and pause it."""
    await rolled_out(stage, old())
    await stage.apply(new())
    await trio.sleep(3)
    assert await running(stage) == {1: 3, 2: 1}
    await stage.orchestrator.pause("web")


async def test_an_update_that_is_paused_begins_with_nothing(stage: Stage) -> None:
    await rolled_out(stage, old())
    assert (await stage.orchestrator.pause("web")).phase is WorkloadPhase.HEALTHY
    result = await stage.orchestrator.apply([new()])
    assert "updates are paused" in result.changes[0].note
    await trio.sleep(60)
    assert await running(stage) == {1: 3}
    view = await stage.view("web")
    assert (view.phase, view.reason, view.paused) == (WorkloadPhase.PROGRESSING, "paused", True)
    assert "its update to generation 2 is paused: no instance runs it" in view.message


async def test_an_update_is_held_where_it_is_and_goes_on_from_there(stage: Stage) -> None:
    await half_way(stage)
    before = {one.name for one in await stage.instances()}
    await trio.sleep(60)
    assert {one.name for one in await stage.instances()} == before
    assert "1 of 3 instances run it" in (await stage.view("web")).message
    await stage.orchestrator.resume("web")
    await trio.sleep(60)
    assert await running(stage) == {2: 3}
    view = await stage.view("web")
    assert (view.phase, view.paused, view.message) == (WorkloadPhase.HEALTHY, False, "")


async def test_time_that_it_is_paused_is_no_time_without_progress(stage: Stage) -> None:
    await half_way(stage)
    await trio.sleep(SLOW.progress_deadline_seconds * 2)
    await stage.orchestrator.resume("web")
    await stage.settle()
    assert (await stage.view("web")).reason == ""
    await trio.sleep(60)
    assert await running(stage) == {2: 3}


async def test_while_it_is_paused_the_cluster_is_not_written_to(stage: Stage) -> None:
    await half_way(stage)
    await trio.sleep(60)
    await stage.orchestrator.recorder.flush()
    revision = stage.state.revision
    await trio.sleep(60)
    assert stage.state.revision == revision


async def test_what_fails_meanwhile_is_replaced_by_what_there_was(stage: Stage) -> None:
    await half_way(stage)
    for one in await stage.instances():
        assert one.binding is not None
        if one.binding.generation == 2 or one.key.index == 0:
            await stage.orchestrator.stop_instance(one.name)
    await trio.sleep(60)
    # Of four that ran two are gone, and three are wanted.
    assert await running(stage) == {1: 3}


async def test_containers_of_either_template_are_started_again(stage: Stage) -> None:
    await half_way(stage)
    for container in list(stage.running("web")):
        stage.exit(container)
    await trio.sleep(40)
    assert await running(stage) == {1: 3, 2: 1}
    assert {max(c.attempt for c in one.status.containers) for one in await stage.instances()} == {1}


async def test_more_that_is_wanted_is_of_what_there_was(stage: Stage) -> None:
    await half_way(stage)
    await stage.orchestrator.scale("web", 6)
    await trio.sleep(40)
    assert await running(stage) == {1: 5, 2: 1}


async def test_less_that_is_wanted_takes_what_is_new_first(stage: Stage) -> None:
    await half_way(stage)
    await stage.orchestrator.scale("web", 1)
    await trio.sleep(40)
    assert await running(stage) == {1: 1}


@pytest.mark.slow
async def test_a_node_that_is_drained_is_emptied_all_the_same(stage: Stage) -> None:
    await half_way(stage)
    await stage.orchestrator.drain_node(NODE, reason="repair")
    await trio.sleep(60)
    assert NODE not in {one.binding.node_id for one in await stage.instances() if one.binding is not None}
    found = await running(stage)
    assert sum(found.values()) >= 3
    assert found[2] <= 1


@pytest.mark.slow
async def test_a_pause_outlives_a_restart_and_other_changes(stage: Stage) -> None:
    await half_way(stage)
    await stage.restart()
    await stage.apply(evolve(new(), containers=service("web", "run", "token", "newer").containers))
    await trio.sleep(60)
    assert await running(stage) == {1: 3, 2: 1}
    await stage.orchestrator.resume("web")
    await trio.sleep(60)
    assert await running(stage) == {3: 3}


async def test_what_was_stopped_starts_as_it_was_before_the_update(stage: Stage) -> None:
    await half_way(stage)
    await stage.orchestrator.stop("web")
    await trio.sleep(60)
    await stage.apply(new())
    await trio.sleep(60)
    assert await running(stage) == {1: 3}


async def test_where_there_was_nothing_before_there_is_nothing_to_hold_up(stage: Stage) -> None:
    await stage.orchestrator.apply([old()])
    await stage.orchestrator.pause("web")
    await trio.sleep(40)
    assert await running(stage) == {1: 3}
    assert (await stage.view("web")).phase is WorkloadPhase.HEALTHY


async def test_a_daemon_is_held_too(stage: Stage) -> None:
    await stage.apply(daemon("agent", "run", "token", "old"))
    await trio.sleep(60)
    await stage.orchestrator.pause("agent")
    await stage.apply(daemon("agent", "run", "token", "new"))
    (first, *_) = await stage.instances()
    await stage.orchestrator.stop_instance(first.name)
    await trio.sleep(40)
    assert await running(stage) == {1: 3}
    await stage.orchestrator.resume("agent")
    await trio.sleep(60)
    assert await running(stage) == {2: 3}


async def test_an_explanation_says_why_the_old_ones_stay(stage: Stage) -> None:
    await half_way(stage)
    texts = {each.instance: each.text for each in await stage.orchestrator.explain("web")}
    told = [
        name for name, text in texts.items() if "it runs generation 1: the update to generation 2 is paused" in text
    ]
    assert len(told) == 3
    assert len(texts) == 4


async def test_pausing_twice_and_resuming_what_goes_on_write_nothing(stage: Stage) -> None:
    await half_way(stage)
    await stage.orchestrator.recorder.flush()
    revision = stage.state.revision
    await stage.orchestrator.pause("web")
    assert stage.state.revision == revision
    await stage.orchestrator.resume("web")
    await trio.sleep(60)
    await stage.orchestrator.recorder.flush()
    revision = stage.state.revision
    await stage.orchestrator.resume("web")
    assert stage.state.revision == revision
    told = [event.reason for event in await stage.orchestrator.events(subject="workload/web")]
    assert (told.count("RolloutPaused"), told.count("RolloutResumed")) == (1, 1)


async def test_batch_work_has_no_updates_to_pause(stage: Stage) -> None:
    await stage.apply(batch("job", "run"))
    with pytest.raises(ConfigInvalid, match="no updates to pause"):
        await stage.orchestrator.pause("job")
    with pytest.raises(WorkloadNotFound):
        await stage.orchestrator.resume("nobody")


async def test_an_update_that_was_given_up_goes_back_also_while_it_is_paused(stage: Stage) -> None:
    await rolled_out(stage, old())
    await stage.apply(service("web", "exit", "1", replicas=3, update=SLOW))
    await trio.sleep(60)
    assert (await stage.view("web")).reason == "rolled-back"
    await stage.orchestrator.pause("web")
    await trio.sleep(60)
    assert await running(stage) == {1: 3}
    await stage.apply(new())
    await trio.sleep(60)
    assert await running(stage) == {1: 3}
    await stage.orchestrator.resume("web")
    await trio.sleep(60)
    assert await running(stage) == {3: 3}
