"""Events: they are kept in bounds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from unittest.mock import patch

import trio
from orchestrion.mocks import MemoryState, MemoryStore
from orchestrion.orchestrator_core import trio_time
from orchestrion.orchestrator_core._state import events as event_log
from orchestrion.orchestrator_core._state.events import EventRecorder
from orchestrion.shared_types import Uid
from orchestrion.store_interface import Compare, Operation, Revision


class _SlowStore(MemoryStore):
    """A store that takes its time to write."""

    async def transaction(self, compares: Sequence[Compare], operations: Sequence[Operation], /) -> Revision:
        await trio.sleep(0.01)
        return await super().transaction(compares, operations)


async def test_two_who_write_events_at_once_keep_as_many_as_one(autojump_clock: trio.testing.MockClock) -> None:
    uids = count()
    store = _SlowStore(MemoryState())
    recorder = EventRecorder(store, trio_time, lambda: Uid(f"{next(uids):08}"))
    with patch.object(event_log, "MAX_EVENTS", 20):
        for _ in range(10):
            async with trio.open_nursery() as nursery:
                for _ in range(2):
                    for _ in range(10):
                        recorder.record("default", "workload/web", "Tested", "it was tested")
                    nursery.start_soon(recorder.flush)
                    await trio.sleep(0.005)
        kept = [entry.key for entry in (await store.list("/event/")).entries]
    assert kept == [f"/event/default/{number:08}" for number in range(180, 200)]
