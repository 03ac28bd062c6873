"""Saying why nodes can't take a slot, and what would have to change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from attrs import define, field
from orchestrion.shared_types import NodeId

from ._candidate import Candidate
from ._interface import ClusterView
from ._needs import Needs
from ._new_node import may_join
from ._predicates import Reason, reasons
from ._types import ChangeKind, Explanation, PlacementChange, Predicate, RefusalGroup

MAX_SAMPLES: Final = 5
MAX_CLOSEST: Final = 3

_HARMLESS_TO_SPREADS: Final = frozenset({ChangeKind.LOWER_REQUEST, ChangeKind.FREE_PORT})

GroupKey = tuple[Predicate, str, str]


@define
class _Group:
    needed: int = 0
    best_free: int = 0
    node_count: int = 0
    samples: list[NodeId] = field(factory=list)

    def add(self, node_id: NodeId, needed: int, free: int) -> None:
        self.needed = needed
        self.best_free = max(self.best_free, free)
        self.node_count += 1
        if len(self.samples) < MAX_SAMPLES:
            self.samples.append(node_id)


def explain_candidates(needs: Needs, candidates: list[Candidate], view: ClusterView) -> Explanation:
    """Return which nodes can't take one more slot, and why; where none can, also what would have to change.

    Args:
        needs: What the slot needs.
        candidates: All nodes as they are now, or the request's only node, ascending by id.
        view: The call's view.
    """
    refusals = _refusals(needs, candidates)
    groups = _groups(refusals, needs, candidates, view)
    if len(refusals) < len(candidates):
        return Explanation(groups=groups, nodes_considered=len(view))
    fewest_reasons = sorted((len(by_key), node_id) for node_id, by_key in refusals.items())
    return Explanation(
        groups=groups,
        nodes_considered=len(view),
        closest=tuple(node_id for _, node_id in fewest_reasons[:MAX_CLOSEST]),
        smallest_change=_smallest_change(needs, candidates, refusals),
    )


Refusals = dict[NodeId, dict[GroupKey, Reason]]


def _refusals(needs: Needs, candidates: Iterable[Candidate]) -> Refusals:
    """Return the reasons of each node that has any, each once."""
    found = (
        (
            candidate.id,
            {(reason.predicate, reason.detail, reason.dimension): reason for reason in reasons(needs, candidate)},
        )
        for candidate in candidates
    )
    return {node_id: by_key for node_id, by_key in found if by_key}


def _groups(
    refusals: Refusals, needs: Needs, candidates: list[Candidate], view: ClusterView
) -> tuple[RefusalGroup, ...]:
    groups: dict[GroupKey, _Group] = {}
    for node_id, by_key in refusals.items():
        for key, reason in by_key.items():
            groups.setdefault(key, _Group()).add(node_id, reason.needed, reason.free)
    if needs.only_node is not None and len(view) > len(candidates):
        others = _Group(node_count=len(view) - len(candidates), samples=list(_first_others(needs.only_node, view)))
        groups[Predicate.OTHER_NODE, "", ""] = others
    listed = [
        RefusalGroup(
            predicate=predicate,
            detail=detail,
            dimension=dimension,
            node_count=group.node_count,
            samples=tuple(group.samples),
            needed=group.needed,
            best_free=group.best_free,
        )
        for (predicate, detail, dimension), group in groups.items()
    ]
    return tuple(sorted(listed, key=lambda g: (-g.node_count, g.predicate.value, g.detail, g.dimension)))


def _first_others(only_node: NodeId, view: ClusterView) -> Iterator[NodeId]:
    left = MAX_SAMPLES
    for node in view:
        if left == 0:
            return
        if node.node.id != only_node:
            left -= 1
            yield node.node.id


def _smallest_change(needs: Needs, candidates: list[Candidate], refusals: Refusals) -> tuple[PlacementChange, ...]:
    if needs.unsupported:
        return ()
    changes = [
        (len(steps), _missing_share(by_key), node_id, steps)
        for node_id, by_key in refusals.items()
        if (steps := _steps(needs, by_key))
    ]
    if changes:
        return min(changes, key=lambda change: change[:3])[3]
    return _new_node(needs) if needs.only_node is None and may_join(needs, candidates) else ()


def _steps(needs: Needs, by_key: dict[GroupKey, Reason]) -> tuple[PlacementChange, ...]:
    """Return what has to be done for one node, or nothing where that does not help."""
    remedies = {reason.remedy for reason in by_key.values()}
    steps = [remedy for remedy in remedies if remedy is not None]
    if len(steps) < len(remedies):
        return ()
    if needs.required_spread and any(step.kind not in _HARMLESS_TO_SPREADS for step in steps):
        return ()
    return tuple(sorted(steps, key=lambda step: (step.kind.value, step.subject)))


def _missing_share(by_key: dict[GroupKey, Reason]) -> int:
    """Return how much of the request the node lacks, in thousandths of what is needed, over all resources."""
    return sum((reason.needed - reason.free) * 1000 // reason.needed for reason in by_key.values() if reason.needed)


def _new_node(needs: Needs) -> tuple[PlacementChange, ...]:
    amounts = {name: amount for name, amount in zip(needs.dimensions, needs.demand, strict=True) if amount > 0}
    if needs.devices:
        amounts["gpu"] = sum(want.count for want in needs.devices)
    return tuple(
        PlacementChange(kind=ChangeKind.ADD_NODE, subject=subject, amount=amount)
        for subject, amount in sorted((amounts or {"": 0}).items())
    )
