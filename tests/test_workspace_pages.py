"""Who begins to read finds everything: the pages from the first one, the sessions, and what is a fault."""

from __future__ import annotations

import re
from pathlib import Path


def links(path: Path) -> set[str]:
    return {target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text())}


def test_every_page_is_linked_from_the_first_one(root: Path) -> None:
    pages = {path.name for path in (root / "docs").glob("*.md")} - {"index.md"}
    assert len(pages) > 10
    assert sorted(pages - links(root / "docs" / "index.md")) == []


def test_contributing_names_every_session_that_runs_by_default(root: Path) -> None:
    chosen = re.search(r"nox\.options\.sessions = \[(.*?)\n\]", (root / "noxfile.py").read_text(), flags=re.DOTALL)
    assert chosen is not None
    sessions = re.findall(r'^    "(\w+)",$', chosen[1], flags=re.MULTILINE)
    assert {"browser", "attack"} <= set(sessions)
    text = (root / "CONTRIBUTING.md").read_text()
    assert [name for name in sessions if f"| `{name}` |" not in text] == []


def test_what_is_a_fault_of_a_server_is_said(root: Path) -> None:
    text = (root / "SECURITY.md").read_text()
    assert "orchestrion server" in text
    assert "docs/identity.md" in links(root / "SECURITY.md")


def test_the_control_plane_names_what_it_is_made_of(root: Path) -> None:
    package = root / "packages" / "control_plane"
    text = (package / "README.md").read_text()
    declared = (package / "pyproject.toml").read_text().lower()
    for server in ("hypercorn", "uvicorn", "h11", "wsproto", "litestar"):
        assert (server in text.lower()) == (f'"{server}' in declared), server
