"""Manifests are read from files and folders within bounds, and fast."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from orchestrion.shared_types import ConfigInvalid
from orchestrion.shared_types.manifest import (
    MAX_BYTES,
    load_manifest,
    load_manifests,
    manifest_schema,
    parse_manifest,
    plain_documents,
    read_manifest,
)
from orchestrion.shared_types.manifest._container_form import CONTAINER
from orchestrion.shared_types.manifest._form import MANIFEST, WORKLOAD
from orchestrion.shared_types.manifest._placement_form import PLACEMENT
from orchestrion.shared_types.manifest._reference import reference
from orchestrion.shared_types.manifest._shape import INVALID, Reader
from orchestrion.shared_types.manifest._shapes import records_in
from orchestrion.shared_types.manifest._yaml import compose

ONE = "workloads: {%s: {containers: [{name: m, command: [x], working_dir: here}]}}\n"


def test_relative_paths_start_from_the_folder_of_their_own_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.yaml").write_text(ONE % "a")
    (tmp_path / "sub" / "b.json").write_text(ONE % "b")

    manifest = load_manifests((tmp_path / "a.yaml", tmp_path / "sub" / "b.json"))

    assert [one.containers[0].working_dir for one in manifest.workloads] == [
        str(tmp_path / "here"),
        str(tmp_path / "sub" / "here"),
    ]


def test_a_relative_file_gives_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text(ONE % "a")

    assert load_manifest(Path("a.yaml")).workloads[0].containers[0].working_dir == str(tmp_path / "here")


def test_a_folder_is_all_of_its_manifests_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.yml", "a.yaml", "c.json"):
        (tmp_path / name).write_text(ONE % name[0])
    (tmp_path / "notes.txt").write_text("not: [yaml")
    (tmp_path / "d.yaml").mkdir()

    assert [one.metadata.name for one in load_manifest(tmp_path).workloads] == ["a", "b", "c"]


def test_dependencies_may_cross_files_and_names_may_not_repeat(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("workloads: {a: {after: b, containers: [{name: m, command: [x]}]}}\n")
    (tmp_path / "b.yaml").write_text("\n" + ONE % "b")
    assert len(load_manifest(tmp_path).workloads) == 2

    (tmp_path / "c.yaml").write_text(ONE % "b")
    with pytest.raises(ConfigInvalid, match=r"workload 'b' is defined twice; first in .*b\.yaml:2") as caught:
        load_manifest(tmp_path)
    assert caught.value.problems[0].file == str(tmp_path / "c.yaml")


def test_a_file_that_is_no_yaml_does_not_hide_the_problems_of_others(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: [")
    (tmp_path / "b.yaml").write_text("x: 1")

    with pytest.raises(ConfigInvalid) as caught:
        load_manifest(tmp_path)

    assert [Path(problem.file).name for problem in caught.value.problems] == ["a.yaml", "b.yaml"]


@pytest.mark.parametrize("name", ["missing.yaml", "empty", "locked.yaml", "with\0zero"])
def test_what_can_not_be_read_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "locked.yaml").symlink_to(tmp_path / "locked.yaml")

    with pytest.raises(ConfigInvalid, match=r"no such file|has no file|can't be read") as caught:
        load_manifest(tmp_path / name)

    assert caught.value.problems[0].file == str(tmp_path / name)


@pytest.mark.parametrize("step", ["is_dir", "iterdir", "is_file"])
def test_a_path_that_nobody_may_look_at_is_a_problem_and_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Permissions do not bind who runs as root, so the refusal is put in the place of the system's."""
    locked, other = tmp_path / "locked", tmp_path / "other.yaml"
    locked.mkdir()
    (locked / "a.yaml").write_text("workloads: {}\n")
    other.write_text("wrong: 1\n")
    plain = getattr(Path, step)

    def guarded(path: Path) -> object:
        if locked in (path, path.parent):
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path)

    monkeypatch.setattr(Path, step, guarded)
    with pytest.raises(ConfigInvalid) as caught:
        load_manifests([locked, other])
    refused, *others = caught.value.problems
    assert (refused.message, refused.file) == ("this can't be read: permission denied", str(locked))
    assert [problem.file for problem in others] == [str(other)] * len(others) != []


def test_a_file_of_100_megabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        os.truncate(file.fileno(), 100_000_000)

    with pytest.raises(ConfigInvalid, match=f"larger than {MAX_BYTES} bytes"):
        load_manifest(path)
    with pytest.raises(ConfigInvalid, match="larger than 10 bytes"):
        parse_manifest("x" * 11, max_bytes=10)


BOMB = "".join(
    f"{letter}: &{letter} [{','.join(['*' + last] * 9)}]\n" for last, letter in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = {
    "aliases": "a: &a [x, x, x, x, x, x, x, x, x]\n" + BOMB,
    "brackets": "[" * MAX_BYTES,
    "braces": "{a: " * (MAX_BYTES // 4),
    "dashes": "- " * (MAX_BYTES // 2),
    "questions": "? " * (MAX_BYTES // 2),
    "quote": '"' + "x" * (MAX_BYTES - 2),
    "digits": "workloads: {a: {replicas: " + "9" * (MAX_BYTES - 100) + "}}",
    "merges": "a: &a {b: 1}\nc: {<<: [" + "*a, " * 200_000 + "]}",
    "keys": "".join(f"k{index}: 1\n" for index in range(90_000)),
    "names": "workloads:\n" + "".join(f"  w{index}: {{}}\n" for index in range(50_000)),
    "texts": f"a: &x {'A' * 200_000}\nb: [" + "*x, " * 3000 + "]",
    "chain": "workloads:\n"
    + "".join(f" w{i}: {{after: w{i + 1}, containers: [{{name: m, command: [x]}}]}}\n" for i in range(5000)),
    "unknown": "workloads:\n"
    + "".join(f" w{i}: {{after: v{i}, containers: [{{name: m, command: [x]}}]}}\n" for i in range(5000)),
}


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_document_takes_long_or_breaks_the_loader(text: str) -> None:
    assert len(text) <= MAX_BYTES
    start = time.process_time()

    with pytest.raises(ConfigInvalid):
        parse_manifest(text)

    assert time.process_time() - start < 60, "this hangs"


def test_aliases_do_not_multiply_texts() -> None:
    with pytest.raises(ConfigInvalid, match="characters when its aliases are replaced"):
        plain_documents(HOSTILE["texts"])


@pytest.mark.slow
def test_a_large_manifest_of_many_workloads_is_read() -> None:
    container = "{name: m, command: [python3, x.py], resources: {cpu: 500m, memory: 64Mi}, env: {A: 1}}"
    body = f"{{kind: batch, containers: [{container}]}}"
    text = "workloads:\n" + "".join(f"  w{index}: {body}\n" for index in range(3000))

    assert len(parse_manifest(text).workloads) == 3000


def test_the_core_does_not_import_yaml() -> None:
    code = (
        "import sys; sys.modules['yaml'] = None; import orchestrion.shared_types as o; o.parse_cpu('1');"
        "assert 'hypothesis' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_schema_describes_every_key() -> None:
    schema = manifest_schema()

    for record in records_in(MANIFEST):
        described = schema if record.name == "manifest" else schema["$defs"][record.name]
        assert set(described["properties"]) == {field.key for field in record.fields}
        assert all(prop["description"] for prop in described["properties"].values())
        assert described["additionalProperties"] is False


def test_the_reference_has_every_key_and_its_examples_are_accepted() -> None:
    text = reference()

    for record in records_in(MANIFEST):
        for field in record.fields:
            assert f"| `{field.key}` |" in text
    fields = [field for record in (MANIFEST, PLACEMENT, WORKLOAD, CONTAINER) for field in record.fields]
    for example in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        (root,) = compose(example)
        for key, (_, node) in root.entries.items():  # type: ignore[union-attr] # every example is a mapping
            read = [field.shape.read(node, (key,), Reader()) for field in fields if field.key == key]
            assert any(value is not INVALID for value in read), example


def test_the_published_reference_is_the_generated_one() -> None:
    published = Path(__file__).parents[3] / "docs" / "manifest.md"
    if not published.exists():
        pytest.skip("the documentation is not beside this package")

    assert published.read_text() == reference(), "run python -m orchestrion.shared_types.manifest > docs/manifest.md"


def test_plain_data_is_the_manifest_that_its_text_is() -> None:
    text = (
        "namespace: shop\n"
        + ONE % "a"
        + "  b: {after: a, containers: [{name: m, command: [x], env: {N: '1', F: 'yes'}}]}\n"
    )
    text = text.replace("here", "/here").replace("}]}}\n", "}]}\n", 1).replace("{a: {", "\n  a: {", 1)
    (data,) = plain_documents(text)
    assert read_manifest(data) == parse_manifest(text)


def test_a_problem_in_plain_data_has_a_path_and_no_line() -> None:
    with pytest.raises(ConfigInvalid) as caught:
        read_manifest({"workloads": {"a": {"replicas": "many"}}})
    assert [(problem.path, problem.line) for problem in caught.value.problems][:1] == [("workloads.a.replicas", 0)]
