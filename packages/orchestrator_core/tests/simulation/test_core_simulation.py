"""The whole orchestrator, on simulated time, while everything that can go wrong does.

`ORCHESTRION_SEEDS` says which seeds are run: a number for as many from 0, or `FIRST:END`.
"""

from __future__ import annotations

import os

import pytest

from .runner import run_seed


def _seeds() -> range:
    first, _, end = os.environ.get("ORCHESTRION_SEEDS", "40").rpartition(":")
    return range(int(first or 0), int(end))


@pytest.mark.parametrize("seed", _seeds())
def test_invariants_hold_while_everything_goes_wrong_and_after_it_has_healed(seed: int) -> None:
    run_seed(seed)


def test_the_same_seed_gives_the_same_trace() -> None:
    first, second = run_seed(7), run_seed(7)
    assert first.trace.lines == second.trace.lines
