"""The command as a user runs it: in processes of its own, on a state directory of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from orchestrion.cli import run

from .attacked_target import Target
from .running_command import RunningCommand, begin, run_to_end
from .served_directory import Do, served_directory


class Shell:
    """Runs commands in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.begun: list[RunningCommand] = []
        self.environment = {**os.environ, "ORCHESTRION_STATE": str(self.state)}
        # Commands start so often here that compiling all modules each time would take longer than all else.
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def write(self, name: str, text: str) -> Path:
        """Write a manifest."""
        path = self.folder / name
        path.write_text(dedent(text))
        return path

    def run(self, *arguments: str, input: str = "") -> subprocess.CompletedProcess[str]:  # noqa: A002 # as subprocess.run
        """Run a command to its end."""
        return run_to_end(*arguments, folder=self.folder, environment=self.environment, text=input)

    def begin(self, *arguments: str) -> RunningCommand:
        """Start a command."""
        self.begun.append(begin(*arguments, folder=self.folder, environment=self.environment))
        return self.begun[-1]

    def up(self, *arguments: str) -> RunningCommand:
        """Start `up`."""
        return self.begin("up", *arguments)

    def strays(self) -> list[str]:
        """Return the command lines of all processes that belong to the folder."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(self.folder) in line:
                found.append(line)
        return found


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A folder to run commands in; whatever still runs there at the end is stopped."""
    shell = Shell(tmp_path)
    yield shell
    for command in shell.begun:
        command.kill()
    if (shell.state / "lock").exists():
        names = shell.run("status", "-o", "name").stdout.split()
        if names:
            shell.run("rm", "--yes", *names)


@pytest.fixture
def target(shell: Shell) -> Iterator[Target]:
    """A server to be attacked, which serves on afterwards."""
    target = Target(shell)
    yield target
    target.end()


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state directory with an owner, on mocks."""
    with served_directory(tmp_path_factory.mktemp("owned") / "state") as state:
        yield state


@pytest.fixture
def do(owned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Do:
    """Runs a command on `owned`, and gives its code, its data and what it said."""
    for name in ("URL", "TOKEN", "CONTEXT"):
        monkeypatch.delenv(f"ORCHESTRION_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("ORCHESTRION_STATE", str(owned))
    monkeypatch.chdir(tmp_path)

    def do(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return do
