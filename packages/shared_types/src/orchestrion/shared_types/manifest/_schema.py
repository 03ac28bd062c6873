"""The JSON Schema of the manifest."""

from __future__ import annotations

from typing import Any

from ._form import MANIFEST
from ._shape import Schema


def manifest_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of one document of a manifest.

    All that the loader accepts is valid by it, and what is not valid by it is refused by the loader; the loader also
    refuses more, such as a fraction of a byte or a volume that is not declared.
    """
    definitions: dict[str, Schema] = {}
    MANIFEST.schema(definitions)
    root = definitions.pop(MANIFEST.name)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Orchestrion manifest",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }
