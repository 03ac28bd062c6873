"""What the tests of the whole system share: the command in processes of its own, and what it leaves in the world."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

_HELPERS = Path(__file__).parents[2] / "packages" / "cli" / "tests" / "running_command.py"
"""The command's own tests run it in the same way; they are run alone too, and so the helpers are theirs."""


def _helpers() -> Any:
    spec = importlib.util.spec_from_file_location("running_command", _HELPERS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


running_command = _helpers()


class System:
    """A folder to run the command in, with a state directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.ups: list[Any] = []

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "ORCHESTRION_STATE": str(self.state), "NO_COLOR": "1"}

    def manifest(self, workloads: dict[str, Any], **more: Any) -> str:
        """Write a manifest."""
        path = self.folder / f"app-{'-'.join(workloads)[:40]}.json"
        path.write_text(json.dumps({"workloads": workloads, **more}))
        return str(path)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        done: subprocess.CompletedProcess[str] = running_command.run_to_end(
            *arguments, folder=self.folder, environment=self.environment
        )
        return done

    def up(self, *arguments: str) -> Any:
        """Start `up`."""
        self.ups.append(running_command.begin("up", *arguments, folder=self.folder, environment=self.environment))
        return self.ups[-1]

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something in the world is so, which nobody announces."""
        deadline = time.monotonic() + running_command.PATIENCE_SECONDS
        while not holds():
            if time.monotonic() > deadline:
                pytest.fail(f"not within {running_command.PATIENCE_SECONDS} s: {what}; {self.processes()}")
            time.sleep(0.01)

    def phase(self, workload: str) -> str:
        """Return the phase of a workload."""
        return str(self.reports()[workload]["workload"]["phase"])

    def reports(self) -> dict[str, Any]:
        """Return what `status` says, by workload."""
        done = self.run("status", "-o", "json")
        assert done.returncode == 0, done.stderr
        return {one["workload"]["definition"]["metadata"]["name"]: one for one in json.loads(done.stdout)}

    @property
    def owner(self) -> str:
        """The mark that everything of this state directory carries."""
        path = self.state / "runtime-process" / "owner.json"
        return str(json.loads(path.read_text())["owner"]) if path.exists() else ""

    def processes(self) -> dict[int, str]:
        """Return all processes within containers, and their shims, with their command lines; a zombie is none."""
        found: dict[int, str] = {}
        marks = [mark.encode() for mark in (self.owner, str(self.folder)) if mark]
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with suppress(OSError):
                line = (entry / "cmdline").read_bytes()
                if not any(mark in line + (entry / "environ").read_bytes() for mark in marks):
                    continue
                if (entry / "stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X"):
                    found[int(entry.name)] = line.replace(b"\0", b" ").decode(errors="replace")
        for up in self.ups:
            found.pop(up.process.pid, None)
        return found

    def cgroups(self) -> list[str]:
        """Return the control groups of containers of this state directory."""
        top = f"orchestrion-{self.owner}"
        return [
            f"{folder}/{name}"
            for folder, names, _ in os.walk("/sys/fs/cgroup")
            if folder.endswith(top)
            for name in names
        ]

    def leftovers(self) -> list[str]:
        """Return whatever is left in the world of what was removed."""
        runtime = self.state / "runtime-process"
        found = [f"process {pid}: {line}" for pid, line in self.processes().items()]
        found += [f"cgroup {path}" for path in self.cgroups()]
        for folder in ("containers", "new", "trash", "damaged"):
            found += [str(path) for path in (runtime / folder).glob("*")]
        found += [str(path) for path in (self.state / "volumes").rglob("*") if not path.is_dir()]
        return found

    def main_processes(self) -> dict[str, tuple[int, int]]:
        """Return pid and start time of the main process of each container that has one and has not ended."""
        return {name: slots["main"] for name, slots in self._slots().items() if "main" in slots and "exit" not in slots}

    def shims(self) -> dict[str, tuple[int, int]]:
        """Return pid and start time of the shim of each container that has not ended."""
        return {name: slots["shim"] for name, slots in self._slots().items() if "shim" in slots and "exit" not in slots}

    def _slots(self) -> dict[str, dict[str, tuple[int, int]]]:
        found = {}
        for record in self.state.glob("runtime-process/containers/*/record"):
            with suppress(OSError):
                head = record.read_bytes()[:4096]
                slots = {
                    name.decode(): (int(pid), int(start))
                    for name, pid, start in re.findall(rb"(shim|main) (\d+) (\d+) ", head)
                }
                if re.search(rb"\0exit ", head):
                    slots["exit"] = (0, 0)
                found[record.parent.name] = slots
        return found

    def clean(self) -> None:
        """End whatever a failed test has left."""
        for up in self.ups:
            up.kill()
        while found := self.processes():
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for path in self.cgroups():
            with suppress(OSError):
                Path(path).rmdir()


def shell(script: str, **more: Any) -> dict[str, Any]:
    """Return a container that runs a script, so small that any number fits this machine."""
    small = {"cpu": "1m", "memory": "1Mi"}
    return {"name": "main", "command": ["sh", "-c", script.replace("$", "$$")], "resources": small, **more}


@pytest.fixture
def container() -> Callable[..., dict[str, Any]]:
    """Makes a container that runs a script."""
    return shell


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """A folder to run the command in; whatever a failed test leaves is ended."""
    made = System(tmp_path)
    yield made
    made.clean()
