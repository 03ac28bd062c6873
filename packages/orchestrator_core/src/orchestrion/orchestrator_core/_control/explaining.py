"""Why the slots of a workload are where they are, or nowhere."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, evolve
from orchestrion.orchestrator_core._cluster.decisions import TimedScheduler
from orchestrion.orchestrator_core._cluster.loop import ClusterLoop
from orchestrion.orchestrator_core._control.placed import leaving_words, place_words, staying_words, waiting_words
from orchestrion.orchestrator_core._control.refused import (
    UNBOUND_EPOCH,
    held_back,
    refused_nodes,
    unbound_slots,
    unplaced_slots,
)
from orchestrion.orchestrator_core._control.rescoring import Rescoring
from orchestrion.orchestrator_core._control.views import SlotPlacement
from orchestrion.orchestrator_core._state.facts import effective_definition, placed_generation
from orchestrion.orchestrator_core._state.records import instance_key
from orchestrion.orchestrator_core._state.taints import for_new_work
from orchestrion.orchestrator_core._state.world import WorkloadRecord, World
from orchestrion.scheduler_interface import (
    AssignNode,
    Draft,
    Explanation,
    Predicate,
    SchedulerUnavailable,
    SchedulingRequest,
    describe,
    explain,
)
from orchestrion.shared_types import (
    MAX_SLOTS,
    InstanceKey,
    NodeId,
    NodeNotFound,
    WorkloadDefinition,
    WorkloadKind,
)


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
                + staying_words(instance, record)
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

    async def explain_at(self, record: WorkloadRecord, node_id: NodeId) -> list[SlotPlacement]:
        """Say for each slot whether a node would take it, were it placed anew; see `Orchestrator.explain`.

        Raises:
            NodeNotFound: There is no such node.
        """
        placements = await self.explain(record)
        if node_id not in self.loop.nodes:
            msg = f"there is no node {node_id!r:.100}"
            raise NodeNotFound(msg, remedy="`orchestrion node ls` lists them.")
        draft = Draft(self.loop.keeper.view())
        instances = {name.short: (name, instance) for name, instance in record.instances.items()}
        elsewhere = dict[int, Explanation]()
        found = list[SlotPlacement]()
        for placement in placements:
            name, instance = instances.get(placement.instance, (None, None))
            bound = instance.bound if instance is not None else None
            generation = bound.binding.generation if bound is not None else placed_generation(record)
            template = record.templates.get(generation) or effective_definition(record, generation)
            if template is None:
                continue
            if name is not None and bound is not None and bound.binding.node_id == node_id:
                key = instance_key(name, bound.workload_id)
                explanation = self._without(draft, node_id, key, template)
            else:
                if generation not in elsewhere:
                    elsewhere[generation] = self._at(draft, node_id, template)
                explanation = elsewhere[generation]
            passes = not explanation.groups
            text = "it would take it" if passes else describe(explanation).replace("1 node: ", "")
            found.append(
                SlotPlacement(
                    instance=placement.instance,
                    node_id=node_id if passes else None,
                    explanation=explanation,
                    text=text,
                )
            )
        return found

    def _without(self, draft: Draft, node_id: NodeId, key: InstanceKey, template: WorkloadDefinition) -> Explanation:
        """Return whether a node would take an instance that is there, as if it were not."""
        view = draft.view().get(node_id)
        instance = None if view is None else view.instances.get(key)
        if instance is None:
            return self._at(draft, node_id, template)
        draft.remove(node_id, key)
        try:
            return self._at(draft, node_id, template)
        finally:
            draft.put(node_id, (instance,))

    def _at(self, draft: Draft, node_id: NodeId, template: WorkloadDefinition) -> Explanation:
        """Return whether a node would take one more instance; of others nothing is said."""
        key = InstanceKey(template.metadata.uid, MAX_SLOTS, UNBOUND_EPOCH)
        request = SchedulingRequest(workload=for_new_work(template), slots=(key,), only_node=node_id)
        explanation = explain(request, draft.view(), capabilities=self.loop.scheduler.capabilities)
        groups = tuple(group for group in explanation.groups if group.predicate is not Predicate.OTHER_NODE)
        return evolve(explanation, groups=groups, nodes_considered=1)

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
