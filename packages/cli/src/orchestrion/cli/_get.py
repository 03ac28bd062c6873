"""`get` and `describe`: objects of every kind, and what belongs to one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import aclosing, suppress
from datetime import UTC, datetime

from attrs import frozen
from orchestrion.shared_types import DEFAULT_NAMESPACE, ConfigInvalid, Denied, Event, Problem

from ._kinds import KindName, kind_and_name
from ._objects import Data, Objects, reach_objects
from ._output import Form, coloured, columns, is_for_people, line_for, note, show, show_one, yaml_text
from ._places import Place, place_of
from ._running import run_async
from ._tables import at, harmless, object_rows
from ._times import clock_time
from ._where import Where

_EVENTS_SHOWN = 10


def run_get(
    kind: str,
    names: Sequence[str],
    where: Where,
    form: Form,
    *,
    labels: str | None,
    fields: str | None,
    follow: bool,
) -> int:
    """Print objects."""
    if names and (labels or fields or follow):
        problem = Problem("objects are either named, or selected and followed")
        raise ConfigInvalid((problem,), remedy=f"orchestrion get {kind} --field-selector metadata.name={names[0]} -w")
    place = place_of(where)
    if follow:
        run_async(_follow, where, place, kind, labels, fields, form)
        return 0
    items = run_async(_listed, where, place, kind, tuple(names), labels, fields)
    if len(names) == 1:
        show_one(items[0], form, table=lambda item: _rows([item], form, where), name=name_of)
    else:
        show(items, form, table=lambda given: _rows(given, form, where), name=name_of)
    if not items and is_for_people(form):
        note(f"no {kind}{f' in namespace {where.namespace!r}' if where.namespace else ''}")
    return 0


async def _listed(
    where: Where, place: Place, kind: str, names: Sequence[str], labels: str | None, fields: str | None
) -> Sequence[Data]:
    async with reach_objects(where, place) as objects:
        found = await objects.kind(kind)
        if names:
            return [await objects.get_also_built_in(found, await _name_within(objects, found, name)) for name in names]
        listed = (await objects.list(found, labels=labels, fields=fields)).items
        return listed if labels or fields else [*await objects.built_in(found), *listed]


async def _name_within(objects: Objects, kind: KindName, text: str) -> str:
    """Return the name of a text such as "web" or "workload/web".

    Raises:
        ConfigInvalid: It is of another kind.
    """
    other, name = kind_and_name(text)
    if other and await objects.kind(other) != kind:
        raise ConfigInvalid((Problem(f"{text!r:.100} is of another kind: {kind.plural} are shown"),))
    return name


async def _follow(where: Where, place: Place, kind: str, labels: str | None, fields: str | None, form: Form) -> None:
    async with reach_objects(where, place) as objects:
        found = await objects.kind(kind)
        titles, least = True, list[int]()
        since: str | None = None
        there: Sequence[Data] = ()
        spaces = found.namespaced and objects.looked_at is None
        if is_for_people(form):
            # What there is says how wide columns are; who may not list it has each row from the watch.
            with suppress(Denied):
                listed = await objects.list(found, labels=labels, fields=fields)
                since, there = str(listed.revision), listed.items
            for line in object_rows(there, datetime.now(UTC), wide=form == "wide", namespaces=spaces, least=least):
                print(line, flush=True)
            titles = not there
        following = objects.watch(found, since, labels=labels, fields=fields, known=there)
        async with aclosing(following) as events:
            async for what, item in events:
                for line in _event_lines(what, item, form, spaces, least, titles=titles):
                    print(line, flush=True)
                titles = False


def _event_lines(what: str, item: Data, form: Form, spaces: bool, least: list[int], *, titles: bool) -> Iterable[str]:
    gone = what == "DELETED"
    if form == "name":
        return [f"{name_of(item)}{' gone' if gone else ''}"]
    if is_for_people(form):
        now, wide = datetime.now(UTC), form == "wide"
        *head, line = object_rows([item], now, wide=wide, titles=titles, namespaces=spaces, least=least)
        return [*head, f"{line}  {coloured('gone', 'red')}" if gone else line]
    return [line_for({"type": what, "object": item}, form)]


def _rows(items: Sequence[Data], form: Form, where: Where) -> list[str]:
    spaces = True if where.namespace == "*" else None
    return object_rows(items, datetime.now(UTC), wide=form == "wide", namespaces=spaces)


def name_of(item: Data) -> str:
    """Return an object's kind and name, as scripts pass them on."""
    return f"{str(at(item, 'kind')).lower()}/{at(item, 'metadata.name')}"


@frozen(kw_only=True)
class Description:
    """An object, and what belongs to it as far as who asks may see it.

    Attributes:
        object: The object.
        instances: Those of a workload, or on a node; None where the object is of another kind.
        events: The latest ones about it, oldest first; None where the object is of another kind.
    """

    object: Data
    instances: Sequence[Data] | None = None
    events: Sequence[Event] | None = None


def run_describe(kind: str, name: str, where: Where, form: Form) -> int:
    """Print one object with what belongs to it."""
    description = run_async(_described, where, place_of(where), kind, name)
    show_one(description, form, table=_lines, name=lambda given: name_of(given.object))
    return 0


async def _described(where: Where, place: Place, kind: str, name: str) -> Description:
    async with reach_objects(where, place) as objects:
        found = await objects.kind(kind)
        item = await objects.get_also_built_in(found, name)
        return Description(
            object=item,
            instances=await _instances(objects, found, str(at(item, "metadata.name"))),
            events=await _events(objects, found, str(at(item, "metadata.name"))),
        )


async def _instances(objects: Objects, kind: KindName, name: str) -> Sequence[Data] | None:
    if kind.kind == "Workload":
        selectors = {"labels": f"orchestrion/workload={name}"}
    elif kind.kind == "Node":
        selectors = {"fields": f"spec.node_id={name}"}
    else:
        return None
    try:
        return (await objects.list(await objects.kind("instances"), **selectors)).items
    except Denied:
        return []


async def _events(objects: Objects, kind: KindName, name: str) -> Sequence[Event] | None:
    if kind.kind not in ("Workload", "Instance", "Node"):
        return None
    try:
        subject = f"{kind.kind.lower()}/{name}"
        # Nodes are in no namespace, and what happens to them is told in the one that there always is.
        namespace = DEFAULT_NAMESPACE if kind.kind == "Node" else objects.namespace
        return await objects.control.events(namespace=namespace, subject=subject, limit=_EVENTS_SHOWN)
    except Denied:
        return []


def _lines(given: Description) -> Iterable[str]:
    item = given.object
    yield f"{coloured(str(at(item, 'kind')), 'cyan')} {at(item, 'metadata.name')}"
    yield from _metadata_lines(item)
    for part in ("spec", "status"):
        if item.get(part):
            yield from ("", coloured(f"{part}:", "dim"), *_indented(yaml_text(item[part])))
    if given.instances:
        title = "instances here:" if at(item, "kind") == "Node" else "instances:"
        yield from ("", coloured(title, "dim"), *_indented("\n".join(object_rows(given.instances, datetime.now(UTC)))))
    if given.events:
        rows = [(clock_time(one.at), harmless(one.reason), harmless(one.message)) for one in given.events]
        yield from ("", coloured("latest events:", "dim"), *_indented("\n".join(columns(rows))))


def _metadata_lines(item: Data) -> list[str]:
    metadata = item.get("metadata", {})
    told: list[tuple[str, str]] = []
    for name in ("namespace", "uid", "revision", "generation", "created_at", "updated_at", "deleting_since"):
        value = at(metadata, name, None)
        if value not in (None, ""):
            told.append(
                (
                    f"  {name}",
                    clock_time(datetime.fromisoformat(value)) if name.endswith(("_at", "_since")) else str(value),
                )
            )
    for name in ("labels", "annotations"):
        told += [
            (f"  {name}", f"{harmless(key)}={harmless(str(value))}")
            for key, value in sorted(at(metadata, name, {}).items())
        ]
    told += [("  owner", f"{one.get('kind')} {one.get('name')}") for one in at(metadata, "owners", ())]
    told += [("  finalizer", f"{one.get('name')} of {one.get('owner')}") for one in at(metadata, "finalizers", ())]
    return columns(told)


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]
