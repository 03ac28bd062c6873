"""What is to be done about a daemon: one instance on every node that it may run on."""

from __future__ import annotations

from collections.abc import Mapping, Set

from orchestrion.orchestrator_core._cluster.planning import Planning
from orchestrion.orchestrator_core._cluster.service_plan import FAILING_STARTS
from orchestrion.orchestrator_core._state.facts import effective_definition
from orchestrion.orchestrator_core._state.records import InstanceName
from orchestrion.orchestrator_core._state.roll import Standing
from orchestrion.orchestrator_core._state.world import InstanceRecord
from orchestrion.scheduler_interface import demand_of, host_ports_of
from orchestrion.shared_types import NodeId


def plan_daemon(planning: Planning) -> None:
    """Add to the plan what brings a daemon to every node, and from template to template a few nodes at a time."""
    current = dict[NodeId, InstanceRecord]()
    outgoing = dict[NodeId, InstanceRecord]()
    ending = set[NodeId]()
    staying, replaced = planning.active()
    for node_id, group in planning.record.roll.nodes.items():
        for name, instance in group.items():
            if name in replaced:
                if planning.is_leaving(instance):
                    planning.stop(instance, "its node is drained")
                else:
                    outgoing[node_id] = instance
            elif name not in staying:
                ending.add(node_id)
            elif node_id in current and not planning.held:
                planning.stop(instance, "the node has another instance")
            else:
                current[node_id] = instance
    failed = dict[NodeId, list[InstanceRecord]]()
    for instance in planning.record.roll.of(Standing.FAILED, planning.generation).values():
        if instance.bound is not None:
            failed.setdefault(instance.bound.binding.node_id, []).append(instance)
    available = planning.available()
    if outgoing:
        _replace(planning, current, outgoing, failed, ending, available)
    _fill(planning, {*current, *outgoing, *ending}, failed)


def _replace(
    planning: Planning,
    current: Mapping[NodeId, InstanceRecord],
    outgoing: Mapping[NodeId, InstanceRecord],
    failed: Mapping[NodeId, list[InstanceRecord]],
    ending: Set[NodeId],
    available: Set[InstanceName],
) -> None:
    """Move some nodes to the new template, without ever more of them in between than the update strategy permits."""
    strategy = planning.definition.update
    reason = f"generation {planning.generation} replaces it"
    refused = planning.facts.refusals.get((planning.record.name, planning.generation), {})
    in_between = {node_id for node_id, instance in current.items() if instance.name not in available}
    # Wherever nothing of it serves, whatever the cause: a template that does not work must not be taken any further.
    in_between |= {
        node_id
        for node_id in planning.facts.nodes.keys() - current.keys() - outgoing.keys()
        if (node_id in ending or node_id not in refused) and planning.facts.takes_work(node_id)
    }
    room = max(strategy.max_surge, strategy.max_unavailable) - len(in_between)
    recent = [planning.counts_as_recent(instance) for instances in failed.values() for instance in instances]
    recent = [seconds for seconds in recent if seconds > 0]
    if len(recent) >= FAILING_STARTS:
        room = 0
        planning.plan.wake(min(recent))
    for node_id, instance in sorted(outgoing.items()):
        replacement = current.get(node_id)
        if replacement is not None:
            if replacement.name in available:
                planning.stop(instance, reason)
        elif node_id in refused and refused[node_id].never:
            planning.stop(instance, f"generation {planning.generation} may not run on its node")
        elif room > 0 and (strategy.max_surge == 0 or (node_id in refused and _in_the_way(planning, instance))):
            room -= 1
            planning.stop(instance, reason)
        elif room > 0 and node_id not in refused:
            # Where there is no room beside the old one, it must not hold up the others, and is tried again later.
            room -= 1
            for slot in planning.free_slots(1):
                planning.place(slot, node_id)


def _in_the_way(planning: Planning, instance: InstanceRecord) -> bool:
    """Whether an instance itself holds what its replacement was refused for, as far as that can be known."""
    bound = instance.bound
    before = effective_definition(planning.record, bound.binding.generation) if bound is not None else None
    after = effective_definition(planning.record, planning.generation)
    if before is None or after is None:
        return False
    same_ports = not host_ports_of(before.containers).isdisjoint(host_ports_of(after.containers))
    return same_ports or demand_of(after).fits_in(demand_of(before))


def _fill(planning: Planning, held: Set[NodeId], failed: Mapping[NodeId, list[InstanceRecord]]) -> None:
    # A node that had no place is asked again once it has changed, something there has ended, or some time has passed.
    refused = planning.facts.refusals.get((planning.record.name, planning.generation), {})
    for node_id in sorted(planning.facts.nodes.keys() - held - refused.keys()):
        if not planning.facts.takes_work(node_id):
            continue
        if planning.backoff(failed.get(node_id, ()), node_id) > 0:
            continue
        for slot in planning.free_slots(1):
            planning.place(slot, node_id)
