"""Placing: what holds a place, and what a placement depends on."""

from __future__ import annotations

from collections.abc import Sequence

import trio
from orchestrion.mocks import CursorScheduler, MemoryStore
from orchestrion.orchestrator_core import WorkloadPhase
from orchestrion.scheduler_interface import ClusterView, ScheduleDecision, SchedulingRequest
from orchestrion.shared_types import Resources
from orchestrion.store_interface import Compare, Operation, Revision

from .core_stage import NODE, Stage, batch, container, service


class _SlowToReply(MemoryStore):
    """A store that answers late that a binding is written."""

    async def transaction(self, compares: Sequence[Compare], operations: Sequence[Operation], /) -> Revision:
        revision = await super().transaction(compares, operations)
        if any(operation.key.endswith("/binding") for operation in operations):
            await trio.sleep(0.5)
        return revision


async def test_what_ends_before_its_binding_is_known_to_be_written_holds_no_place_for_ever(stage: Stage) -> None:
    await stage.end()
    stage.store_class = _SlowToReply
    await stage.start()
    node = stage.cluster.get_node(NODE)
    assert node is not None
    whole = Resources(cpu_millicores=node.allocatable.cpu_millicores)
    await stage.apply(batch(completions=3, containers=(container("main", "exit", "0", resources=whole),)))
    await trio.sleep(10)
    assert (await stage.view("job")).phase is WorkloadPhase.SUCCEEDED
    assert [view.reserved.cpu_millicores for view in stage.orchestrator.cluster_loop.keeper.view()] == [0, 0, 0]


class _Pondering(CursorScheduler):
    """A scheduler that takes ten seconds."""

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> list[ScheduleDecision]:
        await trio.sleep(10)
        return await super().schedule(request, view)


async def _let_the_scheduler_ponder(stage: Stage) -> None:
    await stage.end()
    stage.scheduler = _Pondering
    await stage.start()


async def test_a_change_while_the_scheduler_decides_voids_the_decision(stage: Stage) -> None:
    await _let_the_scheduler_ponder(stage)
    await stage.orchestrator.apply([batch("job", "exit", "0", "token", "old")])
    await trio.sleep(5)
    await stage.orchestrator.apply([batch("job", "exit", "0", "token", "new")])
    await trio.sleep(60)
    assert [instance.binding.generation for instance in await stage.orchestrator.list_instances()] == [2]


async def test_a_stop_while_the_scheduler_decides_voids_the_decision(stage: Stage) -> None:
    await _let_the_scheduler_ponder(stage)
    await stage.orchestrator.apply([service()])
    await trio.sleep(5)
    await stage.orchestrator.stop("web")
    await trio.sleep(60)
    assert await stage.orchestrator.list_instances() == []
