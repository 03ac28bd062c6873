"""Nodes as they are for an orchestrator: what the cluster manager tells, with what people say of them."""

from __future__ import annotations

from typing import Final

from attrs import evolve
from orchestrion.orchestrator_core._state.records import NodeMarks
from orchestrion.shared_types import Node, NodeStatus

SEEN: Final = (NodeStatus.READY, NodeStatus.NOT_READY)
"""What a node is that its cluster manager sees."""


def may_go(node: Node) -> bool:
    """Whether a node may be removed that the cluster manager tells of: it is drained, or nobody sees it."""
    return node.drain is not None or node.status not in SEEN


def marked(node: Node, marks: NodeMarks | None) -> Node | None:
    """Return a node with what people say of it; None where it is removed.

    One that was removed is there again as soon as it is seen and not drained.
    """
    if marks is None:
        return node
    if marks.removed and may_go(node):
        return None
    if not marks.labels and not marks.taints:
        return node
    own = {(taint.key, taint.effect) for taint in marks.taints}
    told = tuple(taint for taint in node.taints if (taint.key, taint.effect) not in own)
    return evolve(node, labels={**node.labels, **marks.labels}, taints=(*told, *marks.taints))
