"""Nodes that have no place for a template, as plans for daemons need to know."""

from __future__ import annotations

from attrs import define, field
from orchestrion.orchestrator_core._cluster.plan import refusal_of
from orchestrion.orchestrator_core._queue import KeyedQueue
from orchestrion.orchestrator_core._state.facts import Refusal
from orchestrion.orchestrator_core._state.records import WorkloadName
from orchestrion.scheduler_interface import Explanation
from orchestrion.shared_types import NodeId


@define(eq=False)
class Refusals:
    """Remembers which nodes refused a template when it was last tried there.

    Attributes:
        queue: Gets workloads whose plan that changes.
        known: Why, by workload, generation and node.
    """

    queue: KeyedQueue[WorkloadName]
    known: dict[tuple[WorkloadName, int], dict[NodeId, Refusal]] = field(factory=dict)

    def note(self, name: WorkloadName, generation: int, node_id: NodeId, explanation: Explanation) -> None:
        """Remember that a node has no place for a template, and plan again: another node may have the turn."""
        if (name, generation) not in self.known:
            self.forget_workload(name)
        refused = self.known.setdefault((name, generation), {})
        if node_id not in refused:
            refused[node_id] = refusal_of(explanation)
            self.queue.add(name)

    def forget_workload(self, name: WorkloadName) -> None:
        """Forget what is known of all generations of a workload."""
        for key in [key for key in self.known if key[0] == name]:
            del self.known[key]

    def forget_node(self, node_id: NodeId) -> None:
        """Note that a node may have a place for anybody, and plan those again that it had refused."""
        for (name, _), refused in self.known.items():
            if refused.pop(node_id, None) is not None:
                self.queue.add(name)

    def forget_room(self) -> None:
        """Forget what changes of the cluster may have made untrue unseen; the caller plans everything again."""
        for refused in self.known.values():
            # Where a template may run changes only with the node.
            for node_id in [node_id for node_id, refusal in refused.items() if not refusal.never]:
                del refused[node_id]

    def clear(self) -> None:
        """Forget everything."""
        self.known.clear()
