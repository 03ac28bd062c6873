"""What happened, as CloudEvents 1.0 (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from orchestrion.shared_types import Event, to_json, unstructure

CLOUD_EVENT: Final = "application/cloudevents+json"
"""One event in the structured form; of a stream one in each line."""

CLOUD_EVENTS: Final = "application/cloudevents-batch+json"
"""A list of events."""

SUBPROTOCOL: Final = "cloudevents.json"
"""One event in each text message of a WebSocket."""

_TYPES: Final = "dev.orchestrion"
_STREAM: Final = "urn:orchestrion:stream"


def is_wanted(accept: str) -> bool:
    """Whether an `Accept` header asks for CloudEvents."""
    return CLOUD_EVENT in accept or CLOUD_EVENTS in accept


def cloud_event(event: Event, position: str = "") -> dict[str, Any]:
    """Return an event as a CloudEvent.

    Args:
        event: The event. Its uid is the id, which is the same however often and by whomever it is told.
        position: What to go on from who follows; empty for none.
    """
    kind = event.subject.partition("/")[0]
    found = {
        "specversion": "1.0",
        "id": event.uid,
        "source": f"urn:orchestrion:namespace:{event.namespace}",
        "type": f"{_TYPES}.{kind}.{event.reason}",
        "subject": event.subject,
        "time": unstructure(event.at),
        "datacontenttype": "application/json",
        "data": {
            "namespace": event.namespace,
            "reason": event.reason,
            "severity": event.severity.value,
            "message": event.message,
        },
    }
    return {**found, "position": position} if position else found


def batch(events: Iterable[Event]) -> bytes:
    """Return events as a batch."""
    return to_json([cloud_event(event) for event in events])


def bookmark_event(position: str) -> bytes:
    """Return what says to who follows that all up to a position was told."""
    told = {"specversion": "1.0", "id": f"bookmark-{position}", "source": _STREAM, "type": f"{_TYPES}.stream.bookmark"}
    return to_json({**told, "position": position})


def error_event(problem: Mapping[str, Any], position: str) -> bytes:
    """Return what says why a stream ends, and from where who follows may go on."""
    told = {
        "specversion": "1.0",
        "id": f"error-{problem.get('trace_id', '')}-{position}",
        "source": _STREAM,
        "type": f"{_TYPES}.stream.error",
        "datacontenttype": "application/problem+json",
        "data": dict(problem),
    }
    return to_json({**told, "position": position} if position else told)
