"""`apply`, `scale`, `stop` and `rm`: changing what is to run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from graphlib import TopologicalSorter
from pathlib import Path

from attrs import evolve, frozen
from orchestrion.control_plane import ApiClient, Control
from orchestrion.orchestrator_core import (
    APPLY_SET_LABEL,
    ApplyResult,
    ChangeAction,
    WorkloadChange,
    WorkloadPhase,
    WorkloadView,
)
from orchestrion.shared_types import (
    DEFAULT_NAMESPACE,
    MAX_SLOTS,
    ConfigInvalid,
    Conflict,
    Denied,
    NetworkFailure,
    Problem,
    WorkloadDefinition,
    is_name,
)

from ._acting import reach_or_own
from ._manifests import load, naming
from ._objects import Objects, reach_objects
from ._offline import stored_picture
from ._output import Form, coloured, confirmed, is_for_people, note, show_one
from ._picture import Picture, wait_until
from ._places import Place, RemoteServer, namespace_of, place_of
from ._reach import reach_owner
from ._running import run_async
from ._sets import Stray, let_go, strays
from ._where import Where
from ._words import full_name, ready

_COLOURS = {
    ChangeAction.CREATE: "green",
    ChangeAction.UPDATE: "yellow",
    ChangeAction.UNCHANGED: "dim",
    ChangeAction.DELETE: "red",
}

_NOT_BEGUN = {WorkloadPhase.WAITING, WorkloadPhase.STOPPED, WorkloadPhase.FAILED}
"""Where a workload is that may still have what it comes after before it."""


@frozen
class Voice:
    """Whose word something is.

    Attributes:
        manager: Whose.
        force: Whether it goes before that of others.
    """

    manager: str
    force: bool


def check_set(of_set: str | None, *, prune: bool) -> None:
    """Make sure that a set is one, and is named where what left it is to go.

    Raises:
        ConfigInvalid: It is not.
    """
    if prune and of_set is None:
        raise ConfigInvalid((Problem("say of which set, to remove what is no longer in it"),), remedy="--set NAME")
    if of_set is not None and not is_name(of_set):
        text = f"{of_set!r:.80} is no name: 1 to 63 lower-case letters, digits and inner hyphens"
        raise ConfigInvalid((Problem(text),))


def run_apply(
    file: Path,
    where: Where,
    form: Form,
    voice: Voice,
    *,
    dry_run: bool,
    of_set: str | None,
    prune: bool,
    text: bytes | None = None,
) -> int:
    """Apply a manifest to the owner or to a server; its text is what was read of standard input, where it is that."""
    result = run_async(_apply, place_of(where), file, voice, dry_run, of_set, prune, text)
    show_one(
        result,
        form,
        table=lambda given: change_lines(given.changes),
        name=lambda given: "\n".join(full_name(change.namespace, change.name) for change in given.changes),
    )
    if is_for_people(form) and not dry_run:
        unchanged = all(change.action is ChangeAction.UNCHANGED for change in result.changes)
        told = "nothing to change" if unchanged else f"revision {result.revision}" if result.revision else "done"
        note(f"{told}; `orchestrion status` shows how it goes")
    return 0


async def _apply(
    place: Place, file: Path, voice: Voice, dry_run: bool, of_set: str | None, prune: bool, text: bytes | None
) -> ApplyResult:
    async with reach_owner(place) as control:
        workloads = load(file, others=await others_at(control, place), text=text)
        if of_set is not None:
            workloads = tuple(_in_set(workload, of_set) for workload in workloads)
        going, others = list[WorkloadChange](), list[Stray]()
        namespaces = {workload.metadata.namespace for workload in workloads}
        objects = Objects(control, ApiClient(control.peer), DEFAULT_NAMESPACE, None)
        if prune and of_set is not None:
            going = await _surplus(control, workloads, of_set)
            others = await strays(objects, of_set, namespaces)
        async with naming(file, control):
            result = await control.apply(workloads, dry_run=dry_run, manager=voice.manager, force=voice.force)
        for change in () if dry_run else going:
            await control.remove(change.name, namespace=change.namespace)
        await let_go(objects, others, dry_run=dry_run)
        return evolve(result, changes=(*result.changes, *going))


def _in_set(workload: WorkloadDefinition, of_set: str) -> WorkloadDefinition:
    metadata = workload.metadata
    return evolve(workload, metadata=evolve(metadata, labels={**metadata.labels, APPLY_SET_LABEL: of_set}))


async def _surplus(control: Control, workloads: Sequence[WorkloadDefinition], of_set: str) -> list[WorkloadChange]:
    """Return the workloads of a set that go, as nothing names them any longer, in an order in which they can.

    Raises:
        Conflict: One that stays waits for one of them; nothing was done.
    """
    found = list[WorkloadChange]()
    for namespace in sorted({workload.metadata.namespace for workload in workloads}):
        views = await control.list_workloads(namespace=namespace)
        staying = {each.metadata.name: each for each in workloads if each.metadata.namespace == namespace}
        generations = {
            view.definition.metadata.name: view.generation
            for view in views
            if view.definition.metadata.labels.get(APPLY_SET_LABEL) == of_set
            and view.definition.metadata.name not in staying
        }
        for name, workload in staying.items():
            for dependency in workload.after:
                if dependency.workload in generations:
                    msg = f"workload {dependency.workload!r} can't be removed: {name} comes after it; nothing was done"
                    raise Conflict(msg, remedy=f"Name it in the file, or let {name} come after something else.")
        found += [
            WorkloadChange(
                namespace=namespace,
                name=name,
                action=ChangeAction.DELETE,
                generation=generations[name],
                differences=(),
            )
            for name in _dependants_first(list(generations), namespace, views)
        ]
    return found


async def others_at(control: Control, place: Place) -> list[WorkloadDefinition]:
    """Return the workloads that there are, which those of a file may come after, as far as who asks may see them."""
    try:
        views = await control.list_workloads()
    except Denied:
        namespace = namespace_of(Where(), place)
        try:
            views = await control.list_workloads(namespace=namespace)
        except Denied:
            views = []
    return [view.definition for view in views]


def change_lines(changes: Iterable[WorkloadChange], /) -> Iterable[str]:
    """Return changes as lines: each workload, and below it what differs."""
    for change in changes:
        action = coloured(change.action.value, _COLOURS[change.action])
        restarts = "; its instances are replaced" if change.restarts else ""
        noted = f" ({change.note})" if change.note else ""
        yield f"{full_name(change.namespace, change.name)}: {action}{restarts}{noted}"
        for difference in change.differences:
            if not difference.path:
                yield f"    {difference.note}"
                continue
            before, after = difference.before or "nothing", difference.after or "nothing"
            told = f"    {difference.path}: {coloured(before, 'red')} -> {coloured(after, 'green')}"
            yield f"{told} ({difference.note})" if difference.note else told


def run_scale(name: str, replicas: int | None, where: Where, *, reset: bool) -> int:
    """Set a number of instances, or go back to the file's."""
    if reset == (replicas is not None):
        raise ConfigInvalid((Problem("say how many instances, or --reset"),), remedy=f"orchestrion scale {name} 3")

    if replicas is not None and not 0 <= replicas <= MAX_SLOTS:
        raise ConfigInvalid((Problem(f"{replicas} is no number of instances: 0 to {MAX_SLOTS} are possible"),))

    place = place_of(where)
    namespace = namespace_of(where, place)

    async def change() -> str:
        async with reach_owner(place) as control:
            view = await control.scale(name, replicas, namespace=namespace)
            return f"{full_name(namespace, name)}: {ready(view)}"

    note(run_async(change))
    return 0


def run_stop(name: str, where: Where, *, wait: bool) -> int:
    """Stop a workload."""
    place = place_of(where)
    namespace = namespace_of(where, place)

    async def change() -> None:
        place.must_exist()
        async with reach_or_own(place) as control:
            await control.stop(name, namespace=namespace)
            if wait:
                await _settle(place, control, lambda picture: picture.is_over([(namespace, name)]), namespace)

    run_async(change)
    note(f"{full_name(namespace, name)}: {'stopped' if wait else 'stopping'}")
    return 0


def run_start(name: str, where: Where, *, rerun: bool) -> int:
    """Let a workload run again."""
    place = place_of(where)

    async def change() -> WorkloadView:
        async with reach_objects(where, place) as objects:
            path = objects.path(await objects.kind("workload"), name)
            await objects.api.ask("POST", f"{path}/start", query={"rerun": rerun})
            return await objects.control.get_workload(name, namespace=objects.namespace)

    view = run_async(change)
    note(f"{full_name(view.definition.metadata.namespace, name)}: {ready(view)}")
    return 0


async def _settle(place: Place, control: Control, holds: Callable[[Picture], bool], namespace: str) -> None:
    """Wait until something holds. An owner that has nothing left to run ends, perhaps before it has told us."""
    try:
        await wait_until(control, holds, namespace=namespace)
    except NetworkFailure:
        if isinstance(place, RemoteServer) or not holds(await stored_picture(place)):
            raise


def run_remove(names: Sequence[str], where: Where, *, yes: bool, wait: bool) -> int:
    """Remove workloads, after naming what goes and asking."""
    place = place_of(where)
    return run_async(_remove, place, tuple(dict.fromkeys(names)), namespace_of(where, place), yes, wait)


async def _remove(place: Place, names: Sequence[str], namespace: str, yes: bool, wait: bool) -> int:
    place.must_exist()
    async with reach_or_own(place) as control:
        names = _dependants_first(names, namespace, await control.list_workloads(namespace=namespace))
        for line in await _what_goes(control, names, namespace):
            note(line)
        if isinstance(place, RemoteServer):
            note(f"at {place.url} ({place.name})")
        if not yes and not confirmed():
            note("nothing was removed")
            return 2
        for name in names:
            await control.remove(name, namespace=namespace)
        if wait:
            gone = {(namespace, name) for name in names}
            await _settle(place, control, lambda picture: not gone & picture.views.keys(), namespace)
    note(f"{'removed' if wait else 'removing'}: {', '.join(full_name(namespace, name) for name in names)}")
    return 0


def _dependants_first(names: Sequence[str], namespace: str, views: Iterable[WorkloadView]) -> list[str]:
    """Return the names in an order in which none waits for one before it.

    Raises:
        Conflict: A workload that stays waits for one of them.
    """
    own = {view.definition.metadata.name: view for view in views if view.definition.metadata.namespace == namespace}
    after = {name: {each.workload for each in view.definition.after} for name, view in own.items()}
    waiting = {name for name, view in own.items() if view.phase in _NOT_BEGUN and view.started_at is None}
    for name in names:
        staying = sorted(other for other in waiting - set(names) if name in after[other])
        if staying:
            others = ", ".join(staying)
            msg = f"workload {name!r} can't be removed: {others} waits for it; nothing was removed"
            raise Conflict(msg, remedy=f"Remove first, or with it: {others}")
    order = TopologicalSorter({name: after.get(name, set()) & set(names) for name in names})
    return [*order.static_order()][::-1]


async def _what_goes(control: Control, names: Sequence[str], namespace: str) -> list[str]:
    """Name all that a removal takes away; an unknown name raises before anything is done."""
    lines = []
    for name in names:
        view = await control.get_workload(name, namespace=namespace)
        instances = await control.list_instances(namespace=namespace, workload=name)
        told = ", ".join(instance.name for instance in instances) or "no instances"
        volumes = ", ".join(volume.name for volume in view.definition.volumes)
        shared = f"; volumes that nobody else names: {volumes}" if volumes else ""
        lines.append(f"rm {full_name(namespace, name)} ({view.phase.value}): {told}, with their output{shared}")
    return lines
