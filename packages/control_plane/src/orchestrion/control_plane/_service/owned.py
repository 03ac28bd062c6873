"""Workloads that are applied as definitions, with regard to who says what of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from attrs import define, evolve, frozen
from orchestrion.control_plane._objects.document import Document
from orchestrion.control_plane._objects.field_owners import apply
from orchestrion.control_plane._objects.json_values import JsonObject
from orchestrion.control_plane._objects.other_words import in_words_of_others
from orchestrion.control_plane._objects.workload_form import definition_of, workload_of
from orchestrion.orchestrator_core import Beside, Gate, Orchestrator, ProposedChange, WorkloadName
from orchestrion.shared_types import WorkloadDefinition

from .sets import check_set
from .workload_fields import CONTROL, Fields, WorkloadFields
from .workloads import Overtaken


@frozen
class Owned:
    """A definition as it shall be.

    Attributes:
        definition: What its manager says, with what others say beside it.
        revision: The revision of the workload that this was thought about; 0 where it is new.
        fields: Whose fields are to be whose; None where nobody says anything but who writes past the API of objects,
            which needs no record.
    """

    definition: WorkloadDefinition
    revision: int
    fields: Fields | None


async def owned(
    orchestrator: Orchestrator, workloads: Sequence[WorkloadDefinition], manager: str, *, force: bool
) -> list[Owned]:
    """Return definitions as they shall be after a manager has applied them.

    Raises:
        ConfigInvalid: What all say together can't be accepted.
        Conflict: Others say something else, or a workload is of another set, and `force` is False.
    """
    kept, known = WorkloadFields(orchestrator.store), orchestrator.world.workloads
    found = list[Owned]()
    for given in workloads:
        name = WorkloadName(given.metadata.namespace, given.metadata.name)
        record = known.get(name)
        before = None
        if record is not None and record.spec is not None:
            before = workload_of(record.spec.definition).at(record.revision)
            check_set(before, given, force=force)
        fields = await kept.read(name.namespace, name.name, before)
        if manager == CONTROL and fields.applied.keys() <= {CONTROL}:
            found.append(Owned(given, 0, None))
            continue
        document = workload_of(given)
        others = [each for each in workloads if each is not given]
        others += [each.spec.definition for each in known.values() if each.spec is not None and each.name != name]
        others = [each for each in others if each.metadata.namespace == name.namespace]
        wanted = in_words_of_others(fields.applied, manager, dict(document.spec), partial(_meaning, document, others))
        made = apply(fields.applied, manager, wanted, force=force)
        definition = given
        if made.spec != document.spec:
            definition = evolve(_read(document, others, made.spec), metadata=given.metadata)
        revision = before.metadata.revision if before is not None else 0
        found.append(Owned(definition, revision, fields.saying(made.applied)))
    return found


def _read(document: Document, others: Sequence[WorkloadDefinition], spec: JsonObject) -> WorkloadDefinition:
    return definition_of(evolve(document, spec=spec), others, None)


def _meaning(document: Document, others: Sequence[WorkloadDefinition], spec: JsonObject) -> JsonObject:
    return dict(workload_of(_read(document, others, spec)).spec)


@define(eq=False)
class OwnersGate:
    """Writes with each change who says what of it then.

    Attributes:
        orchestrator: Keeps the workloads.
        owned: What is applied, in order.
        gate: Has its say as well.
        creating: Called before one is made that is not there; raises where who asks may only change what is.
    """

    orchestrator: Orchestrator
    owned: Sequence[Owned]
    gate: Gate
    creating: Callable[[WorkloadName], None]

    async def __call__(self, changes: Sequence[ProposedChange], world: Any, /) -> Beside:
        """Return what is written besides.

        Raises:
            Overtaken: Others came before.
            Denied: Who asks may not make one that is not there.
        """
        for change in changes:
            if change.before is None:
                self.creating(WorkloadName(change.after.metadata.namespace, change.after.metadata.name))
        asked = await self.gate(changes, world)
        kept = WorkloadFields(self.orchestrator.store)
        compares, operations = list(asked.compares), list(asked.operations)
        for one, change in zip(self.owned, changes, strict=True):
            if one.fields is None:
                continue
            if change.revision != one.revision or await kept.revision_of(one.fields) != one.fields.expected:
                raise Overtaken("it was changed meanwhile")
            beside = one.fields.beside(change.after.metadata.uid, change.generation)
            compares.extend(beside.compares)
            operations.extend(beside.operations)
        return Beside(compares=tuple(compares), operations=tuple(operations))
