"""No clause and no check is without a mutant."""

from __future__ import annotations

import pytest
from orchestrion.cluster_interface.conformance import CHECK_IDS, KIT

from . import (
    test_cluster_mutants_calls,
    test_cluster_mutants_events,
    test_cluster_mutants_orders,
)
from .cluster_mutants import failed_checks

MODULES = (
    test_cluster_mutants_calls,
    test_cluster_mutants_events,
    test_cluster_mutants_orders,
)
PAIRS = [(clause, kind) for module in MODULES for clause, kinds in module.MUTANTS.by_clause.items() for kind in kinds]


def test_every_clause_has_a_mutant() -> None:
    assert {clause for clause, _ in PAIRS} == set(KIT.clauses)


@pytest.mark.slow
def test_every_check_fails_for_some_mutant_of_its_clause() -> None:
    """A check that no wrong manager fails proves nothing."""
    failed = frozenset[str]().union(*(failed_checks(clause, kind) for clause, kind in PAIRS))
    assert sorted(set(CHECK_IDS) - failed) == []
