"""Applying what was planned only if nothing of it has changed since."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import pytest
from attrs import evolve
from orchestrion.orchestrator_core import Beside, ChangeAction, ProposedChange
from orchestrion.orchestrator_core._state.world import World
from orchestrion.shared_types import PreconditionFailed, WorkloadDefinition
from orchestrion.store_interface import Revision

from .core_stage import Stage, batch, service

WEB = service(replicas=2)
OTHER = service("other")


async def planned(stage: Stage, *workloads: WorkloadDefinition) -> int:
    """Return the index of a plan."""
    return (await stage.orchestrator.plan(workloads)).revision


async def test_what_nobody_has_touched_since_the_plan_is_applied(stage: Stage) -> None:
    index = await planned(stage, WEB)
    await stage.apply(OTHER)  # what the file does not name does not matter
    result = await stage.orchestrator.apply([WEB], if_index=index)
    assert result.changes[0].action is ChangeAction.CREATE
    await stage.settle()
    index = await planned(stage, WEB)
    stage.exit(stage.running("web")[0])  # nor does what becomes of instances
    await stage.settle()
    result = await stage.orchestrator.apply([evolve(WEB, replicas=3)], if_index=index)
    assert result.changes[0].action is ChangeAction.UPDATE


async def _change(stage: Stage) -> None:
    await stage.apply(evolve(WEB, replicas=5))


async def _scale(stage: Stage) -> None:
    await stage.orchestrator.scale("web", 7)


async def _stop(stage: Stage) -> None:
    await stage.orchestrator.stop("web")


async def _make_anew(stage: Stage) -> None:
    await stage.orchestrator.remove("web")
    await stage.settle()
    await stage.apply(WEB)


async def _remove(stage: Stage) -> None:
    await stage.orchestrator.remove("web")
    await stage.settle()


@pytest.mark.parametrize("meddle", [_change, _scale, _stop, _make_anew, _remove])
async def test_what_somebody_has_touched_since_the_plan_is_refused_and_nothing_is_applied(
    stage: Stage, meddle: Callable[[Stage], Awaitable[None]]
) -> None:
    await stage.apply(WEB)
    index = await planned(stage, WEB, OTHER)
    await meddle(stage)
    await stage.settle()
    before = stage.orchestrator.world.revision
    for dry_run in (True, False):
        with pytest.raises(PreconditionFailed, match=rf"workload 'web' was \w+ .*after index {index}: nothing was"):
            await stage.orchestrator.apply([evolve(WEB, replicas=3), OTHER], if_index=index, dry_run=dry_run)
    assert stage.orchestrator.world.revision == before
    assert await stage.orchestrator.list_instances(workload="other") == []
    await stage.settle()
    index = await planned(stage, WEB, OTHER)
    await stage.orchestrator.apply([WEB, OTHER], if_index=index)
    await stage.settle()
    assert len(stage.running("other")) == 1


async def test_what_somebody_has_made_since_the_plan_is_refused(stage: Stage) -> None:
    index = await planned(stage, WEB)
    await stage.apply(WEB)
    with pytest.raises(PreconditionFailed, match="'web' was changed at revision"):
        await stage.orchestrator.apply([WEB], if_index=index)


async def test_who_comes_between_the_look_and_the_write_is_seen(stage: Stage) -> None:
    await stage.apply(WEB)
    index = await planned(stage, WEB)
    meddled = False

    async def meddle(_changes: Sequence[ProposedChange], _world: World, /) -> Beside:
        nonlocal meddled
        if not meddled:
            meddled = True
            await stage.orchestrator.scale("web", 4)
        return Beside()

    with pytest.raises(PreconditionFailed, match="'web' was changed"):
        await stage.orchestrator.apply([evolve(WEB, replicas=3)], if_index=index, gate=meddle)
    assert meddled
    assert (await stage.view("web")).definition.replicas == 2


async def test_an_index_that_is_still_to_come_is_of_somebody_else(stage: Stage) -> None:
    index = stage.orchestrator.world.revision + 1
    with pytest.raises(PreconditionFailed, match="of another orchestrator"):
        await stage.orchestrator.apply([WEB], if_index=index)


async def test_where_it_is_no_longer_known_what_was_there_nothing_is_applied(stage: Stage) -> None:
    await stage.apply(OTHER)
    index = await planned(stage, WEB)
    await stage.apply(batch())
    await stage.orchestrator.store.compact(Revision(index + 1))
    with pytest.raises(PreconditionFailed, match="no longer known"):
        await stage.orchestrator.apply([WEB], if_index=index)
    # Of what is there its last write tells, however long ago that was.
    await stage.orchestrator.apply([OTHER], if_index=index)


async def test_the_index_0_is_that_of_nothing(stage: Stage) -> None:
    await stage.orchestrator.apply([WEB], if_index=0)
    with pytest.raises(PreconditionFailed):
        await stage.orchestrator.apply([WEB], if_index=0)
