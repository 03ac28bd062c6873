"""How many more instances of a workload may be ended for the sake of others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrion.orchestrator_core._state.facts import Facts, available_of, wanted_replicas
from orchestrion.orchestrator_core._state.records import parse_ranges
from orchestrion.orchestrator_core._state.world import WorkloadRecord
from orchestrion.shared_types import Uid, WorkloadKind


def budget_of(record: WorkloadRecord, facts: Facts) -> int | None:
    """Return how many more instances of a workload may be ended now, >= 0; None where its author sets no limit.

    Whatever is not available counts against the limit, for whatever reason.
    """
    return budget_and_wait(record, facts)[0]


def budget_and_wait(record: WorkloadRecord, facts: Facts) -> tuple[int | None, float]:
    """Return what `budget_of` does, and the seconds until time alone may make it more; 0 where it does not."""
    spec = record.spec
    if spec is None or spec.definition.disruption is None or record.control.stopped or record.control.removed:
        return None, 0.0
    available, wait = available_of(record, spec.definition.update, facts)
    return max(0, len(available) - least_available(record)), wait


def least_available(record: WorkloadRecord) -> int:
    """Return how many instances of a workload its author wants to be left, >= 0; 0 where there is no limit."""
    disruption = record.spec.definition.disruption if record.spec is not None else None
    return disruption.least_available(_expected(record)) if disruption is not None else 0


def budgets_of(records: Iterable[WorkloadRecord], facts: Facts) -> Mapping[Uid, int]:
    """Return the budgets of the workloads that have one."""
    budgets = dict[Uid, int]()
    for record in records:
        budget = budget_of(record, facts)
        if budget is not None and record.spec is not None:
            budgets[record.spec.definition.metadata.uid] = budget
    return budgets


def _expected(record: WorkloadRecord) -> int:
    """Return how many instances there are to be at once."""
    spec = record.spec
    if spec is None:
        return 0
    match spec.definition.kind:
        case WorkloadKind.SERVICE:
            return wanted_replicas(record)
        case WorkloadKind.DAEMON:
            return len(record.roll.nodes)
        case WorkloadKind.BATCH:
            done = len(parse_ranges(record.progress.completed)) if record.progress is not None else 0
            left = max(0, spec.definition.completions - done)
            return min(left, spec.definition.parallelism or left)
