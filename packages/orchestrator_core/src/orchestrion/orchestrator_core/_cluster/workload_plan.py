"""What is to be done about a workload: pure thinking, without effects."""

from __future__ import annotations

from math import inf
from typing import Final

from attrs import evolve
from orchestrion.orchestrator_core._cluster.batch_plan import note_completion, plan_batch
from orchestrion.orchestrator_core._cluster.daemon_plan import plan_daemon
from orchestrion.orchestrator_core._cluster.plan import Notice, WorkloadPlan
from orchestrion.orchestrator_core._cluster.planning import Planning
from orchestrion.orchestrator_core._cluster.service_plan import pause_update, plan_service
from orchestrion.orchestrator_core._state.facts import (
    DEPENDENCY_FAILED,
    Facts,
    canary_of,
    dependencies_of,
    first_placed,
    is_held,
    placed_generation,
)
from orchestrion.orchestrator_core._state.records import (
    InstanceName,
    Outcome,
    WorkloadProgress,
    format_ranges,
    parse_ranges,
)
from orchestrion.orchestrator_core._state.world import InstanceRecord, WorkloadRecord
from orchestrion.shared_types import (
    EventSeverity,
    InstanceState,
    WorkloadKind,
)

MAX_FAILURES_KEPT: Final = 10
"""Recent failures that are kept beyond what is retained: more would make no wait longer."""

MAX_FORGOTTEN: Final = 50
"""Records that one plan forgets at most, so that they and the progress that accounts for them fit one transaction."""


def plan_workload(record: WorkloadRecord, facts: Facts) -> WorkloadPlan:
    """Return what is to be done about a workload, as the world is now. Converged, there is nothing to do."""
    plan = WorkloadPlan(spec_revision=record.spec_revision, control_revision=record.control_revision)
    if facts.only_stops and not (record.control.removed or record.control.stopped):
        return plan
    for node_id in sorted(record.roll.nodes.keys() & facts.lost):
        plan.lose.extend(record.roll.nodes[node_id].values())
    if record.spec is None or (record.control.removed and not record.roll.held_slots):
        claimed = _claimed_for(record, facts)
        if claimed > 0:
            if claimed != inf:
                plan.wake(claimed)
            return plan
        plan.purge = not plan.lose
        return plan
    planning = _prepare(record, facts, plan)
    if record.control.removed:
        planning.stop_all("the workload is removed")
    elif record.control.stopped:
        if planning.definition.kind is WorkloadKind.BATCH:
            note_completion(planning)
        planning.stop_all("the workload is stopped")
        pause_update(planning)
    elif not _blocked(planning):
        planning.evict()
        planning.stop_waiting()
        match planning.definition.kind:
            case WorkloadKind.SERVICE:
                plan_service(planning)
            case WorkloadKind.BATCH:
                plan_batch(planning)
            case WorkloadKind.DAEMON:
                plan_daemon(planning)
    if plan.place and planning.progress.started_at is None:
        planning.progress = evolve(planning.progress, started_at=facts.deadlines.now())
    _forget_history(planning)
    _drop_templates(planning)
    if planning.progress != record.progress:
        plan.progress = planning.progress
    return plan


def _claimed_for(record: WorkloadRecord, facts: Facts) -> float:
    """Return for how many seconds finalizers may still keep a workload that is removed; inf where one has no end."""
    left = 0.0
    for claim in record.spec.definition.metadata.finalizers if record.spec is not None else ():
        if claim.deadline is None:
            return inf
        left = max(left, (claim.deadline - facts.deadlines.now()).total_seconds())
    return left


def _prepare(record: WorkloadRecord, facts: Facts, plan: WorkloadPlan) -> Planning:
    spec = record.spec
    assert spec is not None  # noqa: S101 - for the type checker: the caller has looked
    progress = record.progress
    uid = spec.definition.metadata.uid
    if progress is None or progress.uid != uid:
        floor = progress.epoch_floor if progress is not None else 0
        progress = WorkloadProgress(uid=uid, epoch_floor=floor, run_generation=spec.template_generation)
    elif progress.run_generation != spec.template_generation:
        progress = evolve(
            progress,
            run_generation=spec.template_generation,
            completed="",
            failures={},
            outcome=None,
            reason="",
            message="",
            finished_at=None,
            # A batch workload's run begins anew, and with it its deadline.
            started_at=None if spec.definition.kind is WorkloadKind.BATCH else progress.started_at,
            placed_at=None if spec.definition.kind is WorkloadKind.BATCH else progress.placed_at,
        )
    held = is_held(record)
    canary = None if held else canary_of(record)
    return Planning(
        record=record,
        facts=facts,
        plan=plan,
        definition=spec.definition,
        progress=progress,
        generation=placed_generation(record) if canary is None else canary.generation,
        held=held,
        canary=canary,
    )


def _blocked(planning: Planning) -> bool:
    """Whether the workload has ended, or may not start yet."""
    progress = planning.progress
    if progress.outcome is not None and progress.reason != DEPENDENCY_FAILED:
        planning.stop_all(f"the workload has {progress.outcome}")
        return True
    if progress.started_at is not None and progress.outcome is None:
        return False
    state = dependencies_of(planning.record, planning.facts)
    if state.impossible or state.waiting_for:
        # What is there is of a run before: it may hold the very room that what this one comes after needs.
        planning.stop_all(f"generation {planning.generation} replaces it")
    if state.impossible:
        message = f"it comes after {state.impossible}"
        if progress.outcome is None or progress.message != message:
            planning.progress = evolve(
                progress,
                outcome=Outcome.FAILED,
                reason=DEPENDENCY_FAILED,
                message=message,
                finished_at=planning.facts.deadlines.now(),
            )
            planning.plan.notices.append(Notice("DependencyFailed", message, EventSeverity.WARNING))
        return True
    if progress.outcome is not None:
        planning.progress = evolve(progress, outcome=None, reason="", message="", finished_at=None)
    if state.wake_after is not None:
        planning.plan.wake(state.wake_after)
    return bool(state.waiting_for)


def _forget_history(planning: Planning) -> None:
    """Give up the oldest ended instances beyond what is retained."""
    ended = planning.record.roll.ended
    surplus = len(ended) - planning.definition.retention.terminal_instances
    if surplus <= 0:
        return
    ended.sort(key=_ended_at)
    forgettable = _forgettable(planning, ended[:surplus])
    forgotten = forgettable[:MAX_FORGOTTEN]
    if not forgotten:
        return
    progress = planning.progress
    completed = set(parse_ranges(progress.completed))
    failures = dict(progress.failures)
    failed_total = progress.failed_total
    floor = progress.epoch_floor
    for instance in forgotten:
        floor = max(floor, instance.name.epoch)
        if instance.state is InstanceState.FAILED:
            failed_total += 1
        if planning.definition.kind is not WorkloadKind.BATCH or planning.is_old(instance):
            continue
        slot = instance.name.slot
        if planning.is_completion(instance):
            completed.add(slot)
        elif instance.state is InstanceState.FAILED and slot not in completed:
            failures[str(slot)] = failures.get(str(slot), 0) + 1
    planning.progress = evolve(
        progress,
        epoch_floor=floor,
        completed=format_ranges(frozenset(completed)),
        failures={slot: count for slot, count in failures.items() if int(slot) not in completed},
        failed_total=failed_total,
        placed_at=first_placed(planning.record),
    )
    planning.plan.forget.extend(forgotten)
    if len(forgettable) > len(forgotten):
        planning.plan.wake(0.0)


def _forgettable(planning: Planning, surplus: list[InstanceRecord]) -> list[InstanceRecord]:
    """Return all but the failures that are still needed: to slow down replacements, and to judge an update."""
    kept = dict[InstanceName, InstanceRecord]()
    for instance in reversed(surplus):
        if instance.state is not InstanceState.FAILED or planning.is_old(instance) or len(kept) >= MAX_FAILURES_KEPT:
            continue
        left = planning.counts_as_recent(instance)
        if left > 0:
            kept[instance.name] = instance
            planning.plan.wake(left)
    return [instance for instance in surplus if instance.name not in kept]


def _ended_at(instance: InstanceRecord) -> tuple[str, int, int]:
    bound = instance.bound
    ended = instance.status.finished_at or (bound.binding.lost_at if bound is not None else None)
    return (ended.isoformat() if ended is not None else "", instance.name.epoch, instance.name.slot)


def _drop_templates(planning: Planning) -> None:
    spec = planning.record.spec
    needed = {planning.generation, planning.progress.stable_generation, planning.record.control.paused}
    if spec is not None:
        needed.add(spec.template_generation)
    needed |= planning.record.roll.generations
    planning.plan.drop_templates.extend(
        generation for generation in planning.record.templates if generation not in needed
    )
