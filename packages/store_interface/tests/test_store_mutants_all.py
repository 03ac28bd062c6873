"""No clause and no check is without a mutant, and what mutants derive from is right."""

from __future__ import annotations

import pytest
from orchestrion.store_interface.conformance import CHECK_IDS, KIT

from . import (
    test_store_mutants_leases,
    test_store_mutants_lifecycle,
    test_store_mutants_reads,
    test_store_mutants_watches,
    test_store_mutants_writes,
)
from .store_mutants import Mutant, failed_checks

MODULES = (
    test_store_mutants_leases,
    test_store_mutants_lifecycle,
    test_store_mutants_reads,
    test_store_mutants_watches,
    test_store_mutants_writes,
)
MUTANTS = {
    clause: [mutant for module in MODULES for mutant in module.MUTANTS.by_clause.get(clause, ())]
    for clause in KIT.clauses
}


def test_every_clause_has_a_mutant_and_every_mutant_a_clause() -> None:
    assert {clause for module in MODULES for clause in module.MUTANTS.by_clause} == set(KIT.clauses)


@pytest.mark.parametrize("clause", [pytest.param(clause, id=f"mutants-of-{clause}") for clause in KIT.clauses])
def test_every_check_fails_for_a_mutant_of_its_clause(clause: str) -> None:
    missed = {check_id for check_id in CHECK_IDS if check_id.startswith(f"{clause}-")}
    for module in MODULES:
        for mutant in module.MUTANTS.by_clause.get(clause, ()):
            missed -= failed_checks(clause, mutant)
    assert missed == set()


@pytest.mark.slow
def test_the_store_that_mutants_derive_from_passes() -> None:
    assert not [check for clause in KIT.clauses for check in failed_checks(clause, Mutant)]
