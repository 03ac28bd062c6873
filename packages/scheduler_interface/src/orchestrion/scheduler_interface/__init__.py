"""The Scheduler interface, the view that it decides on, and a readable reference scheduler."""

from ._batches import SupportsBatches, check_batch, less_victims, schedule_in_turn
from ._cluster_change import HELPED_BY, ClusterChange, ClusterChangeKind, cluster_changes
from ._describe import describe, describe_change, describe_score
from ._devices import DeviceWant, Grant, device_matches, device_wants, find_grants
from ._errors import InvalidSchedulingRequest, SchedulerUnavailable
from ._evictions import Eviction, budgets_after, find_evictions, put_back_key, within_budgets
from ._full_scan import FULL_WEIGHT, LEVELS, STEP_POINTS, FullScanScheduler
from ._gang import keep_minimum
from ._interface import ClusterView, Scheduler
from ._keeper import Draft, ViewKeeper
from ._kept import KeptView, NodeChange, SupportsNodeChanges
from ._labels import (
    REFUSING_EFFECTS,
    Tolerated,
    domain_text,
    expression_matches,
    expression_text,
    is_tolerated,
    label_text,
    neighbours_text,
    selector_matches,
    topology_domain,
)
from ._neighbours import has_labels, is_meant
from ._outcomes import InstanceOutcome, OutcomeKind, SupportsOutcomes
from ._queue_entry import QueueEntry, QueuePart
from ._requests import check_request
from ._scheduling_queue import SchedulingQueue
from ._simple import SimpleScheduler
from ._types import (
    AssignNode,
    ChangeKind,
    Explanation,
    GangShortage,
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
    grace_seconds_of,
    host_ports_of,
)
from ._view import StaticClusterView, node_view, placed_instance, with_decisions, with_instances, without_instances
from ._why import explain

__all__ = [
    "FULL_WEIGHT",
    "HELPED_BY",
    "LEVELS",
    "REFUSING_EFFECTS",
    "STEP_POINTS",
    "AssignNode",
    "ChangeKind",
    "ClusterChange",
    "ClusterChangeKind",
    "ClusterView",
    "DeviceWant",
    "Draft",
    "Eviction",
    "Explanation",
    "FullScanScheduler",
    "GangShortage",
    "Grant",
    "HostPort",
    "InstanceOutcome",
    "InvalidSchedulingRequest",
    "KeptView",
    "NoPlacement",
    "NodeChange",
    "NodeView",
    "OutcomeKind",
    "PlacedInstance",
    "PlacementChange",
    "Predicate",
    "QueueEntry",
    "QueuePart",
    "RefusalGroup",
    "ScheduleDecision",
    "Scheduler",
    "SchedulerCapability",
    "SchedulerUnavailable",
    "SchedulingQueue",
    "SchedulingRequest",
    "SimpleScheduler",
    "StaticClusterView",
    "SupportsBatches",
    "SupportsNodeChanges",
    "SupportsOutcomes",
    "Tolerated",
    "ViewKeeper",
    "budgets_after",
    "check_batch",
    "check_request",
    "cluster_changes",
    "demand_of",
    "describe",
    "describe_change",
    "describe_score",
    "device_matches",
    "device_wants",
    "domain_text",
    "drivers_of",
    "explain",
    "expression_matches",
    "expression_text",
    "find_evictions",
    "find_grants",
    "grace_seconds_of",
    "has_labels",
    "host_ports_of",
    "is_meant",
    "is_tolerated",
    "keep_minimum",
    "label_text",
    "less_victims",
    "neighbours_text",
    "node_view",
    "placed_instance",
    "put_back_key",
    "schedule_in_turn",
    "selector_matches",
    "topology_domain",
    "with_decisions",
    "with_instances",
    "within_budgets",
    "without_instances",
]
