"""How what happens to objects is written to those who follow it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from attrs import frozen
from orchestrion.control_plane._cloud_events import CLOUD_EVENT, bookmark_event, cloud_event, error_event
from orchestrion.control_plane._history.event import EventType, Item, ObjectEvent, Position, bookmark, line, message
from orchestrion.shared_types import Event, structure, to_json

NDJSON: Final = "application/x-ndjson"
SSE: Final = "text/event-stream"


@frozen(kw_only=True)
class WatchForm:
    """A form of a watch. What is not told in it is empty.

    Attributes:
        media_type: What it is called.
        addition: From an object that is there to what is written.
        event: The same from what happened to one.
        bookmark: From a position, up to which all was told.
        error: From a problem document, and the position up to which all was told, or None.
    """

    media_type: str
    addition: Callable[[Item], bytes]
    event: Callable[[ObjectEvent], bytes]
    bookmark: Callable[[Position], bytes]
    error: Callable[[dict[str, Any], Position | None], bytes]


LINES: Final = WatchForm(
    media_type=NDJSON,
    addition=lambda item: line(EventType.ADDED, None, item.data),
    event=lambda event: event.line,
    bookmark=lambda position: line(EventType.BOOKMARK, position, bookmark(position)),
    error=lambda problem, _: b'{"type":"ERROR","object":%b}\n' % to_json(problem),
)

MESSAGES: Final = WatchForm(
    media_type=SSE,
    addition=lambda item: message(EventType.ADDED, None, item.data),
    event=lambda event: event.message,
    bookmark=lambda position: message(EventType.BOOKMARK, position, bookmark(position)),
    error=lambda problem, _: b"event: ERROR\ndata: %b\n\n" % to_json(problem),
)


def _cloud(item: Item, position: Position | None = None) -> bytes:
    document = json.loads(item.data)
    metadata = document["metadata"]
    event = structure({**document["spec"], "uid": metadata["uid"], "namespace": metadata["namespace"]}, Event)
    return to_json(cloud_event(event, "" if position is None else str(position)))


def _happened(event: ObjectEvent) -> bytes:
    # That an event is no longer kept is nothing that happened.
    return _cloud(event.item, event.position) if event.type is EventType.ADDED else b""


CLOUD_LINES: Final = WatchForm(
    media_type=CLOUD_EVENT,
    addition=lambda item: _cloud(item) + b"\n",
    event=lambda event: _ended(_happened(event)),
    bookmark=lambda position: bookmark_event(str(position)) + b"\n",
    error=lambda problem, position: error_event(problem, _text(position)) + b"\n",
)


def _ended(data: bytes) -> bytes:
    return data + b"\n" if data else data


def _text(position: Position | None) -> str:
    return "" if position is None else str(position)
