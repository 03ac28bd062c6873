"""`rollout`: updates, what there was before them, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrion.orchestrator_core import WorkloadPhase, WorkloadView

from ._get import name_of
from ._objects import Data, reach_objects
from ._output import Form, coloured, columns, is_for_people, note, show, show_one
from ._places import namespace_of, place_of
from ._reach import reach_owner
from ._rollout_follow import progress
from ._running import run_async
from ._tables import at
from ._where import Where
from ._words import full_name, phase_colour, view_name


def run_rollout_pause(name: str, where: Where, form: Form, *, paused: bool) -> int:
    """Hold up a workload's updates, or let them go on."""
    place = place_of(where)
    namespace = namespace_of(where, place)

    async def change() -> WorkloadView:
        async with reach_owner(place) as control:
            if paused:
                return await control.pause(name, namespace=namespace)
            return await control.resume(name, namespace=namespace)

    view = run_async(change)
    if not is_for_people(form):
        show_one(view, form, table=lambda _: (), name=view_name)
        return 0
    note(f"{full_name(namespace, name)}: updates {'are paused' if paused else 'go on'}")
    note(progress(view))
    return 0


def run_rollout_history(name: str, where: Where, form: Form) -> int:
    """Print what a workload ran."""
    place = place_of(where)

    async def read() -> Mapping[str, Any]:
        async with reach_objects(where, place) as objects:
            path = objects.path(await objects.kind("workload"), name)
            data: Mapping[str, Any] = (await objects.api.ask("GET", f"{path}/rollout")).data
            return data

    history = run_async(read).get("history", [])
    show(history, form, table=lambda items: columns(_history_rows(items)), name=lambda one: str(one["generation"]))
    return 0


def _history_rows(items: Any) -> list[tuple[str, ...]]:
    rows = [tuple(coloured(title, "dim") for title in ("GENERATION", "", "CAUSE", "CONTAINERS"))]
    for one in items:
        told = [
            f"{at(container, 'name')}: {at(container, 'image') or ' '.join(map(str, at(container, 'command', ())))}"
            for container in one.get("containers", ())
        ]
        current = "current" if one.get("current") else ""
        since = one.get("since", one["generation"])
        back = f"brought back by generation {since}" if since != one["generation"] else ""
        cause = ", ".join(filter(None, (str(one.get("cause", "")), back)))
        rows.append((str(one["generation"]), current, cause, "; ".join(told)[:200]))
    return rows


def run_rollout_undo(name: str, generation: int | None, where: Where, form: Form, *, dry_run: bool) -> int:
    """Go back to what a workload ran before."""
    return _roll(name, {"undo": {} if generation is None else {"generation": generation}}, where, form, dry_run=dry_run)


def run_rollout_restart(name: str, where: Where, form: Form, *, dry_run: bool) -> int:
    """Replace all instances of a workload by new ones that run the same."""
    return _roll(name, {"restart": {}}, where, form, dry_run=dry_run)


def run_rollout_promote(name: str, where: Where, form: Form, *, dry_run: bool) -> int:
    """Let an update go on beyond its canary."""
    return _roll(name, {"promote": {}}, where, form, dry_run=dry_run)


def _roll(name: str, body: Mapping[str, Any], where: Where, form: Form, *, dry_run: bool) -> int:
    place = place_of(where)

    async def change() -> Data:
        async with reach_objects(where, place) as objects:
            path = objects.path(await objects.kind("workload"), name)
            data: Data = (await objects.api.ask("POST", f"{path}/rollout", body, query={"dry_run": dry_run})).data
            return data

    item = run_async(change)
    if not is_for_people(form):
        show_one(item, form, table=lambda _: (), name=name_of)
        return 0
    if dry_run and "restart" in body:
        note(f"{name}: all of its instances would be replaced")
        return 0
    if dry_run and "promote" in body:
        note(f"{name}: its update would go on beyond its canary")
        return 0
    phase = str(at(item, "status.phase"))
    told = coloured(phase, phase_colour(WorkloadPhase(phase))) if phase in set(WorkloadPhase) else phase
    note(f"{name}: generation {at(item, 'metadata.generation')}{f' ({told})' if told and not dry_run else ''}")
    if not dry_run:
        note(f"`orchestrion rollout status {name}` follows it")
    return 0
