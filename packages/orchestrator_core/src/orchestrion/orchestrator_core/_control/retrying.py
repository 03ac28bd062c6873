"""Waits of a back-off that somebody ends: which there are, and how it is brought on record that they are over."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Mapping

from attrs import define, evolve
from orchestrion.orchestrator_core._control.controls import CONFLICT_TRIES, Controls
from orchestrion.orchestrator_core._control.logs import find_instance
from orchestrion.orchestrator_core._control.subjects import parse_subject
from orchestrion.orchestrator_core._state.commits import MAX_COMPARES, write_together
from orchestrion.orchestrator_core._state.events import EventRecorder
from orchestrion.orchestrator_core._state.facts import ended_as, is_retried, placed_generations
from orchestrion.orchestrator_core._state.records import BindingRecord, InstanceName, WorkloadName, binding_key
from orchestrion.orchestrator_core._state.roll import Standing
from orchestrion.orchestrator_core._state.world import InstanceRecord, WorkloadRecord
from orchestrion.shared_types import Conflict, ContainerState, DesiredState, WorkloadKind
from orchestrion.store_interface import Compare, RevisionConflict


@define(eq=False)
class Retrying:
    """Ends waits of back-offs.

    Attributes:
        controls: What is on record, and where.
        recorder: Is told of what was done.
    """

    controls: Controls
    recorder: EventRecorder

    async def retry(self, subject: str, namespace: str) -> list[str]:
        """End the waits of a workload, or of one instance; see `Orchestrator.retry`."""
        await self.controls.catch_up()
        wanted = parse_subject(subject)
        name = WorkloadName(namespace, wanted.workload)
        self.controls.record(name)
        only = None if wanted.index is None else find_instance(self.controls.world, namespace, subject)
        done, tries = list[str](), 0
        while tries < CONFLICT_TRIES:
            record = self.controls.record(name)
            chunk = list(itertools.islice(waits_of(record, only), MAX_COMPARES))
            if not chunk:
                self._tell(name, only, done)
                return done
            compares = [Compare(binding_key(each.name), each.binding_revision) for each, _ in chunk]
            operations = [self.controls.world.put(binding_key(each.name), bound) for each, bound in chunk]
            try:
                revision = await write_together(self.controls.store, compares, operations)
            except RevisionConflict:
                tries += 1
                await self.controls.catch_up()
                continue
            await self.controls.world.wait_for(revision)
            done += [each.name.short for each, _ in chunk]
        msg = f"others kept changing instances of workload {name.name!r}"
        raise Conflict(msg, remedy="Look at what they did, and try again.")

    def _tell(self, name: WorkloadName, only: InstanceName | None, done: list[str]) -> None:
        if not done:
            return
        about = f"workload/{name.name}" if only is None else f"instance/{only.short}"
        self.recorder.record(name.namespace, about, "Retried", f"the next try is not waited for: {', '.join(done[:5])}")


def waits_of(record: WorkloadRecord, only: InstanceName | None) -> Iterator[tuple[InstanceRecord, BindingRecord]]:
    """Yield the instances that wait for another try, and what is to be on record of them so that they do not.

    Args:
        record: The workload.
        only: One of its instances; None is all.
    """
    if record.spec is None or record.control.stopped or record.control.removed or ended_as(record) is not None:
        return
    for name in sorted(record.instances):
        instance = record.instances[name]
        bound = instance.bound
        if bound is None or instance.ended or bound.binding.desired is DesiredState.STOP or only not in (None, name):
            continue
        waiting = {
            container.name: container.attempt
            for container in instance.status.containers
            if container.state is ContainerState.EXITED and container.next_attempt_at is not None
        }
        if any(bound.binding.retried.get(container) != attempt for container, attempt in waiting.items()):
            yield instance, _retried(bound, waiting)
    for instance in _failed(record, only):
        if instance.bound is not None and not is_retried(instance):
            attempts = {container.name: container.attempt for container in instance.status.containers}
            if attempts:
                yield instance, _retried(instance.bound, attempts)


def _retried(bound: BindingRecord, attempts: Mapping[str, int]) -> BindingRecord:
    return evolve(bound, binding=evolve(bound.binding, retried={**bound.binding.retried, **attempts}))


def _failed(record: WorkloadRecord, only: InstanceName | None) -> Iterator[InstanceRecord]:
    """Yield of those that have failed and are not replaced yet the latest of each, which are waited after."""
    groups = dict[Hashable, list[InstanceRecord]]()
    for generation in placed_generations(record):
        for instance in record.roll.of(Standing.FAILED, generation).values():
            groups.setdefault((generation, _waited_for(record, instance)), []).append(instance)
    for instances in groups.values():
        if only is not None and all(each.name != only for each in instances):
            continue
        ended = [(each.status.finished_at, each) for each in instances if each.status.finished_at is not None]
        if ended and any(_is_missing(record, each) for each in instances):
            yield max(ended, key=lambda each: each[0])[1]


def _waited_for(record: WorkloadRecord, instance: InstanceRecord) -> Hashable:
    """Return what failures are counted by: a service has one wait for all, batch work by index, a daemon by node."""
    kind = record.spec.definition.kind if record.spec is not None else WorkloadKind.SERVICE
    if kind is WorkloadKind.SERVICE:
        return "service"
    node_id = instance.bound.binding.node_id if instance.bound is not None else None
    return instance.name.slot if kind is WorkloadKind.BATCH else node_id


def _is_missing(record: WorkloadRecord, instance: InstanceRecord) -> bool:
    kind = record.spec.definition.kind if record.spec is not None else WorkloadKind.SERVICE
    if kind is WorkloadKind.DAEMON:
        return instance.bound is not None and instance.bound.binding.node_id not in record.roll.nodes
    return instance.name.slot not in record.roll.held_slots
