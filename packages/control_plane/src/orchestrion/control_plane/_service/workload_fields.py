"""Who says what of workloads: kept beside them, under keys of their own.

| key | value |
|---|---|
| `/fields/workload/{namespace}/{name}` | `FieldRecord` |
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from attrs import evolve, frozen
from orchestrion.control_plane._objects.document import Document
from orchestrion.control_plane._objects.field_owners import replace
from orchestrion.orchestrator_core import Beside, write_together
from orchestrion.shared_types import Uid, from_json, to_json
from orchestrion.store_interface import ABSENT, Compare, Delete, Put, Revision, RevisionConflict, StateStore

PREFIX: Final = "/fields/workload/"

CONTROL: Final = "control"
"""Whose fields are what was written past the API of objects, as a whole."""


@frozen(kw_only=True)
class FieldRecord:
    """Who says what of a workload.

    Attributes:
        uid: The workload that it is of; of another one of that name it says nothing.
        generation: The workload's generation that it is about; after that it was written past this record.
        applied: By manager its part.
    """

    uid: Uid
    generation: int
    applied: Mapping[str, Mapping[str, Any]]


@frozen(kw_only=True)
class Fields:
    """What is on record about a workload's fields, and what shall be.

    Attributes:
        key: Of the record.
        expected: The revision of its last write.
        record: The record as it was read, or None.
        applied: By manager its part, as it is, or as it shall be.
    """

    key: str
    expected: Revision
    record: FieldRecord | None
    applied: Mapping[str, dict[str, Any]]

    def saying(self, applied: Mapping[str, dict[str, Any]]) -> Fields:
        """Return the same with what shall be."""
        return evolve(self, applied=applied)

    def beside(self, uid: Uid, generation: int) -> Beside:
        """Return what is written for it with a workload of this uid, which then has this generation."""
        record = FieldRecord(uid=uid, generation=generation, applied=self.applied)
        if record == self.record:
            return Beside()
        return Beside(compares=(Compare(self.key, self.expected),), operations=(Put(self.key, to_json(record)),))


@frozen
class WorkloadFields:
    """Reads and tidies these records.

    Attributes:
        store: Where they are.
    """

    store: StateStore

    async def read(self, namespace: str, name: str, workload: Document | None) -> Fields:
        """Return what is on record about a workload's fields; None is one that is not there yet."""
        key = key_of(namespace, name)
        entry = (await self.store.get(key)).entry
        record = from_json(entry.value, FieldRecord) if entry is not None else None
        return Fields(
            key=key,
            expected=ABSENT if entry is None else entry.modified,
            record=record,
            applied={} if workload is None else _parts(record, workload),
        )

    async def revision_of(self, fields: Fields) -> Revision:
        """Return the revision of the last write of a record."""
        entry = (await self.store.get(fields.key)).entry
        return ABSENT if entry is None else entry.modified

    async def forget(self, namespace: str, name: str) -> None:
        """Take the record of a workload away that is gone; where one of that name was made anew, it is that one's."""
        key, workload = key_of(namespace, name), f"/workload/{namespace}/{name}/spec"
        entry = (await self.store.get(key)).entry
        if entry is not None:
            with suppress(RevisionConflict):
                await write_together(
                    self.store, [Compare(key, entry.modified), Compare(workload, ABSENT)], [Delete(key)]
                )


def key_of(namespace: str, name: str) -> str:
    """Return the key of a workload's record."""
    return f"{PREFIX}{namespace}/{name}"


def _parts(record: FieldRecord | None, workload: Document) -> dict[str, dict[str, Any]]:
    metadata = workload.metadata
    if record is None or record.uid != metadata.uid:
        return {CONTROL: dict(workload.spec)}
    parts = {manager: dict(part) for manager, part in record.applied.items()}
    if record.generation != metadata.generation:
        parts = dict(replace(parts, CONTROL, dict(workload.spec)).applied)
    return parts
