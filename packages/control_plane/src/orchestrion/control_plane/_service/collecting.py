"""Removes what is to go of itself, and nothing else: see `collection_plan`."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeVar
from uuid import UUID

import trio
from attrs import define, evolve, field
from orchestrion.control_plane._admission.quota import ticket_key
from orchestrion.control_plane._history.event import EventType, ObjectEvent
from orchestrion.control_plane._history.projection import ObjectName
from orchestrion.control_plane._identity.audit_records import AuditRecord, Outcome
from orchestrion.control_plane._objects.claims import Cascade
from orchestrion.control_plane._objects.kinds import EVENT, INSTANCE, NAMESPACE, NODE, WORKLOAD, Kind
from orchestrion.control_plane._objects.stored import object_key, object_of
from orchestrion.orchestrator_core import write_together
from orchestrion.shared_types import (
    DEFAULT_NAMESPACE,
    Conflict,
    EventSeverity,
    Finalizer,
    Metadata,
    NotFound,
    OrchestrationError,
    PreconditionFailed,
)
from orchestrion.store_interface import Compare, Delete, Operation, RevisionConflict

from .collection_plan import MAX_FORGOTTEN, CollectionPlan, Forget, Remove, Settle, Step, Tell, plan_collection
from .intent import Intent
from .objects import Objects
from .writing import TRIES, Writer

M = TypeVar("M", bound=Metadata)

GATHER_SECONDS: Final = 0.05
"""Changes that come within this time are thought about together."""

PERIOD_SECONDS: Final = 60.0
"""From one look at everything to the next, where no change calls for one."""

FIRST_RETRY_SECONDS: Final = 1.0
MAX_RETRY_SECONDS: Final = 30.0

TELL_SECONDS: Final = 5.0
"""So often at most the status of one object is told anew what holds up its removal."""

KEEP_EVENTS: Final = timedelta(days=7)
"""Older events are forgotten; how many are kept at most is the orchestrator's to say."""

SWEEP_SECONDS: Final = 600.0
"""From one look for old events to the next."""

_LOG: Final = logging.getLogger("orchestrion.control_plane")

_NEVER_OWNERS: Final = frozenset({INSTANCE.plural, EVENT.plural, NODE.plural})

_UUID_WITH_TIME: Final = 7

COLLECTOR: Final = "system:collector"
"""Who it is, in the audit log, that removes what is to go of itself."""


class Recorder(Protocol):
    """Where it is put down what was done."""

    @property
    def failure(self) -> OrchestrationError | None:
        """Why nothing can be put down any longer; None while it can."""
        ...

    async def write(self, record: AuditRecord, /) -> int:
        """Put a record down; see `AuditLog.write`."""
        ...


@define(eq=False)
class Collector:
    """Removes objects whose owners are gone, what is in a namespace that goes, and old events.

    What it does follows from how things are, never from what has happened: it may be stopped at any moment, and run
    more than once. Where nothing is to go, it writes nothing. Webhooks and quotas are not asked.

    Attributes:
        objects: All objects.
        keep_events: How long events are kept.
        recorder: Where it is put down what goes, and which claims were not waited for any longer; None is nowhere.
    """

    objects: Objects
    keep_events: timedelta = KEEP_EVENTS
    recorder: Recorder | None = None
    _writer: Writer = field(init=False)
    _changed: trio.Event = field(init=False, factory=trio.Event)
    _records: list[AuditRecord] = field(init=False, factory=list)
    _told_at: dict[ObjectName, float] = field(init=False, factory=dict)
    """By the clock of the loop, of what was told within the last `TELL_SECONDS`."""

    def __attrs_post_init__(self) -> None:
        writer = self.objects.writer
        self._writer = Writer(writer.store, now=writer.now, new_uid=writer.new_uid, turns=writer.turns)

    async def run(self) -> None:
        """Work until cancelled. The objects must be running."""
        self.objects.history.listen(self._note)
        retry, sweep_at = FIRST_RETRY_SECONDS, 0.0
        while True:
            self._changed = trio.Event()
            plan, failed = await self.collect()
            if trio.current_time() >= sweep_at:
                failed = await self._done(self._old_events()) or failed
                sweep_at = trio.current_time() + SWEEP_SECONDS
            wait = PERIOD_SECONDS
            if plan.wake_at is not None:
                wait = min(wait, max(0.0, (plan.wake_at - self._writer.now()).total_seconds()))
            if failed:
                wait, retry = min(wait, retry), min(retry * 2, MAX_RETRY_SECONDS)
            else:
                retry = FIRST_RETRY_SECONDS
                if plan.steps:
                    wait = 0.0  # what was done may be what something else has waited for
            with trio.move_on_after(wait):
                await self._changed.wait()
            await trio.sleep(GATHER_SECONDS)

    async def collect(self) -> tuple[CollectionPlan, bool]:
        """Do what is to be done now; return that, and whether any of it failed."""
        objects = self.objects
        plan = self._without_chatter(plan_collection(objects.history, objects.kinds, self._writer.now()))
        return plan, await self._done(plan.steps)

    def _without_chatter(self, plan: CollectionPlan) -> CollectionPlan:
        """Return a plan without what is told too soon after it was told last; a later one has that."""
        since = trio.current_time() - TELL_SECONDS
        self._told_at = {name: at for name, at in self._told_at.items() if at > since}
        early = [step for step in plan.steps if isinstance(step, Tell) and step.name in self._told_at]
        if not early:
            return plan
        seconds = min(self._told_at[step.name] for step in early) - since
        wake_at = self._writer.now() + timedelta(seconds=seconds)
        return CollectionPlan(
            tuple(step for step in plan.steps if step not in early),
            wake_at if plan.wake_at is None else min(wake_at, plan.wake_at),
        )

    def _note(self, event: ObjectEvent) -> None:
        if event.kind in _NEVER_OWNERS:
            return
        name = ObjectName(event.kind, event.namespace, event.name)
        if event.type is EventType.DELETED or name in self.objects.history.claimed:
            self._changed.set()

    async def _done(self, steps: Iterable[Step]) -> bool:
        """Do each step; return whether one failed, which is no reason to leave out the others."""
        try:
            return await self._all_done(steps)
        finally:
            # What was done is put down, also where the server is about to end.
            with trio.CancelScope(shield=True):
                await self._put_down()

    async def _all_done(self, steps: Iterable[Step]) -> bool:
        failed, any_done = False, False
        for step in steps:
            any_done = True
            try:
                await self._do(step)
            except (NotFound, PreconditionFailed):
                continue  # Somebody was faster; the next look shows what is left.
            except OrchestrationError as err:
                failed = True
                _LOG.info("could not remove what is to go: %s", err.message)
        if any_done and not failed:
            try:
                now = await self._writer.store.get("/")
            except OrchestrationError as err:
                _LOG.info("could not see what became of what is to go: %s", err.message)
                return True
            await self.objects.history.wait_for(now.revision)
        return failed

    async def _put_down(self) -> None:
        """Write the records of what was done at the same time: the disk is waited for once for all of them."""
        records, self._records = self._records, []
        if self.recorder is None:
            return
        async with trio.open_nursery() as nursery:
            for record in records:
                item = self.objects.history.find(record.resource, record.namespace, record.name)
                revision = item.revision if item is not None else 0
                nursery.start_soon(_write, self.recorder, evolve(record, to_revision=revision))

    def _note_down(self, name: ObjectName, verb: str, revision: int, reason: str) -> None:
        at = self._writer.now()
        plural, namespace, named = name
        self._records.append(
            AuditRecord(
                at, COLLECTOR, verb, plural, Outcome.DONE, "", namespace, named, from_revision=revision, reason=reason
            )
        )

    async def _do(self, step: Step) -> None:
        if self.recorder is not None and self.recorder.failure is not None and isinstance(step, Remove | Settle):
            raise self.recorder.failure  # what can't go on record is not done
        match step:
            case Remove():
                await self._remove(step)
            case Settle():
                await self._settle(step)
            case Tell():
                await self._tell(step)
            case Forget(namespace, names):
                await self._writer.store.transaction([], [Delete(f"/event/{namespace}/{name}") for name in names])

    async def _remove(self, step: Remove) -> None:
        plural, namespace, name = step.name
        kind = self.objects.kinds.find(plural)
        cascade = Cascade.FOREGROUND if step.foreground else Cascade.BACKGROUND
        intent = Intent(manager="collector", if_revision=step.revision, cascade=cascade)
        if kind is WORKLOAD:
            await self.objects.workloads.remove(namespace, name, intent)
        else:
            await self._writer.remove(kind, namespace, name, intent)
        self._note_down(step.name, "delete", step.revision, step.why)

    async def _settle(self, step: Settle) -> None:
        plural, namespace, name = step.name
        kind = self.objects.kinds.find(plural)
        if kind is WORKLOAD:
            orchestrator = self.objects.orchestrator
            await orchestrator.relate(name, lambda now: _without(now, step), namespace=namespace)
            return
        key = object_key(kind, namespace, name)
        store = self._writer.store
        for _ in range(TRIES):
            entry = (await store.get(key)).entry
            if entry is None:
                return
            before = object_of(entry)
            document = evolve(before.document, metadata=_without(before.document.metadata, step))
            goes = document.metadata.deleting_since is not None and not document.metadata.finalizers
            if document == before.document and not goes:
                return
            operations: list[Operation] = [Delete(key) if goes else evolve(before, document=document).put(key)]
            if goes and kind is NAMESPACE:
                operations.append(Delete(ticket_key(name)))
            try:
                await write_together(store, [Compare(key, entry.modified)], operations)
            except RevisionConflict:
                continue
            self._tell_expired(kind, namespace, name, step.expired)
            for claim in step.expired:
                reason = f"the deadline of finalizer {claim.name} of {claim.owner} has passed"
                self._note_down(step.name, "delete" if goes else "update", before.document.metadata.revision, reason)
            return
        raise Conflict(f"others kept changing {kind.name} {name!r}")

    async def _tell(self, step: Tell) -> None:
        plural, namespace, name = step.name
        self._told_at[step.name] = trio.current_time()
        key = object_key(self.objects.kinds.find(plural), namespace, name)
        entry = (await self._writer.store.get(key)).entry
        if entry is None:
            return
        before = object_of(entry)
        status = {each: value for each, value in before.document.status.items() if each != "waits_for"}
        if step.waits_for:
            status["waits_for"] = list(step.waits_for)
        told = evolve(before, document=evolve(before.document, status=status))
        with suppress(RevisionConflict):  # the change that came between is looked at next
            await write_together(self._writer.store, [Compare(key, entry.modified)], [told.put(key)])

    def _tell_expired(self, kind: Kind, namespace: str, name: str, expired: tuple[Finalizer, ...]) -> None:
        for claim in expired:
            text = f"{claim.owner} has not done {claim.name} in time; it is removed all the same"
            subject = f"{kind.name.lower()}/{name}"
            recorder = self.objects.orchestrator.recorder
            recorder.record(namespace or DEFAULT_NAMESPACE, subject, "FinalizerExpired", text, EventSeverity.WARNING)

    def _old_events(self) -> list[Forget]:
        oldest = self._writer.now() - self.keep_events
        old = dict[str, list[str]]()
        for name in self.objects.history.names(EVENT.plural):
            if self._made_at(name) < oldest:
                old.setdefault(name.namespace, []).append(name.name)
        return [
            Forget(namespace, tuple(names[start : start + MAX_FORGOTTEN]))
            for namespace, names in old.items()
            for start in range(0, len(names), MAX_FORGOTTEN)
        ]

    def _made_at(self, name: ObjectName) -> datetime:
        """Return when an event was recorded, which most names tell."""
        now = self._writer.now()
        try:
            uid = UUID(name.name)
        except ValueError:
            uid = None
        if uid is not None and uid.version == _UUID_WITH_TIME:
            return datetime.fromtimestamp((uid.int >> 80) / 1000, tz=now.tzinfo)
        item = self.objects.history.get(name)
        at = item.document.metadata.created_at if item is not None else None
        return now if at is None else at


async def _write(recorder: Recorder, record: AuditRecord) -> None:
    try:
        await recorder.write(record)
    except OrchestrationError as err:
        _LOG.error("what has gone could not be put on record: %s", err.message)  # the message says it


def _without(metadata: M, step: Settle) -> M:
    return evolve(
        metadata,
        finalizers=tuple(claim for claim in metadata.finalizers if claim not in step.finalizers),
        owners=tuple(owner for owner in metadata.owners if owner.uid not in step.owners),
    )
