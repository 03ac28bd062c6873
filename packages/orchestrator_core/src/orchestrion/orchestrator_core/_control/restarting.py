"""A workload whose instances are to be new ones of the same: how that comes to be an update like any other."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from attrs import evolve
from orchestrion.orchestrator_core._control.admission import Admission
from orchestrion.orchestrator_core._control.reader import not_found
from orchestrion.orchestrator_core._control.views import ChangeAction, FieldDifference, WorkloadChange
from orchestrion.orchestrator_core._state.facts import target_generation
from orchestrion.orchestrator_core._state.records import WorkloadSpec
from orchestrion.orchestrator_core._state.world import WorkloadRecord
from orchestrion.shared_types import ConfigInvalid, Conflict, Problem, WorkloadKind

RESTART: Final = "restart"
"""The cause of a generation whose instances replace those of the one before, and run the same."""


def restarted(record: WorkloadRecord, now: datetime) -> Admission:
    """Return what replaces all instances of a workload: a new generation of what it runs.

    Args:
        record: The workload.
        now: The time that the change is noted with.

    Raises:
        WorkloadNotFound: It is not there any more.
        ConfigInvalid: It is batch work, whose runs are no updates.
        Conflict: It is being removed, is stopped, its updates are paused, or the last one was rolled back.
    """
    name, spec = record.name.name, record.spec
    if spec is None:
        raise not_found(record.name)
    if spec.definition.kind is WorkloadKind.BATCH:
        problem = Problem(f"workload {name!r} is batch work: it has no instances that others could follow")
        raise ConfigInvalid((problem,), remedy=f"`orchestrion start --rerun {name}` does ended work once more.")
    _check(record, spec)
    generation = spec.definition.metadata.generation + 1
    note = FieldDifference(path="", before="", after="", note="it is restarted")
    change = WorkloadChange(
        namespace=record.name.namespace,
        name=name,
        action=ChangeAction.UPDATE,
        generation=generation,
        differences=(note,),
        restarts=True,
    )
    metadata = evolve(spec.definition.metadata, generation=generation, revision=0, updated_at=now)
    definition = evolve(spec.definition, metadata=metadata)
    after = WorkloadSpec(definition=definition, template_generation=generation, restarted=generation)
    return Admission(change, after, None, record, cause=RESTART)


def _check(record: WorkloadRecord, spec: WorkloadSpec) -> None:
    name, control = record.name.name, record.control
    if control.removed:
        msg = f"workload {name!r} is being removed"
        raise Conflict(msg, remedy=f"Apply it again once it is gone: orchestrion status {name}")
    if control.stopped:
        msg = f"workload {name!r} is stopped, and has nothing to restart"
        raise Conflict(msg, remedy=f"orchestrion start {name}")
    if control.paused:
        msg = f"updates of workload {name!r} are paused, and a restart is one"
        raise Conflict(msg, remedy=f"orchestrion rollout resume {name}")
    if target_generation(record) != spec.template_generation:
        msg = f"the last update of workload {name!r} was rolled back, and is not what runs"
        raise Conflict(msg, remedy=f"Apply what it should run, or `orchestrion rollout undo {name}`; then restart it.")
