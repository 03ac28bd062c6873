"""Updates with a canary: a few instances are new, and the others follow once somebody promotes the update."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
from orchestrion.orchestrator_core import WorkloadPhase
from orchestrion.orchestrator_core._state.records import WorkloadControl, WorkloadName
from orchestrion.shared_types import (
    Conflict,
    DependencyCondition,
    Gang,
    InstanceState,
    UpdateStrategy,
    WorkloadDefinition,
    WorkloadNotFound,
    from_json,
)

from .core_stage import NODE, Stage, after, batch, service

CAREFUL = UpdateStrategy(max_surge=1, max_unavailable=0, min_healthy_seconds=5, progress_deadline_seconds=30, canary=1)
"""One new instance, which has to be healthy for 5 s."""


def version(word: str, replicas: int = 3, canary: int = 1, **fields: object) -> WorkloadDefinition:
    """Return a version of a service, whose update begins with so many instances."""
    update = UpdateStrategy(min_healthy_seconds=5, progress_deadline_seconds=30, canary=canary)
    return service("web", "run", "token", word, replicas=replicas, **{"update": update, **fields})


async def running(stage: Stage) -> Counter[int]:
    """Count the instances that run, by generation."""
    found = Counter[int]()
    for one in await stage.instances():
        if one.status.state is InstanceState.RUNNING and one.binding is not None:
            found[one.binding.generation] += 1
    return found


async def waiting(stage: Stage, replicas: int = 3, canary: int = 1, **fields: object) -> None:
    """Bring an update to where it waits for being promoted."""
    await stage.apply(version("old", replicas, canary, **fields))
    await trio.sleep(20)
    await stage.apply(version("new", replicas, canary, **fields))
    await trio.sleep(20 * canary)
    assert await running(stage) == {generation: n for generation, n in ((1, replicas - canary), (2, canary)) if n}


async def test_the_first_template_has_no_canary(stage: Stage) -> None:
    await stage.apply(version("old"))
    await trio.sleep(20)
    assert await running(stage) == {1: 3}
    view = await stage.view("web")
    assert (view.phase, view.canary) == (WorkloadPhase.HEALTHY, 0)
    with pytest.raises(Conflict, match="no update of workload 'web' waits for a promotion"):
        await stage.orchestrator.promote("web")


@pytest.mark.parametrize("canary", [1, 2, 3])
async def test_an_update_waits_once_its_first_instances_are_healthy(stage: Stage, canary: int) -> None:
    await stage.apply(version("old", canary=canary))
    await trio.sleep(20)
    result = await stage.orchestrator.apply([version("new", canary=canary)])
    assert "`orchestrion rollout promote web` lets the update go on" in result.changes[0].note
    await trio.sleep(100)
    assert await running(stage) == {generation: n for generation, n in ((1, 3 - canary), (2, canary)) if n}
    view = await stage.view("web")
    assert (view.phase, view.reason, view.canary) == (WorkloadPhase.PROGRESSING, "canary", canary)
    assert view.message == (
        f"{canary} of {canary} new instances are healthy; `orchestrion rollout promote web` lets the update go on, "
        "`rollout undo web` goes back"
    )


async def test_until_they_are_healthy_it_says_how_many_are(stage: Stage) -> None:
    await stage.apply(version("old"))
    await trio.sleep(20)
    await stage.apply(version("new"))
    await trio.sleep(2)
    view = await stage.view("web")
    assert (view.phase, view.reason) == (WorkloadPhase.PROGRESSING, "")
    assert "0 of 1 new instances are healthy" in view.message


async def test_an_update_that_is_promoted_goes_on_to_its_end(stage: Stage) -> None:
    await waiting(stage)
    view = await stage.orchestrator.promote("web")
    assert view.canary == 0
    await trio.sleep(40)
    assert await running(stage) == {2: 3}
    view = await stage.view("web")
    assert (view.phase, view.message) == (WorkloadPhase.HEALTHY, "")


async def test_what_is_promoted_again_is_left_as_it_is(stage: Stage) -> None:
    await waiting(stage)
    await stage.orchestrator.promote("web", dry_run=True)
    assert (await stage.view("web")).canary == 1
    await stage.orchestrator.promote("web")
    await trio.sleep(40)
    await stage.orchestrator.recorder.flush()
    revision = stage.state.revision
    await stage.orchestrator.promote("web")
    assert stage.state.revision == revision
    assert (await stage.event_reasons("workload/web")).count("RolloutPromoted") == 1


async def test_an_update_can_be_promoted_by_the_write_that_makes_it(stage: Stage) -> None:
    await stage.apply(version("old"))
    await trio.sleep(20)
    result = await stage.orchestrator.apply([version("new")], promoted=True)
    assert (result.changes[0].generation, result.changes[0].note) == (2, "")
    record = stage.orchestrator.world.workloads[WorkloadName("default", "web")]
    assert record.control.promoted == 2
    assert record.control_revision == record.spec_revision == result.revision
    await trio.sleep(40)
    assert await running(stage) == {2: 3}


async def test_an_update_that_would_wait_for_nothing_is_not_promoted_by_its_write(stage: Stage) -> None:
    await stage.apply(version("old", canary=0))
    await trio.sleep(20)
    await stage.orchestrator.apply([version("new", canary=0)], promoted=True)
    assert stage.orchestrator.world.workloads[WorkloadName("default", "web")].control.promoted == 0
    with pytest.raises(Conflict, match="waits for a promotion"):
        await stage.orchestrator.promote("web")


async def test_a_write_that_makes_no_update_promotes_none(stage: Stage) -> None:
    await waiting(stage)
    await stage.orchestrator.apply([version("new")], promoted=True)
    await stage.orchestrator.apply([version("new", replicas=4)], promoted=True)
    await trio.sleep(100)
    assert await running(stage) == {1: 3, 2: 1}


async def test_nothing_is_written_while_it_waits_and_no_time_counts(stage: Stage) -> None:
    await waiting(stage)
    await stage.orchestrator.recorder.flush()
    revision = stage.state.revision
    await trio.sleep(CAREFUL.progress_deadline_seconds * 3)
    assert stage.state.revision == revision
    await stage.orchestrator.promote("web")
    await stage.settle()
    assert (await stage.view("web")).reason == ""
    await trio.sleep(40)
    assert await running(stage) == {2: 3}


async def test_a_restart_of_the_orchestrator_changes_nothing(stage: Stage) -> None:
    await waiting(stage)
    before = stage.ids()
    await stage.restart()
    await trio.sleep(100)
    assert stage.ids() == before
    assert (await stage.view("web")).reason == "canary"
    await stage.orchestrator.promote("web")
    await stage.restart()
    await trio.sleep(40)
    assert await running(stage) == {2: 3}


async def test_a_canary_that_does_not_work_is_rolled_back(stage: Stage) -> None:
    await stage.apply(version("old"))
    await trio.sleep(20)
    before = set(stage.ids())
    await stage.apply(service("web", "exit", "1", replicas=3, update=CAREFUL))
    await trio.sleep(60)
    assert set(stage.ids()) == before
    assert (await stage.view("web")).reason == "rolled-back"
    with pytest.raises(Conflict):
        await stage.orchestrator.promote("web")


async def test_a_canary_that_breaks_while_it_waits_is_rolled_back(stage: Stage) -> None:
    await waiting(stage)
    for _ in range(3):
        for container in stage.running("web"):
            if container.config.command[-1] == "new":
                stage.exit(container)
        await trio.sleep(4)
    await trio.sleep(60)
    assert await running(stage) == {1: 3}
    assert (await stage.view("web")).reason == "rolled-back"


async def test_where_nothing_is_rolled_back_no_more_are_replaced_than_the_canary(stage: Stage) -> None:
    await stage.apply(version("old"))
    await trio.sleep(20)
    update = UpdateStrategy(canary=1, progress_deadline_seconds=30, rollback=False)
    await stage.apply(service("web", "exit", "1", replicas=3, update=update))
    await trio.sleep(100)
    found = await running(stage)
    assert (found[1], found[2] <= 1) == (3, True)
    assert (await stage.view("web")).reason == "update-failed"


async def test_what_fails_is_replaced_by_what_it_was(stage: Stage) -> None:
    await waiting(stage)
    for one in await stage.instances():
        await stage.orchestrator.stop_instance(one.name)
    await trio.sleep(60)
    assert await running(stage) == {1: 2, 2: 1}
    assert (await stage.view("web")).reason == "canary"


async def test_the_canary_stays_as_it_is_when_the_service_is_scaled(stage: Stage) -> None:
    await waiting(stage, replicas=4, canary=2)
    for replicas, wanted in ((6, {1: 4, 2: 2}), (3, {1: 1, 2: 2}), (1, {2: 1}), (0, {}), (3, {1: 1, 2: 2})):
        await stage.orchestrator.scale("web", replicas)
        await trio.sleep(60)
        assert await running(stage) == wanted


async def test_where_none_is_wanted_an_update_waits_for_nothing_and_can_be_promoted(stage: Stage) -> None:
    await stage.apply(version("old"))
    await trio.sleep(20)
    await stage.orchestrator.scale("web", 0)
    await stage.apply(version("new"))
    await trio.sleep(20)
    view = await stage.view("web")
    assert (view.phase, view.reason, view.message, view.canary) == (WorkloadPhase.HEALTHY, "", "", 1)
    await stage.orchestrator.scale("web", 3)
    await trio.sleep(60)
    assert await running(stage) == {1: 2, 2: 1}
    await stage.orchestrator.scale("web", 0)
    await trio.sleep(20)
    assert (await stage.orchestrator.promote("web")).canary == 0
    await stage.orchestrator.scale("web", 3)
    await trio.sleep(60)
    assert await running(stage) == {2: 3}


async def test_a_canary_that_is_made_smaller_gives_way_to_what_there_was(stage: Stage) -> None:
    await waiting(stage, canary=2)
    await stage.apply(version("new", canary=1))
    await trio.sleep(60)
    assert await running(stage) == {1: 2, 2: 1}
    await stage.apply(version("new", canary=0))
    await trio.sleep(60)
    assert await running(stage) == {2: 3}


async def test_another_template_begins_a_canary_of_its_own(stage: Stage) -> None:
    await waiting(stage)
    await stage.apply(version("newer"))
    await trio.sleep(40)
    assert await running(stage) == {1: 2, 3: 1}
    await stage.orchestrator.promote("web")
    await trio.sleep(60)
    await stage.apply(version("newest"))
    await trio.sleep(60)
    assert await running(stage) == {3: 2, 4: 1}


async def overtaken(stage: Stage) -> None:
    """Bring a promoted update to where most are replaced, and a third template to where it waits for a promotion."""
    await waiting(stage, replicas=6)
    await stage.orchestrator.promote("web")
    while (await running(stage))[2] < 5:
        await trio.sleep(1)
    before = {one.name for one in await stage.instances() if one.binding is not None and one.binding.generation == 2}
    await stage.apply(version("newer", replicas=6))
    await trio.sleep(60)
    assert await running(stage) == {2: 5, 3: 1}
    assert before <= {one.name for one in await stage.instances() if one.status.state is InstanceState.RUNNING}


async def test_what_serves_of_a_promoted_update_stays_while_the_next_one_waits(stage: Stage) -> None:
    await overtaken(stage)
    assert (await stage.view("web")).reason == "canary"
    texts = [each.text for each in await stage.orchestrator.explain("web")]
    assert sum("it runs generation 2: the update to generation 3 begins with 1 instance" in text for text in texts) == 5
    await stage.orchestrator.promote("web")
    await trio.sleep(100)
    assert await running(stage) == {3: 6}


async def test_what_starts_of_a_promoted_update_gives_way_to_what_was_rolled_out(stage: Stage) -> None:
    await waiting(stage)
    await stage.orchestrator.promote("web")
    while (await running(stage))[2] < 2:
        await trio.sleep(0.1)
    for container in stage.running("web"):
        if container.config.command[-1] == "new":
            stage.exit(container)
    await stage.apply(version("newer"))
    await trio.sleep(60)
    assert await running(stage) == {1: 2, 3: 1}


async def test_what_comes_after_a_service_counts_what_stays_of_an_update_that_was_overtaken(stage: Stage) -> None:
    await overtaken(stage)
    await stage.apply(service("front", after=after("web", DependencyCondition.STARTED)))
    await stage.settle()
    assert len(stage.running("front")) == 1


async def test_what_fails_of_a_promoted_update_that_was_overtaken_is_replaced_by_what_was_rolled_out(
    stage: Stage,
) -> None:
    await overtaken(stage)
    second = next(one for one in await stage.instances() if one.binding is not None and one.binding.generation == 2)
    await stage.orchestrator.stop_instance(second.name)
    await trio.sleep(60)
    assert await running(stage) == {1: 1, 2: 4, 3: 1}
    await stage.orchestrator.scale("web", 4)
    await trio.sleep(60)
    assert await running(stage) == {2: 3, 3: 1}


async def test_who_goes_back_to_a_promoted_update_that_was_overtaken_goes_on_with_it(stage: Stage) -> None:
    await overtaken(stage)
    result = await stage.orchestrator.apply([version("new", replicas=6)])
    assert "5 instances of generation 2, which run the same, stay" in result.changes[0].note
    await trio.sleep(60)
    assert await running(stage) == {2: 6}


async def test_a_rollback_of_what_overtook_a_promoted_update_leads_to_what_was_rolled_out(stage: Stage) -> None:
    await overtaken(stage)
    await stage.apply(service("web", "exit", "1", replicas=6, update=CAREFUL))
    await trio.sleep(200)
    assert await running(stage) == {1: 6}
    await stage.apply(version("newest", replicas=6))
    await trio.sleep(60)
    assert await running(stage) == {1: 5, 5: 1}


async def test_what_runs_the_same_as_before_needs_no_canary(stage: Stage) -> None:
    await waiting(stage)
    await stage.apply(version("old"))
    await trio.sleep(60)
    assert await running(stage) == {1: 3}
    await stage.orchestrator.restart("web")
    await trio.sleep(60)
    assert await running(stage) == {4: 3}


async def test_a_pause_holds_and_what_is_resumed_still_waits_for_being_promoted(stage: Stage) -> None:
    await stage.apply(version("old"))
    await trio.sleep(20)
    await stage.orchestrator.pause("web")
    await stage.apply(version("new"))
    await trio.sleep(40)
    assert await running(stage) == {1: 3}
    await stage.orchestrator.resume("web")
    await trio.sleep(40)
    assert await running(stage) == {1: 2, 2: 1}
    await stage.orchestrator.pause("web")
    await trio.sleep(40)
    assert (await stage.view("web")).reason == "paused"
    await stage.orchestrator.resume("web")
    await trio.sleep(40)
    assert await running(stage) == {1: 2, 2: 1}
    assert (await stage.view("web")).reason == "canary"


async def test_what_is_promoted_while_it_is_paused_goes_on_once_it_is_resumed(stage: Stage) -> None:
    await waiting(stage)
    await stage.orchestrator.pause("web")
    await stage.orchestrator.promote("web")
    await trio.sleep(40)
    assert await running(stage) == {1: 2, 2: 1}
    await stage.orchestrator.resume("web")
    await trio.sleep(40)
    assert await running(stage) == {2: 3}


@pytest.mark.slow
async def test_a_node_that_is_drained_is_emptied_and_the_shares_stay(stage: Stage) -> None:
    await waiting(stage, replicas=4, canary=2)
    await stage.orchestrator.drain_node(NODE, reason="repair")
    await trio.sleep(100)
    assert NODE not in {one.binding.node_id for one in await stage.instances() if one.binding is not None}
    assert await running(stage) == {1: 2, 2: 2}


async def test_a_gang_has_a_canary_and_comes_up_again_as_a_whole(stage: Stage) -> None:
    await waiting(stage, gang=Gang())
    await stage.orchestrator.scale("web", 0)
    await trio.sleep(20)
    await stage.orchestrator.scale("web", 3)
    await trio.sleep(60)
    assert await running(stage) == {1: 2, 2: 1}
    await stage.orchestrator.promote("web")
    await trio.sleep(60)
    assert await running(stage) == {2: 3}


async def test_what_comes_after_a_service_with_a_canary_does_not_wait_for_the_promotion(stage: Stage) -> None:
    await waiting(stage)
    await stage.apply(service("front", after=after("web", DependencyCondition.STARTED)))
    await stage.settle()
    assert len(stage.running("front")) == 1


async def test_an_explanation_says_what_the_others_wait_for(stage: Stage) -> None:
    await waiting(stage)
    texts = [each.text for each in await stage.orchestrator.explain("web")]
    told = "the update to generation 2 begins with 1 instance, and goes on once it is promoted"
    assert sum(told in text for text in texts) == 2


async def test_a_plan_foresees_the_canary_and_no_more(stage: Stage) -> None:
    await stage.apply(version("old"))
    await trio.sleep(20)
    plan = await stage.orchestrator.plan([version("new")])
    assert len(plan.placements) == 1
    assert "1 instance is replaced first" in plan.changes[0].note


async def test_only_a_service_that_is_there_is_promoted(stage: Stage) -> None:
    await stage.apply(batch("job", "run"))
    with pytest.raises(Conflict):
        await stage.orchestrator.promote("job")
    with pytest.raises(WorkloadNotFound):
        await stage.orchestrator.promote("nobody")


async def test_what_is_on_record_from_before_there_were_canaries_is_read(stage: Stage) -> None:
    before = b'{"replicas":2,"scaled_from":1,"stopped":false,"removed":false,"removed_at":null,"paused":3}'
    assert from_json(before, WorkloadControl) == WorkloadControl(replicas=2, scaled_from=1, paused=3)
    await waiting(stage)
    assert stage.orchestrator.world.workloads[WorkloadName("default", "web")].control.promoted == 0
