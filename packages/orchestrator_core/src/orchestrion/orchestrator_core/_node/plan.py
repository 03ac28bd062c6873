"""What is to be done about an instance on its node: pure thinking, without effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from datetime import UTC, datetime, timedelta
from zlib import crc32

from attrs import define, evolve, field
from orchestrion.orchestrator_core._clock import Deadlines
from orchestrion.orchestrator_core._state.lifecycle import (
    CRASH_LOOP,
    EXITED,
    RESTARTING,
    RESTARTS_EXHAUSTED,
    STOPPED,
    TERMINAL,
)
from orchestrion.orchestrator_core._state.records import InstanceName
from orchestrion.orchestrator_core._state.restart import delay_before, is_restarted, row_after
from orchestrion.shared_types import (
    Binding,
    ContainerConfig,
    ContainerHealth,
    ContainerId,
    ContainerState,
    ContainerStatus,
    DesiredState,
    ExitStatus,
    InstanceState,
    InstanceStatus,
    WorkloadDefinition,
)


@define(eq=False)
class ContainerStart:
    """A container to create.

    Attributes:
        config: As the author wrote it.
        attempt: Which attempt it is.
        restarts_in_row: How many restarts in a row there were, this one among them.
    """

    config: ContainerConfig
    attempt: int
    restarts_in_row: int = 0


@define(eq=False)
class InstancePlan:
    """What is to be done about an instance, in this order.

    Attributes:
        stop: Containers to stop, each with its grace in seconds.
        remove: Ended attempts that are no longer kept.
        start: Containers to create.
        status: The node loop's part as it is to be.
        wake_after: Seconds until time alone may change the plan, or None.
    """

    status: InstanceStatus
    stop: list[tuple[ContainerId, float]] = field(factory=list)
    remove: list[ContainerId] = field(factory=list)
    start: list[ContainerStart] = field(factory=list)
    wake_after: float | None = None

    def wake(self, seconds: float) -> None:
        """Look again after so long at the latest."""
        self.wake_after = seconds if self.wake_after is None else min(self.wake_after, seconds)


@define(eq=False)
class InstanceFacts:
    """What an instance's plan depends on.

    Attributes:
        name: Which instance.
        binding: Where it is to run.
        template: What it runs.
        status: The node loop's part as it is recorded.
        containers: What the runtime has of it: all attempts.
        unhealthy: Containers that their health check has given up.
        fenced: Containers that were killed because the node had lost its lease; their end is not their own.
        deadlines: The clocks.
        trouble: Why a container could not be stopped when that was tried last, or "".
    """

    name: InstanceName
    binding: Binding
    template: WorkloadDefinition
    status: InstanceStatus
    containers: Sequence[ContainerStatus]
    unhealthy: Mapping[ContainerId, str]
    fenced: Set[ContainerId]
    deadlines: Deadlines
    trouble: str = ""


@define(eq=False)
class _Judged:
    """A container and what follows from its state."""

    config: ContainerConfig
    status: ContainerStatus | None
    failed: str = ""
    failed_reason: str = ""
    finished: bool = False


def plan_instance(facts: InstanceFacts) -> InstancePlan:
    """Return what is to be done about an instance, as things are now. Converged, there is nothing to do."""
    plan = InstancePlan(facts.status)
    latest = _latest_attempts(facts)
    if facts.status.state in TERMINAL:
        _stop_running(plan, facts)
        return plan
    _forget_attempts(plan, facts, latest)
    told = facts.binding.desired is DesiredState.STOP
    if facts.binding.lost_at is not None or (told and not _all_ended_before_stop(facts, latest)):
        _plan_stop(plan, facts, latest)
        return plan
    judged = [_judge(facts, plan, config, latest.get(config.name)) for config in facts.template.containers]
    failures = [container for container in judged if container.failed]
    if failures:
        # What was recorded before the others were stopped is the cause; their ends are its consequence.
        failure = min(failures, key=lambda container: (container.failed != facts.status.message, _ended_at(container)))
        plan.start.clear()
        plan.wake_after = None
        _stop_running(plan, facts)
        _conclude(plan, facts, latest, judged, failure)
    elif all(container.finished for container in judged):
        plan.status = _ended(facts, latest, InstanceState.SUCCEEDED, "", "")
    else:
        plan.status = _under_way(facts, judged)
    return plan


def _latest_attempts(facts: InstanceFacts) -> dict[str, ContainerStatus]:
    """Return the latest attempt of each container: what the runtime says, with what only the record knows."""
    latest = dict[str, ContainerStatus]()
    recorded = {container.name: container for container in facts.status.containers}
    for container in facts.containers:
        known = latest.get(container.name)
        if known is None or container.attempt > known.attempt:
            latest[container.name] = container
    for name, before in recorded.items():
        found = latest.get(name)
        if found is None or before.attempt > found.attempt:
            latest[name] = _gone(before, facts)
        elif found.attempt == before.attempt:
            reason = facts.unhealthy.get(found.container_id, "") or (
                before.reason if found.state is ContainerState.EXITED else found.reason
            )
            latest[name] = evolve(
                found,
                restarts_in_row=before.restarts_in_row,
                health=before.health if found.health is ContainerHealth.UNCHECKED else found.health,
                reason=reason,
            )
        else:
            counts = 0 if facts.binding.retried.get(name) == before.attempt else 1
            latest[name] = evolve(found, restarts_in_row=before.restarts_in_row + counts)
    return latest


def _gone(before: ContainerStatus, facts: InstanceFacts) -> ContainerStatus:
    """Return the status of an attempt that the runtime does not know (any more)."""
    if before.state is ContainerState.EXITED:
        return before
    return evolve(
        before,
        state=ContainerState.EXITED,
        exit=ExitStatus(reason="container-lost", message="the runtime no longer knows the container"),
        finished_at=facts.deadlines.now(),
        next_attempt_at=None,
    )


def _forget_attempts(plan: InstancePlan, facts: InstanceFacts, latest: Mapping[str, ContainerStatus]) -> None:
    for container in facts.containers:
        newest = latest[container.name]
        if container.attempt >= newest.attempt:
            continue
        if container.state is not ContainerState.EXITED:
            # The runtime had denied it when the next attempt was started.
            plan.stop.append((container.container_id, 0.0))
        elif container.attempt < newest.attempt - facts.template.retention.attempts:
            plan.remove.append(container.container_id)


def _all_ended_before_stop(facts: InstanceFacts, latest: Mapping[str, ContainerStatus]) -> bool:
    """Whether every container had ended for good by itself, before this node began to stop it."""
    # Clocks of two machines can't tell. That this node is about to stop it is on record before it does so.
    if facts.status.state is InstanceState.TERMINATING or len(latest) < len(facts.template.containers):
        return False
    return all(
        container.state is ContainerState.EXITED
        and container.exit is not None
        and container.container_id not in facts.fenced
        and not is_restarted(facts.template.restart, facts.template.kind, container.exit)
        for container in latest.values()
    )


def _stop_running(plan: InstancePlan, facts: InstanceFacts) -> None:
    grace = {config.name: config.stop_grace_seconds for config in facts.template.containers}
    for container in facts.containers:
        if container.state is not ContainerState.EXITED:
            plan.stop.append((container.container_id, grace.get(container.name, 10.0)))


def _plan_stop(plan: InstancePlan, facts: InstanceFacts, latest: Mapping[str, ContainerStatus]) -> None:
    if facts.binding.lost_at is not None:
        # Its place is given to another; no grace for two at once.
        plan.stop.extend((c.container_id, 0.0) for c in facts.containers if c.state is not ContainerState.EXITED)
        return
    _stop_running(plan, facts)
    if plan.stop:
        plan.status = evolve(
            facts.status,
            state=InstanceState.TERMINATING,
            reason=STOPPED,
            message="; ".join(filter(None, (facts.binding.stop_reason, facts.trouble))),
            containers=_in_order(facts, latest),
            healthy_since=None,
        )
    else:
        plan.status = _ended(facts, latest, InstanceState.SUCCEEDED, STOPPED, facts.binding.stop_reason)


def _judge(
    facts: InstanceFacts, plan: InstancePlan, config: ContainerConfig, latest: ContainerStatus | None
) -> _Judged:
    if latest is None:
        plan.start.append(ContainerStart(config, 0))
        return _Judged(config, None)
    if latest.state is not ContainerState.EXITED:
        if latest.container_id in facts.unhealthy:
            plan.stop.append((latest.container_id, config.stop_grace_seconds))
        return _Judged(config, latest)
    exit_status = latest.exit
    assert exit_status is not None  # noqa: S101 - for the type checker: the value's own rule
    if latest.container_id and latest.container_id in facts.fenced:
        plan.start.append(ContainerStart(config, latest.attempt + 1, latest.restarts_in_row))
        return _Judged(config, latest)
    if latest.container_id in facts.unhealthy:
        exit_status = evolve(exit_status, code=None, reason="unhealthy")
    policy = facts.template.restart
    if not is_restarted(policy, facts.template.kind, exit_status):
        if exit_status.succeeded:
            return _Judged(config, latest, finished=True)
        return _Judged(
            config, latest, failed=describe_exit(config.name, latest), failed_reason=exit_status.reason or EXITED
        )
    row = row_after(policy, latest)
    if policy.max_restarts is not None and row >= policy.max_restarts:
        text = f"{describe_exit(config.name, latest)}, after {row} restarts"
        return _Judged(config, latest, failed=text, failed_reason=RESTARTS_EXHAUSTED)
    since = latest.finished_at or facts.deadlines.now()
    jitter = crc32(f"{facts.name}/{config.name}/{latest.attempt}".encode()) / 2**32
    delay = delay_before(policy, row, jitter)
    # Who asks for the next attempt at once gets it, and it counts against no limit: nobody is to be kept from asking.
    retried = facts.binding.retried.get(config.name) == latest.attempt
    wait = facts.deadlines.remaining(("restart", facts.name, config.name), since, delay)
    if wait > 0 and not retried:
        plan.wake(wait)
        waiting = evolve(latest, next_attempt_at=since + timedelta(seconds=delay), restarts_in_row=row)
        return _Judged(config, waiting)
    plan.start.append(ContainerStart(config, latest.attempt + 1, row if retried else row + 1))
    return _Judged(config, evolve(latest, next_attempt_at=None, restarts_in_row=row))


def _ended_at(container: _Judged) -> float:
    finished = container.status.finished_at if container.status is not None else None
    return finished.timestamp() if finished is not None else 0.0


def describe_exit(name: str, status: ContainerStatus) -> str:
    """Return how a container ended, in words."""
    exit_status = status.exit
    if exit_status is None:
        return f"container {name} has not ended"
    if exit_status.out_of_memory:
        how = "was ended for using more memory than its limit"
    elif exit_status.reason:
        how = f"ended: {exit_status.reason}"
    elif exit_status.signal is not None:
        how = f"was ended by signal {exit_status.signal}"
    else:
        how = f"ended with code {exit_status.code}"
    return f"container {name} {how}" + (f" ({exit_status.message})" if exit_status.message else "")


def back_off_reason(status: ContainerStatus) -> str:
    """Return the word for why a container that has ended waits: it is started again, or that comes to nothing."""
    looping = status.restarts_in_row > 0 and not (status.exit or ExitStatus()).succeeded
    return CRASH_LOOP if looping else RESTARTING


def _conclude(
    plan: InstancePlan,
    facts: InstanceFacts,
    latest: Mapping[str, ContainerStatus],
    judged: Sequence[_Judged],
    failure: _Judged,
) -> None:
    """Fail the instance once nothing of it runs; until then say why it will."""
    if plan.stop:
        status = _under_way(facts, judged)
        plan.status = evolve(status, reason=failure.failed_reason, message=failure.failed, healthy_since=None)
    else:
        plan.status = _ended(facts, latest, InstanceState.FAILED, failure.failed_reason, failure.failed)


def _in_order(facts: InstanceFacts, latest: Mapping[str, ContainerStatus]) -> tuple[ContainerStatus, ...]:
    return tuple(
        evolve(latest[config.name], next_attempt_at=None)
        for config in facts.template.containers
        if config.name in latest
    )


def _ended(
    facts: InstanceFacts, latest: Mapping[str, ContainerStatus], state: InstanceState, reason: str, message: str
) -> InstanceStatus:
    containers = _in_order(facts, latest)
    finished = [container.finished_at for container in containers if container.finished_at is not None]
    return InstanceStatus(
        state=state,
        reason=reason,
        message=message,
        containers=containers,
        started_at=_started(facts, [c.started_at for c in containers if c.started_at is not None]),
        finished_at=max(finished, default=None) or facts.deadlines.now(),
    )


def _started(facts: InstanceFacts, starts: Sequence[datetime]) -> datetime | None:
    if facts.status.started_at is not None:
        return facts.status.started_at
    return min(starts, default=None)


def _under_way(facts: InstanceFacts, judged: Sequence[_Judged]) -> InstanceStatus:
    containers = tuple(container.status for container in judged if container.status is not None)
    starts = [container.started_at for container in containers if container.started_at is not None]
    started = _started(facts, starts)
    all_there = len(starts) == len(judged)
    running = started is not None and (all_there or facts.status.state is InstanceState.RUNNING)
    serves = all_there and all(_serves(container) for container in judged)
    healthy_since = None
    if serves:
        healthy_since = facts.status.healthy_since or _healthy_from(facts, judged, starts)
    reason, message = _back_off(containers)
    return InstanceStatus(
        state=InstanceState.RUNNING if running else InstanceState.PENDING,
        reason=reason,
        message=message,
        containers=containers,
        healthy_since=healthy_since,
        started_at=started,
    )


def _back_off(containers: Sequence[ContainerStatus]) -> tuple[str, str]:
    """Return why an instance is not at work that is started again, and when that is; empty where none waits for it."""
    waiting = [(each.next_attempt_at, each) for each in containers if each.next_attempt_at is not None]
    if not waiting:
        return "", ""
    at, worst = max(waiting, key=lambda one: one[1].restarts_in_row)
    when = f"attempt {worst.attempt + 1} at {at.astimezone(UTC):%H:%M:%S} UTC"
    return back_off_reason(worst), f"{describe_exit(worst.name, worst)}; {when}"


def _serves(container: _Judged) -> bool:
    status = container.status
    if status is None:
        return False
    if container.finished:
        return True
    if status.state is not ContainerState.RUNNING:
        return False
    return container.config.health is None or status.health is ContainerHealth.HEALTHY


def _healthy_from(facts: InstanceFacts, judged: Sequence[_Judged], starts: Sequence[datetime]) -> datetime | None:
    if any(container.config.health is not None for container in judged):
        return facts.deadlines.now()
    return max(starts, default=None)
