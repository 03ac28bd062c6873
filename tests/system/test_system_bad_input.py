"""Bad manifests given to the command: one clear error with its place and what to do, and nothing else happens."""

from __future__ import annotations

import re
from textwrap import dedent
from typing import Any

import pytest

pytestmark = pytest.mark.slow

# What is wrong, the line that the error names, and what it says of it and of the remedy.
CASES = {
    "unknown key": (
        """
        workloads:
          web:
            contaners: []
        """,
        3,
        "unknown key 'contaners'; did you mean 'containers'",
    ),
    "wrong type": (
        """
        workloads:
          web:
            replicas: many
            containers: [{name: main, command: [sleep, "1"]}]
        """,
        3,
        "a whole number from 0 to 1000000 is wanted, not the text 'many'",
    ),
    "negative quantity": (
        """
        workloads:
          web:
            containers:
              - name: main
                command: [sleep, "1"]
                resources: {memory: -5Mi}
        """,
        6,
        "such as 256Mi, 1.5G or 1024 is wanted; '-5Mi' is negative",
    ),
    "absurd quantity": (
        """
        workloads:
          web:
            containers:
              - name: main
                command: [sleep, "1"]
                resources: {memory: 1e99Gi}
        """,
        6,
        "such as 256Mi, 1.5G or 1024 is wanted; '1e99Gi' is too large",
    ),
    "duplicate name": (
        """
        workloads:
          web:
            containers: [{name: main, command: [sleep, "1"]}]
          web:
            containers: [{name: main, command: [sleep, "2"]}]
        """,
        4,
        "the key 'web' stands here twice; first in line 2",
    ),
    "unknown after": (
        """
        workloads:
          web:
            containers: [{name: main, command: [sleep, "1"]}]
            after: {database: healthy}
        """,
        4,
        "unknown workload 'database'; known: web",
    ),
    "cycle": (
        """
        workloads:
          one:
            containers: [{name: main, command: [sleep, "1"]}]
            after: {two: started}
          two:
            containers: [{name: main, command: [sleep, "1"]}]
            after: {one: started}
        """,
        4,
        "wait for each other for ever: one -> two -> one; leave out one of them",
    ),
    "port clash": (
        """
        workloads:
          web:
            containers:
              - {name: one, command: [sleep, "1"], ports: {http: {port: 8080}}}
              - {name: two, command: [sleep, "1"], ports: {web: {port: 8080}}}
        """,
        5,
        "port 8080/tcp is asked for by .http. already",
    ),
    "missing command": (
        """
        workloads:
          web:
            containers: [{name: main}]
        """,
        3,
        "command is missing; write command: ",
    ),
    "unknown variable": (
        """
        workloads:
          web:
            containers: [{name: main, command: [echo, "${NOPE}"]}]
        """,
        3,
        "unknown variable .*; set it in env, or write",
    ),
    "no YAML": ("workloads: {web: [}\n", 1, "this is not YAML"),
    "no text": ("\x00\x01\x02", 1, "; take it out, or write it as"),
}


def refused(system: Any, path: str) -> str:
    """Run `up` on a file that must be refused, and return what it says."""
    done = system.run("up", path)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert not system.state.exists()
    return str(done.stderr)


@pytest.mark.parametrize("case", CASES)
def test_a_bad_manifest_is_refused_with_its_place_and_a_remedy(system: Any, case: str) -> None:
    text, line, words = CASES[case]
    path = system.folder / "app.yaml"
    path.write_text(dedent(text).lstrip("\n"))
    told = refused(system, str(path))
    assert f"{path}:{line}:" in told
    assert re.search(words, told), told
    assert len(told.splitlines()) <= 3, told


def test_a_manifest_of_a_hundred_megabytes_is_not_even_read(system: Any) -> None:
    path = system.folder / "app.yaml"
    with path.open("wb") as file:
        file.truncate(100 * 2**20)
    told = refused(system, str(path))
    assert f"{path}: this is larger than" in told
    assert "split it, or check the name" in told


def test_an_empty_manifest_is_told_what_it_needs(system: Any) -> None:
    path = system.folder / "app.yaml"
    path.touch()
    assert refused(system, str(path)).startswith(
        f"error: {path}: nothing is defined here; a manifest needs the key workloads"
    )


def test_a_file_that_is_not_there_is_named(system: Any) -> None:
    assert str(system.folder / "nothing.yaml") in refused(system, str(system.folder / "nothing.yaml"))


def test_what_is_larger_than_any_node_is_unschedulable_and_the_rest_is_not_run(system: Any) -> None:
    huge = {"name": "main", "command": ["true"], "resources": {"memory": "900Ti"}}
    fits = {"name": "main", "command": ["touch", str(system.folder / "ran")]}
    path = system.manifest({"huge": {"containers": [huge]}, "fits": {"kind": "batch", "containers": [fits]}})
    done = system.run("up", path)
    assert done.returncode == 7
    assert "huge" in done.stderr
    assert "memory" in done.stderr
    assert "next:" in done.stderr, done.stderr
    assert not (system.folder / "ran").exists()
    assert not system.state.exists()
