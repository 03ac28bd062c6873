"""`node label`, `node taint` and `node rm`, on an orchestrator of mocks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .served_directory import Do

pytestmark = pytest.mark.slow  # each is a command of its own, with the imports of its parser

FIRST, SECOND = "node-00000", "node-00001"


@pytest.fixture
def do(do: Do) -> Do:
    """Runs a command where both nodes are known."""
    for name in (FIRST, SECOND):
        assert do("wait", "node", name, "--for", "exists", "--timeout", "50s")[0] == 0
    return do


def node(do: Do, name: str) -> Any:
    """Return a node as it is."""
    return json.loads(do("get", "node", name, "-o", "json")[1])


def test_a_node_is_given_labels_and_loses_them(do: Do) -> None:
    code, _, said = do("node", "label", FIRST, "disk=fast", "zone=", "--dry-run")
    assert (code, "would have labels disk=fast" in said) == (0, True), said
    code, _, said = do("node", "label", FIRST, "disk=fast", "zone=")
    assert (code, "has labels disk=fast, zone=; taints none" in said) == (0, True), said
    assert do("get", "nodes", "-l", "disk=fast", "-o", "name")[1] == f"node/{FIRST}\n"
    assert do("node", "label", FIRST, "disk-", "zone-", "never-there-")[0] == 0
    assert do("get", "nodes", "-l", "disk", "-o", "name")[1] == ""


def test_a_workload_goes_where_its_label_is(do: Do, tmp_path: Path) -> None:
    (tmp_path / "near.yaml").write_text(
        "workloads: {near: {placement: {select: {disk: near}}, containers: [{name: main, command: [run]}]}}"
    )
    assert do("node", "label", SECOND, "disk=near")[0] == 0
    assert do("apply", "near.yaml")[0] == 0
    assert do("wait", "workload", "near", "--timeout", "50s")[0] == 0
    assert node_of(do, "near") == SECOND
    assert do("rm", "near", "--yes")[0] == 0


def node_of(do: Do, workload: str) -> str:
    items = [json.loads(line) for line in do("get", "instances", "-o", "jsonl")[1].splitlines()]
    (found,) = [item for item in items if item["metadata"]["name"].startswith(f"{workload}.")]
    return str(found["spec"]["node_id"])


def test_a_node_is_given_taints_and_loses_them(do: Do) -> None:
    code, _, said = do("node", "taint", FIRST, "team=red:NoSchedule", "gpu:PreferNoSchedule")
    assert (code, "taints team=red:NoSchedule, gpu:PreferNoSchedule" in said) == (0, True), said
    assert {taint["key"] for taint in node(do, FIRST)["spec"]["taints"]} == {"team", "gpu"}
    assert "taints team=blue:NoSchedule, gpu" in do("node", "taint", FIRST, "team=blue:NoSchedule")[2]
    assert do("node", "taint", FIRST, "team:NoExecute-")[0] == 3
    assert do("node", "taint", FIRST, "team:NoSchedule-", "gpu-")[0] == 0
    assert "taints" not in node(do, FIRST)["spec"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("label", FIRST, "zone"),
        ("label", FIRST, "=x"),
        ("label", FIRST, "-"),
        ("label", FIRST, "a=1", "a=2"),
        ("taint", FIRST, "team"),
        ("taint", FIRST, "team=red"),
        ("taint", FIRST, "team=red:Never"),
        ("taint", FIRST, ":NoSchedule"),
        ("taint", FIRST, "team=red:NoSchedule-"),
        ("rm", FIRST),
    ],
)
def test_what_nobody_understands_changes_nothing(arguments: tuple[str, ...], do: Do) -> None:
    before = node(do, FIRST)
    assert do("node", *arguments)[0] == 2
    assert node(do, FIRST) == before


def test_a_node_that_is_not_there_is_told_with_those_that_are(do: Do) -> None:
    for arguments in (("label", "nobody", "a=b"), ("taint", "nobody", "a-"), ("rm", "nobody", "--yes")):
        code, _, said = do("node", *arguments)
        assert (code, FIRST in said) == (3, True)
    assert do("node", "uncordon", "nobody")[0] == 3


def test_a_node_is_removed_once_it_is_drained_and_is_back_when_it_may_work(do: Do) -> None:
    code, _, said = do("node", "rm", SECOND, "--yes")
    assert (code, "node drain" in said) == (4, True), said
    assert do("node", "drain", SECOND, "--reason", "sold", "--timeout", "50s")[0] == 0
    assert do("node", "rm", SECOND, "--dry-run")[2].endswith(": would be removed\n")
    assert do("node", "rm", SECOND, "--yes")[0] == 0
    assert do("get", "nodes", "-o", "name")[1] == f"node/{FIRST}\n"
    assert SECOND not in do("node", "ls")[1]
    assert do("node", "uncordon", SECOND)[0] == 0
    assert SECOND in do("node", "ls")[1]
