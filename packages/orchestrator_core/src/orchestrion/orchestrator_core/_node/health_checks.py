"""The health checks of a node's containers, each a task of its own."""

from __future__ import annotations

from collections.abc import Callable

import trio
from attrs import define, evolve, field
from orchestrion.orchestrator_core._background import leaves
from orchestrion.orchestrator_core._node.health import Prober, Verdict
from orchestrion.shared_types import (
    ContainerHealth,
    ContainerId,
    ContainerStatus,
    HealthCheck,
    OrchestrationError,
)

FIRST_TRIES_SECONDS = 0.1
"""Until the first verdict a container is tried this often, so that a start is not held up by a long interval."""


@define(eq=False)
class HealthChecks:
    """Tries containers while they run, and remembers what was found.

    Attributes:
        prober: Tries once.
        unhealthy: Why, for each container that was given up; the words stay until it is forgotten.
    """

    prober: Prober
    unhealthy: dict[ContainerId, str] = field(factory=dict)
    _verdicts: dict[ContainerId, Verdict] = field(factory=dict)
    _scopes: dict[ContainerId, trio.CancelScope] = field(factory=dict)

    def start(
        self,
        check: HealthCheck,
        before: ContainerHealth,
        reason: str,
        container_id: ContainerId,
        status: Callable[[], ContainerStatus | None],
        changed: Callable[[], None],
        nursery: trio.Nursery,
    ) -> None:
        """Try a container from now on; if it is tried already, nothing happens.

        Args:
            check: How, and how often.
            before: What an earlier run had found.
            reason: Why it is unhealthy, if that was found.
            container_id: Which container.
            status: Gives its status, or None once it is gone.
            changed: Called when the verdict has changed.
            nursery: Where the task runs.
        """
        if container_id in self._scopes:
            return
        verdict = self._verdicts[container_id] = Verdict(check, before)
        if before is ContainerHealth.UNHEALTHY and container_id not in self.unhealthy:
            # It was given up, and has not been stopped yet.
            self.unhealthy[container_id] = reason
            changed()
        scope = self._scopes[container_id] = trio.CancelScope()
        nursery.start_soon(self._try_again_and_again, container_id, verdict, scope, status, changed)

    def is_tried(self, container_id: ContainerId) -> bool:
        """Whether a container is tried already."""
        return container_id in self._scopes

    def end(self, container_id: ContainerId) -> None:
        """Try a container no more; what was found is remembered."""
        scope = self._scopes.pop(container_id, None)
        if scope is not None:
            scope.cancel()

    def forget(self, container_id: ContainerId) -> None:
        """Try a container no more, and drop what was found."""
        self.end(container_id)
        self._verdicts.pop(container_id, None)
        self.unhealthy.pop(container_id, None)

    def with_health(self, status: ContainerStatus) -> ContainerStatus:
        """Return a container's status with what was found."""
        verdict = self._verdicts.get(status.container_id)
        if verdict is None or verdict.health is ContainerHealth.UNCHECKED:
            return status
        return evolve(status, health=verdict.health)

    async def _try_again_and_again(
        self,
        container_id: ContainerId,
        verdict: Verdict,
        scope: trio.CancelScope,
        status: Callable[[], ContainerStatus | None],
        changed: Callable[[], None],
    ) -> None:
        check = verdict.check
        began = trio.current_time()
        next_failure = began + check.interval_seconds
        with scope:
            while True:
                current = status()
                if current is None:
                    return
                failure = await self._try_once(check, current)
                now = trio.current_time()
                undecided = verdict.health is ContainerHealth.UNCHECKED
                # Quick first tries find a success early; failures count no faster than the author's interval.
                early = undecided and failure and now < next_failure
                if not early:
                    next_failure = now + check.interval_seconds
                if not early and verdict.add(failure, now - began):
                    if verdict.health is ContainerHealth.UNHEALTHY:
                        self.unhealthy[container_id] = f"unhealthy: {verdict.detail}"
                    changed()
                undecided = verdict.health is ContainerHealth.UNCHECKED
                interval = check.interval_seconds
                await trio.sleep(min(FIRST_TRIES_SECONDS, interval) if undecided else interval)

    async def _try_once(self, check: HealthCheck, status: ContainerStatus) -> str:
        failure = f"no answer within {check.timeout_seconds:g} s"
        try:
            with trio.move_on_after(check.timeout_seconds):
                failure = await self.prober.try_once(check, status)
        except (OrchestrationError, OSError) as err:
            return _words(err)
        except ExceptionGroup as group:
            # A probe may have tasks of its own; what they raise while it is given up is seen only here.
            found = list(leaves(group))
            if not all(isinstance(err, OrchestrationError | OSError) for err in found):
                raise
            return _words(found[0])
        return failure


def _words(err: BaseException) -> str:
    return (err.message if isinstance(err, OrchestrationError) else str(err)) or type(err).__name__
