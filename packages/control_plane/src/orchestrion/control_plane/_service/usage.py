"""What containers use, one by one, of those that run where this server does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from orchestrion.control_plane.usage import ContainerUsage, UsageReport
from orchestrion.orchestrator_core import Orchestrator, RoutingRuntime
from orchestrion.runtime_interface import ContainerRuntime, RuntimeCapability, SupportsStats
from orchestrion.shared_types import (
    ContainerId,
    ContainerNotFound,
    ContainerState,
    NodeId,
    OrchestrationError,
    WorkloadInstance,
)

MOST_CONTAINERS: Final = 2_000
"""How many containers are asked at most for one answer; each costs a few reads of files."""


def tells(runtime: ContainerRuntime, container_id: ContainerId) -> bool:
    """Whether what a container uses can be asked for."""
    if not isinstance(runtime, SupportsStats):
        return False
    if not isinstance(runtime, RoutingRuntime):
        return RuntimeCapability.STATS in runtime.capabilities
    try:
        return runtime.is_able(container_id, RuntimeCapability.STATS)
    except ContainerNotFound:  # it has gone meanwhile
        return True


async def usage_of(
    orchestrator: Orchestrator, instances: Iterable[WorkloadInstance], most: int = MOST_CONTAINERS
) -> UsageReport:
    """Return what the containers of some instances use that run now.

    Args:
        orchestrator: Whose instances they are.
        instances: Each once.
        most: How many containers are asked at most, >= 0.
    """
    runtime, here = orchestrator.runtime, orchestrator.node_loops
    items, untold, left_out = list[ContainerUsage](), 0, 0
    silent = set[NodeId]()
    running = sorted(
        (instance.namespace, instance.name, status.name, status.attempt, instance.binding.node_id, status.container_id)
        for instance in instances
        for status in instance.status.containers
        if status.state is ContainerState.RUNNING
    )
    for namespace, name, container, attempt, node_id, container_id in running:
        if node_id not in here or not tells(runtime, container_id) or not isinstance(runtime, SupportsStats):
            untold += 1
            silent.add(node_id)
            continue
        if len(items) >= most:
            left_out += 1
            silent.add(node_id)
            continue
        try:
            stats = await runtime.get_container_stats(container_id)
        except OrchestrationError:
            continue  # it has ended meanwhile, and uses nothing
        items.append(
            ContainerUsage(
                namespace=namespace,
                instance=name,
                node_id=node_id,
                container=container,
                attempt=attempt,
                sampled_at=stats.sampled_at,
                cpu_nanoseconds=stats.cpu_nanoseconds,
                memory_bytes=stats.memory_bytes,
                processes=stats.processes,
            )
        )
    return UsageReport(items=tuple(items), untold=untold, left_out=left_out, untold_nodes=tuple(sorted(silent)))
