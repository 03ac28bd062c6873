"""Every package has the shape that the others have."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

LONGEST_MODULE = 750
HEADINGS = ["Scope", "Out of scope", "Smallest use", "For callers", "For implementers", "Compatibility"]
OPTIONAL_HEADINGS = {"For implementers"}
FRAGMENT = re.compile(r"[0-9]{4}\.(breaking|feature|fix|check|doc)\.md")
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "NotImplemented" + "Error")) + r")\b")
IMPURE = re.compile(r"\btime\.(sleep|time|monotonic)\(|(?<!\.)\brandom\.random\(|\buuid4\(|\bdatetime\.now\(")


def test_no_package_makes_the_namespace_its_own(root: Path) -> None:
    assert list(root.glob("packages/*/src/orchestrion/__init__.py")) == []


def test_a_package_says_that_it_has_types(package: Any) -> None:
    assert (package.src / "py.typed").is_file()


def test_a_package_is_described_as_all_are(package: Any, root: Path) -> None:
    project = package.project
    expected = "orchestrion" if package.name == "cli" else "orchestrion-" + package.name.replace("_", "-")
    assert project["name"] == expected
    assert project["license"] == "Apache-2.0"
    assert project["license-files"] == ["LICENSE"]
    assert (package.folder / "LICENSE").resolve() == root / "LICENSE"
    assert project["requires-python"] == ">=3.11"
    assert project["readme"] == "README.md"
    assert project["description"].endswith(".")


def test_a_readme_has_its_parts_in_order(package: Any) -> None:
    lines = (package.folder / "README.md").read_text().splitlines()
    assert lines[0] == f"# {package.distribution}"
    assert lines[1] == ""
    assert re.search(r"[.:]$", lines[2]) or lines[3], "one sentence follows the title"
    headings = [line.removeprefix("## ") for line in lines if line.startswith("## ")]
    known = [heading for heading in headings if heading in HEADINGS]
    assert known == [heading for heading in HEADINGS if heading in known]
    assert set(HEADINGS) - set(known) <= OPTIONAL_HEADINGS


def test_changes_are_told_to_users_one_sentence_a_line(package: Any) -> None:
    fragments = sorted((package.folder / "changes").iterdir())
    assert fragments != []
    for fragment in fragments:
        assert FRAGMENT.fullmatch(fragment.name), fragment.name
        for line in fragment.read_text().splitlines():
            assert line.endswith("."), f"{fragment.name}: {line}"


def test_public_names_are_there_once(package: Any) -> None:
    module = importlib.import_module(f"orchestrion.{package.name}")
    public = module.__all__
    assert len(public) == len(set(public))
    assert [name for name in public if not hasattr(module, name)] == []
    assert [name for name in public if name.startswith("_")] == []


def test_no_module_is_too_long_to_read(package: Any) -> None:
    lengths = {path.name: text.count("\n") for path, text in package.modules.items()}
    assert {name: length for name, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_nothing_is_left_unfinished(package: Any) -> None:
    assert [(path.name, found[0]) for path, text in package.modules.items() if (found := UNFINISHED.search(text))] == []


def test_the_core_is_given_time_and_chance(packages: dict[str, Any]) -> None:
    found = [
        (path.name, match[0])
        for path, text in packages["orchestrator_core"].modules.items()
        for match in IMPURE.finditer(text)
    ]
    assert found == [("_clock.py", "datetime.now(")], "but for the wall clock that is the default"


def test_names_of_test_modules_are_unique(root: Path) -> None:
    names = [path.name for path in (*root.glob("packages/*/tests/**/test_*.py"), *root.glob("tests/test_*.py"))]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_folders_of_tests_are_no_packages(root: Path) -> None:
    assert list(root.glob("packages/*/tests/**/__init__.py")) == []
