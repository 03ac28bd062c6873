"""How nodes score for instances that have their places already, were each to get one anew."""

from __future__ import annotations

from attrs import define, evolve
from orchestrion.orchestrator_core._cluster.decisions import TimedScheduler
from orchestrion.scheduler_interface import AssignNode, Draft, Explanation, SchedulingRequest
from orchestrion.shared_types import InstanceKey, NodeId, WorkloadDefinition


@define(eq=False)
class Rescoring:
    """Asks a scheduler about a cluster without one instance at a time.

    Attributes:
        scheduler: Whom to ask.
        draft: The cluster; between two questions it is as it is.
    """

    scheduler: TimedScheduler
    draft: Draft

    async def rescored(
        self, explanation: Explanation, template: WorkloadDefinition, key: InstanceKey, node_id: NodeId
    ) -> Explanation:
        """Return an explanation with what an instance's node would score for it, and the best of the others.

        It is returned as it is where the instance could not be placed there anew, or the scheduler gives no scores.

        Raises:
            SchedulerUnavailable: The scheduler does not answer.
        """
        view = self.draft.view().get(node_id)
        instance = None if view is None else view.instances.get(key)
        if instance is None:
            return explanation
        self.draft.remove(node_id, key)
        try:
            best = await self._ask(template, key)
            own = best if node_id in best.scores else await self._ask(template, key, only_node=node_id)
        finally:
            self.draft.put(node_id, (instance,))
        if node_id not in own.scores:
            return explanation
        others = sorted(best.scores.keys() - {node_id}, key=lambda other: (-best.scores[other], other))[:1]
        parts = {**best.parts, **own.parts}
        shown = [node_id, *others]
        return evolve(
            explanation,
            scores={each: {**best.scores, **own.scores}[each] for each in shown},
            parts={each: parts[each] for each in shown if each in parts},
            weights=own.weights,
        )

    async def _ask(
        self, template: WorkloadDefinition, key: InstanceKey, *, only_node: NodeId | None = None
    ) -> Explanation:
        request = SchedulingRequest(workload=template, slots=(key,), only_node=only_node, explain=True)
        (decision,) = await self.scheduler.schedule(request, self.draft.view())
        given = decision.explanation if isinstance(decision, AssignNode) else None
        return given or Explanation()
