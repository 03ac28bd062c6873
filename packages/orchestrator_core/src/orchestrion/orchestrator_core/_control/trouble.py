"""Why a workload lacks instances that run: pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from attrs import frozen
from orchestrion.orchestrator_core._node.plan import back_off_reason, describe_exit
from orchestrion.orchestrator_core._state.lifecycle import CRASH_LOOP, RESTARTING
from orchestrion.orchestrator_core._state.restart import delay_before
from orchestrion.orchestrator_core._state.world import InstanceRecord, WorkloadRecord
from orchestrion.shared_types import (
    ContainerHealth,
    ContainerState,
    ContainerStatus,
    InstanceState,
    RestartPolicy,
    WorkloadKind,
)

UNHEALTHY: Final = "unhealthy"
"""A container's health check fails."""

FAILING: Final = "failing"
"""An instance has failed, and another one takes its place."""

_URGENCY: Final = (CRASH_LOOP, FAILING, UNHEALTHY, RESTARTING)


@frozen
class Trouble:
    """What is wrong with one instance.

    Attributes:
        reason: A stable word.
        message: One line for people, that names the instance.
    """

    reason: str
    message: str


def trouble_of(record: WorkloadRecord, generation: int, finished: Iterable[int] = ()) -> Trouble | None:
    """Return what is most wrong with the instances of a generation, or None.

    Args:
        record: The workload.
        generation: The generation that is wanted.
        finished: Slots whose work is done.
    """
    found = list(_troubles(record, generation, frozenset(finished)))
    if not found:
        return None
    worst = min(found, key=lambda trouble: _URGENCY.index(trouble.reason))
    others = len(found) - 1
    more = f"; {others} other {'instance is' if others == 1 else 'instances are'} in trouble too" if others else ""
    return Trouble(worst.reason, f"{worst.message}{more}")


def _troubles(record: WorkloadRecord, generation: int, finished: frozenset[int]) -> Iterator[Trouble]:
    latest = dict[int, InstanceRecord]()
    failed = dict[int, list[InstanceRecord]]()
    for name in sorted(record.instances):
        instance = record.instances[name]
        if instance.bound is None or instance.bound.binding.generation != generation or name.slot in finished:
            continue
        latest[name.slot] = instance
        if instance.state is InstanceState.FAILED:
            failed.setdefault(name.slot, []).append(instance)
    everywhere = record.spec is not None and record.spec.definition.kind is WorkloadKind.SERVICE
    for slot, instance in latest.items():
        if instance.state is InstanceState.FAILED:
            if _is_given_up(record, slot, len(failed[slot])):
                continue
            # A service waits after failures of any of its slots, the others slot by slot.
            related = [one for several in failed.values() for one in several] if everywhere else failed[slot]
            yield _replaced(record, instance, related)
        elif not instance.ended and instance.status.healthy_since is None:
            yield from _restarted(instance)


def _is_given_up(record: WorkloadRecord, slot: int, failures: int) -> bool:
    """Whether a slot of a batch workload has failed for good, which the workload will be told to have any moment."""
    definition = record.spec.definition if record.spec is not None else None
    if definition is None or definition.kind is not WorkloadKind.BATCH:
        return False
    forgotten = record.progress.failures.get(str(slot), 0) if record.progress is not None else 0
    return forgotten + failures > definition.retries


def _restarted(instance: InstanceRecord) -> Iterator[Trouble]:
    """Yield what is wrong with the first container of an instance with which something is."""
    for container in instance.status.containers:
        reason, what = _of_container(container)
        if reason:
            attempt = f" (attempt {container.attempt})" if container.attempt else ""
            again = container.next_attempt_at
            when = f"; {_tried_again(again)}" if again is not None else ""
            yield Trouble(reason, f"{instance.name.short}: {what}{attempt}{when}")
            return


def _of_container(container: ContainerStatus) -> tuple[str, str]:
    why = f": {container.reason}" if container.reason else ""
    if container.state is ContainerState.EXITED and container.next_attempt_at is not None:
        return back_off_reason(container), f"{describe_exit(container.name, container)}{why}"
    if container.health is ContainerHealth.UNHEALTHY:
        return UNHEALTHY, f"container {container.name} is unhealthy{why}"
    if container.state is not ContainerState.EXITED and container.attempt > 0:
        return RESTARTING, f"container {container.name} was started again and does not serve yet{why}"
    return "", ""


def _replaced(record: WorkloadRecord, latest: InstanceRecord, failed: list[InstanceRecord]) -> Trouble:
    message = latest.status.message or latest.status.reason
    again = _tried_again_at(record, failed)
    when = f"; {_tried_again(again)}" if again is not None else ""
    return Trouble(FAILING, f"{latest.name.short} failed: {message}{when}")


def _tried_again(at: datetime) -> str:
    return f"tried again at {at.astimezone(UTC):%H:%M:%S} UTC"


def _tried_again_at(record: WorkloadRecord, failed: list[InstanceRecord]) -> datetime | None:
    """Return when the next instance takes the place of those that failed, as the plan reckons it."""
    if record.spec is None:
        return None
    policy = record.spec.definition.restart
    ended = sorted(one.status.finished_at for one in failed if one.status.finished_at is not None)
    recent = [at for at in ended if _counts(policy, at, ended[-1])]
    if not recent:
        return None
    return recent[-1] + timedelta(seconds=delay_before(policy, len(recent) - 1, 0.0))


def _counts(policy: RestartPolicy, at: datetime, last: datetime) -> bool:
    return (last - at).total_seconds() < policy.reset_after_seconds + policy.max_delay_seconds
