"""Bad manifests: one clear error that names file, line and remedy, exit code 2, and nothing changed."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from orchestrion.cli import run

MAIN = "containers: [{name: main, command: [echo]}]"

PORT_CLASH = """\
workloads:
  a:
    containers:
      - {name: x, command: [echo], ports: {p: {port: 80}}}
      - {name: y, command: [echo], ports: {q: {port: 80}}}
"""

BAD = {
    "unknown key": ("workloads:\n  a:\n    knd: batch\n    " + MAIN, ":3:5:", "did you mean 'kind'"),
    "wrong type": (
        "workloads:\n  a:\n    replicas: many\n    " + MAIN,
        ":3:",
        "replicas",
    ),
    "negative quantity": (
        "workloads:\n  a:\n    containers:\n      - {name: main, command: [echo], resources: {cpu: -1}}",
        ":4:",
        "cpu",
    ),
    "absurd quantity": (
        "workloads:\n  a:\n    containers:\n      - {name: main, command: [echo], resources: {memory: 9e99Gi}}",
        ":4:",
        "memory",
    ),
    "duplicate name": (f"workloads:\n  a: {{{MAIN}}}\n  a: {{{MAIN}}}", ":3:", "a"),
    "unknown after": (f"workloads:\n  a:\n    after: {{b: started}}\n    {MAIN}", ":3:", "b"),
    "cycle": (
        f"workloads:\n  a: {{after: {{b: started}}, {MAIN}}}\n  b: {{after: {{a: started}}, {MAIN}}}",
        ":",
        "a",
    ),
    "port clash": (PORT_CLASH, ":5:", "80"),
    "missing command": ("workloads:\n  a:\n    containers:\n      - {name: main}", ":4:", "command"),
    "not YAML": ("workloads: [unclosed", ":1:", ""),
    "empty": ("", "bad.yaml", "workloads"),
    "not text": ("\x00\x01", "bad.yaml", ""),
}


@pytest.mark.parametrize("verb", ["validate", "up"])
@pytest.mark.parametrize("case", BAD)
def test_it_is_told_with_its_place_and_nothing_is_changed(
    case: str, verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text, place, word = BAD[case]
    path = tmp_path / "bad.yaml"
    path.write_text(dedent(text))
    monkeypatch.setenv("ORCHESTRION_STATE", str(tmp_path / "state"))
    assert run([verb, str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert str(path) in printed.err
    assert place in printed.err
    assert word in printed.err
    assert "Traceback" not in printed.err
    assert not (tmp_path / "state").exists()


def test_a_file_of_100_mb_is_refused_unread(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    monkeypatch.setenv("ORCHESTRION_STATE", str(tmp_path / "state"))
    assert run(["up", str(path)]) == 2
    assert str(path) in capsys.readouterr().err
    assert not (tmp_path / "state").exists()


def test_every_bad_file_is_told_and_good_ones_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad, worse = tmp_path / "good.yaml", tmp_path / "bad.yaml", tmp_path / "worse.yaml"
    good.write_text(f"workloads: {{a: {{{MAIN}}}}}")
    bad.write_text("workloads: {a: {}}")
    worse.write_text("{")
    assert run(["validate", str(bad), str(good), str(worse)]) == 2
    told = capsys.readouterr().err
    assert "good.yaml: 1 workload, no problem found" in told
    assert "bad.yaml:" in told
    assert "worse.yaml:" in told


def test_a_folder_without_manifests_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_a_number_or_reset_is_wanted_of_scale(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["scale", "web"]) == 2
    assert run(["scale", "web", "3", "--reset"]) == 2
    assert "next:  orchestrion scale web 3" in capsys.readouterr().err


def test_exec_wants_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["exec", "web.0"]) == 2
    assert "orchestrion exec web.0 -- env" in capsys.readouterr().err


def test_a_span_that_is_none_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["events", "--since", "soon"]) == 2
    assert "10m" in capsys.readouterr().err
