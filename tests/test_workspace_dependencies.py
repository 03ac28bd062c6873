"""A package declares what it imports and nothing else, and dependencies point one way."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ENTRY_POINTS_ONLY = {
    # What a user needs at once comes with the command, which finds it by entry points.
    "cli": {"orchestrion-cluster-local", "orchestrion-runtime-process", "orchestrion-store-sqlite"},
}
NEEDED_BY_NAME = {
    # The extra serves whoever runs the checks with pytest; the module that does so imports it when it is called.
    "conformance_kit": {"pytest"},
    # The command imports the kit that it is asked for.
    "cli": {f"orchestrion-{interface}-interface" for interface in ("cluster", "runtime", "scheduler", "store")},
}


def names_of(requirements: list[str]) -> set[str]:
    return {
        re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0]).lower()
        for requirement in requirements
    }


def needed(modules: set[str], distributions: dict[str, str], own: str) -> set[str]:
    """Return the distributions that give some modules, but for the standard library and the package itself."""
    ours = {".".join(module.split(".")[:2]) if module.startswith("orchestrion.") else module for module in modules}
    return {distributions.get(module, module) for module in ours if module not in sys.stdlib_module_names} - {own}


def test_what_a_package_imports_is_what_it_declares(package: Any, distributions: dict[str, str]) -> None:
    imported = needed(package.imports_of(None), distributions, package.distribution)
    declared = names_of(package.project["dependencies"])
    assert imported - NEEDED_BY_NAME.get(package.name, set()) - declared == set(), "imported and not declared"
    assert declared - imported - ENTRY_POINTS_ONLY.get(package.name, set()) == set(), "declared and not imported"


def test_what_a_part_behind_an_extra_imports_is_what_the_extra_declares(
    package: Any, packages: dict[str, Any], distributions: dict[str, str]
) -> None:
    base = names_of(package.project["dependencies"])
    for extra, requirements in package.extras.items():
        if not (package.src / extra).is_dir():
            assert names_of(requirements) == NEEDED_BY_NAME.get(package.name), f"no part needs the extra {extra}"
            continue
        imported = needed(package.imports_of(extra), distributions, package.distribution)
        declared = names_of(requirements)
        # An extra of ours brings what it names; asking for it is declaring that.
        for requirement in requirements:
            for other in packages.values():
                if match := re.match(rf"{other.distribution}\[(\w+)\]", requirement):
                    imported -= names_of(other.extras[match[1]]) - declared
        assert imported - base - declared == set(), f"imported by {extra} and not declared"
        assert declared - imported == set(), f"declared for {extra} and not imported"
        # With an extra of its own a requirement says more than without.
        plain = names_of([requirement for requirement in requirements if "[" not in requirement])
        assert plain & base == set(), f"declared for {extra} and for all"


def may_import(name: str, part: str | None, all_names: set[str]) -> set[str]:
    """Return the packages that a package may import: the arrows of the design."""
    interfaces = {other for other in all_names if other.endswith("_interface")}
    if name in {"shared_types", "conformance_kit"}:
        return set()
    if name in interfaces:
        return {"shared_types", "conformance_kit"} if part == "conformance" else {"shared_types"}
    if name == "control_plane":
        return {"shared_types", "orchestrator_core", *interfaces}
    if name == "cli":
        return all_names
    return {"shared_types", *interfaces}


def test_dependencies_point_one_way(package: Any, packages: dict[str, Any]) -> None:
    for part in (None, *package.extras):
        ours = {module.split(".")[1] for module in package.imports_of(part) if module.startswith("orchestrion.")}
        assert ours - may_import(package.name, part, set(packages)) - {package.name} == set()


def test_packages_use_each_other_by_public_names(package: Any) -> None:
    for part in (None, *package.extras):
        for module in package.imports_of(part):
            inside = module.split(".")[2:]
            if module.startswith("orchestrion.") and not module.startswith(f"orchestrion.{package.name}."):
                assert not any(name.startswith("_") for name in inside), f"{module} is private to its package"


def test_the_configuration_of_the_workspace_names_every_package(root: Path, packages: dict[str, Any]) -> None:
    text = (root / "pyproject.toml").read_text()
    for package in packages.values():
        # What is compiled is not editable: an editable installation would be interpreted.
        how = ", editable = false" if (package.folder / "setup.py").exists() else ""
        assert f"{package.distribution} = {{ workspace = true{how} }}" in text
        assert f'"$MYPY_CONFIG_FILE_DIR/packages/{package.name}/src"' in text


def test_all_packages_ask_for_the_same_of_a_library(packages: dict[str, Any]) -> None:
    asked: dict[str, set[str]] = {}
    for package in packages.values():
        for requirement in (*package.project["dependencies"], *(r for rs in package.extras.values() for r in rs)):
            bare = re.sub(r"\[.*\]", "", requirement)
            asked.setdefault(next(iter(names_of([bare]))), set()).add(bare)
    assert {name: bounds for name, bounds in asked.items() if len(bounds) > 1} == {}
