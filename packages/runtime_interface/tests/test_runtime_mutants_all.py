"""No clause and no check is without a mutant."""

from __future__ import annotations

import pytest
from orchestrion.runtime_interface.conformance import CHECK_IDS, KIT

from . import (
    test_runtime_mutants_abilities,
    test_runtime_mutants_create,
    test_runtime_mutants_end,
    test_runtime_mutants_status,
    test_runtime_mutants_tasks,
    test_runtime_mutants_terminals,
)
from .runtime_mutants import failed_checks

MODULES = (
    test_runtime_mutants_abilities,
    test_runtime_mutants_create,
    test_runtime_mutants_end,
    test_runtime_mutants_status,
    test_runtime_mutants_tasks,
    test_runtime_mutants_terminals,
)


def test_every_clause_has_a_mutant_and_every_mutant_a_clause() -> None:
    assert {clause for module in MODULES for clause in module.MUTANTS.by_clause} == set(KIT.clauses)


@pytest.mark.parametrize("clause", [pytest.param(clause, id=f"mutants-of-{clause}") for clause in KIT.clauses])
def test_every_check_fails_for_a_mutant_of_its_clause(clause: str) -> None:
    missed = {check_id for check_id in CHECK_IDS if check_id.startswith(f"{clause}-")}
    for module in MODULES:
        for mutant in module.MUTANTS.by_clause.get(clause, ()):
            missed -= failed_checks(clause, mutant)
    assert missed == set()
