"""What containers use, of those that run where this server does."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from attrs import define, field, frozen
from orchestrion.control_plane._service.usage import tells
from orchestrion.orchestrator_core import Orchestrator, RoutingRuntime
from orchestrion.runtime_interface import ContainerRuntime, ContainerStats, RuntimeCapability, SupportsStats
from orchestrion.shared_types import ContainerId, ContainerState, NodeId, OrchestrationError, WorkloadInstance

MAX_CONTAINERS: Final = 500
"""How many containers are asked at most; where there are more, nothing is said rather than too little."""


@frozen
class Usage:
    """What is used together.

    Attributes:
        cpu_millicores: Thousandths of a core, since the look before.
        memory_bytes: Bytes of memory.
        nodes: Of which nodes.
    """

    cpu_millicores: int
    memory_bytes: int
    nodes: frozenset[NodeId]


@define(eq=False)
class Meter:
    """Looks what containers use; what processors do is known from the second look on.

    Attributes:
        orchestrator: Whose containers.
    """

    orchestrator: Orchestrator
    _before: dict[ContainerId, tuple[datetime, int]] = field(factory=dict)

    async def look(self, instances: Iterable[WorkloadInstance]) -> Usage | None:
        """Return what some instances use now; None where no runtime can say, or there are too many.

        Those on nodes that are run from elsewhere, or that have containers of a runtime that can't say, are left out,
        and their nodes are not named.
        """
        runtime = self.orchestrator.runtime
        if not isinstance(runtime, SupportsStats):
            return None
        there = {node_id: list[ContainerId]() for node_id in self.orchestrator.node_loops}
        for instance in instances:
            if instance.binding.node_id in there:
                there[instance.binding.node_id] += [
                    container.container_id
                    for container in instance.status.containers
                    if container.state is ContainerState.RUNNING
                ]
        told = {node_id: ids for node_id, ids in there.items() if all(tells(runtime, id_) for id_ in ids)}
        wanted = [id_ for ids in told.values() for id_ in ids]
        if len(wanted) > MAX_CONTAINERS or (there and not told) or not _tells_at_all(runtime):
            return None
        found = dict[ContainerId, ContainerStats]()
        for container_id in wanted:
            try:
                found[container_id] = await runtime.get_container_stats(container_id)
            except OrchestrationError:
                continue  # it has gone meanwhile
        cpu = sum(self._millicores(container_id, stats) for container_id, stats in found.items())
        self._before = {id_: (stats.sampled_at, stats.cpu_nanoseconds) for id_, stats in found.items()}
        return Usage(round(cpu), sum(stats.memory_bytes for stats in found.values()), frozenset(told))

    def _millicores(self, container_id: ContainerId, stats: ContainerStats) -> float:
        before = self._before.get(container_id)
        if before is None:
            return 0.0
        seconds = (stats.sampled_at - before[0]).total_seconds()
        return max(0, stats.cpu_nanoseconds - before[1]) / seconds / 1e6 if seconds > 0 else 0.0


def _tells_at_all(runtime: ContainerRuntime) -> bool:
    return isinstance(runtime, RoutingRuntime) or RuntimeCapability.STATS in runtime.capabilities
