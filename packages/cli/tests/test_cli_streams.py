"""`-` is the standard input or output for the argument that it fills, wherever that stands."""

from __future__ import annotations

import io
import shlex

import pytest
from orchestrion.cli import run
from orchestrion.cli._commands import COMMANDS
from orchestrion.cli._main import _with_streams

OBJECT = b"kind: ConfigMap\nmetadata: {name: colours}\nspec: {data: {sky: blue}}\n"

BY_NAME = {command.name: command for command in COMMANDS}


@pytest.mark.parametrize(
    ("name", "rest", "meant"),
    [
        ("cp", "- web.0:/x", "/dev/stdin web.0:/x"),
        ("cp", "-n - web.0:/x -", "-n - web.0:/x /dev/stdout"),
        ("cp", "web.0:/x -c -", "web.0:/x -c -"),
        ("cp", "web.0:/x -- -", "web.0:/x -- -"),
        ("apply", "-n - --dry-run -", "-n - --dry-run /dev/stdin"),
        ("apply", "--file=- --namespace=-", "--file=/dev/stdin --namespace=-"),
        ("create", "-f - --namespace -", "-f /dev/stdin --namespace -"),
        ("validate", "a.yaml - b.yaml", "a.yaml /dev/stdin b.yaml"),
        ("key add", "- -", "/dev/stdin -"),
        ("exec", "web.0 cat -", "web.0 cat -"),
        ("node ls", "-", "-"),
    ],
)
def test_a_dash_is_a_stream_for_the_argument_that_it_fills(name: str, rest: str, meant: str) -> None:
    words = _with_streams([*name.split(), *shlex.split(rest)], BY_NAME[name])
    assert shlex.join(words) == f"{name} {meant}"


@pytest.mark.parametrize("before", [["-n", "team"], ["--namespace=team"], []])
def test_a_dash_is_understood_whatever_stands_before_the_command(
    before: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(OBJECT)))
    assert run([*before, "validate", "-"]) == 0
    assert capsys.readouterr().err == "-: 1 object, no problem found\n"
