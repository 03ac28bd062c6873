"""What can't be read is told in words of our own, once, and with what to do next."""

from __future__ import annotations

from pathlib import Path

import pytest
from orchestrion.cli import _contexts, run
from orchestrion.cli._contexts import Context
from orchestrion.shared_types import ConfigInvalid

HERE = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the commands know no server and no state directory but those of the test."""
    for name in ("URL", "TOKEN", "CONTEXT"):
        monkeypatch.delenv(f"ORCHESTRION_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("ORCHESTRION_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


MISSING = "No such file or directory"
NO_TEXT = "it is no text in UTF-8"


@pytest.mark.parametrize(
    ("arguments", "words", "remedy"),
    [
        ("create cm c -d x=@nope", f"error: nope can't be read: {MISSING}", "Name a file of text, as in: -d x=@FILE"),
        ("create cm c -d x=@bytes", f"error: bytes can't be read: {NO_TEXT}", "Name a file of text, as in: -d x=@FILE"),
        (
            f"login {HERE} --token-file nope",
            f"error: nope can't be read: {MISSING}",
            "Name another file with --token-file, or - for stdin.",
        ),
        (
            f"login {HERE} --token-file bytes",
            f"error: bytes can't be read: {NO_TEXT}",
            "Name another file with --token-file, or - for stdin.",
        ),
        ("create -f nope", f"error: nope: it can't be read: {MISSING}", "Name another file, or - for stdin."),
        ("fmt nope", f"error: nope: it can't be read: {MISSING}", "Name another file, or - for stdin."),
    ],
)
def test_a_file_is_named_once_with_its_reason_and_what_to_do_next(
    arguments: str, words: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bytes").write_bytes(b"\xff\xfe\x00")
    assert run(arguments.split()) == 2
    assert capsys.readouterr().err.splitlines() == [words, f"next:  {remedy}"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("false", "error: the command 'false', which is to print a token, ended with 1"),
        (
            "sh -c 'kill -9 $$'",
            "error: the command 'sh', which is to print a token, was ended by signal 9",
        ),
        ("no-such", f"error: the command 'no-such', which is to print a token, can't be run: {MISSING}"),
    ],
)
def test_of_a_command_that_prints_no_token_it_is_told_how_it_ended(
    command: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["login", HERE, "--token-command", command]) == 2
    remedy = "next:  Try it by hand, or `orchestrion login` anew."
    assert capsys.readouterr().err.splitlines() == [words, remedy]


def test_of_a_command_that_takes_too_long_its_time_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_contexts, "COMMAND_SECONDS", 0.01)
    with pytest.raises(ConfigInvalid, match=r"which is to print a token, did not end within 0\.01 s"):
        Context(name="c", url=HERE, token_command=("sleep", "60")).peer()


@pytest.mark.parametrize("command", ["", "sh -c 'echo"])
def test_what_is_no_command_is_refused_before_anything_is_written_down(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["login", HERE, "--token-command", command]) == 2
    error, remedy = capsys.readouterr().err.splitlines()
    assert error == f"error: {command!r} is no command that could print a token"
    assert remedy.startswith("next:  ")
    assert not (tmp_path / "settings" / "orchestrion").exists()


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ("{bad", "the patch is neither JSON nor YAML: line 1, column 5: "),
        ("a: 1\nb: {", "the patch is neither JSON nor YAML: line 2, column 5: "),
        ("a: 1\n---\nb: 1", "the patch is 2 documents, and not one"),
        ("a: 2026-01-01", "the patch holds what JSON has no word for, such as a date: put it in quotes"),
    ],
)
def test_a_patch_that_can_not_be_understood_is_told_as_an_error(
    patch: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["patch", "cm", "c1", patch]) == 2
    error, remedy = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: {words}")
    assert remedy == """next:  orchestrion patch cm c1 '{"metadata": {"labels": {"tier": "front"}}}'"""
