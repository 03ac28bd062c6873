"""What is to be done about a service: its size, its updates, its failures, and nodes that are emptied."""

from __future__ import annotations

from typing import Final

from attrs import evolve
from orchestrion.orchestrator_core._cluster.gangs import ask_together
from orchestrion.orchestrator_core._cluster.plan import Notice
from orchestrion.orchestrator_core._cluster.planning import Planning
from orchestrion.orchestrator_core._state.facts import Canary, wanted_replicas
from orchestrion.orchestrator_core._state.records import InstanceName
from orchestrion.orchestrator_core._state.roll import Instances, Standing
from orchestrion.orchestrator_core._state.world import InstanceRecord
from orchestrion.shared_types import EventSeverity, InstanceState

FAILING_STARTS: Final = 3
"""So many failed starts of instances of a new template are taken as proof that it does not work."""


ROLLED_BACK: Final = "rolled-back"
UPDATE_FAILED: Final = "update-failed"


def plan_service(planning: Planning) -> None:
    """Add to the plan what brings a service to its size and template, never below what its update strategy permits."""
    wanted = wanted_replicas(planning.record)
    current, outgoing = planning.active()
    failed = planning.record.roll.of(Standing.FAILED, planning.generation)
    available = planning.available()
    if planning.held:
        pause_update(planning)
    else:
        new = current if planning.canary is None else _those_of(planning, planning.generation, current)
        _watch_update(planning, wanted, new, outgoing, failed, available)
    if planning.progress.failed_generation == planning.generation:
        # The verdict has just fallen: once it is stored, the next plan leads back.
        return
    _stop_surplus(planning, wanted, current, outgoing, available)
    _grow(planning, wanted, current, outgoing, failed)


def pause_update(planning: Planning) -> None:
    """Let an update begin anew once it goes on: without instances, or held up, it proves nothing about its template."""
    progress = planning.progress
    if progress.target_generation and progress.target_generation != progress.stable_generation:
        planning.progress = evolve(progress, target_generation=0, updated_at=None, updated_available=0)


def _watch_update(
    planning: Planning,
    wanted: int,
    current: Instances,
    outgoing: Instances,
    failed: Instances,
    available: set[InstanceName],
) -> None:
    """Note how an update goes, and give up on one that does not work."""
    if wanted == 0:
        pause_update(planning)
        return
    progress, facts = planning.progress, planning.facts
    new_available = len(set(current) & available)
    canary = planning.canary
    if canary is not None and new_available >= canary.count:
        _wait_for_promotion(planning, canary)
        return
    if progress.target_generation != planning.generation:
        progress = evolve(
            progress,
            target_generation=planning.generation,
            updated_at=facts.deadlines.now(),
            updated_available=new_available,
            reason="" if progress.reason == UPDATE_FAILED else progress.reason,
            message="" if progress.reason == UPDATE_FAILED else progress.message,
        )
    rolled_out = canary is None and new_available >= wanted and not any(map(planning.is_old, outgoing.values()))
    if rolled_out and progress.stable_generation != planning.generation:
        progress = evolve(progress, stable_generation=planning.generation, updated_available=new_available)
        if planning.record.spec is not None and planning.generation == planning.record.spec.template_generation:
            progress = evolve(progress, failed_generation=0, reason="", message="")
        count = "1 instance" if new_available == 1 else f"{new_available} instances"
        planning.plan.notices.append(Notice("RolledOut", f"generation {planning.generation} is rolled out to {count}"))
    elif not rolled_out and progress.stable_generation != planning.generation:
        if progress.stable_generation and new_available > progress.updated_available:
            progress = evolve(progress, updated_available=new_available, updated_at=facts.deadlines.now())
        planning.progress = progress
        _judge(planning, current, failed, available)
        return
    planning.progress = progress


def _wait_for_promotion(planning: Planning, canary: Canary) -> None:
    """Let an update stand still whose canary is as it should be: until it goes on, no time counts."""
    if planning.progress.target_generation == canary.generation:
        count = "1 new instance is" if canary.count == 1 else f"{canary.count} new instances are"
        message = f"generation {canary.generation} waits for a promotion: {count} healthy"
        planning.plan.notices.append(Notice("CanaryHealthy", message))
    pause_update(planning)


def _those_of(planning: Planning, generation: int, instances: Instances) -> Instances:
    return {one.name: one for one in planning.of_generation(generation, instances)}


def _judge(planning: Planning, current: Instances, failed: Instances, available: set[InstanceName]) -> None:
    progress = planning.progress
    if progress.reason == UPDATE_FAILED or progress.updated_at is None:
        return
    starts = len(failed) + sum(
        max((container.attempt for container in current[name].status.containers), default=0)
        for name in set(current) - available
    )
    left = planning.facts.deadlines.remaining(
        ("update", planning.record.name),
        progress.updated_at,
        planning.definition.update.progress_deadline_seconds,
    )
    if left > 0 and starts < FAILING_STARTS:
        planning.plan.wake(left)
        return
    why = f"{starts} starts failed" if starts >= FAILING_STARTS else "it made no progress within its deadline"
    stable = progress.stable_generation
    if stable and stable in planning.record.templates and planning.definition.update.rollback:
        message = f"generation {planning.generation} does not work ({why}); back to generation {stable}"
        planning.plan.notices.append(Notice("RolledBack", message, EventSeverity.WARNING))
        planning.progress = evolve(progress, failed_generation=planning.generation, reason=ROLLED_BACK, message=message)
    else:
        message = f"generation {planning.generation} does not work ({why})"
        planning.plan.notices.append(Notice("UpdateFailed", message, EventSeverity.WARNING))
        planning.progress = evolve(progress, reason=UPDATE_FAILED, message=message)


def _stop_surplus(
    planning: Planning,
    wanted: int,
    current: Instances,
    outgoing: Instances,
    available: set[InstanceName],
) -> None:
    def weakest_first(instance: InstanceRecord) -> tuple[bool, bool, float, int]:
        bound = instance.bound
        bound_at = bound.binding.bound_at if bound is not None else None
        age = -bound_at.timestamp() if bound_at is not None else 0.0
        # Of an update that is held up, what is new goes before what there was.
        stays = planning.held and bound is not None and bound.binding.generation == planning.generation
        return (stays, instance.name in available, age, -instance.name.slot)

    surplus = len(current) - wanted
    if planning.held and any(_is_ahead(planning, instance) for instance in current.values()):
        # What an update had started beyond the number before it was held up is left until that goes on.
        surplus -= planning.definition.update.max_surge
    for instance in sorted(current.values(), key=weakest_first)[:surplus] if surplus > 0 else ():
        planning.stop(instance, "the workload is scaled down")
        available.discard(instance.name)
    staying = [
        instance
        for instance in sorted(outgoing.values(), key=weakest_first)
        if not _ends_now(planning, instance, available)
    ]
    floor = max(0, wanted - planning.definition.update.max_unavailable)
    budget = planning.definition.disruption
    floor_of_drains = floor if budget is None else budget.least_available(wanted)
    total = min(len(current), wanted) + len(staying) - len(set(current) - available)
    left_available = len(available)
    for instance in staying:
        least = floor_of_drains if _leaves(planning, instance) else floor
        if total <= least:
            continue
        if instance.name in available:
            if left_available <= least:
                continue
            left_available -= 1
        total -= 1
        planning.stop(instance, _replaced(planning, instance))


def _is_ahead(planning: Planning, instance: InstanceRecord) -> bool:
    return instance.bound is not None and instance.bound.binding.generation > planning.generation


def _ends_now(planning: Planning, instance: InstanceRecord, available: set[InstanceName]) -> bool:
    """Stop an outgoing instance that nobody has to wait for, and return whether that was done."""
    node = planning.facts.nodes.get(instance.bound.binding.node_id) if instance.bound is not None else None
    drain = node.drain if node is not None else None
    if drain is not None and drain.deadline is not None:
        left = (drain.deadline - planning.facts.deadlines.now()).total_seconds()
        if left <= 0:
            planning.stop(instance, f"its node is drained: {drain.reason}")
            available.discard(instance.name)
            return True
        planning.plan.wake(left)
    if _is_down(planning, instance):
        # What does not serve is not missed, and may hold the very room that its replacement needs.
        planning.stop(instance, _replaced(planning, instance))
        return True
    return False


def _is_down(planning: Planning, instance: InstanceRecord) -> bool:
    """Whether an instance is known not to serve now: one that is healthy, if not yet for long enough, is not down."""
    bound = instance.bound
    return (
        bound is not None
        and bound.binding.node_id in planning.facts.leased
        and instance.state in {InstanceState.PENDING, InstanceState.RUNNING}
        and instance.status.healthy_since is None
    )


def _replaced(planning: Planning, instance: InstanceRecord) -> str:
    if not _leaves(planning, instance):
        canary, bound = planning.canary, instance.bound
        if canary is not None and bound is not None and bound.binding.generation == canary.generation:
            return f"generation {canary.generation} waits for a promotion, with fewer instances"
        return f"generation {planning.generation} replaces it"
    taint = planning.departing.get(instance.name)
    return "its node is drained" if taint is None else f"evicted: taint {taint}"


def _leaves(planning: Planning, instance: InstanceRecord) -> bool:
    """Whether an instance is only to be replaced because its node is drained, or it will have to leave it."""
    return planning.is_leaving(instance) and not planning.is_old(instance)


def _grow(
    planning: Planning,
    wanted: int,
    current: Instances,
    outgoing: Instances,
    failed: Instances,
) -> None:
    stopping = {instance.name for instance, _ in planning.plan.stop}
    staying = len(set(outgoing) - stopping)
    surge = planning.definition.update.max_surge if outgoing else 0
    if planning.definition.disruption is not None and any(_leaves(planning, each) for each in outgoing.values()):
        # The update strategy may count on instances that may be missing, of which a drain may not.
        surge = max(1, surge)
    room = wanted + surge - len(current) - staying
    count = min(wanted - len(current), room)
    if count <= 0:
        return
    if planning.canary is not None:
        _grow_shares(planning, planning.canary, count, current, failed)
    elif planning.backoff(failed.values(), "service") <= 0:
        for slot in planning.free_slots(count):
            planning.place(slot)
    ask_together(planning, wanted)


def _grow_shares(planning: Planning, canary: Canary, count: int, current: Instances, failed: Instances) -> None:
    """Place what lacks of what there was, and where nothing of that does, what lacks of the canary."""
    there = (planning.of_generation(generation, current) for generation in (canary.stable, canary.overtaken))
    rest = canary.rest - sum(map(len, there))
    if rest > 0:
        if planning.definition.gang is not None:
            # What comes up together is of one template; what is then too many of it makes room for the canary.
            rest = count
        failed_before = planning.record.roll.of(Standing.FAILED, canary.stable)
        if planning.backoff(failed_before.values(), "rest") <= 0:
            for slot in planning.free_slots(min(count, rest)):
                planning.place(slot, generation=canary.stable)
            return
    lacking = canary.count - len(planning.of_generation(canary.generation, current))
    if lacking > 0 and planning.backoff(failed.values(), "service") <= 0:
        for slot in planning.free_slots(min(count, lacking)):
            planning.place(slot)
