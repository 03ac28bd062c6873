"""That everything is to stop comes on record as a whole, whoever loses patience meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest
import trio
from attrs import evolve
from orchestrion.mocks import MemoryStore
from orchestrion.orchestrator_core._control.controls import SHIELDED_SECONDS
from orchestrion.orchestrator_core._state.records import WorkloadControl, WorkloadName
from orchestrion.shared_types import from_json
from orchestrion.store_interface import Compare, Operation, Put, Revision

from .core_stage import Stage, batch, service


class _SlowToStop(MemoryStore):
    """A store that takes its time for each transaction that tells workloads to stop.

    Attributes:
        seconds: How long.
        told: How many workloads each of these told.
    """

    seconds = 0.5
    told: list[int]

    async def transaction(self, compares: Sequence[Compare], operations: Sequence[Operation], /) -> Revision:
        controls = [one for one in operations if isinstance(one, Put) and one.key.endswith("/control")]
        stops = sum(from_json(put.value, WorkloadControl).stopped for put in controls)
        if stops:
            await trio.sleep(self.seconds)
            self.told.append(stops)
        return await super().transaction(compares, operations)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with trio.open_nursery() as nursery:
        made = Stage.build(nursery, 1)
        made.store_class = _SlowToStop
        await made.start()
        _store(made).told = []
        yield made
        nursery.cancel_scope.cancel()


def _store(stage: Stage) -> _SlowToStop:
    assert isinstance(stage.orchestrator.store, _SlowToStop)
    return stage.orchestrator.store


def _stopped(stage: Stage) -> int:
    return sum(record.control.stopped for record in stage.orchestrator.world.workloads.values())


async def _apply_idle(stage: Stage, count: int) -> None:
    workloads = [service(f"idle-{number}", replicas=0) for number in range(count)]
    for first in range(0, count, 40):
        await stage.apply(*workloads[first : first + 40])


async def test_who_loses_patience_leaves_every_workload_with_a_stop_on_record(stage: Stage) -> None:
    await _apply_idle(stage, 66)
    await stage.apply(service("web", "run", "ignore-term"))
    with trio.move_on_after(0.1) as impatient:
        await stage.orchestrator.stop_all()
    assert impatient.cancelled_caught
    await stage.settle()
    assert _stopped(stage) == 67


async def test_as_few_transactions_as_possible_tell_all_to_stop(stage: Stage) -> None:
    await _apply_idle(stage, 66)
    await stage.orchestrator.stop_all()
    assert _store(stage).told == [63, 3]


async def test_the_end_of_the_whole_orchestrator_does_not_keep_the_stop_from_the_record(stage: Stage) -> None:
    await stage.apply(service("a"), service("b"), batch("job", "run"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.orchestrator.stop_all)
        await stage.settle()
        started = trio.current_time()
        stage._scope.cancel()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - started == pytest.approx(_store(stage).seconds)
    await stage.start()
    assert _stopped(stage) == 3


async def test_a_store_that_hangs_holds_nobody_for_ever(stage: Stage) -> None:
    await stage.apply(service("a"))
    _store(stage).seconds = 1e9
    started = trio.current_time()
    with trio.move_on_after(1):
        await stage.orchestrator.stop_all()
    assert trio.current_time() - started == pytest.approx(SHIELDED_SECONDS)


async def test_a_store_that_is_slow_is_waited_for_by_who_has_the_patience(stage: Stage) -> None:
    await stage.apply(service("a"))
    _store(stage).seconds = SHIELDED_SECONDS * 3
    await stage.orchestrator.stop_all()
    assert stage.running() == []


async def test_what_others_change_meanwhile_is_kept_and_stops_too(stage: Stage) -> None:
    await stage.apply(service("a"), service("b"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.orchestrator.stop_all)
        await stage.settle()
        await stage.orchestrator.scale("a", 3)
        await stage.orchestrator.remove("b")
    record = stage.orchestrator.world.workloads[WorkloadName("default", "a")]
    assert record.control == evolve(record.control, stopped=True, replicas=3)
    assert stage.running() == []
