"""`scale`, `stop`, `start` and `rm`: changing what is to run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from graphlib import TopologicalSorter

from orchestrion.control_plane import Control
from orchestrion.orchestrator_core import (
    WorkloadPhase,
    WorkloadView,
)
from orchestrion.shared_types import (
    MAX_SLOTS,
    ConfigInvalid,
    Conflict,
    NetworkFailure,
    Problem,
)

from ._acting import reach_or_observe, reach_or_own
from ._objects import reach_objects
from ._offline import stored_picture
from ._output import Form, is_for_people, note, show_one
from ._picture import Picture, wait_until
from ._places import Place, RemoteServer, namespace_of, place_of
from ._reach import reach_owner
from ._removal import may_remove
from ._running import run_async
from ._where import Where
from ._words import ENDED, TERMINAL, full_name, ready, view_name

_NOT_BEGUN = {WorkloadPhase.WAITING, WorkloadPhase.STOPPED, WorkloadPhase.FAILED}
"""Where a workload is that may still have what it comes after before it."""


def run_scale(name: str, replicas: int | None, where: Where, form: Form, *, reset: bool, dry_run: bool = False) -> int:
    """Set a number of instances, or go back to the file's; or say what that would do."""
    if reset == (replicas is not None):
        raise ConfigInvalid((Problem("say how many instances, or --reset"),), remedy=f"orchestrion scale {name} 3")

    if replicas is not None and not 0 <= replicas <= MAX_SLOTS:
        raise ConfigInvalid((Problem(f"{replicas} is no number of instances: 0 to {MAX_SLOTS} are possible"),))

    place = place_of(where)
    namespace = namespace_of(where, place)

    async def change() -> WorkloadView:
        async with reach_owner(place) as control:
            return await control.scale(name, replicas, namespace=namespace, dry_run=dry_run)

    view = run_async(change)
    if not is_for_people(form):
        show_one(view, form, table=lambda _: (), name=view_name)
        return 0
    told = f"{full_name(namespace, name)}: {ready(view)}"
    wanted = view.definition.replicas if replicas is None else replicas
    note(f"{told}; would have {wanted}" if dry_run else told)
    return 0


def run_stop(name: str, where: Where, *, wait: bool, dry_run: bool = False) -> int:
    """Stop a workload, or say what that would do."""
    place = place_of(where)
    namespace = namespace_of(where, place)

    async def tried() -> str:
        place.must_exist()
        async with reach_or_observe(place) as control:
            await control.stop(name, namespace=namespace, dry_run=True)
            instances = await control.list_instances(namespace=namespace, workload=name)
            return ", ".join(one.name for one in instances if one.status.state not in TERMINAL)

    async def change() -> None:
        place.must_exist()
        async with reach_or_own(place) as control:
            await control.stop(name, namespace=namespace)
            if wait:
                await _settle(place, control, lambda picture: picture.is_over([(namespace, name)]), namespace)

    if dry_run:
        note(f"{full_name(namespace, name)}: would stop {run_async(tried) or 'nothing: nothing of it runs'}")
        return 0
    run_async(change)
    note(f"{full_name(namespace, name)}: {'stopped' if wait else 'stopping'}")
    return 0


def run_start(name: str, where: Where, form: Form, *, rerun: bool, dry_run: bool = False) -> int:
    """Let a workload run again, or say whether it would."""
    place = place_of(where)

    async def change() -> WorkloadView:
        async with reach_objects(where, place) as objects:
            await objects.order(await objects.kind("workload"), name, "start", rerun=rerun, dry_run=dry_run)
            return await objects.control.get_workload(name, namespace=objects.namespace)

    view = run_async(change)
    if not is_for_people(form):
        show_one(view, form, table=lambda _: (), name=view_name)
        return 0
    told = f"{full_name(view.definition.metadata.namespace, name)}: {ready(view)}"
    if dry_run:
        again = view.phase is WorkloadPhase.STOPPED or (rerun and view.phase in ENDED)
        told += f"; {'would run again' if again else 'nothing would change'}"
    note(told)
    return 0


async def _settle(place: Place, control: Control, holds: Callable[[Picture], bool], namespace: str) -> None:
    """Wait until something holds. An owner that has nothing left to run ends, perhaps before it has told us."""
    try:
        await wait_until(control, holds, namespace=namespace)
    except NetworkFailure:
        if isinstance(place, RemoteServer) or not holds(await stored_picture(place)):
            raise


def run_remove(names: Sequence[str], where: Where, *, yes: bool, wait: bool, dry_run: bool = False) -> int:
    """Remove workloads, after naming what goes and asking; or only name what would go."""
    place = place_of(where)
    if dry_run:
        run_async(_try_to_remove, place, tuple(dict.fromkeys(names)), namespace_of(where, place))
        return 0
    return run_async(_remove, place, tuple(dict.fromkeys(names)), namespace_of(where, place), yes, wait)


async def _try_to_remove(place: Place, names: Sequence[str], namespace: str) -> None:
    place.must_exist()
    async with reach_or_observe(place) as control:
        views = await control.list_workloads(namespace=namespace)
        names = dependants_first(names, namespace, views)
        lines = await _what_goes(control, names, namespace)
        named = [view for view in views if view.definition.metadata.name in names]
        for name in names:
            # What another one of them comes after could go only once that one has gone.
            if not any(name == each.workload for view in named for each in view.definition.after):
                await control.remove(name, namespace=namespace, dry_run=True)
    for line in lines:
        note(line)
    note(f"would be removed: {', '.join(full_name(namespace, name) for name in names)}")


async def _remove(place: Place, names: Sequence[str], namespace: str, yes: bool, wait: bool) -> int:
    place.must_exist()
    async with reach_or_own(place) as control:
        names = dependants_first(names, namespace, await control.list_workloads(namespace=namespace))
        for line in await _what_goes(control, names, namespace):
            note(line)
        if not may_remove(place, sure=yes):
            return 2
        for name in names:
            await control.remove(name, namespace=namespace)
        if wait:
            gone = {(namespace, name) for name in names}
            await _settle(place, control, lambda picture: not gone & picture.views.keys(), namespace)
    note(f"{'removed' if wait else 'removing'}: {', '.join(full_name(namespace, name) for name in names)}")
    return 0


def dependants_first(names: Sequence[str], namespace: str, views: Iterable[WorkloadView]) -> list[str]:
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
