"""From the store's changes to objects: pure, so that the same history always gives the same events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import groupby
from sys import intern
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from attrs import define, evolve, field
from orchestrion.control_plane._objects.document import API_VERSION, Document, ObjectMetadata, encoded
from orchestrion.control_plane._objects.stored import OBJECT_PREFIX, shown_plain
from orchestrion.control_plane._objects.workload_form import workload_of
from orchestrion.orchestrator_core import BindingRecord, WorkloadControl, WorkloadSpec
from orchestrion.shared_types import Event, InstanceState, from_json, to_json, unstructure
from orchestrion.store_interface import Change, Entry

from .event import NO_LABELS, EventType, Item, ObjectEvent, Position


class ObjectName(NamedTuple):
    """Names an object: the plural of its kind, its namespace or empty, its name."""

    kind: str
    namespace: str
    name: str


StatusOf = Callable[[str, str], Mapping[str, Any] | None]
"""Says how the workload of a namespace and name is doing now, or None where it is not known."""

Parts = Mapping[str, Entry]
"""What an object's keys hold, by the name of the part."""

WORKLOADS: Final = "workloads"
"""The plural of the kind whose status is not stored but derived."""

_INSTANCES: Final = "instances"

_TWO_PARTS: Final[Mapping[str, tuple[str, str]]] = {
    WORKLOADS: ("spec", "control"),
    _INSTANCES: ("binding", "status"),
}
"""Kinds whose objects are made of two keys. Of all others the one key is the object, and needs not to be kept."""

_Pair = tuple[Entry | None, Entry | None]
_NEITHER: Final[_Pair] = (None, None)


@define(eq=False)
class Projection:
    """All objects as they are, kept by the store's changes.

    Attributes:
        status_of: Tells of workloads what is not stored but derived.
        items: Every object, encoded.
        names: The names of each kind's objects, by namespace.
        claimed: Objects that have owners or finalizers, or are about to go.
    """

    status_of: StatusOf
    items: dict[ObjectName, Item] = field(factory=dict)
    names: dict[str, dict[str, dict[str, None]]] = field(factory=dict)
    claimed: dict[ObjectName, None] = field(factory=dict)
    _pairs: dict[ObjectName, _Pair] = field(factory=dict)
    """The parts of objects of two parts: when one of them changes, the other one is needed."""

    def load(self, entries: Iterable[Entry]) -> None:
        """Take in what there is at first."""
        touched = dict[ObjectName, Parts]()
        for entry in entries:
            place = place_of(entry.key)
            if place is not None:
                name, part = place
                touched[name] = self._note(name, part, entry)
        for name, parts in touched.items():
            self._set(name, self._read(name, parts))

    def take(self, changes: Iterable[Change]) -> Iterator[ObjectEvent]:
        """Take in changes, whole revisions in their order, and give what they mean."""
        for revision, together in groupby(changes, key=lambda change: change.revision):
            count = 0
            for name, parts in self._touched(together).items():
                event = self._event(name, parts, revision, count)
                if event is not None:
                    count += 1
                    yield event

    def refresh(self, namespace: str, name: str, at: Position) -> ObjectEvent | None:
        """Look at a workload's derived status again, at a place; None where it is as it was."""
        known = ObjectName(WORKLOADS, namespace, name)
        before = self.items.get(known)
        if before is None:
            return None
        item = self._read(known, self._parts_of(known))
        if item is None or item.data == before.data:
            return None
        self._set(known, item)
        return ObjectEvent(at, EventType.MODIFIED, *known, item, before)

    def _touched(self, changes: Iterable[Change]) -> dict[ObjectName, Parts]:
        touched = dict[ObjectName, Parts]()
        for change in changes:
            place = place_of(change.key)
            if place is not None:
                name, part = place
                touched[name] = self._note(name, part, change.entry)
        return touched

    def _note(self, name: ObjectName, part: str, entry: Entry | None) -> Parts:
        """Note what a part of an object is now, and return all its parts."""
        both = _TWO_PARTS.get(name.kind)
        if both is None:
            return {part: entry} if entry is not None else {}
        first, second = self._pairs.get(name, _NEITHER)
        pair = (entry, second) if part == both[0] else (first, entry)
        if pair == _NEITHER:
            self._pairs.pop(name, None)
        else:
            self._pairs[name] = pair
        return self._parts_of(name)

    def _parts_of(self, name: ObjectName) -> Parts:
        pair = self._pairs.get(name, _NEITHER)
        return {part: entry for part, entry in zip(_TWO_PARTS[name.kind], pair, strict=True) if entry is not None}

    def _event(self, name: ObjectName, parts: Parts, revision: int, count: int) -> ObjectEvent | None:
        before = self.items.get(name)
        item = self._read(name, parts)
        self._set(name, item)
        if item is None:
            if before is None:
                return None
            return ObjectEvent(Position(revision, count + 1), EventType.DELETED, *name, before, before)
        if before is None:
            return ObjectEvent(Position(revision, count + 1), EventType.ADDED, *name, item, None)
        # Also where nothing shows: how many events a revision has must not depend on what is derived.
        return ObjectEvent(Position(revision, count + 1), EventType.MODIFIED, *name, item, before)

    def _set(self, name: ObjectName, item: Item | None) -> None:
        if item is None:
            self.claimed.pop(name, None)
            if self.items.pop(name, None) is not None:
                within = self.names[name.kind][name.namespace]
                del within[name.name]
                if not within:
                    del self.names[name.kind][name.namespace]
            return
        self.items[name] = item
        self.names.setdefault(name.kind, {}).setdefault(name.namespace, {})[name.name] = None
        if _is_claimed(name, item):
            self.claimed[name] = None
        else:
            self.claimed.pop(name, None)

    def _read(self, name: ObjectName, parts: Parts) -> Item | None:
        return read_object(name, parts, self.status_of)


_CLAIMS: Final = (b'"owners":[{', b'"finalizers":[{', b'"deleting_since":"')


def _is_claimed(name: ObjectName, item: Item) -> bool:
    """Whether an object has owners or finalizers, or is about to go: told without reading the whole of it.

    A text in it that only looks so has its quotes escaped.
    """
    return name.kind not in _NEVER_CLAIMED and any(claim in item.data for claim in _CLAIMS)


_NEVER_CLAIMED: Final = frozenset({"instances", "events", "nodes"})


def read_object(name: ObjectName, parts: Parts, status_of: StatusOf) -> Item | None:
    """Return what an object's keys hold as one; None where what makes it an object is not among them."""
    if name.kind == WORKLOADS:
        spec = parts.get("spec")
        if spec is None:
            return None
        status = status_of(name.namespace, name.name) or {}
        return _item(workload_document(spec, parts.get("control"), status), derived=True)
    if name.kind == _INSTANCES:
        return _instance(name, parts)
    entry = parts.get("")
    if entry is None:
        return None
    if name.kind == "events":
        return _item(_event_document(entry))
    plain = shown_plain(entry)
    return Item(encoded(plain), entry.modified, plain["metadata"].get("labels", NO_LABELS))


def workload_document(spec: Entry, control: Entry | None, status: Mapping[str, Any]) -> Document:
    """Return a workload as a document."""
    document = workload_of(from_json(spec.value, WorkloadSpec).definition)
    operator = from_json(control.value, WorkloadControl) if control is not None else WorkloadControl()
    metadata = evolve(
        document.metadata,
        revision=max(spec.modified, control.modified if control is not None else 0),
        deleting_since=(operator.removed_at or document.metadata.updated_at) if operator.removed else None,
    )
    return evolve(document, metadata=metadata, status=status)


def _instance(name: ObjectName, parts: Parts) -> Item | None:
    """Put an instance together from its two parts as they are, without reading more of them than the uid."""
    bound = parts.get("binding")
    if bound is None:
        return None
    status = parts.get("status")
    record = from_json(bound.value, BindingRecord)
    workload = name.name.partition(".")[0]
    revision = max(bound.modified, status.modified if status is not None else 0)
    labels = _labels_of(workload)
    binding = unstructure(record.binding)
    metadata = {
        "name": name.name,
        "namespace": name.namespace,
        "uid": record.workload_id + "." + name.name.partition(".")[2],
        "revision": revision,
        "labels": labels,
    }
    if "bound_at" in binding:
        metadata["created_at"] = binding["bound_at"]
    data = b'{"api_version":%b,"kind":"Instance","metadata":%b,"spec":%b,"status":%b}' % (
        to_json(API_VERSION),
        encoded(metadata),
        encoded({"workload": workload, **binding}),
        _with_state(status.value if status is not None else b"{}"),
    )
    return Item(data, revision, labels)


_STATE: Final = b'{"state":'


def _with_state(status: bytes) -> bytes:
    """Return the status of an instance with its state, which is not on record while it is Pending."""
    if status.startswith(_STATE):
        return status
    pending = _STATE + to_json(InstanceState.PENDING)
    return pending + b"}" if status == b"{}" else pending + b"," + status[1:]


@lru_cache(maxsize=1_024)
def _labels_of(workload: str) -> Mapping[str, str]:
    """Return the labels of a workload's instances, the same for all of them: there may be very many."""
    return {"orchestrion/workload": workload}


def _event_document(entry: Entry) -> Document:
    event = from_json(entry.value, Event)
    plain = unstructure(event)
    del plain["uid"], plain["namespace"]
    metadata = ObjectMetadata(
        name=event.uid, namespace=event.namespace, uid=event.uid, revision=entry.modified, created_at=event.at
    )
    return Document(kind="Event", metadata=metadata, spec=plain)


def _item(document: Document, *, derived: bool = False) -> Item:
    metadata = document.metadata
    return Item(document.encoded(), metadata.revision, metadata.labels or NO_LABELS, derived=derived)


def place_of(key: str) -> tuple[ObjectName, str] | None:
    """Return which part of which object a key holds, or None for keys that are of none."""
    parts = key.split("/")
    match parts:
        case ["", "workload", namespace, name, ("spec" | "control") as part]:
            return ObjectName(WORKLOADS, intern(namespace), name), part
        case ["", "instance", namespace, name, ("binding" | "status") as part]:
            return ObjectName(_INSTANCES, intern(namespace), name), part
        case ["", "event", namespace, uid]:
            return ObjectName("events", intern(namespace), uid), ""
        case ["", kind, plural, namespace, name] if f"/{kind}/" == OBJECT_PREFIX:
            return ObjectName(intern(plural), "" if namespace == "-" else intern(namespace), unquote(name)), ""
        case _:
            return None
