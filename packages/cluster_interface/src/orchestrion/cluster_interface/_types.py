"""The values that a cluster manager gives."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen
from orchestrion.shared_types import Node, NodeId


class ClusterCapability(StrEnum):
    """An ability that not every cluster manager has; each has a Protocol of its own."""

    CORDON = "cordon"


@frozen
class Snapshot:
    """All nodes at one moment; the first event of a stream, and the one after each `Resync`.

    Attributes:
        nodes: Every node, ascending by id, each once [SNAPSHOT-1].
        revision: Orders snapshots and changes of one manager: higher is later.
    """

    nodes: tuple[Node, ...]
    revision: int


@frozen
class NodeAdded:
    """A node that was not there before."""

    node: Node
    revision: int


@frozen
class NodeUpdated:
    """A node that was there before, as it is now; it differs from before."""

    node: Node
    revision: int


@frozen
class NodeRemoved:
    """A node that is gone."""

    node_id: NodeId
    revision: int


@frozen
class Resync:
    """The reader fell behind and events were lost; the next event is a `Snapshot`."""


ClusterEvent = Snapshot | NodeAdded | NodeUpdated | NodeRemoved | Resync
