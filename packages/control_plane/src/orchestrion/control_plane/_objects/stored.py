"""How objects of most kinds are kept in the store: each under one key, with what tells its fields' owners."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from attrs import evolve, field, frozen
from orchestrion.shared_types import ConfigInvalid, Problem, from_json, unstructure
from orchestrion.store_interface import MAX_VALUE_BYTES, Entry, Put

from .document import API_VERSION, Document, encoded
from .kinds import Kind

OBJECT_PREFIX: Final = "/object/"

MASKED: Final = "***"


@frozen(kw_only=True)
class StoredObject:
    """An object as it is kept.

    Attributes:
        document: The object; its revision is not kept with it.
        applied: What each manager has applied of the spec; see field owners.
        sealed: What is kept secret of it, sealed; empty for most kinds.
    """

    document: Document
    applied: Mapping[str, Mapping[str, Any]] = field(factory=dict)
    sealed: Mapping[str, str] = field(factory=dict)

    def shown(self) -> Document:
        """Return the object as it may be shown: secret texts are masked."""
        if not self.sealed:
            return self.document
        spec = {**self.document.spec, "data": dict.fromkeys(self.sealed, MASKED)}
        return evolve(self.document, spec=spec)

    def put(self, key: str) -> Put:
        """Return the operation that writes it.

        Raises:
            ConfigInvalid: It is larger than a store takes.
        """
        document = self.document
        metadata = unstructure(document.metadata)
        metadata.pop("revision", None)
        kept: dict[str, Any] = {"document": {"kind": document.kind, "metadata": metadata}}
        for name in ("spec", "status"):
            if getattr(document, name):
                kept["document"][name] = getattr(document, name)
        if document.api_version != API_VERSION:
            kept["document"]["api_version"] = document.api_version
        if self.applied:
            kept["applied"] = self.applied
        if self.sealed:
            kept["sealed"] = self.sealed
        value = encoded(kept)
        if len(value) > MAX_VALUE_BYTES:
            text = (
                f"{document.kind} {document.metadata.name!r} takes {len(value):,} bytes together with who says what"
                f" of it; {MAX_VALUE_BYTES:,} is the most"
            )
            raise ConfigInvalid((Problem(text),), remedy="Divide it into several, or keep less in it.")
        return Put(key, value)


def object_key(kind: Kind, namespace: str, name: str) -> str:
    """Return the key of an object."""
    return f"{collection_key(kind, namespace)}{quote(name, safe='')}"


def collection_key(kind: Kind, namespace: str | None) -> str:
    """Return what the keys of a kind's objects begin with, in one namespace or, with None, in all."""
    if namespace is None:
        return f"{OBJECT_PREFIX}{kind.plural}/"
    return f"{OBJECT_PREFIX}{kind.plural}/{namespace or '-'}/"


def object_of(entry: Entry) -> StoredObject:
    """Return the object that an entry holds, with its revision."""
    stored = from_json(entry.value, StoredObject)
    return evolve(stored, document=stored.document.at(entry.modified))


def shown_plain(entry: Entry) -> dict[str, Any]:
    """Return what `object_of(entry).shown().plain()` is, without making values of all that is in it.

    The entry was written by `StoredObject.put`, so that nothing of it has to be checked again.
    """
    kept = json.loads(entry.value)
    document = kept["document"]
    spec = document.get("spec", {})
    if "sealed" in kept:
        spec = {**spec, "data": dict.fromkeys(kept["sealed"], MASKED)}
    return {
        "api_version": document.get("api_version", API_VERSION),
        "kind": document["kind"],
        "metadata": {**document["metadata"], "revision": entry.modified},
        "spec": spec,
        "status": document.get("status", {}),
    }
