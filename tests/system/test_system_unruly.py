"""Containers that behave badly, through the command: what is recorded, what is kept, and that nothing stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

GIGABYTE = 2**30
Container = Callable[..., dict[str, Any]]


def exit_of(system: Any, workload: str) -> dict[str, Any]:
    """Return how the container of a workload's only instance has ended."""
    (instance,) = system.reports()[workload]["instances"]
    (ended,) = instance["status"]["containers"]
    assert ended["state"] == "Exited"
    return {name: value for name, value in ended["exit"].items() if value}


def test_a_container_that_ignores_sigterm_is_killed_after_its_grace(system: Any, container: Container) -> None:
    deaf = container("trap '' TERM; echo deaf; while :; do sleep 0.05; done", stop_grace="500ms")
    up = system.up(system.manifest({"deaf": {"containers": [deaf]}}), "--logs", "all")
    up.wait_for("deaf.0 | deaf")
    stopped = system.run("stop", "deaf")
    assert stopped.returncode == 0, stopped.stderr
    assert up.end() == 0
    assert exit_of(system, "deaf") == {"signal": 9}
    assert "ended by SIGKILL" in system.run("status", "deaf").stdout
    assert system.processes() == {}


@pytest.mark.parametrize("code", [0, 3])
def test_what_has_escaped_from_its_session_ends_with_its_container(
    system: Any, container: Container, code: int
) -> None:
    pids = system.folder / "pids"
    escape = f"setsid sh -c 'setsid sh -c \"echo \\$\\$ >> {pids}; exec sleep 100000\" & exec sleep 100000' &"
    job = container(f"{escape} while [ ! -s {pids} ]; do sleep 0.02; done; exit {code}")
    done = system.run("up", system.manifest({"job": {"kind": "batch", "containers": [job]}}))
    assert done.returncode == (1 if code else 0), done.stderr
    (instance,) = system.reports()["job"]["instances"]
    assert instance["status"]["containers"][0]["exit"]["code"] == code
    assert not Path(f"/proc/{int(pids.read_text())}").exists()
    assert system.processes() == {}


def test_of_a_gigabyte_of_output_the_end_is_kept_and_the_rest_is_counted(system: Any, container: Container) -> None:
    line = "x" * 63
    prints = container(f"yes {line} | head -c {GIGABYTE}; echo the end >&2")
    done = system.run("up", system.manifest({"big": {"kind": "batch", "containers": [prints]}}), "--logs", "none")
    assert done.returncode == 0, done.stderr
    kept = sum(path.stat().st_size for path in system.state.rglob("*.log"))
    assert kept < 64 * 2**20
    logs = system.run("logs", "big")
    assert logs.returncode == 0, logs.stderr
    assert "big.0 | the end" in logs.stderr
    lines = logs.stdout.splitlines()
    gaps = [int(text.split()[3]) for text in lines if "bytes are no longer kept" in text]
    assert len(gaps) == 1
    shown = sum(len(text) - len("big.0 | ") + 1 for text in lines if "bytes are no longer kept" not in text)
    assert GIGABYTE - 64 < gaps[0] + shown < GIGABYTE + 64
    assert system.reports()["big"]["workload"]["phase"] == "Succeeded"


def test_containers_that_end_before_anybody_looks_have_their_exit_codes_and_output(
    system: Any, container: Container
) -> None:
    workloads = {
        f"quick{code}": {"kind": "batch", "containers": [container(f"echo said {code}; exit {code}")]}
        for code in (0, 7, 255)
    }
    done = system.run("up", system.manifest(workloads))
    assert done.returncode == 1
    assert sorted(done.stdout.splitlines()) == [f"quick{code}.0 | said {code}" for code in (0, 255, 7)]
    assert exit_of(system, "quick7") == {"code": 7}
    assert exit_of(system, "quick255") == {"code": 255}
    assert system.reports()["quick0"]["workload"]["phase"] == "Succeeded"
    assert system.run("logs", "quick255").stdout == "quick255.0 | said 255\n"


def test_a_program_that_is_not_there_is_told(system: Any) -> None:
    missing = {"name": "main", "command": ["no-such-program"]}
    done = system.run("up", system.manifest({"job": {"kind": "batch", "containers": [missing]}}))
    assert done.returncode == 1
    assert "no-such-program" in done.stderr
    assert exit_of(system, "job")["reason"] == "start-failed"
