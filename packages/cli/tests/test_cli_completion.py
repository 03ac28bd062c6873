"""Completion as a real shell asks for it, in which keys are pressed."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from orchestrion.cli import _complete
from orchestrion.cli._complete import complete

from .running_command import PATIENCE_SECONDS

SETUP = {
    "bash": "source {script}; PS1='> '; bind 'set bell-style none'; bind 'set enable-bracketed-paste off'",
    "zsh": "autoload -Uz compinit; compinit -D; source {script}; PROMPT='> '; unsetopt beep",
    "fish": "source {script}",
}
START = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"], "fish": ["fish", "-i"]}

ORCHESTRION = """#!/bin/sh
case "$1" in
__complete) exec {python} -m orchestrion.cli "$@" ;;
*) echo "asked for: $*." ;;
esac
"""


class Typist:
    """Types into a shell of its own, whose `orchestrion` only says what it was asked for."""

    def __init__(self, shell: str, folder: Path) -> None:
        programs = folder / "bin"
        programs.mkdir()
        (programs / "orchestrion").write_text(ORCHESTRION.format(python=sys.executable))
        (programs / "orchestrion").chmod(0o755)
        script = folder / "script"
        script.write_text(_complete.SCRIPTS[shell])
        self.ours, theirs = pty.openpty()
        environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "TERM": "dumb", "HOME": str(folder)}
        environment |= {"XDG_CONFIG_HOME": str(folder), "ORCHESTRION_STATE": str(folder / "state")}
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *START[shell]],  # fish wants a terminal that is its own
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=folder,
            env=environment,
        )
        os.close(theirs)
        self.seen = b""
        self.type(SETUP[shell].format(script=script) + "; echo rea''dy\n")
        self.wait_for(b"ready")

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def wait_for(self, text: bytes) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in self.seen:
            ready, _, _ = select.select([self.ours], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no {text!r} in {self.seen!r}"
            self.seen += os.read(self.ours, 65536)
        self.seen = self.seen.partition(text)[2]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.ours)


@pytest.fixture(
    params=["bash", pytest.param("zsh", marks=pytest.mark.engine), pytest.param("fish", marks=pytest.mark.engine)]
)
def typist(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Typist]:
    """Somebody at each shell: bash, which every machine has, and those that `.ci/run` installs."""
    made = Typist(request.param, tmp_path)
    yield made
    made.close()


@pytest.mark.slow
def test_a_shell_completes_commands_options_and_files(typist: Typist, tmp_path: Path) -> None:
    (tmp_path / "my app.yaml").write_text("")
    for typed, asked in [
        ("orchestrion roll\tund\tweb\n", b"asked for: rollout undo web."),
        ("orchestrion status --out\tjsonl\n", b"asked for: status --output jsonl."),
        ("orchestrion apply my\t\n", b"asked for: apply my app.yaml."),
        ("orchestrion status -C loc\t\n", b"asked for: status -C local."),
    ]:
        typist.type(typed)
        typist.wait_for(asked)


@pytest.mark.parametrize("name", ["$(touch here)", "`x`", "a;b", "a b", "-rf /", "a\nb", "*", "~root", ""])
def test_a_name_that_a_shell_would_take_for_an_order_is_not_offered(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_complete, "candidates", lambda *_: [name, "web", "web.0", "cluster.example:80", "--tls"])
    assert complete([""]) == 0
    assert capsys.readouterr().out.split("\n") == ["--tls", "cluster.example:80", "web", "web.0", ""]
