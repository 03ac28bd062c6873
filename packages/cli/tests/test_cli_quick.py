"""`up` and `dev` without the parser: it understands what the parser understands, or leaves it alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from orchestrion.cli import _server, _up, run
from orchestrion.cli._main import make_app
from orchestrion.cli._quick import quick_dev, quick_up

QUICK = [
    ["up", "app.yaml"],
    ["up", "app.yaml", "--state", "here"],
    ["up", "app.yaml", "-s", "here", "--logs", "all"],
    ["up", "some folder/app.yaml", "--logs", "none"],
]

LEFT_ALONE = [
    ["up"],
    ["up", "--help"],
    ["up", "-"],
    ["up", ""],
    ["up", "app.yaml", "--state"],
    ["up", "app.yaml", "--state=here"],
    ["up", "app.yaml", "--logs", "some"],
    ["up", "app.yaml", "--state", "a", "-s", "b"],
    ["up", "app.yaml", "--state", "--logs"],
    ["up", "app.yaml", "--store", "acme"],
    ["up", "--state", "here", "app.yaml"],
    ["status", "web"],
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What `up` was asked to do, which it does not do."""
    asked: list[tuple[Any, ...]] = []

    def note(*arguments: Any) -> int:
        asked.append(arguments)
        return 0

    monkeypatch.setattr(_up, "run_up", note)
    return asked


@pytest.mark.parametrize("variable", [None, "elsewhere"])
@pytest.mark.parametrize("arguments", QUICK, ids=" ".join)
def test_it_says_what_the_parser_says(
    arguments: list[str], variable: str | None, asked: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ORCHESTRION_STATE", raising=False)
    if variable is not None:
        monkeypatch.setenv("ORCHESTRION_STATE", variable)
    assert quick_up(arguments) is not None
    assert run(arguments) == 0
    make_app()(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    quick, parsed = asked
    assert quick == parsed


@pytest.mark.parametrize("options", [[], ["--store", "sqlite"]], ids=["quick", "parsed"])
def test_a_variable_that_is_empty_is_none(
    options: list[str], asked: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRION_STATE", "")
    run(["up", "app.yaml", *options])
    assert asked[0][1] is None


@pytest.mark.parametrize("arguments", LEFT_ALONE, ids=" ".join)
def test_everything_else_is_left_to_the_parser(arguments: list[str]) -> None:
    assert quick_up(arguments) is None


QUICK_DEV = [
    ["dev"],
    ["dev", "--port", "0"],
    ["dev", "-p", "8080", "-s", "here"],
    ["dev", "--state", "some folder", "--host", "0.0.0.0", "--port", "65535"],
    ["dev", "--port", "99999"],
]

DEV_LEFT_ALONE = [
    ["dev", "--help"],
    ["dev", "--port"],
    ["dev", "--port=80"],
    ["dev", "--port", "x"],
    ["dev", "--port", "-1"],
    ["dev", "--port", "007"],
    ["dev", "--port", "1234567"],
    ["dev", "--port", "\u0663"],
    ["dev", "--port", "1", "-p", "2"],
    ["dev", "--tls", "yes"],
    ["dev", "here"],
    ["server"],
    [],
]


@pytest.mark.parametrize("arguments", QUICK_DEV, ids=" ".join)
def test_dev_says_what_the_parser_says(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def note(*arguments: Any) -> int:
        asked.append(arguments)
        return 0

    monkeypatch.setattr(_server, "run_server", note)
    monkeypatch.delenv("ORCHESTRION_STATE", raising=False)
    assert quick_dev(arguments) is not None
    assert run(arguments) == 0
    make_app()(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    quick, parsed = asked
    assert quick == parsed


@pytest.mark.parametrize("arguments", DEV_LEFT_ALONE, ids=" ".join)
def test_everything_else_of_dev_is_left_to_the_parser(arguments: list[str]) -> None:
    assert quick_dev(arguments) is None


def test_an_error_is_told_as_ever(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["up", str(tmp_path / "nope.yaml"), "--state", str(tmp_path / "state")]) == 2
    assert "there is no such file" in capsys.readouterr().err
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    "arguments", [["dev", "--port", "65536"], ["dev", "--port=-1"], ["server", "-p", "72606"]], ids=" ".join
)
def test_what_is_no_port_is_a_usage_error_and_nothing_is_made(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ORCHESTRION_STATE", str(tmp_path / "state"))
    assert run(arguments) == 2
    assert "is no port: 1 to 65535 are, and 0 takes a free one" in capsys.readouterr().err
    assert not (tmp_path / "state").exists()
