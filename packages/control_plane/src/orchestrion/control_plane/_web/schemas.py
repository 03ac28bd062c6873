"""JSON Schemas of what goes over the wire, made from the classes that read and write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from orchestrion.control_plane._objects.class_schema import Schema, schema_of
from orchestrion.control_plane._objects.document import API_VERSION
from orchestrion.control_plane._objects.kinds import NODE, WORKLOAD, Kind
from orchestrion.control_plane._service.bulk import BulkResult
from orchestrion.control_plane._telemetry.health import Condition
from orchestrion.control_plane._wire import RetryRequest, ScaleRequest
from orchestrion.control_plane.usage import UsageReport
from orchestrion.orchestrator_core import NodeReport, Plan, SlotPlacement
from orchestrion.shared_types.manifest import manifest_schema

from .certificate_paths import CertificateGrant
from .granting import Grant
from .identity_paths import KeyGrant, Question
from .node_paths import DrainRequest
from .parameters import NAME_PATTERN

_ANYTHING: Final[Mapping[str, Any]] = {"type": "object"}
_TEXTS: Final[Mapping[str, Any]] = {"type": "object", "additionalProperties": {"type": "string"}}
_TIME: Final[Mapping[str, Any]] = {"type": ["string", "null"], "format": "date-time"}


def _record(**properties: Any) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list_of(schema: Mapping[str, Any]) -> Schema:
    return {"type": "array", "items": dict(schema)}


def ref(name: str) -> Schema:
    """Return a reference to a schema of the description."""
    return {"$ref": f"#/components/schemas/{name}"}


_COUNT: Final = {"type": "integer", "minimum": 0}
_TEXT: Final = {"type": "string"}
_FLAG: Final = {"type": "boolean"}
_AMOUNTS: Final = _record(cpu_millicores=_COUNT, memory_bytes=_COUNT)

_PROBLEM_FIELDS: Final = _record(
    type={"type": "string", "format": "uri-reference", "description": "A page of this server that explains the code."},
    title=_TEXT,
    status={"type": "integer", "minimum": 400, "maximum": 599},
    detail=_TEXT,
    code=_TEXT,
    codes=_list_of(_TEXT),
    message=_TEXT,
    remedy=_TEXT,
    fields=_ANYTHING,
)

_PROBLEM: Final = {
    **_PROBLEM_FIELDS,
    "properties": {**_PROBLEM_FIELDS["properties"], "trace_id": _TEXT},
    "description": "What went wrong (RFC 9457): `code` for programs, `detail` for people, with what to do next.",
}

_METADATA: Final = {
    "type": "object",
    "properties": {
        "name": _TEXT,
        "namespace": _TEXT,
        "uid": _TEXT,
        "revision": _COUNT,
        "generation": _COUNT,
        "created_at": _TIME,
        "updated_at": _TIME,
        "deleting_since": _TIME,
        "labels": _TEXTS,
        "annotations": _TEXTS,
        "owners": _list_of(_ANYTHING),
        "finalizers": _list_of(_ANYTHING),
    },
    "required": ["name"],
}

_METADATA_INPUT: Final = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": NAME_PATTERN},
        "labels": _TEXTS,
        "annotations": _TEXTS,
    },
    "required": ["name"],
}

_NOTHING: Final = {"type": "object", "additionalProperties": False, "maxProperties": 0}

_STEP: Final = {
    "type": "object",
    "properties": {
        "op": {"type": "string", "enum": ["add", "remove", "replace", "move", "copy", "test"]},
        "path": _TEXT,
        "from": _TEXT,
        "value": {},
    },
    "required": ["op", "path"],
}

_WHO: Final = _record(name=_TEXT, kind=_TEXT, groups=_list_of(_TEXT), via=_TEXT)
_TOKEN: Final = _record(id=_TEXT, name=_TEXT, kind=_TEXT, created_at=_TIME, note=_TEXT)
_KEY: Final = _record(fingerprint=_TEXT, name=_TEXT, kind=_TEXT, created_at=_TIME, note=_TEXT)
_CERTIFICATE: Final = _record(
    serial=_TEXT, name=_TEXT, kind=_TEXT, created_at=_TIME, expires_at=_TIME, note=_TEXT, revoked={"type": "boolean"}
)

_CONDITION: Final = {"type": "string", "enum": [each.value for each in Condition]}

_VERSION: Final = _record(group_version=_TEXT, version=_TEXT)


def common_schemas() -> dict[str, Schema]:
    """Return by name all schemas that are not of a kind."""
    plan = schema_of(Plan)["properties"]
    items = schema_of(BulkResult)["properties"]["items"]
    numbers = dict.fromkeys(("pending", "running", "terminating", "unknown", "succeeded", "failed", "lost"), _COUNT)
    return {
        "Problem": _PROBLEM,
        "Metadata": _METADATA,
        "MetadataInput": _METADATA_INPUT,
        "ListMetadata": {
            "type": "object",
            "properties": {"revision": _COUNT, "continue": _TEXT},
            "required": ["revision"],
        },
        "MergePatch": {"type": "object", "description": "RFC 7396."},
        "JsonPatch": {**_list_of(_STEP), "description": "RFC 6902."},
        "Part": {"type": "object", "description": "All that a manager has to say of an object."},
        "Scale": _record(replicas=_COUNT, scaled={"type": "boolean"}, running=_COUNT, available=_COUNT),
        "ScaleRequest": schema_of(ScaleRequest, strict=True),
        "RetryRequest": schema_of(RetryRequest, strict=True),
        "Retried": _record(instances=_list_of(_TEXT)),
        "RolloutRequest": {
            "type": "object",
            "properties": {
                "pause": _NOTHING,
                "resume": _NOTHING,
                "promote": _NOTHING,
                "restart": _NOTHING,
                "undo": {
                    "type": "object",
                    "properties": {"generation": {"type": "integer", "minimum": 1}},
                    "additionalProperties": False,
                },
            },
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": False,
        },
        "DrainRequest": schema_of(DrainRequest, strict=True),
        "McpMessage": {
            "type": "object",
            "description": "A request or a notification of JSON-RPC 2.0, as the Model Context Protocol has it.",
            "properties": {"jsonrpc": {"const": "2.0"}, "method": _TEXT, "params": {"type": "object"}},
            "required": ["jsonrpc", "method"],
        },
        "McpAnswer": {
            "type": "object",
            "properties": {"jsonrpc": {"const": "2.0"}, "result": {"type": "object"}, "error": {"type": "object"}},
            "required": ["jsonrpc", "id"],
        },
        "Question": schema_of(Question, strict=True),
        "Verdict": _record(allowed={"type": "boolean"}, why=_TEXT),
        "Grant": schema_of(Grant, strict=True),
        "KeyGrant": schema_of(KeyGrant, strict=True),
        "Who": _WHO,
        "Rights": _record(items=_list_of(_record(verbs=_list_of(_TEXT), resources=_list_of(_TEXT), role=_TEXT))),
        "Token": _TOKEN,
        "TokenMade": {**_TOKEN, "required": [*_TOKEN["required"], "token"]},
        "Tokens": _record(items=_list_of(ref("Token"))),
        "Key": _KEY,
        "Keys": _record(items=_list_of(ref("Key"))),
        "SealingKeys": _record(current=_TEXT, keys=_list_of(_TEXT)),
        "CertificateGrant": schema_of(CertificateGrant, strict=True),
        "Certificate": _CERTIFICATE,
        "CertificateMade": {**_CERTIFICATE, "required": [*_CERTIFICATE["required"], "certificate", "key", "authority"]},
        "Certificates": _record(items=_list_of(ref("Certificate"))),
        "BuiltIn": _record(items=_list_of(_ANYTHING)),
        "Usage": schema_of(UsageReport),
        "Placements": _record(items=_list_of(schema_of(SlotPlacement))),
        "Rollout": _record(
            phase=_TEXT,
            generation=_COUNT,
            paused=_FLAG,
            canary=_COUNT,
            done=_FLAG,
            history=_list_of(_ANYTHING),
        ),
        "Alive": _record(status={"const": "ok"}),
        "Health": _record(status=_CONDITION, parts={"type": "object", "additionalProperties": _CONDITION}),
        "Bulk": {"description": "An object, a list of objects under `items`, or a manifest.", "type": "object"},
        "BulkResult": schema_of(BulkResult),
        "BulkPlan": _record(items=items, **plan),
        "Versions": _record(kind=_TEXT, versions=_list_of(_TEXT)),
        "Groups": _record(
            kind=_TEXT,
            groups=_list_of(_record(name=_TEXT, versions=_list_of(_VERSION), preferred_version=_VERSION)),
        ),
        "Kinds": _record(
            kind=_TEXT,
            group_version=_TEXT,
            resources=_list_of(_record(name=_TEXT, kind=_TEXT, namespaced={"type": "boolean"}, verbs=_list_of(_TEXT))),
        ),
        "ClusterStatus": _record(
            nodes=_record(total=_COUNT, ready=_COUNT, not_ready=_COUNT),
            workloads=_COUNT,
            instances=_record(total=_COUNT, **numbers),
            capacity=_AMOUNTS,
            allocatable=_AMOUNTS,
        ),
    }


def kind_schemas(kind: Kind) -> dict[str, Schema]:
    """Return by name the schemas of a kind: its objects, what clients send of them, and a page."""
    definitions, spec = _spec_schema(kind)
    api_version, name = {"const": API_VERSION}, {"const": kind.name}
    found = {
        kind.name: _record(
            api_version=api_version, kind=name, metadata=ref("Metadata"), spec=_ANYTHING, status=_ANYTHING
        ),
        f"{kind.name}List": _record(
            kind={"const": f"{kind.name}List"}, metadata=ref("ListMetadata"), items=_list_of(ref(kind.name))
        ),
        **definitions,
    }
    if kind.written:
        found[f"{kind.name}Spec"] = spec
        properties = {
            "api_version": api_version,
            "kind": name,
            "metadata": ref("MetadataInput"),
            "spec": ref(f"{kind.name}Spec"),
        }
        found[f"{kind.name}Input"] = {"type": "object", "properties": properties, "required": ["metadata", "spec"]}
    elif kind is NODE:
        said = {"type": "object", "properties": {"report": schema_of(NodeReport, strict=True)}}
        properties = {"api_version": api_version, "kind": name, "status": said}
        found["NodeInput"] = {"type": "object", "properties": properties, "required": ["status"]}
    return found


def _spec_schema(kind: Kind) -> tuple[dict[str, Schema], Schema]:
    """Return the schema of a kind's spec, and the named ones that it needs."""
    if kind is WORKLOAD:
        named = manifest_schema()["$defs"]
        moved: dict[str, Any] = {f"manifest.{name}": _moved(schema) for name, schema in named.items()}
        spec = moved.pop("manifest.workload")
        properties = {key: value for key, value in spec["properties"].items() if key not in ("labels", "annotations")}
        return moved, {**spec, "properties": properties}
    if kind.custom is not None:
        # An id of its own makes its references mean what they mean where it was written.
        return {}, {"$id": f"urn:orchestrion:kind:{kind.name}", **kind.custom.schema} if kind.schema else {
            "type": "object"
        }
    return {}, schema_of(kind.spec, strict=True) if kind.spec is not None else dict(_ANYTHING)


def _moved(schema: Any) -> Any:
    """Return a schema of the manifest whose references lead to where its definitions are here."""
    if isinstance(schema, list):
        return [_moved(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        key: f"#/components/schemas/manifest.{value.removeprefix('#/$defs/')}" if key == "$ref" else _moved(value)
        for key, value in schema.items()
    }
