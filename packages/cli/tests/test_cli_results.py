"""What waits, checks or changes gives its result to programs: the same exit code, and nothing that people are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from orchestrion.cli import run

from .served_directory import Do

WEB = "workloads: {%s: {containers: [{name: main, command: [run]}]}}"


def test_problems_are_given_with_their_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text("kind: ConfigMap\nmetadata: {name: a}\nspec:\n  dta: {}\n")
    Path("broken.yaml").write_text("kind: [\n")
    Path("good.yaml").write_text(
        "workloads: {web: {priority_class: own, containers: [{name: main, command: [run]}]}}\n"
    )
    files = ("bad.yaml", "broken.yaml", "good.yaml")
    assert run(["validate", *files, "-o", "json"]) == 2
    said = capsys.readouterr()
    found = {one["file"]: one for one in json.loads(said.out)}
    (problem,) = found["bad.yaml"]["problems"]
    assert (problem["line"], problem["column"], problem["path"]) == (4, 3, "spec")
    assert found["broken.yaml"]["problems"][0]["line"] == 2
    assert (found["good.yaml"]["workloads"], found["good.yaml"]["problems"]) == (1, [])
    assert "priority class own of web" in found["good.yaml"]["remarks"][0]
    assert said.err == ""
    assert run(["validate", *files, "-o", "name"]) == 2
    assert sorted(capsys.readouterr().out.split()) == ["bad.yaml", "broken.yaml"]
    assert run(["validate", "good.yaml", "-o", "jsonpath={[0].workloads}"]) == 0
    assert capsys.readouterr().out == "1\n"


@pytest.mark.slow
def test_how_an_update_ended_is_given_with_the_workload(do: Do) -> None:
    Path("app.yaml").write_text(WEB % "rolled")
    assert do("apply", "app.yaml")[0] == 0
    code, out, said = do("rollout", "status", "rolled", "-o", "json", "--timeout", "50s")
    result = json.loads(out)
    assert (code, said, result["outcome"], result["workload"]["phase"]) == (0, "", "rolled-out", "Healthy")
    assert do("rollout", "status", "rolled", "-o", "name") == (0, "rolled\n", "")
    code, out, said = do("rollout", "pause", "rolled", "-o", "json")
    assert (code, said, json.loads(out)["paused"]) == (0, "", True)
    assert do("rollout", "resume", "rolled", "-o", "name") == (0, "rolled\n", "")
    code, out, said = do("rollout", "restart", "rolled", "-o", "json")
    assert (code, said, json.loads(out)["metadata"]["name"]) == (0, "", "rolled")
    assert do("rollout", "restart", "rolled", "--dry-run", "-o", "name") == (0, "workload/rolled\n", "")


@pytest.mark.slow
def test_an_update_that_does_not_end_in_time_is_late(do: Do) -> None:
    Path("app.yaml").write_text("workloads: {job: {kind: batch, containers: [{name: main, command: [run]}]}}")
    assert do("apply", "app.yaml")[0] == 0
    code, out, said = do("rollout", "status", "job", "-o", "json", "--timeout", "0.2s")
    assert (code, said, json.loads(out)["outcome"], json.loads(out)["workload"]) == (8, "", "late", None)


@pytest.mark.slow
def test_what_was_waited_for_is_given_with_the_object(do: Do) -> None:
    assert do("create", "configmap", "there")[0] == 0
    code, out, said = do("wait", "cm", "there", "--for", "exists", "-o", "json")
    result = json.loads(out)
    assert (code, said, result["kind"], result["reached"]) == (0, "", "ConfigMap", True)
    assert result["object"]["metadata"]["name"] == "there"
    code, out, _ = do("wait", "cm", "there", "--for", "spec.data.a=b", "--timeout", "0.1s", "-o", "json")
    assert (code, json.loads(out)["reached"]) == (8, None)
    code, out, _ = do("wait", "cm", "nowhere", "--for", "deleted", "-o", "json")
    assert (code, json.loads(out)["reached"], json.loads(out)["object"]) == (0, True, None)
    assert do("wait", "cm", "there", "--for", "exists", "-o", "name") == (0, "configmap/there\n", "")


@pytest.mark.slow
def test_nodes_are_given_as_they_are_after_an_order(do: Do) -> None:
    node = do("node", "ls", "-o", "name")[1].split()[0]
    code, out, said = do("node", "cordon", node, "-o", "json")
    (given,) = json.loads(out)
    assert (code, said, given["kind"]) == (0, "", "Node")
    (shown,) = [one for one in json.loads(do("get", "nodes", "-o", "json")[1]) if one["metadata"] == given["metadata"]]
    assert shown == given
    assert do("node", "uncordon", node, "-o", "name")[1] == f"node/{given['metadata']['name']}\n"
    code, out, said = do("node", "label", node, "disk=fast", "-o", "json")
    assert (code, said, json.loads(out)["metadata"]["labels"]["disk"]) == (0, "", "fast")
    assert do("node", "taint", node, "team=red:NoSchedule", "-o", "name")[:2] == (
        0,
        f"node/{given['metadata']['name']}\n",
    )
    assert do("node", "taint", node, "team-", "-o", "jsonpath={.kind}")[:2] == (0, "Node\n")


@pytest.mark.slow
def test_what_was_changed_is_given_as_it_is_then(do: Do) -> None:
    Path("app.yaml").write_text(WEB % "changed")
    assert do("apply", "app.yaml", "--wait")[0] == 0
    code, out, said = do("scale", "changed", "3", "-o", "json")
    assert (code, said, json.loads(out)["replicas"]) == (0, "", 3)
    assert do("scale", "changed", "2", "--dry-run", "-o", "name") == (0, "changed\n", "")
    patch = '{"metadata": {"labels": {"tier": "front"}}}'
    code, out, said = do("patch", "workload", "changed", patch, "-o", "json")
    assert (code, said, json.loads(out)["metadata"]["labels"]["tier"]) == (0, "", "front")
    assert do("patch", "workload", "changed", patch, "-o", "name") == (0, "workload/changed\n", "")
    code, out, said = do("start", "changed", "-o", "json")
    assert (code, said, json.loads(out)["definition"]["metadata"]["name"]) == (0, "", "changed")
