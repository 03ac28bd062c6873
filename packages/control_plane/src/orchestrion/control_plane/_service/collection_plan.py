"""What is to go of itself: pure thinking, from how things are.

An object goes when all its owners are gone. One that is about to go waits for its finalizers, each until its deadline;
one that goes after what it owns leaves what others own too to them, and does not wait for what waits for it in turn.
A namespace, or a custom kind, goes when nothing is left in it: workloads first, which takes until they have stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from graphlib import CycleError, TopologicalSorter
from heapq import nsmallest
from typing import Final

from attrs import define, field, frozen
from orchestrion.control_plane._history.history import History
from orchestrion.control_plane._history.projection import ObjectName
from orchestrion.control_plane._objects.claims import CONTENTS, DEPENDENTS, ORPHANS, SERVER_OWNER
from orchestrion.control_plane._objects.document import Document
from orchestrion.control_plane._objects.kinds import (
    EVENT,
    INSTANCE,
    NAMESPACE,
    WORKLOAD,
    KindRegistry,
)
from orchestrion.shared_types import Finalizer, NotFound, OwnerReference, Uid

MAX_STEPS: Final = 500
"""Steps of one plan; what is left is for the next."""

MAX_TOLD: Final = 10
"""What holds up a removal is named up to so many."""

MAX_FORGOTTEN: Final = 100
"""Events that are forgotten in one step."""


_NOT_HELD: Final = (INSTANCE.plural, EVENT.plural)


@frozen
class Remove:
    """Begin to remove an object.

    Attributes:
        name: Which one.
        revision: As it was seen; another one is thought about anew.
        foreground: Whether what it owns goes before it.
        why: For people; of several reasons for the same any.
    """

    name: ObjectName
    revision: int
    foreground: bool = False
    why: str = field(default="", eq=False)


@frozen
class Settle:
    """Take claims, or owners, off an object; it goes where it was to go and nothing claims it any longer.

    Attributes:
        name: Which one.
        finalizers: The claims that go.
        owners: The uids of the owners that go.
        expired: Those of the claims whose owners have not done in time what they claimed it for.
    """

    name: ObjectName
    finalizers: frozenset[Finalizer] = frozenset()
    owners: frozenset[Uid] = frozenset()
    expired: tuple[Finalizer, ...] = ()


@frozen
class Forget:
    """Let go of events.

    Attributes:
        namespace: Their namespace.
        names: Their names.
    """

    namespace: str
    names: tuple[str, ...]


@frozen
class Tell:
    """Put into an object's status what holds up its removal.

    Attributes:
        name: Which object.
        waits_for: What holds it up, for people: what others hold, at most `MAX_TOLD`, behind that "others" where there
            are more, and "workloads" where there are any; empty is nothing.
    """

    name: ObjectName
    waits_for: tuple[str, ...]


Step = Remove | Settle | Forget | Tell


@frozen
class CollectionPlan:
    """What is to be done.

    Attributes:
        steps: In this order.
        wake_at: When time alone may change the plan (UTC), or None.
    """

    steps: tuple[Step, ...]
    wake_at: datetime | None


def plan_collection(history: History, kinds: KindRegistry, now: datetime) -> CollectionPlan:
    """Return what is to go, as things are now. Where nothing is, there is nothing to do."""
    planning = _Planning(history, kinds, now)
    for name in sorted(planning.claimed):
        planning.look(name, planning.claimed[name])
    # A dict, because several may want the same.
    return CollectionPlan(tuple(dict.fromkeys(planning.steps))[:MAX_STEPS], planning.wake_at)


@define(eq=False)
class _Planning:
    history: History
    kinds: KindRegistry
    now: datetime
    claimed: dict[ObjectName, Document] = field(init=False, factory=dict)
    steps: list[Step] = field(init=False, factory=list)
    wake_at: datetime | None = field(init=False, default=None)
    _owned: dict[Uid, list[ObjectName]] = field(init=False, factory=dict)
    _circle: frozenset[ObjectName] = field(init=False, default=frozenset())

    def __attrs_post_init__(self) -> None:
        for name in self.history.claimed:
            item = self.history.get(name)
            if item is None:
                continue
            document = self.claimed[name] = item.document
            for owner in document.metadata.owners:
                self._owned.setdefault(owner.uid, []).append(name)
        waiting = {name for name, document in self.claimed.items() if DEPENDENTS in document.metadata.finalizers}
        self._circle = _circle_of(
            {name: [each for each in self._owned_by(name) if each in waiting] for name in waiting}
        )

    def _owned_by(self, name: ObjectName) -> list[ObjectName]:
        return self._owned.get(self.claimed[name].metadata.uid, [])

    def look(self, name: ObjectName, document: Document) -> None:
        """Think about one object that has owners or finalizers, or is about to go."""
        metadata = document.metadata
        if metadata.deleting_since is not None:
            self._look_at_going(name, document)
        elif metadata.owners and all(self._is_gone(owner, name) for owner in metadata.owners):
            self._remove((name,), "its owners are gone")

    def _look_at_going(self, name: ObjectName, document: Document) -> None:
        done, expired = set[Finalizer](), list[Finalizer]()
        for claim in document.metadata.finalizers:
            if claim.owner == SERVER_OWNER:
                if not self._clear_for(claim, name, document):
                    done.add(claim)
            elif claim.deadline is not None and name.kind != WORKLOAD.plural:
                if claim.deadline <= self.now:
                    expired.append(claim)
                elif self.wake_at is None or claim.deadline < self.wake_at:
                    self.wake_at = claim.deadline
        claims = frozenset((*done, *expired))
        if claims or not (document.metadata.finalizers or name.kind == WORKLOAD.plural):
            self.steps.append(Settle(name, finalizers=claims, expired=tuple(expired)))
        elif CONTENTS in document.metadata.finalizers:
            waits_for = self._blocking(name, document)
            if waits_for != tuple(document.status.get("waits_for", ())):
                self.steps.append(Tell(name, waits_for))

    def _clear_for(self, claim: Finalizer, name: ObjectName, document: Document) -> bool:
        """Do what one of the server's own claims is for; return whether anything is left of it."""
        owned = self._owned_by(name)
        if claim == CONTENTS:
            return self._empty(document)
        if claim == DEPENDENTS:
            for each in owned:
                if self._has_other_owner(each, document.metadata.uid):
                    self.steps.append(Settle(each, owners=frozenset({document.metadata.uid})))
                else:
                    self._remove((each,), f"its owner {document.kind} {document.metadata.name} goes", foreground=True)
            return any(name not in self._circle or each not in self._circle for each in owned)
        if claim == ORPHANS:
            self.steps.extend(Settle(each, owners=frozenset({document.metadata.uid})) for each in owned)
            return bool(owned)
        return False

    def _blocking(self, name: ObjectName, document: Document) -> tuple[str, ...]:
        """Return what is left in what goes and does not go of itself at once: what others hold, and workloads.

        Of workloads that nobody holds it is only said whether there are any: they end one after the other, and each
        time it is written what is told here. Nor is it everybody's, who may see the namespace, what its workloads are.
        """
        if document.kind == NAMESPACE.name:
            held = (each for each in self.claimed if each.namespace == name.name and each.kind not in _NOT_HELD)
            workloads = bool(self.history.names(WORKLOAD.plural, name.name))
        else:
            plural = self._plural_of(document)
            held = (each for each in self.claimed if each.kind == plural)
            workloads = False
        first = nsmallest(MAX_TOLD + 1, (each for each in held if self._holders(each)))
        told = [self._told(each) for each in first[:MAX_TOLD]]
        return (*told, *(["others"] if len(first) > MAX_TOLD else []), *(["workloads"] if workloads else []))

    def _holders(self, name: ObjectName) -> list[Finalizer]:
        return [claim for claim in self.claimed[name].metadata.finalizers if claim.owner != SERVER_OWNER]

    def _told(self, name: ObjectName) -> str:
        why = ", ".join(f"finalizer {claim.name} of {claim.owner}" for claim in self._holders(name))
        return f"{self.kinds.find(name.kind).name.lower()} {'/'.join(filter(None, name[1:]))}: {why}"

    def _plural_of(self, document: Document) -> str:
        """Return what objects of a custom kind are called; empty where there are none."""
        try:
            kind = self.kinds.named(str(document.spec.get("kind")))
        except NotFound:
            return ""
        return kind.plural if kind.custom is not None else ""

    def _of_kind(self, document: Document) -> list[ObjectName]:
        """Return what is of a custom kind."""
        plural = self._plural_of(document)
        return list(self.history.names(plural)) if plural else []

    def _empty(self, document: Document) -> bool:
        """Remove what is in a namespace, or of a custom kind; return whether anything is left."""
        if document.kind != NAMESPACE.name:
            names = self._of_kind(document)
            self._remove(names, f"its kind {document.spec.get('kind')} goes")
            return bool(names)
        namespace = document.metadata.name
        why = f"its namespace {namespace} goes"
        workloads = self.history.names(WORKLOAD.plural, namespace)
        if workloads:
            # What runs may still need the others.
            self._remove(workloads, why)
            return True
        others = list(self._others_in(namespace))
        self._remove(others, why)
        if others:
            return True
        events = sorted(self.history.within(EVENT.plural, namespace))
        if events:
            self.steps.append(Forget(namespace, tuple(events[:MAX_FORGOTTEN])))
        return bool(events)

    def _others_in(self, namespace: str) -> Iterator[ObjectName]:
        left_out = (WORKLOAD.plural, *_NOT_HELD)
        for kind in self.kinds:
            if kind.namespaced and kind.plural not in left_out:
                yield from self.history.names(kind.plural, namespace)

    def _remove(self, names: Iterable[ObjectName], why: str, *, foreground: bool = False) -> None:
        for name in names:
            item = self.history.get(name)
            known = self.claimed.get(name)
            if item is None or (known is not None and known.metadata.deleting_since is not None):
                continue
            owns = foreground and item.document.metadata.uid in self._owned
            self.steps.append(Remove(name, item.revision, foreground=owns, why=why))

    def _has_other_owner(self, name: ObjectName, uid: Uid) -> bool:
        """Whether something else owns an object and is not about to go."""
        return any(
            owner.uid != uid
            and (found := self._find(owner, name)) is not None
            and found.metadata.deleting_since is None
            for owner in self.claimed[name].metadata.owners
        )

    def _is_gone(self, owner: OwnerReference, of: ObjectName) -> bool:
        return self._find(owner, of) is None

    def _find(self, owner: OwnerReference, of: ObjectName) -> Document | None:
        """Return what owns an object, or None where that is gone."""
        try:
            kind = self.kinds.named(owner.kind)
        except NotFound:
            return None
        item = self.history.find(kind.plural, of.namespace if kind.namespaced else "", owner.name)
        return None if item is None or item.document.metadata.uid != owner.uid else item.document


def _circle_of(waiting: Mapping[ObjectName, Iterable[ObjectName]]) -> frozenset[ObjectName]:
    """Return objects that wait for each other in a circle, or none; of several circles the others are for later."""
    try:
        TopologicalSorter(waiting).prepare()
    except CycleError as err:
        return frozenset(err.args[1])
    return frozenset()
