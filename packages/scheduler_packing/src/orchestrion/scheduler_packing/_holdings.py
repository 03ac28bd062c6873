"""What the instances of each node hold, in the order in which they are put back where some are pushed out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from librt.vecs import vec
from mypy_extensions import i64
from orchestrion.scheduler_interface import NodeView, PlacedInstance
from orchestrion.scheduler_packing._core.evicting import NO_RECORDS, Records
from orchestrion.shared_types import MAX_AMOUNT, Node, Resources, Uid

MAX_LEFT: Final = 1 << 16
"""Workloads that have left are forgotten when there may be so many of them."""
_WHOLE: Final = 1000
_Entry = tuple[int, int, int, str, int, int, PlacedInstance]


class Holdings:
    """The instances of a cluster, kept up to date from view to view of each node.

    Attributes:
        in_order: Each node's instances, as `put_back_key` orders them, by position.
        records: The same for the core.
        large: Positions where amounts are too large for the core; they have no records.
        owners: A number for each workload that has an instance, and for some that had.
    """

    def __init__(self) -> None:
        """Know no nodes."""
        self.in_order: list[list[PlacedInstance]] = []
        self.records = Records(0)
        self.large: set[int] = set()
        self.owners: dict[Uid, int] = {}
        self._seen: list[NodeView | None] = []
        self._most_owners = MAX_LEFT

    def catch_up(self, views: Sequence[NodeView]) -> None:
        """Look at those nodes that are not as they were."""
        is_new = len(views) != len(self._seen) or len(self.owners) > self._most_owners
        if is_new:
            self.in_order = [[] for _ in views]
            self.records = Records(len(views))
            self.large = set()
            self.owners = {}
            self._seen = [None] * len(views)
        for position, view in enumerate(views):
            if self._seen[position] is not view:
                self.show(position, view)
        if is_new:
            self._most_owners = 2 * len(self.owners) + MAX_LEFT

    def show(self, position: int, view: NodeView) -> None:
        """Look at one node."""
        self._seen[position] = view
        self.in_order[position] = ordered = _ordered(view)
        self.large.discard(position)
        if not ordered:
            self.records.of_node[position] = NO_RECORDS
            return
        total = view.node.allocatable
        held = _sum(ordered)
        if max(*held, total.cpu_millicores, total.memory_bytes, total.disk_bytes) > MAX_AMOUNT // 2:
            self.large.add(position)
            self.records.of_node[position] = NO_RECORDS
            return
        owners = self.owners
        records = [max(0, has - its) for has, its in zip(held, _amounts(total), strict=True)]
        for each in ordered:
            demand = each.demand
            owner = owners.setdefault(each.key.workload_id, len(owners))
            records += (
                each.priority,
                demand.cpu_millicores,
                demand.memory_bytes,
                demand.disk_bytes,
                each.grace_seconds,
                owner,
            )
        self.records.of_node[position] = vec[i64](records)


def _ordered(view: NodeView) -> list[PlacedInstance]:
    """Return instances by `put_back_key`; what it says is spelt out here, since large clusters have many of them."""
    entries = [_entry(instance, view.node) for instance in view.instances.values()]
    entries.sort()
    return [entry[-1] for entry in entries]


def _entry(instance: PlacedInstance, node: Node) -> _Entry:
    demand, total, key = instance.demand, node.allocatable, instance.key
    cpu, memory, disk = total.cpu_millicores, total.memory_bytes, total.disk_bytes
    size = max(
        demand.cpu_millicores * _WHOLE // cpu if cpu else 0,
        demand.memory_bytes * _WHOLE // memory if memory else 0,
        demand.disk_bytes * _WHOLE // disk if disk else 0,
    )
    return (-instance.priority, size, -instance.grace_seconds, key.workload_id, key.index, key.epoch, instance)


def _sum(instances: list[PlacedInstance]) -> tuple[int, int, int]:
    cpu = memory = disk = 0
    for each in instances:
        demand = each.demand
        cpu += demand.cpu_millicores
        memory += demand.memory_bytes
        disk += demand.disk_bytes
    return cpu, memory, disk


def _amounts(resources: Resources) -> tuple[int, int, int]:
    return resources.cpu_millicores, resources.memory_bytes, resources.disk_bytes
