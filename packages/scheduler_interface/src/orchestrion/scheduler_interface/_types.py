"""What a scheduler is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import reduce
from math import ceil
from operator import add
from typing import Any, Final

from attrs import field, frozen
from immutabledict import immutabledict
from orchestrion.shared_types import (
    ContainerConfig,
    InstanceKey,
    Node,
    NodeId,
    Protocol,
    Resources,
    Uid,
    WorkloadDefinition,
)

HostPort = tuple[Protocol, int]

EMPTY: Final[immutabledict[Any, Any]] = immutabledict()


def _frozen_twice(mapping: Mapping[Any, Mapping[Any, Any]]) -> immutabledict[Any, immutabledict[Any, Any]]:
    return immutabledict({key: _frozen(inner) for key, inner in mapping.items()})


def _frozen(mapping: Mapping[Any, Any]) -> immutabledict[Any, Any]:
    """Return an immutable copy, or the mapping itself if it is one: large simulations make these by the million."""
    if not mapping:
        return EMPTY
    return mapping if isinstance(mapping, immutabledict) else immutabledict(mapping)


class SchedulerCapability(StrEnum):
    """An ability that not every scheduler has."""

    AFFINITY = "affinity"
    """Required affinities, which are those without a weight, are kept.

    A node passes a required node affinity if its labels match all expressions [AFFINITY-1].

    An instance affinity is about the instances of the workload's namespace whose workloads have all `match_labels`
    [AFFINITY-2]; without labels it is about none [AFFINITY-3]. All incarnations are instances, also those of the
    workload itself, among them the slots before. A node passes a required one if it has a domain of that topology and
    the domain holds such an instance [AFFINITY-4]; while no node of the view holds any and the workload itself has the
    labels, any domain will do [AFFINITY-5]. A node passes a required one that keeps away (`anti`) unless its domain
    holds such an instance [AFFINITY-6]; a node that is in no domain passes [AFFINITY-7]. It binds the workload that has
    it, and not those that it is about [AFFINITY-8].
    """
    SPREAD = "spread"
    """Required spreads are kept.

    A node passes a required spread if it has a domain of that topology [SPREAD-1] and if, with the slot there, its
    domain holds at most `max_skew` more instances of the workload than the emptiest domain that counts [SPREAD-2], 0
    where none does. All incarnations of all slots are instances. A domain counts if it has a node that passes every
    predicate other than OTHER_NODE, HOST_PORT, RESOURCE, DEVICE, INSTANCE_AFFINITY and SPREAD [SPREAD-3]: a full domain
    counts, one that is down does not.
    """
    GANG = "gang"
    """`SchedulingRequest.minimum` is kept.

    Where at least so many of the slots hold a place in the end, those that hold one already among them, the decisions
    are those that there would be without a minimum [GANG-1]. Where fewer would, no slot gets a place anew [GANG-2],
    and those that hold one stay [GANG-3]. Each slot that is then refused has the explanation of the first one for which
    there was no place, which is about the cluster with the slots before it in theirs [GANG-4], and says in
    `gang` how many of the slots would hold a place without a minimum [GANG-5]. Nothing else has a `gang`.

    A minimum of 0 or 1 requires nothing.
    """
    DEVICES = "devices"
    """GPUs are granted.

    A node passes if each container gets what it asks for at the same time: devices of kind "gpu" with the model, memory
    and capability, wholly free for `count` [DEVICE-1], one with enough free thousandths for a share [DEVICE-2]. What a
    device has to have is asked of the free one, not of any on the node [DEVICE-3]. Parts that a capability lacks are 0;
    a device whose capability is unknown or not numeric has none [DEVICE-4]. Where more than eight devices and shares
    are wanted together, or by more than four containers, a scheduler may overlook a way to grant them.
    """
    PREEMPTION = "preemption"
    """`SchedulingRequest.preempt` is honoured.

    If the request says so, and no node passes for a slot after the slots before it, instances of one node are pushed
    out for it; else nobody is [PREEMPT-1]. The node's candidates are the instances with a lower priority than the
    workload's [PREEMPT-2] that are not of the workload itself [PREEMPT-3], and that no required affinity of the
    workload wants near it [PREEMPT-4]. Of a workload with a budget only so many are candidates as the victims of the
    slots before have left of it, the last in the order below [PREEMPT-5].

    A node will do if it passes every predicate as it would be with all its candidates gone [PREEMPT-6]. Then each of
    them stays, in this order, if the node still passes with it and with those that stay before it; all others are the
    node's victims [PREEMPT-7], so that none of them could stay. First are those of higher priority, then the smaller,
    then those with the longer grace, then those with the lower key. Its size is the largest share that an instance
    has of the cpu, memory or disk that is allocatable on the node, in thousandths, rounded down, and 0 of what there is
    none of.

    The slot gets a node that will do if there is one, and of these one whose victims' highest priority is the lowest;
    of those one with the fewest victims; of those one whose victims' longest grace is the shortest [PREEMPT-8]. Which
    of several is up to the scheduler. The decision names the victims, ascending by key. Slots after it find them gone
    [PREEMPT-9]. A gang that misses its minimum pushes nobody out [PREEMPT-10].

    Explanations are about the room that there is while the victims are still there; that of an assignment with victims
    is as that of a refusal, less what would have to change [PREEMPT-11].
    """
    BATCH = "batch"
    """Several requests are decided in one call: the scheduler is a `SupportsBatches`, which says how [BATCH-1]."""
    OUTCOMES = "outcomes"
    """What became of earlier instances counts: the scheduler is a `SupportsOutcomes`, which says how [OUTCOME-5]."""


@frozen(kw_only=True)
class PlacedInstance:
    """An instance that holds a place on a node: bound, and not yet known to have ended.

    Attributes:
        key: Which incarnation.
        namespace: Its workload's namespace.
        workload: Its workload's name.
        labels: Its workload's labels.
        priority: Its workload's priority.
        demand: What is reserved for it.
        host_ports: The static host ports that it holds.
        device_thousandths: The share that it holds of each of its devices, by device id; 1000 is the whole.
        grace_seconds: How long it may take to stop once it is told to, >= 0.
    """

    key: InstanceKey
    namespace: str
    workload: str
    labels: Mapping[str, str] = field(default=EMPTY, converter=_frozen)
    priority: int = 0
    demand: Resources = Resources()
    host_ports: frozenset[HostPort] = frozenset()
    device_thousandths: Mapping[str, int] = field(default=EMPTY, converter=_frozen)
    grace_seconds: int = 0


@frozen(kw_only=True)
class NodeView:
    """A node and what is placed on it.

    Attributes:
        node: The node.
        reserved: The sum of the demands of `instances`; may exceed `node.allocatable` where a node has shrunk.
        host_ports: The union of their host ports.
        device_thousandths: The sum of their shares, by device id.
        instances: What is placed there, by key.

    `node_view` makes one of a node and its instances.
    """

    node: Node
    reserved: Resources = Resources()
    host_ports: frozenset[HostPort] = frozenset()
    device_thousandths: Mapping[str, int] = field(default=EMPTY, converter=_frozen)
    instances: Mapping[InstanceKey, PlacedInstance] = EMPTY

    @property
    def free(self) -> Resources:
        """What of `allocatable` is not reserved; never below 0."""
        return self.node.allocatable - self.reserved


@frozen(kw_only=True)
class SchedulingRequest:
    """Slots of one workload that want a place. All slots are alike.

    Attributes:
        workload: The workload whose template the slots are to run.
        slots: Which slots, each once; not empty.
        minimum: How many of the slots have to hold a place in the end for any to get one, 0 to their number. What
            holds a place already counts if it is among the slots. More than 1 takes `SchedulerCapability.GANG`.
        only_node: Consider just this node (a daemon's slot); None considers all.
        preempt: Where no node passes, a slot may push out instances of lower priority than the workload's. To a
            scheduler without `SchedulerCapability.PREEMPTION` it makes no difference.
        budgets: By workload, how many more of its instances may be ended now; 0 or less is none, and a workload that is
            absent allows all.
        explain: True asks for an explanation also of each assignment.

    One instance must not reserve more than `MAX_AMOUNT` of anything, all its containers together.
    """

    workload: WorkloadDefinition
    slots: tuple[InstanceKey, ...]
    minimum: int = 0
    only_node: NodeId | None = None
    preempt: bool = False
    budgets: Mapping[Uid, int] = field(default=EMPTY, converter=_frozen)
    explain: bool = False


class Predicate(StrEnum):
    """Why a node can't take an instance. The set may grow."""

    NODE_STATUS = "node-status"
    CORDONED = "cordoned"
    NODE_CONDITION = "node-condition"
    OTHER_NODE = "other-node"
    DRIVER = "driver"
    SELECTOR = "selector"
    EXPRESSION = "expression"
    TAINT = "taint"
    HOST_PORT = "host-port"
    RESOURCE = "resource"
    DEVICE = "device"
    NODE_AFFINITY = "node-affinity"
    INSTANCE_AFFINITY = "instance-affinity"
    SPREAD = "spread"
    UNSUPPORTED = "unsupported"
    """The scheduler has no ability for what the placement requires."""


@frozen(kw_only=True)
class RefusalGroup:
    """Nodes that fail for the same reason.

    Attributes:
        predicate: What they fail.
        detail: What exactly, in a few words for people: a label, a taint, a port; empty where `predicate` says all.
        node_count: How many, >= 1.
        samples: Some of them, ascending by id, at most 5.
        dimension: The resource that is short, as `Resources.dimensions` names it; empty for other predicates.
        needed: How much of it is asked for; 0 for other predicates [EXPLAIN-3].
        best_free: The most that any of them has free; 0 for other predicates [EXPLAIN-3].
    """

    predicate: Predicate
    detail: str = ""
    node_count: int
    samples: tuple[NodeId, ...]
    dimension: str = ""
    needed: int = 0
    best_free: int = 0


class ChangeKind(StrEnum):
    """What kind of change would place an instance."""

    LOWER_REQUEST = "lower-request"
    """The workload asks for no more of the resource than `amount`, in all. It is never lowered to 0."""
    DROP_SELECTOR = "drop-selector"
    """The workload no longer selects by the label."""
    DROP_EXPRESSION = "drop-expression"
    """The workload drops its expressions on the label."""
    TOLERATE_TAINT = "tolerate-taint"
    """The workload tolerates all taints of the key."""
    UNCORDON = "uncordon"
    """The node is uncordoned, which also ends its drain."""
    FREE_PORT = "free-port"
    """Whatever holds the static host port on the node gives it up."""
    ADD_NODE = "add-node"
    """A node joins that passes every predicate for this workload, with `amount` of the resource free: one step for each
    resource that is asked for, and one with an empty subject where none is. It has a name of its own, and is in
    whichever other domains the workload requires."""
    ENABLE_DRIVER = "enable-driver"
    """The node runs the driver."""


@frozen(kw_only=True)
class PlacementChange:
    """One step of a change that would place an instance.

    Attributes:
        kind: What to do.
        node_id: The node that the instance could then be placed on; None for ADD_NODE.
        subject: What it is about: a resource as `Resources.dimensions` names it, "gpu" for devices, a label's key, a
            taint's key, a port such as "tcp/8080", or a driver; empty for UNCORDON.
        amount: For LOWER_REQUEST: what the workload may ask for in all; for ADD_NODE: how much the node needs. Else 0.
    """

    kind: ChangeKind
    node_id: NodeId | None = None
    subject: str = ""
    amount: int = 0


@frozen(kw_only=True)
class GangShortage:
    """How far a gang is from its minimum.

    Attributes:
        slots: How many slots the gang has.
        minimum: How many of them have to hold a place, <= slots.
        places: How many would hold one if each took what it finds, < minimum; what holds one already is among them.
    """

    slots: int
    minimum: int
    places: int


@frozen(kw_only=True)
class Explanation:
    """Why a slot got its node, or none. Data; `describe` in this package words it.

    It is about the cluster as it is after the slots before it. Of a slot that was placed already it says nothing but
    `nodes_considered`.

    Attributes:
        groups: One for each reason that some node fails for; reasons are apart if predicate, detail or dimension are.
            Counts and samples are right [EXPLAIN-1], and a node that fails for several reasons is in the group of each
            [EXPLAIN-2]. Most nodes first, then by the texts of predicate, detail and dimension [EXPLAIN-4]. Where the
            request names the only node, all others fail OTHER_NODE and nothing else [EXPLAIN-5].
        nodes_considered: How many nodes the view has [EXPLAIN-6].
        closest: The nodes that are in the fewest groups, by that number and then by id, at most 3, none that fails
            OTHER_NODE [EXPLAIN-7]; empty for an assignment.
        smallest_change: The fewest steps that place the slot on one node, if every one of them is done [CHANGE-1]: no
            fewer steps of these kinds would [CHANGE-2]. A step about a node is given only where it is needed. ADD_NODE
            is given only where nothing else helps, and not where the request names the only node, nor where in no
            domain all required spreads and affinities to instances would hold [CHANGE-3]. A required spread leaves out
            all kinds but LOWER_REQUEST, FREE_PORT and ADD_NODE, since the others change which domains count. Empty for
            an assignment [CHANGE-4], where something is UNSUPPORTED, and where no change of these kinds helps.
        scores: For an assignment: by node id, what the chosen node and the runner-up scored; higher is better, and the
            chosen node's is the highest [EXPLAIN-8]. Empty where the scheduler gives no scores.
        parts: What the scores are made of: for each node that has one, by the name of a preference, what it adds to the
            score, its weight counted in; they add up to the score [EXPLAIN-9]. What is not named adds nothing. Empty
            where the scheduler does not tell.
        weights: By the name of a preference, what the points that it gives a node were multiplied by, > 0; a part that
            is not named was not weighted [EXPLAIN-10].
        gang: For a slot that is refused because its gang misses its minimum: by how far. None for all else.
    """

    groups: tuple[RefusalGroup, ...] = ()
    nodes_considered: int = 0
    closest: tuple[NodeId, ...] = ()
    smallest_change: tuple[PlacementChange, ...] = ()
    scores: Mapping[NodeId, float] = field(default=EMPTY, converter=_frozen)
    parts: Mapping[NodeId, Mapping[str, float]] = field(default=EMPTY, converter=_frozen_twice)
    weights: Mapping[str, int] = field(default=EMPTY, converter=_frozen)
    gang: GangShortage | None = None


@frozen(kw_only=True)
class AssignNode:
    """The slot gets a node.

    Attributes:
        slot: Which slot.
        node_id: The node.
        devices: Ids of granted devices by container name; empty for a slot that was placed already, whose binding
            knows.
        device_thousandths: The share of each granted device, by device id; 1000 is the whole.
        victims: Instances on the node that have to be gone before the slot starts, ascending by key.
        explanation: Given when it was asked for.
    """

    slot: InstanceKey
    node_id: NodeId
    devices: Mapping[str, tuple[str, ...]] = field(default=EMPTY, converter=_frozen)
    device_thousandths: Mapping[str, int] = field(default=EMPTY, converter=_frozen)
    victims: tuple[InstanceKey, ...] = ()
    explanation: Explanation | None = None


@frozen(kw_only=True)
class NoPlacement:
    """No node can take the slot now.

    Attributes:
        slot: Which slot.
        explanation: Why not.
    """

    slot: InstanceKey
    explanation: Explanation


ScheduleDecision = AssignNode | NoPlacement


def demand_of(workload: WorkloadDefinition) -> Resources:
    """Return what one instance reserves: the sum of its containers' requests.

    Raises:
        ValueError: A sum exceeds `MAX_AMOUNT`.
    """
    containers = workload.containers
    if len(containers) == 1:
        return containers[0].resources
    return reduce(add, (container.resources for container in containers), Resources())


def host_ports_of(containers: Iterable[ContainerConfig]) -> frozenset[HostPort]:
    """Return the static host ports that an instance needs."""
    found: list[HostPort] = []
    for container in containers:
        if container.ports:
            found.extend((port.protocol, port.host_port) for port in container.ports if port.host_port is not None)
    return frozenset(found)


def drivers_of(workload: WorkloadDefinition) -> frozenset[str]:
    """Return the drivers that a node must be able to run."""
    return frozenset(container.effective_driver for container in workload.containers)


def grace_seconds_of(containers: Iterable[ContainerConfig]) -> int:
    """Return how long an instance may take to stop: the longest grace of its containers, in whole seconds, up."""
    longest: float = 0
    for container in containers:
        grace = container.stop_grace_seconds
        if grace > longest:
            longest = grace
    return ceil(longest)
