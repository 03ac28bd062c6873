"""A node that fails each start does not swallow job after job, with the schedulers that the command offers."""

from __future__ import annotations

import pytest
import trio
from orchestrion.cli._plugins import load_plugin
from orchestrion.cli._state_directory import DEFAULT_PLUGINS
from orchestrion.mocks import ClusterWorld, ContainerWorld, MemoryStore, MockClusterManager, MockRuntime, mock_nodes
from orchestrion.orchestrator_core import Orchestrator, trio_time
from orchestrion.runtime_interface import CreateOptions, StartFailed
from orchestrion.shared_types import (
    ContainerConfig,
    ContainerId,
    Metadata,
    NodeId,
    WorkloadDefinition,
    WorkloadKind,
)
from trio.testing import MockClock, wait_all_tasks_blocked

BAD = NodeId("node-00000")


class BadNodeRuntime(MockRuntime):
    """Starts nothing on the first node."""

    async def create_container(self, config: ContainerConfig, options: CreateOptions, /) -> ContainerId:
        if options.node_id == BAD:
            await trio.lowlevel.checkpoint()
            msg = "the disk is full"
            raise StartFailed(msg)
        return await super().create_container(config, options)


def job(name: str, completions: int = 1) -> WorkloadDefinition:
    main = ContainerConfig(name="main", command=("exit", "0"))
    return WorkloadDefinition(
        metadata=Metadata(name=name), kind=WorkloadKind.BATCH, containers=(main,), completions=completions
    )


@pytest.mark.parametrize(
    ("scheduler", "swallowed"),
    [(DEFAULT_PLUGINS["scheduler"], 3), ("packing-throughput", 3), ("packing-gpu", 3), ("packing-history", 1)],
)
async def test_after_a_few_failed_starts_the_next_jobs_go_elsewhere(
    autojump_clock: MockClock, scheduler: str, swallowed: int
) -> None:
    orchestrator = Orchestrator(
        BadNodeRuntime(ContainerWorld(now=trio_time)),
        MockClusterManager(ClusterWorld(mock_nodes(3))),
        load_plugin("scheduler", scheduler)(),
        MemoryStore(),
        now=trio_time,
    )

    async def nodes_of(name: str) -> set[NodeId]:
        await wait_all_tasks_blocked()
        await trio.sleep(1)
        return {each.binding.node_id for each in await orchestrator.list_instances(workload=name)}

    async with trio.open_nursery() as nursery:
        await nursery.start(orchestrator.run)
        for number in range(swallowed):
            await orchestrator.apply([job(f"early{number}")])
            assert await nodes_of(f"early{number}") == {BAD}
        await orchestrator.apply([job("late", completions=8)])
        late = await nodes_of("late")
        view = await orchestrator.get_workload("late")
        nursery.cancel_scope.cancel()

    assert late
    assert BAD not in late
    assert view.phase == "Succeeded"
