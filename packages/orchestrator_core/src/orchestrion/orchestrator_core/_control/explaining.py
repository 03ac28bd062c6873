"""Why the slots of a workload are where they are, or nowhere."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, evolve
from orchestrion.orchestrator_core._cluster.decisions import TimedScheduler
from orchestrion.orchestrator_core._cluster.loop import ClusterLoop
from orchestrion.orchestrator_core._control.placed import leaving_words, paused_words, place_words, waiting_words
from orchestrion.orchestrator_core._control.refused import held_back, refused_nodes, unbound_slots, unplaced_slots
from orchestrion.orchestrator_core._control.rescoring import Rescoring
from orchestrion.orchestrator_core._control.views import SlotPlacement
from orchestrion.orchestrator_core._state.records import instance_key
from orchestrion.orchestrator_core._state.taints import for_new_work
from orchestrion.orchestrator_core._state.world import WorkloadRecord, World
from orchestrion.scheduler_interface import (
    AssignNode,
    Draft,
    Explanation,
    SchedulerUnavailable,
    SchedulingRequest,
)
from orchestrion.shared_types import InstanceKey, WorkloadDefinition, WorkloadKind


@define(eq=False)
class Explainer:
    """Explains places.

    Attributes:
        world: What is on record.
        loop: Places slots.
        decider: Decides where they go.
        only_observes: Whether nobody places them here.
    """

    world: World
    loop: ClusterLoop
    decider: TimedScheduler
    only_observes: bool

    async def explain(self, record: WorkloadRecord) -> list[SlotPlacement]:
        """Say it for each slot of a workload; see `Orchestrator.explain`."""
        name = record.name.name
        found = list[SlotPlacement]()
        silence = ""
        rescoring = Rescoring(self.decider, Draft(self.loop.keeper.view()))
        for instance_name in sorted(record.instances):
            instance = record.instances[instance_name]
            bound = instance.bound
            template = self.world.template(instance)
            if bound is None or instance.ended or template is None:
                continue
            key = instance_key(instance_name, bound.workload_id)
            placed = None
            if not silence:
                try:
                    (placed,) = await self._ask_scheduler(template, name, [key])
                    if template.kind is not WorkloadKind.DAEMON:
                        wanted, at = for_new_work(template), bound.binding.node_id
                        explanation = await rescoring.rescored(placed.explanation, wanted, key, at)
                        placed = evolve(placed, explanation=explanation)
                except SchedulerUnavailable as err:
                    silence = err.message
            placed = placed or _unexplained(instance_name.short, silence)
            text = (
                placed.text
                + waiting_words(instance, self.world.nodes.get(bound.binding.node_id, {}))
                + leaving_words(instance, template, record, self.loop.facts)
                + paused_words(instance, record)
            )
            found.append(evolve(placed, instance=instance_name.short, node_id=bound.binding.node_id, text=text))
        undecided = self.loop.facts.undecided.get(record.name)
        if undecided is not None:
            text = f"waits for the scheduler: {undecided.message}"
            found.extend(_unexplained(f"{name}.{slot}", text) for slot in undecided.slots)
        found.extend(await held_back(record, self.loop, refused_nodes(record, self.loop.facts)))
        found.extend(await held_back(record, self.loop, await unplaced_slots(record, self.loop)))
        if self.only_observes:
            found.extend(await unbound_slots(record, self.loop))
        return found

    async def _ask_scheduler(
        self, template: WorkloadDefinition, name: str, keys: Sequence[InstanceKey]
    ) -> list[SlotPlacement]:
        request = SchedulingRequest(workload=for_new_work(template), slots=tuple(keys), explain=True)
        decisions = await self.decider.schedule(request, self.loop.keeper.view())
        found = list[SlotPlacement]()
        for decision in decisions:
            explanation = decision.explanation or Explanation()
            node_id = decision.node_id if isinstance(decision, AssignNode) else None
            text = place_words(explanation, stays=True)
            found.append(
                SlotPlacement(
                    instance=f"{name}.{decision.slot.index}", node_id=node_id, explanation=explanation, text=text
                )
            )
        return found


def _unexplained(instance: str, text: str) -> SlotPlacement:
    return SlotPlacement(instance=instance, node_id=None, explanation=Explanation(), text=text)
