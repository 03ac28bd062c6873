"""What containers use, of those that run where this server does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import Final

import trio
from attrs import define, field, frozen
from orchestrion.control_plane._service.usage import tells, usage_of
from orchestrion.control_plane.usage import ContainerUsage, Used, together
from orchestrion.orchestrator_core import Orchestrator, RoutingRuntime
from orchestrion.runtime_interface import ContainerRuntime, RuntimeCapability, SupportsStats
from orchestrion.shared_types import ContainerState, NodeId, WorkloadInstance

MAX_CONTAINERS: Final = 500
"""How many containers are asked at most; where there are more, nothing is said rather than too little."""

LEAST_SECONDS: Final = 5.0
"""How far looks are apart at least, however many ask."""


@frozen
class Usage:
    """What is used together.

    Attributes:
        cpu_millicores: Thousandths of a core, since the look before.
        memory_bytes: Bytes of memory.
        nodes: Of which nodes.
        by_instance: By namespace and instance, of those that have a container that runs.
        by_node: By node, of those in `nodes`.
    """

    cpu_millicores: int
    memory_bytes: int
    nodes: frozenset[NodeId]
    by_instance: Mapping[tuple[str, str], Used] = field(factory=dict)
    by_node: Mapping[NodeId, Used] = field(factory=dict)


@define(eq=False)
class Meter:
    """Looks what containers use; what processors do is known from the second look on.

    Attributes:
        orchestrator: Whose containers.
    """

    orchestrator: Orchestrator
    _before: dict[tuple[str, str, str, int], ContainerUsage] = field(factory=dict)
    _lock: trio.Lock = field(factory=trio.Lock)
    _looked_at: datetime | None = None
    _latest: Usage | None = None

    async def latest(self, instances: Callable[[], Awaitable[Iterable[WorkloadInstance]]]) -> Usage | None:
        """Return what `look` did less than `LEAST_SECONDS` ago, or does now, for which instances are asked for."""
        async with self._lock:
            now = self.orchestrator.now()
            if self._looked_at is None or not 0 <= (now - self._looked_at).total_seconds() < LEAST_SECONDS:
                self._latest = await self.look(await instances())
                self._looked_at = now
            return self._latest

    async def look(self, instances: Iterable[WorkloadInstance]) -> Usage | None:
        """Return what some instances use now; None where no runtime can say, or there are too many.

        Those on nodes that are run from elsewhere, or that have containers of a runtime that can't say, are left out,
        and their nodes are not named.
        """
        runtime, here = self.orchestrator.runtime, self.orchestrator.node_loops
        if not _tells_at_all(runtime):
            return None
        mine = [each for each in instances if each.binding.node_id in here]
        running = [
            (each.binding.node_id, status.container_id)
            for each in mine
            for status in each.status.containers
            if status.state is ContainerState.RUNNING
        ]
        told = here.keys() - {node_id for node_id, container_id in running if not tells(runtime, container_id)}
        # Before anybody is asked: each answer costs a few reads of files, also one that is not shown.
        if (here and not told) or sum(node_id in told for node_id, _ in running) > MAX_CONTAINERS:
            return None
        report = await usage_of(
            self.orchestrator, (each for each in mine if each.binding.node_id in told), MAX_CONTAINERS
        )
        told -= set(report.untold_nodes)
        by_instance = defaultdict[tuple[str, str], list[Used]](list)
        by_node = {node_id: list[Used]() for node_id in told}
        for item in report.items:
            if item.node_id in told:
                used = item.since(self._before.get(item.key))
                by_instance[item.namespace, item.instance].append(used)
                by_node[item.node_id].append(used)
        self._before = {item.key: item for item in report.items}
        nodes = {node_id: together(every) for node_id, every in by_node.items()}
        whole = together(nodes.values())
        return Usage(
            whole.cpu_millicores or 0,
            whole.memory_bytes,
            frozenset(told),
            {name: together(every) for name, every in by_instance.items()},
            nodes,
        )


def _tells_at_all(runtime: ContainerRuntime) -> bool:
    able = isinstance(runtime, RoutingRuntime) or RuntimeCapability.STATS in runtime.capabilities
    return able and isinstance(runtime, SupportsStats)
