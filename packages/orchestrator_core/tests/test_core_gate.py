"""What is asked before a change is written, and what is written with it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from orchestrion.orchestrator_core import Beside, ProposedChange
from orchestrion.shared_types import Denied, PreconditionFailed, QuotaExceeded
from orchestrion.store_interface import ABSENT, Compare, Put, Revision

from .core_stage import Stage, service


async def test_what_is_beside_a_change_is_written_with_it_or_not_at_all(stage: Stage) -> None:
    async def ticket(_changes: Sequence[ProposedChange], _world: object, /) -> Beside:
        return Beside(compares=(Compare("/ticket", ABSENT),), operations=(Put("/ticket", b"1"),))

    result = await stage.orchestrator.apply([service("web")], gate=ticket)
    read = await stage.orchestrator.store.get("/ticket")
    assert read.entry is not None
    assert read.entry.modified == result.revision


async def test_a_refusal_changes_nothing(stage: Stage) -> None:
    async def refuse(_changes: Sequence[ProposedChange], _world: object, /) -> Beside:
        raise QuotaExceeded("no more than that")

    before = stage.state.revision
    with pytest.raises(QuotaExceeded):
        await stage.orchestrator.apply([service("web")], gate=refuse)
    assert stage.state.revision == before


async def test_it_sees_each_workload_as_it_was_and_as_it_would_be(stage: Stage) -> None:
    seen = list[ProposedChange]()

    async def look(changes: Sequence[ProposedChange], _world: object, /) -> Beside:
        seen.extend(changes)
        return Beside()

    await stage.orchestrator.apply([service("web", replicas=1)], gate=look)
    await stage.orchestrator.apply([service("web", replicas=2)], gate=look)
    await stage.orchestrator.scale("web", 3, gate=look)
    created, updated, scaled = seen
    assert (created.before, created.revision, created.replicas, created.generation) == (None, 0, 1, 1)
    assert updated.before is not None
    assert (updated.before.replicas, updated.replicas, updated.generation) == (1, 2, 2)
    assert (scaled.after.replicas, scaled.replicas) == (2, 3)


async def test_a_refused_scale_leaves_the_number(stage: Stage) -> None:
    async def refuse(_changes: Sequence[ProposedChange], _world: object, /) -> Beside:
        raise Denied("not you")

    await stage.apply(service("web", replicas=1))
    with pytest.raises(Denied):
        await stage.orchestrator.scale("web", 3, gate=refuse)
    assert (await stage.orchestrator.get_workload("web")).replicas == 1


async def test_a_condition_that_others_broke_meanwhile_has_it_asked_again(stage: Stage) -> None:
    asked = 0

    async def ticket(_changes: Sequence[ProposedChange], _world: object, /) -> Beside:
        nonlocal asked
        asked += 1
        held = (await stage.orchestrator.store.get("/ticket")).entry
        if asked == 1:
            await stage.orchestrator.store.put("/ticket", b"somebody else's")
        revision = ABSENT if held is None else held.modified
        return Beside(compares=(Compare("/ticket", revision),), operations=(Put("/ticket", b"ours"),))

    await stage.orchestrator.apply([service("web")], gate=ticket)
    entry = (await stage.orchestrator.store.get("/ticket")).entry
    assert asked == 2
    assert entry is not None
    assert entry.value == b"ours"


async def test_a_workload_that_is_not_as_it_was_seen_is_not_removed(stage: Stage) -> None:
    await stage.apply(service("web"))
    with pytest.raises(PreconditionFailed, match="is at revision"):
        await stage.orchestrator.remove("web", expected=Revision(1_000))
    revision = stage.orchestrator.world.workloads[("default", "web")].spec_revision  # type: ignore[index]
    await stage.orchestrator.remove("web", expected=revision)
