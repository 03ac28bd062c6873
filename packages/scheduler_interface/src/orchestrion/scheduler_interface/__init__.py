"""The Scheduler interface, the view that it decides on, and a readable reference scheduler."""

from ._errors import InvalidSchedulingRequest
from ._interface import ClusterView, Scheduler
from ._types import (
    AssignNode,
    ChangeKind,
    Explanation,
    HostPort,
    NodeView,
    NoPlacement,
    PlacedInstance,
    PlacementChange,
    Predicate,
    RefusalGroup,
    ScheduleDecision,
    SchedulerCapability,
    SchedulingRequest,
    demand_of,
    drivers_of,
    host_ports_of,
)

__all__ = [
    "AssignNode",
    "ChangeKind",
    "ClusterView",
    "Explanation",
    "HostPort",
    "InvalidSchedulingRequest",
    "NoPlacement",
    "NodeView",
    "PlacedInstance",
    "PlacementChange",
    "Predicate",
    "RefusalGroup",
    "ScheduleDecision",
    "Scheduler",
    "SchedulerCapability",
    "SchedulingRequest",
    "demand_of",
    "drivers_of",
    "host_ports_of",
]
