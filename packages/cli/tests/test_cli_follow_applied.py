"""`apply` follows what it has applied at a terminal, or where that is asked for, and ends as `rollout status` does."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve
from orchestrion.cli import _follow_applied
from orchestrion.cli._follow_applied import Follow, follow_applied, follows
from orchestrion.cli._places import RemoteServer
from orchestrion.control_plane import SocketPeer
from orchestrion.orchestrator_core import WorkloadPhase, WorkloadView
from orchestrion.shared_types import ConfigInvalid, Denied, Metadata, NotFound, WorkloadDefinition

from .conftest import Shell
from .served_directory import Do
from .terminal import Terminal

PLACE: Any = RemoteServer("there", "http://localhost", SocketPeer(Path("/nowhere")))

SERVED = "workloads: {%s: {containers: [{name: main, command: [run]}]}}\n"

STUCK = """
    workloads:
      web:
        containers:
          - {name: main, command: [sleep, "1000"], stop_grace: 1s, health: {exec: ["false"], interval: 1s}}
    """


def view(namespace: str, name: str, phase: WorkloadPhase = WorkloadPhase.HEALTHY) -> WorkloadView:
    return WorkloadView(definition=WorkloadDefinition(metadata=Metadata(name=name, namespace=namespace)), phase=phase)


def rolling(monkeypatch: pytest.MonkeyPatch, *outcomes: WorkloadView | Exception) -> None:
    """Let rollouts end as a test wants, and those of which nothing is said not before time is over."""

    async def followed(_place: Any, namespace: str, names: Collection[str], _seconds: Any, tell: Any) -> Any:
        await trio.lowlevel.checkpoint()
        found = {}
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
            metadata = outcome.definition.metadata
            if metadata.namespace == namespace and metadata.name in names:
                tell(outcome)
                found[metadata.name] = outcome
        return found

    monkeypatch.setattr(_follow_applied, "followed", followed)


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([view("default", "web"), view("shop", "till")], 0),
        ([view("default", "web"), view("shop", "till", WorkloadPhase.FAILED)], 1),
        ([view("default", "web"), evolve(view("shop", "till"), reason="rolled-back")], 1),
        ([view("default", "web")], 8),
        ([view("default", "web", WorkloadPhase.FAILED)], 1),
    ],
    ids=["all", "one-failed", "one-rolled-back", "one-late", "one-failed-one-late"],
)
def test_the_exit_code_tells_of_all_workloads(
    outcomes: list[WorkloadView], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rolling(monkeypatch, *outcomes)
    follow = Follow(timeout="3s", seconds=3)
    assert follow_applied(PLACE, [("default", "web"), ("shop", "till")], follow, "table") == code
    told = capsys.readouterr().err
    assert ("shop/till: not rolled out within 3s" in told) == (len(outcomes) == 1)
    assert f"web: {outcomes[0].phase.value} (0/0 up)" in told.splitlines()


def test_forms_for_programs_are_not_told_how_it_goes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rolling(monkeypatch, view("default", "web"))
    assert follow_applied(PLACE, [("default", "web")], Follow(asked=True), "json") == 0
    assert capsys.readouterr() == ("", "")


def test_who_may_not_look_has_applied_nevertheless(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rolling(monkeypatch, Denied("no"))
    assert follow_applied(PLACE, [("default", "web")], Follow(), "table") == 0
    assert "it was applied" in capsys.readouterr().err
    with pytest.raises(Denied):
        follow_applied(PLACE, [("default", "web")], Follow(asked=True), "table")


def test_what_ends_the_following_is_told_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rolling(monkeypatch, NotFound("gone"))
    with pytest.raises(NotFound, match="gone"):
        follow_applied(PLACE, [("default", "web"), ("shop", "till")], Follow(), "table")


@pytest.mark.parametrize(("out", "err"), [(True, True), (True, False), (False, True)])
def test_it_is_followed_unasked_where_all_is_read_at_a_terminal(
    out: bool, err: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: out)
    monkeypatch.setattr("sys.stderr.isatty", lambda: err)
    assert follows(wait=False, detach=False, timeout=None).suits("table") == (out and err)
    assert not follows(wait=False, detach=False, timeout=None).suits("json")
    assert not follows(wait=False, detach=True, timeout=None).suits("table")
    assert follows(wait=True, detach=False, timeout=None).suits("json")
    assert follows(wait=False, detach=False, timeout="5m").suits("name")


@pytest.mark.parametrize(("wait", "timeout"), [(True, None), (False, "5s"), (True, "5s")])
def test_leaving_and_waiting_are_not_wanted_at_once(wait: bool, timeout: str | None) -> None:
    with pytest.raises(ConfigInvalid, match="--detach"):
        follows(wait=wait, detach=True, timeout=timeout)


@pytest.mark.slow
def test_with_wait_it_is_followed_to_its_end(do: Do) -> None:
    Path("app.yaml").write_text(SERVED % "awaited")
    code, out, said = do("apply", "app.yaml", "--wait", "--timeout", "50s")
    assert (code, out) == (0, "awaited: create\n")
    assert "awaited: Healthy (1/1 up, 1 of generation 1)" in said.splitlines()[-1]
    code, out, said = do("apply", "app.yaml", "--wait", "-o", "json")
    assert (code, json.loads(out)["changes"][0]["action"], said) == (0, "unchanged", "")


@pytest.mark.slow
def test_the_workloads_among_objects_are_followed_too(do: Do) -> None:
    Path("app.yaml").write_text(f"kind: ConfigMap\nmetadata: {{name: beside}}\n---\n{SERVED % 'among'}")
    code, out, said = do("apply", "app.yaml", "--wait")
    assert (code, out) == (0, "configmap/beside: created\nworkload/among: created\n")
    assert "among: Healthy" in said
    Path("app.yaml").write_text("kind: ConfigMap\nmetadata: {name: beside}\n")
    assert do("apply", "app.yaml", "--wait")[::2] == (0, "nothing to change\n")


@pytest.mark.slow
def test_without_a_terminal_nothing_is_followed_unasked_and_dry_runs_never(do: Do) -> None:
    Path("app.yaml").write_text(SERVED % "left")
    assert "left: Healthy" not in do("apply", "app.yaml", "--dry-run", "--wait")[2]
    assert do("get", "workload", "left")[0] == 3
    assert "`orchestrion status` shows how it goes" in do("apply", "app.yaml")[2]
    assert do("apply", "app.yaml", "--detach", "--wait")[0] == 2


@pytest.fixture
def running(shell: Shell) -> Shell:
    """A shell with an orchestrator that runs something that stays."""
    up = shell.up(
        str(shell.write("stays.yaml", "workloads: {stays: {containers: [{name: m, command: [sleep, '9e9']}]}}"))
    )
    up.wait_for("stays: Healthy")
    return shell


@pytest.mark.slow
def test_at_a_terminal_ctrl_c_leaves_the_rollout_going(running: Shell) -> None:
    file = str(running.write("web.yaml", STUCK))
    terminal = Terminal(running, "apply", file)
    try:
        terminal.wait_for(b"web: Progressing")
        terminal.type(b"\x03")
        terminal.wait_for(b"the rollout goes on")
        assert terminal.end() == 130
    finally:
        terminal.close()
    assert running.run("status", "web", "-o", "name").stdout.split() == ["web"]
    assert running.run("apply", file, "--timeout", "0.2s").returncode == 8
    terminal = Terminal(running, "apply", file, "--detach")
    try:
        terminal.wait_for(b"`orchestrion status` shows how it goes")
        assert terminal.end() == 0
    finally:
        terminal.close()


@pytest.mark.slow
def test_at_a_terminal_a_job_that_fails_is_followed_to_its_failure(running: Shell) -> None:
    job = "workloads: {job: {kind: batch, restart: never, containers: [{name: main, command: ['false']}]}}"
    terminal = Terminal(running, "apply", str(running.write("job.yaml", job)))
    try:
        terminal.wait_for(b"job: Failed")
        assert terminal.end() == 1
    finally:
        terminal.close()
