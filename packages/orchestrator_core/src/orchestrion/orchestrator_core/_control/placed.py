"""Why a slot is where it is, in words."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from orchestrion.orchestrator_core._state.budgets import budget_of, least_available
from orchestrion.orchestrator_core._state.facts import Facts, canary_of, is_held, target_generation
from orchestrion.orchestrator_core._state.records import InstanceName, instance_key
from orchestrion.orchestrator_core._state.taints import eviction_of
from orchestrion.orchestrator_core._state.world import InstanceRecord, WorkloadRecord
from orchestrion.scheduler_interface import Explanation, describe
from orchestrion.shared_types import DesiredState, WorkloadDefinition, WorkloadKind


def place_words(explanation: Explanation, /, *, stays: bool) -> str:
    """Return why a slot is, or would be, on its node.

    Args:
        explanation: What the scheduler said.
        stays: It has its place; of such a slot nobody asks anew where else it might go.
    """
    if explanation.groups:
        return f"it fits there, and not on {describe(explanation)}"
    return "it was placed there, and stays" if stays else "it fits there"


def waiting_words(instance: InstanceRecord, others: Mapping[InstanceName, InstanceRecord]) -> str:
    """Return whom an instance waits for because it takes their place; to be put behind why it is there.

    Args:
        instance: The instance.
        others: Those on its node.
    """
    waits_for = instance.bound.binding.waits_for if instance.bound is not None else ()
    if not waits_for:
        return ""
    names = sorted(
        name.short
        for name, other in others.items()
        if other.bound is not None and not other.ended and instance_key(name, other.bound.workload_id) in waits_for
    )
    if not names:
        return ""
    has = "has" if len(names) == 1 else "have"
    return f"; it starts once {', '.join(names)} {has} ended, whose place it takes"


def leaving_words(instance: InstanceRecord, template: WorkloadDefinition, record: WorkloadRecord, facts: Facts) -> str:
    """Return why an instance stops, or will have to leave its node; to be put behind why it is there."""
    if instance.bound is not None and instance.bound.binding.desired is DesiredState.STOP:
        return f"; it stops: {instance.bound.binding.stop_reason}"
    held = _drain_words(instance, record, facts)
    if held:
        return held
    eviction = eviction_of(instance, template, facts)
    if eviction is None:
        return ""
    return f"; it leaves in {ceil(eviction.left_seconds)} s unless the taint {eviction.taint} goes"


def staying_words(instance: InstanceRecord, record: WorkloadRecord) -> str:
    """Return why an instance is not replaced by an update; to be put behind why it is there."""
    target = target_generation(record)
    if instance.bound is None or instance.bound.binding.generation == target:
        return ""
    runs = f"; it runs generation {instance.bound.binding.generation}: the update to generation {target}"
    if is_held(record):
        return f"{runs} is paused"
    canary = canary_of(record)
    if canary is None or not canary.is_before(instance.bound.binding.generation):
        return ""
    first = "1 instance" if canary.count == 1 else f"{canary.count} instances"
    return f"{runs} begins with {first}, and goes on once it is promoted"


def _drain_words(instance: InstanceRecord, record: WorkloadRecord, facts: Facts) -> str:
    """Return why an instance stays, for now, on a node that is drained: because too many would be missing."""
    node = facts.nodes.get(instance.bound.binding.node_id) if instance.bound is not None else None
    kind = record.spec.definition.kind if record.spec is not None else None
    # Batch work may finish, whatever its budget, and daemons stay with their node.
    if kind is not WorkloadKind.SERVICE or node is None or node.drain is None or budget_of(record, facts) != 0:
        return ""
    return f"; its node is drained, and {budget_words(record.name.name, 0, least_available(record))}"


def budget_words(workload: str, budget: int, least: int) -> str:
    """Return what a disruption budget allows.

    Args:
        workload: Whose.
        budget: How many more instances may be ended now.
        least: How many have to be available.
    """
    allowed = "none of its instances" if budget == 0 else f"only {budget} of its instances"
    return f"the disruption budget of {workload} lets {allowed} go now: {least} have to be available"
