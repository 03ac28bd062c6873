"""A leader that is held up gives up the lead, so that it, or another, can go on."""

from __future__ import annotations

from collections.abc import Sequence

import trio
from orchestrion.mocks import MemoryStore
from orchestrion.orchestrator_core._cluster.leadership import Campaign
from orchestrion.store_interface import Compare, Operation, Revision

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
