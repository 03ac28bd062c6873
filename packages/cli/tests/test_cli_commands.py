"""The table of commands, the overview and each command's help."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from orchestrion.cli import _exec, run
from orchestrion.cli._commands import COMMANDS, Command
from orchestrion.cli._main import make_app

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"]])
def test_the_overview_names_every_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 0
    printed = capsys.readouterr()
    for command in COMMANDS:
        assert f"  {command.name} " in printed.out
        assert command.summary in printed.out
    assert printed.err == ""


def test_nothing_to_do_is_a_usage_error_that_shows_the_overview(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Usage: orchestrion COMMAND" in printed.err


def test_the_overview_imports_nothing_that_takes_time() -> None:
    probe = (
        "import sys; from orchestrion.cli import run; run(['--help']);"
        "print([name for name in ('trio', 'attrs', 'cattrs', 'cyclopts', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_help_of_a_command_imports_nothing_that_takes_time_either() -> None:
    probe = (
        "import sys; from orchestrion.cli import run; run(['up', '--help']);"
        "print([name for name in ('trio', 'attrs', 'cattrs', 'cyclopts', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_command_has_a_help_that_begins_with_its_documentation(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*command.name.split(), "--help"]) == 0
    documentation = inspect.getdoc(command.load()) or ""
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.startswith(f"Usage: orchestrion {command.name}")
    assert documentation.split(".")[0].split()[0] in printed


def _help_of(name: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert run([*name.split(), "--help"]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("arguments", [["help", "up"], ["up", "-h"], ["up", "app.yaml", "--logs", "all", "--help"]])
def test_a_help_is_asked_for_in_several_ways(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 0
    assert capsys.readouterr().out.startswith("Usage: orchestrion up [OPTIONS] FILE\n")


def test_a_help_of_what_is_no_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help", "upp"]) == 2
    assert 'Did you mean "up"?' in capsys.readouterr().err


def test_a_help_behind_two_dashes_is_the_commands_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[object] = []

    def note(_instance: str, command: object, *_options: object, **_more: object) -> int:
        ran.append(command)
        return 0

    monkeypatch.setattr(_exec, "run_exec", note)
    assert run(["exec", "web", "--", "ls", "--help"]) == 0
    assert ran == [("ls", "--help")]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_help_fits_the_terminal(
    command: Command, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = _help_of(command.name, capsys)
    assert all(len(line) <= columns or len(line.split()) == 1 for line in lines if not line.startswith("Usage:"))
    assert not any(line != line.rstrip() for line in lines)


def test_a_help_tells_names_choices_defaults_and_variables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    told = [" ".join(line.split()) for line in _help_of("stop", capsys) + _help_of("logs", capsys)]
    assert "-s, --state STATE State directory. [.orchestrion] [environment: ORCHESTRION_STATE]" in told
    assert "--wait, --no-wait Wait until nothing runs any more. [--wait]" in told
    assert "-f, --follow Go on as more comes." in told
    assert "-o, --output CHOICE How it is written. One of: table, jsonl. [table]" in told
    assert "NAME Workloads, or instances such as web.0." in told


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_help_shows_no_default_that_is_nothing(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    told = " ".join(_help_of(command.name, capsys))
    assert not any(nothing in told for nothing in ("[()]", "[]", "[None]", "['']"))


def test_every_function_for_typing_is_in_the_table() -> None:
    modules = {command.load().__module__ for command in COMMANDS}
    offered = {
        (module, name)
        for module in modules
        for name, value in vars(importlib.import_module(module)).items()
        if inspect.isfunction(value) and value.__module__ == module
    }
    assert offered == {(command.load().__module__, command.function) for command in COMMANDS}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["upp"], 'Did you mean "up"?'),
        (["up"], "FILE requires an argument"),
        (["scale", "web", "many"], "unable to convert"),
        (["status", "--outptu", "json"], "Did you mean --output?"),
        (["status", "-o", "xml"], "xml"),
        (["stop"], "NAME requires an argument"),
        (["validate", "a.yaml", "--strict"], "--strict"),
    ],
)
def test_what_can_not_be_parsed_is_a_usage_error(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    printed = capsys.readouterr()
    assert told in printed.err
    assert "--help` tells more" in printed.err
    assert printed.out == ""
    assert "Traceback" not in printed.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_all_commands(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert "orchestrion __complete" in capsys.readouterr().out
    for command in COMMANDS:
        *before, last = command.name.split()
        assert run(["__complete", *before, ""]) == 0
        assert last in capsys.readouterr().out.splitlines()


def test_the_versions_are_those_that_are_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["version", "-o", "name"]) == 0
    assert run(["--version"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names[0] == "orchestrion"
    assert {"orchestrion-shared-types", "orchestrion-orchestrator-core", "python"} <= set(names)


@pytest.mark.parametrize(("wanted", "told"), [(None, {"compiled", "interpreted"}), ("1", {"interpreted"})])
def test_the_version_of_the_scheduler_says_how_its_core_runs(wanted: str | None, told: set[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ORCHESTRION_PURE"}
    if wanted is not None:
        environment["ORCHESTRION_PURE"] = wanted
    command = [sys.executable, "-m", "orchestrion.cli", "version", "-o", "json"]
    ended = subprocess.run(command, env=environment, capture_output=True, check=True)
    cores = {part["name"]: part.get("core", "") for part in json.loads(ended.stdout)}
    assert cores.pop("orchestrion-scheduler-packing") in told
    assert not any(cores.values())


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_page_of_commands_has_every_command(command: Command) -> None:
    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert any(re.search(rf"`{command.name}[` ]", row) for row in rows)


def test_the_app_takes_every_command() -> None:
    app = make_app()
    assert {command.name.split()[0] for command in COMMANDS} <= set(app)


@pytest.mark.parametrize("arguments", [["node", "--help"], ["help", "node"]])
def test_commands_that_begin_alike_have_an_overview(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Usage: orchestrion node COMMAND")
    assert "node drain" in printed
    assert "rollout" not in printed


def test_half_a_command_is_a_usage_error_that_shows_how_it_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rollout"]) == 2
    assert "rollout undo" in capsys.readouterr().err
    assert run(["rollout", "redo"]) == 2
