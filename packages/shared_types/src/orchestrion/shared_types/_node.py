"""A machine, or what an engine offers as one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from attrs import field, frozen, validators

from ._ids import NodeId
from ._mappings import EMPTY, unchanging
from ._resources import Resources


class NodeStatus(StrEnum):
    """How a cluster manager sees a node."""

    READY = "Ready"
    """It answers and takes work."""
    NOT_READY = "NotReady"
    """It answers but takes no new work."""
    UNKNOWN = "Unknown"
    """It has not answered lately; what runs there may still run."""
    DOWN = "Down"
    """It is known to be off."""


class TaintEffect(StrEnum):
    """What a taint does to an instance that does not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


@frozen
class Taint:
    """Keeps instances off a node unless they tolerate it.

    Attributes:
        key: The taint's key.
        value: Its value, may be empty.
        effect: What it does.
    """

    key: str
    value: str = ""
    effect: TaintEffect = TaintEffect.NO_SCHEDULE


@frozen(kw_only=True)
class Device:
    """A device that is granted to one instance, or shared by thousandths.

    Attributes:
        id: Unique on the node and stable over restarts.
        kind: What it is; "gpu".
        model: The maker's name of the model, or empty.
        memory_bytes: Its memory, or 0 where unknown.
        capability: The compute capability, such as "8.0", or empty.
        numa_node: The NUMA node that it hangs on, or None where unknown.
    """

    id: str
    kind: str = "gpu"
    model: str = ""
    memory_bytes: int = field(default=0, validator=validators.ge(0))
    capability: str = ""
    numa_node: int | None = None


@frozen(kw_only=True)
class Topology:
    """Where a node is; an empty part is unknown."""

    region: str = ""
    zone: str = ""
    rack: str = ""


@frozen(kw_only=True)
class NodeCondition:
    """An observation about a node.

    Attributes:
        type: What was observed, such as "DiskPressure".
        active: Whether it holds. An active condition is a fault, and no new work is placed on the node.
        reason: One line for people.
        since: When it last changed (UTC), or None where unknown.
        unknown: Whether nobody knows if it holds; it is not active then.
    """

    type: str
    active: bool
    reason: str = ""
    since: datetime | None = None
    unknown: bool = False

    def __attrs_post_init__(self) -> None:
        if self.active and self.unknown:
            msg = f"condition {self.type!r}: what is active is not unknown"
            raise ValueError(msg)


@frozen(kw_only=True)
class Drain:
    """An order to move all instances off a node.

    Attributes:
        reason: One line for people.
        deadline: From then on (UTC) instances are stopped without waiting for their replacements; None waits for ever.
    """

    reason: str
    deadline: datetime | None = None


@frozen(kw_only=True)
class Node:
    """A place to run instances.

    Attributes:
        id: Unique in the cluster; it outlives restarts of the node.
        name: For people, and the value of the topology key "node".
        address: Where its instances can be reached, such as "127.0.0.1".
        status: How the cluster manager sees it.
        labels: Keys and values, for selection.
        taints: What keeps instances off it; (key, effect) is unique.
        capacity: All that the machine has.
        allocatable: What may be promised to instances; no dimension exceeds that of `capacity`.
        devices: Ids are unique.
        topology: Where it is.
        drivers: Names of the runtimes that it can run.
        conditions: Observations; types are unique.
        cordoned: True keeps new work off it; what runs stays.
        drain: An order to move everything off it; implies `cordoned`.
    """

    id: NodeId
    name: str
    address: str = "127.0.0.1"
    status: NodeStatus = NodeStatus.READY
    labels: Mapping[str, str] = field(default=EMPTY, converter=unchanging)
    taints: tuple[Taint, ...] = ()
    capacity: Resources = Resources()
    allocatable: Resources = Resources()
    devices: tuple[Device, ...] = ()
    topology: Topology = Topology()
    drivers: frozenset[str] = frozenset({"process"})
    conditions: tuple[NodeCondition, ...] = ()
    cordoned: bool = False
    drain: Drain | None = None

    def __attrs_post_init__(self) -> None:
        if not self.id:
            msg = "a node needs a non-empty id"
            raise ValueError(msg)
        if not self.allocatable.fits_in(self.capacity):
            msg = f"node {self.id!r}: allocatable exceeds capacity"
            raise ValueError(msg)
        if self.drain is not None and not self.cordoned:
            msg = f"node {self.id!r}: a node that is drained is also cordoned"
            raise ValueError(msg)
