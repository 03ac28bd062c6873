"""What the whole costs: the command from its start to a running container, processes by the hundred, and idling.

Each figure is a wall time under whatever load the machine has, so those of the command come with its processor time.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import trio
from orchestrion.cluster_local import open_cluster
from orchestrion.control_plane import Control, HttpControl
from orchestrion.orchestrator_core import DirectoryVolumes, Orchestrator, UpdateKind
from orchestrion.runtime_process import open_runtime
from orchestrion.scheduler_interface import SimpleScheduler
from orchestrion.shared_types import InstanceState
from orchestrion.shared_types.manifest import parse_manifest
from orchestrion.store_sqlite import open_store

NAME = "system"
COMMAND = (sys.executable, "-m", "orchestrion.cli")
PATIENCE_SECONDS = 120.0
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""What the commands run in: a warm environment has its bytecode, and the variable would keep it from being written."""

Row = dict[str, Any]


def row(name: str, samples: Sequence[float], unit: str, reach: str, value: float | None = None) -> Row:
    """Return a row of the table; the value is the median unless another is given."""
    return {
        "name": name,
        "value": statistics.median(samples) if value is None else value,
        "unit": unit,
        "reach": reach,
        "min": min(samples),
        "max": max(samples),
        "runs": len(samples),
    }


def service(name: str, replicas: int = 1) -> str:
    """Return a manifest of a service that sleeps, so small that any number fits this machine."""
    container = {"name": "main", "command": ["sleep", "100000"], "resources": {"cpu": "1m", "memory": "1Mi"}}
    return json.dumps({"workloads": {name: {"kind": "service", "replicas": replicas, "containers": [container]}}})


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def processes_of(state: Path) -> dict[int, int]:
    """Return the main processes of a state directory's containers: pid and start time."""
    found = {}
    for record in state.glob("runtime-process/containers/*/record"):
        slot = re.search(rb"main (\d+) (\d+) ", record.read_bytes()[:4096])
        if slot is None:
            continue
        pid, started = int(slot[1]), int(slot[2])
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] not in "ZX" and int(fields[19]) == started:
            found[pid] = started
    return found


@contextmanager
def up(folder: Path, state: Path, manifest: str) -> Iterator[subprocess.Popen[str]]:
    """Run `up`; at the end it is killed if it still runs."""
    file = folder / "app.json"
    file.write_text(manifest)
    with subprocess.Popen(
        [*COMMAND, "up", str(file), "--state", str(state)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], holds: Callable[[str], bool]) -> None:
    """Read what the command tells until a line is as wanted."""
    assert process.stderr is not None
    told = []
    for line in process.stderr:
        told.append(line)
        if holds(line):
            return
    raise AssertionError(f"it ended first: {''.join(told)}")


def interrupt(process: subprocess.Popen[str]) -> None:
    """Let the command stop all, and wait for its end."""
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_SECONDS)


def helps(folder: Path, runs: int) -> list[Row]:
    """Measure the overview of the commands, and the help of one."""
    rows = []
    for arguments in (["--help"], ["up", "--help"]):
        samples = []
        for _ in range(runs):
            began = time.perf_counter()
            subprocess.run([*COMMAND, *arguments], check=True, stdout=subprocess.DEVNULL, cwd=folder, env=ENVIRONMENT)
            samples.append((time.perf_counter() - began) * 1e3)
        rows.append(row(" ".join(arguments), samples, "ms", "< 300"))
    return rows


def first_container(folder: Path, runs: int) -> list[Row]:
    """Measure `up` of one container, from the start of the command to the line that says Running."""
    wall, processor = [], []
    for number in range(runs + 1):
        began = time.perf_counter()
        with up(folder, folder / f"first{number}", service("one")) as process:
            read_until(process, lambda line: re.match(r"one\.0\S*: Running", line) is not None)
            took, used = time.perf_counter() - began, processor_seconds(process.pid)
            interrupt(process)
        if number:  # the first one warms the caches
            wall.append(took * 1e3)
            processor.append(used * 1e3)
    return [
        row("up of one container: start to Running", wall, "ms", "<= 600"),
        row("up of one container: processor time", processor, "ms", ""),
    ]


@asynccontextmanager
async def orchestrator(state: Path) -> AsyncIterator[Orchestrator]:
    """Run an orchestrator in this process, on a state directory as the command makes it."""
    async with (
        open_store(state / "store-sqlite") as store,
        open_cluster(state / "cluster-local") as cluster,
        open_runtime(state / "runtime-process") as runtime,
        trio.open_nursery() as nursery,
    ):
        volumes = DirectoryVolumes(state / "volumes")
        made = Orchestrator(runtime, cluster, SimpleScheduler(), store, volumes=volumes, refuse_impossible=True)
        await nursery.start(made.run)
        yield made
        nursery.cancel_scope.cancel()


async def running(control: Control, count: int, workload: str | None = None) -> None:
    """Wait until instances run."""
    seen = set()
    with trio.fail_after(PATIENCE_SECONDS):
        async with control.watch() as updates:
            async for update in updates:
                instance = update.instance
                if (
                    update.kind is not UpdateKind.INSTANCE
                    or instance is None
                    or workload not in (None, instance.workload)
                ):
                    continue
                if instance.status.state is InstanceState.RUNNING:
                    seen.add(instance.name)
                if len(seen) == count:
                    return


async def remove_all(control: Orchestrator) -> None:
    """Remove all workloads, and wait until they and their containers are gone."""
    names = [view.definition.metadata.name for view in await control.list_workloads()]
    for name in names:
        await control.remove(name)
    with trio.fail_after(PATIENCE_SECONDS):
        async with control.watch() as updates:
            async for _ in updates:
                if not await control.list_workloads():
                    break
        await control.wait_cleared()


async def clear(state: Path) -> None:
    """Remove all that a state directory holds, which nobody owns any more."""
    async with orchestrator(state) as control:
        await remove_all(control)


@contextmanager
def cleared_folder() -> Iterator[Path]:
    """Give a folder for state directories; however a part ends, nothing of theirs runs on."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            yield folder
        finally:
            for state in [path.parent for path in folder.glob("*/store-sqlite")]:
                trio.run(clear, state)
                assert not processes_of(state), f"processes of {state} were left"


async def apply_each(control: Control, count: int) -> list[float]:
    """Apply services one by one; return the milliseconds from each call to its Running, as a watch tells it."""
    samples = []
    with trio.fail_after(PATIENCE_SECONDS):
        async with control.watch() as updates:
            for number in range(count):
                workloads = parse_manifest(service(f"w{number}")).workloads
                began = time.perf_counter()
                await control.apply(workloads)
                async for update in updates:
                    instance = update.instance
                    if instance is None or instance.workload != f"w{number}":
                        continue
                    if instance.status.state is InstanceState.RUNNING:
                        break
                samples.append((time.perf_counter() - began) * 1e3)
    return samples


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that at least `share` of the samples do not exceed."""
    return sorted(samples)[math.ceil(share * len(samples)) - 1]


def apply_rows(how: str, samples: Sequence[float]) -> list[Row]:
    """Return the rows of services applied one by one."""
    return [
        row(f"apply to Running, {how}, p{share}", samples, "ms", reach, percentile(samples, share / 100))
        for share, reach in ((50, ""), (99, "<= 50"))
    ]


async def one_by_one(folder: Path, count: int) -> list[Row]:
    """Measure apply to Running in this process."""
    async with orchestrator(folder / "apply") as control:
        samples = await apply_each(control, count)
        await remove_all(control)
    return apply_rows(f"{count} one by one in process", samples)


def over_socket(folder: Path, count: int) -> list[Row]:
    """Measure apply to Running through the socket of `up`."""
    state = folder / "socket"

    async def measure() -> list[float]:
        control = HttpControl(state / "control.sock")
        await control.list_workloads()  # the first client waits for the server's imports
        return await apply_each(control, count)

    with up(folder, state, service("one")) as process:
        read_until(process, lambda line: re.match(r"one\.0\S*: Running", line) is not None)
        samples = trio.run(measure)
        interrupt(process)
    return apply_rows(f"{count} one by one by the socket", samples)


async def at_once(folder: Path, count: int, runs: int) -> list[Row]:
    """Measure many processes at once, and their removal."""
    started, removed = [], []
    async with orchestrator(folder / "many") as control:
        for number in range(runs):
            workloads = parse_manifest(service(f"many{number}", count)).workloads
            began = time.perf_counter()
            await control.apply(workloads)
            await running(control, count)
            started.append(time.perf_counter() - began)
            assert len(processes_of(folder / "many")) == count, "processes were lost"
            began = time.perf_counter()
            await remove_all(control)
            removed.append(time.perf_counter() - began)
            assert not processes_of(folder / "many"), "processes were left"
    return [
        row(f"{count} processes at once", started, "s", "<= 6"),
        row(f"removal of {count} processes", removed, "s", ""),
    ]


async def take_up(state: Path, count: int) -> float:
    """Return the seconds until an orchestrator is at work again on what runs, and says so of every instance."""
    began = time.perf_counter()
    async with orchestrator(state) as control:
        await running(control, count)
        return time.perf_counter() - began


def store_writes(state: Path) -> dict[str, int]:
    """Return when each file of the store was written to last; shared memory is none of the disk."""
    files = (state / "store-sqlite").iterdir()
    return {file.name: file.stat().st_mtime_ns for file in files if not file.name.endswith("-shm")}


def adoption_and_idling(folder: Path, count: int, runs: int, idle_seconds: float) -> list[Row]:
    """Measure taking up many processes after the owner was killed, and then doing nothing."""
    state, manifest = folder / "again", service("many", count)
    ready = re.compile(rf"many: \w+ \({count}/{count} up\)")
    taken, command, processor, idle, writes = [], [], [], [], 0
    with up(folder, state, manifest) as process:
        read_until(process, lambda line: ready.match(line) is not None)
    before = processes_of(state)
    assert len(before) == count
    for _ in range(runs):
        taken.append(trio.run(take_up, state, count))
        began = time.perf_counter()
        with up(folder, state, manifest) as process:
            read_until(process, lambda line: ready.match(line) is not None)
            command.append((time.perf_counter() - began) * 1e3)
            processor.append(processor_seconds(process.pid) * 1e3)
    assert processes_of(state) == before, "a process was started twice, or lost"
    with up(folder, state, manifest) as process:
        read_until(process, lambda line: ready.match(line) is not None)
        time.sleep(15)  # the server comes up later than what it serves, and leases of the one before run out
        files, used, began = store_writes(state), processor_seconds(process.pid), time.perf_counter()
        time.sleep(idle_seconds)
        idle.append(100 * (processor_seconds(process.pid) - used) / (time.perf_counter() - began))
        writes = sum(files.get(name) != at for name, at in store_writes(state).items())
        interrupt(process)
    assert not processes_of(state), "processes were left"
    return [
        row(f"re-adoption of {count} after kill -9", taken, "s", "<= 1"),
        row(f"up on {count} running: start to all Running", command, "ms", ""),
        row(f"up on {count} running: processor time", processor, "ms", ""),
        row(f"idle with {count} instances, {idle_seconds:.0f} s", idle, "% of a core", "<= 1"),
        row(f"files of the store written in {idle_seconds:.0f} s of idling", [writes], "files", "0"),
    ]


def main(argv: list[str] | None = None) -> None:
    """Measure, print a table and write JSON where that is wanted."""
    parser = argparse.ArgumentParser(prog=NAME, description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="fewer containers and runs")
    parser.add_argument("--only", default="", help="a part alone: help, up, apply, socket, many or again")
    arguments = parser.parse_args(argv)
    count, many, runs, idle = (20, 50, 1, 5.0) if arguments.quick else (100, 200, 3, 30.0)
    parts: dict[str, Callable[[Path], list[Row]]] = {
        "help": lambda folder: helps(folder, 10),
        "up": lambda folder: first_container(folder, 3 if arguments.quick else 9),
        "apply": lambda folder: trio.run(one_by_one, folder, count),
        "socket": lambda folder: over_socket(folder, count),
        "many": lambda folder: trio.run(at_once, folder, many, runs),
        "again": lambda folder: adoption_and_idling(folder, many, runs, idle),
    }
    rows: list[Row] = []
    print(f"load: {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores", flush=True)
    for name, part in parts.items():
        if arguments.only in ("", name):
            with cleared_folder() as folder:
                rows += part(folder)
    print(f"{NAME:<52} {'value':>10} {'min':>10} {'max':>10}  {'unit':<12} reach")
    for one in rows:
        figures = f"{one['value']:>10,.2f} {one['min']:>10,.2f} {one['max']:>10,.2f}"
        print(f"{one['name']:<52} {figures}  {one['unit']:<12} {one['reach']}")
    print(f"load: {os.getloadavg()[0]:.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
