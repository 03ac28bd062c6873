"""What the page of one workload shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from orchestrion.control_plane.usage import Used
from orchestrion.orchestrator_core import WorkloadPhase, WorkloadView, wanted_since
from orchestrion.shared_types import (
    ContainerStatus,
    Event,
    EventSeverity,
    Resources,
    WorkloadDefinition,
    WorkloadInstance,
    WorkloadKind,
    to_json,
)
from orchestrion.shared_types.manifest import to_manifest

from .overview import tone_of
from .scene import RESTARTING, Scene, is_ended, is_restarting, restarts_of
from .words import NO_NAMES, cores, named, share, size, stamp

MAX_INSTANCES: Final = 500
MAX_GROUPS: Final = 60

UNKNOWN: Final = "\u2013"
"""In place of an amount."""

TONES: Final = {
    WorkloadPhase.HEALTHY: "good",
    WorkloadPhase.RUNNING: "good",
    WorkloadPhase.SUCCEEDED: "off",
    WorkloadPhase.STOPPED: "off",
    WorkloadPhase.FAILED: "bad",
    WorkloadPhase.DEGRADED: "bad",
}


def workload_line(view: WorkloadView, names: Mapping[str, str]) -> dict[str, Any]:
    """Return what is said of a workload wherever it is shown; `names` are those of nodes, by id."""
    metadata = view.definition.metadata
    wanted = view.replicas
    batch = view.definition.kind is WorkloadKind.BATCH
    return {
        "namespace": metadata.namespace,
        "name": metadata.name,
        "labels": sorted(metadata.labels.items()),
        "kind": view.definition.kind.value,
        "phase": view.phase.value,
        "tone": TONES.get(view.phase, "busy"),
        "reason": view.reason,
        "message": named(view.message, names),
        "replicas": wanted,
        "scaled": view.scaled,
        "generation": view.generation,
        "since": view.started_at or metadata.created_at,
        "done": view.succeeded if batch else view.available,
        "stages": [
            {"title": title, "count": count, "percent": share(count, wanted)}
            for title, count in (
                [("placed", view.placed), ("running", view.running), ("succeeded", view.succeeded)]
                if batch
                else [
                    ("up to date", view.updated),
                    ("placed", view.placed),
                    ("running", view.running),
                    ("available", view.available),
                ]
            )
        ],
        "failed": view.failed,
        "containers": [container.name for container in view.definition.containers],
        "can_scale": view.definition.kind is WorkloadKind.SERVICE,
        "can_pause": not batch,
        "can_rerun": view.phase in (WorkloadPhase.SUCCEEDED, WorkloadPhase.FAILED),
        "is_paused": view.paused,
        "can_promote": view.canary > 0,
        "is_stopped": view.phase in (WorkloadPhase.STOPPED, WorkloadPhase.STOPPING),
    }


def instance_lines(scene: Scene, namespace: str, workload: str) -> dict[str, Any]:
    """Return the instances of a workload: those that hold a place first, and of the ended the latest."""
    own = [each for each in scene.instances if (each.namespace, each.workload) == (namespace, workload)]
    live = [each for each in own if not is_ended(each)]
    ended = sorted((each for each in own if is_ended(each)), key=_ended_at, reverse=True)
    shown = [*live, *ended][:MAX_INSTANCES]
    names = scene.node_names()
    lines = [
        {
            **_instance_line(each, names),
            **_used_line(each, scene),
            "node_name": names.get(each.binding.node_id, ""),
        }
        for each in shown
    ]
    restarting = sum(line["state"] == RESTARTING for line in lines)
    return {"lines": lines, "hidden": len(own) - len(shown), "restarting": restarting}


def used_words(used: Used, wanted: Resources) -> tuple[str, str]:
    """Return what is used of the processor, in cores, and of the memory, each of what is requested, if anything is."""
    cpu = UNKNOWN if used.cpu_millicores is None else cores(used.cpu_millicores)
    memory = size(used.memory_bytes)
    return (
        f"{cpu} of {cores(wanted.cpu_millicores)}" if wanted.cpu_millicores else cpu,
        f"{memory} of {size(wanted.memory_bytes)}" if wanted.memory_bytes else memory,
    )


def _used_line(instance: WorkloadInstance, scene: Scene) -> dict[str, str]:
    used = scene.usage.by_instance.get((instance.namespace, instance.name)) if scene.usage is not None else None
    cpu, memory = used_words(used, scene.demand(instance)) if used is not None else (UNKNOWN, UNKNOWN)
    return {"cpu": cpu, "memory": memory}


def _ended_at(instance: WorkloadInstance) -> str:
    return stamp(instance.status.finished_at or instance.binding.lost_at)


def _instance_line(instance: WorkloadInstance, names: Mapping[str, str]) -> dict[str, Any]:
    status = instance.status
    state = "Lost" if instance.binding.lost_at is not None else status.state.value
    # The others may run; that one has failed and does not is what somebody looks for.
    due = [each.next_attempt_at for each in status.containers if each.next_attempt_at is not None]
    # Of what waits it is told below how it ended, and the page counts down to when it is due.
    own = "" if due else status.message or status.reason
    if is_restarting(instance):
        state = RESTARTING
    reasons = [own, *(_container_reason(each) for each in status.containers)]
    return {
        "name": instance.name,
        "index": instance.key.index,
        "node": instance.binding.node_id,
        "state": state,
        "tone": tone_of(instance),
        "generation": instance.binding.generation,
        "restarts": restarts_of(instance),
        "since": status.started_at,
        "why": named("; ".join(dict.fromkeys(reason for reason in reasons if reason)), names),
        "next_at": min(due, default=None),
        "ended": is_ended(instance),
        "health": ", ".join(sorted({each.health.value for each in status.containers})),
        "ports": [f"{each.address or 'port'}:{port}" for each in status.containers for port in each.ports.values()],
    }


def _container_reason(container: ContainerStatus) -> str:
    """Return what is to be said of a container: how it ended if not well, and why it waits."""
    ended = container.exit
    told = [ended.words] if ended is not None and not (ended.succeeded and container.next_attempt_at is None) else []
    words = ", ".join([*told, *([container.reason] if container.reason else [])])
    return f"{container.name}: {words}" if words else ""


def timeline(events: Sequence[Event], names: Mapping[str, str] = NO_NAMES) -> list[dict[str, Any]]:
    """Return events, latest first; what the same subject said in a row with the same reason is one group."""
    groups = list[dict[str, Any]]()
    for event in reversed(events):
        last = groups[-1] if groups else None
        if last is not None and (last["subject"], last["reason"]) == (event.subject, event.reason):
            last["count"] += 1
            continue
        if len(groups) == MAX_GROUPS:
            break
        groups.append(event_line(event, names))
    return groups


def event_line(event: Event, names: Mapping[str, str]) -> dict[str, Any]:
    """Return what is said of an event wherever it is shown; `names` are those of nodes, by id."""
    kind, _, name = event.subject.partition("/")
    return {
        "uid": event.uid,
        "namespace": event.namespace,
        "subject": event.subject,
        "kind": kind,
        "name": name,
        "workload": name.partition(".")[0] if kind in ("workload", "instance") else "",
        "reason": event.reason,
        "message": named(event.message, names),
        "tone": "bad" if event.severity is EventSeverity.WARNING else "off",
        "severity": event.severity.value,
        "at": event.at,
        "count": 1,
    }


def versions(templates: Mapping[int, WorkloadDefinition], old: int | None, new: int | None) -> dict[str, Any]:
    """Return which versions of a workload are kept, and what changed from one to another.

    Args:
        templates: By generation.
        old: The generation to compare with; None is the one that was wanted before `new`.
        new: The generation that is compared; None is the one that was wanted last.
    """
    known = sorted(templates, key=lambda generation: (wanted_since(templates[generation]), generation))
    if new not in templates:
        new = known[-1] if known else None
    if old not in templates:
        place = known.index(new) if new is not None else 0
        old = known[place - 1] if place else None
    lines = list[dict[str, str]]()
    if old is not None and new is not None:
        before, after = (dict(_flat(_form(templates[each]), "")) for each in (old, new))
        for path in sorted(before.keys() | after.keys()):
            if before.get(path) != after.get(path):
                lines.append({"path": path, "before": before.get(path, ""), "after": after.get(path, "")})
    return {"known": known, "old": old, "new": new, "lines": lines}


def _form(definition: WorkloadDefinition) -> Any:
    return to_manifest(definition)["workloads"][definition.metadata.name]


def _flat(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield every leaf of a document with its path."""
    if isinstance(value, Mapping) and value:
        for key in value:
            yield from _flat(value[key], f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value and any(isinstance(item, Mapping) for item in value):
        for index, item in enumerate(value):
            yield from _flat(item, f"{path}[{index}]")
    else:
        yield path, to_json(value).decode()
