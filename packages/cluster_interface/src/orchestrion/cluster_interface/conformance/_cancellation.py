"""Checks of the promised words about cancellation: every call is cancelled at each of its checkpoints."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from orchestrion.cluster_interface import ClusterClosed, ClusterEvent
from orchestrion.conformance_kit import Runner, cancellation_sweep
from orchestrion.shared_types import Node, NodeId
from trio.testing import wait_all_tasks_blocked

from ._calls import assert_each_raises, orders_of, queries_of
from ._kit import KIT
from ._reader import Reader, open_reader
from ._subject import ClusterUnderTest, background, nodes_by_id


async def _initialize(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()


async def _is_checkpoint(call: Callable[[], Awaitable[object]]) -> bool:
    with trio.CancelScope() as scope:
        scope.cancel()
        await call()
    return scope.cancelled_caught


@KIT.clause("CHECKPOINT-1", "every-call-is-a-checkpoint")
async def _calls_are_checkpoints(subject: ClusterUnderTest) -> None:
    manager = subject.manager
    assert await _is_checkpoint(manager.initialize), "the first initialize is no checkpoint"
    await manager.initialize()
    assert await _is_checkpoint(manager.initialize), "a repeated initialize is no checkpoint"
    calls = {name: call for name, call in queries_of(manager).items() if name != "subscribe_to_events"}
    for name, call in calls.items():
        assert await _is_checkpoint(call), f"{name} is no checkpoint"
    assert await _is_checkpoint(manager.aclose), "aclose is no checkpoint"
    assert await _is_checkpoint(manager.aclose), "a repeated aclose is no checkpoint"


@KIT.clause("CHECKPOINT-1", "every-order-is-a-checkpoint", requires="cordon")
async def _orders_are_checkpoints(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    node = await subject.some_node()
    for name, call in orders_of(subject.manager, node.id).items():
        assert await _is_checkpoint(call), f"{name} is no checkpoint"
    await subject.manager.aclose()


@KIT.clause("CHECKPOINT-1", "taking-an-event-that-is-there-is-a-checkpoint", needs=("touch",))
async def _steps_are_checkpoints(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    async with open_reader(subject) as reader:
        assert await _is_checkpoint(lambda: anext(reader.stream)), "taking the first Snapshot is no checkpoint"
        await reader.take_until(await nodes_by_id(subject.manager))
        await subject.change_something()
        await wait_all_tasks_blocked()
        assert await _is_checkpoint(lambda: anext(reader.stream)), "taking a change is no checkpoint"


@KIT.property_clause("CANCEL-1", "a-cancelled-initialize-may-be-repeated")
def _initialize_may_be_repeated(run: Runner[ClusterUnderTest]) -> None:
    async def verify(subject: ClusterUnderTest, _cancelled: bool) -> None:
        await subject.manager.initialize()
        await subject.some_node()
        async with open_reader(subject) as reader:
            await reader.take_until(await nodes_by_id(subject.manager))

    cancellation_sweep(run, _initialize, verify)


@KIT.property_clause("CANCEL-2", "a-cancelled-query-has-no-effect")
def _queries_have_no_effect(run: Runner[ClusterUnderTest]) -> None:
    def sweep(name: str) -> None:
        before: dict[NodeId, Node] = {}

        async def prepare(subject: ClusterUnderTest) -> None:
            await subject.manager.initialize()
            await subject.some_node()
            before.clear()
            before.update(await nodes_by_id(subject.manager))

        async def operate(subject: ClusterUnderTest) -> None:
            await queries_of(subject.manager)[name]()

        async def verify(subject: ClusterUnderTest, _cancelled: bool) -> None:
            after = await nodes_by_id(subject.manager)
            assert after.keys() == before.keys(), f"a cancelled {name} changed {sorted(before)} to {sorted(after)}"
            async with open_reader(subject) as reader:
                await reader.take_until(await nodes_by_id(subject.manager))

        cancellation_sweep(run, operate, verify, prepare=prepare)

    for name in ("get_node", "list_nodes", "subscribe_to_events"):
        sweep(name)


@KIT.clause("CANCEL-3", "a-cancelled-wait-loses-no-event", needs=("touch",))
async def _cancelled_wait_loses_nothing(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    async with open_reader(subject) as reader:
        await reader.take_until(await nodes_by_id(subject.manager))
        for _ in range(3):
            taken: list[ClusterEvent] = []

            async def wait(reader: Reader = reader, taken: list[ClusterEvent] = taken) -> None:
                taken.append(await anext(reader.stream))

            async with background(wait):
                await wait_all_tasks_blocked()
            assert not taken, f"an event came of nothing: {taken}"
            await subject.change_something()
            await reader.take_until(await nodes_by_id(subject.manager))


@KIT.clause("CANCEL-3", "a-wait-that-is-cancelled-while-an-event-comes-loses-none", needs=("touch",))
async def _race_of_event_and_cancel(subject: ClusterUnderTest) -> None:
    await subject.manager.initialize()
    async with open_reader(subject) as reader:
        await reader.take_until(await nodes_by_id(subject.manager))
        for _ in range(3):

            async def wait(reader: Reader = reader) -> None:
                await reader.take()

            async with background(wait):
                await wait_all_tasks_blocked()
                await subject.change_something()
            # Whether the wait was cancelled or had the event already, none is missing now.
            await reader.take_until(await nodes_by_id(subject.manager))


@KIT.property_clause("CANCEL-4", "a-cancelled-close-has-closed")
def _close_closes(run: Runner[ClusterUnderTest]) -> None:
    async def operate(subject: ClusterUnderTest) -> None:
        await subject.manager.aclose()

    async def verify(subject: ClusterUnderTest, _cancelled: bool) -> None:
        await assert_each_raises(queries_of(subject.manager), ClusterClosed, "after a cancelled aclose")

    cancellation_sweep(run, operate, verify, prepare=_initialize)
