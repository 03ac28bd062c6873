"""Manifests: what an author writes, from YAML or JSON to workloads and back, and its JSON Schema.

It needs the extra `manifest`.
"""

from ._load import (
    SUFFIXES,
    Manifest,
    check_manifest,
    load_manifest,
    load_manifests,
    parse_manifest,
    plain_documents,
    read_manifest,
)
from ._placed import PlacedDocument, placed_documents
from ._schema import manifest_schema
from ._write import to_manifest, to_yaml
from ._yaml import MAX_BYTES, MAX_DEPTH, MAX_NODES

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_NODES",
    "SUFFIXES",
    "Manifest",
    "PlacedDocument",
    "check_manifest",
    "load_manifest",
    "load_manifests",
    "manifest_schema",
    "parse_manifest",
    "placed_documents",
    "plain_documents",
    "read_manifest",
    "to_manifest",
    "to_yaml",
]
