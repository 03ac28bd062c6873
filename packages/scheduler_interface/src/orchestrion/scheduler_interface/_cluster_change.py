"""What changes in a cluster, and which refusals each kind of change can end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

from attrs import frozen
from orchestrion.shared_types import Node, NodeId

from ._types import NodeView, PlacedInstance, Predicate


class ClusterChangeKind(StrEnum):
    """What has changed, for the better or the worse. The set may grow."""

    NODE_ADDED = "node-added"
    NODE_REMOVED = "node-removed"
    NODE_STATUS = "node-status"
    NODE_CORDON = "node-cordon"
    NODE_CONDITIONS = "node-conditions"
    NODE_DRIVERS = "node-drivers"
    NODE_LABELS = "node-labels"
    """Its labels, its name or its topology."""
    NODE_TAINTS = "node-taints"
    NODE_ALLOCATABLE = "node-allocatable"
    """What may be promised of it: resources and devices."""
    INSTANCE_ADDED = "instance-added"
    INSTANCE_REMOVED = "instance-removed"
    REQUEST_CHANGED = "request-changed"
    """What is asked for is not what it was."""


_Kind = ClusterChangeKind


@frozen(kw_only=True)
class ClusterChange:
    """One thing about one node that is not as it was.

    Attributes:
        kind: What.
        node_id: Which node.
        node: The node with all that has changed meanwhile; None where it is gone.
        instances: Those that are new, for INSTANCE_ADDED, or gone, for INSTANCE_REMOVED and NODE_REMOVED.
    """

    kind: ClusterChangeKind
    node_id: NodeId
    node: NodeView | None
    instances: tuple[PlacedInstance, ...] = ()


_NODE_FIELDS: Final[tuple[tuple[ClusterChangeKind, Callable[[Node], object]], ...]] = (
    (_Kind.NODE_STATUS, lambda node: node.status),
    (_Kind.NODE_CORDON, lambda node: node.cordoned),
    (_Kind.NODE_CONDITIONS, lambda node: node.conditions),
    (_Kind.NODE_DRIVERS, lambda node: node.drivers),
    (_Kind.NODE_LABELS, lambda node: (node.labels, node.name, node.topology)),
    (_Kind.NODE_TAINTS, lambda node: node.taints),
    (_Kind.NODE_ALLOCATABLE, lambda node: (node.allocatable, node.devices)),
)


def cluster_changes(before: NodeView | None, after: NodeView | None, /) -> tuple[ClusterChange, ...]:
    """Return what has changed about a node between two views, each kind at most once; None is where it is not there.

    An instance that is there in both, and not the same, is gone and new.

    Raises:
        ValueError: They are two nodes.
    """
    if before is None or after is None:
        present = after or before
        if present is None:
            return ()
        kind = _Kind.NODE_ADDED if before is None else _Kind.NODE_REMOVED
        return (
            ClusterChange(kind=kind, node_id=present.node.id, node=after, instances=tuple(present.instances.values())),
        )
    node_id = after.node.id
    if before.node.id != node_id:
        msg = f"nodes {before.node.id!r} and {node_id!r} are not one node at two times"
        raise ValueError(msg)
    changes = []
    if before.node is not after.node:
        changes += [
            ClusterChange(kind=kind, node_id=node_id, node=after)
            for kind, part_of in _NODE_FIELDS
            if part_of(before.node) != part_of(after.node)
        ]
    for kind, held, others in (
        (_Kind.INSTANCE_REMOVED, before.instances, after.instances),
        (_Kind.INSTANCE_ADDED, after.instances, before.instances),
    ):
        # Most that are in both are the very same value.
        only_here = tuple(
            placed for key, placed in held.items() if (other := others.get(key)) is not placed and other != placed
        )
        if only_here:
            changes.append(ClusterChange(kind=kind, node_id=node_id, node=after, instances=only_here))
    return tuple(changes)


ROOM_CHANGES: Final = frozenset({_Kind.NODE_ADDED, _Kind.NODE_ALLOCATABLE, _Kind.INSTANCE_REMOVED})
_LABEL_CHANGES: Final = frozenset({_Kind.NODE_ADDED, _Kind.NODE_LABELS})

HELPED_BY: Final[Mapping[Predicate, frozenset[ClusterChangeKind]]] = {
    predicate: kinds | {_Kind.REQUEST_CHANGED}
    for predicate, kinds in {
        Predicate.NODE_STATUS: frozenset({_Kind.NODE_ADDED, _Kind.NODE_STATUS}),
        Predicate.CORDONED: frozenset({_Kind.NODE_ADDED, _Kind.NODE_CORDON}),
        Predicate.NODE_CONDITION: frozenset({_Kind.NODE_ADDED, _Kind.NODE_CONDITIONS}),
        Predicate.OTHER_NODE: frozenset({_Kind.NODE_ADDED}),
        Predicate.DRIVER: frozenset({_Kind.NODE_ADDED, _Kind.NODE_DRIVERS}),
        Predicate.SELECTOR: _LABEL_CHANGES,
        Predicate.EXPRESSION: _LABEL_CHANGES,
        Predicate.NODE_AFFINITY: _LABEL_CHANGES,
        Predicate.TAINT: frozenset({_Kind.NODE_ADDED, _Kind.NODE_TAINTS}),
        Predicate.HOST_PORT: frozenset({_Kind.NODE_ADDED, _Kind.INSTANCE_REMOVED}),
        Predicate.RESOURCE: ROOM_CHANGES,
        Predicate.DEVICE: ROOM_CHANGES,
        # The first of its kind may go anywhere once the last of the others is gone.
        Predicate.INSTANCE_AFFINITY: frozenset(
            {
                _Kind.NODE_ADDED,
                _Kind.NODE_REMOVED,
                _Kind.NODE_LABELS,
                _Kind.INSTANCE_ADDED,
                _Kind.INSTANCE_REMOVED,
            }
        ),
        # The emptiest domain fills up, or counts no longer since its last node is closed.
        Predicate.SPREAD: frozenset(_Kind) - {_Kind.NODE_ALLOCATABLE},
        Predicate.UNSUPPORTED: frozenset[ClusterChangeKind](),
    }.items()
}
"""The kinds of changes that can make a node pass a predicate which it failed.

Those of SPREAD and INSTANCE_AFFINITY may be changes of other nodes; all others are of the node itself, or of the
request.
"""

AROUND: Final = frozenset({Predicate.SPREAD, Predicate.INSTANCE_AFFINITY})
"""The predicates that changes of other nodes can help."""
