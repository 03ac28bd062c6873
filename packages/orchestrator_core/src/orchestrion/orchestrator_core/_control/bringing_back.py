"""What is wanted again while instances of it are still there: those stay, and no others of the same replace them."""

from __future__ import annotations

from orchestrion.orchestrator_core._state.records import template_of
from orchestrion.orchestrator_core._state.roll import Roll, Standing
from orchestrion.orchestrator_core._state.world import WorkloadRecord
from orchestrion.shared_types import WorkloadDefinition, WorkloadKind


def generation_kept(definition: WorkloadDefinition, record: WorkloadRecord) -> int:
    """Return the template generation that a definition goes on with, as instances of it are there; 0 for a new one.

    They run the same in all that they can see, and no restart was asked for since they were wanted. A generation that
    was rolled back from gets no second verdict, and one that was never rolled out is judged by the failures of the
    update that it is now: neither is gone on with once something of it has failed. Each run of batch work is its own.

    Args:
        definition: What is wanted, with the uid of the workload.
        record: The workload before.
    """
    spec, progress, roll = record.spec, record.progress, record.roll
    if spec is None or definition.kind is WorkloadKind.BATCH:
        return 0
    stable = failed = 0
    if progress is not None and progress.uid == spec.definition.metadata.uid:
        stable, failed = progress.stable_generation, progress.failed_generation
    wanted = template_of(definition)
    there = {generation for generation, group in roll.standing(Standing.SERVING, Standing.STARTING) if group}
    found = [
        generation
        for generation in there
        if generation >= spec.restarted
        and generation != failed
        and (generation == stable or not _has_failed(roll, generation))
        and generation in record.templates
        and template_of(record.templates[generation]) == wanted
    ]
    return stable if stable in found else max(found, default=0)


def replaces(record: WorkloadRecord, generation: int) -> bool:
    """Whether instances of other template generations are there, which one that is kept replaces."""
    there = (one for one, group in record.roll.standing(Standing.SERVING, Standing.STARTING) if group)
    return any(one != generation for one in there)


def staying_note(record: WorkloadRecord, generation: int) -> str:
    """Return what is to be said about the instances of a template generation that is kept."""
    count = sum(len(record.roll.of(standing, generation)) for standing in (Standing.SERVING, Standing.STARTING))
    if count == 1:
        return f"1 instance of generation {generation}, which runs the same, stays"
    return f"{count} instances of generation {generation}, which run the same, stay"


def _has_failed(roll: Roll, generation: int) -> bool:
    return any(
        instance.name in roll.of(Standing.FAILED, generation)
        or any(container.attempt > 0 for container in instance.status.containers)
        for instance in roll.of_generation(generation)
    )
