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
from ._scheduler import UNKNOWN_NODE, DecisionScript, MockScheduler, decide_first_fit, name_unknown_node, over_commit
from ._scheduler_cursor import CursorScheduler
from ._store import MemoryStore
from ._store_state import MemoryState

__all__ = [
    "UNKNOWN_NODE",
    "ClusterWorld",
    "ContainerWorld",
    "CursorScheduler",
    "DecisionScript",
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
    "MockScheduler",
    "NoFaults",
    "Output",
    "ScriptedFaults",
    "SeededFaults",
    "SimulatedCrash",
    "Start",
    "behaviour_of",
    "decide_first_fit",
    "mock_nodes",
    "name_unknown_node",
    "over_commit",
    "script",
]
