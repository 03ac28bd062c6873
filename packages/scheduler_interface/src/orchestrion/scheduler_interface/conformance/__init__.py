"""The kit that proves a scheduler right. It needs the extra `[conformance]`.

    @pytest.mark.parametrize("check", conformance_checks(open_scheduler))
    def test_conformance(check):
        check()

`open_scheduler` takes nothing and returns an async context manager that gives a `SchedulerUnderTest`.
"""

from orchestrion.scheduler_interface import StaticClusterView

from . import (  # noqa: F401 - importing a module declares its clauses, in this order
    _clauses_calls,
    _clauses_change,
    _clauses_devices,
    _clauses_explain,
    _clauses_fit_node,
    _clauses_fit_room,
    _clauses_safety,
    _clauses_same,
    _clauses_spread,
)
from ._kit import SchedulerUnderTest, check_ids, checks, conformance_checks
from ._replay import Violation, violations
from ._situations import Situation, situations
from ._strategies import cluster_views, node_views, nodes, placements, workloads

__all__ = [
    "SchedulerUnderTest",
    "Situation",
    "StaticClusterView",
    "Violation",
    "check_ids",
    "checks",
    "cluster_views",
    "conformance_checks",
    "node_views",
    "nodes",
    "placements",
    "situations",
    "violations",
    "workloads",
]
