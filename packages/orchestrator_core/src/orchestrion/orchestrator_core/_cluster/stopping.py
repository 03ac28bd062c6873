"""What was told to stop and has not ended, and for how long it is worth waiting for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from orchestrion.orchestrator_core._state.facts import Facts
from orchestrion.orchestrator_core._state.records import InstanceName, instance_key
from orchestrion.orchestrator_core._state.roll import Standing
from orchestrion.orchestrator_core._state.world import InstanceRecord, WorkloadRecord
from orchestrion.scheduler_interface import grace_seconds_of
from orchestrion.shared_types import InstanceKey, NodeId

PATIENCE_SECONDS: Final = 30.0
"""What stops is waited for until so long after its grace; then others have to go, and nobody waits for it."""

Stopping = Mapping[NodeId, Mapping[InstanceKey, bool]]
"""What was told to stop and has not ended, by node, and whether it should have ended long ago."""


def stopping_now(facts: Facts) -> Stopping:
    """Return everything that stops."""
    found = dict[NodeId, dict[InstanceKey, bool]]()
    for record in facts.workloads.values():
        for generation, group in record.roll.standing(Standing.STOPPING):
            grace = _grace_seconds(record, generation)
            for name, instance in group.items():
                if instance.bound is not None:
                    key = instance_key(name, instance.bound.workload_id)
                    on_node = found.setdefault(instance.bound.binding.node_id, {})
                    on_node[key] = _patience_left(name, instance, grace, facts) == 0
    return found


def stopping_on(node_id: NodeId, facts: Facts) -> dict[InstanceKey, tuple[InstanceName, float]]:
    """Return what stops on a node, and for how many seconds more it is worth waiting for; 0 is not any longer."""
    found = dict[InstanceKey, tuple[InstanceName, float]]()
    for record in facts.workloads.values():
        there = record.roll.nodes.get(node_id)
        if there is None:
            continue
        for generation, group in record.roll.standing(Standing.STOPPING):
            grace = _grace_seconds(record, generation)
            for name in there.keys() & group.keys():
                instance = there[name]
                if instance.bound is not None:
                    key = instance_key(name, instance.bound.workload_id)
                    found[key] = name, _patience_left(name, instance, grace, facts)
    return found


def _grace_seconds(record: WorkloadRecord, generation: int) -> float:
    template = record.templates.get(generation)
    return grace_seconds_of(template.containers) if template is not None else 0


def _patience_left(name: InstanceName, instance: InstanceRecord, grace_seconds: float, facts: Facts) -> float:
    since = instance.bound.binding.stop_at if instance.bound is not None else None
    if since is None:
        return PATIENCE_SECONDS
    return facts.deadlines.remaining(("stop", name), since, grace_seconds + PATIENCE_SECONDS)
