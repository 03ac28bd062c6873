"""Writing objects that are kept each under one key."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from functools import lru_cache
from typing import Any, Final

from attrs import define, evolve, field, frozen
from orchestrion.control_plane._identity.access import Access
from orchestrion.control_plane._objects.claims import claims_of, with_claims
from orchestrion.control_plane._objects.document import Document
from orchestrion.control_plane._objects.field_owners import apply, hand_on, replace, revise, said_together
from orchestrion.control_plane._objects.kinds import (
    CUSTOM_KIND,
    LIMIT_RANGE,
    NAMESPACE,
    RESOURCE_QUOTA,
    SECRET,
    Kind,
)
from orchestrion.control_plane._objects.other_words import amounts_meant, in_words_of_others
from orchestrion.control_plane._objects.proposal import (
    check_absent,
    check_precondition,
    checked_spec,
    created,
    joined,
    read_document,
    updated,
)
from orchestrion.control_plane._objects.stored import MASKED, StoredObject, object_key, object_of
from orchestrion.orchestrator_core import WallClock, system_time, write_together
from orchestrion.shared_types import ConfigInvalid, Conflict, NotFound, OrchestrationError, Problem, UidFactory, new_uid
from orchestrion.store_interface import (
    ABSENT,
    Compare,
    Delete,
    Entry,
    Operation,
    Revision,
    RevisionConflict,
    StateStore,
)

from .intent import Admit, ChangeKind, Edit, Intent, Review, admit_all
from .reading import no_such
from .requested import asked_twice
from .sets import check_set
from .turns import Turns

TRIES: Final = 8
"""How often a change is tried again that others came before: those of other servers, who wait for no turn here."""

Seal = Callable[[str, str], str]
"""From the name and a secret text to what may be kept of it."""

Unseal = Callable[[str, str], str]
"""From the name and what is kept of a secret text to that text."""

MayRead = Callable[[Intent, str, str], bool]
"""Whether who means something may read the secret of a namespace and a name."""

Check = Callable[[Kind, Document, Document | None], None]
"""Has the last word on an object as it will be, after admission; with how it is, or None where it is new."""


def _no_check(_kind: Kind, _document: Document, _before: Document | None) -> None:
    """Let everything pass."""


NOBODY: Final = "server"
"""Whose fields are of which nobody has said whose they are."""


@frozen
class Prepared:
    """A write that was thought through, and not done yet.

    Attributes:
        compares: What must hold for it.
        operation: What is written; None where nothing changes.
        document: The object as it will be shown, but for its revision.
        new: Whether it is made.
    """

    compares: tuple[Compare, ...]
    operation: Operation | None
    document: Document
    new: bool


@define(eq=False)
class Writer:
    """Writes objects.

    Attributes:
        store: Where they are.
        admit: Looks at each change.
        seal: Seals secret texts; None where there is no key, and no secret can be kept.
        now: The wall clock.
        new_uid: Makes the ids of new objects.
        unseal: Opens what was sealed, to find out whether a secret text has changed; None takes each for a new one.
        check: Has the last word on each change.
        sealed_by: Returns what has to hold for what is sealed from then on to be written; None is nothing.
        turns: Whose turn it is to change an object; shared by all who write into one store.
        may_read: Whether who writes a secret may read it. Who may not is not told, by trying, whether a text is the one
            that is kept: each is a new one. None lets everybody.
    """

    store: StateStore
    admit: Admit = admit_all
    seal: Seal | None = None
    now: WallClock = system_time
    new_uid: UidFactory = field(default=new_uid)
    unseal: Unseal | None = field(default=None, kw_only=True)
    check: Check = field(default=_no_check, kw_only=True)
    sealed_by: Callable[[], Compare] | None = field(default=None, kw_only=True)
    may_read: MayRead | None = field(default=None, kw_only=True)
    turns: Turns = field(factory=Turns, kw_only=True)

    async def create(self, kind: Kind, namespace: str, data: Any, intent: Intent) -> Document:
        """Make an object.

        **Idempotency.** None: a second time there is one. **Cancellation.** Indeterminate.

        Raises:
            ConfigInvalid: It can't be accepted.
            Conflict: There is one of that name, its namespace or kind is being removed, or others kept changing those.
            NotFound: There is no such namespace, or no such kind any longer.
        """
        given = read_document(data, kind, namespace, None)
        spec = checked_spec(kind, given.spec)
        # A default that was filled in is nobody's; where nothing at all was said, there is nobody else to say it.
        applied = _replaced(kind, {}, intent.manager, given.spec or spec)
        key = object_key(kind, namespace, given.metadata.name)
        for _ in range(TRIES):
            sealing = self._sealing(kind)
            document = created(given, spec, self.now(), self.new_uid)
            stored = await self._reviewed(kind, document, None, intent, applied)
            compares = [Compare(key, ABSENT), *await self._at_home(kind, namespace), *sealing]
            if intent.dry_run:
                if (await self.store.get(key)).entry is not None:
                    raise already(document)
                return stored.shown()
            try:
                # Whether the request was done before comes first: then what is there is what it has made.
                revision = await write_together(
                    self.store, [*intent.compares, *compares], [stored.put(key), *intent.operations]
                )
            except RevisionConflict as err:
                if err.key in {compare.key for compare in intent.compares}:
                    raise asked_twice() from err
                if err.key == key:
                    raise already(document) from err
                continue  # Its namespace or its kind was changed, or another key seals.
            return stored.shown().at(revision)
        raise _busy(kind, given.metadata.name)

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
        async with self._turn(key, intent):
            for _ in range(TRIES):
                sealing = self._sealing(kind)
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
                    revision = await write_together(
                        self.store,
                        [*intent.compares, Compare(key, Revision(shown.metadata.revision)), *sealing],
                        [operation, *intent.operations],
                    )
                except RevisionConflict as err:
                    if err.key in {compare.key for compare in intent.compares}:
                        raise asked_twice() from err
                    continue
                return after.shown().at(revision)
            raise _busy(kind, name)

    async def apply(self, kind: Kind, namespace: str, name: str, part: Any, intent: Intent) -> tuple[Document, bool]:
        """Apply a manager's part of an object, and say whether it was made by it. See `field_owners`.

        Labels and annotations are added to those that there are. A secret is not kept in parts: it is replaced.

        Raises:
            ConfigInvalid: It can't be accepted.
            PreconditionFailed: It is not what the caller takes it for.
            Conflict: Others say something else, or kept changing it.
            NotFound: There is no such namespace.
        """
        async with self._turn(object_key(kind, namespace, name), intent):
            for _ in range(TRIES):
                prepared = await self.prepare(kind, namespace, name, part, intent)
                if prepared.operation is None or intent.dry_run:
                    return prepared.document, prepared.new
                try:
                    revision = await write_together(
                        self.store, [*intent.compares, *prepared.compares], [prepared.operation, *intent.operations]
                    )
                except RevisionConflict as err:
                    if err.key in {compare.key for compare in intent.compares}:
                        raise asked_twice() from err
                    continue
                return prepared.document.at(revision), prepared.new
            raise _busy(kind, name)

    async def prepare(
        self,
        kind: Kind,
        namespace: str,
        name: str | None,
        part: Any,
        intent: Intent,
        *,
        made: Container[str] = (),
    ) -> Prepared:
        """Think an apply through.

        Args:
            kind: The object's kind.
            namespace: Its namespace.
            name: Its name; None is what the part says.
            part: What the manager has to say.
            intent: How it is meant.
            made: Namespaces that will be made together with it.

        Raises:
            ConfigInvalid: It can't be accepted.
            PreconditionFailed: It is not what the caller takes it for.
            Conflict: Others say something else.
            NotFound: There is no such namespace.
        """
        sealing = self._sealing(kind)
        given = read_document(part, kind, namespace, name)
        key = object_key(kind, namespace, given.metadata.name)
        entry = (await self.store.get(key)).entry
        before = object_of(entry) if entry is not None else None
        if before is not None:
            check_set(before.document, given, force=intent.force)
        if kind is SECRET:
            spec, applied = dict(given.spec), dict[str, Any]()
        else:
            spec, applied = _applied(kind, before, given, intent)
        if before is None or entry is None:
            check_absent(given, expected=intent.if_there or intent.if_revision is not None)
            if intent.creating is not None:
                intent.creating(Access("create", kind.plural, namespace, given.metadata.name))
            within = await self._at_home(kind, namespace, made)
            document = created(given, checked_spec(kind, spec), self.now(), self.new_uid)
            stored = await self._reviewed(kind, document, None, intent, applied)
            return Prepared((Compare(key, ABSENT), *within, *sealing), stored.put(key), stored.shown(), True)
        shown = before.shown()
        check_precondition(shown, given, intent.if_revision)
        wanted = joined(shown, given, spec)
        after = await self._next(kind, before, wanted, intent, status=False, applied=applied)
        compares = (Compare(key, entry.modified), *sealing)
        if after == before:
            return Prepared(compares, None, shown, False)
        return Prepared(compares, after.put(key), after.shown(), False)

    async def remove(self, kind: Kind, namespace: str, name: str, intent: Intent) -> Document:
        """Remove an object; with finalizers it only begins to go.

        Raises:
            NotFound: There is none of that name.
            PreconditionFailed: It is not what the caller takes it for.
            Conflict: Others kept changing it.
        """
        key = object_key(kind, namespace, name)
        async with self._turn(key, intent):
            for _ in range(TRIES):
                before = await self._stored(kind, namespace, name)
                document = before.document
                check_precondition(document, None, intent.if_revision)
                await self.admit(
                    Review(
                        change=ChangeKind.DELETE,
                        kind=kind,
                        document=before.shown(),
                        before=before.shown(),
                        intent=intent,
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
                    revision = await write_together(
                        self.store,
                        [*intent.compares, Compare(key, Revision(before.document.metadata.revision))],
                        [operation, *intent.operations],
                    )
                except RevisionConflict as err:
                    if err.key != key:
                        raise asked_twice() from err
                    continue
                return after.shown().at(revision)
            raise _busy(kind, name)

    def _turn(self, key: str, intent: Intent) -> AbstractAsyncContextManager[None]:
        # What is only tried comes in nobody's way.
        return nullcontext() if intent.dry_run else self.turns.of(key)

    async def _next(
        self,
        kind: Kind,
        before: StoredObject,
        given: Document,
        intent: Intent,
        *,
        status: bool,
        applied: Owners | None = None,
    ) -> StoredObject:
        if status:
            return evolve(before, document=evolve(before.document, status=given.status))
        shown = before.shown()
        if kind is SECRET:
            given = self._masked(before, given, intent)
        # What was accepted once is not asked about again: its kind may have come to want more.
        wanted = given if given.spec == shown.spec else evolve(given, spec=_accepted(kind, before, given, applied))
        if kind.custom is None and shown.spec.get("immutable") and wanted.spec != shown.spec:
            problem = Problem("it is immutable, and can only be removed", path="spec")
            raise ConfigInvalid((problem,))
        after = updated(shown, wanted, self.now())
        said = owned(before) if applied is None else applied
        if after != shown:
            reviewed = await self._reviewed(kind, after, before, intent, said)
            # What is left out may come back as it was, by a default that admission gives.
            if reviewed.sealed != before.sealed or updated(shown, reviewed.document, self.now()) != shown:
                if applied is None:
                    reviewed = evolve(reviewed, applied=_revised(kind, before, given, reviewed, intent))
                return reviewed
        return before if said == owned(before) else evolve(before, applied=said)

    async def _reviewed(
        self, kind: Kind, document: Document, before: StoredObject | None, intent: Intent, applied: Owners
    ) -> StoredObject:
        """Return what is kept of a document, whose spec was checked, once admission has had its say."""
        change = ChangeKind.CREATE if before is None else ChangeKind.UPDATE
        shown = before.shown() if before is not None else None
        if kind is SECRET:
            # Admission, webhooks above all, has no business with secret texts.
            sealed = self._sealed(document, before)
            document = evolve(document, spec={**document.spec, "data": dict.fromkeys(sealed, MASKED)})
            review = Review(change=change, kind=kind, document=document, before=shown, intent=intent)
            admitted = await self.admit(review)
            if admitted.spec.get("data") != document.spec["data"]:
                # It would be kept as it is, for everybody to read who may read the state.
                text = "a webhook has changed what is secret, which is nobody's to see or to change but its author's"
                raise ConfigInvalid((Problem(text, path="spec.data"),))
            return StoredObject(document=admitted, sealed=sealed)
        review = Review(change=change, kind=kind, document=document, before=shown, intent=intent)
        admitted = await self.admit(review)
        if admitted is not document and admitted.spec != document.spec:
            admitted = evolve(admitted, spec=checked_spec(kind, admitted.spec))
        self.check(kind, admitted, shown)
        return StoredObject(document=admitted, applied=applied)

    def _masked(self, before: StoredObject, given: Document, intent: Intent) -> Document:
        """Return what somebody wants of a secret, with those texts masked that are as they were."""
        data, metadata = given.spec.get("data"), given.metadata
        if self.unseal is None or not isinstance(data, Mapping):
            return given
        # A right guess is not to be told from a wrong one, also where a webhook lets nothing be changed.
        if self.may_read is not None and not self.may_read(intent, metadata.namespace, metadata.name):
            return given
        masked = dict(data)
        for name in data.keys() & before.sealed.keys():
            with suppress(OrchestrationError):  # what can't be read any longer is written anew
                kept = self.unseal(f"{metadata.namespace}/{metadata.name}/{name}", before.sealed[name])
                if kept == data[name]:
                    masked[name] = MASKED
        return evolve(given, spec={**given.spec, "data": masked})

    def _sealed(self, document: Document, before: StoredObject | None) -> Mapping[str, str]:
        if self.seal is None:
            msg = "this server has no key to keep secrets with"
            raise ConfigInvalid((Problem(msg, path="spec.data"),))
        kept = before.sealed if before is not None else {}
        sealed = dict[str, str]()
        metadata = document.metadata
        for name, text in document.spec.get("data", {}).items():
            if text == MASKED:
                if name not in kept:
                    # Whoever has read the secret and moves what is shown of it means the text, which is not here.
                    problem = Problem(f"{MASKED} stands for a text that is kept, and there is none", path="spec.data")
                    raise ConfigInvalid((problem,), remedy="Send the text itself.")
                sealed[name] = kept[name]
            else:
                sealed[name] = self.seal(f"{metadata.namespace}/{metadata.name}/{name}", text)
        return sealed

    def _sealing(self, kind: Kind) -> tuple[Compare, ...]:
        return (self.sealed_by(),) if kind is SECRET and self.sealed_by is not None else ()

    async def _stored(self, kind: Kind, namespace: str, name: str) -> StoredObject:
        entry = (await self.store.get(object_key(kind, namespace, name))).entry
        if entry is None:
            raise no_such(kind, namespace, name)
        return object_of(entry)

    async def _at_home(self, kind: Kind, namespace: str, made: Container[str] = ()) -> list[Compare]:
        """Return what must hold for an object to be made: its kind, and its namespace, are there and stay.

        Raises:
            NotFound: One of them is not there.
            Conflict: One of them is being removed.
        """
        compares = list[Compare]()
        if kind.defined_by:
            key = object_key(CUSTOM_KIND, "", kind.defined_by)
            entry = (await self.store.get(key)).entry
            if entry is None:
                raise _no_kind(kind)
            if object_of(entry).document.metadata.deleting_since is not None:
                raise Conflict(f"kind {kind.name!r} is being removed", remedy="Wait until it is gone.")
            compares.append(Compare(key, entry.modified))
        if kind.namespaced and namespace not in made:
            compares.append(await self._in_namespace(namespace))
        return compares

    async def _in_namespace(self, namespace: str) -> Compare:
        key = object_key(NAMESPACE, "", namespace)
        entry = (await self.store.get(key)).entry
        if entry is None:
            raise _no_namespace(namespace)
        if _is_going(entry):
            msg = f"namespace {namespace!r} is being removed"
            raise Conflict(msg, remedy="Wait until it is gone, and make it anew.")
        return Compare(key, entry.modified)


Owners = Mapping[str, Mapping[str, Any]]


@lru_cache(maxsize=256)
def _is_going(entry: Entry) -> bool:
    """Whether the object of an entry is about to go; remembered, because all that comes into a namespace asks."""
    return object_of(entry).document.metadata.deleting_since is not None


def owned(stored: StoredObject) -> dict[str, dict[str, Any]]:
    """Return whose fields an object's are; those of which it is not known are nobody's."""
    if stored.sealed:
        return {}
    if not stored.applied and stored.document.spec:
        return {NOBODY: dict(stored.document.spec)}
    return {manager: dict(part) for manager, part in stored.applied.items()}


def _applied(
    kind: Kind, before: StoredObject | None, given: Document, intent: Intent
) -> tuple[dict[str, Any], dict[str, Any]]:
    parts = owned(before) if before is not None else {}
    wanted = dict(given.spec)
    if kind in (RESOURCE_QUOTA, LIMIT_RANGE):
        wanted = in_words_of_others(parts, intent.manager, wanted, amounts_meant)
    result = apply(parts, intent.manager, wanted, force=intent.force)
    return result.spec, dict(result.applied)


def _accepted(kind: Kind, before: StoredObject, given: Document, applied: Owners | None) -> Mapping[str, Any]:
    """Return the spec that an object is to have, as its kind has it.

    Raises:
        ConfigInvalid: It does not fit.
    """
    try:
        return checked_spec(kind, given.spec)
    except ConfigInvalid:
        # What all say is as it was, and what was filled in when it was accepted nobody says.
        if applied is None or said_together(owned(before)) != given.spec:
            raise
        return before.shown().spec


def _replaced(kind: Kind, parts: Mapping[str, dict[str, Any]], manager: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return whose fields are whose after somebody has written the whole; of secrets nothing is kept."""
    return {} if kind is SECRET else dict(replace(parts, manager, dict(spec)).applied)


def _revised(
    kind: Kind, before: StoredObject, given: Document, after: StoredObject, intent: Intent
) -> dict[str, dict[str, Any]]:
    """Return whose fields are whose after somebody has changed some of them."""
    if kind is SECRET:
        return {}
    was, will = dict(before.document.spec), dict(after.document.spec)
    if intent.hands_on:
        return hand_on(owned(before), was, will, intent.manager)
    return revise(owned(before), intent.manager, was, dict(given.spec), will)


def _may_go(document: Document) -> bool:
    return document.metadata.deleting_since is not None and not document.metadata.finalizers


def already(document: Document) -> Conflict:
    """Return the refusal of what is to be made and is there."""
    metadata = document.metadata
    where = f" in namespace {metadata.namespace!r}" if metadata.namespace else ""
    return Conflict(
        f"there is a {document.kind} {metadata.name!r}{where} already",
        remedy="Change that one, or choose another name.",
    )


def _no_namespace(namespace: str) -> NotFound:
    return NotFound(f"there is no namespace {namespace!r:.80}", remedy=f"orchestrion create namespace {namespace:.80}")


def _no_kind(kind: Kind) -> NotFound:
    return NotFound(f"there is no kind {kind.name!r}", remedy="See what there is: orchestrion get customkinds")


def _busy(kind: Kind, name: str) -> Conflict:
    return Conflict(f"others kept changing {kind.name} {name!r}", remedy="Look at what they did, and try again.")
