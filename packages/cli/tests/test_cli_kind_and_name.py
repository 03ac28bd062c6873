"""A kind and a name are typed as two words, or as one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from orchestrion.cli._commands import command_of
from orchestrion.cli._kinds import kind_and_name
from orchestrion.cli._main import _with_kind_apart

from .served_directory import Do


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("workload/web", ("workload", "web")),
        ("web", ("", "web")),
        ("/dev/stdin", ("", "/dev/stdin")),
        ("a/", ("", "a/")),
    ],
)
def test_a_text_has_a_kind_or_is_a_name(text: str, parts: tuple[str, str]) -> None:
    assert kind_and_name(text) == parts


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["get", "workload/web"], ["get", "workload", "web"]),
        (["get", "-n", "a/b", "-w", "workload/web"], ["get", "-n", "a/b", "-w", "workload", "web"]),
        (["delete", "configmap/a", "secret/b", "--yes"], ["delete", "configmap", "a", "secret/b", "--yes"]),
        (["patch", "cm/a", "{b: c/d}"], ["patch", "cm", "a", "{b: c/d}"]),
        (["get", "workloads"], ["get", "workloads"]),
        (["get"], ["get"]),
        (["apply", "folder/app.yaml"], ["apply", "folder/app.yaml"]),
        (["exec", "web", "--", "bin/true"], ["exec", "web", "--", "bin/true"]),
    ],
)
def test_a_kind_is_taken_apart_from_its_name_where_a_kind_is_wanted(typed: Sequence[str], meant: Sequence[str]) -> None:
    command = command_of(typed)
    assert command is not None
    assert _with_kind_apart(typed, command) == meant


@pytest.mark.slow
def test_objects_of_several_kinds_are_removed_by_what_get_writes(do: Do) -> None:
    assert do("create", "configmap/a", "-d", "tea=3")[0] == 0
    assert do("create", "secret/b", "-d", "tea=3")[0] == 0
    names = [*do("get", "cm", "-o", "name")[1].split(), *do("get", "secret/b", "-o", "name")[1].split()]
    assert names == ["configmap/a", "secret/b"]
    assert do("describe", "configmap/a")[0] == 0
    assert do("wait", "configmap/a", "--for", "exists")[0] == 0
    assert do("get", "configmap/a", "cm/a", "-o", "name")[1] == "configmap/a\nconfigmap/a\n"
    assert do("get", "configmap/a", "secret/b")[0] == 2
    code, _, err = do("delete", *names, "--yes")
    assert (code, err.splitlines()) == (
        0,
        [
            "delete configmap/a in namespace default",
            "delete secret/b in namespace default",
            "configmap/a: removed",
            "secret/b: removed",
        ],
    )
    assert do("get", "configmap/a")[0] == do("get", "secret/b")[0] == 3


@pytest.mark.slow
def test_nothing_is_removed_where_one_of_several_kinds_is_not_there(do: Do) -> None:
    assert do("create", "configmap/stays")[0] == 0
    assert do("delete", "configmap/stays", "secret/nobody", "--yes")[0] == 3
    assert do("get", "configmap/stays")[0] == 0
