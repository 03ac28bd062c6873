"""What an author asks for."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from attrs import field, frozen, validators

from ._container import MAX_SECONDS, ContainerConfig
from ._mappings import EMPTY, unchanging
from ._metadata import Metadata
from ._node import TaintEffect
from ._priority import DEFAULT_PRIORITY_CLASS, HIGHEST_PRIORITY, LOWEST_PRIORITY

_seconds = [validators.ge(0.0), validators.le(MAX_SECONDS)]

MAX_SLOTS = 1_000_000
"""The most replicas or completions of one workload."""

MAX_GANG = 120
"""The most instances that can be given their places together: as many as are on record at once, or not at all."""

_count = validators.and_(validators.ge(0), validators.le(MAX_SLOTS))
_optional_positive = validators.optional([validators.ge(1), validators.le(MAX_SLOTS)])
_priority = validators.and_(validators.ge(LOWEST_PRIORITY), validators.le(HIGHEST_PRIORITY))
_weight = validators.optional([validators.ge(1), validators.le(100)])


class WorkloadKind(StrEnum):
    """How a workload lives."""

    SERVICE = "service"
    """`replicas` instances run until they are told to stop."""
    BATCH = "batch"
    """`completions` instances run to a successful end, each once."""
    DAEMON = "daemon"
    """One instance runs on every node that it may run on."""


class VolumeScope(StrEnum):
    """Who shares a volume."""

    SHARED = "shared"
    """A directory on the node, shared by all instances of the namespace that mount it; kept until the last workload
    that names it is removed."""
    INSTANCE = "instance"
    """A directory of one instance, shared by its containers and removed with it."""


@frozen(kw_only=True)
class Volume:
    """A named directory.

    Attributes:
        name: Unique in the workload, a DNS label. Workloads of a namespace that name the same shared volume share it.
        scope: Who shares it.
    """

    name: str
    scope: VolumeScope = VolumeScope.SHARED


class Operator(StrEnum):
    """How an expression compares a label."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GREATER = "Gt"
    LESS = "Lt"


@frozen(kw_only=True)
class Expression:
    """A condition on one label.

    Attributes:
        key: The label's key.
        operator: How it is compared. NotIn and DoesNotExist also match where the label is absent; Gt and Lt compare
            whole numbers and do not match anything else.
        values: One or more for In and NotIn, exactly one for Gt and Lt, none for the others.
    """

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        expected = {
            Operator.IN: len(self.values) >= 1,
            Operator.NOT_IN: len(self.values) >= 1,
            Operator.GREATER: len(self.values) == 1,
            Operator.LESS: len(self.values) == 1,
        }.get(self.operator, not self.values)
        if not expected:
            msg = f"{self.operator} on {self.key!r} does not go with {len(self.values)} values"
            raise ValueError(msg)


@frozen(kw_only=True)
class NodeAffinity:
    """Draws instances to nodes.

    Attributes:
        expressions: All must match a node's labels.
        weight: None makes it a requirement; 1 to 100 a preference of that strength.
    """

    expressions: tuple[Expression, ...]
    weight: int | None = field(default=None, validator=_weight)


@frozen(kw_only=True)
class InstanceAffinity:
    """Draws instances to, or keeps them from, topology domains that hold certain instances.

    Attributes:
        match_labels: Labels of the workloads whose instances are meant; empty matches none.
        by: The topology: "node", "rack", "zone", "region", or a node label's key.
        anti: True keeps away.
        weight: None makes it a requirement; 1 to 100 a preference of that strength.
    """

    match_labels: Mapping[str, str] = field(converter=unchanging)
    by: str = "node"
    anti: bool = False
    weight: int | None = field(default=None, validator=_weight)


@frozen(kw_only=True)
class Spread:
    """Spreads the instances of a workload over topology domains.

    Attributes:
        by: The topology: "node", "rack", "zone", "region", or a node label's key.
        max_skew: The most that the fullest domain may exceed the emptiest by, >= 1.
        required: True refuses a placement that exceeds it; False only prefers others.
    """

    by: str = "node"
    max_skew: int = field(default=1, validator=validators.ge(1))
    required: bool = False


@frozen(kw_only=True)
class Toleration:
    """Lets instances on nodes with matching taints.

    Attributes:
        key: The taint's key; empty matches every key.
        value: The taint's value; None matches every value.
        effect: The taint's effect; None matches every effect.
        seconds: How long a NoExecute taint is tolerated; None is for ever.
    """

    key: str = ""
    value: str | None = None
    effect: TaintEffect | None = None
    seconds: float | None = field(default=None, validator=validators.optional(_seconds))


@frozen(kw_only=True)
class Placement:
    """Where instances may and should run.

    Attributes:
        select: Labels that a node must have. "zone", "region", "rack" and "node" also match the node's topology and
            name.
        expressions: Further conditions on labels; all must hold.
        node_affinities: Requirements and preferences on nodes.
        instance_affinities: Requirements and preferences on neighbours.
        spreads: How to spread the workload's own instances.
        tolerations: Taints that do not keep it off.
    """

    select: Mapping[str, str] = field(default=EMPTY, converter=unchanging)
    expressions: tuple[Expression, ...] = ()
    node_affinities: tuple[NodeAffinity, ...] = ()
    instance_affinities: tuple[InstanceAffinity, ...] = ()
    spreads: tuple[Spread, ...] = ()
    tolerations: tuple[Toleration, ...] = ()


class RestartCondition(StrEnum):
    """Which exits are followed by a restart in place."""

    ALWAYS = "always"
    ON_FAILURE = "on-failure"
    NEVER = "never"


@frozen(kw_only=True)
class RestartPolicy:
    """Restarts of a container in place.

    The n-th restart in a row waits `min(initial_delay * factor**(n-1), max_delay)`, less a random share of up to
    `jitter`. A container that ran for `reset_after_seconds` starts again at n = 1.

    Attributes:
        condition: Which exits are followed by a restart. None is `always` for services and daemons and `never` for
            batch, whose failed instances are placed anew by `retries`.
        max_restarts: After so many restarts in a row the instance fails; None is no limit.
        initial_delay_seconds: The wait before the first restart.
        factor: How the wait grows, >= 1.
        max_delay_seconds: The longest wait.
        jitter: 0 to 1: the share of the wait that is random.
        reset_after_seconds: A run of this length is a success that ends the row.
    """

    condition: RestartCondition | None = None
    max_restarts: int | None = field(default=None, validator=validators.optional(validators.ge(0)))
    initial_delay_seconds: float = field(default=1.0, validator=_seconds)
    factor: float = field(default=2.0, validator=[validators.ge(1.0), validators.le(100.0)])
    max_delay_seconds: float = field(default=60.0, validator=_seconds)
    jitter: float = field(default=0.1, validator=[validators.ge(0.0), validators.le(1.0)])
    reset_after_seconds: float = field(default=60.0, validator=_seconds)


@frozen(kw_only=True)
class UpdateStrategy:
    """How a service moves from one template to the next.

    Attributes:
        max_surge: Instances beyond `replicas` during an update, >= 0.
        max_unavailable: Instances below `replicas` during an update, >= 0; not both 0.
        min_healthy_seconds: A new instance counts as available after it was healthy for so long.
        progress_deadline_seconds: An update that makes no progress for so long has failed.
        rollback: True returns to the last template that was fully rolled out when an update fails.
        canary: Instances of a service that an update replaces first, >= 0; it goes on once somebody promotes it. 0 is
            no such stop. What runs the same as before, and the first template, need none.
    """

    max_surge: int = field(default=1, validator=_count)
    max_unavailable: int = field(default=0, validator=_count)
    min_healthy_seconds: float = field(default=0.0, validator=_seconds)
    progress_deadline_seconds: float = field(default=600.0, validator=[validators.gt(0.0), *_seconds])
    rollback: bool = True
    canary: int = field(default=0, validator=_count)

    def __attrs_post_init__(self) -> None:
        if self.max_surge == 0 and self.max_unavailable == 0:
            msg = "an update needs max_surge or max_unavailable above 0 to make any progress"
            raise ValueError(msg)


@frozen(kw_only=True)
class Disruption:
    """How many of a workload's instances may be missing at once for the sake of others.

    It binds who drains a node, who needs room for a higher priority, and a taint that is tolerated for a time; not what
    nobody can put off: a lost node, a failure, a taint whose time is up. Whatever is not available counts, for whatever
    reason.

    Attributes:
        max_unavailable: Instances that may be missing, >= 0; None where a share says it.
        max_unavailable_percent: The share of the wanted instances that may be missing, 0 to 100, rounded down to whole
            instances; None where a number says it. Exactly one of the two is given.
    """

    max_unavailable: int | None = field(default=None, validator=validators.optional(_count))
    max_unavailable_percent: int | None = field(
        default=None, validator=validators.optional(validators.and_(validators.ge(0), validators.le(100)))
    )

    def __attrs_post_init__(self) -> None:
        if (self.max_unavailable is None) == (self.max_unavailable_percent is None):
            msg = "a disruption budget is either a number of instances or a share of them"
            raise ValueError(msg)

    def least_available(self, wanted: int, /) -> int:
        """Return how many of `wanted` instances have to stay available, 0 to `wanted`."""
        if self.max_unavailable is not None:
            return max(0, wanted - self.max_unavailable)
        return wanted - wanted * (self.max_unavailable_percent or 0) // 100


@frozen(kw_only=True)
class Gang:
    """How many instances of a workload have to come up together.

    An instance is given a place only if afterwards at least so many hold one; what is there already counts, and so does
    an index of a batch workload that has succeeded. Nothing stops what runs because others have gone: those are
    replaced.

    Attributes:
        minimum: How many, 1 to `MAX_GANG`; None is all that are wanted. Where fewer are wanted, it is all of them.
    """

    minimum: int | None = field(
        default=None, validator=validators.optional(validators.and_(validators.ge(1), validators.le(MAX_GANG)))
    )

    def least_of(self, wanted: int, /) -> int:
        """Return how many of `wanted` instances have to hold a place for any to get one."""
        return wanted if self.minimum is None else min(self.minimum, wanted)


class MissPolicy(StrEnum):
    """What becomes of work that has found no place in time."""

    LATE = "late"
    """It goes on waiting, marked as late."""
    DROP = "drop"
    """It is given up."""


class DependencyCondition(StrEnum):
    """What a dependant waits for."""

    SUCCEEDED = "succeeded"
    """All completions of a batch workload have succeeded."""
    HEALTHY = "healthy"
    """All replicas are available."""
    STARTED = "started"
    """All replicas, or one instance of a batch workload, have started."""


@frozen(kw_only=True)
class Dependency:
    """A workload that must reach a condition before this one starts for the first time.

    Attributes:
        workload: The other workload's name, in the same namespace.
        condition: None is `succeeded` for batch and `healthy` for others.
    """

    workload: str
    condition: DependencyCondition | None = None


@frozen(kw_only=True)
class Retention:
    """How much history is kept.

    Attributes:
        terminal_instances: Ended instances that are kept, newest first.
        attempts: Ended attempts of a running instance's container whose logs are kept, newest first.
    """

    terminal_instances: int = field(default=10, validator=_count)
    attempts: int = field(default=2, validator=_count)


@frozen(kw_only=True)
class WorkloadDefinition:
    """A workload as its author wants it.

    Attributes:
        metadata: Identity.
        kind: How it lives.
        containers: One or more, all of which run in every instance; names are unique.
        volumes: Names are unique; every mount names one.
        replicas: Instances of a service; no meaning for others.
        completions: Instances of a batch workload that must succeed, >= 1; no meaning for others.
        parallelism: Instances of a batch workload that may run at once, >= 1; None is all.
        retries: New placements that each failed index of a batch workload gets.
        deadline_seconds: A batch workload that has not ended so long after its first instance was placed fails;
            waiting for room does not count. None is no limit.
        start_within_seconds: The first instance of a batch workload is to have a place so long after the workload first
            looked for one; of equals, the earliest goes first. None is no limit.
        missed_start: What becomes of it if that is missed.
        placement: Where instances may and should run.
        priority: Higher goes first; -2^31 to 2^31-1. A `PriorityClass` is a name for it and for `preempts`.
        preempts: Whether its instances may push out others of lower priority where there is no room otherwise.
        priority_class: The name of a class that whoever runs it is to look up, instead of the two; empty where they say
            it, as they do on record.
        restart: Restarts in place.
        update: How a new template is rolled out.
        disruption: How many instances may be missing for the sake of others. None leaves that to `update` where a node
            is drained, and sets no limit where a higher priority needs room.
        gang: How many instances have to come up together; None lets each have a place as soon as there is one. Not for
            a daemon. All completions of a batch workload with a gang may run at once.
        after: Workloads to wait for before the first start; names are unique.
        retention: How much history is kept.
    """

    metadata: Metadata
    kind: WorkloadKind = WorkloadKind.SERVICE
    containers: tuple[ContainerConfig, ...] = ()
    volumes: tuple[Volume, ...] = ()
    replicas: int = field(default=1, validator=_count)
    completions: int = field(default=1, validator=validators.and_(validators.ge(1), _count))
    parallelism: int | None = field(default=None, validator=_optional_positive)
    retries: int = field(default=0, validator=_count)
    deadline_seconds: float | None = field(default=None, validator=validators.optional(_seconds))
    start_within_seconds: float | None = field(default=None, validator=validators.optional(_seconds))
    missed_start: MissPolicy = MissPolicy.LATE
    placement: Placement = Placement()
    priority: int = field(default=DEFAULT_PRIORITY_CLASS.value, validator=_priority)
    preempts: bool = DEFAULT_PRIORITY_CLASS.preempts
    priority_class: str = ""
    restart: RestartPolicy = RestartPolicy()
    update: UpdateStrategy = UpdateStrategy()
    disruption: Disruption | None = None
    gang: Gang | None = None
    after: tuple[Dependency, ...] = ()
    retention: Retention = Retention()
