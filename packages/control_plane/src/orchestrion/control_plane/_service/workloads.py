"""Writing workloads: as objects, through the orchestrator, which keeps them in its own way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import Any

from attrs import define, evolve, field, frozen
from orchestrion.control_plane._identity.access import Access
from orchestrion.control_plane._objects.claims import claims_of, kept_claims, with_claims
from orchestrion.control_plane._objects.document import Document
from orchestrion.control_plane._objects.field_owners import apply, hand_on, replace, revise
from orchestrion.control_plane._objects.json_values import JsonObject
from orchestrion.control_plane._objects.kinds import WORKLOAD
from orchestrion.control_plane._objects.other_words import in_words_of_others
from orchestrion.control_plane._objects.proposal import check_absent, check_precondition, joined, read_document
from orchestrion.control_plane._objects.workload_form import definition_of, workload_of
from orchestrion.orchestrator_core import (
    Beside,
    Gate,
    Orchestrator,
    ProposedChange,
    WorkloadName,
    no_gate,
)
from orchestrion.shared_types import (
    PRIORITY_CLASSES,
    Conflict,
    WorkloadDefinition,
)
from orchestrion.store_interface import Revision, RevisionConflict

from .intent import BESIDE, Act, Admit, ChangeKind, Edit, Intent, May, Review, act_freely, admit_all, everybody
from .reading import no_such
from .requested import asked_twice, check_once, with_request
from .sets import check_set
from .starting import Starter
from .turns import Turns
from .workload_fields import Fields, WorkloadFields

TRIES = 8
"""How often a change is tried again that others came before: those of other servers, who wait for no turn here."""


class Overtaken(Conflict):
    """Others have changed a workload while a change of it was thought through."""


@frozen
class PreparedWorkload:
    """A write of a workload that was thought through, and not done yet.

    Attributes:
        definition: What is wanted.
        before: The workload as it is; None where it is new.
        fields: Whose fields are to be whose.
    """

    definition: WorkloadDefinition
    before: Document | None
    fields: Fields


def no_turn(_namespaces: Iterable[str]) -> AbstractAsyncContextManager[None]:
    """Wait for nobody."""
    return nullcontext()


@define(eq=False)
class WorkloadWriter:
    """Writes workloads.

    Attributes:
        orchestrator: Keeps and runs them.
        admit: Looks at each change.
        quota: Has its say in the transaction that writes.
        turn: Waits for one's turn to write into namespaces; it only saves tries.
        act: Looks at what is done with a workload that stays as it was written.
        turns: Whose turn it is to change a workload.
        may: Says whether somebody may do something that only is known here to be done.
    """

    orchestrator: Orchestrator
    admit: Admit = admit_all
    quota: Gate = no_gate
    turn: Callable[[Iterable[str]], AbstractAsyncContextManager[None]] = no_turn
    act: Act = act_freely
    turns: Turns = field(factory=Turns, kw_only=True)
    may: May = everybody

    @property
    def starter(self) -> Starter:
        """Which workloads start by being applied."""
        return Starter(self.orchestrator, self.may, self.act)

    @property
    def fields(self) -> WorkloadFields:
        """Whose fields are whose."""
        return WorkloadFields(self.orchestrator.store)

    async def create(self, namespace: str, data: Any, intent: Intent) -> Document:
        """Want a new workload; return it as it is on record then, or would be.

        Raises:
            ConfigInvalid: It can't be accepted.
            Conflict: There is one of that name.
        """
        document = read_document(data, WORKLOAD, namespace, None)
        name = document.metadata.name
        applied = replace({}, intent.manager, dict(document.spec)).applied
        fields = await self.fields.read(namespace, name, None)
        prepared = await self._prepared(document, None, fields.saying(applied), intent)
        try:
            if self._found(namespace, name) is None:
                return await self._write(prepared, intent)
        except Overtaken:
            pass  # by another one who makes it
        await check_once(self.orchestrator.store, intent)
        msg = f"there is a Workload {name!r} in namespace {namespace!r} already"
        raise Conflict(msg, remedy="Change that one, or choose another name.")

    async def change(self, namespace: str, name: str, edit: Edit, intent: Intent) -> Document:
        """Want a workload otherwise; return it as it is on record then, or would be.

        Args:
            namespace: Its namespace.
            name: Its name.
            edit: From the object as plain data to what it should be; called again where others came before.
            intent: How it is meant.

        Raises:
            NotFound: There is none of that name.
            ConfigInvalid: It can't be accepted.
            PreconditionFailed: It is not what the caller takes it for.
            Conflict: Others kept changing it.
        """
        async with self._own_turn(namespace, name, intent):
            for _ in range(TRIES):
                before = self.document(namespace, name)
                given = read_document(edit(before.plain()), WORKLOAD, namespace, name)
                check_precondition(before, given, intent.if_revision)
                fields = await self.fields.read(namespace, name, before)
                prepared = await self._prepared(given, before, fields, intent)
                was, will = dict(before.spec), dict(workload_of(prepared.definition).spec)
                if intent.hands_on:
                    applied = hand_on(fields.applied, was, will, intent.manager)
                else:
                    applied = revise(fields.applied, intent.manager, was, dict(given.spec), will)
                try:
                    return await self._write(evolve(prepared, fields=fields.saying(applied)), intent)
                except Overtaken:
                    continue
            raise _busy(name)

    async def restart(self, namespace: str, name: str, intent: Intent) -> None:
        """Replace all instances of a workload by new ones that run the same; who says what of it stays.

        Raises:
            NotFound: There is none of that name.
            PreconditionFailed: It is not what the caller takes it for.
            ConfigInvalid: It is batch work.
            Conflict: It can't be restarted as it is, or others kept changing it.
        """
        async with self._own_turn(namespace, name, intent):
            for _ in range(TRIES):
                before = self.document(namespace, name)
                check_precondition(before, None, intent.if_revision)
                fields = await self.fields.read(namespace, name, before)
                prepared = await self._prepared(before, before, fields, intent, action="restart")
                try:
                    async with self.turn((namespace,)):
                        await self.orchestrator.restart(
                            name,
                            namespace=namespace,
                            dry_run=intent.dry_run,
                            gate=partial(self.beside, [prepared], intent=intent),
                        )
                except Overtaken:
                    continue
                return
            raise _busy(name)

    async def apply(self, namespace: str, name: str, part: Any, intent: Intent) -> tuple[Document, bool]:
        """Apply a manager's part of a workload.

        Returns:
            The workload as it is on record then, or would be, and whether it is new.

        Raises:
            ConfigInvalid: It can't be accepted.
            PreconditionFailed: It is not what the caller takes it for.
            Conflict: Others say something else, or kept changing it.
        """
        async with self._own_turn(namespace, name, intent):
            for _ in range(TRIES):
                prepared = await self.prepare(namespace, name, part, intent)
                try:
                    return await self._write(prepared, intent), prepared.before is None
                except Overtaken:
                    continue
            raise _busy(name)

    async def prepare(self, namespace: str, name: str | None, part: Any, intent: Intent) -> PreparedWorkload:
        """Think an apply through; see `apply`."""
        given = read_document(part, WORKLOAD, namespace, name)
        before = self._found(namespace, given.metadata.name)
        if before is None and intent.creating is not None:
            intent.creating(Access("create", WORKLOAD.plural, namespace, given.metadata.name))
        if before is not None:
            check_set(before, given, force=intent.force)
        fields = await self.fields.read(namespace, given.metadata.name, before)
        wanted = in_words_of_others(
            fields.applied, intent.manager, dict(given.spec), lambda spec: self._meaning(given, spec)
        )
        made = apply(fields.applied, intent.manager, wanted, force=intent.force)
        if before is None:
            check_absent(given, expected=intent.if_there or intent.if_revision is not None)
        else:
            check_precondition(before, given, intent.if_revision)
            given = joined(before, given, made.spec)
        return await self._prepared(given, before, fields.saying(made.applied), intent)

    async def remove(self, namespace: str, name: str, intent: Intent) -> None:
        """Begin to remove a workload.

        Raises:
            NotFound: There is none of that name.
            PreconditionFailed: It is not what the caller takes it for.
            Conflict: Workloads that stay come after it.
        """
        document = self.document(namespace, name)
        check_precondition(document, None, intent.if_revision)
        await self.admit(
            Review(change=ChangeKind.DELETE, kind=WORKLOAD, document=document, before=document, intent=intent)
        )
        claims = claims_of(WORKLOAD, intent.cascade)
        try:
            await self.orchestrator.remove(
                name,
                namespace=namespace,
                expected=None if intent.if_revision is None else Revision(intent.if_revision),
                relate=lambda now: evolve(now, finalizers=with_claims(now.finalizers, claims)),
                beside=Beside(compares=intent.compares, operations=intent.operations),
                dry_run=intent.dry_run,
            )
        except RevisionConflict as err:
            raise asked_twice() from err

    async def start(self, namespace: str, name: str, *, rerun: bool = False, dry_run: bool = False) -> None:
        """Let a workload run again that was stopped, or, with `rerun`, that has ended; or only find whether it may.

        Raises:
            NotFound: There is none of that name.
            Denied: A webhook refuses it.
            Unavailable: A webhook did not answer, and nobody else may judge.
        """
        definition = await self.judged("start", namespace, name, dry_run=dry_run)
        gate = with_request(self.orchestrator.store, self.quota)
        await self.orchestrator.apply([definition], dry_run=dry_run, rerun=rerun, gate=gate)

    async def judged(
        self, action: str, namespace: str, name: str, *, dry_run: bool = False, if_revision: int | None = None
    ) -> WorkloadDefinition:
        """Have looked at what is done with a workload that stays as it was written; return how that is.

        Whoever goes on from this without waiting does it with the workload that was looked at.

        Args:
            action: What is done, such as "pause".
            namespace: The workload's namespace.
            name: Its name.
            dry_run: Whether nothing will be done.
            if_revision: Only if its last write was at this revision; None is whatever it is.

        Raises:
            NotFound: There is none of that name.
            PreconditionFailed: It is not what the caller takes it for.
            Denied: A webhook refuses it.
            Unavailable: A webhook did not answer, and nobody else may judge.
            Conflict: Others changed it meanwhile.
        """
        before = self.document(namespace, name)
        check_precondition(before, None, if_revision)
        definition = self.orchestrator.world.workloads[WorkloadName(namespace, name)].spec
        assert definition is not None  # noqa: S101 - for the type checker: there is a document of it
        await self.act(action, definition.definition, dry_run=dry_run)
        if self.document(namespace, name).metadata.revision != before.metadata.revision:
            msg = f"workload {name!r} was changed while it was judged whether to {action} it"
            raise Conflict(msg, remedy="Look at what it is to run now, and try again.")
        return definition.definition

    def _meaning(self, given: Document, spec: JsonObject) -> JsonObject:
        return dict(workload_of(self.definition(evolve(given, spec=spec))).spec)

    def document(self, namespace: str, name: str) -> Document:
        """Return a workload as a document, without its status.

        Raises:
            NotFound: There is none of that name.
        """
        document = self._found(namespace, name)
        if document is None:
            raise no_such(WORKLOAD, namespace, name)
        return document

    def _found(self, namespace: str, name: str) -> Document | None:
        record = self.orchestrator.world.workloads.get(WorkloadName(namespace, name))
        if record is None or record.spec is None:
            return None
        return workload_of(record.spec.definition).at(record.revision)

    async def _prepared(
        self, document: Document, before: Document | None, fields: Fields, intent: Intent, *, action: str = ""
    ) -> PreparedWorkload:
        change = ChangeKind.CREATE if before is None else ChangeKind.UPDATE
        metadata = document.metadata
        held = before.metadata.finalizers if before is not None else ()
        kept = kept_claims(held, metadata.finalizers, going=False)
        if kept != metadata.finalizers:
            document = evolve(document, metadata=evolve(metadata, finalizers=kept))
        review = Review(change=change, kind=WORKLOAD, document=document, before=before, intent=intent, action=action)
        reviewed = await self.admit(review)
        return PreparedWorkload(self.definition(reviewed), before, fields)

    async def _write(self, prepared: PreparedWorkload, intent: Intent) -> Document:
        """Bring on record what was prepared; return it as it is then, or, for a dry run, as it would be."""
        written = list[WorkloadDefinition]()

        async def gate(changes: Sequence[ProposedChange], world: Any) -> Beside:
            written[:] = [change.after for change in changes]
            return await self.beside([prepared], changes, world, intent)

        async with self.turn((prepared.definition.metadata.namespace,)):
            # Who writes down what is wanted does not say with it that it is to run now: that is what `start` is for.
            result = await self.orchestrator.apply(
                [prepared.definition], dry_run=intent.dry_run, starts=False, promoted=intent.promoted, gate=gate
            )
        was = prepared.before.metadata.revision if prepared.before is not None else 0
        return workload_of(written[0]).at(result.revision or was)

    def _own_turn(self, namespace: str, name: str, intent: Intent) -> AbstractAsyncContextManager[None]:
        # What is only tried comes in nobody's way.
        return nullcontext() if intent.dry_run else self.turns.of(f"{namespace}/{name}")

    async def beside(
        self, prepared: Sequence[PreparedWorkload], changes: Sequence[ProposedChange], world: Any, intent: Intent
    ) -> Beside:
        """Return what is written with changes that were prepared, in the order of them.

        Raises:
            Overtaken: Others came before.
            QuotaExceeded: It is more than may be.
        """
        await check_once(self.orchestrator.store, intent)
        asked = await self.quota(changes, world)
        compares, operations = list(asked.compares), list(asked.operations)
        for one, change in zip(prepared, changes, strict=True):
            if change.revision != (one.before.metadata.revision if one.before is not None else 0):
                raise Overtaken("it was changed meanwhile")
            if await self.fields.revision_of(one.fields) != one.fields.expected:
                raise Overtaken("whose fields are whose was changed meanwhile")
            beside = one.fields.beside(change.after.metadata.uid, change.generation)
            compares.extend(beside.compares)
            operations.extend(beside.operations)
        return Beside(
            compares=(*compares, *intent.compares),
            operations=(*operations, *intent.operations),
        )

    def definition(self, document: Document) -> WorkloadDefinition:
        """Return the definition that a document stands for.

        Raises:
            ConfigInvalid: It can't be accepted; problems have their paths in the document.
        """
        metadata = document.metadata
        # What comes after nothing has to do with nobody else, however many there are.
        known = self.orchestrator.world.workloads if document.spec.get("after") else {}
        others = {name: record.spec.definition for name, record in known.items() if record.spec is not None}
        if document.spec.get("after"):
            others.update(BESIDE.get())
        others.pop(WorkloadName(metadata.namespace, metadata.name), None)
        near = [other for name, other in others.items() if name.namespace == metadata.namespace]
        return definition_of(document, near, PRIORITY_CLASSES)


def _busy(name: str) -> Conflict:
    return Conflict(f"others kept changing Workload {name!r}", remedy="Look at what they did, and try again.")
