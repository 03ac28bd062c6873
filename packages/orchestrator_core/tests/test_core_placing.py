"""Placing: what holds a place, and what a placement depends on."""

from __future__ import annotations

from collections.abc import Sequence

import trio
from orchestrion.mocks import MemoryStore
from orchestrion.orchestrator_core import WorkloadPhase
from orchestrion.shared_types import Resources
from orchestrion.store_interface import Compare, Operation, Revision

from .core_stage import NODE, Stage, batch, container


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
