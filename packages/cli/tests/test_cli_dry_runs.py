"""`--dry-run`: what would happen is told, and nothing is changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from orchestrion.cli import run

from .served_directory import Do, served_directory

APP = """
workloads:
  web:
    replicas: 2
    containers: [{name: main, command: [run]}]
  late:
    after: {web: healthy}
    containers: [{name: main, command: [run]}]
"""

pytestmark = pytest.mark.slow  # each is a command of its own, with the imports of its parser


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state directory with an owner, on which `web` runs."""
    folder = tmp_path_factory.mktemp("owned")
    (folder / "app.yaml").write_text(APP)
    with served_directory(folder / "state") as state:
        assert run(["apply", str(folder / "app.yaml"), "--state", str(state)]) == 0
        for name in ("web", "late"):
            assert run(["wait", "workload", name, "--timeout", "50s", "--state", str(state)]) == 0
        yield state


def everything(do: Do) -> list[object]:
    """Return all that is wanted and all that runs."""
    found = [json.loads(do("get", kind, "-o", "json")[1]) for kind in ("workloads", "instances", "nodes")]
    return [(one["metadata"]["name"], one["metadata"]["revision"], one["spec"]) for items in found for one in items]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("scale web 5", "web: 2/2 up; would have 5"),
        ("scale web --reset", "web: 2/2 up; would have 2"),
        ("stop web", "web: would stop web.0.1, web.1.1"),
        ("start web", "web: 2/2 up; nothing would change"),
        ("rm web late", "would be removed: late, web"),
        ("node cordon NODE", "would take no new work"),
        ("node uncordon NODE", "would take work again"),
        ("node drain NODE --reason why", "would move off "),
    ],
)
def test_it_says_what_would_happen_and_nothing_happens(command: str, told: str, do: Do) -> None:
    nodes = json.loads(do("get", "instances", "-o", "json")[1])
    name = nodes[0]["spec"]["node_id"]
    before = everything(do)
    code, out, said = do(*command.replace("NODE", name).split(), "--dry-run")
    assert (code, out) == (0, "")
    assert told in said
    assert everything(do) == before
    if "drain" in command:
        assert nodes[0]["metadata"]["name"] in said


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("scale nope 5", 3),
        ("scale web 1000001", 2),
        ("stop nope", 3),
        ("start nope", 3),
        ("rm nope", 3),
        ("node cordon nope", 3),
        ("node drain nope --reason why", 3),
    ],
)
def test_what_would_be_refused_is_refused(command: str, code: int, do: Do) -> None:
    assert do(*command.split(), "--dry-run")[0] == code


def test_what_is_stopped_would_run_again(do: Do) -> None:
    assert do("stop", "late")[0] == 0
    code, _, said = do("start", "late", "--dry-run")
    assert (code, "would run again" in said) == (0, True)
    assert json.loads(do("get", "w", "late", "-o", "json")[1])["status"]["phase"] == "Stopped"
    assert "would stop nothing" in do("stop", "late", "--dry-run")[2]
    assert do("start", "late")[0] == 0


def test_a_state_directory_without_an_owner_is_only_looked_at(shell: Any) -> None:
    manifest = shell.write(
        "job.yaml", "workloads: {job: {kind: batch, containers: [{name: main, command: [echo, done]}]}}"
    )
    assert shell.run("up", str(manifest)).returncode == 0
    events = shell.run("events", "-o", "json").stdout
    assert "would be removed: job" in shell.run("rm", "job", "--dry-run").stderr
    assert "would stop nothing" in shell.run("stop", "job", "--dry-run").stderr
    assert shell.run("status", "job", "-o", "name").stdout == "job\n"
    assert shell.run("events", "-o", "json").stdout == events
