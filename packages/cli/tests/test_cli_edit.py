"""`edit`: what was typed is not lost where it can't be written."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from orchestrion.cli import run
from orchestrion.shared_types import Conflict

from .served_directory import served_directory

pytestmark = pytest.mark.slow  # each is a command of its own, with the imports of its parser


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state directory with a config map, and a folder of its own for files that go again."""
    for name in ("URL", "TOKEN", "CONTEXT"):
        monkeypatch.delenv(f"ORCHESTRION_{name}", raising=False)
    monkeypatch.delenv("VISUAL", raising=False)
    folder = tmp_path / "typed"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with served_directory(tmp_path / "state") as state:
        monkeypatch.setenv("ORCHESTRION_STATE", str(state))
        assert run(["create", "configmap", "sky", "-d", "colour=blue"]) == 0
        yield state


def editor(folder: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    program = folder / "editor"
    program.write_text(f"#!/bin/sh\n{command}\n")
    program.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(program))


def kept(said: str) -> Path:
    (path,) = re.findall(r"what was typed is kept in (\S+)", said)
    return Path(path)


def test_what_can_not_be_read_is_kept(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    editor(tmp_path, monkeypatch, "echo 'colour: [gre' > $1")
    assert run(["edit", "configmap", "sky"]) == 2
    path = kept(capsys.readouterr().err)
    assert path.read_text() == "colour: [gre\n"
    assert path.stat().st_mode & 0o077 == 0


def test_what_somebody_else_was_quicker_to_change_is_kept(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def refused(*_: object) -> None:
        raise Conflict("it was changed meanwhile")

    editor(tmp_path, monkeypatch, "sed -i s/blue/green/ $1")
    monkeypatch.setattr("orchestrion.cli._write._replaced", refused)
    assert run(["edit", "configmap", "sky"]) == 4
    assert "colour: green" in kept(capsys.readouterr().err).read_text()


@pytest.mark.parametrize(("command", "code"), [("sed -i s/blue/green/ $1", 0), ("exit 3", 2), ("true", 0)])
def test_nothing_stays_of_what_was_written_or_not_typed(
    command: str,
    code: int,
    state: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    editor(tmp_path, monkeypatch, command)
    assert run(["edit", "configmap", "sky"]) == code
    assert "is kept" not in capsys.readouterr().err
    assert list((tmp_path / "typed").iterdir()) == []


def test_without_a_terminal_an_editor_has_to_be_named(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    assert run(["edit", "configmap", "sky"]) == 2
    assert "no terminal for vi" in capsys.readouterr().err
