"""What is to be done about a daemon: one instance on every node that it may run on."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrion.shared_types import InstanceState, NodeId

from ._planning import Planning
from ._world import InstanceRecord


def plan_daemon(planning: Planning) -> None:
    """Add to the plan what brings a daemon to every node, and from template to template a few nodes at a time."""
    current = dict[NodeId, InstanceRecord]()
    outgoing = dict[NodeId, InstanceRecord]()
    failed = dict[NodeId, list[InstanceRecord]]()
    for instance in planning.record.instances.values():
        node_id = instance.bound.binding.node_id if instance.bound is not None else None
        if node_id is None:
            continue
        if planning.is_active(instance):
            if planning.is_leaving(instance):
                planning.stop(instance, "its node is drained")
            elif planning.is_old(instance):
                outgoing[node_id] = instance
            elif node_id in current:
                planning.stop(instance, "the node has another instance")
            else:
                current[node_id] = instance
        elif instance.state is InstanceState.FAILED and not planning.is_old(instance):
            failed.setdefault(node_id, []).append(instance)
    _replace(planning, current, outgoing)
    _fill(planning, current, outgoing, failed)


def _replace(
    planning: Planning, current: Mapping[NodeId, InstanceRecord], outgoing: Mapping[NodeId, InstanceRecord]
) -> None:
    """Move some nodes to the new template, without ever more of them in between than the update strategy permits."""
    strategy = planning.definition.update
    reason = f"generation {planning.generation} replaces it"
    refused = planning.facts.refusals.get((planning.record.name, planning.generation), {})
    in_between = {node_id for node_id, instance in current.items() if not planning.is_available(instance)}
    in_between |= {
        instance.bound.binding.node_id
        for instance in planning.record.instances.values()
        if instance.bound is not None
        and instance.bound.binding.stop_reason == reason
        and instance.bound.binding.node_id not in current
        and instance.bound.binding.node_id not in refused
        and planning.facts.takes_work(instance.bound.binding.node_id)
    }
    room = max(strategy.max_surge, strategy.max_unavailable) - len(in_between)
    for node_id, instance in sorted(outgoing.items()):
        replacement = current.get(node_id)
        if replacement is None and node_id in refused:
            # It must not hold up the others; where there is no room beside the old one, it is tried again later.
            if refused[node_id]:
                planning.stop(instance, f"generation {planning.generation} may not run on its node")
        elif replacement is not None and planning.is_available(replacement):
            planning.stop(instance, reason)
        elif replacement is None and room > 0:
            room -= 1
            if strategy.max_surge == 0:
                planning.stop(instance, reason)
            else:
                for slot in planning.free_slots(1):
                    planning.place(slot, node_id)


def _fill(
    planning: Planning,
    current: Mapping[NodeId, InstanceRecord],
    outgoing: Mapping[NodeId, InstanceRecord],
    failed: Mapping[NodeId, list[InstanceRecord]],
) -> None:
    ending = {
        instance.bound.binding.node_id
        for instance in planning.record.instances.values()
        if instance.bound is not None and not instance.ended and not planning.is_active(instance)
    }
    for node_id in sorted(planning.facts.nodes):
        if node_id in current or node_id in outgoing or node_id in ending or not planning.facts.takes_work(node_id):
            continue
        if planning.backoff(failed.get(node_id, ()), node_id) > 0:
            continue
        for slot in planning.free_slots(1):
            planning.place(slot, node_id)
