"""Compiled and interpreted, the core decides the same, also where a machine's integers end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from orchestrion.scheduler_interface import AssignNode, FullScanScheduler, NoPlacement
from orchestrion.scheduler_packing import is_compiled

from . import packing_near_limits
from .packing_near_limits import cases, digest

SEEDS = int(os.environ.get("ORCHESTRION_SEEDS_OF_LIMITS", "100"))


@pytest.mark.slow
def test_the_other_mode_decides_the_same_near_the_limits_of_integers() -> None:
    environment = {**os.environ, "ORCHESTRION_PURE": "1" if is_compiled() else "0"}
    program = Path(packing_near_limits.__file__)
    printed = subprocess.check_output([sys.executable, program, str(SEEDS)], env=environment, text=True)
    assert printed.split()[1] == digest(SEEDS)


@pytest.mark.slow
def test_decisions_near_the_limits_of_integers_equal_those_of_a_look_at_all_nodes() -> None:
    for seed in range(100):
        for request, view, decisions in cases(seed, "binpack"):
            assert decisions == trio.run(FullScanScheduler().schedule, request, view), f"seed {seed}: {request}"


def test_the_cases_end_in_both_ways() -> None:
    decisions = [decision for seed in range(30) for _, _, each in cases(seed, "binpack") for decision in each]
    assert {type(decision) for decision in decisions} == {AssignNode, NoPlacement}
