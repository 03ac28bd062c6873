"""The errors of a cluster manager, by what the caller can do."""

from __future__ import annotations

from orchestrion.shared_types import Closed, ClusterFailure, Unavailable


class ClusterUnavailable(Unavailable, ClusterFailure):
    """The cluster can't be asked now. Repeating is safe."""

    code = "cluster-unavailable"


class ClusterClosed(Closed, ClusterFailure):
    """You closed the cluster manager."""

    code = "cluster-closed"


class NotInitialized(ClusterFailure):
    """`initialize` was not called, or did not succeed. Call it."""

    code = "cluster-not-initialized"
