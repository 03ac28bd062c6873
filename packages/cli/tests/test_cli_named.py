"""Nodes and instances are called by less than the whole of their names, wherever objects are named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from orchestrion.cli import run
from orchestrion.cli._named import instance_meant, node_meant, workload_of
from orchestrion.mocks import mock_nodes
from orchestrion.shared_types import ConfigInvalid, NodeId

from .served_directory import Do, served_directory

NODES = [("0f9e4c1a-1", "vm"), ("0f9e4c1a-2", "lab"), ("77e4c1a0-3", "lab"), ("lab2", "0f9e4c1a-1")]


def same(node: tuple[str, str]) -> tuple[str, str]:
    return node


@pytest.mark.parametrize(
    ("text", "meant"),
    [("vm", NODES[0]), ("0f9e4c1a-1", NODES[0]), ("77e4", NODES[2]), ("lab2", NODES[3]), ("77e", None), ("web", None)],
)
def test_a_node_is_meant_by_its_id_its_name_or_the_beginning_of_its_id(
    text: str, meant: tuple[str, str] | None
) -> None:
    assert node_meant(NODES, text, same) == meant


@pytest.mark.parametrize("text", ["lab", "0f9e4c1a"])
def test_of_several_nodes_all_that_may_be_meant_are_told(text: str) -> None:
    with pytest.raises(ConfigInvalid, match="0f9e4c1a-2"):
        node_meant(NODES, text, same)


INSTANCES = [
    {"metadata": {"name": name}, "status": {"state": state}}
    for name, state in [
        ("web.0.1", "Failed"),
        ("web.0.2", "Running"),
        ("web.0.10", "Running"),
        ("web.1.1", "Pending"),
        ("web.2.1", "Failed"),
    ]
]


@pytest.mark.parametrize(
    ("text", "meant"),
    [("web.0.1", "web.0.1"), ("web.0", "web.0.10"), ("web.2", "web.2.1"), ("web.3", ""), ("web.0.3", "")],
)
def test_an_instance_is_meant_by_its_name_or_its_slot(text: str, meant: str) -> None:
    assert instance_meant(INSTANCES, text) == meant


def test_a_workload_means_the_only_one_of_its_instances_that_has_not_ended() -> None:
    assert instance_meant([INSTANCES[0], INSTANCES[3]], "web") == "web.1.1"
    assert instance_meant([INSTANCES[0]], "web") == ""
    with pytest.raises(ConfigInvalid, match=r"'web' has 3 instances: web\.0\.10, web\.0\.2, web\.1\.1"):
        instance_meant(INSTANCES, "web")


@pytest.mark.parametrize(("text", "workload"), [("web.0", "web"), ("web", "web"), ("a.b", ""), ("a=b,c", ""), ("", "")])
def test_what_can_name_no_instance_is_of_no_workload(text: str, workload: str) -> None:
    assert workload_of(text) == workload


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state directory of nodes that people have given names to, on which `web` runs."""
    folder = tmp_path_factory.mktemp("owned")
    (folder / "app.yaml").write_text("workloads:\n  web: {containers: [{name: main, command: [serve]}]}\n")
    blank = mock_nodes(1)[0]
    nodes = [evolve(blank, id=NodeId(node_id), name=name) for node_id, name in NODES[:3]]
    with served_directory(folder / "state", nodes) as state:
        assert run(["apply", str(folder / "app.yaml"), "--state", str(state)]) == 0
        assert run(["wait", "workload", "web", "--timeout", "50s", "--state", str(state)]) == 0
        yield state


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vm", "0f9e4c1a-1", "77e4"])
def test_a_node_that_is_named_is_found_by_every_command_for_objects(name: str, do: Do) -> None:
    node = next(node_id for node_id, called in NODES if name in (called, node_id) or node_id.startswith(name))
    assert do("get", "nodes", name, "-o", "name")[:2] == (0, f"node/{node}\n")
    assert json.loads(do("describe", "node", name, "-o", "json")[1])["object"]["metadata"]["name"] == node
    assert do("wait", "node", name, "--for", "exists", "--timeout", "50s")[0] == 0
    assert do("patch", "node", name, "{metadata: {labels: {a: b}}}", "--dry-run")[0] == 0
    assert do("node", "label", name, "a=b", "--dry-run")[0] == 0


@pytest.mark.slow
def test_a_name_of_several_nodes_is_a_usage_error_and_one_of_none_is_not_found(do: Do) -> None:
    for command in (
        ("get", "nodes", "lab"),
        ("describe", "node", "lab"),
        ("wait", "node", "lab"),
        ("node", "cordon", "lab"),
    ):
        code, _, err = do(*command)
        assert (code, "0f9e4c1a-2, 77e4c1a0-3" in err) == (2, True)
    assert do("get", "nodes", "nobody")[0] == 3
    assert do("describe", "node", "nobody")[0] == 3


@pytest.mark.slow
def test_an_instance_is_found_by_its_slot_or_its_workload(do: Do) -> None:
    (whole,) = do("get", "instances", "-o", "name")[1].split()
    for name in ("web", "web.0", whole.removeprefix("instance/")):
        assert do("get", "instance", name, "-o", "name")[:2] == (0, f"{whole}\n")
        assert do("wait", "instance", name, "--for", "status.state=Running", "--timeout", "50s")[0] == 0
    code, _, err = do("delete", "instance", "web.0", "web", "--yes", "--dry-run")
    assert (code, err.count(f"delete {whole}")) == (0, 1)
    assert do("get", "instance", "web.7")[0] == 3
    assert do("get", "instance", "a=b,c")[0] == 3
