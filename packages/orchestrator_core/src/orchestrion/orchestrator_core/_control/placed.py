"""Why a slot is where it is, in words."""

from __future__ import annotations

from math import ceil

from orchestrion.orchestrator_core._state.facts import Facts
from orchestrion.orchestrator_core._state.taints import eviction_of
from orchestrion.orchestrator_core._state.world import InstanceRecord
from orchestrion.scheduler_interface import Explanation, describe
from orchestrion.shared_types import DesiredState, WorkloadDefinition


def place_words(explanation: Explanation, /, *, stays: bool) -> str:
    """Return why a slot is, or would be, on its node.

    Args:
        explanation: What the scheduler said.
        stays: It has its place; of such a slot nobody asks anew where else it might go.
    """
    if explanation.groups:
        return f"it fits there, and not on {describe(explanation)}"
    return "it was placed there, and stays" if stays else "it fits there"


def leaving_words(instance: InstanceRecord, template: WorkloadDefinition, facts: Facts) -> str:
    """Return why an instance stops, or will have to leave its node; to be put behind why it is there."""
    if instance.bound is not None and instance.bound.binding.desired is DesiredState.STOP:
        return f"; it stops: {instance.bound.binding.stop_reason}"
    eviction = eviction_of(instance, template, facts)
    if eviction is None:
        return ""
    return f"; it leaves in {ceil(eviction.left_seconds)} s unless the taint {eviction.taint} goes"
