"""What `uv run nox` does: every check that a change must pass, each in an environment of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import nox
from packaging.metadata import Metadata

ROOT = Path(__file__).parent
PACKAGES = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
PYTHONS = ("3.11", "3.12", "3.13")
RESULTS = ROOT / ".nox" / "results"
LOCK = ROOT / "requirements.lock"
SIMULATION = ROOT / "packages" / "orchestrator_core" / "tests" / "simulation"
BROWSER = ROOT / "tests" / "browser"
ATTACKS = ROOT / "packages" / "control_plane" / "tests" / "attacks"
SEEDS = "500"
REPEATABLE = {"CI": "true"}
"""Lets hypothesis draw the same examples in each run, and mind no time that a busy machine takes."""
ON_ALL_CORES = ("-n", "auto", "--dist", "worksteal")
"""For tests that start no programs that have to answer in time."""
FILE_BY_FILE = ("-n", "3", "--dist", "loadfile")
"""For tests that start programs: three at a time, since they wait for the most part; those of a file one by one."""
FEWER_EXAMPLES = {"ORCHESTRION_KIT_PROFILE": "quick", "ORCHESTRION_SEEDS": "10"}
"""For the newer Pythons: what holds for all examples on the oldest is held against a third of them there."""
TEST_TOOLS = ("pytest", "pytest-trio", "hypothesis", "trustme")
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
    "pure",
    "simulation",
    "processes",
    "browser",
    "attack",
    *(f"tests-{version}" for version in reversed(PYTHONS)),
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
    found = sorted(managed.glob(f"{version}.*/bin/python{version}"), key=_patch_release)
    return str(found[-1]) if found else version


def _patch_release(path: Path) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", path.parent.parent.name))


def project_of(package: Path) -> dict[str, Any]:
    """Return what a distribution declares of itself."""
    project: dict[str, Any] = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    return project


def requirement(package: Path) -> str:
    """Return the requirement that installs a distribution with all of its extras."""
    project = project_of(package)
    extras = ",".join(sorted(project.get("optional-dependencies", {})))
    return f"{project['name']}[{extras}]" if extras else str(project["name"])


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


def results(name: str) -> str:
    """Return pytest's option that keeps the outcome of a run, from which `.ci/run` adds up."""
    return f"--junitxml={RESULTS / name}.xml"


def scratch(session: nox.Session) -> Path:
    """Return the session's own folder for what it makes."""
    return Path(session.create_tmp()).resolve()


@nox.session
def lint(session: nox.Session) -> None:
    """Format and rules."""
    sync(session, "--only-group=lint")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types, strictly."""
    everything(session, "lint", "test", "web")
    paths = [path for package in PACKAGES for path in (package / "src", package / "tests")]
    paths += [ROOT / "tests", ROOT / "benchmarks", ROOT / "noxfile.py", *sorted(ROOT.glob("examples/*.py"))]
    session.run("mypy", *(str(path.relative_to(ROOT)) for path in paths))


def _tests_on(version: str) -> None:
    @nox.session(name=f"tests-{version}", python=interpreter(version))
    def tests(session: nox.Session) -> None:
        """The tests on one Python, the slow ones on the oldest only; skipped where the machine has no such Python.

        On the Python that this runs on, `alone` has run those of each package already.
        """
        everything(session, "test")
        if session.posargs:
            session.run("pytest", results(f"tests-{version}"), *session.posargs, env=REPEATABLE)
            return
        quick = ["-m", "not engine and not slow", *ON_ALL_CORES, "--durations=10"]
        if session.python == sys.executable:
            quick.append(str(ROOT / "tests"))
        examples = {} if version == PYTHONS[0] else FEWER_EXAMPLES
        try:
            session.run("pytest", results(f"tests-{version}"), *quick, env={**REPEATABLE, **examples})
        finally:
            if version == PYTHONS[0]:
                slow = ["-m", "slow and not engine", *FILE_BY_FILE, "--durations=10"]
                session.run("pytest", results(f"tests-{version}-slow"), *slow, env=REPEATABLE)


for _version in PYTHONS:
    _tests_on(_version)


@nox.session
def pure(session: nox.Session) -> None:
    """The tests of what is compiled, interpreted: the same sources decide the same."""
    everything(session, "test")
    tests = [str(package / "tests") for package in PACKAGES if (package / "setup.py").exists()]
    session.run(
        "pytest", results("pure"), *ON_ALL_CORES, *tests, *session.posargs, env={**REPEATABLE, "ORCHESTRION_PURE": "1"}
    )


@nox.session
def simulation(session: nox.Session) -> None:
    """The whole orchestrator on mock clocks, with faults, over many seeds, each repeatable."""
    everything(session, "test")
    environment = {**REPEATABLE, "ORCHESTRION_SEEDS": os.environ.get("ORCHESTRION_SEEDS", SEEDS)}
    session.run("pytest", results("simulation"), *ON_ALL_CORES, str(SIMULATION), *session.posargs, env=environment)


@nox.session
def processes(session: nox.Session) -> None:
    """Tests that need the machine itself: mounts, and programs that `.ci/run` installs."""
    everything(session, "test")
    session.run("pytest", results("processes"), "-m", "engine", *session.posargs, env=REPEATABLE)


@nox.session
def browser(session: nox.Session) -> None:
    """The dashboard in a real browser, which `.ci/run` installs."""
    everything(session, "test", "web")
    environment = {**REPEATABLE, "ORCHESTRION_PICTURES": str(scratch(session) / "pictures")}
    session.run("pytest", results("browser"), *ON_ALL_CORES, str(BROWSER), *session.posargs, env=environment)


@nox.session
def attack(session: nox.Session) -> None:
    """The API under requests that a tool makes up from its description alone, and under ten times what it carries."""
    everything(session, "test", "web")
    attacks = (str(ATTACKS / name) for name in ("attack_openapi.py", "attack_overload.py"))
    session.run("pytest", results("attack"), *attacks, *session.posargs, env=REPEATABLE)


@nox.session
def alone(session: nox.Session) -> None:
    """Build every distribution, install each alone into an empty environment, and run its own tests there."""
    wheels = scratch(session) / "wheels"
    build(session, wheels, "--all-packages")
    for path in sorted(wheels.iterdir()):
        for fault in faults_of(path):
            session.error(f"{path.name}: {fault}")
    chosen = [package for package in PACKAGES if package.name in session.posargs or not session.posargs]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = list(pool.map(partial(prove_alone, session, wheels), chosen))
    if failed := [package.name for package, passed in zip(chosen, outcomes, strict=True) if not passed]:
        session.error(f"not whole when alone: {', '.join(failed)}")


def build(session: nox.Session, wheels: Path, *arguments: str) -> None:
    """Build distributions into an empty folder."""
    shutil.rmtree(wheels, ignore_errors=True)
    session.run_install("uv", "build", "--quiet", f"--out-dir={wheels}", *arguments, external=True)


def faults_of(path: Path) -> Iterator[str]:
    """Say what is wrong with a built distribution: its metadata, its marker of types, a root of the namespace."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            text = archive.read(next(name for name in names if name.endswith(".dist-info/METADATA")))
    elif path.name.endswith(".tar.gz"):
        with tarfile.open(path) as source:
            names = source.getnames()
            member = source.extractfile(next(name for name in names if name.count("/") == 1 and "PKG-INFO" in name))
            text = member.read() if member is not None else b""
    else:
        return
    metadata = Metadata.from_email(text, validate=True)
    for wanted in ("summary", "description", "license_expression", "license_files", "requires_python"):
        if not getattr(metadata, wanted):
            yield f"its metadata has no {wanted}"
    if not any(name.endswith("/py.typed") for name in names):
        yield "it has no py.typed"
    if any(name.endswith("orchestrion/__init__.py") for name in names):
        yield "it has an orchestrion/__init__.py, which breaks all others"


def prove_alone(session: nox.Session, wheels: Path, package: Path) -> bool:
    """Install one distribution from its wheel and import all of it, then add its extras and run its tests.

    What is slow or needs the machine is left to the other sessions: this one looks for what was not declared.
    """
    started = time.monotonic()
    place = scratch(session) / f"alone-{package.name}"
    python = str(place / "bin" / "python")
    install = [
        *("uv", "pip", "install", "--quiet", f"--python={python}"),
        *("--no-sources", f"--find-links={wheels}", f"--constraint={LOCK}"),
        # Our versions stay the same while we work on them, so that only this brings what was just built.
        *(f"--refresh-package={project_of(ours)['name']}" for ours in PACKAGES),
    ]
    commands = [
        ["uv", "venv", "--quiet", "--clear", f"--python={session.virtualenv.location}", str(place)],
        [*install, str(project_of(package)["name"])],
        [python, "-I", "-c", IMPORT_ALL, f"orchestrion.{package.name}", *_behind_extras(package)],
        [*install, requirement(package), *TEST_TOOLS, *_fakes_and_kits(package)],
        [
            *(python, "-m", "pytest", "--quiet", "-m", "not slow and not engine", results(f"alone-{package.name}")),
            *("-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider", str(package / "tests")),
        ],
    ]
    environment = {**os.environ, **REPEATABLE, "ORCHESTRION_SEEDS": "5"}
    for command in commands:
        done = subprocess.run(command, cwd=place.parent, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            shown = " ".join(part for part in command if "\n" not in part)
            session.warn(f"{package.name}: {shown}\n{done.stdout}{done.stderr}")
            return False
    closing = done.stdout.strip().splitlines()[-1]
    session.log(f"{package.name}: {closing} ({time.monotonic() - started:.0f} s with its installation)")
    return True


IMPORT_ALL = """
import importlib, pkgutil, sys
name, *left_out = sys.argv[1:]
package = importlib.import_module(name)
for module in pkgutil.walk_packages(package.__path__, name + "."):
    if module.name.removeprefix(name + ".").partition(".")[0] not in [*left_out, "__main__"]:
        importlib.import_module(module.name)
"""
"""Imports every module of a package but those that its extras are for; walking never imports those it leaves out."""


def _behind_extras(package: Path) -> list[str]:
    # An extra is named after the subpackage that needs it; one that is not has nothing to leave out.
    return sorted(project_of(package).get("optional-dependencies", {}))


def _fakes_and_kits(package: Path) -> list[str]:
    """Return what of this workspace the tests of a package may use beside its own dependencies: mocks and kits."""
    texts = [path.read_text() for path in (package / "tests").rglob("*.py")]
    used = {
        name for text in texts for name in re.findall(r"^\s*(?:from|import) orchestrion\.(\w+)", text, re.MULTILINE)
    }
    allowed = {path.name for path in PACKAGES if path.name == "mocks" or path.name.endswith(("_interface", "_kit"))}
    return [requirement(ROOT / "packages" / name) for name in sorted(used & allowed - {package.name})]


@nox.session
def conformance(session: nox.Session) -> None:
    """A third party's package, from built wheels alone, proves its implementation."""
    outsider = ROOT / "examples" / "third_party_runtime"
    wheels = scratch(session) / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    ours = [str(project_of(ROOT / "packages" / name)["name"]) for name in OUTSIDER_NEEDS]
    for name in ours:
        session.run_install(
            "uv", "build", "--quiet", "--wheel", f"--package={name}", f"--out-dir={wheels}", external=True
        )
    session.run_install(
        *("uv", "pip", "install", "--quiet", "--no-sources", f"--find-links={wheels}", f"--constraint={LOCK}"),
        # Our versions stay the same while we work on them, so that only this brings what was just built.
        *(f"--reinstall-package={name}" for name in ours),
        f"{outsider}[test]",
        "mypy",
        external=True,
    )
    session.chdir(outsider)
    session.run("pytest", "-c", "pyproject.toml", "--quiet", results("conformance"), env=REPEATABLE)
    session.run("mypy", "--strict", "--config-file=", "src", "tests")


OUTSIDER_NEEDS = ("shared_types", "conformance_kit", "runtime_interface")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, every link and reference of it checked."""
    sync(session, "--only-group=docs")
    session.run(
        *("mkdocs", "build", "--strict", "--quiet", "--site-dir", str(scratch(session) / "site")),
        env={"NO_MKDOCS_2_WARNING": "1"},  # its announcement is no news for whoever checks
    )


@nox.session(python=False)
def lock_check(session: nox.Session) -> None:
    """The committed lock, and the versions in pyproject.toml, are what the configuration resolves to."""
    fresh = scratch(session) / LOCK.name
    session.run(*EXPORT, f"--output-file={fresh}", external=True, silent=True)
    configured = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["constraint-dependencies"]
    if fresh.read_text() != LOCK.read_text() or configured != _pins(fresh):
        session.error("requirements.lock is out of date: run `uv run nox -s lock` and commit what it changes")


@nox.session(python=False)
def lock(session: nox.Session) -> None:
    """Pin the newest versions that there were on a day: `nox -s lock -- 2026-11-01`; without a day, the same day's."""
    configuration = ROOT / "pyproject.toml"
    text = configuration.read_text()
    if session.posargs:
        text = re.sub(r'exclude-newer = "[^"]*"', f'exclude-newer = "{session.posargs[0]}T00:00:00Z"', text)
    listed = re.compile(r"(?<=^constraint-dependencies = \[\n)(?:    .*\n)*(?=\]\n)", re.MULTILINE)
    configuration.write_text(listed.sub("", text))
    (ROOT / "uv.lock").unlink(missing_ok=True)
    session.run(*EXPORT, f"--output-file={LOCK}", external=True, silent=True)
    pins = "".join(f'    "{pin}",\n' for pin in _pins(LOCK))
    configuration.write_text(listed.sub(lambda _: pins, text))
    session.run(*EXPORT, f"--output-file={LOCK}", external=True, silent=True)


def _pins(lock: Path) -> list[str]:
    """Return what a lock pins, without the hashes; TOML has it in double quotes, so that markers have single ones."""
    lines = re.findall(r"^[a-z0-9].*", lock.read_text(), re.MULTILINE)
    return [line.removesuffix("\\").strip().replace('"', "'") for line in lines]


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmarks: all, or those that are named: `nox -s bench -- store_sqlite`."""
    everything(session, "test")
    session.run("python", "benchmarks/run.py", *session.posargs)
