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
from ._runtime import MockRuntime
from ._runtime_behaviour import MockBehaviour, Output, behaviour_of
from ._runtime_records import MockContainer, Start
from ._runtime_world import ContainerWorld
from ._store import MemoryStore
from ._store_state import MemoryState

__all__ = [
    "ClusterWorld",
    "ContainerWorld",
    "Fault",
    "FaultInjector",
    "FaultKind",
    "FaultSource",
    "MemoryState",
    "MemoryStore",
    "MockBehaviour",
    "MockClusterManager",
    "MockContainer",
    "MockRuntime",
    "NoFaults",
    "Output",
    "ScriptedFaults",
    "SeededFaults",
    "SimulatedCrash",
    "Start",
    "behaviour_of",
    "mock_nodes",
    "script",
]
