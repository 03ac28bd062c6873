"""Completion as a real shell asks for it, in which keys are pressed."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from orchestrion.cli import _complete
from orchestrion.cli._complete import complete

from .attacked_target import Target
from .running_command import PATIENCE_SECONDS

SETUP = {
    "bash": "source {script}; PS1='> '; bind 'set bell-style none'; bind 'set enable-bracketed-paste off'",
    "zsh": "autoload -Uz compinit; compinit -D; source {script}; PROMPT='> '; unsetopt beep",
    "fish": "source {script}",
}
START = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"], "fish": ["fish", "-i"]}
PAGE = Path(__file__).parents[3] / "docs" / "cli.md"
SHELLS = ["bash", *(pytest.param(shell, marks=pytest.mark.engine) for shell in ("zsh", "fish"))]
"""bash, which every machine has, and those that `.ci/run` installs."""

ORCHESTRION = """#!/bin/sh
case "$1" in
__complete | completion) exec {python} -m orchestrion.cli "$@" ;;
*) echo "asked for: $*." ;;
esac
"""


class Typist:
    """Types into a shell of its own, whose `orchestrion` only says what it was asked for."""

    def __init__(self, shell: str, folder: Path, others: Mapping[str, str]) -> None:
        self.shell, self.folder = shell, folder
        programs = folder / "bin"
        programs.mkdir()
        (programs / "orchestrion").write_text(ORCHESTRION.format(python=sys.executable))
        (programs / "orchestrion").chmod(0o755)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ORCHESTRION_")}
        environment |= {"PATH": f"{programs}:{os.environ['PATH']}", "TERM": "dumb", "HOME": str(folder)}
        data = folder / ".data"
        # Where fish finds no such folder it makes one of all man pages, in a process that outlives the shell.
        (data / "fish" / "generated_completions").mkdir(parents=True)
        environment |= {"XDG_CONFIG_HOME": str(folder / ".config"), "XDG_DATA_HOME": str(data)}
        self.environment = {**environment, **others}
        self.seen = b""

    def sit_down(self, *command: str) -> None:
        """Start a shell."""
        self.ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command],  # fish wants a terminal that is its own
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=self.folder,
            env=self.environment,
        )
        os.close(theirs)

    def set_up(self) -> None:
        """Start a shell that reads no file but the script."""
        script = self.folder / "script"
        script.write_text(_complete.SCRIPTS[self.shell])
        self.sit_down(*START[self.shell])
        self.type(SETUP[self.shell].format(script=script) + "\n")
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait until the shell does what it is told."""
        self.type("echo rea''dy\n")
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

    def check(self, typed: str, asked: str) -> None:
        """Type something, and make sure that the command is asked for this."""
        self.type(f"{typed}\n")
        self.wait_for(f"asked for: {asked}.".encode())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.ours)


@pytest.fixture(params=SHELLS)
def typist(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Typist]:
    """Somebody at each shell."""
    made = Typist(request.param, tmp_path, {"ORCHESTRION_STATE": str(tmp_path / "state")})
    made.set_up()
    yield made
    made.close()


@pytest.mark.slow
def test_a_shell_completes_commands_options_and_files(typist: Typist, tmp_path: Path) -> None:
    (tmp_path / "my app.yaml").write_text("")
    for typed, asked in [
        ("orchestrion roll\tund\tweb", "rollout undo web"),
        ("orchestrion status --out\tjsonl", "status --output jsonl"),
        ("orchestrion apply my\t", "apply my app.yaml"),
        ("orchestrion status --state=my\t", "status --state=my app.yaml"),
        ("orchestrion status -C loc\t", "status -C local"),
    ]:
        typist.check(typed, asked)


@pytest.mark.slow
@pytest.mark.parametrize("shell_name", SHELLS)
def test_a_shell_completes_the_names_of_what_a_server_has(shell_name: str, target: Target, tmp_path: Path) -> None:
    spec = {"replicas": 0, "containers": [{"name": "main", "command": ["run"]}]}
    for space, name in (("default", "planets"), ("team", "comets")):
        target.ask("POST", "/api/v1/namespaces", {"metadata": {"name": space}})
        path, metadata = f"/api/v1/namespaces/{space}", {"name": name}
        assert target.ask("POST", f"{path}/workloads", {"metadata": metadata, "spec": spec})[0] == 201
        assert target.ask("POST", f"{path}/configmaps", {"metadata": {"name": f"of-{name}"}})[0] == 201
    server = {"ORCHESTRION_URL": f"http://127.0.0.1:{target.port}", "ORCHESTRION_TOKEN": target.token}
    (tmp_path / "typist").mkdir()
    typist = Typist(shell_name, tmp_path / "typist", server)
    typist.set_up()
    try:
        typist.check("orchestrion status pl\t", "status planets")
        typist.check("orchestrion get configmap of\t", "get configmap of-planets")
        typist.check("orchestrion -n te\tstatus co\t", "-n team status comets")
        typist.check("orchestrion status --namespace=te\tco\t", "status --namespace=team comets")
    finally:
        typist.close()


@pytest.mark.slow
@pytest.mark.parametrize("shell_name", SHELLS)
def test_completion_is_there_after_what_the_page_says(shell_name: str, tmp_path: Path) -> None:
    found = re.search(rf"(?m)^\| {shell_name} \| `(.*)` \|", PAGE.read_text())
    assert found is not None
    typist = Typist(shell_name, tmp_path, {})
    subprocess.run([shell_name, "-c", found[1]], env=typist.environment, check=True)
    typist.sit_down(shell_name, "-i")
    try:
        typist.wait_until_ready()
        typist.check("orchestrion roll\tund\tweb", "rollout undo web")
    finally:
        typist.close()


@pytest.mark.parametrize("name", ["$(touch here)", "`x`", "a;b", "a b", "-rf /", "a\nb", "*", "~root", ""])
def test_a_name_that_a_shell_would_take_for_an_order_is_not_offered(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_complete, "candidates", lambda *_: [name, "web", "web.0", "cluster.example:80", "--tls"])
    assert complete([""]) == 0
    assert capsys.readouterr().out.split("\n") == ["--tls", "cluster.example:80", "web", "web.0", ""]
