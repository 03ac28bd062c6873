"""`delete -f` removes what a file names, whoever is gone already."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from orchestrion.cli import _delete_file, run
from orchestrion.cli._wait import DELETED, wait_for

from .served_directory import Do

APP = """
kind: Namespace
metadata: {name: %(space)s}
---
kind: CustomKind
metadata: {name: %(space)ss}
spec: {kind: %(kind)s, plural: %(space)ss}
---
kind: ConfigMap
metadata: {name: prices, namespace: %(space)s}
spec: {data: {tea: '3'}}
---
kind: %(kind)s
metadata: {name: own, namespace: %(space)s}
---
namespace: %(space)s
workloads:
  base: {replicas: 1, containers: [{name: main, command: [run]}]}
  above: {replicas: 1, after: {base: started}, containers: [{name: main, command: [run]}]}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kind: ConfigMap\nmetadata: {}\n", "app.yaml:2:11: metadata.name: a name is wanted"),
        ("items:\n- kind: ConfigMap\n", "app.yaml:2:3: items[0].metadata.name: a name is wanted"),
        ("kind: 3\n", "app.yaml:1:7: kind: the name of a kind is wanted"),
        ("- 1\n", "app.yaml:1:1: an object or a manifest is wanted"),
        ("workloads: [web]\n", "app.yaml:1:12: workloads: workloads are wanted, by their names"),
        ("# nothing\n", "error: app.yaml: there is nothing in it"),
        ("kind: ConfigMap\nmetadata: {name: a, namespace: b}\n", "app.yaml:2:32: metadata.namespace: this is in 'b'"),
    ],
)
def test_a_file_that_does_not_say_what_is_to_go_is_refused(
    text: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("app.yaml").write_text(text)
    assert run(["delete", "-f", "app.yaml", "-n", "team", "--yes"]) == 2
    assert capsys.readouterr().err.startswith(told)


@pytest.mark.parametrize(
    "arguments",
    [[], ["configmap"], ["configmap", "a", "-f", "app.yaml"], ["-f", "nowhere.yaml"], ["-f", "."]],
    ids=" ".join,
)
def test_what_is_to_go_is_said_once(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["delete", *arguments, "--yes"]) == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.slow
def test_all_of_a_file_goes_in_an_order_in_which_it_can(do: Do) -> None:
    Path("app.yaml").write_text(APP % {"space": "tidy", "kind": "Tidy"})
    assert do("apply", "app.yaml")[0] == 0
    code, _, said = do("delete", "-f", "app.yaml")
    assert (code, "delete configmap/prices in namespace tidy\n" in said, "--yes" in said) == (2, True, True)
    code, _, said = do("delete", "-f", "app.yaml", "--dry-run")
    assert (code, said.count("would be removed")) == (0, 6)
    assert do("get", "workload", "above", "-n", "tidy")[0] == 0
    code, _, said = do("delete", "-f", "app.yaml", "--yes")
    named = [line.split()[1] for line in said.splitlines() if line.startswith("delete ")]
    assert (code, named) == (
        0,
        ["workload/above", "workload/base", "tidy/own", "configmap/prices", "customkind/tidys", "namespace/tidy"],
    )
    assert do("get", "configmap", "prices", "-n", "tidy")[0] == 3
    assert do("get", "customkind", "tidys")[0] == 3


@pytest.mark.slow
def test_what_goes_with_its_kind_is_gone(do: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("app.yaml").write_text(APP % {"space": "swift", "kind": "Swift"})
    assert do("apply", "app.yaml")[0] == 0
    removed = _delete_file._removed

    async def removed_at_once(where: Any, place: Any, going: Any, dry_run: bool) -> None:
        await removed(where, place, going, dry_run)
        await wait_for(where, place, "customkinds", "swifts", DELETED, 60)

    monkeypatch.setattr(_delete_file, "_removed", removed_at_once)
    code, _, said = do("delete", "-f", "app.yaml", "--yes")
    assert (code, "swift/own: removed" in said.splitlines()) == (0, True)


@pytest.mark.slow
def test_what_is_gone_already_is_told_and_is_no_error(do: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    one = "{containers: [{name: main, command: [run]}]}"
    text = f"workloads: {{there: {one}, gone: {one}}}"
    Path("app.yaml").write_text(text)
    assert do("apply", "app.yaml")[0] == 0
    assert do("rm", "gone", "--yes")[0] == 0
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    code, _, said = do("delete", "-f", "-", "--yes")
    assert (code, said.splitlines()) == (
        0,
        ["workload/gone: not there", "delete workload/there in namespace default", "workload/there: removed"],
    )
    code, _, said = do("delete", "-f", "app.yaml")
    assert (code, said.splitlines()) == (0, ["workload/there: not there", "workload/gone: not there"])
    Path("odd.yaml").write_text("kind: Unheard\nmetadata: {name: a}\n")
    assert do("delete", "-f", "odd.yaml", "--yes")[0] == 3


@pytest.mark.slow
def test_what_another_workload_waits_for_does_not_go_and_nothing_else_does(do: Do) -> None:
    Path("all.yaml").write_text(
        "workloads:\n"
        "  first: {kind: batch, placement: {select: {disk: none}}, containers: [{name: m, command: [r]}]}\n"
        "  waits: {after: {first: succeeded}, containers: [{name: m, command: [r]}]}\n"
    )
    Path("some.yaml").write_text(
        "kind: ConfigMap\nmetadata: {name: kept}\n---\nworkloads: {first: {containers: [{name: m, command: [r]}]}}\n"
    )
    assert do("create", "configmap", "kept")[0] == 0
    assert do("apply", "all.yaml")[0] == 0
    code, _, said = do("delete", "-f", "some.yaml", "--yes")
    assert (code, "waits waits for it" in said) == (4, True)
    assert do("get", "configmap", "kept")[0] == 0
    code, _, said = do("delete", "-f", "all.yaml", "--yes", "--no-wait")
    assert (code, "workload/first: going" in said) == (0, True)
    assert do("wait", "workload", "first", "--for", "deleted", "--timeout", "50s")[0] == 0
