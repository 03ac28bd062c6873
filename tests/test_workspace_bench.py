"""The runner of the benchmarks finds them all and prints one table."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def run(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_run", root / "benchmarks" / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def benchmark(place: Path, name: str, body: str) -> None:
    (place / f"{name}.py").write_text(f'import sys\nfrom pathlib import Path\nNAME = "{name}"\n{body}\n')


@pytest.fixture
def place(run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(run, "HERE", tmp_path)
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results")
    return tmp_path


ROW = '{"name": "puts", "value": 1234.5, "unit": "writes/s", "reach": ">= 1,000", "min": 1, "max": 2000, "runs": 5}'
WRITES = f"Path(sys.argv[sys.argv.index('--json') + 1]).write_text('[{ROW}]')"


def test_every_benchmark_is_found(run: ModuleType, root: Path) -> None:
    expected = {path for path in root.glob("benchmarks/*.py") if "\nNAME = " in path.read_text()}
    assert set(run.benchmarks().values()) == expected
    assert len(expected) >= 2


def test_rows_of_all_come_out_as_one_table_and_as_json(
    run: ModuleType, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    benchmark(place, "one", WRITES)
    benchmark(place, "two", WRITES)
    assert run.main([]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].split() == ["what", "value", "least", "most", "unit", "reach", "runs"]
    assert [line.split()[:3] for line in lines[2:]] == [["one:", "puts", "1,234.50"], ["two:", "puts", "1,234.50"]]
    assert len(list((place / "results").glob("*.json"))) == 1


def test_one_that_fails_is_said_and_the_others_run(
    run: ModuleType, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    benchmark(place, "bad", "sys.exit(3)")
    benchmark(place, "good", WRITES)
    assert run.main([]) == 1
    shown = capfd.readouterr()
    assert "good: puts" in shown.out
    assert "bad ended with 3" in shown.err


def test_data_from_elsewhere_is_for_those_that_take_it(
    run: ModuleType, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    benchmark(place, "plain", f"assert '--data' not in sys.argv\n{WRITES}")
    benchmark(place, "replay", f"TAKES_DATA = True\nassert sys.argv[-2:] == ['--data', 'there']\n{WRITES}")
    assert run.main(["--data", "there"]) == 0
    assert "replay: puts" in capfd.readouterr().out


def test_a_name_that_there_is_not_is_refused(run: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(["nothing-of-that-name"])
    assert "no such benchmark" in capfd.readouterr().err
