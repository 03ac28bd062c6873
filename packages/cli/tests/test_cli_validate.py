"""`validate`: files of every kind are checked where there is no server."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from orchestrion.cli import run

KIND = (
    "kind: CustomKind\nmetadata: {name: backups}\nspec: {kind: Backup, plural: backups, schema: {required: [every]}}\n"
)
BACKUP = "kind: Backup\nmetadata: {name: nightly}\nspec: {every: day}\n"
WEB = "workloads: {web: {containers: [{name: main, command: [run]}]}}\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def validate(capsys: pytest.CaptureFixture[str], *files: str) -> tuple[int, str]:
    code = run(["validate", *files])
    printed = capsys.readouterr()
    assert printed.out == ""
    return code, printed.err


def test_a_folder_with_objects_and_workloads_is_checked_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    Path("all").mkdir()
    for name, text in (("a", BACKUP), ("b", KIND), ("c", WEB)):
        Path(f"all/{name}.yaml").write_text(text)
    assert validate(capsys, "all") == (0, "all: 2 objects, 1 workload, no problem found\n")


def test_kinds_of_one_file_are_known_in_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    Path("backup.yaml").write_text(BACKUP)
    Path("kind.yaml").write_text(KIND)
    code, err = validate(capsys, "backup.yaml", "kind.yaml")
    assert (code, err) == (0, "backup.yaml: 1 object, no problem found\nkind.yaml: 1 object, no problem found\n")
    code, err = validate(capsys, "backup.yaml")
    assert (code, err.partition(";")[0]) == (2, "backup.yaml:1:7: kind: unknown kind 'Backup'")


def test_what_is_wrong_is_told_by_file_and_what_is_right_too(capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.yaml").write_text("kind: ConfigMap\nmetadata: {name: a}\nspec:\n  dta: {}\n")
    Path("web.yaml").write_text(WEB)
    code, err = validate(capsys, "bad.yaml", "web.yaml")
    assert (code, err.splitlines()) == (
        2,
        [
            "bad.yaml:4:3: spec: unknown key 'dta'; did you mean 'data'?",
            "web.yaml: 1 workload, no problem found",
        ],
    )


def test_objects_come_from_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{KIND}---\n{BACKUP}".encode())))
    assert validate(capsys, "-") == (0, "-: 2 objects, no problem found\n")


def test_beside_objects_a_file_that_can_not_be_read_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    Path("all").mkdir()
    Path("all/a.yaml").write_text(KIND)
    Path("all/b.yaml").write_text("kind: [\n")
    code, err = validate(capsys, "all")
    assert (code, "all/b.yaml:2:1: this is not YAML" in err) == (2, True)


@pytest.mark.parametrize("object_beside", ["", f"---\n{KIND}"])
def test_labels_of_a_manifest_are_those_that_a_server_takes(
    capsys: pytest.CaptureFixture[str], object_beside: str
) -> None:
    labels = "    labels:\n      tier: front\n      team: a b\n"
    Path("web.yaml").write_text(
        f"workloads:\n  web:\n{labels}    containers: [{{name: main, command: [run]}}]\n{object_beside}"
    )
    code, err = validate(capsys, "web.yaml")
    assert (code, "no problem" in err) == (2, False)
    assert err.startswith("web.yaml:5:13: workloads.web.labels.team: 'a b' is no value of a label")


def test_a_file_of_a_folder_that_is_named_too_is_checked_once(capsys: pytest.CaptureFixture[str]) -> None:
    Path("d").mkdir()
    Path("d/a.yaml").write_text(BACKUP)
    Path("d/b.yaml").write_text(KIND)
    assert validate(capsys, "d", "d/a.yaml") == (0, "d: 2 objects, no problem found\n")
    assert validate(capsys, "./d/b.yaml", "d", "d/../d") == (0, "d: 2 objects, no problem found\n")
    Path("d/b.yaml").write_text("workloads: 7\n")
    code, err = validate(capsys, "d/b.yaml", "d")
    assert (code, err.count("b.yaml:1:12")) == (2, 1), err


def test_files_with_variants_of_one_object_are_checked_each_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for name, every in (("ns1", "day"), ("ns2", "week")):
        Path(f"{name}.yaml").write_text(f"{KIND}---\n{BACKUP.replace('day', every)}")
    code, err = validate(capsys, "ns1.yaml", "ns2.yaml")
    assert (code, err) == (0, "ns1.yaml: 2 objects, no problem found\nns2.yaml: 2 objects, no problem found\n")


def test_what_is_wrong_with_a_kind_is_told_once_and_with_its_own_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("backup.yaml").write_text(BACKUP)
    Path("kind.yaml").write_text(KIND.replace("{required: [every]}", "{required: 7}"))
    code, err = validate(capsys, "backup.yaml", "kind.yaml")
    assert (code, err.splitlines()[0]) == (2, "backup.yaml: 1 object, no problem found")
    assert [line for line in err.splitlines()[1:] if not line.startswith("kind.yaml:3:")] == []
