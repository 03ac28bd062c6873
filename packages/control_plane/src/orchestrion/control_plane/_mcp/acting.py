"""Tools that change something, and `plan_workloads`, which says what one of them would change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from orchestrion.orchestrator_core import ChangeAction, WorkloadChange
from orchestrion.shared_types import (
    DEFAULT_NAMESPACE,
    MAX_SLOTS,
    ConfigInvalid,
    Denied,
    Problem,
    WorkloadDefinition,
)
from orchestrion.shared_types.manifest import to_yaml

from .desk import Desk
from .said import workloads_said
from .shown import workload_row
from .tool import NAMESPACE, WORKLOAD, Tool, flag

MAX_MANIFEST_CHARS: Final = 256 * 1024


async def plan_workloads(desk: Desk, given: Mapping[str, Any]) -> dict[str, Any]:
    """Say what applying a manifest would change, and where new instances would go."""
    definitions = await _definitions(desk, given["manifest"])
    _check_each(desk, "plan", definitions)
    plan = await desk.control.plan(definitions)
    placements = [{"instance": each.instance, "node": each.node_id, "why": each.text} for each in plan.placements]
    return {"changes": [_change(each) for each in plan.changes], "placements": placements[:_PLACEMENTS]}


_PLACEMENTS: Final = 100


async def apply_workloads(desk: Desk, given: Mapping[str, Any]) -> dict[str, Any]:
    """Want what a manifest says."""
    definitions = await _definitions(desk, given["manifest"])
    _check_each(desk, "apply", definitions)
    if given["dry_run"]:
        desk.watcher.tries()
    result = await desk.control.apply(definitions, dry_run=given["dry_run"], force=given["force"])
    return {"changes": [_change(each) for each in result.changes], "revision": result.revision}


async def create_workload(desk: Desk, given: Mapping[str, Any]) -> dict[str, Any]:
    """Want a new workload."""
    name, namespace = given["name"], given["namespace"]
    desk.check("create", "workloads", namespace)
    if given["dry_run"]:
        desk.watcher.tries()
    manifest = to_yaml({"namespace": namespace, "workloads": {name: given["spec"]}})
    definitions = await _definitions(desk, manifest, namespace)
    result = await desk.control.apply(definitions, dry_run=given["dry_run"], only_new=True)
    return {"changes": [_change(each) for each in result.changes], "revision": result.revision}


async def scale_workload(desk: Desk, given: Mapping[str, Any]) -> dict[str, Any]:
    """Set the number of a service's instances."""
    name, namespace = given["name"], given["namespace"]
    desk.check("scale", "workloads", namespace, name)
    return workload_row(await desk.control.scale(name, given["replicas"], namespace=namespace))


async def stop_workload(desk: Desk, given: Mapping[str, Any]) -> dict[str, Any]:
    """Stop a workload, and keep it."""
    name, namespace = given["name"], given["namespace"]
    desk.check("stop", "workloads", namespace, name)
    return workload_row(await desk.control.stop(name, namespace=namespace))


async def delete_workload(desk: Desk, given: Mapping[str, Any]) -> dict[str, Any]:
    """Stop a workload and forget it."""
    name, namespace = given["name"], given["namespace"]
    desk.check("delete", "workloads", namespace, name)
    await desk.control.remove(name, namespace=namespace)
    return {"namespace": namespace, "name": name, "removed": True}


def _check_each(desk: Desk, verb: str, definitions: Iterable[WorkloadDefinition]) -> None:
    for definition in definitions:
        desk.check(verb, "workloads", definition.metadata.namespace, definition.metadata.name)


async def _definitions(desk: Desk, manifest: str, namespace: str = DEFAULT_NAMESPACE) -> Sequence[WorkloadDefinition]:
    """Return the workloads of a manifest, which may come after those that who asks may see."""
    try:
        others = [view.definition for view in await desk.control.list_workloads()]
    except Denied:  # by a server that who asks may not ask for all
        others = [view.definition for view in await desk.control.list_workloads(namespace=namespace)]
    namespaces = {other.metadata.namespace for other in others}
    seen = {each for each in namespaces if desk.may("list", "workloads", each)}
    others = [other for other in others if other.metadata.namespace in seen]
    found = workloads_said(manifest, others, 4 * MAX_MANIFEST_CHARS)
    if not found:
        raise ConfigInvalid((Problem("it has no workloads", path="manifest"),))
    return found


def _change(change: WorkloadChange) -> dict[str, Any]:
    row: dict[str, Any] = {
        "namespace": change.namespace,
        "name": change.name,
        "action": change.action.value,
        "generation": change.generation,
    }
    if change.action is ChangeAction.UPDATE:
        row["replaces_instances"] = change.restarts
        row["differences"] = [
            {"path": each.path, "before": each.before, "after": each.after} | ({"note": each.note} if each.note else {})
            for each in change.differences
        ]
    return row | ({"note": change.note} if change.note else {})


_MANIFEST: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_MANIFEST_CHARS,
    "description": "A manifest as YAML or JSON, such as: workloads: {web: {kind: service, replicas: 2, containers: "
    "[{name: main, command: [python3, -m, http.server, '${PORT_HTTP}'], ports: {http: {}}}]}}. Or objects, such as: "
    "{kind: Workload, metadata: {name: web, namespace: default}, spec: {replicas: 2, containers: [...]}}. Several YAML "
    "documents, and a list of them under items, may be mixed. Paths are absolute.",
}
_DRY_RUN: Final = flag("Check everything, and change nothing.")
_FORCE: Final = flag("Take over what other managers, as an autoscaler, say differently; without it that is a conflict.")

ACTING: Final = (
    Tool(
        name="plan_workloads",
        title="Plan a change",
        description="Says what applying a manifest, or Workload objects, would change, and where new instances would "
        "go. Changes nothing.",
        properties={"manifest": _MANIFEST},
        required=("manifest",),
        act=plan_workloads,
    ),
    Tool(
        name="apply_workloads",
        title="Apply a manifest",
        description="Wants the workloads of a manifest or of Workload objects, all of them or none: makes those that "
        "are new and changes those that differ, which may replace their instances. Workloads that it does not name "
        "stay as they are.",
        properties={"manifest": _MANIFEST, "dry_run": _DRY_RUN, "force": _FORCE},
        required=("manifest",),
        act=apply_workloads,
        changes=True,
        destroys=True,
    ),
    Tool(
        name="create_workload",
        title="Create a workload",
        description="Wants a new workload; one of that name must not be there.",
        properties={
            "name": WORKLOAD,
            "namespace": NAMESPACE,
            "spec": {
                "type": "object",
                "description": "The workload in the form of a manifest, such as {kind: batch, completions: 4, "
                "containers: [{name: main, command: [./work]}]}.",
            },
            "dry_run": _DRY_RUN,
        },
        required=("name", "spec"),
        act=create_workload,
        changes=True,
        repeatable=False,
    ),
    Tool(
        name="scale_workload",
        title="Scale a service",
        description="Sets how many instances of a service run, and remembers it; null goes back to the manifest's.",
        properties={
            "name": WORKLOAD,
            "namespace": NAMESPACE,
            "replicas": {
                "type": ["integer", "null"],
                "minimum": 0,
                "maximum": MAX_SLOTS,
                "description": "How many; null is the manifest's number.",
            },
        },
        required=("name", "replicas"),
        act=scale_workload,
        changes=True,
        destroys=True,
    ),
    Tool(
        name="stop_workload",
        title="Stop a workload",
        description="Stops all instances of a workload and keeps it; applying it again starts it.",
        properties={"name": WORKLOAD, "namespace": NAMESPACE},
        required=("name",),
        act=stop_workload,
        changes=True,
        destroys=True,
    ),
    Tool(
        name="delete_workload",
        title="Delete a workload",
        description="Stops all instances of a workload and forgets it. It can't be undone.",
        properties={"name": WORKLOAD, "namespace": NAMESPACE},
        required=("name",),
        act=delete_workload,
        changes=True,
        destroys=True,
    ),
)
