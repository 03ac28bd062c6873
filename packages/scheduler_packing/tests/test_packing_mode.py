"""The core runs compiled where it was compiled, and interpreted where that is asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orchestrion.scheduler_packing._core as core
import pytest
from orchestrion.scheduler_packing import is_compiled

ASK = """
import orchestrion.scheduler_packing as packing
from orchestrion.scheduler_packing._core import order, placing
print(packing.is_compiled(), order.__file__, placing.__file__)
"""


def asked(pure: str) -> list[str]:
    environment = {**os.environ, "ORCHESTRION_PURE": pure}
    return subprocess.check_output([sys.executable, "-c", ASK], env=environment, text=True).split()


@pytest.mark.slow
def test_the_interpreted_core_can_be_asked_for() -> None:
    compiled, *files = asked("1")
    assert compiled == "False"
    assert all(name.endswith(".py") for name in files)


@pytest.mark.slow
def test_without_asking_what_was_compiled_runs_compiled() -> None:
    was_compiled = any(Path(core.__path__[0]).glob("*.so"))
    compiled, *files = asked("0")
    assert compiled == str(was_compiled)
    assert all(name.endswith(".so" if was_compiled else ".py") for name in files)


def test_this_run_is_what_its_environment_asks_for() -> None:
    was_compiled = any(Path(core.__path__[0]).glob("*.so"))
    assert is_compiled() == (was_compiled and os.environ.get("ORCHESTRION_PURE") != "1")
