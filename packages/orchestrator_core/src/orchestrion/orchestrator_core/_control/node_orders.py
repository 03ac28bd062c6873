"""Who takes orders to nodes."""

from __future__ import annotations

from orchestrion.cluster_interface import ClusterManager, SupportsCordon
from orchestrion.shared_types import Unsupported


def cordoning(cluster: ClusterManager) -> SupportsCordon:
    """Return a cluster manager as one that can keep work off nodes.

    Raises:
        Unsupported: It can't.
    """
    if not isinstance(cluster, SupportsCordon):
        msg = "the cluster manager can't keep work off nodes"
        raise Unsupported(msg)
    return cluster
