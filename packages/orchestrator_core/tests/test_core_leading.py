"""A leader that is held up gives up the lead, so that it, or another, can go on."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from orchestrion.mocks import MemoryStore
from orchestrion.orchestrator_core._cluster.leadership import Campaign, Leadership
from orchestrion.orchestrator_core._cluster.writing import Writer
from orchestrion.store_interface import Compare, LeaseId, Operation, Put, Revision, StoreUnavailable

from .core_stage import Stage, service


class _HungWrites(MemoryStore):
    """A store that never answers the first writes of bindings: they may still be done."""

    left = 0
    late = False

    async def transaction(self, compares: Sequence[Compare], operations: Sequence[Operation], /) -> Revision:
        if type(self).left and any(operation.key.endswith("/binding") for operation in operations):
            type(self).left -= 1
            if type(self).late:
                await super().transaction(compares, operations)
            await trio.sleep_forever()
        return await super().transaction(compares, operations)


async def _start(stage: Stage, *, hung: int, late: bool = False) -> None:
    await stage.end()
    _HungWrites.left, _HungWrites.late = hung, late
    stage.store_class = _HungWrites
    await stage.start()


async def test_a_write_that_is_never_answered_holds_up_the_cluster_for_no_longer_than_a_lease(stage: Stage) -> None:
    await _start(stage, hung=1)
    await stage.apply(service())
    assert stage.running("web") == []
    await trio.sleep(11)
    assert stage.slots("web") == [(0, 1)]


async def test_a_write_that_was_done_and_never_answered_is_not_done_twice(stage: Stage) -> None:
    await _start(stage, hung=1, late=True)
    await stage.apply(service(replicas=2))
    await trio.sleep(60)
    assert stage.slots("web") == [(0, 1), (1, 1)]


async def test_another_leads_where_the_store_answers_one_no_more(stage: Stage) -> None:
    stage.options["take_over"] = False
    await _start(stage, hung=10**6)
    await stage.apply(service())
    with trio.fail_after(15):
        async with Campaign(stage.orchestrator.store, "rival", 10).lead():
            await trio.sleep(0)
    _HungWrites.left = 0
    await trio.sleep(30)
    assert stage.slots("web") == [(0, 1)]


class _ForgetsLeases(MemoryStore):
    """A store in which the first lease has run out by the time that it is used."""

    forgets = True

    async def grant_lease(self, ttl_seconds: float, /) -> LeaseId:
        lease = await super().grant_lease(ttl_seconds)
        if type(self).forgets:
            type(self).forgets = False
            await self.revoke(lease)
        return lease


async def test_a_lease_that_runs_out_before_the_lead_was_taken_is_asked_for_anew(stage: Stage) -> None:
    await stage.end()
    _ForgetsLeases.forgets = True
    stage.store_class = _ForgetsLeases
    await stage.start()
    await stage.apply(service())
    await trio.sleep(30)
    assert not _ForgetsLeases.forgets
    assert len(stage.running("web")) == 1


class _LosesAnswers(MemoryStore):
    """A store that does the first transaction, and says that it could not."""

    left = 0

    async def transaction(self, compares: Sequence[Compare], operations: Sequence[Operation], /) -> Revision:
        revision = await super().transaction(compares, operations)
        if type(self).left:
            type(self).left -= 1
            raise StoreUnavailable("the answer was lost")
        return revision


async def test_after_a_write_that_may_have_happened_the_next_plan_is_made_from_what_has_happened(
    stage: Stage,
) -> None:
    await stage.end()
    stage.store_class = _LosesAnswers
    await stage.start()
    store = stage.orchestrator.store
    leadership = Leadership(Compare("/fence", await store.put("/fence", b"")), 10.0)
    failing = Writer(store, stage.orchestrator.world)
    _LosesAnswers.left = 1
    with pytest.raises(StoreUnavailable):
        await failing.write(leadership, (), (Put("/other", b"1"),))
    written = stage.state.revision
    await failing.seen(leadership)
    assert stage.orchestrator.world.revision >= written
