"""What is stored, under which key, and who writes it.

| key | value | writer |
|---|---|---|
| `/workload/{namespace}/{name}/spec` | `WorkloadSpec` | the author, through admission |
| `/workload/{namespace}/{name}/control` | `WorkloadControl` | scale, stop, remove |
| `/workload/{namespace}/{name}/status` | `WorkloadProgress` | the cluster loop |
| `/template/{namespace}/{name}.{generation}` | `WorkloadDefinition` | admission; removed by the cluster loop |
| `/instance/{namespace}/{workload}.{index}.{epoch}/binding` | `BindingRecord` | the cluster loop |
| `/instance/{namespace}/{workload}.{index}.{epoch}/status` | `InstanceStatus` | the node loop of the bound node |
| `/event/{namespace}/{uid}` | `Event` | anybody; pruned by the cluster loop |
| `/taints/default/{node}` | `NodeTaints` | the cluster loop |
| `/marks/default/{node}` | `NodeMarks` | who looks after nodes, through the API |
| `/report/default/{node}` | `NodeReport` | the node itself, through the API |
| `/lease/default/{node}` | `NodeLease`, living by a lease of the store | the node loop |
| `/leader/default/cluster` | `LeaderRecord`, living by a lease of the store | the cluster loop |
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import quote

from attrs import evolve, field, frozen
from immutabledict import immutabledict
from orchestrion.orchestrator_core._state.node_report import REPORTS_PREFIX
from orchestrion.shared_types import Binding, InstanceKey, NodeId, Taint, Uid, WorkloadDefinition

LEADER_KEY = "/leader/default/cluster"
LEASE_PREFIX = "/lease/default/"
TAINTS_PREFIX = "/taints/default/"
MARKS_PREFIX = "/marks/default/"
APPLY_SET_LABEL = "orchestrion/apply-set"
"""The label that says with which others a workload is applied: nothing that runs needs to know it."""
CAUSE_ANNOTATION = "orchestrion/cause"
"""The annotation of a template that says why there is its generation; a workload itself has none of it."""
SINCE_ANNOTATION = "orchestrion/since"
"""The annotation of a template that was brought back: since which generation of the workload it is wanted again."""

PREFIXES = ("/workload/", "/template/", "/instance/", TAINTS_PREFIX, MARKS_PREFIX, REPORTS_PREFIX, LEASE_PREFIX)
"""What both loops follow; events are not among them."""


class WorkloadName(NamedTuple):
    """Names a workload."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class InstanceName(NamedTuple):
    """Names one placement of one slot."""

    namespace: str
    workload: str
    slot: int
    epoch: int

    @property
    def owner(self) -> WorkloadName:
        """The workload."""
        return WorkloadName(self.namespace, self.workload)

    @property
    def short(self) -> str:
        """`workload.slot.epoch`."""
        return f"{self.workload}.{self.slot}.{self.epoch}"

    def __str__(self) -> str:
        return f"{self.namespace}/{self.short}"


@frozen(kw_only=True)
class WorkloadSpec:
    """The author's part of a workload.

    Attributes:
        definition: What the author wants; its metadata is complete.
        template_generation: The generation of the template that instances are to run: the one at which that part of
            the definition last changed, or an earlier one whose instances were still there when it was wanted again.
        restarted: The generation of the latest restart, 0 for none: what is of an earlier one is never kept.
    """

    definition: WorkloadDefinition
    template_generation: int
    restarted: int = 0


@frozen(kw_only=True)
class WorkloadControl:
    """The operator's part of a workload.

    Attributes:
        replicas: What `scale` asked for, or None.
        scaled_from: The file's number when `scale` was asked; another one in the file takes over again.
        stopped: Whether nothing is to run.
        removed: Whether the workload goes once nothing runs.
        removed_at: When that was asked for (UTC); None before, and where it was asked for by a version that kept none.
        paused: The template generation that is placed while updates are paused; 0 where they go on.
        promoted: The template generation whose update was let go beyond its canary; 0 for none.
    """

    replicas: int | None = None
    scaled_from: int = 0
    stopped: bool = False
    removed: bool = False
    removed_at: datetime | None = None
    paused: int = 0
    promoted: int = 0


class Outcome(StrEnum):
    """How a workload ended; written once."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"


@frozen(kw_only=True)
class WorkloadProgress:
    """The cluster loop's part of a workload: only what can't be derived from its instances.

    Attributes:
        uid: The workload that this is about; another uid makes it void.
        epoch_floor: Every epoch up to this one may have been used.
        run_generation: For batch: the template generation that `completed`, `failures` and `outcome` are about.
        completed: For batch: indexes that have succeeded and whose instances are forgotten, such as "0-41,43".
        failures: For batch: failed placements by index, of those whose instances are forgotten.
        failed_total: Failed instances that are forgotten.
        started_at: When it first looked for places (UTC); its dependencies held then.
        placed_at: When the first instance was placed (UTC), for batch that of its run; None where none was, or where
            those that are remembered tell it.
        outcome: How it ended, or None.
        reason: A stable word for the outcome or the last rollback.
        message: One line for people.
        finished_at: When it ended (UTC).
        stable_generation: The last template generation that was fully rolled out; 0 for none.
        target_generation: The template generation that the current update leads to; 0 for none.
        failed_generation: A template generation that was rolled back from; 0 for none.
        updated_at: When the current update began or last made progress (UTC).
        updated_available: Most instances of the target that were available at once.
    """

    uid: Uid
    epoch_floor: int = 0
    run_generation: int = 0
    completed: str = ""
    failures: Mapping[str, int] = field(factory=immutabledict, converter=immutabledict)
    failed_total: int = 0
    started_at: datetime | None = None
    placed_at: datetime | None = None
    outcome: Outcome | None = None
    reason: str = ""
    message: str = ""
    finished_at: datetime | None = None
    stable_generation: int = 0
    target_generation: int = 0
    failed_generation: int = 0
    updated_at: datetime | None = None
    updated_available: int = 0


@frozen(kw_only=True)
class BindingRecord:
    """The cluster loop's part of an instance, as it is stored.

    Attributes:
        workload_id: The workload's uid.
        binding: Where it is to run.
    """

    workload_id: Uid
    binding: Binding


@frozen(kw_only=True)
class NodeLease:
    """Says that a node loop is at work.

    Attributes:
        node_id: Which node.
        holder: A fresh id of each run of a node loop.
    """

    node_id: NodeId
    holder: str


@frozen(kw_only=True)
class NodeTaints:
    """Says since when a node has the taints that end what does not tolerate them.

    Attributes:
        seen: When each was first seen (UTC), by the taint as people write it.
    """

    seen: Mapping[str, datetime] = field(factory=immutabledict, converter=immutabledict)


@frozen(kw_only=True)
class NodeMarks:
    """What people say of a node, beside what the cluster manager tells.

    Attributes:
        labels: Labels that it has as well; they go before those of the same key that the cluster manager tells.
        taints: Taints that it has as well; they go before those of the same key and effect.
        removed: Whether it is not shown as long as it is drained, or the cluster manager does not see it.
    """

    labels: Mapping[str, str] = field(factory=immutabledict, converter=immutabledict)
    taints: tuple[Taint, ...] = ()
    removed: bool = False


@frozen(kw_only=True)
class LeaderRecord:
    """Says which cluster loop is at work.

    Attributes:
        holder: A fresh id of each run of a cluster loop.
    """

    holder: str


def spec_key(name: WorkloadName) -> str:
    """Return the key of a workload's spec."""
    return f"/workload/{name.namespace}/{name.name}/spec"


def control_key(name: WorkloadName) -> str:
    """Return the key of a workload's control."""
    return f"/workload/{name.namespace}/{name.name}/control"


def progress_key(name: WorkloadName) -> str:
    """Return the key of a workload's progress."""
    return f"/workload/{name.namespace}/{name.name}/status"


def template_key(name: WorkloadName, generation: int) -> str:
    """Return the key of a workload's template."""
    return f"/template/{name.namespace}/{name.name}.{generation}"


def binding_key(name: InstanceName) -> str:
    """Return the key of an instance's binding."""
    return f"/instance/{name.namespace}/{name.short}/binding"


def status_key(name: InstanceName) -> str:
    """Return the key of an instance's status."""
    return f"/instance/{name.namespace}/{name.short}/status"


def event_key(namespace: str, uid: Uid) -> str:
    """Return the key of an event."""
    return f"/event/{namespace}/{uid}"


def lease_key(node_id: NodeId) -> str:
    """Return the key of a node's lease."""
    return f"{LEASE_PREFIX}{quote(node_id, safe='')}"


def taints_key(node_id: NodeId) -> str:
    """Return the key of what is known about a node's taints."""
    return f"{TAINTS_PREFIX}{quote(node_id, safe='')}"


def marks_key(node_id: NodeId) -> str:
    """Return the key of what people say of a node."""
    return f"{MARKS_PREFIX}{quote(node_id, safe='')}"


def parse_instance(namespace: str, short: str) -> InstanceName:
    """Return the name that `workload.index.epoch` stands for; a workload's name has no dot."""
    workload, index, epoch = short.split(".")
    return InstanceName(namespace, workload, int(index), int(epoch))


def instance_key(name: InstanceName, workload_id: Uid) -> InstanceKey:
    """Return the identity that runtimes and schedulers know the instance by."""
    return InstanceKey(workload_id, name.slot, name.epoch)


def template_of(definition: WorkloadDefinition) -> WorkloadDefinition:
    """Return the part of a definition that instances run from: two with an equal part need no update.

    Numbers of instances, the way of updating, how many may be missing or come up together, what it comes after, belongs
    to or is applied with, and what is kept of its history are not part of it.
    """
    blank = WorkloadDefinition(metadata=definition.metadata)
    return evolve(
        definition,
        metadata=evolve(
            definition.metadata,
            generation=0,
            revision=0,
            created_at=None,
            updated_at=None,
            labels={key: value for key, value in definition.metadata.labels.items() if key != APPLY_SET_LABEL},
            annotations={},
            owners=(),
            finalizers=(),
        ),
        replicas=blank.replicas,
        completions=definition.completions,
        parallelism=blank.parallelism,
        retries=blank.retries,
        deadline_seconds=blank.deadline_seconds,
        start_within_seconds=blank.start_within_seconds,
        missed_start=blank.missed_start,
        update=blank.update,
        disruption=blank.disruption,
        gang=blank.gang,
        after=(),
        retention=blank.retention,
    )


def wanted_since(template: WorkloadDefinition) -> int:
    """Return the generation of the workload since which a template is, or was, wanted: mostly its own."""
    since = template.metadata.annotations.get(SINCE_ANNOTATION, "")
    # A version that knew no such note may have kept an author's own annotation of that name.
    return int(since) if since.isdecimal() else template.metadata.generation


def format_ranges(indexes: frozenset[int]) -> str:
    """Return indexes as ranges, such as "0-41,43"."""
    parts: list[str] = []
    first = last = -2
    for index in [*sorted(indexes), -1]:
        if index == last + 1:
            last = index
            continue
        if last >= 0:
            parts.append(str(first) if first == last else f"{first}-{last}")
        first = last = index
    return ",".join(parts)


def parse_ranges(text: str) -> frozenset[int]:
    """Return the indexes that ranges stand for."""
    indexes = set[int]()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        indexes.update(range(int(first), int(last or first) + 1))
    return frozenset(indexes)
