"""What the tests of the workspace look at: packages, what they declare, and what they import."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cached_property
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


def normal(name: str) -> str:
    """Return a distribution's name as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


class Package:
    """One folder below `packages/`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self.src = folder / "src" / "orchestrion" / folder.name

    def __repr__(self) -> str:
        return self.name

    @cached_property
    def project(self) -> dict[str, Any]:
        project: dict[str, Any] = tomllib.loads((self.folder / "pyproject.toml").read_text())["project"]
        return project

    @property
    def distribution(self) -> str:
        return str(self.project["name"])

    @property
    def extras(self) -> dict[str, list[str]]:
        return dict(self.project.get("optional-dependencies", {}))

    @cached_property
    def modules(self) -> dict[Path, str]:
        return {path: path.read_text() for path in sorted(self.src.rglob("*.py"))}

    def imports_of(self, part: str | None) -> set[str]:
        """Return the modules that are imported by the part behind an extra of that name, or by all but such parts."""
        found = set[str]()
        for path, text in self.modules.items():
            top = path.relative_to(self.src).parts[0]
            if (top if top in self.extras else None) == part:
                found |= set(imported(ast.parse(text)))
        return found


def imported(tree: ast.AST) -> Iterator[str]:
    """Say which modules are imported anywhere in a file: with three parts for ours, else with one, or two where several
    distributions share the first.
    """
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(module="orchestrion" | "opentelemetry" as namespace, names=names):
                modules = [f"{namespace}.{alias.name}" for alias in names]
            case ast.ImportFrom(module=str(module), level=0):
                modules = [module]
            case _:
                continue
        for module in modules:
            parts = module.split(".")
            yield ".".join(parts[: {"orchestrion": 3, "opentelemetry": 2}.get(parts[0], 1)])


def required_by(requirements: list[str]) -> set[str]:
    """Return the names of distributions that requirements name, without versions and extras."""
    return {normal(re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0]) for requirement in requirements}


def all_packages() -> list[Package]:
    return [Package(path.parent) for path in sorted(ROOT.glob("packages/*/pyproject.toml"))]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "package" in metafunc.fixturenames:
        metafunc.parametrize("package", all_packages(), ids=repr, scope="session")


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def packages() -> dict[str, Package]:
    return {package.name: package for package in all_packages()}


@pytest.fixture(scope="session")
def distributions(packages: dict[str, Package]) -> dict[str, str]:
    """The distribution that gives each module that can be imported."""
    found = {module: normal(names[0]) for module, names in packages_distributions().items()}
    found |= {f"orchestrion.{package.name}": package.distribution for package in packages.values()}
    found |= {f"opentelemetry.{name}": "opentelemetry-api" for name in ("context", "propagate", "trace")}
    found |= {"opentelemetry.sdk": "opentelemetry-sdk"}
    found |= {"opentelemetry.exporter": "opentelemetry-exporter-otlp-proto-http"}
    return found
