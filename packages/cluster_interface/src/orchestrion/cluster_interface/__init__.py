"""The ClusterManager interface and its optional abilities."""

from ._errors import ClusterClosed, ClusterUnavailable, NotInitialized
from ._interface import ClusterManager, SupportsCordon
from ._orders import drain_order
from ._types import ClusterCapability, ClusterEvent, NodeAdded, NodeRemoved, NodeUpdated, Resync, Snapshot

__all__ = [
    "ClusterCapability",
    "ClusterClosed",
    "ClusterEvent",
    "ClusterManager",
    "ClusterUnavailable",
    "NodeAdded",
    "NodeRemoved",
    "NodeUpdated",
    "NotInitialized",
    "Resync",
    "Snapshot",
    "SupportsCordon",
    "drain_order",
]
