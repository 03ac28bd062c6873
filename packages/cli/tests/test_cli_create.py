"""`create -f`: all objects of a file are made, or none of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from .served_directory import Do

pytestmark = pytest.mark.slow  # each is a command of its own, with the imports of its parser

GOOD = "kind: ConfigMap\nmetadata: {name: good}\nspec: {data: {tea: '3'}}\n"


@pytest.mark.parametrize(
    ("second", "code", "told"),
    [
        ("kind: ConfigMap\nmetadata: {name: bad}\nspec: {data: 7}\n", 2, "two.yaml:5: configmap/bad spec.data: "),
        ("kind: ConfigMap\nmetadata: {name: bad, namespace: nowhere}\n", 3, "two.yaml:5: configmap/bad: "),
        ("kind: Wobble\nmetadata: {name: bad}\n", 3, "two.yaml:5: wobble/bad: there is no kind 'Wobble'"),
        ("kind: Namespace\nmetadata: {name: default}\n", 4, "two.yaml:5: namespace/default: "),
        ("kind: ConfigMap\nmetadata: {name: good}\n", 2, "two.yaml:5: configmap/good: it is there twice"),
        ("kind: ConfigMap\nmetadata: 7\n", 2, "two.yaml:5: each document is an object"),
    ],
    ids=["invalid", "nowhere", "no-kind", "there-already", "twice", "no-metadata"],
)
@pytest.mark.parametrize("options", [(), ("--dry-run",)], ids=["made", "dry-run"])
def test_where_one_document_is_bad_its_place_is_told_and_nothing_is_made(
    second: str, code: int, told: str, options: tuple[str, ...], do: Do, tmp_path: Path
) -> None:
    (tmp_path / "two.yaml").write_text(f"{GOOD}---\n{second}")
    ended, _, err = do("create", "-f", "two.yaml", *options)
    assert (ended, told in err) == (code, True), err
    assert ": made" not in err
    assert do("get", "configmap", "good")[0] == 3


def test_what_comes_before_in_the_file_may_be_needed(do: Do, tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(
        "kind: Namespace\nmetadata: {name: shop}\n---\n"
        "kind: ConfigMap\nmetadata: {name: prices, namespace: shop}\nspec: {data: {tea: '3'}}\n"
    )
    assert (
        do("create", "-f", "shop.yaml", "--dry-run")[2]
        == "namespace/shop: would be made\nconfigmap/prices: would be made\n"
    )
    assert do("get", "namespace", "shop")[0] == 3
    assert do("create", "-f", "shop.yaml")[2] == "namespace/shop: made\nconfigmap/prices: made\n"


def test_a_bad_document_in_a_namespace_of_the_file_keeps_the_namespace_from_being_made(do: Do, tmp_path: Path) -> None:
    (tmp_path / "half.yaml").write_text(
        "kind: Namespace\nmetadata: {name: half}\n---\n"
        "kind: ConfigMap\nmetadata: {name: bad, namespace: half}\nspec: {data: 7}\n"
    )
    code, _, err = do("create", "-f", "half.yaml")
    assert (code, "half.yaml:4: configmap/bad spec.data: " in err) == (2, True), err
    assert do("get", "namespace", "half")[0] == 3


KIND = """kind: CustomKind
metadata: {name: backups}
spec: {kind: Backup, plural: backups, schema: {required: [every]}}
"""
BACKUP = "kind: Backup\nmetadata: {name: nightly, namespace: vault}\nspec: {every: day}\n"
VAULT = "kind: Namespace\nmetadata: {name: vault}\n"
READER = (
    "kind: RoleBinding\nmetadata: {name: readers}\nspec: {role: vault-reader, namespace: vault}\n---\n"
    "kind: Role\nmetadata: {name: vault-reader}\nspec: {rules: [{verbs: [get], resources: [backups]}]}\n"
)


def test_a_kind_its_objects_and_all_that_they_need_are_made_with_one_file_in_any_order(do: Do, tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text("---\n".join((BACKUP, READER, KIND, VAULT)))
    names = ("namespace/vault", "customkind/backups", "role/vault-reader", "backup/nightly", "rolebinding/readers")
    assert do("create", "-f", "all.yaml", "--dry-run") == (0, "", "".join(f"{name}: would be made\n" for name in names))
    assert do("get", "backups")[0] == 3
    bad = tmp_path / "bad.yaml"
    bad.write_text("---\n".join((KIND, VAULT, BACKUP.replace("every", "evry"))))
    code, _, err = do("create", "-f", "bad.yaml")
    assert (code, "bad.yaml:8: backup/nightly spec: 'every' is missing" in err) == (2, True), err
    assert do("get", "customkind", "backups")[0] == 3
    assert do("create", "-f", "all.yaml") == (0, "", "".join(f"{name}: made\n" for name in names))
    assert do("get", "backup", "nightly", "-n", "vault")[0] == 0
    code, _, err = do("create", "-f", "all.yaml")
    assert (code, "all.yaml:17: namespace/vault: " in err) == (4, True), err


def test_a_kind_and_its_objects_are_applied_with_one_file(do: Do, tmp_path: Path) -> None:
    text = "---\n".join((BACKUP.replace(", namespace: vault", ""), KIND)).replace("ackup", "atch")
    (tmp_path / "batch.yaml").write_text(text)
    assert do("apply", "batch.yaml")[0] == 0
    assert do("get", "batch", "nightly")[0] == 0
    assert "batch/nightly: unchanged" in do("apply", "batch.yaml")[1]
