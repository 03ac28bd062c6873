"""`apply` of workloads: as a manifest says, all of them or none."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import evolve, frozen
from orchestrion.control_plane import ApiClient, Control
from orchestrion.orchestrator_core import APPLY_SET_LABEL, ApplyResult, ChangeAction, WorkloadChange
from orchestrion.shared_types import (
    DEFAULT_NAMESPACE,
    ConfigInvalid,
    Conflict,
    Denied,
    Problem,
    WorkloadDefinition,
    is_name,
)
from orchestrion.shared_types.manifest import MAX_BYTES

from ._change import dependants_first
from ._exit_codes import ExitCode
from ._follow_applied import Follow, follow_applied
from ._get import name_of
from ._manifests import is_stdin, load, naming
from ._namespaces import check_within
from ._object_files import documents_of
from ._objects import Objects
from ._output import Form, coloured, is_for_people, note, show_one
from ._places import Place, namespace_of, place_of
from ._reach import reach_owner
from ._removal import may_prune
from ._running import run_async
from ._sets import Stray, let_go, strays
from ._where import Where
from ._words import full_name

MAX_INDEX: Final = 10**18 - 1

_COLOURS = {
    ChangeAction.CREATE: "green",
    ChangeAction.UPDATE: "yellow",
    ChangeAction.UNCHANGED: "dim",
    ChangeAction.DELETE: "red",
}


@frozen
class Voice:
    """Whose word something is.

    Attributes:
        manager: Whose.
        force: Whether it goes before that of others.
    """

    manager: str
    force: bool


@frozen(kw_only=True)
class Application:
    """How a file is to be applied.

    Attributes:
        voice: Whose word it is.
        dry_run: Whether all is checked, and nothing written.
        of_set: The set that its objects are of; None is none.
        prune: Whether objects of the set go that it does not name.
        if_index: Only if nothing that it names was written after this revision; None is whatever was.
        yes: Whether nobody is asked before something goes.
    """

    voice: Voice
    dry_run: bool = False
    of_set: str | None = None
    prune: bool = False
    if_index: int | None = None
    yes: bool = False

    @property
    def query(self) -> Mapping[str, Any]:
        """The parameters that say so."""
        return {
            "manager": self.voice.manager,
            "force": self.voice.force,
            "dry_run": self.dry_run,
            "set": self.of_set,
            "prune": self.prune,
            "if_index": self.if_index,
        }


def check_application(application: Application) -> None:
    """Make sure that a set is one, and is named where what left it is to go, and that an index is one.

    Raises:
        ConfigInvalid: It is not.
    """
    check_set(application.of_set, prune=application.prune)
    index = application.if_index
    if index is not None and not 0 <= index <= MAX_INDEX:
        raise ConfigInvalid((Problem(f"{index} is no index"),), remedy="`orchestrion plan FILE` tells the one of now.")


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
    file: Path, where: Where, form: Form, application: Application, follow: Follow, text: bytes | None = None
) -> int:
    """Apply a manifest to the owner or to a server; its text is what was read of standard input, where it is that."""
    place = place_of(where)
    result = run_async(_apply, where, place, file, application, text)
    if result is None:
        return ExitCode.USAGE
    show_one(
        result,
        form,
        table=lambda given: change_lines(given.changes),
        name=lambda given: "\n".join(full_name(change.namespace, change.name) for change in given.changes),
    )
    is_followed = follow.suits(form) and not application.dry_run
    if is_for_people(form) and not application.dry_run:
        unchanged = all(change.action is ChangeAction.UNCHANGED for change in result.changes)
        told = "nothing to change" if unchanged else f"revision {result.revision}" if result.revision else "done"
        note(told if is_followed else f"{told}; `orchestrion status` shows how it goes")
    if not is_followed:
        return 0
    there = {(each.namespace, each.name) for each in result.changes if each.action is not ChangeAction.DELETE}
    return follow_applied(place, there, follow, form)


async def _apply(
    where: Where, place: Place, file: Path, application: Application, text: bytes | None
) -> ApplyResult | None:
    of_set, dry_run, voice = application.of_set, application.dry_run, application.voice
    async with reach_owner(place) as control:
        workloads = await loaded(control, where, place, file, text)
        if of_set is not None:
            workloads = in_set(workloads, of_set)
        going, others = list[WorkloadChange](), list[Stray]()
        namespaces = {workload.metadata.namespace for workload in workloads}
        objects = Objects(control, ApiClient(control.peer), DEFAULT_NAMESPACE, None)
        if application.prune and of_set is not None:
            going = await surplus(control, workloads, of_set)
            others = await strays(objects, of_set, namespaces)
            names = [*(f"workload/{each.name}" for each in going), *(name_of(each.item) for each in others)]
            if not dry_run and not may_prune(place, names, sure=application.yes):
                return None
        async with naming(file, control):
            result = await control.apply(
                workloads,
                dry_run=dry_run,
                manager=voice.manager,
                force=voice.force,
                if_index=application.if_index,
            )
        for change in () if dry_run else going:
            await control.remove(change.name, namespace=change.namespace)
        await let_go(objects, others, dry_run=dry_run)
        return evolve(result, changes=(*result.changes, *going))


def in_set(workloads: Iterable[WorkloadDefinition], of_set: str) -> tuple[WorkloadDefinition, ...]:
    """Return workloads as members of a set."""
    label = {APPLY_SET_LABEL: of_set}
    return tuple(
        evolve(one, metadata=evolve(one.metadata, labels={**one.metadata.labels, **label})) for one in workloads
    )


async def surplus(control: Control, workloads: Sequence[WorkloadDefinition], of_set: str) -> list[WorkloadChange]:
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
            for name in dependants_first(list(generations), namespace, views)
        ]
    return found


async def loaded(
    control: Control, where: Where, place: Place, file: Path, text: bytes | None = None
) -> tuple[WorkloadDefinition, ...]:
    """Return the workloads of a manifest, which may come after those that there are.

    Args:
        control: Who knows these.
        where: What was typed, with the namespace of manifests that name none.
        place: Where that is.
        file: The manifest.
        text: What was read of standard input, where it is that.

    Raises:
        ConfigInvalid: It can't be accepted, or names another namespace than was typed.
    """
    if text is None and where.namespace is not None and is_stdin(file):
        text = sys.stdin.buffer.read(MAX_BYTES + 1)  # it can be read once, and is looked at twice
    namespace = namespace_of(where, place)
    workloads = load(file, others=await _others_at(control, namespace), text=text, namespace=namespace)
    if where.namespace is not None:
        check_within(documents_of(file, text), where.namespace)
    return workloads


async def _others_at(control: Control, namespace: str) -> list[WorkloadDefinition]:
    """Return the workloads that there are, which those of a file may come after, as far as who asks may see them."""
    try:
        views = await control.list_workloads()
    except Denied:
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
