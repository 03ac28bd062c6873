"""The schemas of kinds: what authors write, of those that there always are."""

from __future__ import annotations

from typing import Any

from orchestrion.shared_types import NotFound
from orchestrion.shared_types.manifest import manifest_schema

from ._objects.class_schema import Schema, schema_of
from ._objects.document import API_VERSION
from ._objects.kinds import WORKLOAD, Kind, KindRegistry

__all__ = ["custom_kind_schema", "kind_schema"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def kind_schema(name: str, /) -> Schema:
    """Return the JSON Schema (2020-12) of what authors write of a kind that there always is.

    Args:
        name: Such as "ResourceQuota".

    Raises:
        NotFound: There is no such kind, or nobody writes its objects.
    """
    kind = KindRegistry().named(name)
    if not kind.written:
        msg = f"nobody writes objects of the kind {name}: they show what there is"
        raise NotFound(msg, remedy=f"Look at them: orchestrion get {kind.plural}")
    if kind is not WORKLOAD:
        return _document(kind, {} if kind.spec is None else schema_of(kind.spec, strict=True), {})
    definitions = dict(manifest_schema()["$defs"])
    spec = definitions.pop("workload")
    properties = {key: value for key, value in spec["properties"].items() if key not in ("labels", "annotations")}
    return _document(kind, {**spec, "properties": properties}, definitions)


def custom_kind_schema(spec: dict[str, Any], /) -> Schema:
    """Return the JSON Schema (2020-12) of what authors write of a kind that users have defined.

    Args:
        spec: The spec of the CustomKind, as plain data.
    """
    schema = dict(spec.get("schema") or {"type": "object"})
    definitions = schema.pop("$defs", {})
    kind = Kind(name=spec["kind"], plural=spec["plural"], namespaced=bool(spec.get("namespaced", True)))
    return _document(kind, schema, definitions)


def _document(kind: Kind, spec: Schema, definitions: Schema) -> Schema:
    texts = {"type": "object", "additionalProperties": {"type": "string"}}
    metadata: Schema = {
        "name": {"type": "string", "description": "What it is called; another of its kind is not called so."},
        "labels": {**texts, "description": "What selects it."},
        "annotations": {**texts, "description": "What is noted of it."},
    }
    if kind.namespaced:
        metadata["namespace"] = {"type": "string", "description": "Where it is; unless said, where it is sent to."}
    found: Schema = {
        "$schema": _DIALECT,
        "title": kind.name,
        "type": "object",
        "properties": {
            "api_version": {"const": API_VERSION, "description": "The version of this form."},
            "kind": {"const": kind.name, "description": "What it is."},
            "metadata": {
                "type": "object",
                "properties": metadata,
                "required": ["name"],
                "description": "Which one it is.",
            },
            "spec": {"description": "What its author wants.", **spec},
        },
        "required": ["kind", "metadata", "spec"],
    }
    if definitions:
        found["$defs"] = definitions
    return found
