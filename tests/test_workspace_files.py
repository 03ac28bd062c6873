"""What is committed works anywhere: it names no registry's host and no place of one machine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

# Spelled in parts, so that this file passes as well.
HOSTS = re.compile(
    "|".join(
        re.escape(".".join(parts))
        for parts in (
            ("pypi", "org"),
            ("python" + "hosted", "org"),
            ("pypi", "python", "org"),
            ("npmjs", "org"),
            ("npmjs", "com"),
            ("crates", "io"),
            ("golang", "org"),
            ("anaconda", "org"),
            ("docker", "io"),
            ("ghcr", "io"),
            ("quay", "io"),
        )
    )
)
PLACES = re.compile(
    r"(?<![\w.}~/-])/(?:" + "|".join(("wo" + "rk", "ro" + "ot", "ho" + "me", "Us" + "ers")) + r")/(?!me\b)\w"
)
"""Absolute paths below folders that are somebody's; `me` is nobody."""

TWO_COMMANDS = (
    "pip install uv && uv run orchestrion up examples/word-count.yaml",
    "pip install uv && uv run nox",
)


@pytest.fixture(scope="module")
def committed(root: Path) -> dict[str, str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("this is no clone, so that nothing says what is committed")
    names = [name for name in listed.stdout.decode().split("\0") if name and (root / name).is_file()]
    return {name: (root / name).read_text(errors="replace") for name in names}


def test_no_committed_file_names_the_host_of_a_registry(committed: dict[str, str]) -> None:
    assert [(name, found[0]) for name, text in committed.items() if (found := HOSTS.search(text))] == []


def test_no_committed_file_names_a_place_of_one_machine(committed: dict[str, str]) -> None:
    assert [(name, found[0]) for name, text in committed.items() if (found := PLACES.search(text))] == []


def test_the_generated_lock_is_not_committed(committed: dict[str, str]) -> None:
    assert "uv.lock" not in committed


def test_the_lock_has_a_hash_for_all_that_it_pins(root: Path) -> None:
    entries = re.split(r"\n(?=[a-z0-9])", (root / "requirements.lock").read_text())
    assert len(entries) > 50
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_readme_and_script_have_the_two_commands(root: Path) -> None:
    readme = (root / "README.md").read_text()
    assert [command for command in TWO_COMMANDS if command not in readme] == []
    assert "uv run nox" in (root / ".ci" / "run").read_text()


def test_links_between_pages_lead_somewhere(committed: dict[str, str], root: Path) -> None:
    links = [
        (name, target)
        for name, text in committed.items()
        if name.endswith(".md")
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        if not re.match(r"[a-z]+:", target)
    ]
    assert links != []
    assert [(name, target) for name, target in links if not (root / name).parent.joinpath(target).exists()] == []
