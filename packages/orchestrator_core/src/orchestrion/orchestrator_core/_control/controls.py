"""What an operator wants of workloads, brought on record."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Final

import trio
from attrs import define, evolve
from orchestrion.orchestrator_core._clock import WallClock
from orchestrion.orchestrator_core._control.gate import Beside, Gate, ProposedChange, no_gate
from orchestrion.orchestrator_core._control.reader import not_found
from orchestrion.orchestrator_core._control.subjects import Subject
from orchestrion.orchestrator_core._state.commits import MAX_COMPARES, write_together
from orchestrion.orchestrator_core._state.facts import ended_as, generation_to_hold
from orchestrion.orchestrator_core._state.records import (
    InstanceName,
    WorkloadControl,
    WorkloadName,
    binding_key,
    control_key,
    spec_key,
)
from orchestrion.orchestrator_core._state.world import WorkloadRecord, World
from orchestrion.shared_types import (
    MAX_GANG,
    ConfigInvalid,
    Conflict,
    DesiredState,
    Metadata,
    PreconditionFailed,
    Problem,
    Unavailable,
    WorkloadDefinition,
    WorkloadKind,
)
from orchestrion.store_interface import Compare, Operation, Revision, RevisionConflict, StateStore

CONFLICT_TRIES: Final = 8
"""How often a change is tried again that others came before."""

COMPARES_EACH: Final = 2

SHIELDED_SECONDS: Final = 5.0
"""How long bringing a stop on record goes on though nobody waits any longer."""

DELETED: Final = "it was deleted"
"""Why an instance stops that somebody has deleted."""

Change = Callable[[WorkloadRecord], WorkloadControl]
"""Says what is to be on record of a workload; what is there already is not written."""


@define(eq=False)
class Controls:
    """Writes the operator's part of workloads.

    Attributes:
        world: Shows what is on record.
        store: Where it is written.
        now: The wall clock.
    """

    world: World
    store: StateStore
    now: WallClock

    async def change(self, name: WorkloadName, change: Change, gate: Gate = no_gate, *, dry_run: bool = False) -> None:
        """Change what is wanted of one workload, and return once the world shows it.

        Args:
            name: Which workload.
            change: Says what is to be on record.
            gate: Has its say before it is written, and writes with it; asked for a dry run too.
            dry_run: True checks everything, and changes nothing.

        Raises:
            WorkloadNotFound: There is none of that name.
            Conflict: Others kept changing it.
        """
        revision = await self._write(
            lambda: [self.record(name)], change, f"workload {name.name!r}", gate, dry_run=dry_run
        )
        await self.world.wait_for(revision)

    async def relate(self, name: WorkloadName, change: Callable[[Metadata], Metadata]) -> Revision:
        """Change a workload's owners and finalizers, and return once the world shows it; see `Orchestrator.relate`.

        Raises:
            WorkloadNotFound: There is none of that name.
            Conflict: Others kept changing it.
        """
        for _ in range(CONFLICT_TRIES):
            record = self.record(name)
            spec = record.spec
            if spec is None:
                raise not_found(name)
            before = spec.definition.metadata
            wanted = change(before)
            metadata = evolve(before, owners=wanted.owners, finalizers=wanted.finalizers)
            if metadata == before:
                return record.revision
            after = evolve(spec, definition=evolve(spec.definition, metadata=metadata))
            try:
                revision = await write_together(
                    self.store,
                    [Compare(spec_key(name), record.spec_revision)],
                    [self.world.put(spec_key(name), after)],
                )
            except RevisionConflict:
                await self.catch_up()
                continue
            await self.world.wait_for(revision)
            return revision
        msg = f"others kept changing workload {name.name!r}"
        raise Conflict(msg, remedy="Look at what they did, and try again.")

    async def remove(
        self,
        name: WorkloadName,
        expected: Revision | None,
        relate: Callable[[Metadata], Metadata],
        beside: Beside,
    ) -> None:
        """Bring on record that a workload is to go, and what claims it until then, in one write; see `Orchestrator`.

        Raises:
            WorkloadNotFound: There is none of that name.
            PreconditionFailed: Its revision is another one.
            Conflict: Others kept changing it.
        """
        for _ in range(CONFLICT_TRIES):
            record = self.record(name)
            spec = record.spec
            if spec is None:
                raise not_found(name)
            check_expected(record, expected)
            wanted = relate(spec.definition.metadata)
            metadata = evolve(spec.definition.metadata, owners=wanted.owners, finalizers=wanted.finalizers)
            after = evolve(spec, definition=evolve(spec.definition, metadata=metadata))
            control = evolve(record.control, removed=True, removed_at=record.control.removed_at or self.now())
            operations = list(beside.operations)
            if control != record.control:
                operations.append(self.world.put(control_key(name), control))
            if after != spec:
                operations.append(self.world.put(spec_key(name), after))
            if not operations:
                return
            compares = [
                *beside.compares,
                Compare(spec_key(name), record.spec_revision),
                Compare(control_key(name), record.control_revision),
            ]
            try:
                revision = await write_together(self.store, compares, operations)
            except RevisionConflict as err:
                if err.key in {compare.key for compare in beside.compares}:
                    raise
                await self.catch_up()
                continue
            await self.world.wait_for(revision)
            return
        msg = f"others kept changing workload {name.name!r}"
        raise Conflict(msg, remedy="Look at what they did, and try again.")

    async def stop_all(self) -> None:
        """Bring on record that every workload is to stop, but for those that have ended.

        Whoever is cancelled meanwhile has it on record all the same, unless the store takes longer than
        `SHIELDED_SECONDS`.

        Raises:
            Conflict: Others kept changing them.
        """
        with trio.move_on_after(SHIELDED_SECONDS, shield=True) as step:
            revision = await self._stop_all()
        if step.cancelled_caught:
            revision = await self._stop_all()
        # Not shielded: the world stands still where all of the orchestrator is cancelled.
        await self.world.wait_for(revision)

    async def _stop_all(self) -> Revision:
        revision = Revision(0)
        names = iter(list(self.world.workloads))
        while chunk := tuple(itertools.islice(names, MAX_COMPARES // COMPARES_EACH)):
            written = await self._write(partial(self._known, chunk), stopped_unless_ended, "the same workloads")
            revision = max(revision, written)
        return revision

    async def stop_instance(self, name: InstanceName, now: datetime, expected: int | None, beside: Beside) -> bool:
        """Bring on record that one instance is to stop, and return once the world shows it; see `Orchestrator`.

        Returns:
            Whether that was not so before.
        """
        for _ in range(CONFLICT_TRIES):
            instance = self.world.instances.get(name)
            bound = instance.bound if instance is not None else None
            if instance is None or bound is None:
                raise Subject(name.short, name.workload).unknown(name.namespace)
            revision = max(instance.binding_revision, instance.status_revision)
            if expected not in (None, revision):
                msg = f"instance {name.short!r} is at revision {revision}, not {expected}"
                raise PreconditionFailed(msg, remedy="Read it again, then decide.")
            if instance.ended or bound.binding.desired is DesiredState.STOP:
                return False
            binding = evolve(bound.binding, desired=DesiredState.STOP, stop_reason=DELETED, stop_at=now)
            key = binding_key(name)
            try:
                written = await self.store.transaction(
                    [*beside.compares, Compare(key, instance.binding_revision)],
                    [self.world.put(key, evolve(bound, binding=binding)), *beside.operations],
                )
            except RevisionConflict as err:
                if err.key in {compare.key for compare in beside.compares}:
                    raise
                await self.catch_up()
                continue
            await self.world.wait_for(written)
            return True
        msg = f"others kept changing instance {name.short!r}"
        raise Conflict(msg, remedy="Look at what they did, and try again.")

    async def pause(self, record: WorkloadRecord, gate: Gate, *, paused: bool) -> bool:
        """Bring on record whether updates are held up; see `Orchestrator.pause`.

        Returns:
            Whether that was not so before.

        Raises:
            ConfigInvalid: It is batch work.
        """
        name = record.name.name
        if record.spec is not None and record.spec.definition.kind is WorkloadKind.BATCH:
            problem = Problem(f"workload {name!r} is batch work and has no updates to pause")
            raise ConfigInvalid((problem,), remedy=f"orchestrion stop {name}")

        def change(now: WorkloadRecord) -> WorkloadControl:
            if bool(now.control.paused) is paused:
                return now.control
            return evolve(now.control, paused=generation_to_hold(now) if paused else 0)

        before = bool(record.control.paused)
        await self.change(record.name, change, gate)
        return before is not paused

    def record(self, name: WorkloadName) -> WorkloadRecord:
        """Return what is on record of a workload.

        Raises:
            WorkloadNotFound: There is none of that name.
        """
        record = self.world.workloads.get(name)
        if record is None or record.spec is None:
            raise not_found(name)
        return record

    def _known(self, names: Iterable[WorkloadName]) -> list[WorkloadRecord]:
        found = (self.world.workloads.get(name) for name in names)
        return [record for record in found if record is not None and record.spec is not None]

    async def _write(
        self,
        records: Callable[[], Iterable[WorkloadRecord]],
        change: Change,
        what: str,
        gate: Gate = no_gate,
        *,
        dry_run: bool = False,
    ) -> Revision:
        """Change some workloads in one transaction, as they are when it is tried, and return the revision of that."""
        for _ in range(CONFLICT_TRIES):
            compares, operations = list[Compare](), list[Operation]()
            changes = list[ProposedChange]()
            for record in records():
                control = change(record)
                if control == record.control:
                    continue
                changes.append(_proposed(record, control))
                compares.append(Compare(spec_key(record.name), record.spec_revision))
                compares.append(Compare(control_key(record.name), record.control_revision))
                operations.append(self.world.put(control_key(record.name), control))
            if not operations:
                return self.world.revision
            beside = await gate(changes, self.world)
            if dry_run:
                return self.world.revision
            try:
                return await write_together(
                    self.store, [*compares, *beside.compares], [*operations, *beside.operations]
                )
            except RevisionConflict:
                await self.catch_up()
        msg = f"others kept changing {what}"
        raise Conflict(msg, remedy="Look at what they did, and try again.")

    async def catch_up(self) -> None:
        """Wait until the world shows everything that was written before now.

        Raises:
            Unavailable: The orchestrator does not run yet.
        """
        if not self.world.synced.is_set():
            msg = "the orchestrator does not run yet"
            raise Unavailable(msg)
        read = await self.store.get("/")
        await self.world.wait_for(read.revision)


def unrelated(metadata: Metadata) -> Metadata:
    """Leave a workload's owners and finalizers as they are."""
    return metadata


def check_expected(record: WorkloadRecord, expected: Revision | None) -> None:
    """Make sure that what is wanted of a workload is at a revision; None is whatever it is.

    Raises:
        PreconditionFailed: It is at another one.
    """
    if expected not in (None, record.revision):
        msg = f"workload {record.name.name!r} is at revision {record.revision}, not {expected}"
        raise PreconditionFailed(msg, remedy="Read it again, then decide.")


def _proposed(record: WorkloadRecord, control: WorkloadControl) -> ProposedChange:
    if record.spec is None:
        raise not_found(record.name)
    definition = record.spec.definition
    return ProposedChange(
        before=definition,
        revision=record.revision,
        after=definition,
        replicas=definition.replicas if control.replicas is None else control.replicas,
        generation=definition.metadata.generation,
        idle=control.stopped or control.removed or ended_as(record) is not None,
    )


def stopped_unless_ended(record: WorkloadRecord) -> WorkloadControl:
    """Want a workload stopped; one that has ended stays as it ended."""
    return record.control if ended_as(record) is not None else evolve(record.control, stopped=True)


def checked_for_scale(record: WorkloadRecord, replicas: int | None) -> WorkloadDefinition:
    """Return the definition of a service that can have so many instances.

    Raises:
        ConfigInvalid: It is no service, the number is out of range, or more than can come up together.
        Conflict: It is being removed, or is stopped, where no number would run anything.
    """
    name = record.name.name
    if record.control.removed:
        msg = f"workload {name!r} is being removed"
        raise Conflict(msg, remedy=f"Apply it again once it is gone: orchestrion status {name}")
    definition = record.spec.definition if record.spec is not None else None
    if definition is None or definition.kind is not WorkloadKind.SERVICE:
        problem = Problem(f"workload {name!r} is no service and has no replicas to scale")
        raise ConfigInvalid((problem,))
    if replicas is not None:
        if record.control.stopped:
            msg = f"workload {name!r} is stopped: no number of replicas would run anything"
            raise Conflict(msg, remedy=f"`orchestrion start {name}` starts it; it can be scaled then.")
        try:
            evolve(definition, replicas=replicas)
        except ValueError as err:
            raise ConfigInvalid((Problem(f"{replicas} replicas are out of range"),)) from err
        if definition.gang is not None and definition.gang.least_of(replicas) > MAX_GANG:
            msg = f"workload {name!r} is a gang of all its replicas; at most {MAX_GANG} can come up together"
            raise ConfigInvalid((Problem(msg),))
    return definition
