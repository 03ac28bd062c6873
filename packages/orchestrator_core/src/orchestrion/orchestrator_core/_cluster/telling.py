"""Tells a scheduler that takes it into account what has become of instances."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

import trio
from attrs import define, field
from orchestrion.orchestrator_core._clock import WallClock
from orchestrion.orchestrator_core._cluster.decisions import TimedScheduler
from orchestrion.orchestrator_core._state.events import EventRecorder
from orchestrion.orchestrator_core._state.lifecycle import START_FAILED
from orchestrion.orchestrator_core._state.records import InstanceName, instance_key
from orchestrion.orchestrator_core._state.world import InstanceRecord, World
from orchestrion.scheduler_interface import (
    InstanceOutcome,
    NodeView,
    OutcomeKind,
    Scheduler,
    SchedulerCapability,
    SupportsOutcomes,
    ViewKeeper,
    without_instances,
)
from orchestrion.shared_types import EventSeverity, InstanceState, WorkloadDefinition

AT_ONCE: Final = 256
"""Of so many instances is told in one go."""

PAUSE_SECONDS: Final = 0.1
"""What changes within this time is told together."""

TIME_SECONDS: Final = 60.0
"""So often the scheduler is told how late it is, where nothing else is told."""

_ENDS: Final = {InstanceState.SUCCEEDED: OutcomeKind.SUCCEEDED, InstanceState.FAILED: OutcomeKind.FAILED}


@define(eq=False)
class Teller:
    """Tells of all that is on record when it begins, and then of what changes; nothing of it is written.

    Attributes:
        scheduler: Is told, if it has the capability OUTCOMES.
        world: The mirror of the store.
        keeper: Knows what is placed where.
        recorder: Is told where the scheduler fails at it.
        now: The wall clock.
    """

    scheduler: Scheduler
    world: World
    keeper: ViewKeeper
    recorder: EventRecorder
    now: WallClock
    _changed: dict[InstanceName, None] = field(factory=dict, init=False)
    _news: trio.Event = field(factory=trio.Event, init=False)
    _tells: bool = field(default=False, init=False)

    def note(self, name: InstanceName) -> None:
        """Note that an instance has come or changed."""
        if self._tells:
            self._changed[name] = None
            self._news.set()

    async def run(self) -> None:
        """Tell until cancelled; where the scheduler can't be told, or fails at it, wait for that."""
        scheduler = self.scheduler
        if isinstance(scheduler, TimedScheduler):
            scheduler = scheduler.scheduler
        if SchedulerCapability.OUTCOMES not in scheduler.capabilities or not isinstance(scheduler, SupportsOutcomes):
            await trio.sleep_forever()
        self._tells = True
        self._changed = dict.fromkeys(self.world.instances)
        try:
            while True:
                self._tell_some(scheduler)
                with trio.move_on_after(0 if self._changed else TIME_SECONDS):
                    await self._news.wait()
                await trio.sleep(0 if len(self._changed) >= AT_ONCE else PAUSE_SECONDS)
        except Exception as err:
            text = (
                f"the scheduler failed when it was told of outcomes, and is told no more: {type(err).__name__}: {err}"
            )
            self.recorder.record("default", "cluster/default", "SchedulerFault", text, EventSeverity.WARNING)
        finally:
            self._tells = False
            self._changed.clear()
        await trio.sleep_forever()

    def _tell_some(self, scheduler: SupportsOutcomes) -> None:
        names = list(self._changed)[:AT_ONCE]
        for name in names:
            del self._changed[name]
        if not self._changed:
            self._news = trio.Event()
        records = [record for name in names if (record := self.world.instances.get(name)) is not None]
        view = self.keeper.view()
        outcomes = list[InstanceOutcome]()
        for record in records:
            template = self.world.template(record)
            if record.bound is not None and template is not None:
                node = view.get(record.bound.binding.node_id)
                outcomes.extend(outcomes_of(record, template, node))
        scheduler.observe(outcomes, now_seconds=self.now().timestamp())
        scheduler.prepare()


def outcomes_of(
    record: InstanceRecord, template: WorkloadDefinition, node: NodeView | None
) -> Iterator[InstanceOutcome]:
    """Yield what has become of an instance, as far as it is on record.

    Args:
        record: The instance, which is bound.
        template: What it runs.
        node: Its node as it is now; None for one that is gone.
    """
    bound = record.bound
    if bound is None:
        return
    key = instance_key(record.name, bound.workload_id)
    around = node
    if node is not None and key in node.instances:
        around = without_instances(node, (key,))

    def outcome(kind: OutcomeKind, at: datetime, attempt: int = 0) -> InstanceOutcome:
        return InstanceOutcome(
            slot=key,
            attempt=attempt,
            kind=kind,
            node_id=bound.binding.node_id,
            workload=template,
            at_seconds=at.timestamp(),
            around=around,
        )

    if bound.binding.bound_at is not None:
        yield outcome(OutcomeKind.PLACED, bound.binding.bound_at)
    failed_to_start = False
    for container in record.status.containers:
        if container.started_at is not None:
            yield outcome(OutcomeKind.STARTED, container.started_at, container.attempt)
        elif container.exit is not None and container.exit.reason == START_FAILED and container.finished_at is not None:
            failed_to_start = True
            yield outcome(OutcomeKind.START_FAILED, container.finished_at, container.attempt)
    ended_at = record.status.finished_at or bound.binding.lost_at
    if record.ended and ended_at is not None:
        kind = _ENDS.get(record.state, OutcomeKind.RELEASED)
        yield outcome(OutcomeKind.RELEASED if failed_to_start else kind, ended_at)
