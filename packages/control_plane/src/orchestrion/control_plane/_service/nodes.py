"""Nodes as objects: what the cluster manager knows of them, written down when it changes."""

from __future__ import annotations

from attrs import define, field
from orchestrion.control_plane._objects.document import Document, ObjectMetadata
from orchestrion.control_plane._objects.kinds import NODE
from orchestrion.control_plane._objects.stored import StoredObject, object_key, object_of
from orchestrion.orchestrator_core import Orchestrator
from orchestrion.shared_types import Node, NodeId, Uid, unstructure
from orchestrion.store_interface import ABSENT, Delete, RevisionConflict

from .turns import Turns
from .writing import Writer

_TRIES = 3


@define(eq=False, repr=False)
class NodeMirror:
    """Keeps the objects of nodes as the nodes are. What is as it was is not written.

    All who write the object of a node do it here, one after the other: so nobody writes down a node that another has
    taken away meanwhile.
    """

    _writer: Writer
    _orchestrator: Orchestrator
    _turns: Turns = field(factory=Turns, init=False)

    async def put(self, node_id: NodeId) -> bool:
        """Write a node down as it is now; return whether it is there, and leave it alone where it is not.

        Who learns that it is gone calls `remove` behind that, which waits for this.
        """
        store, key = self._writer.store, object_key(NODE, "", node_id)
        async with self._turns.of(node_id):
            for _ in range(_TRIES):
                entry = (await store.get(key)).entry
                node = await self._shown(node_id)
                if node is None:
                    return False
                before = object_of(entry).document if entry is not None else None
                document = self._document(node, before)
                if before is not None and document == before.at(0):
                    return True
                put = StoredObject(document=document).put(key)
                try:
                    await store.put(key, put.value, expected=ABSENT if entry is None else entry.modified)
                except RevisionConflict:
                    continue
                return True
        return True

    async def remove(self, node_id: NodeId) -> None:
        """Take the object of a node away that is gone; one that is there again by now is left as it is."""
        key = object_key(NODE, "", node_id)
        async with self._turns.of(node_id):
            if await self._shown(node_id) is None and (await self._writer.store.get(key)).entry is not None:
                await self._writer.store.transaction([], [Delete(key)])

    async def _shown(self, node_id: NodeId) -> Node | None:
        return next((each for each in await self._orchestrator.list_nodes() if each.id == node_id), None)

    def _document(self, node: Node, before: Document | None) -> Document:
        now = self._writer.now()
        plain = unstructure(node)
        status = {"status": node.status.value, "conditions": plain.pop("conditions", [])}
        report = self._orchestrator.world.reports.get(node.id)
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
