"""Where a workload is not, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import count
from typing import Final

from attrs import evolve
from orchestrion.orchestrator_core._cluster.gangs import of_the_whole_gang
from orchestrion.orchestrator_core._cluster.loop import ClusterLoop
from orchestrion.orchestrator_core._cluster.plan import by_node, portions
from orchestrion.orchestrator_core._cluster.pushing import Outlook, lowest_priority, may_push
from orchestrion.orchestrator_core._cluster.stopping import stopping_now
from orchestrion.orchestrator_core._cluster.workload_plan import plan_workload
from orchestrion.orchestrator_core._control.placed import budget_words
from orchestrion.orchestrator_core._control.ports import refusal_words
from orchestrion.orchestrator_core._control.views import SlotPlacement
from orchestrion.orchestrator_core._state.budgets import budget_of, least_available
from orchestrion.orchestrator_core._state.facts import Facts, effective_definition, placed_generation
from orchestrion.orchestrator_core._state.records import instance_key
from orchestrion.orchestrator_core._state.taints import for_new_work
from orchestrion.orchestrator_core._state.world import WorkloadRecord
from orchestrion.scheduler_interface import (
    AssignNode,
    Explanation,
    KeptView,
    SchedulerUnavailable,
    SchedulingRequest,
    describe,
    explain,
)
from orchestrion.shared_types import InstanceKey, SchedulingFailure, WorkloadKind

MAX_ASKED: Final = 10
"""Nodes that lack a daemon of which the budgets are told that hold it back: each is a question to the scheduler."""

UNBOUND_EPOCH: Final = 1
"""Of slots that are asked about and hold no place anywhere."""


def refused_nodes(record: WorkloadRecord, facts: Facts, *, shortages_only: bool = False) -> list[SlotPlacement]:
    """Return a slot without a place for each node that has refused a workload's template and where nothing of it is.

    Args:
        record: The workload.
        facts: The rest of the world.
        shortages_only: Leave out the nodes on which it may not run.
    """
    live = [instance for instance in record.instances.values() if not instance.ended]
    there = {instance.bound.binding.node_id for instance in live if instance.bound is not None}
    taken = {instance.name.slot for instance in live}
    slots = (slot for slot in count() if slot not in taken)
    refused = facts.refusals.get((record.name, placed_generation(record)), {})
    return [
        SlotPlacement(
            instance=f"{record.name.name}.{next(slots)}",
            node_id=None,
            explanation=refused[node_id].explanation,
            text=f"not on node {node_id}: {describe(refused[node_id].explanation).replace('1 node: ', '')}",
        )
        for node_id in sorted(refused)
        if node_id not in there and not (shortages_only and refused[node_id].never)
    ]


async def unplaced_slots(record: WorkloadRecord, loop: ClusterLoop) -> list[SlotPlacement]:
    """Return why slots of a workload have no place, and when they are tried again."""
    gang = await _gang_now(record, loop)
    said = loop.explanations.get(record.name, {})
    template = effective_definition(record, placed_generation(record))
    if not said or template is None:
        return []
    request = SchedulingRequest(
        workload=for_new_work(template), slots=(InstanceKey(template.metadata.uid, min(said), UNBOUND_EPOCH),)
    )
    # What sleeps was refused by the cluster as it was then.
    view = loop.keeper.view()
    now = explain(request, view, capabilities=loop.scheduler.capabilities)
    retry = loop.pending.retry_words(record.name)
    placements = list[SlotPlacement]()
    for slot, then in sorted(said.items()):
        # No node is the closest where one passes: the slot is about to get it.
        alone = now if now.closest else then
        # What was said of a gang is about all of it.
        explanation = alone if then.gang is None else gang or then
        text = refusal_words(explanation, view)
        placements.append(
            SlotPlacement(
                instance=f"{record.name.name}.{slot}",
                node_id=None,
                explanation=explanation,
                text=f"{text}; {retry}" if retry else text,
            )
        )
    return placements


def _gang_request(record: WorkloadRecord, loop: ClusterLoop) -> tuple[SchedulingRequest, int] | None:
    """Return what is asked for slots that come up together, and how many others of theirs there are, or None."""
    plan = plan_workload(record, loop.facts)
    template = record.templates.get(plan.generation)
    if template is None or plan.minimum <= 1:
        return None
    slots, minimum = next(portions(plan.place, plan.minimum))
    keys = tuple(instance_key(slot.name, template.metadata.uid) for slot in slots)
    return SchedulingRequest(workload=for_new_work(template), slots=keys, minimum=minimum), plan.present


async def _gang_now(record: WorkloadRecord, loop: ClusterLoop) -> Explanation | None:
    """Return why slots that come up together have no place in the cluster as it is.

    None where none do, where they are about to get their places, or where the scheduler does not say.
    """
    if not any(each.gang is not None for each in loop.explanations.get(record.name, {}).values()):
        return None
    asked = _gang_request(record, loop)
    if asked is None:
        return None
    request, present = asked
    try:
        decisions = await loop.scheduler.schedule(request, loop.keeper.view())
    except SchedulingFailure:
        return None
    if any(isinstance(each, AssignNode) for each in decisions):
        return None
    explanation = decisions[0].explanation
    return None if explanation is None else of_the_whole_gang(explanation, present)


async def held_back(
    record: WorkloadRecord, loop: ClusterLoop, placements: Sequence[SlotPlacement]
) -> list[SlotPlacement]:
    """Return slots without a place, each with the disruption budgets that keep it from pushing others out."""
    template = effective_definition(record, placed_generation(record))
    records = loop.facts.workloads.values()
    if (
        not placements
        or template is None
        or not may_push(template, loop.scheduler)
        or lowest_priority(records) >= template.priority
    ):
        return list(placements)
    view = Outlook().view(loop.keeper.view(), stopping_now(loop.facts))
    workload = for_new_work(template)
    told = list[SlotPlacement]()
    words: str | None = None
    if placements[0].explanation.gang is not None:
        # What one slot could push out says nothing about all of them.
        asked = _gang_request(record, loop)
        words = "" if asked is None else await _held_back_words(evolve(asked[0], preempt=True), view, loop)
    for number, placement in enumerate(placements):
        if template.kind is WorkloadKind.DAEMON:
            closest = placement.explanation.closest
            if not closest or number >= MAX_ASKED:
                told.append(placement)
                continue
            words, only_node = None, closest[0]
        else:
            only_node = None
        if words is None:
            slot = InstanceKey(template.metadata.uid, int(placement.instance.rpartition(".")[2]), UNBOUND_EPOCH)
            request = SchedulingRequest(workload=workload, slots=(slot,), only_node=only_node, preempt=True)
            words = await _held_back_words(request, view, loop)
        told.append(evolve(placement, text=f"{placement.text}; {words}" if words else placement.text))
    return told


async def _held_back_words(request: SchedulingRequest, view: KeptView, loop: ClusterLoop) -> str:
    """Return which budgets forbid the victims that there would be without any."""
    try:
        decisions = await loop.scheduler.schedule(request, view)
    except SchedulingFailure:
        return ""
    placed = (decision for decision in decisions if isinstance(decision, AssignNode))
    wanted = Counter(victim.workload_id for decision in placed for victim in decision.victims)
    found = list[str]()
    for record in loop.facts.workloads.values():
        uid = record.spec.definition.metadata.uid if record.spec is not None else None
        budget = budget_of(record, loop.facts) if uid is not None and uid in wanted else None
        if uid is not None and budget is not None and wanted[uid] > budget:
            found.append(budget_words(record.name.name, budget, least_available(record)))
    return f"it could push out others, but {' and '.join(found)}" if found else ""


async def unbound_slots(record: WorkloadRecord, loop: ClusterLoop) -> list[SlotPlacement]:
    """Return why slots have no place where nobody gives them one: what a scheduler would say of them now."""
    plan = plan_workload(record, loop.facts)
    template = record.templates.get(plan.generation)
    if template is None:
        return []
    placements = list[SlotPlacement]()
    for only_node, slots in by_node(plan.place):
        names = {instance_key(slot.name, template.metadata.uid): slot.name for slot in slots}
        request = SchedulingRequest(
            workload=for_new_work(template),
            slots=tuple(names),
            minimum=plan.minimum,
            only_node=only_node,
            explain=True,
        )
        explanations = dict[InstanceKey, Explanation]()
        try:
            view = loop.keeper.view()
            decisions = await loop.scheduler.schedule(request, view)
        except SchedulerUnavailable as err:
            texts = dict.fromkeys(names, err.message)
        else:
            explanations = {
                each.slot: of_the_whole_gang(each.explanation or Explanation(), plan.present) for each in decisions
            }
            texts = {
                each.slot: f"there is room on node {each.node_id}, and no orchestrator runs that would place it"
                if isinstance(each, AssignNode)
                else refusal_words(explanations[each.slot], view)
                for each in decisions
            }
        placements.extend(
            SlotPlacement(
                instance=f"{record.name.name}.{names[key].slot}",
                node_id=None,
                explanation=explanations.get(key, Explanation()),
                text=text,
            )
            for key, text in texts.items()
        )
    return placements
