"""What is wanted again while instances of it are still there: they stay, and only the others are replaced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
import trio
from attrs import evolve
from orchestrion.orchestrator_core import (
    CAUSE_ANNOTATION,
    Beside,
    ChangeAction,
    ProposedChange,
    WorkloadName,
    WorkloadPhase,
    wanted_since,
)
from orchestrion.orchestrator_core._control.admission import admit
from orchestrion.orchestrator_core._control.bringing_back import generation_kept
from orchestrion.orchestrator_core._state.records import SINCE_ANNOTATION
from orchestrion.orchestrator_core._state.world import WorkloadRecord, World
from orchestrion.shared_types import (
    DesiredState,
    Gang,
    InstanceState,
    UpdateStrategy,
    WorkloadDefinition,
)

from .core_stage import Stage, batch, daemon, service

SLOW = UpdateStrategy(max_surge=1, max_unavailable=0, min_healthy_seconds=5, progress_deadline_seconds=30)


def version(word: str, **fields: object) -> WorkloadDefinition:
    """Return a version of a service of three instances, which are replaced one after the other."""
    return service("web", "run", "token", word, **{"replicas": 3, "update": SLOW, **fields})


async def running(stage: Stage) -> Counter[int]:
    """Count the instances that run, by generation."""
    found = Counter[int]()
    for one in await stage.instances():
        if one.status.state is InstanceState.RUNNING and one.binding is not None:
            found[one.binding.generation] += 1
    return found


async def names(stage: Stage, generation: int) -> set[str]:
    """Return the instances of a generation that run and are to."""
    return {
        one.name
        for one in await stage.instances()
        if one.binding is not None
        and one.binding.generation == generation
        and one.binding.desired is DesiredState.RUN
        and one.status.state is InstanceState.RUNNING
    }


def record(stage: Stage, name: str = "web") -> WorkloadRecord:
    """Return what is on record."""
    return stage.orchestrator.world.workloads[WorkloadName("default", name)]


def template_generation(stage: Stage) -> int:
    """Return the generation of the template that is wanted."""
    spec = record(stage).spec
    assert spec is not None
    return spec.template_generation


async def half_way(stage: Stage, **fields: object) -> set[str]:
    """Bring an update to where one of four instances is new, and return the others."""
    await stage.apply(version("old", **fields))
    await trio.sleep(40)
    await stage.apply(version("new", **fields))
    await trio.sleep(3)
    assert await running(stage) == {1: 3, 2: 1}
    return await names(stage, 1)


async def further(stage: Stage) -> None:
    """Bring an update to where two of four instances are new."""
    await half_way(stage)
    await trio.sleep(4)
    assert await running(stage) == {1: 2, 2: 2}


async def test_an_update_that_is_taken_back_leaves_what_it_had_not_replaced(stage: Stage) -> None:
    await further(stage)
    kept = await names(stage, 1)
    result = await stage.orchestrator.apply([version("old")])
    change = result.changes[0]
    assert (change.action, change.generation, change.restarts) == (ChangeAction.UPDATE, 3, True)
    assert change.note == "2 instances of generation 1, which run the same, stay"
    await trio.sleep(60)
    assert await running(stage) == {1: 3}
    assert await names(stage, 1) > kept
    view = await stage.view("web")
    assert (view.phase, view.generation, view.updated, view.message) == (WorkloadPhase.HEALTHY, 1, 3, "")
    assert view.definition.metadata.generation == 3


async def test_what_is_brought_back_is_on_record_with_since_when(stage: Stage) -> None:
    await half_way(stage)
    await stage.apply(version("old"))
    assert template_generation(stage) == 1
    template = record(stage).templates[1]
    assert (template.metadata.generation, template.metadata.annotations) == (1, {SINCE_ANNOTATION: "3"})
    await stage.apply(version("old", replicas=4))
    assert wanted_since(record(stage).templates[1]) == 3, "numbers make no difference to what runs"
    assert wanted_since(record(stage).templates[2]) == 2


async def test_what_an_author_writes_in_the_place_of_such_notes_is_none_of_them(stage: Stage) -> None:
    definition = version("old")
    noted = evolve(definition.metadata, annotations={SINCE_ANNOTATION: "of old", "mine": "a"})
    await stage.apply(evolve(definition, metadata=noted))
    assert record(stage).templates[1].metadata.annotations == {"mine": "a"}


async def test_who_changes_their_mind_twice_has_nothing_replaced_that_runs_the_same(stage: Stage) -> None:
    await further(stage)
    await stage.apply(version("old"))
    new = await names(stage, 2)
    assert new
    await stage.apply(version("new"))
    assert template_generation(stage) == 2
    assert wanted_since(record(stage).templates[2]) == 4
    await trio.sleep(60)
    assert await running(stage) == {2: 3}
    assert await names(stage, 2) > new


async def test_a_canary_that_is_taken_back_is_all_that_goes(stage: Stage) -> None:
    update = evolve(SLOW, canary=1)
    await stage.apply(version("old", update=update))
    await trio.sleep(40)
    await stage.apply(version("new", update=update))
    await trio.sleep(60)
    assert await running(stage) == {1: 2, 2: 1}
    kept = await names(stage, 1)
    result = await stage.orchestrator.apply([version("old", update=update)])
    assert "promote" not in result.changes[0].note
    await trio.sleep(60)
    assert await running(stage) == {1: 3}
    assert await names(stage, 1) > kept
    assert (await stage.view("web")).phase is WorkloadPhase.HEALTHY


async def test_an_update_that_was_promoted_and_taken_back_has_a_canary_again(stage: Stage) -> None:
    update = evolve(SLOW, canary=1)
    await stage.apply(version("old", update=update))
    await trio.sleep(40)
    await stage.apply(version("new", update=update))
    await trio.sleep(60)
    await stage.orchestrator.promote("web")
    await stage.apply(version("old", update=update))
    result = await stage.orchestrator.apply([version("new", update=update)])
    assert "`orchestrion rollout promote web` lets the update go on" in result.changes[0].note
    assert (template_generation(stage), record(stage).control.promoted) == (2, 0)
    await trio.sleep(100)
    assert await running(stage) == {1: 2, 2: 1}
    await stage.apply(version("old", update=update))
    await stage.orchestrator.apply([version("new", update=update)], promoted=True)
    assert (template_generation(stage), record(stage).control.promoted) == (2, 2)


async def test_what_was_rolled_back_already_needs_nothing_to_be_replaced(stage: Stage) -> None:
    await stage.apply(version("old"))
    await trio.sleep(40)
    before = await names(stage, 1)
    await stage.apply(service("web", "exit", "1", replicas=3, update=SLOW))
    await trio.sleep(100)
    assert (await stage.view("web")).reason == "rolled-back"
    result = await stage.orchestrator.apply([version("old")])
    assert not result.changes[0].restarts
    await trio.sleep(60)
    assert await names(stage, 1) == before
    view = await stage.view("web")
    assert (view.phase, view.reason, view.message) == (WorkloadPhase.HEALTHY, "", "")


async def test_what_was_rolled_back_from_is_tried_again_as_a_new_generation(stage: Stage) -> None:
    broken = service("web", "exit", "1", replicas=3, update=SLOW)
    await stage.apply(version("old"))
    await trio.sleep(40)
    await stage.apply(broken)
    await trio.sleep(100)
    await stage.apply(version("old"))
    await stage.apply(broken)
    assert template_generation(stage) == 4
    await trio.sleep(100)
    assert await running(stage) == {1: 3}
    assert (await stage.view("web")).reason == "rolled-back"


async def test_what_runs_the_same_as_what_it_was_rolled_back_to_replaces_none_of_that(stage: Stage) -> None:
    await stage.apply(version("old"))
    await trio.sleep(40)
    await stage.apply(service("web", "exit", "1", replicas=3, update=SLOW))
    await trio.sleep(100)
    known = record(stage)
    assert known.spec is not None
    # As if nothing of the first generation had been there when the second, of the same, was asked for.
    metadata = known.spec.definition.metadata
    same = evolve(version("old"), metadata=evolve(metadata, annotations={}))
    spec = evolve(known.spec, definition=same)
    known = evolve(known, spec=spec, templates={**known.templates, 2: same})
    world = World(workloads={known.name: known})
    assert metadata.created_at is not None
    (admission,) = admit([version("old")], world, metadata.created_at, lambda: metadata.uid)
    assert admission.spec is not None
    assert admission.spec.template_generation == 1
    assert not admission.change.restarts


async def test_a_generation_that_is_given_up_is_not_gone_on_with_though_it_is_still_there(stage: Stage) -> None:
    await further(stage)
    known = record(stage)
    assert known.spec is not None
    assert known.progress is not None
    new = known.spec.definition
    assert generation_kept(new, known) == 2
    assert generation_kept(new, evolve(known, progress=evolve(known.progress, failed_generation=2))) == 0
    assert generation_kept(new, evolve(known, progress=None)) == 2, "nothing of it has failed"


async def test_numbers_leave_it_on_record_why_there_is_a_generation(stage: Stage) -> None:
    await stage.apply(version("old"))
    await stage.orchestrator.restart("web")
    await stage.apply(version("old", replicas=4))
    assert record(stage).templates[2].metadata.annotations == {CAUSE_ANNOTATION: "restart"}


async def test_a_generation_that_was_never_rolled_out_is_not_kept_once_something_of_it_failed(stage: Stage) -> None:
    await further(stage)
    for container in [each for each in stage.running("web") if "new" in each.config.command][:1]:
        stage.exit(container)
    await trio.sleep(2)
    assert await running(stage) == {1: 2, 2: 2}, "it was started again"
    await stage.apply(version("newest"))
    assert await names(stage, 2)
    await stage.apply(version("new"))
    assert template_generation(stage) == 4


async def test_a_restart_replaces_what_runs_the_same(stage: Stage) -> None:
    await stage.apply(version("old"))
    await trio.sleep(40)
    before = await names(stage, 1)
    await stage.orchestrator.restart("web")
    await trio.sleep(60)
    assert await running(stage) == {2: 3}
    assert not await names(stage, 2) & before


async def test_what_was_there_before_a_restart_is_not_kept(stage: Stage) -> None:
    await half_way(stage)
    await stage.orchestrator.restart("web")
    await stage.apply(version("newest"))
    await stage.apply(version("old"))
    assert template_generation(stage) == 5
    await trio.sleep(100)
    assert await running(stage) == {5: 3}


async def test_what_was_restarted_is_kept_by_who_comes_back_to_it(stage: Stage) -> None:
    await stage.apply(version("old"))
    await trio.sleep(40)
    await stage.orchestrator.restart("web")
    await trio.sleep(60)
    kept = await names(stage, 2)
    await stage.apply(version("new"))
    await trio.sleep(3)
    await stage.apply(version("old"))
    template = record(stage).templates[2]
    assert template.metadata.annotations == {CAUSE_ANNOTATION: "restart", SINCE_ANNOTATION: "4"}
    await trio.sleep(60)
    assert await names(stage, 2) == kept


async def test_an_update_that_was_rolled_out_is_taken_back_by_a_new_generation(stage: Stage) -> None:
    await stage.apply(version("old"))
    await trio.sleep(40)
    await stage.apply(version("new"))
    await trio.sleep(60)
    await stage.apply(version("old"))
    assert template_generation(stage) == 3
    await trio.sleep(60)
    assert await running(stage) == {3: 3}


async def test_labels_are_seen_from_outside_and_so_make_a_difference(stage: Stage) -> None:
    await half_way(stage)
    await stage.apply(version("old", labels={"team": "a"}))
    assert template_generation(stage) == 3


async def test_while_updates_are_paused_the_way_back_is_held_up_as_well(stage: Stage) -> None:
    await half_way(stage)
    await stage.orchestrator.pause("web")
    result = await stage.orchestrator.apply([version("old")])
    assert "updates are paused" in result.changes[0].note
    before = {one.name for one in await stage.instances()}
    await trio.sleep(60)
    assert {one.name for one in await stage.instances()} == before
    view = await stage.view("web")
    assert (view.phase, view.reason) == (WorkloadPhase.PROGRESSING, "paused")
    await stage.orchestrator.resume("web")
    await trio.sleep(60)
    assert await running(stage) == {1: 3}
    assert (await stage.view("web")).phase is WorkloadPhase.HEALTHY


async def test_a_way_back_that_is_paused_places_what_it_leads_to(stage: Stage) -> None:
    await further(stage)
    await stage.apply(version("old"))
    await stage.orchestrator.pause("web")
    assert record(stage).control.paused == 1
    await trio.sleep(60)
    left = await names(stage, 2)
    assert left
    for name in left:
        await stage.orchestrator.stop_instance(name)
    await trio.sleep(60)
    assert await running(stage) == {1: 3}
    assert (await stage.view("web")).phase is WorkloadPhase.HEALTHY


async def test_a_gang_keeps_what_is_still_there(stage: Stage) -> None:
    before = await half_way(stage, gang=Gang())
    await stage.apply(version("old", gang=Gang()))
    await trio.sleep(60)
    assert await running(stage) == {1: 3}
    assert await names(stage, 1) == before


async def test_a_daemon_keeps_what_is_still_there(stage: Stage) -> None:
    update = UpdateStrategy(min_healthy_seconds=5)
    await stage.apply(daemon("web", "run", "token", "old", update=update))
    await trio.sleep(20)
    before = await names(stage, 1)
    assert len(before) > 1
    await stage.apply(daemon("web", "run", "token", "new", update=update))
    await trio.sleep(2)
    kept = await names(stage, 1)
    assert kept
    assert await names(stage, 2)
    await stage.apply(daemon("web", "run", "token", "old", update=update))
    await trio.sleep(60)
    assert await running(stage) == {1: len(before)}
    assert await names(stage, 1) >= kept


async def test_each_run_of_batch_work_is_its_own(stage: Stage) -> None:
    await stage.apply(batch("web", "run"))
    await stage.apply(service("other", "run"))
    await trio.sleep(10)
    kept = []
    for name in ("web", "other"):
        there = record(stage, name)
        assert there.spec is not None
        kept.append(generation_kept(there.spec.definition, there))
    assert kept == [0, 1]


async def test_a_server_that_dies_on_the_way_back_goes_on_with_it(stage: Stage) -> None:
    before = await half_way(stage)
    await stage.apply(version("old"))
    await stage.restart()
    await trio.sleep(60)
    assert await running(stage) == {1: 3}
    assert await names(stage, 1) == before


async def test_what_is_to_be_kept_is_thought_about_anew_where_its_update_gets_on_meanwhile(stage: Stage) -> None:
    await half_way(stage)
    running_before = list[Counter[int]]()

    async def gate(_changes: Sequence[ProposedChange], _world: World, /) -> Beside:
        running_before.append(await running(stage))
        if len(running_before) == 1:
            await trio.sleep(60)
        return Beside()

    await stage.orchestrator.apply([version("old")], gate=gate)
    assert running_before == [{1: 3, 2: 1}, {2: 3}]
    assert template_generation(stage) == 3


async def test_old_templates_go_once_nothing_needs_them(stage: Stage) -> None:
    await half_way(stage)
    await stage.apply(version("old"))
    await trio.sleep(60)
    assert set(record(stage).templates) == {1, 2}, "an instance of it is remembered"
    retention = evolve(version("old").retention, terminal_instances=0)
    await stage.apply(version("old", retention=retention))
    await trio.sleep(60)
    assert set(record(stage).templates) == {1}


@pytest.mark.parametrize(
    ("word", "note", "placed"),
    [
        ("old", "2 instances of generation 1, which run the same, stay", 1),
        ("new", "1 instance of generation 2, which runs the same, stays", 2),
    ],
)
async def test_a_plan_says_what_stays(stage: Stage, word: str, note: str, placed: int) -> None:
    await further(stage)
    if word == "new":
        await stage.apply(version("newest"))
    plan = await stage.orchestrator.plan([version(word)])
    assert plan.changes[0].note == note
    assert len(plan.placements) == placed
