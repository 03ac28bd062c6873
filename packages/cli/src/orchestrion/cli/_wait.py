"""`wait` and `rollout`: until something holds, and what updates there were."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

import trio
from attrs import frozen
from orchestrion.orchestrator_core import UpdateKind, WorkloadPhase, WorkloadView
from orchestrion.shared_types import ConfigInvalid, Problem, WorkloadKind, WorkloadNotFound

from ._exit_codes import ExitCode
from ._objects import Data, reach_objects
from ._output import Form, coloured, columns, note, show
from ._patience import Patience
from ._picture import Picture
from ._places import Place, namespace_of, place_of
from ._reach import reach_owner
from ._running import run_async
from ._tables import at
from ._times import seconds_of
from ._unplaced import Unplaced
from ._watching import followed_updates
from ._where import Where
from ._words import full_name, phase_colour, ready, why

_OVER: Final = {"Healthy", "Succeeded"}
_LOST: Final = {"Failed"}
_COUNTS: Final = ("generation", "replicas", "placed", "running", "available", "updated", "succeeded")
"""What tells that something of a workload goes on."""


@frozen
class _Goal:
    """What is waited for.

    Attributes:
        text: As it was typed.
        holds: Whether it holds of an object, or of None where there is none.
        lost: Whether it can't hold any longer by itself.
        needs_place: Whether it is about how far a workload is, which without a place gets nowhere.
    """

    text: str
    holds: Callable[[Data | None], bool]
    lost: Callable[[Data | None], bool] = lambda _item: False
    needs_place: bool = False


def run_wait(kind: str, name: str, goal: str, timeout: str | None, where: Where) -> int:
    """Wait until something holds of an object."""
    place = place_of(where)
    wanted = _goal(goal)
    seconds = None if timeout is None else seconds_of(timeout)
    reached = run_async(_wait, where, place, kind, name, wanted, seconds)
    if reached is None:
        note(f"{kind} {name}: {wanted.text} was not reached within {timeout}")
        return ExitCode.TIMEOUT
    note(f"{kind} {name}: {wanted.text if reached else f'{wanted.text} can not be reached any longer'}")
    return ExitCode.OK if reached else ExitCode.FAILED


def _goal(text: str) -> _Goal:
    if text == "deleted":
        return _Goal(text, lambda item: item is None)
    if text == "exists":
        return _Goal(text, lambda item: item is not None)
    if text == "done":
        return _Goal(
            text,
            lambda item: item is not None and at(item, "status.phase") in _OVER,
            lambda item: item is not None and at(item, "status.phase") in _LOST,
            needs_place=True,
        )
    path, given, value = text.partition("=")
    if not path or not given:
        problem = Problem(f"{text!r:.100} is nothing to wait for: write done, exists, deleted or PATH=VALUE")
        raise ConfigInvalid((problem,), remedy="orchestrion wait workload web --for status.available=3")
    return _Goal(
        text,
        lambda item: item is not None and _said(at(item, path, None)) == value,
        needs_place=path.startswith("status."),
    )


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


async def _wait(where: Where, place: Place, kind: str, name: str, goal: _Goal, seconds: float | None) -> bool | None:
    """Return whether the goal was reached, False where it can't be any longer, None where time has run out.

    Raises:
        NoPlace: It is about a workload for which there is no place, or was none when time had run out.
    """
    namespace = where.namespace or namespace_of(where, place)
    unplaced = Unplaced(namespace, name)
    with trio.move_on_after(float("inf") if seconds is None else seconds):
        async with reach_objects(where._replace(namespace=namespace), place) as objects:
            found = await objects.kind(kind)

            def is_settled(item: Data | None) -> bool:
                if found.kind == "Workload" and goal.needs_place:
                    _saw(unplaced, item)
                return goal.holds(item) or goal.lost(item)

            listed = await objects.list(found)
            whole = objects.meant(found, listed.items, name)
            item = next((one for one in listed.items if at(one, "metadata.name") == whole), None)
            if is_settled(item):
                return goal.holds(item)
            async with (
                unplaced.given_up(objects.control),
                aclosing(objects.watch(found, str(listed.revision), known=listed.items)) as events,
            ):
                async for what, changed in events:
                    whole = whole or objects.meant(found, [changed], name)
                    if at(changed, "metadata.name") != whole:
                        continue
                    item = None if what == "DELETED" else changed
                    if is_settled(item):
                        return goal.holds(item)
    if unplaced.is_now:
        raise unplaced.error()
    return None


def _saw(unplaced: Unplaced, item: Data | None) -> None:
    """Let it be known how a workload is."""
    status = at(item, "status", {}) if item is not None else {}
    unplaced.saw(
        str(at(status, "reason", "")),
        str(at(status, "message", "")),
        [at(status, name, None) for name in _COUNTS],
        waits=item is not None and at(item, "spec.kind", None) == WorkloadKind.BATCH.value,
    )


def run_rollout_status(name: str, timeout: str | None, where: Where) -> int:
    """Follow an update to its end."""
    place = place_of(where)
    seconds = None if timeout is None else seconds_of(timeout)
    view = run_async(_followed, place, name, namespace_of(where, place), seconds)
    if view is None:
        note(f"{name}: it has not ended within {timeout}; `orchestrion status {name}` says more")
        return ExitCode.TIMEOUT
    failed = view.phase is WorkloadPhase.FAILED or view.reason == "rolled-back"
    return ExitCode.FAILED if failed else ExitCode.OK


async def _followed(place: Place, name: str, namespace: str, seconds: float | None) -> WorkloadView | None:
    told, picture, unplaced = "", Picture(), Unplaced(namespace, name)

    def is_over(stored: Picture) -> bool:
        view = stored.views.get((namespace, name))
        return view is None or _is_rolled_out(view)

    with trio.move_on_after(float("inf") if seconds is None else seconds):
        async with reach_owner(place) as control:
            await control.get_workload(name, namespace=namespace)  # an unknown one is told at once
            following = followed_updates(control, place, picture, Patience(control), is_over, namespace=namespace)
            async with unplaced.given_up(control), aclosing(following) as updates:
                async for update in updates:
                    if update.name != name or update.kind not in (UpdateKind.WORKLOAD, UpdateKind.WORKLOAD_REMOVED):
                        continue
                    if update.workload is None:
                        break
                    line = _progress(update.workload)
                    if line != told:
                        note(line)
                        told = line
                    view = update.workload
                    if _is_rolled_out(view):
                        return view
                    counts = [getattr(view, count) for count in _COUNTS]
                    is_batch = view.definition.kind is WorkloadKind.BATCH
                    unplaced.saw(view.reason, view.message, counts, waits=is_batch)
            raise WorkloadNotFound(f"workload {name!r} is gone", remedy="`orchestrion events` says why.")
    if unplaced.is_now:
        raise unplaced.error()
    return None


def _progress(view: WorkloadView) -> str:
    cause = why(view.reason, view.message)
    name = full_name(view.definition.metadata.namespace, view.definition.metadata.name)
    updated = f", {view.updated} of generation {view.generation}" if view.generation else ""
    return f"{name}: {view.phase.value} ({ready(view)}{updated}){f': {cause}' if cause else ''}"


def _is_rolled_out(view: WorkloadView) -> bool:
    if view.phase in (WorkloadPhase.FAILED, WorkloadPhase.SUCCEEDED, WorkloadPhase.STOPPED):
        return True
    if view.definition.kind is WorkloadKind.BATCH:
        return False
    return view.phase is WorkloadPhase.HEALTHY and view.updated >= view.replicas


def run_rollout_pause(name: str, where: Where, *, paused: bool) -> int:
    """Hold up a workload's updates, or let them go on."""
    place = place_of(where)
    namespace = namespace_of(where, place)

    async def change() -> WorkloadView:
        async with reach_owner(place) as control:
            if paused:
                return await control.pause(name, namespace=namespace)
            return await control.resume(name, namespace=namespace)

    view = run_async(change)
    note(f"{full_name(namespace, name)}: updates {'are paused' if paused else 'go on'}")
    note(_progress(view))
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
        rows.append((str(one["generation"]), current, str(one.get("cause", "")), "; ".join(told)[:200]))
    return rows


def run_rollout_undo(name: str, generation: int | None, where: Where, *, dry_run: bool) -> int:
    """Go back to what a workload ran before."""
    return _roll(name, {"undo": {} if generation is None else {"generation": generation}}, where, dry_run=dry_run)


def run_rollout_restart(name: str, where: Where, *, dry_run: bool) -> int:
    """Replace all instances of a workload by new ones that run the same."""
    return _roll(name, {"restart": {}}, where, dry_run=dry_run)


def run_rollout_promote(name: str, where: Where, *, dry_run: bool) -> int:
    """Let an update go on beyond its canary."""
    return _roll(name, {"promote": {}}, where, dry_run=dry_run)


def _roll(name: str, body: Mapping[str, Any], where: Where, *, dry_run: bool) -> int:
    place = place_of(where)

    async def change() -> Data:
        async with reach_objects(where, place) as objects:
            path = objects.path(await objects.kind("workload"), name)
            data: Data = (await objects.api.ask("POST", f"{path}/rollout", body, query={"dry_run": dry_run})).data
            return data

    item = run_async(change)
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
