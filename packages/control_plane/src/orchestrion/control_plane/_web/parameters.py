"""What queries and headers may say: as the description of the API has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from litestar.handlers import BaseRouteHandler
from orchestrion.control_plane._known_parameters import check_known
from orchestrion.control_plane._objects.claims import Cascade
from orchestrion.control_plane._objects.kinds import NAMESPACE, KindRegistry
from orchestrion.control_plane._objects.paging import MAX_TOKEN_LENGTH
from orchestrion.control_plane._service.reading import DEFAULT_LIMIT, MAX_LIMIT
from orchestrion.orchestrator_core import MAX_TAIL_LINES
from orchestrion.shared_types import ConfigInvalid, Problem

from .caller import Connection
from .doc import DOC, Doc
from .queries import MANAGER_PATTERN
from .watching import MAX_SECONDS

NAME_PATTERN: Final = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"

_POSITION: Final = r"^[0-9]{1,18}([.-][0-9]{1,18})?$"


def _query(name: str, description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": dict(schema)}


def _header(name: str, description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": dict(schema)}


def _flag(name: str, description: str) -> dict[str, Any]:
    return _query(name, description, {"type": "boolean", "default": False})


_SELECTOR: Final = {"type": "string", "maxLength": 1_000}
"""What fits into the head of a request beside everything else, for the most part."""

_MOMENT: Final = {
    "anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "pattern": r"^([0-9]{1,9}[smhd]){1,4}$"}]
}

PARAMETERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "label_selector": _query("label_selector", "Only objects with these labels: `app=web,tier in (a,b)`.", _SELECTOR),
    "field_selector": _query("field_selector", "Only objects with these fields: `status.phase=Healthy`.", _SELECTOR),
    "subject": _query(
        "subject", "Of events only those about it: `workload/web`, `instance/web.0.1`.", {"type": "string"}
    ),
    "limit": _query(
        "limit",
        "How many objects a page has at most.",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    ),
    "continue": _query(
        "continue",
        "`metadata.continue` of the page before: the next page, of the same revision.",
        {"type": "string", "maxLength": MAX_TOKEN_LENGTH},
    ),
    "watch": _flag("watch", "Follow the objects instead of listing them."),
    "since": _query(
        "since",
        "Follow from here on: the revision of a list, or the id of an event; without it, all there is comes first.",
        {"type": "string", "pattern": _POSITION},
    ),
    "Last-Event-ID": _header(
        "Last-Event-ID", "The id of the last event that was seen: goes before `since`.", {"type": "string"}
    ),
    "timeout_seconds": _query(
        "timeout_seconds",
        "After how many seconds the stream ends; 0 gives what there is already.",
        {"type": "integer", "minimum": 0, "maximum": MAX_SECONDS},
    ),
    "manager": _query("manager", "Whose fields they are.", {"type": "string", "pattern": MANAGER_PATTERN}),
    "force": _flag("force", "Take over what other managers say differently."),
    "dry_run": _flag("dry_run", "Check everything, and write nothing."),
    "if_index": _query(
        "if_index",
        "Only if nothing of what is sent was changed, made or removed after this revision, as `revision` of a plan.",
        {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
    ),
    "set": _query(
        "set",
        "The set that the objects are of: each gets it as the label `orchestrion/apply-set`.",
        {"type": "string", "pattern": NAME_PATTERN},
    ),
    "prune": _flag(
        "prune",
        "Remove objects of the set, in the namespaces of those that are sent and in `namespace`, that are not sent.",
    ),
    "cascade": _query(
        "cascade",
        "What becomes of what the object owns: it goes after it, or before it, or it stays.",
        {"type": "string", "enum": [each.value for each in Cascade], "default": Cascade.BACKGROUND.value},
    ),
    "rerun": _flag("rerun", "Run work once more that has ended."),
    "If-Match": _header(
        "If-Match",
        "Only if the object is at this revision: its ETag, of which no more counts.",
        {"type": "string", "pattern": r'^(\*|(W/)?"?[0-9]{1,18}(-[0-9a-f]{16})?"?)$'},
    ),
    "If-None-Match": _header(
        "If-None-Match",
        "Only if the object is another than that of one of these ETags: 304 otherwise.",
        {"type": "string"},
    ),
    "Idempotency-Key": _header(
        "Idempotency-Key",
        "A word of the client's own: the same request with the same word is done once, and answered the same for 24 h.",
        {"type": "string", "pattern": "^[!-~]{1,255}$"},
    ),
    "show": _query(
        "show",
        "`owners` adds who says what of the object.",
        {"type": "string", "enum": ["object", "owners"], "default": "object"},
    ),
    "container": _query("container", "Only this container.", {"type": "string"}),
    "follow": _flag("follow", "Go on as more is written, until the workload has ended."),
    "since-time": _query(
        "since", "Only what was written at or after this time, or in a span of time before now: `1h30m`.", _MOMENT
    ),
    "until": _query(
        "until",
        "Only what was written at or before this time, or a span of time before now; not with `follow`.",
        _MOMENT,
    ),
    "tail": _query(
        "tail",
        "So many of the last lines of each container at most to begin with.",
        {"type": "integer", "minimum": 0, "maximum": MAX_TAIL_LINES},
    ),
    "timestamps": _flag(
        "timestamps",
        "As text, say before each line when it was written; else no piece has lines of several times.",
    ),
    "previous": _flag("previous", "Of the attempt before the latest one."),
    "replaced": _flag(
        "replaced",
        "Of a workload, also of instances that have ended and are of an older generation than is wanted now.",
    ),
    "tail_bytes": _query(
        "tail_bytes", "So many bytes of each stream at most to begin with.", {"type": "integer", "minimum": 0}
    ),
    "only-namespace": _query("namespace", "Only in this namespace.", {"type": "string", "pattern": NAME_PATTERN}),
    "node": _query("node", "Say only whether the node of this id would take each slot.", {"type": "string"}),
    "Mcp-Session-Id": _header(
        "Mcp-Session-Id", "The session, as `initialize` was answered with it.", {"type": "string"}
    ),
    "MCP-Protocol-Version": _header(
        "MCP-Protocol-Version", "Which version of the protocol is spoken.", {"type": "string"}
    ),
    "namespace": _query(
        "namespace", "Where objects are that do not say it.", {"type": "string", "pattern": NAME_PATTERN}
    ),
}
"""By the word that operations name them with."""


def check_query(connection: Connection, handler: BaseRouteHandler, kinds: KindRegistry) -> None:
    """Make sure that a request's query has only what its operation takes: what is passed over would be missed.

    Where the kind that the path names has no such operation, the handler says so, whatever the query.

    Raises:
        ConfigInvalid: It has another parameter.
    """
    given = connection.query_params
    doc = handler.opt.get(DOC)
    if not given or not isinstance(doc, Doc) or not _is_there(connection, doc, kinds):
        return
    known = {PARAMETERS[word]["name"] for word in doc.parameters if PARAMETERS[word]["in"] == "query"}
    check_known(given.keys(), known)


def _is_there(connection: Connection, doc: Doc, kinds: KindRegistry) -> bool:
    """Whether the kind that a path names has an operation."""
    kind = kinds.get(connection.path_params.get("plural", NAMESPACE.plural))
    return kind is not None and doc.kinds(kind)


def check_headers(connection: Connection, handler: BaseRouteHandler, kinds: KindRegistry) -> None:
    """Make sure that nothing is asked for under a condition, to be done once, or in an encoding, that is not heeded.

    Where the kind that the path names has no such operation, the handler says so, whatever is asked for.

    Raises:
        ConfigInvalid: It is.
    """
    doc = handler.opt.get(DOC)
    if isinstance(doc, Doc) and not _is_there(connection, doc, kinds):
        return
    known = doc.parameters if isinstance(doc, Doc) else ()
    reads = connection.scope.get("method") in ("GET", "HEAD", "OPTIONS")
    for word in _CONDITIONS if reads else (*_CONDITIONS, *_CONDITIONS_OF_CHANGES):
        if word in connection.headers and word not in known:
            raise ConfigInvalid((Problem("nothing here heeds that", path=word),), remedy="Send it without.")
    if connection.headers.get("content-encoding", "identity").strip().lower() != "identity":
        problem = Problem("what is sent is read as it is", path="Content-Encoding")
        raise ConfigInvalid((problem,), remedy="Send it neither compressed nor otherwise encoded.")


_CONDITIONS: Final = ("If-Match", "Idempotency-Key")

_CONDITIONS_OF_CHANGES: Final = ("If-None-Match", "If-Unmodified-Since")
"""What asks for a copy to be renewed may be passed over (RFC 9110, 13.1); a change under a condition is another one."""
