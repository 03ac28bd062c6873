"""`plan`: what applying would change, and where instances would go."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from orchestrion.orchestrator_core import Plan

from ._acting import reach_or_observe
from ._apply_workloads import change_lines, loaded
from ._exit_codes import ExitCode
from ._interrupts import in_good_order
from ._look import placement_lines
from ._namespaces import check_namespace
from ._node_names import NodeNames, names_at
from ._output import Form, is_for_people, note, show_one
from ._places import Place, RemoteServer, place_of
from ._running import run_async
from ._state_directory import StateDirectory
from ._where import Where
from ._words import full_name


def run_plan(file: Path, where: Where, form: Form) -> int:
    """Print the plan; 1 if it would change anything."""
    check_namespace(where.namespace)
    place = place_of(where)
    if isinstance(place, RemoteServer) or place.path.is_dir():
        plan, names = run_async(_plan, where, place, file)
    else:
        # Where nothing was ever run, nothing is left behind either.
        with in_good_order(), tempfile.TemporaryDirectory(prefix="orchestrion-plan-") as folder:
            plan, names = run_async(_plan, where, StateDirectory(Path(folder)), file)
    show_one(plan, form, table=lambda given: _lines(given, names), name=_names)
    if is_for_people(form) and plan.changes_anything:
        note(f"index {plan.revision}: `orchestrion apply FILE --if-index {plan.revision}` does this and nothing else")
    return ExitCode.FAILED if plan.changes_anything else ExitCode.OK


async def _plan(where: Where, place: Place, file: Path) -> tuple[Plan, NodeNames]:
    async with reach_or_observe(place) as control:
        workloads = await loaded(control, where, place, file)
        return await control.plan(workloads), await names_at(control)


def _lines(plan: Plan, names: NodeNames) -> Iterable[str]:
    yield from change_lines(plan.changes)
    if plan.placements:
        yield ""
        yield from placement_lines(plan.placements, names)


def _names(plan: Plan) -> str:
    return "\n".join(full_name(change.namespace, change.name) for change in plan.changes)
