"""`apply` of objects of any kind, on an orchestrator of mocks."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from orchestrion.cli._apply import _lines

from .served_directory import Do

SETTINGS = """
kind: ConfigMap
metadata: {name: settings}
spec: {data: {colour: blue}}
"""

SPACE = """
kind: Namespace
metadata: {name: shop}
---
kind: ConfigMap
metadata: {name: prices, namespace: shop}
spec: {data: {tea: '3'}}
---
namespace: shop
workloads:
  till: {replicas: 1, containers: [{name: main, command: [run]}]}
"""

pytestmark = pytest.mark.slow  # each is a command of its own, with the imports of its parser


def test_the_file_is_named_alone_or_as_an_option_but_once(do: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("settings.yaml").write_text(SETTINGS.replace("settings", "optional"))
    for named in (("settings.yaml",), ("-f", "settings.yaml"), ("--file=settings.yaml",)):
        assert do("apply", *named, "--dry-run")[:2] == (0, "configmap/optional: would be created\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(SETTINGS.replace("settings", "piped").encode())))
    assert do("apply", "-f", "-", "--dry-run")[:2] == (0, "configmap/piped: would be created\n")
    assert do("apply", "settings.yaml", "-f", "settings.yaml")[0] == 2
    code, _, err = do("apply")
    assert (code, "orchestrion apply FILE" in err) == (2, True)


def test_an_object_is_applied_again_and_again(do: Do) -> None:
    Path("settings.yaml").write_text(SETTINGS)
    assert do("apply", "settings.yaml", "--dry-run")[:2] == (0, "configmap/settings: would be created\n")
    assert do("get", "configmap", "settings")[0] == 3
    assert do("apply", "settings.yaml")[:2] == (0, "configmap/settings: created\n")
    code, out, said = do("apply", "settings.yaml")
    assert (code, out, said) == (0, "configmap/settings: unchanged\n", "nothing to change\n")
    Path("settings.yaml").write_text(SETTINGS.replace("blue", "red"))
    assert do("apply", "settings.yaml")[:2] == (0, "configmap/settings: changed\n")
    assert json.loads(do("get", "configmap", "settings", "-o", "json")[1])["spec"]["data"] == {"colour": "red"}


def test_a_file_may_hold_a_namespace_what_is_in_it_and_a_manifest(do: Do) -> None:
    Path("shop.yaml").write_text(SPACE)
    code, out, _ = do("apply", "shop.yaml")
    assert (code, out.splitlines()) == (
        0,
        [
            "namespace/shop: created",
            "configmap/prices in namespace shop: created",
            "workload/till in namespace shop: created",
        ],
    )
    assert do("get", "workload", "till", "-n", "shop")[0] == 0
    assert do("apply", "shop.yaml", "-o", "name")[1].split() == ["namespace/shop", "configmap/prices", "workload/till"]
    actions = {item["action"] for item in json.loads(do("apply", "shop.yaml", "-o", "json")[1])["items"]}
    assert actions == {"unchanged"}


def test_all_of_a_file_is_applied_or_nothing(do: Do) -> None:
    bad = "kind: ConfigMap\nmetadata: {name: bad}\nspec: {data: {colour: [1]}}\n"
    Path("half.yaml").write_text(SETTINGS.replace("settings", "good") + "---\n" + bad)
    code, _, told = do("apply", "half.yaml")
    assert (code, "half.yaml" in told, "spec.data" in told) == (2, True, True)
    assert do("get", "configmap", "good")[0] == 3


def test_the_files_of_a_folder_are_applied_together(do: Do) -> None:
    folder = Path("all")
    folder.mkdir()
    (folder / "a.yaml").write_text(SETTINGS.replace("settings", "first"))
    (folder / "b.yaml").write_text("workloads: {second: {replicas: 0, containers: [{name: main, command: [run]}]}}")
    (folder / "notes.txt").write_text("kind: nothing")
    assert do("apply", "all")[1].splitlines() == ["configmap/first: created", "workload/second: created"]


def test_objects_come_from_standard_input_and_so_do_manifests(do: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    for text, told in (
        (SETTINGS.replace("settings", "piped"), "configmap/piped: created\n"),
        ("workloads: {piped: {kind: batch, containers: [{name: main, command: [run]}]}}", "piped: create\n"),
    ):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert do("apply", "-")[:2] == (0, told)


def test_what_left_the_set_of_a_file_goes_with_prune(do: Do) -> None:
    one, other = SETTINGS.replace("settings", "one"), SETTINGS.replace("settings", "other")
    Path("set.yaml").write_text(f"{one}---\n{other}")
    assert do("apply", "set.yaml", "--set", "pair")[0] == 0
    Path("set.yaml").write_text(one)
    planned = ["configmap/one: unchanged", "configmap/other: would be removed"]
    assert do("apply", "set.yaml", "--set", "pair", "--prune", "--dry-run")[1].splitlines() == planned
    assert do("get", "configmap", "other")[0] == 0
    code, out, err = do("apply", "set.yaml", "--set", "pair", "--prune")
    assert (code, out, "configmap/other" in err, "--yes" in err) == (2, "", True, True)
    assert do("get", "configmap", "other")[0] == 0
    told = do("apply", "set.yaml", "--set", "pair", "--prune", "--yes")[1]
    assert told.splitlines()[1:] == ["configmap/other: removed"]
    assert do("apply", "set.yaml", "--set", "pair", "--prune")[0] == 0
    assert do("get", "configmap", "other")[0] == 3


def test_objects_of_a_set_go_also_when_its_file_has_nothing_but_workloads(do: Do) -> None:
    manifest = "workloads: {only: {replicas: 0, containers: [{name: main, command: [run]}]}}\n"
    Path("set.yaml").write_text(f"{SETTINGS.replace('settings', 'lone')}---\n{manifest}")
    assert do("apply", "set.yaml", "--set", "lonely")[0] == 0
    Path("set.yaml").write_text(manifest)
    assert "configmap/lone: would be removed" in do("apply", "set.yaml", "--set", "lonely", "--prune", "--dry-run")[2]
    assert do("get", "configmap", "lone")[0] == 0
    assert do("apply", "set.yaml", "--set", "lonely", "--prune")[0] == 2
    assert do("get", "configmap", "lone")[0] == 0
    assert "configmap/lone: removed" in do("apply", "set.yaml", "--set", "lonely", "--prune", "--yes")[2]
    assert do("get", "configmap", "lone")[0] == 3
    assert do("get", "workload", "only")[0] == 0


def test_what_another_manager_says_of_an_object_is_taken_over_only_by_force(do: Do) -> None:
    Path("ours.yaml").write_text(SETTINGS.replace("settings", "shared"))
    Path("theirs.yaml").write_text(SETTINGS.replace("settings", "shared").replace("blue", "green"))
    assert do("apply", "ours.yaml", "--manager", "deploy")[0] == 0
    code, _, told = do("apply", "theirs.yaml")
    assert (code, "'deploy'" in told) == (4, True)
    assert do("apply", "theirs.yaml", "--force-conflicts")[:2] == (0, "configmap/shared: changed\n")


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("kind: Frobnicator\nmetadata: {name: x}\n", 3, "there is no kind 'Frobnicator'"),
        ("kind: ConfigMap\nspec: {}\n", 2, "a name is wanted"),
        ("kind: ConfigMap\nmetadata: {name: x\n", 2, "objects.yaml:"),
        ("kind: Node\nmetadata: {name: x}\n", 2, "written by nobody"),
        ("workloads:\n  web:\n    kind: unheard-of\n", 2, "objects.yaml:3"),
    ],
)
def test_what_is_no_object_and_no_manifest_is_told_with_its_file(text: str, code: int, told: str, do: Do) -> None:
    Path("objects.yaml").write_text(text)
    given, _, said = do("apply", "objects.yaml")
    assert (given, told in said) == (code, True), said


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("kind: ConfigMap\nmetadata: {name: b}\nspec:\n  dta: {}\n", "two.yaml:7:3: spec: unknown key 'dta'"),
        ("kind: ConfigMap\nmetadata: {}\n", "two.yaml:5:11: metadata.name: a name is wanted"),
        ("kind: ConfigMap\nmetadata: {name: b}\nspec: {data: {a: 1}}\n", "two.yaml:6:18: spec.data[a]: "),
        ("workloads: {w: {knd: x}}\n", "two.yaml:4:"),
        ("kind: ResourceQuota\nmetadata: {name: q}\nspec: {hard: {cpu: lots}}\n", "two.yaml:6:"),
    ],
)
def test_what_a_server_refuses_is_told_with_its_place(bad: str, told: str, do: Do) -> None:
    Path("two.yaml").write_text("kind: ConfigMap\nmetadata: {name: a}\n---\n" + bad)
    code, _, err = do("apply", "two.yaml")
    assert (code, err.startswith(told)) == (2, True), err


def test_a_file_that_is_not_there_is_told(do: Do) -> None:
    code, _, told = do("apply", "nowhere.yaml")
    assert (code, "nowhere.yaml" in told) == (2, True)


def test_a_manifest_may_move_into_a_file_with_objects_and_out_of_it(do: Do) -> None:
    manifest = "workloads: {mover: {replicas: 0, containers: [{name: main, command: [%s]}]}}\n"
    for text, told in (
        (manifest % "one", "mover: create"),
        (f"{SETTINGS.replace('settings', 'moved')}---\n{manifest % 'two'}", "workload/mover: changed"),
        (manifest % "three", "mover: update"),
    ):
        Path("mover.yaml").write_text(text)
        code, out, said = do("apply", "mover.yaml")
        assert (code, told in out) == (0, True), said


@pytest.mark.parametrize("what", ["objects", "workloads"])
def test_what_was_planned_is_applied_only_if_nobody_has_touched_it_since(what: str, do: Do, tmp_path: Path) -> None:
    name = f"planned-{what}"
    manifest = f"workloads:\n  {name}: {{replicas: 1, containers: [{{name: main, command: [run]}}]}}\n"
    (tmp_path / "app.yaml").write_text(manifest)
    if what == "objects":
        (tmp_path / "app.yaml").write_text(f"{manifest}---{SETTINGS.replace('settings', name)}")
    (tmp_path / "plan.yaml").write_text(manifest)

    def index() -> str:
        return str(json.loads(do("plan", "plan.yaml", "-o", "json")[1]).get("revision", 0))

    code, _, said = do("plan", "plan.yaml")
    told = re.search(r"index (\d+): `orchestrion apply FILE --if-index \1`", said)
    assert (code, told is not None) == (1, True)
    assert told is not None
    assert do("apply", "app.yaml", "--if-index", told[1], "--dry-run")[0] == 0
    assert do("apply", "app.yaml", "--if-index", told[1])[0] == 0
    code, _, said = do("apply", "app.yaml", "--if-index", told[1])
    assert (code, "Plan again" in said, f"after index {told[1]}: nothing was applied" in said) == (4, True, True)
    now = index()
    assert do("scale", name, "2")[0] == 0
    assert do("apply", "app.yaml", "--if-index", now)[0] == 4
    assert do("apply", "app.yaml", "--if-index", index())[0] == 0
    assert do("apply", "app.yaml", "--if-index=-1")[0] == 2
    assert do("rm", "--yes", name)[0] == 0


def test_what_else_there_is_to_know_of_an_object_is_told() -> None:
    item = {"kind": "Workload", "namespace": "default", "name": "web", "action": "unchanged", "note": "it is stopped"}
    assert [line.rpartition(" (")[2] for line in _lines([item], dry_run=False)] == ["it is stopped)"]
    assert "(" not in next(iter(_lines([{**item, "note": ""}], dry_run=False)))
