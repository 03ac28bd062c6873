"""Profiles as they are documented, in plain Python, by a look at every node: what the scheduler is compared with.

Which nodes can take a slot is asked of `FullScanScheduler`, node by node. What they score is worked out here from the
view alone, and shares nothing with the scheduler.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from fractions import Fraction

from attrs import evolve, frozen
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    FullScanScheduler,
    NodeView,
    SchedulingRequest,
    StaticClusterView,
    demand_of,
    expression_matches,
    is_tolerated,
    topology_domain,
    with_decisions,
)
from orchestrion.shared_types import InstanceAffinity, InstanceKey, TaintEffect, WorkloadDefinition

LEVELS = 2**18
DISLIKE = 8 * LEVELS


@frozen
class Case:
    """One slot, one node, and the cluster as it is before the slot is placed."""

    workload: WorkloadDefinition
    slot: InstanceKey
    node: NodeView
    view: ClusterView

    # -- what is free

    def free_and_all(self) -> list[tuple[int, int, int]]:
        """What is free, what there is and what the slot asks for, of cpu, memory and devices."""
        allocatable, free, asked = self.node.node.allocatable, self.node.free, demand_of(self.workload)
        devices = self.node.node.devices
        held = self.node.device_thousandths
        return [
            (free.cpu_millicores, allocatable.cpu_millicores, asked.cpu_millicores),
            (free.memory_bytes, allocatable.memory_bytes, asked.memory_bytes),
            (
                sum(1000 - min(1000, held.get(device.id, 0)) for device in devices),
                1000 * len(devices),
                sum(
                    container.gpu.thousandths or 1000 * max(1, container.gpu.count)
                    for container in self.workload.containers
                    if container.gpu is not None
                ),
            ),
        ]

    def left(self) -> int:
        """How much is left before the slot is there, in levels of the largest node's."""
        nodes = [each.node for each in self.view]
        most = [
            max(node.allocatable.cpu_millicores for node in nodes),
            max(node.allocatable.memory_bytes for node in nodes),
            max(1000 * len(node.devices) for node in nodes),
        ]
        shifts = [max(0, each.bit_length() - 18) for each in most]
        levels = sum(free >> shift for (free, _, _), shift in zip(self.free_and_all(), shifts, strict=True))
        return levels + (0 if self.node.instances else LEVELS)

    # -- what is preferred

    def disliked_taints(self) -> int:
        return sum(
            taint.effect is TaintEffect.PREFER_NO_SCHEDULE
            and not is_tolerated(taint, self.workload.placement.tolerations)
            for taint in self.node.node.taints
        )

    def node_preferences(self) -> list[tuple[int, bool]]:
        """The weight of each preferred affinity to nodes, and whether it holds."""
        labels = self.node.node.labels
        return [
            (each.weight, all(expression_matches(labels, expression) for expression in each.expressions))
            for each in self.workload.placement.node_affinities
            if each.weight is not None
        ]

    def neighbour_preferences(self) -> list[tuple[int, bool]]:
        """The same for affinities to instances."""
        return [
            (each.weight, self._suits(each))
            for each in self.workload.placement.instance_affinities
            if each.weight is not None
        ]

    def _suits(self, affinity: InstanceAffinity) -> bool:
        here = topology_domain(self.node.node, affinity.by)
        wanted = affinity.match_labels.items()
        metadata = self.workload.metadata
        meant = Counter(
            topology_domain(each.node, affinity.by)
            for each in self.view
            for instance in each.instances.values()
            if wanted and instance.namespace == metadata.namespace and wanted <= instance.labels.items()
        )
        joins = here is not None and meant[here] > 0
        if affinity.anti:
            return not joins
        is_first = not meant.total() and bool(wanted) and wanted <= metadata.labels.items()
        return joins or (here is not None and is_first)

    def crowds(self) -> list[tuple[int, int]]:
        """For each spread, how many of the workload's instances are in the node's domain, and in the emptiest."""
        found = []
        for spread in self.workload.placement.spreads:
            counts: Counter[str | None] = Counter()
            for each in self.view:
                own = sum(key.workload_id == self.workload.metadata.uid for key in each.instances)
                counts[topology_domain(each.node, spread.by)] += own
            found.append((counts[topology_domain(self.node.node, spread.by)], min(counts.values())))
        return found

    def dislikes(self) -> int:
        """What comes before all else in the profiles that an index backs."""
        steps = self.disliked_taints() + sum(count for count, _ in self.crowds())
        missed = [*self.node_preferences(), *self.neighbour_preferences()]
        return DISLIKE * steps + sum(DISLIKE * weight // 100 for weight, holds in missed if not holds)


def emptiest_first(case: Case) -> object:
    """The rule of "spread": the least of this is taken, and of equals the lowest id."""
    return case.dislikes() - case.left()


def lowest_first(case: Case) -> object:
    """The rule of "throughput"."""
    return case.dislikes()


def share(part: int, whole: int) -> int:
    """Return thousandths, rounded down."""
    return int(1000 * Fraction(part, whole))


async def decide(
    request: SchedulingRequest, view: StaticClusterView, rule: Callable[[Case], object]
) -> list[str | None]:
    """Return the node of each slot of a request, or None."""
    found: list[str | None] = []
    for slot in request.slots:
        able: list[tuple[object, AssignNode]] = []
        held = [each for each in view if slot in each.instances]
        for node in held or view:
            if request.only_node in (None, node.node.id) or held:
                alone = evolve(request, slots=(slot,), only_node=node.node.id, explain=False)
                (decision,) = await FullScanScheduler().schedule(alone, view)
                if isinstance(decision, AssignNode):
                    able.append((rule(Case(request.workload, slot, node, view)), decision))
        if not able:
            found.append(None)
            continue
        _, best = min(able, key=lambda each: each[0])  # type: ignore[arg-type, return-value] # rules return what has an order
        found.append(best.node_id)
        view = with_decisions(view, request.workload, [best])
    return found
