"""Nodes as objects: what the cluster manager knows of them, written down when it changes."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define
from orchestrion.control_plane._objects.document import Document, ObjectMetadata
from orchestrion.control_plane._objects.kinds import NODE
from orchestrion.control_plane._objects.stored import StoredObject, object_key, object_of
from orchestrion.orchestrator_core import NodeReport
from orchestrion.shared_types import Node, NodeId, Uid, unstructure
from orchestrion.store_interface import ABSENT, Delete, RevisionConflict

from .writing import Writer

_TRIES = 3


@define(eq=False)
class NodeMirror:
    """Keeps the objects of nodes as the nodes are. What is as it was is not written."""

    _writer: Writer
    _reports: Mapping[NodeId, NodeReport]

    async def put(self, node: Node) -> None:
        """Write a node down as it is now."""
        store, key = self._writer.store, object_key(NODE, "", node.id)
        for _ in range(_TRIES):
            entry = (await store.get(key)).entry
            before = object_of(entry).document if entry is not None else None
            document = self._document(node, before)
            if before is not None and document == before.at(0):
                return
            put = StoredObject(document=document).put(key)
            try:
                await store.put(key, put.value, expected=ABSENT if entry is None else entry.modified)
            except RevisionConflict:
                continue
            return

    async def remove(self, node_id: str) -> None:
        """Take the object of a node away that is gone."""
        await self._writer.store.transaction([], [Delete(object_key(NODE, "", node_id))])

    def _document(self, node: Node, before: Document | None) -> Document:
        now = self._writer.now()
        plain = unstructure(node)
        status = {"status": node.status.value, "conditions": plain.pop("conditions", [])}
        report = self._reports.get(node.id)
        if report is not None:
            status["report"] = unstructure(report)
        plain.pop("status", None)
        labels = plain.pop("labels", {})
        if before is not None:
            same = dict(before.spec) == plain and dict(before.status) == status
            if same and dict(before.metadata.labels) == labels:
                return before.at(0)
            metadata = before.metadata
            return Document(
                kind=NODE.name,
                metadata=ObjectMetadata(
                    name=node.id,
                    uid=metadata.uid,
                    generation=metadata.generation + (0 if dict(before.spec) == plain else 1),
                    created_at=metadata.created_at,
                    updated_at=now,
                    labels=labels,
                ),
                spec=plain,
                status=status,
            )
        metadata = ObjectMetadata(
            name=node.id, uid=Uid(self._writer.new_uid()), generation=1, created_at=now, updated_at=now, labels=labels
        )
        return Document(kind=NODE.name, metadata=metadata, spec=plain, status=status)
