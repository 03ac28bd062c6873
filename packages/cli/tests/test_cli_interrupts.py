"""Ctrl-C, whenever it comes, ends the command with 130 and no traceback."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from .running_command import run_to_end

pytestmark = pytest.mark.slow

INTERRUPTS_ITSELF = """
    import os, signal, sys

    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == {module!r}:
                os.kill(os.getpid(), signal.SIGINT)

    sys.meta_path.insert(0, Finder())
    """

MANIFEST = "workloads: {job: {kind: batch, containers: [{name: main, command: [echo, done]}]}}"


@pytest.fixture(autouse=True)
def _heeded() -> Iterator[None]:
    """Let programs heed SIGINT where whoever runs the tests ignores it, as a job in the background does."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def interrupted(shell: Any) -> Any:
    """Run a command that gets a Ctrl-C when it imports a module."""

    def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        shell.write("sitecustomize.py", INTERRUPTS_ITSELF.format(module=module))
        environment = {**shell.environment, "PYTHONPATH": str(shell.folder)}
        return run_to_end(*arguments, folder=shell.folder, environment=environment)

    return run


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("orchestrion.cli._main", ["up", "app.yaml"]),
        ("pathlib", ["--help"]),
        ("orchestrion.cli._up", ["up", "app.yaml"]),
        ("trio", ["up", "app.yaml"]),
        ("orchestrion.shared_types", ["up", "app.yaml"]),
        ("cyclopts", ["status"]),
        ("orchestrion.cli._verbs", ["validate", "app.yaml"]),
        ("orchestrion.shared_types.manifest._yaml", ["validate", "app.yaml"]),
    ],
)
def test_in_imports_it_ends_the_command_at_once_and_without_a_word(
    shell: Any, interrupted: Any, module: str, arguments: list[str]
) -> None:
    shell.write("app.yaml", MANIFEST)
    done = interrupted(module, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_where_plug_ins_are_imported_it_ends_a_reader_too(shell: Any, interrupted: Any) -> None:
    assert shell.run("up", str(shell.write("app.yaml", MANIFEST))).returncode == 0
    done = interrupted("orchestrion.store_sqlite", "status")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
    assert "job" in shell.run("status").stdout


def test_where_plug_ins_are_imported_up_stops_what_it_has_begun(shell: Any, interrupted: Any) -> None:
    done = interrupted("orchestrion.store_sqlite", "up", str(shell.write("app.yaml", MANIFEST)))
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


def test_who_follows_output_ends_without_a_word(shell: Any) -> None:
    service = "workloads: {web: {containers: [{name: main, command: [sh, -c, 'echo hello; sleep 1000']}]}}"
    up = shell.up(str(shell.write("web.yaml", service)))
    up.wait_for("web: Healthy")
    follower = shell.begin("logs", "-f", "web")
    follower.wait_for("web.0 | hello")
    follower.interrupt()
    assert (follower.end(), follower.err) == (130, [])


def test_who_was_started_to_ignore_it_goes_on(shell: Any, interrupted: Any) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        done = interrupted("cyclopts", "validate", str(shell.write("app.yaml", MANIFEST)))
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.returncode == 0, done.stderr
