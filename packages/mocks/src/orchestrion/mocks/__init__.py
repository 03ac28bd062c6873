"""Verified fakes of Orchestrion's four interfaces, with fault injection."""

from ._cluster import MockClusterManager
from ._cluster_world import ClusterWorld, mock_nodes
from ._faults import (
    Fault,
    FaultInjector,
    FaultKind,
    FaultSource,
    NoFaults,
    ScriptedFaults,
    SeededFaults,
    SimulatedCrash,
    script,
)
from ._store import MemoryStore
from ._store_state import MemoryState

__all__ = [
    "ClusterWorld",
    "Fault",
    "FaultInjector",
    "FaultKind",
    "FaultSource",
    "MemoryState",
    "MemoryStore",
    "MockClusterManager",
    "NoFaults",
    "ScriptedFaults",
    "SeededFaults",
    "SimulatedCrash",
    "mock_nodes",
    "script",
]
