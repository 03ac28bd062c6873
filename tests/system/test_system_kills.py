"""Containers, their shims and the orchestrator killed at random moments under load: nothing lost, nothing twice."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("ORCHESTRION_CRASH_SEED", "11"))
KILLS = int(os.environ.get("ORCHESTRION_CRASH_KILLS", "100"))
JOBS = 240
REPLICAS = 3

# The lock is inherited by all that the container starts, so it is free once all of that is dead.
BEGIN = """
me=$ORCHESTRION_WORKLOAD.$ORCHESTRION_INDEX; all=$me.$ORCHESTRION_EPOCH.$ORCHESTRION_ATTEMPT
exec 9>@/locks/$me; flock -n 9 || echo $all >> @/doubles
echo $all >> @/starts
"""
SERVES = BEGIN + "exec sleep 100000"
# Every seventh index fails at first; all others succeed unless they are killed.
WORKS = (
    BEGIN
    + """
sleep 0.$((ORCHESTRION_INDEX % 7 + 2))
code=0; [ $((ORCHESTRION_INDEX % 7)) = 3 ] && [ $ORCHESTRION_EPOCH = 1 ] && code=$((ORCHESTRION_INDEX % 100 + 20))
echo $all $code >> @/ends
exit $code
"""
)


def application(system: Any, container: Callable[..., dict[str, Any]]) -> str:
    (system.folder / "locks").mkdir()
    for name in ("starts", "doubles", "ends"):
        (system.folder / name).touch()
    at = str(system.folder)
    return str(
        system.manifest(
            {
                "web": {
                    "kind": "service",
                    "replicas": REPLICAS,
                    "containers": [container(SERVES.replace("@", at), ports={"http": {}}, stop_grace="1s")],
                    "restart": {"initial_delay": "50ms", "max_delay": "200ms"},
                },
                "jobs": {
                    "kind": "batch",
                    "completions": JOBS,
                    "parallelism": 6,
                    "retries": 1000,
                    "containers": [container(WORKS.replace("@", at))],
                    "restart": {"initial_delay": "50ms", "max_delay": "200ms"},
                    "retention": {"terminal_instances": 100000},
                },
            }
        )
    )


def kill(process: tuple[int, int]) -> bool:
    """Kill a process that is still the one that was meant."""
    pid, started = process
    with suppress(OSError):
        descriptor = os.pidfd_open(pid)
        try:
            if int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]) != started:
                return False
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            return True
        finally:
            os.close(descriptor)
    return False


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_a_hundred_kills_lose_nothing_and_run_nothing_twice(
    system: Any, container: Callable[..., dict[str, Any]]
) -> None:
    chance = random.Random(SEED)
    path = application(system, container)
    killed: set[str] = set()
    lost: set[str] = set()
    up = system.up(path, "--logs", "none")
    for number in range(KILLS):
        time.sleep(chance.uniform(0.0, 0.4 if number % 3 else 1.6))
        if number % 3 == 0:
            up.process.kill()
            up.end()
            up = system.up(path, "--logs", "none")
            continue
        victims = system.shims() if number % 3 == 1 else system.main_processes()
        if victims:
            name = chance.choice(sorted(victims))
            if kill(victims[name]):
                (lost if number % 3 == 1 else killed).add(name)
    up.wait_for(f"jobs: Succeeded ({JOBS}/{JOBS} done)")
    system.until(lambda: system.phase("web") == "Healthy", "the service runs again")
    reports = system.reports()
    context = f"seed {SEED}, {KILLS} kills"

    assert lines(system.folder / "doubles") == [], f"two of the same at once: {context}"
    starts = Counter(lines(system.folder / "starts"))
    assert [one for one, count in starts.items() if count > 1] == [], f"run twice: {context}"

    jobs = {
        ".".join(map(str, ("jobs", one["key"]["index"], one["key"]["epoch"], 0))): one["status"]
        for one in reports["jobs"]["instances"]
    }
    succeeded = Counter(name.split(".")[1] for name, status in jobs.items() if status["state"] == "Succeeded")
    assert succeeded == Counter({str(index): 1 for index in range(JOBS)}), f"completed not once: {context}"
    assert starts.keys() <= jobs.keys() | {one for one in starts if one.startswith("web.")}

    for name, status in jobs.items():
        (ended,) = status["containers"]
        container_id = ended["container_id"]
        how = ended["exit"]
        if how.get("reason") == "shim-lost":
            assert container_id in lost, f"{name} lost its shim, which nobody killed: {context}"
        elif how.get("signal") is not None:
            assert (container_id in killed, how["signal"]) == (True, signal.SIGKILL), f"{name}: {how}; {context}"
        else:
            assert how.get("code") is not None, f"{name} has no exit code: {how}; {context}"
    for line in lines(system.folder / "ends"):
        name, code = line.split()
        (ended,) = jobs[name]["containers"]
        if ended["container_id"] not in killed | lost:
            assert ended["exit"]["code"] == int(code), f"the exit code of {name} was lost: {ended}; {context}"

    ports = {
        port
        for one in reports["web"]["instances"]
        for ended in one["status"]["containers"]
        for port in ended.get("ports", {}).values()
    }
    assert len(ports) == REPLICAS
    removed = system.run("rm", "--yes", "web", "jobs")
    assert removed.returncode == 0, removed.stderr
    assert up.end() == 0, up.err[-5:]
    assert system.leftovers() == []
    assert json.loads(system.run("status", "-o", "json").stdout) == []
