"""How a workload is doing, derived from what is recorded: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from orchestrion.orchestrator_core._cluster.plan import WantedSlot
from orchestrion.orchestrator_core._control.trouble import Trouble, trouble_of
from orchestrion.orchestrator_core._control.views import WorkloadPhase, WorkloadView
from orchestrion.orchestrator_core._state.facts import (
    Canary,
    Facts,
    available_of,
    canary_of,
    count_available,
    dependencies_of,
    first_placed,
    has_begun,
    is_held,
    is_scaled,
    lacking_nodes,
    outcome_of,
    placed_generation,
    target_generation,
    wanted_replicas,
)
from orchestrion.orchestrator_core._state.lifecycle import STOPPED
from orchestrion.orchestrator_core._state.records import InstanceName, Outcome, parse_ranges
from orchestrion.orchestrator_core._state.roll import ENDS, Standing
from orchestrion.orchestrator_core._state.world import InstanceRecord, WorkloadRecord
from orchestrion.scheduler_interface import Explanation, describe
from orchestrion.shared_types import InstanceState, WorkloadKind

PAUSED: Final = "paused"
"""Why an update does not go on that somebody has paused."""

_PAUSED_WORDS: Final = "its updates are paused"

CANARY: Final = "canary"
"""Why an update does not go on whose first instances are healthy, and that nobody has promoted."""

IDLE: Final = "no-orchestrator"
"""Why a workload lacks places that nobody looks for."""


def summarize(
    record: WorkloadRecord,
    facts: Facts,
    unplaced: Mapping[int, Explanation] | None = None,
    retry: str = "",
    idle: Sequence[WantedSlot] = (),
) -> WorkloadView | None:
    """Return how a workload is doing; None where only remains of it are left.

    Args:
        record: The workload.
        facts: The rest of the world.
        unplaced: Why slots have no place, by slot; None where that is not known.
        retry: When they are tried again, in words; empty where there is nothing to say about it.
        idle: Slots that want a place where no orchestrator runs that would look for one.
    """
    spec, progress = record.spec, record.progress
    if spec is None:
        return None
    definition = spec.definition
    generation = target_generation(record)
    roll = record.roll
    live = sum(roll.held_slots.values())
    unsettled = [
        instance
        for _, group in roll.standing(Standing.STARTING, Standing.STOPPING, Standing.UNBOUND)
        for instance in group.values()
    ]
    available = count_available(record, definition.update, facts)
    serving = sum(len(group) for _, group in roll.standing(Standing.SERVING))
    updated = sum(len(roll.of(standing, generation)) for standing in Standing if standing not in ENDS)
    succeeded = _completed(record, generation)
    failed = sum(len(group) for _, group in roll.standing(Standing.FAILED))
    wanted = wanted_replicas(record)
    if definition.kind is WorkloadKind.DAEMON and wanted:
        refused = facts.refusals.get((record.name, placed_generation(record)), {})
        # A node that is no place for it however empty is no shortage.
        nodes = {
            node_id
            for node_id in facts.nodes
            if facts.takes_work(node_id) and not (node_id in refused and refused[node_id].never)
        }
        unplaced = dict(enumerate(lacking_nodes(record, facts).values()))
        nodes.update(slot.only_node for slot in idle if slot.only_node is not None)
        wanted = len(nodes | roll.nodes.keys())
    phase, reason, message = _phase(
        record, facts, generation, live, wanted, available, updated, unplaced or {}, retry, len(idle)
    )
    return WorkloadView(
        definition=definition,
        phase=phase,
        reason=reason,
        message=message,
        replicas=wanted,
        scaled=is_scaled(record),
        placed=live,
        running=serving + sum(map(_all_run, unsettled)),
        available=available,
        updated=updated,
        succeeded=succeeded,
        failed=failed + (progress.failed_total if progress is not None else 0),
        generation=generation,
        paused=bool(record.control.paused),
        canary=definition.update.canary if canary_of(record) is not None else 0,
        started_at=first_placed(record),
        finished_at=progress.finished_at if progress is not None else None,
    )


def _all_run(instance: InstanceRecord) -> bool:
    """Whether an instance is at work, with no container that waits for being started again."""
    waits = (container.next_attempt_at is not None for container in instance.status.containers)
    return instance.state is InstanceState.RUNNING and not any(waits)


def _completed(record: WorkloadRecord, generation: int) -> int:
    if record.spec is None or record.spec.definition.kind is not WorkloadKind.BATCH:
        return 0
    done = set(parse_ranges(record.progress.completed)) if record.progress is not None else set[int]()
    for instance in record.roll.of(Standing.ENDED, generation).values():
        if instance.status.state is InstanceState.SUCCEEDED and instance.status.reason != STOPPED:
            done.add(instance.name.slot)
    return len(done)


def _removal_words(record: WorkloadRecord, live: int) -> str:
    """Return what a workload that is being removed waits for."""
    if live or record.spec is None or not record.spec.definition.metadata.finalizers:
        return "it goes once nothing of it runs"
    claims = [
        f"finalizer {claim.name} of {claim.owner}"
        + (f" (until {claim.deadline:%Y-%m-%d %H:%M:%SZ})" if claim.deadline is not None else "")
        for claim in record.spec.definition.metadata.finalizers
    ]
    return f"nothing of it runs; it waits for {', '.join(claims)}"


def _phase(
    record: WorkloadRecord,
    facts: Facts,
    generation: int,
    live: int,
    wanted: int,
    available: int,
    updated: int,
    unplaced: Mapping[int, Explanation],
    retry: str,
    idle: int,
) -> tuple[WorkloadPhase, str, str]:
    spec, progress = record.spec, record.progress
    if record.control.removed:
        return WorkloadPhase.STOPPING, "removed", _removal_words(record, live)
    outcome = outcome_of(record)
    if outcome is Outcome.SUCCEEDED and progress is not None:
        return WorkloadPhase.SUCCEEDED, "", progress.message
    if outcome is Outcome.FAILED and progress is not None:
        return WorkloadPhase.FAILED, progress.reason, progress.message
    if record.control.stopped:
        return (WorkloadPhase.STOPPING if live else WorkloadPhase.STOPPED), "stopped", ""
    if not has_begun(record):
        dependencies = dependencies_of(record, facts)
        if dependencies.waiting_for:
            return WorkloadPhase.WAITING, "after", f"waits for {', '.join(dependencies.waiting_for)}"
    undecided = facts.undecided.get(record.name)
    if undecided is not None:
        return WorkloadPhase.PENDING, "undecided", f"waits for the scheduler: {undecided.message}"
    # What is on record of a run that has ended says nothing about the one that begins.
    own = progress if progress is not None and progress.outcome is None else None
    reason = own.reason if own is not None else ""
    message = own.message if own is not None else ""
    held = is_held(record)
    # Where nothing is wanted there is nothing to promote that somebody could look at first: it is where it should be.
    canary = canary_of(record) if wanted and not held else None
    healthy = 0
    if canary is not None:
        healthy = len(record.roll.of(Standing.SERVING, generation).keys() & _available(record, facts))
        message = "; ".join(filter(None, (_canary_words(record.name.name, canary, healthy), message)))
    if held:
        message = "; ".join(filter(None, (_held_words(record, generation, wanted, updated), message)))
    if unplaced:
        text = describe(next(iter(unplaced.values())))
        parts = (f"{_have(len(unplaced))} no place: {text}", retry, message)
        return WorkloadPhase.PENDING, "unplaceable", "; ".join(filter(None, parts))
    if idle:
        text = f"{_have(idle)} no place, and no orchestrator runs that would look for one"
        return WorkloadPhase.PENDING, IDLE, "; ".join(filter(None, (text, message)))
    if spec is not None and spec.definition.kind is WorkloadKind.BATCH:
        if first_placed(record) is None:
            return WorkloadPhase.PENDING, reason, message
        finished = parse_ranges(progress.completed) if progress is not None else ()
        return WorkloadPhase.RUNNING, *_with_trouble(reason, message, trouble_of(record, generation, finished))
    if canary is not None and healthy >= canary.count and available >= wanted:
        return WorkloadPhase.PROGRESSING, CANARY, message
    if canary is None and available >= wanted and updated >= wanted and live <= wanted:
        return WorkloadPhase.HEALTHY, reason, message or (_PAUSED_WORDS if record.control.paused else "")
    if held and available >= wanted:
        return WorkloadPhase.PROGRESSING, PAUSED, message
    trouble = trouble_of(record, generation)
    if reason or trouble is not None:
        return WorkloadPhase.DEGRADED, *_with_trouble(reason, message, trouble)
    return WorkloadPhase.PROGRESSING, reason, message


def _available(record: WorkloadRecord, facts: Facts) -> set[InstanceName]:
    return available_of(record, record.spec.definition.update, facts)[0] if record.spec is not None else set()


def _held_words(record: WorkloadRecord, generation: int, wanted: int, updated: int) -> str:
    """Return how far an update is that is held up, and what lets it go on."""
    how_far = f"{updated} of {wanted} instances run it" if updated else "no instance runs it"
    return (
        f"its update to generation {generation} is paused: {how_far}; `orchestrion rollout resume {record.name.name}`"
    )


def _canary_words(name: str, canary: Canary, healthy: int) -> str:
    """Return how far a canary is, and what may be done once it is there.

    Args:
        name: The workload's name.
        canary: Of its update.
        healthy: How many of its instances have been healthy for long enough.
    """
    if healthy < canary.count:
        waits = "where it waits for a promotion"
        return f"{healthy} of {canary.count} new instances are healthy, as many as the update begins with, {waits}"
    return (
        f"{healthy} of {canary.count} new instances are healthy; `orchestrion rollout promote {name}` lets the update "
        f"go on, `rollout undo {name}` goes back"
    )


def _have(count: int) -> str:
    return "1 instance has" if count == 1 else f"{count} instances have"


def _with_trouble(reason: str, message: str, trouble: Trouble | None) -> tuple[str, str]:
    if trouble is None:
        return reason, message
    return reason or trouble.reason, f"{message}; {trouble.message}" if message else trouble.message
