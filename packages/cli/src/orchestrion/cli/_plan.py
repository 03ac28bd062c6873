"""`plan`: what applying would change, and where instances would go."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from orchestrion.orchestrator_core import Plan

from ._acting import reach_or_observe
from ._change import change_lines
from ._exit_codes import ExitCode
from ._interrupts import in_good_order
from ._look import placement_lines
from ._manifests import load
from ._node_names import NodeNames, names_of
from ._output import Form, show_one
from ._running import run_async
from ._state_directory import StateDirectory, at
from ._words import full_name


def run_plan(file: Path, state: Path | None, form: Form) -> int:
    """Print the plan; 1 if it would change anything."""
    place = at(state)
    if place.path.is_dir():
        plan, names = run_async(_plan, place, file)
    else:
        # Where nothing was ever run, nothing is left behind either.
        with in_good_order(), tempfile.TemporaryDirectory(prefix="orchestrion-plan-") as folder:
            plan, names = run_async(_plan, StateDirectory(Path(folder)), file)
    show_one(plan, form, table=lambda given: _lines(given, names), name=_names)
    return ExitCode.FAILED if plan.changes_anything else ExitCode.OK


async def _plan(place: StateDirectory, file: Path) -> tuple[Plan, NodeNames]:
    async with reach_or_observe(place) as control:
        others = [view.definition for view in await control.list_workloads()]
        return await control.plan(load(file, others=others)), names_of(await control.list_nodes())


def _lines(plan: Plan, names: NodeNames) -> Iterable[str]:
    yield from change_lines(plan.changes)
    if plan.placements:
        yield ""
        yield from placement_lines(plan.placements, names)


def _names(plan: Plan) -> str:
    return "\n".join(full_name(change.namespace, change.name) for change in plan.changes)
