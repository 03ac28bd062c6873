"""Bad manifests: one clear error that names file, line and remedy, exit code 2, and nothing changed."""

from __future__ import annotations

import io
from pathlib import Path
from textwrap import dedent

import pytest
from orchestrion.cli import run
from orchestrion.cli._complaints import told
from orchestrion.orchestrator_core import ImpossibleWorkload, Unschedulable
from orchestrion.scheduler_interface import ChangeKind, Explanation, PlacementChange, describe_change
from orchestrion.shared_types import NodeId

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


@pytest.mark.parametrize("number", ["-1", "1000001"])
def test_a_number_of_instances_that_can_not_be_is_told_with_the_range(
    number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["scale", "web", "--", number]) == 2
    assert f"{number} is no number of instances: 0 to 1000000 are possible" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "code", "words"), [("{", 2, "-:2:1:"), (f"workloads: {{a: {{{MAIN}}}}}", 0, "-: 1 workload, no problem")]
)
def test_standard_input_is_called_what_was_typed(
    text: str, code: int, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert run(["validate", "-"]) == code
    assert capsys.readouterr().err.startswith(words)


def test_all_that_no_node_can_run_is_told_with_nodes_that_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    node_id = NodeId("0f9e4c1a-7d7b-4d0e-9a51-5b1a3c9a0001")
    step = PlacementChange(kind=ChangeKind.LOWER_REQUEST, node_id=node_id, subject="cpu_millicores", amount=4000)
    refused = [
        ImpossibleWorkload(
            namespace="default", workload=name, explanation=Explanation(nodes_considered=1, smallest_change=(step,))
        )
        for name in ("huge", "wide")
    ]
    change = describe_change((step,))
    error = Unschedulable(
        f"no node could ever run 2 of these workloads\n'huge': it would fit: {change}\n'wide': it would fit: {change}",
        namespace="default",
        workload="huge",
        explanation=refused[0].explanation,
        impossible=tuple(refused),
        remedy="Ask for less, or run it where there is more.",
    )
    assert told(error) == 7
    assert capsys.readouterr().err.splitlines() == [
        "error: no node could ever run 2 of these workloads",
        "       'huge': it would fit: on node 0f9e4c1a-7d7: lower cpu to 4 cores",
        "       'wide': it would fit: on node 0f9e4c1a-7d7: lower cpu to 4 cores",
        "next:  Ask for less, or run it where there is more.",
    ]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["scale", "web", "2"], 9),
        (["exec", "web.0", "--", "true"], 9),
        (["status"], 3),
        (["logs", "web"], 3),
        (["stop", "web"], 3),
    ],
)
def test_without_a_directory_there_is_nobody_to_ask_and_nothing_to_look_at(
    arguments: list[str], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRION_STATE", str(tmp_path / "state"))
    assert run(arguments) == code
    assert "`orchestrion up FILE`" in capsys.readouterr().err


@pytest.mark.parametrize("limit", ["0", "-5"])
def test_a_number_of_events_is_one_or_more(limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["events", "--limit", limit]) == 2
    assert "1 or more are possible" in capsys.readouterr().err


@pytest.mark.parametrize("types", ["a b", ",", "Warning,", ",".join("a" * 21)])
def test_what_is_no_type_of_events_is_told(types: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["events", "--types", types]) == 2
    assert "next:  orchestrion events --types Warning" in capsys.readouterr().err
