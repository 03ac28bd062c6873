"""Profiles as they are documented, in plain Python, by a look at every node: what the scheduler is compared with.

Which nodes can take a slot is asked of `FullScanScheduler`, node by node. What they score is worked out here from the
view alone, and shares nothing with the scheduler.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any
from zlib import crc32

from attrs import evolve, frozen
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    FullScanScheduler,
    NodeView,
    ScheduleDecision,
    SchedulingRequest,
    StaticClusterView,
    demand_of,
    device_wants,
    expression_matches,
    find_grants,
    is_tolerated,
    topology_domain,
    with_decisions,
)
from orchestrion.scheduler_packing import Profile
from orchestrion.shared_types import InstanceAffinity, InstanceKey, NodeId, TaintEffect, WorkloadDefinition

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


def emptiest_first(case: Case) -> int:
    """The rule of "spread": the least of this is taken, and of equals the lowest id."""
    return case.dislikes() - case.left()


def lowest_first(case: Case) -> int:
    """The rule of "throughput"."""
    return case.dislikes()


def share(part: int, whole: int) -> int:
    """Return thousandths, rounded down."""
    return int(1000 * Fraction(part, whole))


async def able(request: SchedulingRequest, slot: InstanceKey, view: StaticClusterView) -> list[NodeView]:
    """Return the nodes that can take a slot, or the one that holds it."""
    held = [each for each in view if slot in each.instances]
    nodes = []
    for node in held or view:
        if request.only_node in (None, node.node.id) or held:
            alone = evolve(request, slots=(slot,), only_node=node.node.id, explain=False)
            (decision,) = await FullScanScheduler().schedule(alone, view)
            if isinstance(decision, AssignNode):
                nodes.append(node)
    return nodes


async def follow(
    request: SchedulingRequest,
    view: StaticClusterView,
    decisions: Sequence[ScheduleDecision],
    rule: Callable[[Case], Any],
) -> None:
    """Check that each slot goes to the best of the nodes that can take it, once those before it have their places."""
    for slot, decision in zip(request.slots, decisions, strict=True):
        cases = [Case(request.workload, slot, node, view) for node in await able(request, slot, view)]
        best = min(cases, key=rule, default=None)
        chosen = decision.node_id if isinstance(decision, AssignNode) else None
        assert chosen == (best and best.node.node.id), f"{slot}: {[(each.node.node.id, rule(each)) for each in cases]}"
        view = with_decisions(view, request.workload, [decision])


# -- profiles of one's own


@frozen
class Weighted:
    """The rule of a weighted sum: the least of this is taken."""

    profile: Profile
    learned: tuple[int, ...] = ()
    failed: Mapping[NodeId, int] = {}

    def __call__(self, case: Case) -> tuple[int, int, int]:
        return (-sum(self.parts(case).values()), *self._tie(case))

    def parts(self, case: Case) -> dict[str, int]:
        """What each plug-in adds."""
        plug_ins: dict[str, Callable[[Case], int]] = {
            "binpack": binpack,
            "spread": lambda case: 1000 - binpack(case) if shares(case) else 0,
            "balance": balance,
            "node-affinity": lambda case: held(case.node_preferences()),
            "instance-affinity": lambda case: held(case.neighbour_preferences()),
            "topology-spread": evenness,
            "prefer-no-schedule": lambda case: int(Fraction(1000, 1 + case.disliked_taints())),
            "gpu-locality": locality,
            "learned": self._learned,
            "node-history": lambda case: self.failed.get(case.node.node.id, 1000),
        }
        return {name: weight * plug_ins[name](case) for name, weight in self.profile.weights.items() if weight}

    def _learned(self, case: Case) -> int:
        logit = Fraction(sum(w * x for w, x in zip(self.learned, features(case), strict=True)), 65536 * 1000)
        step = Fraction(math.floor(max(Fraction(-8), min(Fraction(8), logit)) * 64), 64)
        return round(1000 / (1 + math.exp(-step)))

    def _tie(self, case: Case) -> tuple[int, int]:
        ids = [each.node.id for each in case.view]
        place, load = ids.index(case.node.node.id), len(case.node.instances)
        match self.profile.ties:
            case "lowest-id":
                return 0, place
            case "highest-id":
                return 0, -place
            case "least-loaded":
                return load, place
            case "most-loaded":
                return -load, place
            case "round-robin":
                turn = crc32(case.slot.workload_id.encode()) + case.slot.index + case.slot.epoch
                return 0, (place - turn) % len(ids)


def shares(case: Case) -> list[int]:
    """Of cpu and memory, and of devices if they are wanted, what is taken with the slot there, where there is any."""
    cpu, memory, devices = case.free_and_all()
    counted = [cpu, memory, devices] if devices[2] else [cpu, memory]
    return [share(everything - free + asked, everything) for free, everything, asked in counted if everything]


def binpack(case: Case) -> int:
    return sum(shares(case)) // len(shares(case)) if shares(case) else 0


def balance(case: Case) -> int:
    return 1000 - (max(shares(case)) - min(shares(case))) if shares(case) else 1000


def held(preferences: list[tuple[int, bool]]) -> int:
    everything = sum(weight for weight, _ in preferences)
    return share(sum(weight for weight, holds in preferences if holds), max(100, everything))


def evenness(case: Case) -> int:
    points = [int(Fraction(1000, 1 + here - least)) for here, least in case.crowds()]
    return sum(points) // len(points) if points else 0


def locality(case: Case) -> int:
    wanted = [each.gpu for each in case.workload.containers if each.gpu is not None]
    if sum(max(1, each.count) for each in wanted) < 2:
        return 0
    labels, devices = case.node.node.labels, case.node.node.devices
    linked = [labels.get(f"nvlink/{device.id}") for device in devices]
    for points, groups in ((1000, linked), (500, [device.numa_node for device in devices])):
        for group in {each for each in groups if each is not None}:
            near = [device for device, each in zip(devices, groups, strict=True) if each == group]
            free = {device.id: 1000 - case.node.device_thousandths.get(device.id, 0) for device in near}
            if find_grants(device_wants(case.workload.containers), near, free) is not None:
                return points
    return 0


def features(case: Case) -> list[int]:
    (cpu_free, cpu, cpu_asked), (memory_free, memory, memory_asked), (gpu_free, gpu, gpu_asked) = case.free_and_all()
    return [
        share(cpu - cpu_free, cpu) if cpu else 0,
        share(memory - memory_free, memory) if memory else 0,
        share(gpu - gpu_free, gpu) if gpu else 0,
        1000 - share(cpu - cpu_free + cpu_asked, cpu) if cpu else 1000,
        1000 - share(memory - memory_free + memory_asked, memory) if memory else 1000,
        share(min(100_000, max(0, case.workload.priority)), 100_000),
        1000 if gpu_asked else 0,
        1000,
    ]
