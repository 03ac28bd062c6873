"""The kit checks the clauses that the interface states, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from orchestrion.scheduler_interface import ClusterView, Scheduler, _batches, _outcomes, _types
from orchestrion.scheduler_interface.conformance import CHECK_IDS

CLAUSE = re.compile(r"\[([A-Z]+-[0-9]+)\]")


def stated_clauses() -> set[str]:
    sources = [Scheduler.__doc__, Scheduler.schedule.__doc__, Scheduler.capabilities.__doc__, ClusterView.__doc__]
    for module in (_types, _batches, _outcomes):
        assert module.__file__ is not None
        sources.append(Path(module.__file__).read_text(encoding="utf-8"))
    return {clause for text in sources for clause in CLAUSE.findall(text or "")}


def test_every_clause_of_the_interface_is_checked_and_no_other() -> None:
    checked = {"-".join(check_id.split("-")[:2]) for check_id in CHECK_IDS}
    assert checked == stated_clauses()


def test_the_kit_is_as_large_as_promised() -> None:
    assert len(CHECK_IDS) >= 100
