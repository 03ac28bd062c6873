"""Writing workloads: as objects, through the orchestrator, which keeps them in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define, evolve
from orchestrion.control_plane._objects.claims import claims_of, with_claims
from orchestrion.control_plane._objects.document import Document
from orchestrion.control_plane._objects.kinds import WORKLOAD
from orchestrion.control_plane._objects.proposal import check_precondition, read_document
from orchestrion.control_plane._objects.workload_form import definition_of, workload_of
from orchestrion.orchestrator_core import Beside, Gate, Orchestrator, ProposedChange, WorkloadName
from orchestrion.shared_types import (
    PRIORITY_CLASSES,
    Conflict,
    Finalizer,
    WorkloadDefinition,
)
from orchestrion.store_interface import Compare, Operation

from .intent import Admit, ChangeKind, Edit, Intent, Review, admit_all
from .reading import no_such


@define(eq=False)
class WorkloadWriter:
    """Writes workloads.

    Attributes:
        orchestrator: Keeps and runs them.
        admit: Looks at each change.
        quota: Has its say in the transaction that writes.
    """

    orchestrator: Orchestrator
    admit: Admit = admit_all
    quota: Gate | None = None

    async def create(self, namespace: str, data: Any, intent: Intent) -> int:
        """Want a new workload; return the revision at which it is on record, or 0 for a dry run.

        Raises:
            ConfigInvalid: It can't be accepted.
            Conflict: There is one of that name.
        """
        document = read_document(data, WORKLOAD, namespace, None)
        name = document.metadata.name

        async def gate(changes: Sequence[ProposedChange], world: Any) -> Beside:
            if changes[0].before is not None:
                msg = f"there is a Workload {name!r} in namespace {namespace!r} already"
                raise Conflict(msg, remedy="Change that one, or choose another name.")
            return await self._asked(changes, world)

        return await self._apply(ChangeKind.CREATE, document, None, intent, gate)

    async def change(self, namespace: str, name: str, edit: Edit, intent: Intent) -> int:
        """Want a workload otherwise; return the revision at which it is on record, 0 where nothing was written.

        Raises:
            WorkloadNotFound: There is none of that name.
            ConfigInvalid: It can't be accepted.
            PreconditionFailed: It is not what the caller takes it for.
        """
        before = self.document(namespace, name)
        given = read_document(edit(before.plain()), WORKLOAD, namespace, name)
        check_precondition(before, given, intent.if_revision)
        expected = before.metadata.revision

        async def gate(changes: Sequence[ProposedChange], world: Any) -> Beside:
            if changes[0].revision != expected:
                now = self.document(namespace, name)
                check_precondition(now, given, intent.if_revision if intent.if_revision is not None else expected)
            return await self._asked(changes, world)

        return await self._apply(ChangeKind.UPDATE, given, before, intent, gate)

    async def remove(self, namespace: str, name: str, intent: Intent) -> None:
        """Begin to remove a workload.

        Raises:
            WorkloadNotFound: There is none of that name.
            PreconditionFailed: It is not what the caller takes it for.
            Conflict: Workloads that stay come after it.
        """
        document = self.document(namespace, name)
        check_precondition(document, None, intent.if_revision)
        await self.admit(
            Review(change=ChangeKind.DELETE, kind=WORKLOAD, document=document, before=document, intent=intent)
        )
        if not intent.dry_run:
            await self._claim(document, claims_of(WORKLOAD, intent.cascade))
            await self.orchestrator.remove(name, namespace=namespace)

    async def _claim(self, document: Document, claims: tuple[Finalizer, ...]) -> None:
        """Put the server's claims on a workload that is about to be removed."""
        if claims:
            metadata = document.metadata
            await self.orchestrator.relate(
                metadata.name,
                lambda now: evolve(now, finalizers=with_claims(now.finalizers, claims)),
                namespace=metadata.namespace,
            )

    def document(self, namespace: str, name: str) -> Document:
        """Return a workload as a document, without its status.

        Raises:
            NotFound: There is none of that name.
        """
        record = self.orchestrator.world.workloads.get(WorkloadName(namespace, name))
        if record is None or record.spec is None:
            raise no_such(WORKLOAD, namespace, name)
        return workload_of(record.spec.definition).at(record.spec_revision)

    async def _apply(
        self, change: ChangeKind, document: Document, before: Document | None, intent: Intent, gate: Gate
    ) -> int:
        reviewed = await self.admit(
            Review(change=change, kind=WORKLOAD, document=document, before=before, intent=intent)
        )
        definition = self.definition(reviewed)
        result = await self.orchestrator.apply([definition], dry_run=intent.dry_run, gate=gate)
        return result.revision

    async def _asked(self, changes: Sequence[ProposedChange], world: Any) -> Beside:
        compares, operations = list[Compare](), list[Operation]()
        if self.quota is not None:
            beside = await self.quota(changes, world)
            compares.extend(beside.compares)
            operations.extend(beside.operations)
        return Beside(compares=tuple(compares), operations=tuple(operations))

    def definition(self, document: Document) -> WorkloadDefinition:
        """Return the definition that a document stands for.

        Raises:
            ConfigInvalid: It can't be accepted; problems have their paths in the document.
        """
        metadata = document.metadata
        others = [
            record.spec.definition
            for name, record in self.orchestrator.world.workloads.items()
            if record.spec is not None and name.namespace == metadata.namespace and name.name != metadata.name
        ]
        return definition_of(document, others, PRIORITY_CLASSES)
