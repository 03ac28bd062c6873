"""The last line of CI is the sum of all runs of pytest."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest

SUITE = '<testsuites><testsuite tests="{0}" failures="{1}" skipped="{2}" errors="{3}"/></testsuites>'


@pytest.fixture
def total(root: Path) -> Callable[[Path], int]:
    spec = importlib.util.spec_from_file_location("total", root / ".ci" / "total.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    main: Callable[[Path], int] = module.main
    return main


def write(nox: Path, runs: dict[str, tuple[int, int, int, int]], sessions: dict[str, str] | None) -> None:
    (nox / "results").mkdir()
    for name, counts in runs.items():
        (nox / "results" / f"{name}.xml").write_text(SUITE.format(*counts))
    if sessions is not None:
        report = {"sessions": [{"name": name, "result": result} for name, result in sessions.items()]}
        (nox / "report.json").write_text(json.dumps(report))


def test_runs_are_added_up(total: Callable[[Path], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {"tests-3.11": (10, 0, 2, 0), "alone-x": (5, 0, 0, 0)}, {"tests-3.11": "success"})
    assert total(tmp_path) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "13 passed, 0 failed, 2 skipped"


def test_a_failed_test_is_counted_once(
    total: Callable[[Path], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {"alone-x": (5, 1, 0, 0)}, {"alone": "failed"})
    assert total(tmp_path) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "4 passed, 1 failed"


def test_a_session_without_tests_that_failed_is_an_error(
    total: Callable[[Path], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {"tests-3.11": (5, 0, 0, 0)}, {"tests-3.11": "success", "lint": "failed", "tests-3.13": "skipped"})
    assert total(tmp_path) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:3]] == [["lint", "failed"], ["tests-3.13", "skipped"]]
    assert lines[-1] == "5 passed, 0 failed, 1 errors"


def test_a_run_that_was_cut_off_is_an_error(
    total: Callable[[Path], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {"tests-3.11": (5, 0, 0, 0)}, None)
    assert total(tmp_path) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "5 passed, 0 failed, 1 errors"
