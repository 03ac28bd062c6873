"""An object as a document: the same shape for every kind, on the wire and in the store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from attrs import evolve, field, frozen
from orchestrion.shared_types import Metadata, from_json, unstructure

API_VERSION: Final = "orchestrion/v1"

CLUSTER_WIDE: Final = ""
"""The namespace of objects that are in none."""


@frozen(kw_only=True)
class ObjectMetadata(Metadata):
    """Identity and history of an object of any kind.

    Attributes:
        namespace: The namespace; empty for cluster-wide kinds.
        deleting_since: When it was asked to go (UTC), while finalizers or what it runs still hold it; None before.
    """

    namespace: str = CLUSTER_WIDE
    deleting_since: datetime | None = None


@frozen(kw_only=True)
class Document:
    """An object.

    Attributes:
        kind: What it is, such as "ConfigMap".
        metadata: Which one, and its history.
        spec: What its author wants; plain JSON data.
        status: How it is; plain JSON data, empty for kinds that have none.
        api_version: The version of this form.
    """

    kind: str
    metadata: ObjectMetadata
    spec: Mapping[str, Any] = field(factory=dict)
    status: Mapping[str, Any] = field(factory=dict)
    api_version: str = API_VERSION

    @property
    def labels(self) -> Mapping[str, str]:
        """What selects it."""
        return self.metadata.labels

    def at(self, revision: int) -> Document:
        """Return the same with the revision of its last write."""
        return evolve(self, metadata=evolve(self.metadata, revision=revision))

    def plain(self) -> dict[str, Any]:
        """Return it as plain data; every part is there, also an empty one."""
        return {
            "api_version": self.api_version,
            "kind": self.kind,
            "metadata": unstructure(self.metadata),
            "spec": dict(self.spec),
            "status": dict(self.status),
        }

    def encoded(self) -> bytes:
        """Return it as JSON."""
        return encoded(self.plain())


_encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def encoded(plain: Mapping[str, Any]) -> bytes:
    """Return plain data as one line of compact JSON, without looking for values in it that would be none."""
    return _encoder.encode(plain).encode()


def decoded(data: bytes) -> Document:
    """Return the object that a JSON text stands for.

    Raises:
        ConfigInvalid: It is none.
    """
    return from_json(data, Document)
