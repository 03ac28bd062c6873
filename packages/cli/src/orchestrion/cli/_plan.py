"""`plan`: what applying would change, and where instances would go."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from attrs import evolve, frozen
from orchestrion.control_plane import ApiClient, Control, HttpControl
from orchestrion.orchestrator_core import ChangeAction, Plan
from orchestrion.shared_types import DEFAULT_NAMESPACE, unstructure

from ._acting import reach_or_observe
from ._apply_workloads import change_lines, check_set, in_set, loaded, surplus
from ._exit_codes import ExitCode
from ._get import name_of
from ._interrupts import in_good_order
from ._look import placement_lines
from ._namespaces import check_namespace
from ._node_names import NodeNames, names_at
from ._objects import Objects
from ._output import Form, coloured, is_for_people, note, show_one
from ._places import Place, RemoteServer, place_of
from ._running import run_async
from ._sets import Stray, strays
from ._state_directory import StateDirectory
from ._where import Where
from ._words import full_name


@frozen
class _Planned:
    """What applying a file would do.

    Attributes:
        plan: Of the workloads, those that would go included.
        strays: What else would go.
        names: Those of nodes.
    """

    plan: Plan
    strays: Sequence[Stray]
    names: NodeNames

    @property
    def changes_anything(self) -> bool:
        """Whether applying would change anything."""
        return self.plan.changes_anything or bool(self.strays)

    def data(self, *, prune: bool) -> object:
        """Return it for programs: the plan as the API gives it, and with `prune` also which objects would go."""
        if not prune:
            return self.plan
        return {**unstructure(self.plan), "pruned_objects": [stray.reference for stray in self.strays]}


def run_plan(file: Path, where: Where, form: Form, *, of_set: str | None = None, prune: bool = False) -> int:
    """Print the plan; 1 if it would change anything.

    Args:
        file: What would be applied.
        where: Where.
        form: How it is printed.
        of_set: The set that it would be applied as; None is none.
        prune: Whether what is of the set and not in the file would go.
    """
    check_namespace(where.namespace)
    check_set(of_set, prune=prune)
    place = place_of(where)
    if isinstance(place, RemoteServer) or place.is_used():
        planned = run_async(_plan, where, place, file, of_set, prune)
    else:
        # Where nothing was ever run, nothing is left behind either.
        with in_good_order(), tempfile.TemporaryDirectory(prefix="orchestrion-plan-") as folder:
            planned = run_async(_plan, where, StateDirectory(Path(folder)), file, of_set, prune)
    show_one(planned.data(prune=prune), form, table=lambda _: _lines(planned), name=lambda _: _names(planned))
    if is_for_people(form) and planned.changes_anything:
        options = f"{f' --set {of_set}' if of_set else ''}{' --prune' if prune else ''}"
        index = planned.plan.revision
        note(f"index {index}: `orchestrion apply FILE{options} --if-index {index}` does this and nothing else")
    return ExitCode.FAILED if planned.changes_anything else ExitCode.OK


async def _plan(where: Where, place: Place, file: Path, of_set: str | None, prune: bool) -> _Planned:
    async with reach_or_observe(place) as control:
        workloads = await loaded(control, where, place, file)
        others: Sequence[Stray] = ()
        if of_set is not None:
            workloads = in_set(workloads, of_set)
        plan = await control.plan(workloads)
        if prune and of_set is not None:
            plan = evolve(plan, changes=(*plan.changes, *await surplus(control, workloads, of_set)))
            others = await _strays(control, of_set, {workload.metadata.namespace for workload in workloads})
        return _Planned(plan, others, await names_at(control))


async def _strays(control: Control, of_set: str, namespaces: Collection[str]) -> Sequence[Stray]:
    if not isinstance(control, HttpControl):
        note("no orchestrator runs here: what would go besides workloads is not known")
        return ()
    return await strays(Objects(control, ApiClient(control.peer), DEFAULT_NAMESPACE, None), of_set, namespaces)


def _lines(planned: _Planned) -> Iterable[str]:
    yield from change_lines(planned.plan.changes)
    for stray in planned.strays:
        yield f"{stray.name}: {coloured(ChangeAction.DELETE.value, 'red')}"
    if planned.plan.placements:
        yield ""
        yield from placement_lines(planned.plan.placements, planned.names)


def _names(planned: _Planned) -> str:
    names = [full_name(change.namespace, change.name) for change in planned.plan.changes]
    return "\n".join([*names, *(name_of(stray.item) for stray in planned.strays)])
