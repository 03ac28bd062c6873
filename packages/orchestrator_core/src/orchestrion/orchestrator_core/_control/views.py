"""What the orchestrator is asked and what it answers: values, the same in process and over a wire."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from attrs import field, frozen, validators
from orchestrion.runtime_interface import LogStream
from orchestrion.scheduler_interface import Explanation
from orchestrion.shared_types import DEFAULT_NAMESPACE, Event, Node, NodeId, WorkloadDefinition, WorkloadInstance

MAX_TAIL_LINES: Final = 100_000
"""Where so many last lines begin is remembered while they are searched for."""


class WorkloadPhase(StrEnum):
    """Where a workload is; Succeeded and Failed are ends of batch workloads."""

    WAITING = "Waiting"
    """It waits for workloads that it comes after."""
    PENDING = "Pending"
    """Slots have no place yet."""
    PROGRESSING = "Progressing"
    """It starts, moves to a new template, or changes its size."""
    HEALTHY = "Healthy"
    """A service or daemon with all its instances available."""
    DEGRADED = "Degraded"
    """A service or daemon that lacks available instances and makes no progress."""
    RUNNING = "Running"
    """A batch workload at work."""
    STOPPING = "Stopping"
    """It was told to stop or to go, and instances are still there."""
    STOPPED = "Stopped"
    """It was told to stop and nothing runs."""
    SUCCEEDED = "Succeeded"
    """All completions of a batch workload have succeeded."""
    FAILED = "Failed"
    """A batch workload can no longer succeed, or a workload that this one comes after can't."""


@frozen(kw_only=True)
class WorkloadView:
    """A workload, what was asked of it, and how it is doing.

    Attributes:
        definition: As its author wants it; `replicas` is the file's.
        phase: Where it is.
        reason: A stable word for a phase that needs one, such as "unplaceable", "rolled-back", "paused",
            "canary", or "no-orchestrator", which is of slots that nobody places; or empty.
        message: One line for people, or empty.
        replicas: Instances wanted now, after `scale`; completions for batch; nodes for a daemon.
        scaled: Whether `scale` has overridden the file's replicas.
        placed: Instances that hold a place.
        running: Instances whose containers all run.
        available: Running and healthy for long enough.
        updated: Instances of the current template.
        succeeded: Completions that have succeeded.
        failed: Instances that have failed, of those that are remembered.
        generation: The generation whose template is wanted; after a rollback an earlier one than the definition's.
        paused: Whether updates are paused.
        canary: With how many instances the update begins that goes no further until it is promoted, as the definition
            says, also where fewer are wanted in all; 0 where there is no such update.
        started_at: When its first instance was placed (UTC), or None.
        finished_at: When it came to an end (UTC), or None.
    """

    definition: WorkloadDefinition
    phase: WorkloadPhase
    reason: str = ""
    message: str = ""
    replicas: int = 0
    scaled: bool = False
    placed: int = 0
    running: int = 0
    available: int = 0
    updated: int = 0
    succeeded: int = 0
    failed: int = 0
    generation: int = 0
    paused: bool = False
    canary: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None


class ChangeAction(StrEnum):
    """What an apply does to one workload."""

    CREATE = "create"
    UPDATE = "update"
    UNCHANGED = "unchanged"
    DELETE = "delete"
    """It goes, because it is no longer among those that it was applied with; no apply does that by itself."""


@frozen(kw_only=True)
class FieldDifference:
    """A field that an apply changes.

    Attributes:
        path: Where, such as `containers[0].command`.
        before: As JSON text; empty where there was nothing.
        after: As JSON text; empty where there will be nothing.
        note: What to know about it, such as that `scale` keeps its number; may be empty.
    """

    path: str
    before: str
    after: str
    note: str = ""


@frozen(kw_only=True)
class WorkloadChange:
    """What an apply does, or did, to one workload.

    Attributes:
        namespace: The workload's namespace.
        name: Its name.
        action: What is done.
        generation: Its generation afterwards.
        differences: In the order of their paths; empty for CREATE and UNCHANGED.
        restarts: Whether instances are replaced by it.
        note: What else to know, such as that `scale` keeps its number; may be empty.
    """

    namespace: str
    name: str
    action: ChangeAction
    generation: int
    differences: tuple[FieldDifference, ...] = ()
    restarts: bool = False
    note: str = ""


@frozen(kw_only=True)
class ApplyResult:
    """What an apply did.

    Attributes:
        changes: One for each workload, in the order given.
        revision: The store's revision of the write; 0 where nothing was written.
    """

    changes: tuple[WorkloadChange, ...]
    revision: int = 0


@frozen(kw_only=True)
class SlotPlacement:
    """Where a slot is, would go, or why it can't.

    Attributes:
        instance: `workload.index` of a slot that has no place yet, or else the instance's name.
        node_id: The node, or None.
        explanation: Why.
        text: The explanation in words.
        victims: Instances of lower priority that would have to go for it, as `namespace/workload.index.epoch`;
            ascending.
    """

    instance: str
    node_id: NodeId | None
    explanation: Explanation
    text: str
    victims: tuple[str, ...] = ()


@frozen(kw_only=True)
class Plan:
    """What an apply would do.

    Attributes:
        changes: One for each workload, in the order given.
        placements: Where new slots would go, as things are now.
        revision: The store's revision that it was made of, >= 0: the index with which `apply` finds whether it still
            holds.
    """

    changes: tuple[WorkloadChange, ...]
    placements: tuple[SlotPlacement, ...]
    revision: int = 0

    @property
    def changes_anything(self) -> bool:
        """Whether applying would change anything."""
        return any(change.action is not ChangeAction.UNCHANGED for change in self.changes)


@frozen(kw_only=True)
class LogQuery:
    """Which output is wanted.

    Attributes:
        namespace: The workload's namespace.
        subject: A workload's name, or an instance's: `workload.index` for its latest epoch, `workload.index.epoch` for
            that one.
        container: Only this container; None is all.
        follow: Go on as more is written, and as instances come, until the workload has ended or is removed.
        since: Only what was written at or after this time (UTC).
        previous: The attempt before the latest one of each container.
        replaced: Of a workload, also what instances have written that have ended and are of an older generation than is
            wanted now, or than the newest there is of it. Instances that are named are read in any case.
        also: Of those, only these, as `workload.index.epoch`: whoever follows has seen the beginning of them.
        until: Only what was written at or before this time (UTC); not with `follow`.
        tail: At most so many of the last lines of each container to begin with, those of all its streams and attempts
            together, 0 to `MAX_TAIL_LINES`; None is all. Of each stream 64 KiB for each line are looked at, at most.
        tail_bytes: At most so many bytes of each stream to begin with; None is all that is kept.
        timed: Of what there is to begin with, no record has lines of several times, so that each line's time is told.
        placed: Before all else comes, of each stream that there is at the beginning, a record without data and without
            a gap, whose `offset` is the place from which on the stream is told.
    """

    subject: str
    namespace: str = DEFAULT_NAMESPACE
    container: str | None = None
    follow: bool = False
    since: datetime | None = None
    previous: bool = False
    replaced: bool = False
    also: tuple[str, ...] = ()
    until: datetime | None = None
    tail: int | None = field(
        default=None, validator=validators.optional([validators.ge(0), validators.le(MAX_TAIL_LINES)])
    )
    tail_bytes: int | None = field(default=None, validator=validators.optional(validators.ge(0)))
    timed: bool = False
    placed: bool = False


@frozen(kw_only=True)
class LogRecord:
    """A piece of output.

    Attributes:
        instance: The instance's name.
        container: The container's name.
        attempt: Which attempt.
        stream: Which output.
        offset: The place of the first byte in all that the attempt wrote to the stream.
        data: The bytes; may be empty where `gap_bytes` is not 0, or where `placed` was asked for.
        gap_bytes: Bytes before `offset` that are no longer kept.
        written_at: When the first byte was written (UTC), or None.
    """

    instance: str
    container: str
    attempt: int
    stream: LogStream
    offset: int
    data: bytes
    gap_bytes: int = 0
    written_at: datetime | None = None


class UpdateKind(StrEnum):
    """What an update is about."""

    WORKLOAD = "workload"
    WORKLOAD_REMOVED = "workload-removed"
    INSTANCE = "instance"
    INSTANCE_REMOVED = "instance-removed"
    NODE = "node"
    NODE_REMOVED = "node-removed"
    EVENT = "event"
    SYNCED = "synced"
    """All that there was when the watch began has been given."""


@frozen(kw_only=True)
class Update:
    """One thing as it is now; updates of the same thing that were not yet read may be merged into the last one.

    Attributes:
        kind: What it is about; the field of that name is filled in.
        namespace: The namespace, or empty for nodes.
        name: The name of the workload, instance or node; for an event its subject.
        workload: The workload.
        instance: The instance.
        node: The node.
        event: The event.
    """

    kind: UpdateKind
    namespace: str = ""
    name: str = ""
    workload: WorkloadView | None = None
    instance: WorkloadInstance | None = None
    node: Node | None = None
    event: Event | None = None
