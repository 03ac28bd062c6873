"""Writing manifests: one to begin with, one form for all, and what a key means."""

from __future__ import annotations

from pathlib import Path

import pytest
from orchestrion.cli import run
from orchestrion.cli._workshop import formatted
from orchestrion.shared_types import ConfigInvalid
from orchestrion.shared_types.manifest import load_manifest

UGLY = """\
workloads:
    # what people see
    web: {replicas:   2, containers: [
        {name: main, command: ["serve", '--fast']}]}   # the only one
"""


def test_what_init_writes_is_a_manifest_and_is_never_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "app.yaml"
    assert run(["init", str(path)]) == 0
    assert {one.metadata.name for one in load_manifest(path).workloads} == {"hello", "once"}
    assert run(["fmt", "--check", str(path)]) == 0
    path.write_text("mine")
    assert run(["init", str(path)]) == 4
    assert path.read_text() == "mine"
    assert "there is a" in capsys.readouterr().err


def test_a_manifest_keeps_its_meaning_and_its_comments(tmp_path: Path) -> None:
    path = tmp_path / "app.yaml"
    path.write_text(UGLY)
    before = load_manifest(path).workloads
    assert run(["fmt", "--check", str(path)]) == 1
    assert path.read_text() == UGLY
    assert run(["fmt", str(tmp_path)]) == 0
    text = path.read_text()
    assert "# what people see" in text
    assert "# the only one" in text
    assert load_manifest(path).workloads == before
    assert run(["fmt", "--check", str(path)]) == 0


def test_what_is_no_manifest_is_not_written_anew(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid):
        formatted("workloads: 3\n", tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("", "workloads"),
        ("workloads", "containers"),
        ("workloads.containers", "command"),
        ("workloads.containers.health", "http"),
        ("workloads.update.rollback", "Whether an update that fails is undone."),
        ("workloads.kind", "batch"),
    ],
)
def test_a_key_is_told_with_what_is_below_it(path: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain-field", path]) == 0
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("resourcequota", "spec"),
        ("resourcequota.spec.hard", "`instances`"),
        ("quota.spec", "hard"),
        ("LimitRange.spec", "What a container gets that does not say."),
        ("role.spec.rules", "verbs"),
        ("RoleBinding.spec.subjects.kind", "user, group, service"),
        ("customkind.spec.schema", "The JSON Schema"),
        ("mutatingwebhooks.spec", "How long it may take"),
        ("pc.spec.value", "-2147483648"),
        ("workload.spec.containers.health", "http"),
        ("configmap.metadata", "labels"),
    ],
)
def test_a_key_of_any_kind_is_told_without_a_server(path: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain-field", path]) == 0
    assert told in capsys.readouterr().out


@pytest.mark.parametrize("words", [["schema", "node"], ["schema", "backups"], ["explain-field", "worklods.kind"]])
def test_a_kind_that_is_none_or_that_nobody_writes_has_no_schema(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words, "--state", str(tmp_path / "none")]) == 3
    told = capsys.readouterr().err
    assert "there is no kind" in told or "nobody writes" in told


def test_a_key_that_is_none_is_told_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain-field", "workloads.containers.helth"]) == 3
    assert "health" in capsys.readouterr().err
