"""How many instances workloads lay claim to: what is to be counted where there is a limit to all of them."""

from __future__ import annotations

from orchestrion.orchestrator_core._control.gate import ProposedChange
from orchestrion.orchestrator_core._state.facts import ended_as, is_scaled
from orchestrion.orchestrator_core._state.records import WorkloadName
from orchestrion.orchestrator_core._state.world import WorkloadRecord, World
from orchestrion.shared_types import WorkloadDefinition, WorkloadKind


def claimed_now(world: World, name: WorkloadName, nodes: int) -> int:
    """Return how many instances a workload lays claim to, as it is on record.

    One that is to run claims as many as may run at once, whether they do or not. One that was stopped or removed, or
    has ended for good, claims those that are still there, and in the end none. What an update runs beyond that for a
    while is not counted.

    Args:
        world: What is on record.
        name: The workload's name; one that is not there claims none.
        nodes: How many nodes there are: a daemon may run on each.
    """
    record = world.workloads.get(name)
    if record is None or record.spec is None:
        return 0
    definition = record.spec.definition
    scaled = record.control.replicas
    replicas = definition.replicas if scaled is None or not is_scaled(record) else scaled
    claimed = _claimed(definition, replicas, nodes)
    return min(claimed, len(record.roll.held_slots)) if _is_over(record) else claimed


def claimed_after(change: ProposedChange, world: World, nodes: int) -> int:
    """Return how many instances a workload would lay claim to; the arguments are as for `claimed_now`."""
    name = WorkloadName(change.after.metadata.namespace, change.after.metadata.name)
    record = world.workloads.get(name)
    claimed = _claimed(change.after, change.replicas, nodes)
    return min(claimed, len(record.roll.held_slots)) if change.idle and record is not None else claimed


def _is_over(record: WorkloadRecord) -> bool:
    return record.control.removed or record.control.stopped or ended_as(record) is not None


def _claimed(definition: WorkloadDefinition, replicas: int, nodes: int) -> int:
    match definition.kind:
        case WorkloadKind.SERVICE:
            return replicas
        case WorkloadKind.BATCH:
            parallelism = definition.parallelism
            if parallelism is None or definition.gang is not None:
                return definition.completions
            return min(parallelism, definition.completions)
        case WorkloadKind.DAEMON:
            return nodes
