"""Orchestrion's cluster loop and node loop over injected implementations."""

from ._errors import Unschedulable
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

__all__ = [
    "ApplyResult",
    "ChangeAction",
    "FieldDifference",
    "LogQuery",
    "LogRecord",
    "Plan",
    "SlotPlacement",
    "Unschedulable",
    "Update",
    "UpdateKind",
    "WorkloadChange",
    "WorkloadPhase",
    "WorkloadView",
]
