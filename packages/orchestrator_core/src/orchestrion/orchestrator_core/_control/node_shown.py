"""How a node is shown to people and to the scheduler."""

from __future__ import annotations

from typing import Final

from attrs import evolve
from orchestrion.orchestrator_core._cluster.suspects import Suspects
from orchestrion.shared_types import Node, NodeCondition, NodeStatus

ENGINE_UNAVAILABLE: Final = "EngineUnavailable"


def node_shown(node: Node, trouble: str, suspects: Suspects) -> Node:
    """Return a node with what is wrong with it.

    Args:
        node: As the cluster manager has it.
        trouble: Why its engine can't be used, or empty; where it can't, the node is not ready.
        suspects: The nodes on which one start after the other fails, which are tainted.
    """
    node = suspects.shown(node)
    if not trouble:
        return node
    others = (condition for condition in node.conditions if condition.type != ENGINE_UNAVAILABLE)
    condition = NodeCondition(type=ENGINE_UNAVAILABLE, active=True, reason=trouble)
    status = NodeStatus.NOT_READY if node.status is NodeStatus.READY else node.status
    return evolve(node, status=status, conditions=(*others, condition))
