"""A cluster as it would be after some steps, for plans of many of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Final

from attrs import frozen
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    NodeView,
    PlacedInstance,
    node_view,
    placed_instance,
    with_instances,
)
from orchestrion.scheduler_packing._index import Index
from orchestrion.shared_types import InstanceKey, NodeId, WorkloadDefinition

_REVISIONS: Final = count(1)
"""Of all drafts, so that none is taken for another."""


@frozen(eq=False)
class Stage:
    """A view of a draft: what it says holds until the draft's next change.

    Attributes:
        revision: Higher is later.
        nodes: All nodes, ascending by id.
        before: The revision of the stage before.
        changed: The nodes that differ from it.
    """

    revision: int
    nodes: Mapping[NodeId, NodeView]
    before: int
    changed: frozenset[NodeId]

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[NodeView]:
        return iter(self.nodes.values())

    def get(self, node_id: NodeId, /) -> NodeView | None:
        """Return one node, or None where there is none of that id."""
        return self.nodes.get(node_id)

    def changes_since(self, revision: int, /) -> frozenset[NodeId] | None:
        """Return the nodes that differ from this stage or the one before; of others nothing is known."""
        if revision == self.revision:
            return frozenset()
        return self.changed if revision == self.before else None


class Draft:
    """A cluster that can be changed, and an index that is kept up with it.

    Attributes:
        index: The index, which shows `view`.
        view: The cluster as it is now.
    """

    def __init__(self, view: ClusterView) -> None:
        """Start with what a view says.

        Raises:
            InvalidSchedulingRequest: The view has more nodes than can be told apart.
        """
        self._nodes = {each.node.id: each for each in view}
        self._replaced: list[NodeView] = []
        self.index = Index(1)
        self.view = Stage(next(_REVISIONS), self._nodes, 0, frozenset())
        self.index.show(self.view)

    def put(self, *nodes: NodeView) -> None:
        """Have nodes, which are there already, be otherwise."""
        for each in nodes:
            self._replaced.append(self._nodes[each.node.id])
            self._nodes[each.node.id] = each
        changed = frozenset(each.node.id for each in nodes)
        self.view = Stage(next(_REVISIONS), self._nodes, self.view.revision, changed)
        self.index.show(self.view)

    def mark(self) -> int:
        """Return what `back_to` takes to undo all changes from now on."""
        return len(self._replaced)

    def back_to(self, mark: int) -> None:
        """Undo all changes since a mark."""
        # Of a node that has changed more than once, the oldest comes last.
        before = {each.node.id: each for each in reversed(self._replaced[mark:])}
        if before:
            self.put(*before.values())
        del self._replaced[mark:]

    def place(self, workload: WorkloadDefinition, decisions: Iterable[AssignNode]) -> None:
        """Carry out decisions about slots of one workload that hold no place."""
        arrivals: dict[NodeId, list[PlacedInstance]] = {}
        for decision in decisions:
            arrivals.setdefault(decision.node_id, []).append(placed_instance(workload, decision))
        self.put(*(with_instances(self._nodes[node_id], placed) for node_id, placed in arrivals.items()))

    def remove(self, *keys: InstanceKey) -> None:
        """Have instances, which hold places, give them up."""
        index = self.index
        leaving: dict[NodeId, set[InstanceKey]] = {}
        for key in keys:
            leaving.setdefault(index.ids[index.holders[key]], set()).add(key)
        self.put(
            *(
                node_view(
                    self._nodes[node_id].node,
                    (each for key, each in self._nodes[node_id].instances.items() if key not in gone),
                )
                for node_id, gone in leaving.items()
            )
        )
