"""Workloads, instances, nodes and events in few words, as plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from orchestrion.orchestrator_core import WorkloadView
from orchestrion.shared_types import Event, Node, NodeStatus, Resources, WorkloadInstance


def workload_row(view: WorkloadView) -> dict[str, Any]:
    """Return a workload as a line of a list."""
    metadata = view.definition.metadata
    row = {
        "namespace": metadata.namespace,
        "name": metadata.name,
        "kind": view.definition.kind.value,
        "phase": view.phase.value,
        "replicas": view.replicas,
        "running": view.running,
        "available": view.available,
        "succeeded": view.succeeded,
        "failed": view.failed,
        "generation": metadata.generation,
    }
    return row | {name: value for name, value in (("reason", view.reason), ("message", view.message)) if value}


def instance_row(instance: WorkloadInstance) -> dict[str, Any]:
    """Return an instance as a line of a list."""
    status = instance.status
    row: dict[str, Any] = {
        "namespace": instance.namespace,
        "name": instance.name,
        "node": instance.binding.node_id,
        "state": status.state.value,
        "restarts": sum(container.attempt for container in status.containers),
        "healthy": status.healthy_since is not None,
        "ports": {name: number for container in status.containers for name, number in container.ports.items()},
    }
    return row | {name: value for name, value in (("reason", status.reason), ("message", status.message)) if value}


def node_row(node: Node) -> dict[str, Any]:
    """Return a node as a line of a list."""
    return {
        "id": node.id,
        "name": node.name,
        "status": node.status.value,
        "cordoned": node.cordoned,
        "draining": node.drain is not None,
        "labels": dict(node.labels),
        "taints": [f"{taint.key}={taint.value}:{taint.effect.value}" for taint in node.taints],
        "troubles": [
            f"{condition.type} is not known: {condition.reason}"
            if condition.unknown
            else condition.reason or condition.type
            for condition in node.conditions
            if condition.active or condition.unknown
        ],
        "allocatable": amounts(node.allocatable),
        "devices": len(node.devices),
    }


def amounts(resources: Resources) -> dict[str, int]:
    """Return resources by their names, what is none left out."""
    return {name: amount for name, amount in resources.dimensions() if amount}


def event_row(event: Event) -> dict[str, Any]:
    """Return an event as a line of a list."""
    return {
        "at": event.at.isoformat(),
        "namespace": event.namespace,
        "subject": event.subject,
        "severity": event.severity.value,
        "reason": event.reason,
        "message": event.message,
    }


def cluster_status(
    nodes: Sequence[Node], workloads: Sequence[WorkloadView], instances: Sequence[WorkloadInstance]
) -> dict[str, Any]:
    """Return how a cluster is doing, as a whole."""
    phases = Counter(view.phase.value for view in workloads)
    troubled = [workload_row(view) for view in workloads if view.message][:_TROUBLED]
    return {
        "nodes": {
            "total": len(nodes),
            "by_status": dict(Counter(node.status.value for node in nodes)),
            "cordoned": sum(node.cordoned for node in nodes),
        },
        "capacity": _sum(node.capacity for node in nodes),
        "allocatable": _sum(node.allocatable for node in nodes if node.status is NodeStatus.READY),
        "workloads": {"total": len(workloads), "by_phase": dict(phases)},
        "instances": {"by_state": dict(Counter(each.status.state.value for each in instances))},
        "troubled": troubled,
    }


_TROUBLED = 20


def cluster_metrics(
    nodes: Sequence[Node], workloads: Sequence[WorkloadView], instances: Sequence[WorkloadInstance]
) -> dict[str, Any]:
    """Return numbers of a cluster, named as programs keep them."""
    capacity, allocatable = (
        _sum(node.capacity for node in nodes),
        _sum(node.allocatable for node in nodes),
    )
    metrics: dict[str, Any] = {
        "nodes_total": len(nodes),
        "nodes_ready": sum(node.status is NodeStatus.READY for node in nodes),
        "workloads_total": len(workloads),
        "workload_replicas_desired": sum(view.replicas for view in workloads),
        "workload_replicas_running": sum(view.running for view in workloads),
        "instances_total": len(instances),
        "instances_by_state": dict(Counter(each.status.state.value for each in instances)),
    }
    metrics.update((f"node_{name}_capacity", amount) for name, amount in capacity.items())
    metrics.update((f"node_{name}_allocatable", amount) for name, amount in allocatable.items())
    return metrics


def _sum(several: Iterable[Resources]) -> dict[str, int]:
    total = Counter[str]()
    for resources in several:
        total.update(amounts(resources))
    return dict(total)
