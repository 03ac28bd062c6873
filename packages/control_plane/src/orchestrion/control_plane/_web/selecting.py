"""Which objects a list or a watch is about, by its query."""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen
from orchestrion.control_plane._history.event import Item
from orchestrion.control_plane._objects.kinds import EVENT, Kind
from orchestrion.control_plane._objects.selectors import (
    FieldSelector,
    LabelSelector,
    parse_field_selector,
    parse_label_selector,
)
from orchestrion.control_plane._service.owning import Owning
from orchestrion.control_plane._service.reading import Selection

from .passage import passage_of
from .queries import AnyRequest


@frozen
class _Wanted:
    """What is asked of an object; labels first, for they are known without reading it."""

    labels: LabelSelector | None
    fields: FieldSelector | None
    subject: str
    own: Selection | None

    def __call__(self, item: Item) -> bool:
        if self.labels is not None and not self.labels.matches(item.labels):
            return False
        if self.own is not None and not self.own(item):
            return False
        if self.fields is None and not self.subject:
            return True
        document = json.loads(item.data)
        if self.subject and not _is_about(document, self.subject):
            return False
        return self.fields is None or self.fields.matches(document)


def selection_of(request: AnyRequest, kind: Kind, owning: Owning) -> Selection | None:
    """Return which objects a request is about; None is all.

    Args:
        request: Asks for them, perhaps only for those of who asks.
        kind: Their kind.
        owning: Says whom they belong to.

    Raises:
        ConfigInvalid: A selector can't be read, or asks for a field that no object of the kind can have.
    """
    query = request.query_params
    labels, fields = query.get("label_selector", ""), query.get("field_selector", "")
    subject = query.get("subject", "") if kind is EVENT else ""
    passage = passage_of(request.scope)
    own = _own(owning, kind, passage.only_of) if passage is not None and passage.only_of else None
    if not (labels or fields or subject or own):
        return None
    return _Wanted(
        parse_label_selector(labels) if labels else None,
        parse_field_selector(fields).of_kind(kind) if fields else None,
        subject,
        own,
    )


def _own(owning: Owning, kind: Kind, subject: str) -> Selection:
    return lambda item: subject in owning.of_item(kind.plural, item)


def query_of(request: AnyRequest, kind: Kind, namespace: str | None) -> dict[str, Any]:
    """Return what a list was asked for, as far as it must be the same for all of its pages."""
    query = request.query_params
    names = ("label_selector", "field_selector", "subject")
    return {"kind": kind.plural, "namespace": namespace, **{name: query.get(name, "") for name in names}}


def _is_about(event: Any, subject: str) -> bool:
    """Whether an event is about a subject; what happened to a workload's instances has happened to it too."""
    found = str(event["spec"].get("subject", ""))
    if found == subject:
        return True
    kind, _, name = subject.partition("/")
    return kind == "workload" and found.startswith(f"instance/{name}.")
