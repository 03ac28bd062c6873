"""How workloads, instances and containers are told in a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from orchestrion.orchestrator_core import WorkloadPhase, WorkloadView
from orchestrion.shared_types import (
    DEFAULT_NAMESPACE,
    ContainerHealth,
    ContainerState,
    ContainerStatus,
    InstanceState,
    WorkloadInstance,
    WorkloadKind,
)

from ._tables import harmless
from ._times import since, span

ENDED: Final = frozenset({WorkloadPhase.SUCCEEDED, WorkloadPhase.FAILED, WorkloadPhase.STOPPED})
"""Phases in which nothing runs and nothing is to run."""

TERMINAL: Final = frozenset({InstanceState.SUCCEEDED, InstanceState.FAILED, InstanceState.LOST})

_PHASE_COLOURS: Final = {
    WorkloadPhase.HEALTHY: "green",
    WorkloadPhase.SUCCEEDED: "green",
    WorkloadPhase.RUNNING: "cyan",
    WorkloadPhase.PROGRESSING: "cyan",
    WorkloadPhase.PENDING: "yellow",
    WorkloadPhase.WAITING: "yellow",
    WorkloadPhase.DEGRADED: "yellow",
    WorkloadPhase.FAILED: "red",
}

_STATE_COLOURS: Final = {
    InstanceState.RUNNING: "green",
    InstanceState.SUCCEEDED: "green",
    InstanceState.PENDING: "yellow",
    InstanceState.UNKNOWN: "yellow",
    InstanceState.FAILED: "red",
    InstanceState.LOST: "red",
}


def phase_colour(phase: WorkloadPhase) -> str:
    """Return the colour of a phase, or "" for none."""
    return _PHASE_COLOURS.get(phase, "")


def state_colour(instance: WorkloadInstance) -> str:
    """Return the colour of an instance's state, or "" for none."""
    return "yellow" if is_restarting(instance) else _STATE_COLOURS.get(instance.status.state, "")


def full_name(namespace: str, name: str) -> str:
    """Return a name, behind its namespace unless that is the default one."""
    return name if namespace == DEFAULT_NAMESPACE else f"{namespace}/{name}"


def view_name(view: WorkloadView) -> str:
    """Return a workload's name for people."""
    return full_name(view.definition.metadata.namespace, view.definition.metadata.name)


def ready(view: WorkloadView) -> str:
    """Return how many of how many: available instances of a service, completions of a batch workload."""
    if view.definition.kind is WorkloadKind.BATCH:
        return f"{view.succeeded}/{view.definition.completions} done"
    scaled = ", scaled" if view.scaled else ""
    return f"{view.available}/{view.replicas} up{scaled}"


def why(reason: str, message: str) -> str:
    """Return what was reported of why something is as it is: one line, with no order to a terminal in it."""
    return harmless(": ".join(text for text in (reason, message) if text))


def container_words(container: ContainerStatus, now: datetime) -> str:
    """Return what a container does: its state, its health, its ports, and what comes next."""
    parts = [container.state.value]
    if container.exit is not None:
        parts = [container.exit.words]
    elif container.started_at is not None:
        parts.append(f"for {since(container.started_at, now)}")
    if container.health is not ContainerHealth.UNCHECKED and container.state is ContainerState.RUNNING:
        parts.append(container.health.value.lower())
    parts += [f"{name}={container.address or '127.0.0.1'}:{port}" for name, port in sorted(container.ports.items())]
    if container.reason:
        parts.append(container.reason)
    if container.next_attempt_at is not None:
        parts.append(next_try(container.next_attempt_at, now))
    return harmless(", ".join(parts))


def next_try(at: datetime, now: datetime) -> str:
    """Return when a restart is due."""
    seconds = (at - now).total_seconds()
    return f"next try in {span(seconds)}" if seconds > 0 else "next try now"


def _next_start(at: datetime, now: datetime) -> str:
    seconds = (at - now).total_seconds()
    return f"a container starts again in {span(seconds)}" if seconds > 0 else "a container starts again now"


def is_restarting(instance: WorkloadInstance) -> bool:
    """Whether a container of an instance that is at work has ended, and waits for being started again."""
    status = instance.status
    return status.state not in TERMINAL and any(one.next_attempt_at is not None for one in status.containers)


def state_words(instance: WorkloadInstance) -> str:
    """Return where an instance is in its life, and not that it runs where it does not."""
    state = instance.status.state
    return "Restarting" if state is InstanceState.RUNNING and is_restarting(instance) else state.value


def restart_words(instance: WorkloadInstance, now: datetime) -> str:
    """Return how often containers of an instance were started again, and when last; "" where none was."""
    again = [one for one in instance.status.containers if one.attempt]
    count = sum(one.attempt for one in again)
    last = max((one.started_at for one in again if one.started_at is not None), default=None)
    if not count or last is None:
        return ""
    return f"restarted {'once' if count == 1 else f'{count} times'}, last {since(last, now)} ago"


def instance_words(instance: WorkloadInstance, now: datetime) -> str:
    """Return what is worth knowing of an instance beyond its state, in one line."""
    status = instance.status
    told = why(status.reason, status.message)
    if told and not is_restarting(instance):
        return told
    # What waits is told with how long it still does.
    troubled = [one for one in status.containers if one.next_attempt_at or (one.exit and not one.exit.succeeded)]
    return "; ".join(container_words(one, now) for one in troubled)


def next_action(view: WorkloadView, instances: Iterable[WorkloadInstance], now: datetime) -> str:
    """Return what happens next with a workload, or what to do about it; "" where nothing is to be told."""
    instances = list(instances)
    due = [
        container.next_attempt_at
        for instance in instances
        for container in instance.status.containers
        if container.next_attempt_at is not None and instance.status.state not in TERMINAL
    ]
    name = view.definition.metadata.name
    containers = [container for instance in instances for container in instance.status.containers]
    wrote = f"`orchestrion logs {name}` shows what it wrote"
    if containers and all(map(_never_started, containers)):
        wrote = f"`orchestrion events --for {name}` shows what was tried"
    match view.phase:
        case WorkloadPhase.PENDING if view.reason == "no-orchestrator":
            return "it is placed once `orchestrion up FILE` has started an orchestrator"
        case WorkloadPhase.PENDING:
            return f"it is placed as soon as a node can take it; `orchestrion explain {name}` says why none can"
        case WorkloadPhase.STOPPED:
            return f"`orchestrion start {name}` starts it again, and so does applying its file"
        case WorkloadPhase.FAILED:
            return wrote
        case WorkloadPhase.DEGRADED:
            return "; ".join((*([_next_start(min(due), now)] if due else []), wrote))
        case _:
            return _next_start(min(due), now) if due else ""


def _never_started(container: ContainerStatus) -> bool:
    how = container.exit
    return container.started_at is None and how is not None and how.code is None and how.signal is None


def by_workload(
    views: Sequence[WorkloadView], instances: Sequence[WorkloadInstance]
) -> Iterator[tuple[WorkloadView, list[WorkloadInstance]]]:
    """Yield each workload with its instances, in the order given."""
    for view in views:
        metadata = view.definition.metadata
        own = [one for one in instances if (one.namespace, one.workload) == (metadata.namespace, metadata.name)]
        yield view, own
