"""Completion knows the kinds that users have defined, and calls nodes what people call them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from orchestrion.cli import _complete, _contexts, run
from orchestrion.cli._complete import candidates, complete
from orchestrion.cli._contexts import Context, Contexts
from orchestrion.cli._kinds import KINDS
from orchestrion.control_plane._identity.principals import PrincipalKind
from orchestrion.mocks import mock_nodes
from orchestrion.shared_types import EventSeverity, NodeId, NotFound

from .served_directory import served_directory

FOUND = """
kind: CustomKind
metadata: {name: sandwiches}
spec: {kind: Sandwich, plural: sandwiches, schema: {type: object}}
"""


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without a state directory."""
    for name in ("URL", "TOKEN", "CONTEXT"):
        monkeypatch.delenv(f"ORCHESTRION_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("ORCHESTRION_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def owned(nowhere: Path) -> Iterator[Path]:
    """A folder with a state directory of three nodes, of which two are called alike."""
    (blank,) = mock_nodes(1)
    named = [("0f9e", "vm"), ("1a2b", "lab"), ("77e4", "lab")]
    nodes = [evolve(blank, id=NodeId(node_id), name=name) for node_id, name in named]
    with served_directory(nowhere / "state", nodes):
        assert run(["wait", "node", "0f9e", "--for", "exists", "--timeout", "50s"]) == 0
        assert run(["wait", "node", "77e4", "--for", "exists", "--timeout", "50s"]) == 0
        yield nowhere


@pytest.mark.slow
def test_kinds_that_users_defined_and_their_objects_are_completed(owned: Path) -> None:
    (owned / "kind.yaml").write_text(FOUND)
    (owned / "lunch.yaml").write_text("kind: Sandwich\nmetadata: {name: blt}\nspec: {}\n")
    assert "sandwiches" not in candidates(["get"], "")
    assert run(["create", "-f", "kind.yaml"]) == 0
    assert run(["create", "-f", "lunch.yaml"]) == 0
    assert {"sandwiches", "workloads"} <= set(candidates(["get"], ""))
    for called in ("sandwiches", "sandwich"):
        assert list(candidates(["get", called], "")) == ["blt"]
    assert list(candidates(["get", "wobbles"], "")) == []


@pytest.mark.slow
def test_nodes_are_completed_by_what_means_one_of_them(owned: Path) -> None:
    assert set(candidates(["describe", "node"], "")) == {"vm", "1a2b", "77e4"}


@pytest.mark.slow
def test_what_is_built_in_is_completed_where_it_can_be_looked_at(owned: Path) -> None:
    (owned / "role.yaml").write_text(
        "kind: Role\nmetadata: {name: own}\nspec: {rules: [{verbs: [get], resources: [workloads]}]}\n"
    )
    assert run(["create", "-f", "role.yaml"]) == 0
    for verb in ("get", "describe"):
        assert {"admin", "viewer", "own"} <= set(candidates([verb, "role"], ""))
        assert {"role/admin", "role/own"} <= set(candidates([verb], "role/"))
        assert "system:admins" in candidates([verb, "rolebinding"], "system:ad")
        assert "batch" in candidates([verb, "priorityclass"], "")
    for verb in ("edit", "delete"):
        assert list(candidates([verb, "role"], "")) == ["own"]


def test_where_a_server_knows_of_nothing_built_in_its_objects_are_completed_all_the_same(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asks(target: str, _typed: object) -> dict[str, list[dict[str, dict[str, str]]]]:
        if target.endswith("built-in"):
            raise NotFound("an older server has no such path")
        return {"items": [{"metadata": {"name": "own"}}]}

    monkeypatch.setattr(_complete, "_asked", asks)
    assert list(candidates(["get", "role"], "")) == ["own"]


@pytest.mark.parametrize(
    ("word", "found"), [("web.0:/tm", []), ("web:", []), ("./a:b", [":files"]), ("/tmp/a:b", [":files"])]
)
def test_of_a_path_in_an_instance_no_files_of_here_are_offered(
    word: str, found: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_complete, "_asked", lambda *_: [])
    for before in (["cp"], ["cp", "here"]):
        assert list(candidates(before, word)) == found
    assert list(candidates(["cp", "web.0:/tmp"], "")) == [":files"]


@pytest.mark.parametrize(
    ("typed", "word", "found"),
    [
        (["wait", "workload", "web", "--for"], "", {"done", "exists", "deleted"}),
        (["wait", "workload", "web"], "--for=e", {"--for=exists"}),
        (["events", "--types"], "", {"Normal", "Warning"}),
        (["events", "--types"], "BackOff,W", {"BackOff,Warning"}),
        (["events"], "--types=BackOff,W", {"--types=BackOff,Warning"}),
        (["token", "create", "ci", "--kind"], "", {"user", "service", "node", "workload"}),
        (["auth", "can-i"], "sc", {"scale"}),
        (["auth", "can-i", "scale"], "work", {"workloads"}),
        (["auth", "can-i", "get"], "me", {"metrics"}),
        (["auth", "can-i", "get"], "tok", {"tokens"}),
    ],
)
def test_words_of_which_there_are_a_few_are_completed_without_an_answer(
    typed: list[str], word: str, found: set[str], nowhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert complete([*typed, word]) == 0
    assert set(capsys.readouterr().out.split()) == found


def test_what_a_right_is_about_is_completed_by_its_own_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    def asks(target: str, _typed: object) -> dict[str, list[dict[str, dict[str, str]]]]:
        return {"items": [{"metadata": {"name": target.rpartition("/")[2]}}]}

    monkeypatch.setattr(_complete, "_asked", asks)
    assert list(candidates(["auth", "can-i", "get", "configmaps"], "")) == ["configmaps"]
    assert list(candidates(["auth", "can-i", "get", "tokens"], "")) == []


def test_the_severities_that_are_offered_are_all_that_there_are() -> None:
    assert set(candidates(["events", "--types"], "")) == set(EventSeverity)


def test_the_kinds_that_a_token_may_be_for_are_those_that_there_are() -> None:
    shown = {str(kind) for kind in PrincipalKind if kind is not PrincipalKind.ANONYMOUS}
    assert set(candidates(["token", "create", "--kind"], "")) == shown


def test_where_nobody_answers_the_kinds_that_there_always_are_are_completed(nowhere: Path) -> None:
    assert list(candidates(["get"], "")) == [kind.plural for kind in KINDS]


@pytest.mark.parametrize(
    ("typed", "environment", "space"),
    [
        ([], {}, "shop"),
        (["-C", "other"], {}, "default"),
        (["--context=prod"], {"STATE": "state"}, "shop"),
        (["-n", "team"], {}, "team"),
        (["--namespace=team"], {}, "team"),
        (["--state=here"], {}, "default"),
        ([], {"URL": "http://127.0.0.1:1"}, "default"),
        ([], {"STATE": "state"}, "default"),
        ([], {"CONTEXT": "prod", "STATE": "state"}, "shop"),
    ],
)
def test_names_are_of_the_namespace_that_the_command_will_be_about(
    typed: list[str], environment: dict[str, str], space: str, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ORCHESTRION_STATE")
    for name, value in environment.items():
        monkeypatch.setenv(f"ORCHESTRION_{name}", value)
    prod = Context(name="prod", url="http://127.0.0.1:1", namespace="shop")
    _contexts.save(Contexts({"other": Context(name="other", url="http://127.0.0.1:2")}).with_one(prod))
    asked = list[str]()

    def asks(target: str, _typed: object) -> list[object]:
        asked.append(target)
        return []

    monkeypatch.setattr(_complete, "_asked", asks)
    assert list(candidates(["status", *typed], "")) == []
    assert asked == [f"/v1/workloads?namespace={space}"]
