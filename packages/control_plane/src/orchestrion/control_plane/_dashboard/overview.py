"""What the pages of the whole cluster show: overview, topology, nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any, Final

from orchestrion.control_plane.usage import together
from orchestrion.orchestrator_core import WorkloadPhase, WorkloadView
from orchestrion.shared_types import InstanceState, Node, NodeStatus, Resources, WorkloadInstance

from .scene import RESTARTING, Scene, is_ended, is_restarting, key_of
from .usage import Usage
from .words import amount, named, share

FAILING: Final = (WorkloadPhase.DEGRADED, WorkloadPhase.FAILED)

MAX_CELLS: Final = 240
"""How many instances of a node the map shows; of more it says how many."""

MAX_CELLS_IN_ALL: Final = 10_000
"""How many instances the map shows, on all nodes together; of each node it shows a few at least."""

FEWEST_CELLS: Final = 8

MAX_MOVED: Final = 100
"""How many of a node's instances are named, which a drain would move."""

MAX_NODES: Final = 1_000
"""How many nodes a page shows."""


def overview(scene: Scene) -> dict[str, Any]:
    """Return what the overview shows: how full the cluster is, what waits and what fails."""
    phases = Counter(view.phase.value for view in scene.workloads)
    live = scene.live()
    names = scene.node_names()
    return {
        "capacity": capacity(scene.nodes, scene),
        "phases": [(phase.value, phases[phase.value]) for phase in WorkloadPhase if phases[phase.value]],
        "workload_count": len(scene.workloads),
        "running": sum(tone_of(instance) == "good" for instance in live),
        "restarting": sum(map(is_restarting, live)),
        "live_count": len(live),
        "ready": sum(node.status is NodeStatus.READY for node in scene.nodes),
        "node_count": len(scene.nodes),
        "pending": [_line(view, names) for view in scene.workloads if is_pending(view)],
        "failing": [_line(view, names) for view in scene.workloads if view.phase in FAILING],
    }


def is_pending(view: WorkloadView) -> bool:
    """Whether instances of a workload are wanted that have no place."""
    return view.phase in (WorkloadPhase.PENDING, WorkloadPhase.WAITING) or view.reason == "unplaceable"


def _line(view: WorkloadView, names: Mapping[str, str]) -> dict[str, Any]:
    metadata = view.definition.metadata
    return {
        "namespace": metadata.namespace,
        "name": metadata.name,
        "phase": view.phase.value,
        "reason": view.reason,
        "message": named(view.message, names),
        "placed": view.placed,
        "replicas": view.replicas,
    }


def capacity(nodes: Sequence[Node], scene: Scene) -> list[dict[str, Any]]:
    """Return each resource that nodes have: how much of it there is, and how much is reserved."""
    whole = reduce(add, (node.allocatable for node in nodes), Resources())
    taken = reduce(add, (scene.allocated.get(node.id, Resources()) for node in nodes), Resources())
    used = dict(taken.dimensions())
    busy = _busy(nodes, scene)
    bars = [
        {**_bar(_TITLES.get(name, name), name, used.get(name, 0), most), "used": busy.get(name)}
        for name, most in whole.dimensions()
        if most or used.get(name)
    ]
    devices = sum(len(node.devices) for node in nodes)
    if devices:
        held = sum(scene.granted.get(node.id, 0) for node in nodes)
        bars.append({**_bar("GPUs", "gpus", held, devices), "used": None})
    return bars


def _busy(nodes: Sequence[Node], scene: Scene) -> Mapping[str, dict[str, Any]]:
    """Return what is really used, by the names of the resources; only where it is known of all of the nodes."""
    usage = scene.usage
    if usage is None or not all(node.id in usage.nodes for node in nodes):
        return {}
    used = together(usage.by_node[node.id] for node in nodes)
    whole = reduce(add, (node.allocatable for node in nodes), Resources())
    found = {"memory_bytes": _bar("Memory", "memory_bytes", used.memory_bytes, whole.memory_bytes)}
    if used.cpu_millicores is not None:
        found["cpu_millicores"] = _bar("CPU", "cpu_millicores", used.cpu_millicores, whole.cpu_millicores)
    return found


def used(nodes: Sequence[Node], usage: Usage) -> dict[str, int]:
    """Return what is used of the nodes whose use is known, in percent of what they have."""
    known = [node.allocatable for node in nodes if node.id in usage.nodes]
    whole = reduce(add, known, Resources())
    return {
        "CPU used": share(usage.cpu_millicores, whole.cpu_millicores),
        "Memory used": share(usage.memory_bytes, whole.memory_bytes),
    }


_TITLES: Final = {"cpu_millicores": "CPU", "memory_bytes": "Memory", "disk_bytes": "Disk"}


def _bar(title: str, dimension: str, taken: int, whole: int) -> dict[str, Any]:
    unit = " cores" if dimension == "cpu_millicores" else ""
    return {
        "title": title,
        "percent": share(taken, whole),
        "text": f"{amount(dimension, taken)} of {amount(dimension, whole)}{unit}",
    }


def topology(scene: Scene) -> list[dict[str, Any]]:
    """Return the map: places, the nodes in them, and the instances on those."""
    on_node = dict[str, list[WorkloadInstance]]()
    for instance in scene.live():
        on_node.setdefault(instance.binding.node_id, []).append(instance)
    places = dict[str, list[dict[str, Any]]]()
    shown = min(MAX_CELLS, max(FEWEST_CELLS, MAX_CELLS_IN_ALL // max(1, len(scene.nodes))))
    for node in scene.nodes[:MAX_NODES]:
        where = node.topology
        title = " / ".join(part for part in (where.region, where.zone, where.rack) if part)
        instances = on_node.get(node.id, [])
        places.setdefault(title, []).append(
            {
                **node_line(node, scene),
                "cells": [_cell(instance) for instance in instances[:shown]],
                "hidden": max(0, len(instances) - shown),
            }
        )
    return [{"title": title, "nodes": places[title]} for title in sorted(places)]


def _cell(instance: WorkloadInstance) -> dict[str, Any]:
    return {
        "namespace": instance.namespace,
        "workload": instance.workload,
        "name": instance.name,
        "state": RESTARTING if is_restarting(instance) else instance.status.state.value,
        "tone": tone_of(instance),
    }


def tone_of(instance: WorkloadInstance) -> str:
    """Return how well an instance is, as one of the styles: good, busy, bad or off."""
    state = instance.status.state
    if is_ended(instance):
        return "off" if state is InstanceState.SUCCEEDED else "bad"
    if state is InstanceState.RUNNING:
        return "bad" if is_restarting(instance) else "good"
    return "bad" if state is InstanceState.UNKNOWN else "busy"


def nodes(scene: Scene) -> list[dict[str, Any]]:
    """Return what the page of nodes shows."""
    there = dict[str, list[str]]()
    for instance in scene.live():
        there.setdefault(str(instance.binding.node_id), []).append(key_of(instance))
    return [
        {
            **node_line(node, scene),
            "instances": len(there.get(node.id, ())),
            "moved": there.get(node.id, [])[:MAX_MOVED],
            "labels": sorted(node.labels.items()),
            "taints": [f"{taint.key}={taint.value}:{taint.effect.value}" for taint in node.taints],
            "conditions": [
                {
                    "type": each.type,
                    "reason": each.reason,
                    "since": each.since,
                    "tone": "bad" if each.active else "off",
                }
                for each in node.conditions
                if each.active or each.unknown
            ],
            "drivers": sorted(node.drivers),
            "address": node.address,
        }
        for node in scene.nodes[:MAX_NODES]
    ]


def node_line(node: Node, scene: Scene) -> dict[str, Any]:
    """Return what is said of a node wherever it is shown."""
    bars = capacity([node], scene)
    fullest = max((bar["percent"] for bar in bars), default=0)
    busiest = max((bar["used"]["percent"] for bar in bars if bar["used"]), default=None)
    status = node.status.value
    if node.drain is not None:
        status = "Draining"
    elif node.cordoned and node.status is NodeStatus.READY:
        status = "Cordoned"
    return {
        "id": node.id,
        "name": node.name,
        "status": status,
        "tone": {"Ready": "good", "Draining": "busy", "Cordoned": "busy", "NotReady": "busy"}.get(status, "bad"),
        "cordoned": node.cordoned or node.drain is not None,
        "drain": None if node.drain is None else node.drain.reason,
        "deadline": None if node.drain is None else node.drain.deadline,
        "bars": bars,
        "heat": fullest // 10,
        "percent": fullest,
        "used": busiest,
    }
