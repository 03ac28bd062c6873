"""`plan --set` shows what `apply --set` would do, and `--prune` what would go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from orchestrion.cli import run

from .served_directory import Do

WEB = "workloads:\n%s"
ONE = "  %s: {replicas: 0, containers: [{name: main, command: [run]}]}\n"
SETTINGS = "kind: ConfigMap\nmetadata: {name: %s}\n"


@pytest.mark.slow
def test_what_left_the_set_is_shown_and_stays(do: Do) -> None:
    Path("app.yaml").write_text(WEB % (ONE % "kept" + ONE % "left"))
    Path("other.yaml").write_text(f"{SETTINGS % 'stray'}---\n{WEB % (ONE % 'kept')}")
    assert do("apply", "app.yaml", "--set", "fleet")[0] == 0
    assert do("apply", "other.yaml", "--set", "fleet")[0] == 0
    Path("app.yaml").write_text(WEB % (ONE % "kept"))
    assert do("plan", "app.yaml", "--set", "fleet")[:2] == (0, "kept: unchanged\n")
    code, out, said = do("plan", "app.yaml", "--set", "fleet", "--prune")
    assert (code, out) == (1, "kept: unchanged\nleft: delete\nconfigmap/stray: delete\n")
    assert "`orchestrion apply FILE --set fleet --prune --if-index " in said
    assert do("plan", "app.yaml", "--set", "fleet", "--prune", "-o", "name")[1].split() == [
        "kept",
        "left",
        "configmap/stray",
    ]
    given = json.loads(do("plan", "app.yaml", "--set", "fleet", "--prune", "-o", "json")[1])
    assert [change["action"] for change in given["changes"]] == ["unchanged", "delete"]
    assert given["pruned_objects"] == [{"kind": "ConfigMap", "namespace": "default", "name": "stray"}]
    assert do("get", "workload", "left")[0] == 0
    assert do("apply", "app.yaml", "--set", "fleet", "--prune", "--yes")[0] == 0
    assert do("wait", "workload", "left", "--for", "deleted", "--timeout", "50s")[0] == 0
    assert do("plan", "app.yaml", "--set", "fleet", "--prune")[0] == 0


@pytest.mark.slow
def test_to_join_a_set_is_a_change(do: Do) -> None:
    Path("app.yaml").write_text(WEB % (ONE % "joins"))
    assert do("apply", "app.yaml")[0] == 0
    assert do("plan", "app.yaml")[0] == 0
    code, out, _ = do("plan", "app.yaml", "--set", "club")
    assert (code, "joins: update" in out, "club" in out) == (1, True, True)


@pytest.mark.slow
def test_where_nobody_runs_workloads_are_shown_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("app.yaml").write_text(WEB % (ONE % "first"))
    assert run(["plan", "app.yaml", "--set", "club", "--prune", "--state", "nothing"]) == 1
    said = capsys.readouterr()
    assert "first: create" in said.out
    assert "no orchestrator runs here" in said.err
    assert not Path("nothing").exists()


@pytest.mark.parametrize(
    ("options", "told"), [(["--prune"], "say of which set"), (["--set", "A b"], "'A b' is no name")]
)
def test_what_is_no_set_is_refused(
    options: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("app.yaml").write_text(WEB % (ONE % "first"))
    assert run(["plan", "app.yaml", *options]) == 2
    assert told in capsys.readouterr().err
