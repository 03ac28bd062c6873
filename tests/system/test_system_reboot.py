"""An orchestrator that comes up on a machine that was restarted meanwhile."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SLOT_BYTES = 512
OTHER_BOOT = "00000000-dead-4000-8000-000000000000"


def start_time(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def pretend_reboot(state: Path, pid: int) -> None:
    """Let the records speak of an earlier boot, in which the containers had the pid of another program."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    for record in state.glob("runtime-process/containers/*/record"):
        data = record.read_bytes()
        head, body = data[:4096], data[4096:]
        slots = [head[at : at + SLOT_BYTES].rstrip(b"\0").decode() for at in range(0, 4096, SLOT_BYTES)]
        slots = [
            re.sub(r"^(shim|main) \d+ \d+ ", rf"\1 {pid} {start_time(pid)} ", slot).replace(boot, OTHER_BOOT)
            for slot in slots
        ]
        changed = b"".join(slot.encode().ljust(SLOT_BYTES, b"\0") for slot in slots)
        record.write_bytes(changed + body.replace(boot.encode(), OTHER_BOOT.encode()))


def test_after_a_reboot_services_start_again_and_batch_work_is_tried_again(
    system: Any, container: Callable[..., dict[str, Any]]
) -> None:
    starts = system.folder / "starts"
    begin = f"echo $ORCHESTRION_WORKLOAD $ORCHESTRION_EPOCH $ORCHESTRION_ATTEMPT >> {starts}; "
    second = "[ $ORCHESTRION_EPOCH = 2 ] || exec sleep 100000"
    path = system.manifest(
        {
            "web": {"containers": [container(begin + "exec sleep 100000")], "restart": {"initial_delay": "50ms"}},
            "job": {"kind": "batch", "retries": 1, "containers": [container(begin + second)]},
        }
    )
    up = system.up(path)
    up.wait_for("web: Healthy")
    system.until(lambda: len(system.main_processes()) == 2, "both containers run")
    up.process.kill()
    up.end()
    for pid, _ in (*system.shims().values(), *system.main_processes().values()):
        os.kill(pid, signal.SIGKILL)
    system.until(lambda: not system.processes(), "nothing runs")
    with subprocess.Popen(["sleep", "100000"]) as bystander:
        pretend_reboot(system.state, bystander.pid)
        again = system.up(path)
        again.wait_for("job: Succeeded")
        system.until(lambda: system.phase("web") == "Healthy", "the service runs again")
        assert bystander.poll() is None
        bystander.kill()
    assert sorted(starts.read_text().splitlines()) == ["job 1 0", "job 2 0", "web 1 0", "web 1 1"]
    (instance,) = system.reports()["web"]["instances"]
    assert instance["status"]["containers"][0]["attempt"] == 1
    first = next(one for one in system.reports()["job"]["instances"] if one["key"]["epoch"] == 1)
    assert first["status"]["containers"][0]["exit"]["reason"] == "node-rebooted"
    assert "node-rebooted" in system.run("events").stdout
    assert system.run("rm", "--yes", "web", "job").returncode == 0
    assert again.end() == 0
    assert system.leftovers() == []
