"""Why a request sleeps, and which changes are worth another try."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from orchestrion.shared_types import NodeId, Resources

from ._candidate import candidate_of
from ._cluster_change import AROUND, HELPED_BY, ClusterChange, ClusterChangeKind
from ._needs import Needs, needs_of
from ._neighbours import is_meant
from ._predicates import FIXED_PREDICATES, ROOM_PREDICATES
from ._types import Explanation, NodeView, Predicate, SchedulerCapability, SchedulingRequest, demand_of
from ._view import node_view

_ALL: Final = frozenset(SchedulerCapability)
_ANYTHING: Final = frozenset(ClusterChangeKind)
_HERE: Final = (*ROOM_PREDICATES, *FIXED_PREDICATES)
_ROOM: Final = frozenset(predicate for predicate, _ in ROOM_PREDICATES)
_INSTANCES: Final = frozenset({ClusterChangeKind.INSTANCE_ADDED, ClusterChangeKind.INSTANCE_REMOVED})


class Chance(IntEnum):
    """Whether a node is worth a try."""

    NONE = 0
    SOME = 1
    SURE = 2


class Sleep:
    """A refusal, and what has been seen since.

    At any time it knows for each node at least one predicate that the node fails, so that a change which helps none of
    these can't have made room: not with those before it either.
    """

    def __init__(self, explanation: Explanation, request: SchedulingRequest | None) -> None:
        """Begin.

        Args:
            explanation: Why there was no place.
            request: What was asked for. With it, a node is looked at before it is worth a try.
        """
        groups = explanation.groups
        self._anything = (not groups and explanation.nodes_considered > 0) or any(
            group.predicate not in HELPED_BY for group in groups
        )
        self._never = not self._anything and any(group.predicate is Predicate.UNSUPPORTED for group in groups)
        self._nodes: dict[Predicate, set[NodeId] | None] = {}
        for group in groups:
            known = self._nodes.setdefault(group.predicate, set())
            if group.node_count > len(group.samples) or known is None:
                self._nodes[group.predicate] = None
            else:
                known.update(group.samples)
        self._request = request
        self._is_exact = False
        self._needs: Needs | None = None
        self._demand: Resources | None = None
        if request is not None:
            placement = request.workload.placement
            looks_around = any(spread.required for spread in placement.spreads) or any(
                affinity.weight is None for affinity in placement.instance_affinities
            )
            # Where the slots of a gang go depends on preferences, and how many find a place depends on where they go;
            # and whom a slot may push out, depends on whom it needs beside it.
            self._anything = self._anything or (looks_around and (request.minimum > 1 or request.preempt))
            self._is_exact = not looks_around and request.minimum <= 1
            self._needs = needs_of(request, _ALL)
            self._demand = demand_of(request.workload)
        self._kinds = self._first_kinds()

    def _first_kinds(self) -> frozenset[ClusterChangeKind]:
        if self._anything:
            return _ANYTHING
        if self._never:
            return frozenset({ClusterChangeKind.REQUEST_CHANGED})
        return frozenset({ClusterChangeKind.NODE_ADDED}).union(*(HELPED_BY[predicate] for predicate in self._nodes))

    @property
    def kinds(self) -> frozenset[ClusterChangeKind]:
        """The kinds of changes that may be worth a try; it grows when nodes are found to fail something else."""
        return self._kinds

    def ended_by(self, change: ClusterChange) -> bool:
        """Whether a change is worth a try anywhere, not only on its own node."""
        if self._anything:
            return True
        if self._never:
            return False
        return any(
            predicate in self._nodes and change.kind in HELPED_BY[predicate] and self._concerns(predicate, change)
            for predicate in AROUND
        )

    def helped_on(self, change: ClusterChange) -> Chance:
        """Whether a change is worth a try on its own node."""
        if self._never or change.node is None:
            return Chance.NONE
        relevant = change.kind is ClusterChangeKind.NODE_ADDED or any(
            change.kind in HELPED_BY[predicate] and (nodes is None or change.node_id in nodes)
            for predicate, nodes in self._nodes.items()
            if predicate not in AROUND
        )
        return self.chance_on(change.node) if relevant else Chance.NONE

    def chance_on(self, node: NodeView) -> Chance:
        """Say whether a node passes what depends on itself alone; if not, what it fails is remembered."""
        failed = self._first_failed(node)
        if failed is None:
            return Chance.SURE if self._is_exact else Chance.SOME
        if failed in _ROOM and (cleared := self._cleared(node)) is not None:
            # Whoever may push others out finds room where there is none, if their budgets let it.
            failed = self._first_failed(cleared)
            if failed is None:
                return Chance.SOME
        if failed not in self._nodes:
            self._nodes[failed] = set()
            self._kinds |= HELPED_BY[failed]
        nodes = self._nodes[failed]
        if nodes is not None:
            nodes.add(node.node.id)
        return Chance.NONE

    def _cleared(self, node: NodeView) -> NodeView | None:
        """Return a node without the instances that the request could push out; None where there are none."""
        request = self._request
        if request is None or not request.preempt:
            return None
        staying = [placed for placed in node.instances.values() if placed.priority >= request.workload.priority]
        return node_view(node.node, staying) if len(staying) < len(node.instances) else None

    def _first_failed(self, node: NodeView) -> Predicate | None:
        needs, demand = self._needs, self._demand
        if needs is None or demand is None:
            return None
        if needs.only_node not in (None, node.node.id):
            return Predicate.OTHER_NODE
        # The most common reason, and cheap to see.
        if not _has_room(node, demand):
            return Predicate.RESOURCE
        candidate = candidate_of(node, needs)
        for predicate, check in _HERE:
            if next(check(needs, candidate), None) is not None:
                return predicate
        return None

    def _concerns(self, predicate: Predicate, change: ClusterChange) -> bool:
        """Whether a change of instances is one of those that a spread or an affinity looks at."""
        request = self._request
        if request is None or change.kind not in _INSTANCES:
            return True
        workload = request.workload
        if predicate is Predicate.SPREAD:
            return any(placed.key.workload_id == workload.metadata.uid for placed in change.instances)
        return any(
            affinity.weight is None and is_meant(affinity, workload.metadata.namespace, placed)
            for affinity in workload.placement.instance_affinities
            for placed in change.instances
        )


def _has_room(node: NodeView, demand: Resources) -> bool:
    """Whether a demand fits into what is free; what is not asked for need not be free."""
    total, taken = node.node.allocatable, node.reserved
    return (
        demand.cpu_millicores <= max(0, total.cpu_millicores - taken.cpu_millicores)
        and demand.memory_bytes <= max(0, total.memory_bytes - taken.memory_bytes)
        and demand.disk_bytes <= max(0, total.disk_bytes - taken.disk_bytes)
        and all(
            amount <= max(0, total.extended.get(name, 0) - taken.extended.get(name, 0))
            for name, amount in demand.extended.items()
        )
    )
