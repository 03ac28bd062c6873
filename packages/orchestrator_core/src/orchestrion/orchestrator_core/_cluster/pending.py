"""Workloads that lack places: which goes first, and which of them are worth another try."""

from __future__ import annotations

import math
import random
from typing import Final

import trio
from attrs import define, field
from orchestrion.orchestrator_core._clock import Deadlines
from orchestrion.orchestrator_core._queue import KeyedQueue
from orchestrion.orchestrator_core._state.facts import first_placed, outcome_of, wanted_replicas
from orchestrion.orchestrator_core._state.records import WorkloadName
from orchestrion.orchestrator_core._state.world import WorkloadRecord, World
from orchestrion.scheduler_interface import (
    Explanation,
    KeptView,
    QueuePart,
    SchedulingQueue,
    SchedulingRequest,
    ViewKeeper,
    cluster_changes,
)
from orchestrion.shared_types import WorkloadKind

AGEING_SECONDS: Final = 300.0
AGEING_POINTS: Final = 50
"""Every five minutes of waiting count as much as 50 points of priority: what waits goes before whatever comes an hour
later with up to 550 points more, and after four days and some before the next class of priorities."""

MAX_BACKOFF_SECONDS: Final = 60.0
"""The longest time in which what was tried in vain is not tried again."""

FLUSH_SECONDS: Final = 300.0
"""What has no place is tried again after so long even if nothing has changed that could help."""


@define(eq=False)
class PendingWork:
    """Keeps workloads that lack places in order, and lets those sleep for which there is none.

    Daemons are not among them: each of their slots is about one node, and plans know which nodes refuse.

    Attributes:
        world: The mirror of the store.
        keeper: Makes the views that tell what has changed.
        queue: Gets those that are worth a try.
        random: Draws the jitter of back-offs.
        deadlines: The clocks.
    """

    world: World
    keeper: ViewKeeper
    queue: KeyedQueue[WorkloadName]
    random: random.Random
    deadlines: Deadlines
    _waiting: SchedulingQueue[WorkloadName] = field(init=False)
    _asked: dict[WorkloadName, tuple[int, int]] = field(factory=dict)
    _pushers: set[WorkloadName] = field(factory=set)
    _budgets: dict[WorkloadName, int] = field(factory=dict)
    _seen: KeptView | None = None

    def __attrs_post_init__(self) -> None:
        self._waiting = SchedulingQueue(
            ageing_seconds=AGEING_SECONDS,
            ageing_points=AGEING_POINTS,
            max_backoff_seconds=MAX_BACKOFF_SECONDS,
            flush_seconds=FLUSH_SECONDS,
            random=self.random.random,
        )

    def rank(self, name: WorkloadName) -> tuple[int, float, int] | None:
        """Return what workloads that lack places are ordered by, lower first; None for one that lacks none."""
        record = self.world.workloads.get(name)
        if record is None or not lacks_places(record):
            return None
        if name not in self._waiting:
            self._add(record)
        return self._waiting.order(name)

    def nudge(self) -> None:
        """Note that there may be room where there was none."""
        if self._waiting.listens:
            self.queue.nudge()

    def look(self) -> None:
        """See what has changed, and let those be tried that it can help."""
        if self._waiting.listens:
            self._catch_up(self.keeper.view())

    def take(self, record: WorkloadRecord, generation: int, minimum: int = 0) -> Explanation | None:
        """Take a workload in hand whose slots are to be placed; say `placed`, `refused` or `release` afterwards.

        Args:
            record: The workload.
            generation: The template generation of the slots: what was said of another one says nothing.
            minimum: How many of the slots have to get a place together: what was said of another number says nothing.

        Returns:
            None, or, where it sleeps, why there was no place when it was last tried: that still holds.
        """
        name, asked = record.name, (generation, minimum)
        view = self.keeper.view()
        self._catch_up(view)
        if self._asked.get(name) != asked:
            self._add(record)
            self._asked[name] = asked
        if self._waiting.take(name, trio.current_time(), look=view.get):
            self._seen = view
            return None
        entry = self._waiting.get(name)
        return entry.explanation if entry is not None else None

    def refused(
        self, name: WorkloadName, explanation: Explanation, request: SchedulingRequest, *, fruitful: bool
    ) -> None:
        """Let a workload sleep for which there was no place, or not enough of them."""
        if request.preempt:
            if not self._pushers:
                # From here on each is noted when it changes; that there is none any more is a change, too.
                self._budgets = {
                    record.name: 0
                    for record in self.world.workloads.values()
                    if record.spec is not None and record.spec.definition.disruption is not None
                }
            self._pushers.add(name)
        self._waiting.failed(name, explanation, trio.current_time(), request=request, fruitful=fruitful)

    def release(self, name: WorkloadName) -> None:
        """Note that a try came to nothing, and says nothing about places."""
        self._waiting.release(name, trio.current_time())

    def forget(self, name: WorkloadName) -> None:
        """Note that a workload lacks no places."""
        self._waiting.discard(name)
        self._asked.pop(name, None)
        self._pushers.discard(name)
        if not self._pushers:
            self._budgets.clear()
        if not self._waiting.listens:
            # Nobody needs to know what has changed since, and an old view keeps what it is made from.
            self._seen = None

    def wake_all(self) -> None:
        """Let everything be tried again."""
        self._waiting.wake_all(trio.current_time())

    def rouse_pushers(self) -> None:
        """Let those be tried again that could push others out: budgets change without a change of the cluster."""
        now = trio.current_time()
        for name in self._pushers:
            self._waiting.rouse(name, now)

    @property
    def pushers_wait(self) -> bool:
        """Whether any wait that could push others out."""
        return bool(self._pushers)

    def note_budget(self, name: WorkloadName, budget: int | None) -> None:
        """Note how many instances of a workload may be ended now: where there are more, pushers are tried again.

        Args:
            name: The workload.
            budget: How many; None is without limit.
        """
        before = self._budgets.pop(name, None if budget is None else 0)
        if budget is not None:
            self._budgets[name] = budget
        if before is None or (budget is not None and budget <= before):
            return
        self.rouse_pushers()
        for pusher in self._pushers:
            self._schedule(pusher, trio.current_time())

    def next_try(self, name: WorkloadName) -> float | None:
        """Return the seconds until time alone lets a sleeper be tried; None for one that does not sleep."""
        entry = self._waiting.get(name)
        if entry is None:
            return None
        now = trio.current_time()
        if entry.part is QueuePart.BACKOFF:
            return max(0.0, entry.not_before - now)
        return max(0.0, entry.flush_at - now) if entry.flush_at is not None else None

    def retry_words(self, name: WorkloadName) -> str:
        """Return when a sleeper is tried again, for people; empty for one that does not sleep."""
        entry, seconds = self._waiting.get(name), self.next_try(name)
        if entry is None or seconds is None:
            return ""
        if entry.part is QueuePart.BACKOFF:
            return f"next try in {math.ceil(seconds)} s"
        return f"next try when something changes that can help, and in {math.ceil(seconds)} s in any case"

    def is_flushed(self, name: WorkloadName) -> bool:
        """Whether a workload is tried though nothing has changed that could help."""
        entry = self._waiting.get(name)
        return entry is not None and entry.flushed

    def is_backing_off(self, name: WorkloadName) -> bool:
        """Whether a workload is worth a try, and was tried in vain too lately."""
        entry = self._waiting.get(name)
        return entry is not None and entry.part is QueuePart.BACKOFF

    def _add(self, record: WorkloadRecord) -> None:
        if record.spec is None:
            return
        now, definition = trio.current_time(), record.spec.definition
        deadline = None
        if definition.start_within_seconds is not None and first_placed(record) is None:
            began = record.progress.started_at if record.progress is not None else None
            left = definition.start_within_seconds
            if began is not None:
                left = self.deadlines.remaining(("start", record.name), began, left)
            deadline = now + left
        self._waiting.add(record.name, now=now, priority=definition.priority, deadline=deadline)

    def _catch_up(self, view: KeptView) -> None:
        before, now = self._seen, trio.current_time()
        self._seen = view if self._waiting.listens else None
        if before is None or before is view or not self._waiting.listens:
            return
        changed = view.changes_since(before.revision)
        if changed is None:
            self._waiting.wake_all(now)
            for name in self._waiting:
                self._schedule(name, now)
            return
        for node_id in sorted(changed):
            for change in cluster_changes(before.get(node_id), view.get(node_id)):
                for name in self._waiting.wake(change, now):
                    self._schedule(name, now)

    def _schedule(self, name: WorkloadName, now: float) -> None:
        entry = self._waiting.get(name)
        if entry is not None and entry.part is QueuePart.BACKOFF:
            self.queue.add_after(name, entry.not_before - now)
        else:
            self.queue.add(name)


def lacks_places(record: WorkloadRecord) -> bool:
    """Whether a workload may want places, as far as can be seen at a glance; no daemon does."""
    spec = record.spec
    if spec is None or record.control.stopped or record.control.removed or outcome_of(record) is not None:
        return False
    definition = spec.definition
    match definition.kind:
        case WorkloadKind.SERVICE:
            return len(record.roll.held_slots) < wanted_replicas(record)
        case WorkloadKind.BATCH:
            return len(record.roll.held_slots) < (definition.parallelism or definition.completions)
        case WorkloadKind.DAEMON:
            return False
