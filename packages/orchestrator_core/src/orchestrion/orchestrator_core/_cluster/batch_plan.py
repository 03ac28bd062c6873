"""What is to be done about a batch workload: its completions, retries, deadline and end."""

from __future__ import annotations

from typing import Final

from attrs import evolve
from orchestrion.orchestrator_core._cluster.gangs import ask_together
from orchestrion.orchestrator_core._cluster.plan import Notice
from orchestrion.orchestrator_core._cluster.planning import Planning
from orchestrion.orchestrator_core._state.facts import first_placed
from orchestrion.orchestrator_core._state.records import Outcome, parse_ranges
from orchestrion.orchestrator_core._state.roll import Standing
from orchestrion.orchestrator_core._state.world import InstanceRecord
from orchestrion.shared_types import EventSeverity, MissPolicy

NOT_STARTED: Final = "not-started"
"""Why a batch workload failed that found no place in time."""

LATE: Final = "late"
"""What is said of one that found none in time, and goes on waiting or has found one since."""


def plan_batch(planning: Planning) -> None:
    """Add to the plan what brings a batch workload to its end: each index succeeds once, or fails for good."""
    definition, progress = planning.definition, planning.progress
    completed = set(parse_ranges(progress.completed)) | _completions(planning)
    failures = {int(slot): count for slot, count in progress.failures.items()}
    failed = dict[int, list[InstanceRecord]]()
    for instance in planning.record.roll.of(Standing.FAILED, planning.generation).values():
        failed.setdefault(instance.name.slot, []).append(instance)
    for slot, instances in failed.items():
        failures[slot] = failures.get(slot, 0) + len(instances)
    _stop_surplus(planning)
    if _ended(planning, completed, failures, failed):
        return
    held = planning.held_slots()
    room = (definition.parallelism or definition.completions) - len(held)
    for slot in range(definition.completions):
        if room <= 0:
            break
        if slot in completed or slot in held:
            continue
        if planning.backoff(failed.get(slot, ()), slot) > 0:
            continue
        planning.place(slot)
        room -= 1
    ask_together(planning, definition.completions, len(completed))


def _completions(planning: Planning) -> set[int]:
    """Return the slots in which an instance that is remembered has done the work."""
    ended = planning.record.roll.of(Standing.ENDED, planning.generation)
    return {instance.name.slot for instance in ended.values() if planning.is_completion(instance)}


def _stop_surplus(planning: Planning) -> None:
    """Stop what runs another template than it should, or beyond the completions, or on a node that was to be empty."""
    current, outgoing = planning.active()
    beyond = max(planning.record.roll.held_slots, default=0) >= planning.definition.completions
    for instance in [*outgoing.values(), *(current.values() if beyond else ())]:
        if planning.is_old(instance) or instance.name.slot >= planning.definition.completions:
            planning.stop(instance, f"generation {planning.generation} replaces it")
        elif planning.is_leaving(instance):
            _let_go(planning, instance)


def _let_go(planning: Planning, instance: InstanceRecord) -> None:
    """Stop an instance whose node is drained and whose time is up; before, it may finish."""
    bound = instance.bound
    node = planning.facts.nodes.get(bound.binding.node_id) if bound is not None else None
    if node is None or node.drain is None or node.drain.deadline is None:
        return
    left = (node.drain.deadline - planning.facts.deadlines.now()).total_seconds()
    if left > 0:
        planning.plan.wake(left)
    else:
        planning.stop(instance, f"its node is drained: {node.drain.reason}")


def _ended(
    planning: Planning, completed: set[int], failures: dict[int, int], failed: dict[int, list[InstanceRecord]]
) -> bool:
    definition = planning.definition
    exhausted = sorted(slot for slot, n in failures.items() if n > definition.retries and slot not in completed)
    if len(completed) >= definition.completions:
        _succeed(planning)
        return True
    if exhausted:
        slot = exhausted[0]
        detail = max(failed.get(slot, ()), key=lambda instance: instance.name.epoch, default=None)
        once = failures[slot] == 1
        message = f"index {slot} failed {'once' if once else f'{failures[slot]} times'}"
        if detail is not None:
            message = f"{message}{': ' if once else '; at last: '}{detail.status.message or detail.status.reason}"
        _fail(planning, "index-failed", message)
        return True
    if first_placed(planning.record) is None and _missed_its_start(planning):
        return True
    # Not from when it looked for a place: who only waits for room does not miss a deadline.
    placed_at = first_placed(planning.record) if definition.deadline_seconds is not None else None
    if definition.deadline_seconds is not None and placed_at is not None:
        left = planning.facts.deadlines.remaining(
            ("deadline", planning.record.name), placed_at, definition.deadline_seconds
        )
        if left == 0:
            _fail(planning, "deadline", f"it did not end within its deadline of {definition.deadline_seconds:g} s")
            return True
        planning.plan.wake(left)
    return False


def _missed_its_start(planning: Planning) -> bool:
    """Note that a workload without any place has missed its start; return whether it is given up for that."""
    seconds, began = planning.definition.start_within_seconds, planning.progress.started_at
    if seconds is None or began is None:
        return False
    left = planning.facts.deadlines.remaining(("start", planning.record.name), began, seconds)
    if left > 0:
        planning.plan.wake(left)
        return False
    message = f"it found no place within {seconds:g} s"
    if planning.definition.missed_start is MissPolicy.DROP:
        _fail(planning, NOT_STARTED, message)
        return True
    if planning.progress.reason != LATE:
        planning.plan.notices.append(Notice("Late", f"{message}, and goes on waiting", EventSeverity.WARNING))
        planning.progress = evolve(planning.progress, reason=LATE, message=message)
    return False


def note_completion(planning: Planning) -> None:
    """Note that a batch workload that is told to stop had succeeded before: it stays as it ended."""
    if planning.progress.outcome is not None:
        return
    completed = set(parse_ranges(planning.progress.completed)) | _completions(planning)
    if len(completed) >= planning.definition.completions:
        _succeed(planning)


def _succeed(planning: Planning) -> None:
    count = planning.definition.completions
    message = f"all {count} completions have succeeded" if count > 1 else "it has succeeded"
    planning.plan.notices.append(Notice("Succeeded", message))
    planning.progress = evolve(
        planning.progress, outcome=Outcome.SUCCEEDED, message=message, finished_at=planning.facts.deadlines.now()
    )


def _fail(planning: Planning, reason: str, message: str) -> None:
    planning.plan.notices.append(Notice("Failed", message, EventSeverity.WARNING))
    planning.progress = evolve(
        planning.progress,
        outcome=Outcome.FAILED,
        reason=reason,
        message=message,
        finished_at=planning.facts.deadlines.now(),
    )
    planning.stop_all("the workload has failed")
