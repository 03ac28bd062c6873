"""No clause is without a mutant, and what mutants derive from is right."""

from __future__ import annotations

import pytest
from orchestrion.scheduler_interface.conformance import KIT

from . import (
    test_scheduler_mutants_affinity,
    test_scheduler_mutants_batch,
    test_scheduler_mutants_calls,
    test_scheduler_mutants_explain,
    test_scheduler_mutants_fit,
    test_scheduler_mutants_gang,
    test_scheduler_mutants_outcomes,
    test_scheduler_mutants_preempt,
    test_scheduler_mutants_safety,
)
from .scheduler_mutants import AbleMutant, Mutant, failed_checks

MODULES = (
    test_scheduler_mutants_affinity,
    test_scheduler_mutants_batch,
    test_scheduler_mutants_calls,
    test_scheduler_mutants_explain,
    test_scheduler_mutants_fit,
    test_scheduler_mutants_gang,
    test_scheduler_mutants_outcomes,
    test_scheduler_mutants_preempt,
    test_scheduler_mutants_safety,
)


def test_every_clause_has_a_mutant() -> None:
    killed = {clause for module in MODULES for clause in module.MUTANTS.by_clause}
    assert killed == set(KIT.clauses)


@pytest.mark.slow
def test_the_unchanged_base_is_no_mutant() -> None:
    assert not any(failed_checks(clause, Mutant) for clause in ("SAFE-1", "EXPLAIN-2", "CHANGE-2"))
    assert not any(failed_checks(clause, AbleMutant) for clause in ("SAFE-4", "CHANGE-3", "PREEMPT-7"))
    batches = [clause for clause in KIT.clauses if clause.startswith("BATCH")]
    assert batches
    assert not any(failed_checks(clause, test_scheduler_mutants_batch.InTurn) for clause in batches)
    outcomes = [clause for clause in KIT.clauses if clause.startswith("OUTCOME")]
    assert outcomes
    assert not any(failed_checks(clause, test_scheduler_mutants_outcomes.Told) for clause in outcomes)
