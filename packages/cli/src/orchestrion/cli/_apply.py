"""`apply` of files that hold anything but workloads: objects of every kind, all of them or none."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from attrs import evolve
from orchestrion.shared_types import DEFAULT_NAMESPACE, ConfigInvalid, Problem
from orchestrion.shared_types.manifest import MAX_BYTES, PlacedDocument

from ._apply_workloads import Application, check_application, run_apply
from ._exit_codes import ExitCode
from ._follow_applied import Follow, follow_applied
from ._manifests import STDIN_NAME, is_stdin, naming
from ._namespaces import check_namespace, check_within
from ._object_files import objects_of
from ._objects import Data, Objects, reach_objects
from ._output import Form, coloured, is_for_people, note, show_one
from ._places import Place, place_of
from ._removal import may_prune
from ._running import run_async
from ._where import Where

_DONE: Final = {
    "create": ("created", "would be created", "green"),
    "update": ("changed", "would be changed", "yellow"),
    "unchanged": ("unchanged", "unchanged", "dim"),
    "delete": ("removed", "would be removed", "red"),
}
"""How an action is told once it is done, how where nothing was, and in which colour."""


def one_file(*given: Path | None) -> Path:
    """Return the file that was given in one of several ways.

    Raises:
        ConfigInvalid: None was, or several were.
    """
    found = [path for path in given if path is not None]
    if len(found) != 1:
        wrong = "no file was named" if not found else "the file was named twice"
        raise ConfigInvalid((Problem(wrong),), remedy="orchestrion apply FILE, or: orchestrion apply -f FILE")
    return found[0]


def run_apply_file(file: Path, where: Where, form: Form, application: Application, follow: Follow) -> int:
    """Apply a file, or all files of a folder, with workloads or with objects of any kind, or both."""
    check_application(application)
    check_namespace(where.namespace)
    text = sys.stdin.buffer.read(MAX_BYTES + 1) if is_stdin(file) else None
    placed = objects_of(file, text)
    if placed is None:
        return run_apply(file, where, form, application, follow, text)
    check_within(placed, where.namespace)
    place = place_of(where)
    result = run_async(_applied, file, where, place, placed, application)
    if result is None:
        return ExitCode.USAGE
    dry_run = application.dry_run
    show_one(
        result,
        form,
        table=lambda given: _lines(given["items"], dry_run=dry_run),
        name=lambda given: "\n".join(_name_of(item) for item in given["items"]),
    )
    if is_for_people(form) and not dry_run:
        unchanged = all(item["action"] == "unchanged" for item in result["items"])
        note("nothing to change" if unchanged else f"revision {result['revision']}")
    workloads = {
        (str(item["namespace"]), str(item["name"]))
        for item in result["items"]
        if item["kind"] == "Workload" and item["action"] != "delete"
    }
    if dry_run or not workloads or not follow.suits(form):
        return 0
    return follow_applied(place, workloads, follow, form)


async def _applied(
    file: Path, where: Where, place: Place, placed: Sequence[PlacedDocument], application: Application
) -> Data | None:
    """Return what was done; None where something would go, and somebody said that it may not."""
    async with reach_objects(where, place) as objects, naming(file, objects.control):
        if application.prune and not (application.dry_run or application.yes):

            async def planned() -> Sequence[Data]:
                plan = await _sent(objects, file, placed, evolve(application, dry_run=True))
                return [item for item in plan["items"] if item["action"] == "delete"]

            if not await all_confirmed(planned, lambda names: may_prune(place, names, sure=False)):
                return None
        return await _sent(objects, file, placed, application)


async def all_confirmed(planned: Callable[[], Awaitable[Sequence[Data]]], ask: Callable[[Sequence[str]], bool]) -> bool:
    """Ask whether objects may go, and anew where more of them would go by the time that there is an answer.

    Args:
        planned: Tells what would go now.
        ask: Asks whether what has these names may go.
    """
    sure = set[tuple[str, str]]()
    while True:
        going = {(item.get("namespace") or "", _name_of(item)): item for item in await planned()}
        if going.keys() <= sure:
            return True
        if not ask([name for _, name in going]):
            return False
        sure = set(going)


async def _sent(objects: Objects, file: Path, placed: Sequence[PlacedDocument], application: Application) -> Data:
    query = {**application.query, "namespace": objects.namespace}
    items = [each.data for each in placed]
    try:
        result: Data = (await objects.api.ask("POST", "/api/v1/apply", {"items": items}, query=query)).data
    except ConfigInvalid as err:
        name = STDIN_NAME if is_stdin(file) else str(file)
        problems = list(_placed(err.problems, placed, objects.namespace, name))
        raise ConfigInvalid(tuple(problems) or (Problem(err.message, file=name),), remedy=err.remedy) from err
    return result


def _placed(
    problems: Iterable[Problem], documents: Sequence[PlacedDocument], namespace: str, file: str
) -> Iterable[Problem]:
    """Give what a server has found wrong with the places that are found for the same here; else with the file alone."""
    from orchestrion.control_plane.checking import check_documents  # what was accepted never needs it

    found = check_documents(documents, namespace=namespace).problems
    for each in problems:
        same = (one for one in found if one.message == each.message and each.path.endswith(one.path))
        yield next(same, each if each.file else evolve(each, file=file))


def _name_of(item: Data) -> str:
    return f"{item['kind'].lower()}/{item['name']}"


def _lines(items: Iterable[Data], *, dry_run: bool) -> Iterable[str]:
    for item in items:
        done, planned, colour = _DONE[item["action"]]
        namespace = item.get("namespace") or DEFAULT_NAMESPACE
        within = "" if namespace == DEFAULT_NAMESPACE else f" in namespace {namespace}"
        noted = f" ({item['note']})" if item.get("note") else ""
        yield f"{_name_of(item)}{within}: {coloured(planned if dry_run else done, colour)}{noted}"
