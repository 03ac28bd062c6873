"""`edit`, `patch` and `delete`: changing objects of every kind."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from orchestrion.shared_types import ConfigInvalid, Problem

from ._get import name_of
from ._interrupts import in_good_order
from ._kinds import KindName, kind_and_name
from ._objects import JSON_PATCH, MERGE_PATCH, Data, reach_objects
from ._output import Form, is_for_people, note, show_one, yaml_text
from ._places import Place, place_of
from ._removal import may_remove
from ._running import run_async
from ._tables import at
from ._where import Where

_EDITOR: Final = "vi"
"""What an object is changed in where nobody says by what."""

_MANAGED: Final = ("uid", "generation", "created_at", "updated_at", "deleting_since")
"""What the server writes of the metadata: nobody edits it."""

_PATCH_TYPES: Final = {"merge": MERGE_PATCH, "json": JSON_PATCH}


def parsed(text: str, file: str) -> list[Any]:
    """Return the documents of a text of YAML, of which JSON is a part.

    Raises:
        ConfigInvalid: It is none.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return list(YAML(typ="safe", pure=True).load_all(text))
    except MarkedYAMLError as err:
        mark = err.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
        raise ConfigInvalid((Problem(str(err.problem), file=file, line=line, column=column),)) from err
    except YAMLError as err:
        raise ConfigInvalid((Problem(f"it is no YAML: {err}", file=file),)) from err


def run_edit(kind: str, name: str, where: Where) -> int:
    """Let an object be changed in an editor, and write it if it was."""
    _check_editor()
    place = place_of(where)
    found, item = run_async(_read, where, place, kind, name)
    shown = _editable(item)
    head = f"# {name_of(item)}: what is left out here is taken away; an empty file changes nothing\n"
    text = head + yaml_text(shown) + "\n"
    with in_good_order(), _kept_on_failure(name, text) as path:
        _let_edit(path)
        documents = [one for one in parsed(path.read_text(), name) if one is not None]
        if not documents or documents == [shown]:
            note("nothing was changed")
            return 0
        (document,) = documents if len(documents) == 1 else ({},)
        if not isinstance(document, Mapping) or not isinstance(document.get("metadata"), Mapping):
            raise ConfigInvalid((Problem("what was written is no object"),))
        metadata = {**item["metadata"], **document["metadata"]}
        metadata |= {part: document["metadata"].get(part, {}) for part in ("labels", "annotations")}
        run_async(_replaced, where, place, found, item["metadata"]["name"], {**document, "metadata": metadata})
    note(f"{name_of(item)}: changed")
    return 0


@contextmanager
def _kept_on_failure(name: str, text: str) -> Iterator[Path]:
    """Give a file of one's own with a text in it. Where what was made of it comes to nothing, it stays and is named."""
    folder = Path(tempfile.mkdtemp(prefix="orchestrion-edit-"))
    path = folder / f"{name}.yaml"
    given = kept = False
    try:
        path.write_text(text)
        path.chmod(0o600)
        given = True
        yield path
    except BaseException:
        kept = given and path.is_file() and path.read_bytes() != text.encode()
        if kept:
            note(f"what was typed is kept in {path}")
        raise
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)


def _editable(item: Data) -> dict[str, Any]:
    metadata = {
        key: value for key, value in item["metadata"].items() if key not in _MANAGED and value not in ("", [], {}, None)
    }
    return {key: metadata if key == "metadata" else value for key, value in item.items() if key != "status"}


def _check_editor() -> None:
    """Make sure that the editor which is there unless one is named has a terminal.

    Raises:
        ConfigInvalid: It has none.
    """
    if not (_named_editor() or (sys.stdin.isatty() and sys.stdout.isatty())):
        problem = Problem(f"there is no terminal for {_EDITOR}")
        raise ConfigInvalid((problem,), remedy="Set EDITOR to a program that needs none, or use `orchestrion patch`.")


def _named_editor() -> str:
    return os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""


def _let_edit(path: Path) -> None:
    """Let the user change a file in an editor."""
    command = shlex.split(_named_editor() or _EDITOR)
    try:
        subprocess.run([*command, str(path)], check=True)
    except (OSError, subprocess.CalledProcessError) as err:
        problem = Problem(f"the editor {command[0]!r} failed: {err}")
        raise ConfigInvalid((problem,), remedy="Set EDITOR to one that is installed.") from err


async def _read(where: Where, place: Place, kind: str, name: str) -> tuple[KindName, Data]:
    async with reach_objects(where, place) as objects:
        found = await objects.kind(kind)
        return found, await objects.get(found, name)


async def _replaced(where: Where, place: Place, kind: KindName, name: str, document: Data) -> Data:
    async with reach_objects(where, place) as objects:
        return await objects.replace(kind, name, document)


def _understood(patch: str, kind: str, name: str) -> Any:
    """Return a patch as plain data.

    Raises:
        ConfigInvalid: It can't be understood.
    """
    example = shlex.join(("orchestrion", "patch", kind, name, '{"metadata": {"labels": {"tier": "front"}}}'))
    try:
        documents = parsed(patch, "")
    except ConfigInvalid as err:
        # No place in front, as of what is in a file: an editor would look for a file of that name.
        (wrong,) = err.problems
        place = f"line {wrong.line}, column {wrong.column}: " if wrong.line else ""
        problem = Problem(f"the patch is neither JSON nor YAML: {place}{wrong.message}")
        raise ConfigInvalid((problem,), remedy=example) from err
    if len(documents) > 1:
        raise ConfigInvalid((Problem(f"the patch is {len(documents)} documents, and not one"),), remedy=example)
    change = documents[0] if documents else None
    try:
        json.dumps(change)
    except (TypeError, ValueError) as err:
        problem = Problem("the patch holds what JSON has no word for, such as a date: put it in quotes")
        raise ConfigInvalid((problem,), remedy=example) from err
    return change


def run_patch(kind: str, name: str, patch: str, type_: str, where: Where, form: Form, *, dry_run: bool) -> int:
    """Change parts of an object."""
    change = _understood(patch, kind, name)
    place = place_of(where)

    async def patched() -> Data:
        async with reach_objects(where, place) as objects:
            found = await objects.kind(kind)
            return await objects.patch(found, name, change, _PATCH_TYPES[type_], dry_run=dry_run)

    item = run_async(patched)
    if not is_for_people(form):
        show_one(item, form, table=lambda _: (), name=name_of)
        return 0
    done = "would be changed" if dry_run else f"revision {at(item, 'metadata.revision')}"
    note(f"{name_of(item)}: {done}")
    return 0


def check_named(kind: str, names: Sequence[str], file: Path | None) -> None:
    """Make sure that it was said once what is to go.

    Raises:
        ConfigInvalid: It was not.
    """
    if file is None and kind and names:
        return
    wrong = "say which kind and names, or which file" if file is None else "the file says what is to go"
    raise ConfigInvalid((Problem(wrong),), remedy="orchestrion delete KIND NAME..., or: orchestrion delete -f FILE")


def run_delete(kind: str, names: Sequence[str], where: Where, *, yes: bool, dry_run: bool) -> int:
    """Remove objects, after naming them and asking."""
    place = place_of(where)

    async def found() -> dict[tuple[KindName, str], Data]:
        items = dict[tuple[KindName, str], Data]()
        async with reach_objects(where, place) as objects:
            for text in names:
                own, name = kind_and_name(text)
                one = await objects.kind(own or kind)
                item = await objects.get(one, name)
                items[one, str(item["metadata"]["name"])] = item
        return items

    items = run_async(found)
    for item in items.values():
        space = at(item, "metadata.namespace")
        note(f"delete {name_of(item)}{f' in namespace {space}' if space else ''}")
    if not may_remove(place, sure=dry_run or yes):
        return 2

    async def removed() -> None:
        async with reach_objects(where, place) as objects:
            for one, name in items:  # by now something else may be meant by what was typed
                item = await objects.delete(one, name, dry_run=dry_run)
                stays = one.plural == "instances" or at(item, "metadata.finalizers", ())
                going = "would be removed" if dry_run else "going" if stays else "removed"
                note(f"{name_of(item)}: {going}")

    run_async(removed)
    return 0
