"""From the store's changes to objects: what is shown, and what is kept for it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orchestrion.control_plane._history.event import EventType
from orchestrion.control_plane._history.projection import ObjectName, Projection, read_object
from orchestrion.control_plane._objects.document import Document, ObjectMetadata
from orchestrion.control_plane._objects.stored import StoredObject, object_of, shown_plain
from orchestrion.orchestrator_core import BindingRecord
from orchestrion.shared_types import Binding, InstanceState, InstanceStatus, NodeId, Uid, structure, to_json
from orchestrion.store_interface import Change, ChangeKind, Entry, Revision

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)
UID = Uid("01890000-0000-7000-8000-000000000001")

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
LABELS = st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2)


def binding(slot: int) -> bytes:
    """Return what is stored of where an instance runs."""
    return to_json(BindingRecord(workload_id=UID, binding=Binding(node_id=NodeId(f"node-{slot}"), generation=1)))


def no_status(_namespace: str, _name: str) -> None:
    """Know nothing that is derived."""


def kept(key: str, value: bytes, revision: int) -> Entry:
    """Return an entry as a store has it."""
    return Entry(key, value, Revision(revision), Revision(revision))


@st.composite
def stored_objects(draw: st.DrawFn) -> StoredObject:
    """Make objects as they are kept."""
    metadata = ObjectMetadata(
        name="one",
        namespace=draw(st.sampled_from(["", "default"])),
        uid=UID,
        generation=draw(st.integers(0, 3)),
        created_at=draw(st.sampled_from([None, NOW])),
        labels=draw(LABELS),
        annotations=draw(LABELS),
        deleting_since=draw(st.sampled_from([None, NOW])),
    )
    spec = draw(st.dictionaries(st.text(max_size=3), PLAIN, max_size=3))
    status = draw(st.dictionaries(st.text(max_size=3), PLAIN, max_size=3))
    document = Document(kind="ConfigMap", metadata=metadata, spec=spec, status=status)
    return StoredObject(document=document, applied={"api": spec}, sealed=draw(LABELS))


@settings(max_examples=60)
@given(stored_objects(), st.integers(1, 100))
def test_an_object_is_shown_as_its_values_would_be(stored: StoredObject, revision: int) -> None:
    """What is shown of an entry is the same as if all of it had been read."""
    entry = kept("/object/configmaps/default/one", stored.put("").value, revision)
    assert shown_plain(entry) == object_of(entry).shown().plain()


KEYS = [
    "/instance/default/web.0.1/binding",
    "/instance/default/web.0.1/status",
    "/instance/other/web.0.1/binding",
    "/object/configmaps/default/one",
    "/object/roles/-/two",
    "/event/default/3",
    "/nothing/of/ours",
]


def value_of(key: str, size: int) -> bytes:
    """Return something that can be at a key."""
    if key.endswith("/binding"):
        return to_json(BindingRecord(workload_id=UID, binding=Binding(node_id=NodeId(f"node-{size}"), generation=1)))
    if key.endswith("/status"):
        return b'{"state":"Running"}'
    if key.startswith("/event/"):
        fields = {
            "uid": "3",
            "namespace": "default",
            "at": NOW,
            "subject": "web",
            "reason": "Made",
            "message": "x" * size,
        }
        return to_json(fields)
    metadata = ObjectMetadata(name="one", labels={"size": str(size)})
    return StoredObject(document=Document(kind="ConfigMap", metadata=metadata, spec={"a": size})).put("").value


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 3) | st.none()), max_size=25))
def test_following_comes_to_the_same_as_looking_at_the_end(steps: list[tuple[str, int | None]]) -> None:
    """Whoever has followed all changes knows what who comes later is told; what is gone leaves nothing behind."""
    followed, entries = Projection(no_status), dict[str, Entry]()
    for revision, (key, size) in enumerate(steps, 1):
        if size is None:
            entries.pop(key, None)
            change = Change(ChangeKind.DELETE, key, None, Revision(revision))
        else:
            entries[key] = kept(key, value_of(key, size), revision)
            change = Change(ChangeKind.PUT, key, entries[key], Revision(revision))
        list(followed.take([change]))
    fresh = Projection(no_status)
    fresh.load(entries.values())
    assert {name: item.data for name, item in followed.items.items()} == {
        name: item.data for name, item in fresh.items.items()
    }
    assert followed._pairs == fresh._pairs
    assert {name for names in followed.names.values() for name in names} == {
        name for names in fresh.names.values() for name in names
    }


def test_an_instance_whose_binding_goes_is_gone_and_comes_back() -> None:
    """The binding makes the instance; a status that is left alone shows nothing, and counts again with a new one."""
    name = ObjectName("instances", "default", "web.0.1")
    bound, status = (f"/instance/default/web.0.1/{part}" for part in ("binding", "status"))
    projection = Projection(no_status)

    def told(revision: int, key: str, value: bytes | None) -> list[EventType]:
        kind = ChangeKind.DELETE if value is None else ChangeKind.PUT
        entry = None if value is None else kept(key, value, revision)
        return [event.type for event in projection.take([Change(kind, key, entry, Revision(revision))])]

    assert told(1, status, b'{"state":"Lost"}') == []
    assert told(2, bound, binding(0)) == [EventType.ADDED]
    assert projection.items[name].document.status == {"state": "Lost"}
    assert told(3, status, b'{"state":"Running"}') == [EventType.MODIFIED]
    assert told(4, bound, None) == [EventType.DELETED]
    assert told(5, bound, binding(0)) == [EventType.ADDED]
    assert projection.items[name].document.status == {"state": "Running"}
    assert projection.items[name].revision == 5


def instances(count: int) -> Iterator[Entry]:
    """Give what is stored of instances of one workload."""
    status: dict[str, Any] = {"state": "Running", "containers": [{"name": "main", "attempt": 0}]}
    for slot in range(count):
        yield kept(f"/instance/default/web.{slot}.1/binding", binding(slot), slot + 1)
        yield kept(f"/instance/default/web.{slot}.1/status", to_json(status), count + slot + 1)


def test_an_instance_takes_little_beyond_its_text() -> None:
    """What is kept of an instance, beside its entries and its JSON, is bounded."""
    entries, projection = list(instances(500)), Projection(no_status)
    projection.load(entries[:10])
    tracemalloc.start()
    try:
        projection.load(entries)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    text = sum(len(item.data) for item in projection.items.values())
    assert (used - text) / 500 < 600


@pytest.mark.parametrize(
    "status",
    [None, InstanceStatus(), InstanceStatus(reason="queued"), InstanceStatus(state=InstanceState.RUNNING, message="x")],
)
def test_an_instance_has_its_state_and_its_age_from_the_beginning(status: InstanceStatus | None) -> None:
    bound = Binding(node_id=NodeId("node-0"), generation=1, bound_at=NOW)
    parts = {"binding": kept("/b", to_json(BindingRecord(workload_id=UID, binding=bound)), 1)}
    if status is not None:
        parts["status"] = kept("/s", to_json(status), 2)
    item = read_object(ObjectName("instances", "default", "web.0.1"), parts, no_status)
    assert item is not None
    shown = item.document
    wanted = status or InstanceStatus()
    assert shown.status["state"] == wanted.state.value
    assert structure(dict(shown.status), InstanceStatus) == wanted
    assert shown.metadata.created_at == NOW
