"""Writing objects that are kept each under one key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define, evolve, field
from orchestrion.control_plane._objects.claims import claims_of, with_claims
from orchestrion.control_plane._objects.document import Document
from orchestrion.control_plane._objects.kinds import NAMESPACE, SECRET, Kind
from orchestrion.control_plane._objects.proposal import (
    check_precondition,
    checked_spec,
    created,
    read_document,
    updated,
)
from orchestrion.control_plane._objects.stored import MASKED, StoredObject, object_key, object_of
from orchestrion.orchestrator_core import WallClock, system_time
from orchestrion.shared_types import ConfigInvalid, Conflict, NotFound, Problem, UidFactory, new_uid
from orchestrion.store_interface import ABSENT, Compare, Delete, Operation, Revision, RevisionConflict, StateStore

from .intent import Admit, ChangeKind, Edit, Intent, Review, admit_all
from .reading import no_such

TRIES: Final = 8
"""How often a change is tried again that others came before."""

Seal = Callable[[str, str], str]
"""From the name and a secret text to what may be kept of it."""


@define(eq=False)
class Writer:
    """Writes objects.

    Attributes:
        store: Where they are.
        admit: Looks at each change.
        seal: Seals secret texts; None where there is no key, and no secret can be kept.
        now: The wall clock.
        new_uid: Makes the ids of new objects.
    """

    store: StateStore
    admit: Admit = admit_all
    seal: Seal | None = None
    now: WallClock = system_time
    new_uid: UidFactory = field(default=new_uid)

    async def create(self, kind: Kind, namespace: str, data: Any, intent: Intent) -> Document:
        """Make an object.

        Raises:
            ConfigInvalid: It can't be accepted.
            Conflict: There is one of that name.
            NotFound: There is no such namespace.
        """
        document = read_document(data, kind, namespace, None)
        document = created(document, self.now(), self.new_uid)
        stored = await self._reviewed(kind, document, None, intent)
        key = object_key(kind, namespace, document.metadata.name)
        compares = [Compare(key, ABSENT), *await self._in_namespace(kind, namespace)]
        if intent.dry_run:
            if (await self.store.get(key)).entry is not None:
                raise _exists(document)
            return stored.shown()
        try:
            revision = await self.store.transaction(compares, [stored.put(key)])
        except RevisionConflict as err:
            if err.key == key:
                raise _exists(document) from err
            raise _no_namespace(namespace) from err
        return stored.shown().at(revision)

    async def change(
        self, kind: Kind, namespace: str, name: str, edit: Edit, intent: Intent, *, status: bool = False
    ) -> Document:
        """Change an object.

        Args:
            kind: Its kind.
            namespace: Its namespace.
            name: Its name.
            edit: From the object as plain data to what it should be; called again where others came before.
            intent: How it is meant.
            status: Whether its status is changed, and nothing else; or else all but that.

        Raises:
            NotFound: There is none of that name.
            ConfigInvalid: It can't be accepted.
            PreconditionFailed: It is not what the caller takes it for.
            Conflict: Others kept changing it.
        """
        key = object_key(kind, namespace, name)
        for _ in range(TRIES):
            before = await self._stored(kind, namespace, name)
            shown = before.shown()
            given = read_document(edit(shown.plain()), kind, namespace, name)
            check_precondition(shown, given, intent.if_revision)
            after = await self._next(kind, before, given, intent, status=status)
            if after == before:
                return shown
            operation: Operation = after.put(key)
            if _may_go(after.document):
                operation = Delete(key)
            if intent.dry_run:
                return after.shown()
            try:
                revision = await self.store.transaction([Compare(key, Revision(shown.metadata.revision))], [operation])
            except RevisionConflict:
                continue
            return after.shown().at(revision)
        raise _busy(kind, name)

    async def remove(self, kind: Kind, namespace: str, name: str, intent: Intent) -> Document:
        """Remove an object; with finalizers it only begins to go.

        Raises:
            NotFound: There is none of that name.
            PreconditionFailed: It is not what the caller takes it for.
            Conflict: Others kept changing it.
        """
        key = object_key(kind, namespace, name)
        for _ in range(TRIES):
            before = await self._stored(kind, namespace, name)
            document = before.document
            check_precondition(document, None, intent.if_revision)
            await self.admit(
                Review(
                    change=ChangeKind.DELETE, kind=kind, document=before.shown(), before=before.shown(), intent=intent
                )
            )
            if document.metadata.deleting_since is None:
                claims = with_claims(document.metadata.finalizers, claims_of(kind, intent.cascade))
                metadata = evolve(document.metadata, deleting_since=self.now(), finalizers=claims)
                document = evolve(document, metadata=metadata)
            after = evolve(before, document=document)
            if intent.dry_run or (after == before and not _may_go(document)):
                return after.shown()
            operation: Operation = Delete(key) if _may_go(document) else after.put(key)
            try:
                revision = await self.store.transaction(
                    [Compare(key, Revision(before.document.metadata.revision))], [operation]
                )
            except RevisionConflict:
                continue
            return after.shown().at(revision)
        raise _busy(kind, name)

    async def _next(
        self, kind: Kind, before: StoredObject, given: Document, intent: Intent, *, status: bool
    ) -> StoredObject:
        if status:
            return evolve(before, document=evolve(before.document, status=given.status))
        shown = before.shown()
        if kind.spec is not None:
            given = evolve(given, spec=checked_spec(kind, given.spec))
        if shown.spec.get("immutable") and given.spec != shown.spec:
            problem = Problem("it is immutable, and can only be removed", path="spec")
            raise ConfigInvalid((problem,))
        after = updated(shown, given, self.now())
        if after == shown:
            return before
        return await self._reviewed(kind, after, before, intent)

    async def _reviewed(
        self, kind: Kind, document: Document, before: StoredObject | None, intent: Intent
    ) -> StoredObject:
        """Return what is kept of a document, once admission has had its say."""
        document = evolve(document, spec=checked_spec(kind, document.spec))
        change = ChangeKind.CREATE if before is None else ChangeKind.UPDATE
        shown = before.shown() if before is not None else None
        if kind is SECRET:
            # Admission, webhooks above all, has no business with secret texts.
            sealed = self._sealed(document, before)
            document = evolve(document, spec={**document.spec, "data": dict.fromkeys(sealed, MASKED)})
            review = Review(change=change, kind=kind, document=document, before=shown, intent=intent)
            document = await self.admit(review)
            return StoredObject(document=document, sealed=sealed)
        review = Review(change=change, kind=kind, document=document, before=shown, intent=intent)
        document = await self.admit(review)
        document = evolve(document, spec=checked_spec(kind, document.spec))
        return StoredObject(document=document, applied=before.applied if before is not None else {})

    def _sealed(self, document: Document, before: StoredObject | None) -> Mapping[str, str]:
        if self.seal is None:
            msg = "this server has no key to keep secrets with"
            raise ConfigInvalid((Problem(msg, path="spec.data"),))
        kept = before.sealed if before is not None else {}
        sealed = dict[str, str]()
        metadata = document.metadata
        for name, text in document.spec.get("data", {}).items():
            if text == MASKED and name in kept:
                sealed[name] = kept[name]
            else:
                sealed[name] = self.seal(f"{metadata.namespace}/{metadata.name}/{name}", text)
        return sealed

    async def _stored(self, kind: Kind, namespace: str, name: str) -> StoredObject:
        entry = (await self.store.get(object_key(kind, namespace, name))).entry
        if entry is None:
            raise no_such(kind, namespace, name)
        return object_of(entry)

    async def _in_namespace(self, kind: Kind, namespace: str) -> list[Compare]:
        """Return what must hold for an object to come into a namespace."""
        if not kind.namespaced:
            return []
        key = object_key(NAMESPACE, "", namespace)
        entry = (await self.store.get(key)).entry
        if entry is None:
            raise _no_namespace(namespace)
        if object_of(entry).document.metadata.deleting_since is not None:
            msg = f"namespace {namespace!r} is being removed"
            raise Conflict(msg, remedy="Wait until it is gone, and make it anew.")
        return [Compare(key, entry.modified)]


def _may_go(document: Document) -> bool:
    return document.metadata.deleting_since is not None and not document.metadata.finalizers


def _exists(document: Document) -> Conflict:
    metadata = document.metadata
    where = f" in namespace {metadata.namespace!r}" if metadata.namespace else ""
    return Conflict(
        f"there is a {document.kind} {metadata.name!r}{where} already",
        remedy="Change that one, or choose another name.",
    )


def _no_namespace(namespace: str) -> NotFound:
    return NotFound(f"there is no namespace {namespace!r:.80}", remedy=f"orchestrion create namespace {namespace:.80}")


def _busy(kind: Kind, name: str) -> Conflict:
    return Conflict(f"others kept changing {kind.name} {name!r}", remedy="Look at what they did, and try again.")
