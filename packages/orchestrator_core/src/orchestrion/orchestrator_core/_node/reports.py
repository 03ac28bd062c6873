"""What a node loop tells people about an instance."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import trio
from orchestrion.orchestrator_core._clock import WallClock
from orchestrion.orchestrator_core._node.plan import describe_exit
from orchestrion.orchestrator_core._state.events import EventRecorder
from orchestrion.orchestrator_core._state.records import InstanceName
from orchestrion.runtime_interface import ContainerRuntime, LogStream, RuntimeCapability, SupportsLogs
from orchestrion.shared_types import (
    ContainerHealth,
    ContainerId,
    EventSeverity,
    InstanceState,
    InstanceStatus,
    OrchestrationError,
)

LOG_TAIL_BYTES: Final = 400
"""How much of its last output goes into the message of a failed instance."""

LOG_TAIL_SECONDS: Final = 5.0
"""The message does not wait for it for longer."""


async def with_last_output(runtime: ContainerRuntime, status: InstanceStatus, held: Collection[ContainerId]) -> str:
    """Return the message, with the last lines that the failed container wrote to its standard error."""
    if not isinstance(runtime, SupportsLogs) or RuntimeCapability.LOGS not in runtime.capabilities:
        return status.message
    for container in status.containers:
        if container.container_id not in held:
            continue
        if not status.message.startswith(describe_exit(container.name, container)):
            continue
        try:
            with trio.fail_after(LOG_TAIL_SECONDS):
                chunk = await runtime.read_logs(
                    container.container_id, LogStream.STDERR, offset=-LOG_TAIL_BYTES, max_bytes=LOG_TAIL_BYTES
                )
        except (OrchestrationError, trio.TooSlowError):
            # The message is complete without it.
            return status.message
        text = chunk.data.decode(errors="replace").strip()
        return f"{status.message}: {text}" if text else status.message
    return status.message


def announce(
    recorder: EventRecorder, now: WallClock, name: InstanceName, before: InstanceStatus, after: InstanceStatus
) -> None:
    """Record what a change of status means to people."""
    subject = f"instance/{name.short}"
    if after.state is InstanceState.FAILED and before.state is not after.state:
        recorder.record(name.namespace, subject, "Failed", after.message, EventSeverity.WARNING)
    attempts = {container.name: container for container in before.containers}
    for container in after.containers:
        earlier = attempts.get(container.name)
        if container.next_attempt_at is not None and (earlier is None or earlier.next_attempt_at is None):
            wait = max(0.0, (container.next_attempt_at - now()).total_seconds())
            ended = describe_exit(container.name, container)
            recorder.record(
                name.namespace,
                subject,
                "BackOff",
                f"{ended}; attempt {container.attempt + 1} in {wait:.1f} s",
                EventSeverity.WARNING,
            )
        if earlier is not None and earlier.health is not container.health is ContainerHealth.UNHEALTHY:
            recorder.record(
                name.namespace,
                subject,
                "Unhealthy",
                f"container {container.name}: {container.reason}",
                EventSeverity.WARNING,
            )
