"""Orchestrion's cluster loop and node loop over injected implementations."""

from ._clock import WallClock, system_time, trio_time
from ._errors import Unschedulable
from ._health import NetworkProber, Prober
from ._lifecycle import TERMINAL, TRANSITIONS, may_follow
from ._orchestrator import MAX_APPLIED, Orchestrator, Timings
from ._ports import NoPortFree, PortTable, can_bind, dynamic_range
from ._reader import StoreReader
from ._routing import RoutingRuntime
from ._service import start_orchestrator_service
from ._views import (
    ApplyResult,
    ChangeAction,
    FieldDifference,
    LogQuery,
    LogRecord,
    Plan,
    SlotPlacement,
    Update,
    UpdateKind,
    WorkloadChange,
    WorkloadPhase,
    WorkloadView,
)
from ._volumes import DirectoryVolumes, NoVolumes, VolumeOwner, VolumeProvider

__all__ = [
    "MAX_APPLIED",
    "TERMINAL",
    "TRANSITIONS",
    "ApplyResult",
    "ChangeAction",
    "DirectoryVolumes",
    "FieldDifference",
    "LogQuery",
    "LogRecord",
    "NetworkProber",
    "NoPortFree",
    "NoVolumes",
    "Orchestrator",
    "Plan",
    "PortTable",
    "Prober",
    "RoutingRuntime",
    "SlotPlacement",
    "StoreReader",
    "Timings",
    "Unschedulable",
    "Update",
    "UpdateKind",
    "VolumeOwner",
    "VolumeProvider",
    "WallClock",
    "WorkloadChange",
    "WorkloadPhase",
    "WorkloadView",
    "can_bind",
    "dynamic_range",
    "may_follow",
    "start_orchestrator_service",
    "system_time",
    "trio_time",
]
