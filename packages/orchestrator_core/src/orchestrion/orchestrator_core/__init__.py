"""Orchestrion's cluster loop and node loop over injected implementations."""

from ._clock import WallClock, system_time, trio_time
from ._control.admission import MAX_APPLIED, starts_again
from ._control.claims import claimed_after, claimed_now
from ._control.classes import ClassSource, StandardClasses
from ._control.gate import Beside, Gate, ProposedChange, no_gate
from ._control.logs import LogReader
from ._control.orchestrator import Orchestrator
from ._control.reader import StoreReader
from ._control.service import start_orchestrator_service
from ._control.since import check_reached, check_unchanged
from ._control.subjects import Subject, parse_subject
from ._control.timings import Timings
from ._control.views import (
    MAX_TAIL_LINES,
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
from ._errors import ImpossibleWorkload, Unschedulable
from ._node.config import ConfigMissing, ConfigSource, NoConfig, SupportsConfigHints, SupportsFiles
from ._node.health import NetworkProber, Prober
from ._node.ports import NoPortFree, PortTable, can_bind, dynamic_range
from ._node.volumes import DirectoryVolumes, NoVolumes, VolumeOwner, VolumeProvider
from ._observed import Observed, StepObserver
from ._routing import RoutingRuntime
from ._state.commits import CommitGate, wait_free, whole_revision, write_together
from ._state.lifecycle import TERMINAL, TRANSITIONS, may_follow
from ._state.marks import SEEN, marked, may_go
from ._state.node_report import (
    ConditionStatus,
    Heartbeat,
    NodeReport,
    ReportedCondition,
    report_key,
    reported,
)
from ._state.records import (
    APPLY_SET_LABEL,
    CAUSE_ANNOTATION,
    BindingRecord,
    NodeMarks,
    WorkloadControl,
    WorkloadName,
    WorkloadProgress,
    WorkloadSpec,
    marks_key,
    wanted_since,
)

__all__ = [
    "APPLY_SET_LABEL",
    "CAUSE_ANNOTATION",
    "MAX_APPLIED",
    "MAX_TAIL_LINES",
    "SEEN",
    "TERMINAL",
    "TRANSITIONS",
    "ApplyResult",
    "Beside",
    "BindingRecord",
    "ChangeAction",
    "ClassSource",
    "CommitGate",
    "ConditionStatus",
    "ConfigMissing",
    "ConfigSource",
    "DirectoryVolumes",
    "FieldDifference",
    "Gate",
    "Heartbeat",
    "ImpossibleWorkload",
    "LogQuery",
    "LogReader",
    "LogRecord",
    "NetworkProber",
    "NoConfig",
    "NoPortFree",
    "NoVolumes",
    "NodeMarks",
    "NodeReport",
    "Observed",
    "Orchestrator",
    "Plan",
    "PortTable",
    "Prober",
    "ProposedChange",
    "ReportedCondition",
    "RoutingRuntime",
    "SlotPlacement",
    "StandardClasses",
    "StepObserver",
    "StoreReader",
    "Subject",
    "SupportsConfigHints",
    "SupportsFiles",
    "Timings",
    "Unschedulable",
    "Update",
    "UpdateKind",
    "VolumeOwner",
    "VolumeProvider",
    "WallClock",
    "WorkloadChange",
    "WorkloadControl",
    "WorkloadName",
    "WorkloadPhase",
    "WorkloadProgress",
    "WorkloadSpec",
    "WorkloadView",
    "can_bind",
    "check_reached",
    "check_unchanged",
    "claimed_after",
    "claimed_now",
    "dynamic_range",
    "marked",
    "marks_key",
    "may_follow",
    "may_go",
    "no_gate",
    "parse_subject",
    "report_key",
    "reported",
    "start_orchestrator_service",
    "starts_again",
    "system_time",
    "trio_time",
    "wait_free",
    "wanted_since",
    "whole_revision",
    "write_together",
]
