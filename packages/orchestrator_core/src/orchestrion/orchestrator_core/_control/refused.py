"""Where a daemon is not, and why."""

from __future__ import annotations

from itertools import count

from orchestrion.orchestrator_core._control.views import SlotPlacement
from orchestrion.orchestrator_core._state.facts import Facts, target_generation
from orchestrion.orchestrator_core._state.world import WorkloadRecord
from orchestrion.scheduler_interface import describe


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
    refused = facts.refusals.get((record.name, target_generation(record)), {})
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
