"""`apply` of files that hold anything but workloads: objects of every kind, all of them or none."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import evolve
from orchestrion.shared_types import DEFAULT_NAMESPACE, ConfigInvalid, Problem
from orchestrion.shared_types.manifest import MAX_BYTES, SUFFIXES, plain_documents

from ._apply_workloads import Application, check_application, run_apply
from ._manifests import STDIN_NAME, is_stdin, naming
from ._objects import Data, reach_objects
from ._output import Form, coloured, is_for_people, note, show_one
from ._places import Place, place_of
from ._running import run_async
from ._where import Where

_PERHAPS: Final = re.compile(rb"""(?:^|[{,])\s*["']?(?:kind|items)["']?\s*:""", re.MULTILINE)
"""What is in every file with objects. Of workloads some have it too: only those files are read twice."""

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


def run_apply_file(file: Path, where: Where, form: Form, application: Application) -> int:
    """Apply a file, or all files of a folder, with workloads or with objects of any kind, or both."""
    check_application(application)
    text = sys.stdin.buffer.read(MAX_BYTES + 1) if is_stdin(file) else None
    documents = objects_of(file, text)
    if documents is None:
        return run_apply(file, where, form, application, text)
    result: Data = run_async(_applied, file, where, place_of(where), documents, application)
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
    return 0


def objects_of(path: Path, text: bytes | None) -> list[Any] | None:
    """Return the documents of a file or a folder that holds objects, perhaps with manifests; None where it has none.

    Args:
        path: Where it is.
        text: What was read of standard input, where it is that.

    Raises:
        ConfigInvalid: A file with objects can't be understood.
    """
    files = [(STDIN_NAME, text)] if text is not None else [(str(one), _text_of(one)) for one in _files(path)]
    if not any(source is not None and _PERHAPS.search(source) for _, source in files):
        return None
    try:
        documents = [
            document for name, source in files if source is not None for document in plain_documents(source, file=name)
        ]
    except ConfigInvalid:
        if any(source is not None and re.search(rb"^(?:kind|items):", source, re.MULTILINE) for _, source in files):
            raise
        return None  # Who loads manifests says the same of it.
    return documents if any(_is_object(document) for document in documents) else None


def _is_object(document: Any) -> bool:
    return isinstance(document, Mapping) and ("kind" in document or "items" in document)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(each for each in path.iterdir() if each.suffix in SUFFIXES and each.is_file())


def _text_of(path: Path) -> bytes | None:
    """Return what is in a file; None where it can't be read, which who loads manifests tells."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError):
        return None


async def _applied(file: Path, where: Where, place: Place, documents: list[Any], application: Application) -> Data:
    async with reach_objects(where, place) as objects, naming(file, objects.control):
        query = {**application.query, "namespace": objects.namespace}
        try:
            result: Data = (await objects.api.ask("POST", "/api/v1/apply", {"items": documents}, query=query)).data
        except ConfigInvalid as err:
            name = STDIN_NAME if is_stdin(file) else str(file)
            problems = [each if each.file else evolve(each, file=name) for each in err.problems]
            raise ConfigInvalid(tuple(problems) or (Problem(err.message, file=name),), remedy=err.remedy) from err
    return result


def _name_of(item: Data) -> str:
    return f"{item['kind'].lower()}/{item['name']}"


def _lines(items: Iterable[Data], *, dry_run: bool) -> Iterable[str]:
    for item in items:
        done, planned, colour = _DONE[item["action"]]
        namespace = item.get("namespace") or DEFAULT_NAMESPACE
        within = "" if namespace == DEFAULT_NAMESPACE else f" in namespace {namespace}"
        yield f"{_name_of(item)}{within}: {coloured(planned if dry_run else done, colour)}"
