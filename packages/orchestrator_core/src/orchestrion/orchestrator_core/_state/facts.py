"""What a workload's plan depends on beside the workload itself, and what can be read off an instance."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Set
from datetime import datetime
from typing import Final

from attrs import define, field, frozen
from orchestrion.orchestrator_core._clock import Deadlines
from orchestrion.orchestrator_core._state.records import InstanceName, NodeTaints, Outcome, WorkloadName, template_of
from orchestrion.orchestrator_core._state.roll import Standing
from orchestrion.orchestrator_core._state.world import InstanceRecord, WorkloadRecord
from orchestrion.scheduler_interface import Explanation
from orchestrion.shared_types import (
    DependencyCondition,
    InstanceState,
    Node,
    NodeId,
    NodeStatus,
    UpdateStrategy,
    WorkloadDefinition,
    WorkloadKind,
)


@frozen(kw_only=True)
class Refusal:
    """Why a template found no place on a node.

    Attributes:
        explanation: Of this node alone.
        never: Whether the node is no place for it however empty.
    """

    explanation: Explanation
    never: bool


@frozen(kw_only=True)
class Undecided:
    """Slots that the scheduler gave no decision on when it was asked last.

    Attributes:
        generation: Of which template.
        slots: Which slots.
        message: Why, for people.
        row: How often in a row that was for want of an answer.
        due: When it is asked again (trio's clock).
    """

    generation: int
    slots: tuple[int, ...]
    message: str
    row: int
    due: float


@define(eq=False)
class Facts:
    """What a workload's plan depends on beside the workload itself.

    Attributes:
        nodes: Every node of the cluster, by id.
        leased: Nodes whose loop is at work.
        lost: Nodes that were without a loop for longer than a lease and the skew between clocks.
        workloads: Every workload, for those that come after others.
        deadlines: Tells how much of a wait is left.
        refusals: Nodes that a workload's template found no place on when it was last tried there, and why, by workload
            and generation.
        undecided: Workloads with slots that the scheduler gave no decision on.
        tainted: Nodes with taints that end what does not tolerate them.
        taints: Since when they have them, as far as that is noted.
        only_stops: Whether nothing is done but what makes workloads end that are stopped or removed.
    """

    nodes: Mapping[NodeId, Node]
    leased: Set[NodeId]
    lost: Set[NodeId]
    workloads: Mapping[WorkloadName, WorkloadRecord]
    deadlines: Deadlines
    refusals: Mapping[tuple[WorkloadName, int], Mapping[NodeId, Refusal]] = field(factory=dict)
    undecided: Mapping[WorkloadName, Undecided] = field(factory=dict)
    tainted: Set[NodeId] = frozenset()
    taints: Mapping[NodeId, NodeTaints] = field(factory=dict)
    only_stops: bool = False

    def is_leaving(self, node_id: NodeId) -> bool:
        """Whether a node is to be emptied."""
        node = self.nodes.get(node_id)
        return node is not None and node.drain is not None

    def takes_work(self, node_id: NodeId) -> bool:
        """Whether a node is up, open for work, and its loop is at work."""
        node = self.nodes.get(node_id)
        return node is not None and node.status is NodeStatus.READY and not node.cordoned and node_id in self.leased


def effective_definition(record: WorkloadRecord, generation: int) -> WorkloadDefinition | None:
    """Return the template of a generation, or None where it is not kept."""
    return record.templates.get(generation)


def wanted_replicas(record: WorkloadRecord) -> int:
    """Return how many instances of a service are wanted, or how many completions of a batch workload."""
    if record.spec is None or record.control.removed or record.control.stopped:
        return 0
    definition = record.spec.definition
    if definition.kind is WorkloadKind.BATCH:
        return definition.completions
    if is_scaled(record) and record.control.replicas is not None:
        return record.control.replicas
    return definition.replicas


def is_scaled(record: WorkloadRecord) -> bool:
    """Whether `scale` has overridden the file's number, and the file has not changed it since."""
    return (
        record.spec is not None
        and record.control.replicas is not None
        and record.control.scaled_from == record.spec.definition.replicas
    )


def target_generation(record: WorkloadRecord) -> int:
    """Return the template generation that instances are to run: the author's, or the last good one after a rollback."""
    if record.spec is None:
        return 0
    wanted = record.spec.template_generation
    progress = record.progress
    if (
        progress is not None
        and progress.uid == record.spec.definition.metadata.uid
        and progress.failed_generation == wanted
        and progress.stable_generation in record.templates
    ):
        return progress.stable_generation
    return wanted


def is_held(record: WorkloadRecord) -> bool:
    """Whether there is an update of a workload that is held up because its updates are paused.

    That may be one which leads back to what is placed meanwhile: then it is held up for as long as others are there.
    """
    spec, paused = record.spec, record.control.paused
    if not paused or spec is None or spec.definition.kind is WorkloadKind.BATCH or paused not in record.templates:
        return False
    target = target_generation(record)
    return paused != target or any(
        group and generation != target
        for generation, group in record.roll.standing(Standing.SERVING, Standing.STARTING)
    )


@frozen
class Canary:
    """An update that goes no further than its first instances until somebody promotes it.

    Attributes:
        generation: The template generation that it leads to.
        count: How many instances are to run that, >= 0; fewer than its author wants where fewer are wanted in all.
        stable: The template generation that was there before, and is fully known.
        rest: How many instances are to run that, or `overtaken`, >= 0.
        overtaken: The template generation whose update was promoted, and on its way when this one began, or 0: what
            serves of it stays, and nothing more of it is placed.
    """

    generation: int
    count: int
    stable: int
    rest: int
    overtaken: int = 0

    def is_before(self, generation: int) -> bool:
        """Whether instances of a generation are among what was there before."""
        return generation in (self.stable, self.overtaken)


def canary_of(record: WorkloadRecord) -> Canary | None:
    """Return where the update of a service is to stop until it is promoted; None where there is no such update.

    None, too, for one that leads back, and for one whose instances would run the same as those that it replaces: there
    is nothing to be found out. Whether updates are paused makes no difference.
    """
    spec, progress = record.spec, record.progress
    if spec is None or spec.definition.kind is not WorkloadKind.SERVICE or spec.definition.update.canary == 0:
        return None
    target = spec.template_generation
    if progress is None or progress.uid != spec.definition.metadata.uid or record.control.promoted == target:
        return None
    stable = progress.stable_generation
    if stable in (0, target) or target_generation(record) != target:
        return None
    before, after = record.templates.get(stable), record.templates.get(target)
    if before is None or after is None or template_of(before) == template_of(after):
        return None
    wanted = wanted_replicas(record)
    count = min(spec.definition.update.canary, wanted)
    promoted = record.control.promoted
    # What was rolled out after it replaced it, and what was rolled back from is to go.
    is_overtaken = promoted > stable and promoted != progress.failed_generation and promoted in record.templates
    return Canary(target, count, stable, rest=wanted - count, overtaken=promoted if is_overtaken else 0)


def placed_generation(record: WorkloadRecord) -> int:
    """Return the template generation that new places run: the target, unless the way to it is held up.

    While an update waits for being promoted, what lacks of the rest goes first.
    """
    if is_held(record):
        return record.control.paused
    canary = canary_of(record)
    if canary is not None:
        there = sum(len(record.roll.of(standing, canary.stable)) for standing in (Standing.SERVING, Standing.STARTING))
        there += len(record.roll.of(Standing.SERVING, canary.overtaken))
        if there < canary.rest:
            return canary.stable
    return target_generation(record)


def placed_generations(record: WorkloadRecord) -> tuple[int, ...]:
    """Return the template generations that instances of a workload are to run: several only where there is a canary."""
    canary = None if is_held(record) else canary_of(record)
    if canary is None:
        return (placed_generation(record),)
    return tuple(filter(None, (canary.stable, canary.overtaken, canary.generation)))


def generation_to_hold(record: WorkloadRecord) -> int:
    """Return the template generation that is placed if updates are paused now: what there was before the current one.

    Where no update is going on, or it leads back to what was rolled out before, that is the target itself.
    """
    target = target_generation(record)
    stable = record.progress.stable_generation if record.progress is not None else 0
    if stable and stable in record.templates:
        return stable
    live = {
        generation
        for generation, group in record.roll.standing(Standing.SERVING, Standing.STARTING)
        if group and generation != target and generation in record.templates
    }
    return max(live, default=target)


def has_begun(record: WorkloadRecord) -> bool:
    """Whether a workload, of batch the run that its author wants, has looked for places: its dependencies held then."""
    spec, progress = record.spec, record.progress
    if spec is None or progress is None or progress.started_at is None:
        return False
    return spec.definition.kind is not WorkloadKind.BATCH or progress.run_generation == spec.template_generation


def first_placed(record: WorkloadRecord) -> datetime | None:
    """Return when a workload's first instance was placed, for batch the first of its run; None where none was."""
    spec, progress = record.spec, record.progress
    if spec is None:
        return None
    batch = spec.definition.kind is WorkloadKind.BATCH
    known = progress is not None and progress.uid == spec.definition.metadata.uid
    same_run = progress is not None and progress.run_generation == spec.template_generation
    if progress is not None and progress.placed_at is not None and known and (same_run or not batch):
        return progress.placed_at
    return record.roll.first_placed(spec.template_generation if batch else None)


def lacking_nodes(record: WorkloadRecord, facts: Facts) -> dict[NodeId, Explanation]:
    """Return the nodes that a daemon lacks room on, where nothing of it is, and why; where it may not run is none."""
    there = record.roll.nodes
    refused = facts.refusals.get((record.name, placed_generation(record)), {})
    return {
        node_id: refused[node_id].explanation
        for node_id in sorted(refused)
        if not refused[node_id].never and node_id not in there
    }


def is_retried(instance: InstanceRecord) -> bool:
    """Whether somebody asked that what takes the place of an instance that has failed is not waited for."""
    if instance.bound is None or not instance.status.containers:
        return False
    retried = instance.bound.binding.retried
    return all(retried.get(container.name) == container.attempt for container in instance.status.containers)


def healthy_wait(instance: InstanceRecord, strategy: UpdateStrategy, facts: Facts) -> float | None:
    """Return the seconds until an instance counts as available: 0 if it does, None if it is not even healthy."""
    bound = instance.bound
    if instance.state is not InstanceState.RUNNING or bound is None or instance.status.healthy_since is None:
        return None
    if bound.binding.node_id not in facts.leased:
        return None
    if strategy.min_healthy_seconds == 0:
        return 0.0
    return facts.deadlines.remaining(
        ("healthy", instance.name), instance.status.healthy_since, strategy.min_healthy_seconds
    )


def available_of(record: WorkloadRecord, strategy: UpdateStrategy, facts: Facts) -> tuple[set[InstanceName], float]:
    """Return the instances of a workload that count as available, and the seconds until time alone adds one, or 0."""
    roll = record.roll
    serving = [group for _, group in roll.standing(Standing.SERVING)]
    soonest = 0.0
    if strategy.min_healthy_seconds == 0:
        found = set[InstanceName]().union(*serving)
    else:
        found = set()
        for group in serving:
            for name, instance in group.items():
                wait = healthy_wait(instance, strategy, facts)
                if wait == 0:
                    found.add(name)
                elif wait is not None:
                    soonest = min(soonest, wait) if soonest else wait
    for node_id in roll.nodes.keys() - facts.leased:
        found.difference_update(roll.nodes[node_id])
    return found, soonest


def count_available(record: WorkloadRecord, strategy: UpdateStrategy, facts: Facts) -> int:
    """Return how many `available_of` returns, without looking at each where none has to be looked at."""
    roll = record.roll
    if strategy.min_healthy_seconds > 0:
        return len(available_of(record, strategy, facts)[0])
    serving = [group for _, group in roll.standing(Standing.SERVING)]
    unseen = (name for node_id in roll.nodes.keys() - facts.leased for name in roll.nodes[node_id])
    return sum(map(len, serving)) - sum(any(name in group for group in serving) for name in unseen)


def condition_for(kind: WorkloadKind, condition: DependencyCondition | None) -> DependencyCondition:
    """Return the condition, or the one that goes with the kind where none is named."""
    if condition is not None:
        return condition
    return DependencyCondition.SUCCEEDED if kind is WorkloadKind.BATCH else DependencyCondition.HEALTHY


@define(eq=False)
class Dependencies:
    """Where the workloads stand that a workload comes after.

    Attributes:
        waiting_for: Those that have not reached their condition, in words.
        impossible: Why one of them never will, or empty.
        wake_after: Seconds until time alone may bring one of them to its condition, or None.
    """

    waiting_for: tuple[str, ...] = ()
    impossible: str = ""
    wake_after: float | None = None


def dependencies_of(record: WorkloadRecord, facts: Facts) -> Dependencies:
    """Look at all workloads that `record` comes after."""
    if record.spec is None:
        return Dependencies()
    waiting = list[str]()
    wake_after: float | None = None
    for dependency in record.spec.definition.after:
        other = facts.workloads.get(WorkloadName(record.name.namespace, dependency.workload))
        if other is None or other.spec is None or other.control.removed:
            return Dependencies(impossible=f"{dependency.workload} was removed")
        condition = condition_for(other.spec.definition.kind, dependency.condition)
        outcome = outcome_of(other)
        if outcome is Outcome.FAILED:
            text = f": {other.progress.message}" if other.progress is not None and other.progress.message else ""
            return Dependencies(impossible=f"{dependency.workload} failed{text}")
        if not _holds(other, condition, facts):
            waiting.append(f"{dependency.workload} {condition}{_idle(other)}")
            if condition is DependencyCondition.HEALTHY:
                _, wait = available_of(other, other.spec.definition.update, facts)
                if wait > 0:
                    wake_after = wait if wake_after is None else min(wake_after, wait)
    return Dependencies(waiting_for=tuple(waiting), wake_after=wake_after)


def _idle(record: WorkloadRecord) -> str:
    """Return what somebody has to do before anything of a workload runs, or empty."""
    if record.control.stopped:
        return " (it is stopped; apply it to start it)"
    definition = record.spec.definition if record.spec is not None else None
    if definition is not None and definition.kind is WorkloadKind.SERVICE and wanted_replicas(record) == 0:
        return " (it has 0 replicas; scale it up)"
    return ""


def outcome_of(record: WorkloadRecord) -> Outcome | None:
    """Return how a workload ended, if it did and its author has not asked for another run since."""
    progress, spec = record.progress, record.spec
    if progress is None or spec is None or progress.uid != spec.definition.metadata.uid:
        return None
    return progress.outcome if progress.run_generation == spec.template_generation else None


DEPENDENCY_FAILED: Final = "dependency-failed"
"""Why a workload failed that never began; it begins once what it comes after no longer stands in its way."""


def ended_as(record: WorkloadRecord) -> Outcome | None:
    """Return how a workload ended for good, or None; only a new run of it changes that."""
    progress = record.progress
    return None if progress is not None and progress.reason == DEPENDENCY_FAILED else outcome_of(record)


def _holds(other: WorkloadRecord, condition: DependencyCondition, facts: Facts) -> bool:
    spec = other.spec
    if spec is None:
        return False
    wanted = wanted_replicas(other)
    generations = placed_generations(other)
    match condition:
        case DependencyCondition.SUCCEEDED:
            return outcome_of(other) is Outcome.SUCCEEDED
        case DependencyCondition.HEALTHY:
            available = len(available_of(other, spec.definition.update, facts)[0])
            return available >= wanted > 0 or (spec.definition.kind is WorkloadKind.DAEMON and available > 0)
        case DependencyCondition.STARTED:
            there = itertools.chain.from_iterable(map(other.roll.of_generation, generations))
            started = (one for one in there if one.status.started_at is not None)
            if spec.definition.kind is WorkloadKind.SERVICE:
                return wanted > 0 and sum(1 for _ in itertools.islice(started, wanted)) >= wanted
            return any(True for _ in started) or outcome_of(other) is Outcome.SUCCEEDED
