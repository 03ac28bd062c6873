"""`delete -f`: removing what a file names."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from attrs import evolve, frozen
from orchestrion.shared_types import ConfigInvalid, NotFound
from orchestrion.shared_types.manifest import MAX_BYTES, PlacedDocument

from ._change import dependants_first
from ._create import STAGES
from ._get import name_of
from ._kinds import KindName
from ._manifests import is_stdin
from ._namespaces import check_namespace, check_within
from ._object_files import all_documents_of
from ._objects import Data, Objects, reach_objects
from ._output import note
from ._places import Place, place_of
from ._removal import may_remove
from ._running import run_async
from ._tables import at
from ._wait import DELETED, wait_for
from ._where import Where

_WORKLOAD: Final = "Workload"


@frozen
class _Named:
    """What a file names.

    Attributes:
        kind: Its kind, as the file calls it.
        namespace: Where it is said to be; None is where what names no namespace is.
        name: Its name.
    """

    kind: str
    namespace: str | None
    name: str


@frozen
class _Going:
    """An object that is there, and is to go."""

    kind: KindName
    namespace: str
    name: str
    item: Data


def run_delete_file(file: Path, where: Where, *, yes: bool, wait: bool, dry_run: bool) -> int:
    """Remove what a file or a folder names, after naming it and asking; with `wait` it returns once all is gone."""
    check_namespace(where.namespace)
    text = sys.stdin.buffer.read(MAX_BYTES + 1) if is_stdin(file) else None
    documents = all_documents_of(file, text)
    check_within(documents, where.namespace)
    named = list(dict.fromkeys(_names_in(documents)))
    place = place_of(where)
    going = run_async(_found, where, place, named)
    if not going:
        return 0
    for one in going:
        note(f"delete {name_of(one.item)}{f' in namespace {one.namespace}' if one.kind.namespaced else ''}")
    if not may_remove(place, sure=dry_run or yes):
        return 2
    run_async(_removed, where, place, going, dry_run)
    for one in () if dry_run else going:
        # An instance that was stopped is known for some time yet.
        awaited = wait and one.kind.plural != "instances"
        if awaited:
            within = where._replace(namespace=one.namespace)
            with suppress(NotFound):  # its kind is gone too
                run_async(wait_for, within, place, one.kind.plural, one.name, DELETED, None)
        note(f"{name_of(one.item)}: {'removed' if awaited else 'going'}")
    return 0


def _names_in(documents: Sequence[PlacedDocument]) -> Iterator[_Named]:
    """Yield what documents name, in their order.

    Raises:
        ConfigInvalid: One is no object and no manifest, or has no name.
    """
    datas = [document.data for document in documents]
    silent: str | None = None
    if all(isinstance(data, Mapping) and "kind" not in data and "items" not in data for data in datas):
        # Nothing but manifests: they are one, which has one namespace.
        silent = next((data["namespace"] for data in datas if isinstance(data.get("namespace"), str)), None)
    for document in documents:
        yield from _names_of(document, document.data, "", silent)


def _names_of(document: PlacedDocument, data: Any, path: str, silent: str | None) -> Iterator[_Named]:
    def wrong(text: str, where: str) -> ConfigInvalid:
        return ConfigInvalid((document.problem(text, f"{path}{where}".rstrip(".")),))

    if not isinstance(data, Mapping):
        raise wrong("an object or a manifest is wanted", "")
    if isinstance(data.get("items"), list):
        for number, item in enumerate(data["items"]):
            yield from _names_of(document, item, f"{path}items[{number}].", silent)
        return
    if "kind" not in data:
        workloads = data.get("workloads", {})
        if not isinstance(workloads, Mapping):
            raise wrong("workloads are wanted, by their names", "workloads")
        for name in workloads:
            yield _Named(_WORKLOAD, _text(data.get("namespace")) or silent, str(name))
        return
    kind, metadata = data["kind"], data.get("metadata")
    if not isinstance(kind, str):
        raise wrong("the name of a kind is wanted", "kind")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(metadata, Mapping) or not isinstance(name, str) or not name:
        raise wrong("a name is wanted", "metadata.name")
    yield _Named(kind, _text(metadata.get("namespace")), name)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


async def _found(where: Where, place: Place, named: Sequence[_Named]) -> list[_Going]:
    """Return what of it is there, in an order in which it can go, and tell what is not.

    Raises:
        Conflict: A workload that stays waits for one of them.
        NotFound: There is no such kind, and the file makes none.
    """
    found = list[_Going]()
    makes_kinds = any(one.kind == "CustomKind" for one in named)
    async with reach_objects(where, place) as objects:
        for one in named:
            namespace = one.namespace or objects.namespace
            try:
                kind = await objects.kind(one.kind)
            except NotFound:
                if not makes_kinds:
                    raise
                note(f"{one.kind.lower()}/{one.name}: not there")
                continue
            try:
                item = await evolve(objects, namespace=namespace).get(kind, one.name)
            except NotFound:
                note(f"{one.kind.lower()}/{one.name}: not there")
                continue
            found.append(_Going(kind, namespace, str(at(item, "metadata.name")), item))
        return await _in_order(objects, found)


async def _in_order(objects: Objects, found: Sequence[_Going]) -> list[_Going]:
    """Return workloads first, those that wait for others before these; then what others need the later."""
    workloads = [one for one in found if one.kind.kind == _WORKLOAD]
    ordered = list[_Going]()
    for namespace in dict.fromkeys(one.namespace for one in workloads):
        own = {one.name: one for one in workloads if one.namespace == namespace}
        views = await objects.control.list_workloads(namespace=namespace)
        ordered += [own[name] for name in dependants_first(list(own), namespace, views)]
    rest = [one for one in reversed(found) if one.kind.kind != _WORKLOAD]
    return [*ordered, *sorted(rest, key=_stage, reverse=True)]


def _stage(one: _Going) -> int:
    kind = one.kind.kind.lower()
    return STAGES.index(kind) if kind in STAGES else len(STAGES)


async def _removed(where: Where, place: Place, going: Iterable[_Going], dry_run: bool) -> None:
    """Have all of it removed, and tell what would be."""
    async with reach_objects(where, place) as objects:
        for one in going:
            with suppress(NotFound):  # it went with what it belonged to, or somebody else was faster
                await evolve(objects, namespace=one.namespace).delete(one.kind, one.name, dry_run=dry_run)
            if dry_run:
                note(f"{name_of(one.item)}: would be removed")
