"""The conformance kit of `Scheduler`: proves an implementation right, clause by clause.

It needs the extra `[conformance]`. The clause ids are those in the docstrings of the interface.

    @pytest.mark.parametrize("check", conformance_checks(open_scheduler))
    def test_conformance(check):
        check()

`open_scheduler` takes nothing and returns an async context manager that gives a `SchedulerUnderTest`.
"""

from __future__ import annotations

from orchestrion.conformance_kit import explain_asserts
from orchestrion.scheduler_interface import StaticClusterView

explain_asserts(__name__, __path__)

from . import (  # noqa: F401 - importing a module declares its clauses, in this order
    _clauses_affinity,
    _clauses_batch,
    _clauses_calls,
    _clauses_change,
    _clauses_devices,
    _clauses_explain,
    _clauses_fit_node,
    _clauses_fit_room,
    _clauses_gang,
    _clauses_outcomes,
    _clauses_preempt,
    _clauses_safety,
    _clauses_same,
    _clauses_spread,
)
from ._kit import KIT, SchedulerUnderTest
from ._replay import Violation, violations
from ._situations import Batch, Situation, batches, crowded_situations, situations
from ._strategies import cluster_views, node_views, nodes, placements, workloads

__all__ = [
    "CHECK_IDS",
    "KIT",
    "Batch",
    "SchedulerUnderTest",
    "Situation",
    "StaticClusterView",
    "Violation",
    "batches",
    "checks",
    "cluster_views",
    "conformance_checks",
    "crowded_situations",
    "node_views",
    "nodes",
    "placements",
    "situations",
    "violations",
    "workloads",
]

CHECK_IDS: tuple[str, ...] = KIT.ids
"""The ids of all checks: the clause and the sentence."""

checks = KIT.checks
"""Returns all checks, bound to a scheduler; call each. They need no pytest.

The first argument opens a fresh scheduler. The options are those of `orchestrion.conformance_kit.Kit.checks`.
"""

conformance_checks = KIT.conformance_checks
"""Returns the same as parameters for `pytest.mark.parametrize`; expected failures are strict."""
