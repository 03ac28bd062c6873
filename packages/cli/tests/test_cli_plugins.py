"""Plug-ins: ours and those of others, good and broken."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from orchestrion.cli._plugins import GROUPS, PluginBroken, broken, folder_name, load_plugin
from orchestrion.cli._state_directory import DEFAULT_PLUGINS
from orchestrion.shared_types import ConfigInvalid, NotFound

Install = Callable[[str, str, str, str], None]
"""Takes the distribution, the plug-in, its target and its source."""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a distribution of one module that offers one scheduler."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def install(distribution: str, name: str, target: str, source: str) -> None:
        module = target.partition(":")[0]
        (tmp_path / f"{module}.py").write_text(dedent(source))
        info = tmp_path / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[orchestrion.schedulers]\n{name} = {target}\n")

    yield install
    for module in ("good_plugin", "bad_plugin", "no_callable", "first_plugin", "second_plugin"):
        sys.modules.pop(module, None)


@pytest.mark.parametrize(
    ("interface", "name"), [("runtime", "process"), ("cluster", "local"), ("scheduler", "packing"), ("store", "sqlite")]
)
def test_the_defaults_are_there(interface: str, name: str) -> None:
    assert DEFAULT_PLUGINS[interface] == name
    assert callable(load_plugin(interface, name))
    assert set(GROUPS) == {"runtime", "cluster", "scheduler", "store"}


def test_somebody_elses_is_found_by_its_name(install: Install) -> None:
    install("acme-scheduler", "acme", "good_plugin:Acme", "class Acme: pass")
    assert load_plugin("scheduler", "acme").__name__ == "Acme"


def test_an_unknown_one_is_told_with_those_that_are_there() -> None:
    with pytest.raises(NotFound, match=r"no scheduler 'nope' is installed; there are: .*simple"):
        load_plugin("scheduler", "nope")


def test_one_that_can_not_be_imported_is_named_with_its_distribution(install: Install) -> None:
    install("acme-bad", "bad", "bad_plugin:Bad", "import no_such_module_anywhere")
    with pytest.raises(PluginBroken, match=r"the scheduler 'bad' \(bad_plugin:Bad, of acme-bad\) can't be imported"):
        load_plugin("scheduler", "bad")


def test_one_that_can_not_be_called_is_told(install: Install) -> None:
    install("acme-value", "value", "no_callable:VALUE", "VALUE = 3")
    with pytest.raises(PluginBroken, match="is no callable but 3"):
        load_plugin("scheduler", "value")


def test_two_of_one_name_are_not_chosen_between(install: Install) -> None:
    install("acme-one", "twin", "first_plugin:One", "class One: pass")
    install("acme-two", "twin", "second_plugin:Two", "class Two: pass")
    with pytest.raises(ConfigInvalid, match="several distributions offer a scheduler 'twin': acme-one, acme-two"):
        load_plugin("scheduler", "twin")


def test_one_that_fails_to_open_is_named() -> None:
    error = broken("runtime", "acme", KeyError("x"))
    assert str(error).startswith("the runtime 'acme' failed to open: KeyError: 'x'")


def test_one_that_is_not_installed_is_named_by_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "being_written.py").write_text("class Acme: pass")
    assert load_plugin("scheduler", "acme=being_written:Acme").__name__ == "Acme"
    assert folder_name("acme=being_written:Acme") == "acme"
    assert folder_name("acme") == "acme"


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        ("acme=", ConfigInvalid, "does not name a factory"),
        ("acme=json", ConfigInvalid, "does not name a factory"),
        ("../acme=json:dumps", ConfigInvalid, "is no name of a plug-in"),
        ("=json:dumps", ConfigInvalid, "is no name of a plug-in"),
        ("acme=no_such_module_anywhere:x", NotFound, "can't be imported"),
        ("acme=json:nothing", NotFound, "has no 'nothing'"),
        ("acme=json:__name__", ConfigInvalid, "can't be called"),
    ],
)
def test_one_that_is_nowhere_is_told(
    name: str, error: type[Exception], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(error, match=told):
        load_plugin("scheduler", name)
