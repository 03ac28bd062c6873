"""What `uv run nox` does: every check that a change must pass, each in an environment of its own."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tomllib
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PACKAGES = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
PYTHONS = ("3.11", "3.12", "3.13")
SEEDS = "500"
EXPORT = (
    "uv",
    "export",
    "--quiet",
    "--all-packages",
    "--all-extras",
    "--all-groups",
    "--no-emit-workspace",
    "--no-header",
    "--no-annotate",
    "--format=requirements.txt",
)

nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
nox.options.error_on_external_run = True
nox.options.sessions = [
    "lock_check",
    "lint",
    "types",
    "docs",
    "alone",
    "conformance",
    "simulation",
    "tests-3.13",
    "tests-3.12",
    "tests-3.11",
]


def interpreter(version: str) -> str:
    """Return the path of an interpreter of that version, or the version itself where this machine has none."""
    if sys.version_info[:2] == tuple(int(part) for part in version.split(".")):
        return sys.executable
    on_path = shutil.which(f"python{version}")
    if on_path is not None and "shims" not in Path(on_path).parts:
        return on_path
    # Shims of a version manager refuse versions that are not active; the interpreters behind them are usable.
    managed = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = sorted(managed.glob(f"{version}.*/bin/python{version}"))
    return str(found[-1]) if found else version


def sync(session: nox.Session, *arguments: str) -> None:
    """Bring the session's own environment to what the lock says."""
    place = session.virtualenv.location
    session.run_install(
        "uv",
        "sync",
        "--quiet",
        "--no-default-groups",
        *arguments,
        env={"UV_PROJECT_ENVIRONMENT": place, "UV_PYTHON": place},
        external=True,
    )


def everything(session: nox.Session, *groups: str) -> None:
    """Install every distribution with its extras, and some groups of tools."""
    sync(session, "--all-packages", "--all-extras", *(f"--group={group}" for group in groups))


@nox.session
def lint(session: nox.Session) -> None:
    """Format and rules."""
    sync(session, "--only-group=lint")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types, strictly."""
    everything(session, "lint", "test")
    paths = [str(path.relative_to(ROOT)) for package in PACKAGES for path in (package / "src", package / "tests")]
    session.run("mypy", *paths, "tests", "benchmarks", "noxfile.py", "examples/embed.py")


def _run_tests(session: nox.Session) -> None:
    everything(session, "test")
    session.run("pytest", *(session.posargs or ["--durations=10"]))


for _version in PYTHONS:
    nox.session(_run_tests, name=f"tests-{_version}", python=interpreter(_version))


@nox.session
def simulation(session: nox.Session) -> None:
    """The whole orchestrator on mock clocks, with faults, over many seeds, each repeatable."""
    everything(session, "test")
    paths = [str(path) for path in ROOT.glob("packages/orchestrator_core/tests/simulation")]
    session.run("pytest", *paths, *session.posargs, env={"ORCHESTRION_SEEDS": SEEDS})


@nox.session
def alone(session: nox.Session) -> None:
    """Build every distribution, install each alone into an empty environment, and run its own tests there."""
    wheels = Path(session.create_tmp()) / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    build_wheels(session, wheels)
    chosen = session.posargs or [package.name for package in PACKAGES]
    for package in PACKAGES:
        if package.name in chosen:
            test_alone(session, package, wheels)


def build_wheels(session: nox.Session, wheels: Path) -> None:
    """Build every distribution as sdist and wheel, and check what they say of themselves."""
    session.run_install("uv", "build", "--quiet", "--all-packages", f"--out-dir={wheels}", external=True)
    session.install("twine")
    session.run(
        "twine",
        "check",
        "--strict",
        *(str(path) for path in sorted(wheels.glob("*.*")) if path.suffix in {".whl", ".gz"}),
    )


def test_alone(session: nox.Session, package: Path, wheels: Path) -> None:
    """Install one distribution from its wheel, with nothing but what it declares, and run its tests."""
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    extras = sorted(project.get("optional-dependencies", {}))
    name = project["name"] + (f"[{','.join(extras)}]" if extras else "")
    place = Path(session.create_tmp()) / f"alone-{package.name}"
    session.run_install(
        "uv", "venv", "--quiet", "--clear", "--python", session.virtualenv.location, str(place), external=True
    )
    tools = ["pytest", "pytest-trio", "hypothesis", *project.get("x-orchestrion-tests", []), *_test_needs(package)]
    session.run_install(
        "uv",
        "pip",
        "install",
        "--quiet",
        "--no-sources",
        f"--find-links={wheels}",
        f"--constraint={ROOT / 'requirements.lock'}",
        name,
        *tools,
        env={"VIRTUAL_ENV": str(place)},
        external=True,
    )
    session.run(
        str(place / "bin" / "python"),
        "-m",
        "pytest",
        "--quiet",
        "--config-file=pyproject.toml",
        "--rootdir=.",
        str(package / "tests"),
        env={"ORCHESTRION_KIT_PROFILE": "quick", "ORCHESTRION_SEEDS": "5"},
        external=True,
    )


def _test_needs(package: Path) -> list[str]:
    """Return the distributions of this workspace that the tests of a package import beside its own dependencies."""
    found = set[str]()
    for path in (package / "tests").rglob("*.py"):
        for name in re.findall(r"^\s*(?:from|import) orchestrion\.(\w+)", path.read_text(), re.MULTILINE):
            if name != package.name:
                found.add(name)
    return [_distribution(name) for name in sorted(found)]


def _distribution(name: str) -> str:
    project = tomllib.loads((ROOT / "packages" / name / "pyproject.toml").read_text())["project"]
    extras = sorted(project.get("optional-dependencies", {}))
    return project["name"] + (f"[{','.join(extras)}]" if extras else "")


@nox.session
def conformance(session: nox.Session) -> None:
    """A third party's package, from built wheels alone, proves its implementation."""
    outsider = ROOT / "examples" / "third_party_runtime"
    wheels = Path(session.create_tmp()) / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    for name in ("shared_types", "conformance_kit", "runtime_interface"):
        session.run_install(
            "uv",
            "build",
            "--quiet",
            "--wheel",
            f"--package={_distribution(name).partition('[')[0]}",
            f"--out-dir={wheels}",
            external=True,
        )
    session.run_install(
        "uv",
        "pip",
        "install",
        "--quiet",
        "--no-sources",
        f"--find-links={wheels}",
        f"--constraint={ROOT / 'requirements.lock'}",
        "--reinstall-package=orchestrion-shared-types",
        "--reinstall-package=orchestrion-conformance-kit",
        "--reinstall-package=orchestrion-runtime-interface",
        f"{outsider}[test]",
        "mypy",
        external=True,
    )
    session.chdir(outsider)
    session.run("pytest", "-c", "pyproject.toml", "--quiet")
    session.run("mypy", "--strict", "--config-file=", "src", "tests")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, every link and reference of it checked."""
    sync(session, "--only-group=docs")
    session.run("mkdocs", "build", "--strict", "--quiet", "--site-dir", str(Path(session.create_tmp()) / "site"))


@nox.session(python=False)
def lock_check(session: nox.Session) -> None:
    """The committed lock is what the configuration resolves to."""
    fresh = Path(session.create_tmp()) / "requirements.lock"
    session.run(*EXPORT, f"--output-file={fresh}", external=True, silent=True)
    if fresh.read_text() != (ROOT / "requirements.lock").read_text():
        session.error("requirements.lock is out of date: run `uv run nox -s lock` and commit what it changes")


@nox.session(python=False)
def lock(session: nox.Session) -> None:
    """Pin the newest versions that there were on a day: `nox -s lock -- 2026-11-01`; without a day, the same day's."""
    configuration = ROOT / "pyproject.toml"
    text = configuration.read_text()
    if session.posargs:
        text = re.sub(r'exclude-newer = "[^"]*"', f'exclude-newer = "{session.posargs[0]}T00:00:00Z"', text)
    configuration.write_text(re.sub(r"(constraint-dependencies = \[\n)(?:    .*\n)*?(\]\n)", r"\1\2", text, count=1))
    (ROOT / "uv.lock").unlink(missing_ok=True)
    session.run(*EXPORT, "--no-hashes", "--output-file=requirements.lock", external=True, silent=True)
    pins = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if re.match(r"[a-z0-9]", line)]
    listed = "".join(f"    {_quoted(pin)},\n" for pin in pins)
    text = configuration.read_text()
    configuration.write_text(
        re.sub(r"(constraint-dependencies = \[\n)(\]\n)", lambda m: m[1] + listed + m[2], text, count=1)
    )
    session.run(*EXPORT, "--output-file=requirements.lock", external=True, silent=True)


def _quoted(pin: str) -> str:
    return '"' + pin.strip().replace('"', "'") + '"'


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmarks: all, or those that are named: `nox -s bench -- store_sqlite`."""
    everything(session, "test")
    session.run("python", "benchmarks/run.py", *session.posargs)
