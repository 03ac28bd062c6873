"""Who holds the ports that others ask for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from attrs import evolve
from orchestrion.orchestrator_core._cluster.pushing import may_push
from orchestrion.orchestrator_core._control.admission import Admission
from orchestrion.orchestrator_core._control.views import ChangeAction, WorkloadChange
from orchestrion.orchestrator_core._state.records import WorkloadName
from orchestrion.orchestrator_core._state.taints import for_new_work
from orchestrion.scheduler_interface import (
    ClusterView,
    Explanation,
    PlacedInstance,
    Predicate,
    Scheduler,
    SchedulingRequest,
    describe,
    explain,
    host_ports_of,
)
from orchestrion.shared_types import DEFAULT_NAMESPACE, InstanceKey, WorkloadDefinition

MAX_NAMED: Final = 3
"""Workloads that are named of those that hold a port."""


def refusal_words(explanation: Explanation, view: ClusterView) -> str:
    """Return why slots have no place; where a port is taken, with who holds it."""
    words = [describe(explanation)]
    held = dict[str, list[PlacedInstance]]()
    for port, placed in _holders(explanation, view):
        held.setdefault(port, []).append(placed)
    words.extend(f"{port} is held by {_names(holders)}" for port, holders in held.items())
    return "; ".join(words)


def with_port_clashes(
    admissions: Sequence[Admission], view: ClusterView, scheduler: Scheduler
) -> tuple[WorkloadChange, ...]:
    """Return what an apply changes; of workloads that no node takes now because of a port, with who holds it.

    Those that the apply changes itself are not blamed: they may be about to give their ports back.
    """
    changing = {
        WorkloadName(admission.change.namespace, admission.change.name)
        for admission in admissions
        if admission.change.action is not ChangeAction.UNCHANGED
    }
    changes = list[WorkloadChange]()
    for admission in admissions:
        change = admission.change
        if admission.spec is not None and change.action is not ChangeAction.UNCHANGED:
            clash = _clash(admission.spec.definition, changing, view, scheduler)
            change = evolve(change, note="; ".join(filter(None, (change.note, clash))))
        changes.append(change)
    return tuple(changes)


def _clash(definition: WorkloadDefinition, changing: set[WorkloadName], view: ClusterView, scheduler: Scheduler) -> str:
    if not host_ports_of(definition.containers):
        return ""
    request = SchedulingRequest(workload=for_new_work(definition), slots=(InstanceKey(definition.metadata.uid, 0, 1),))
    explanation = explain(request, view, capabilities=scheduler.capabilities)
    holders = [placed for _, placed in _holders(explanation, view)]
    # Where a node passes, none is the closest.
    if not explanation.closest or not holders:
        return ""
    pushes = may_push(definition, scheduler)
    if any(
        WorkloadName(placed.namespace, placed.workload) in changing
        or (pushes and placed.priority < definition.priority)
        for placed in holders
    ):
        return ""
    return f"no node takes it now: {refusal_words(explanation, view)}"


def _holders(explanation: Explanation, view: ClusterView) -> Iterable[tuple[str, PlacedInstance]]:
    """Yield who holds ports on the nodes that an explanation names, each with the port."""
    for group in explanation.groups:
        if group.predicate is not Predicate.HOST_PORT:
            continue
        for node_id in group.samples:
            node = view.get(node_id)
            for placed in node.instances.values() if node is not None else ():
                if any(f"{protocol.value}/{number}" == group.detail for protocol, number in placed.host_ports):
                    yield group.detail, placed


def _names(holders: Iterable[PlacedInstance]) -> str:
    names = sorted(
        {
            placed.workload if placed.namespace == DEFAULT_NAMESPACE else f"{placed.namespace}/{placed.workload}"
            for placed in holders
        }
    )
    named, more = names[:MAX_NAMED], len(names) - MAX_NAMED
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")
