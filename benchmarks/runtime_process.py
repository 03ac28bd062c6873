"""What the process runtime costs: shims, creating one by one and at once, taking up again, and idling."""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from orchestrion.runtime_interface import CreateOptions
from orchestrion.runtime_process import ProcessRuntime, open_runtime
from orchestrion.runtime_process._launch import interpreter
from orchestrion.runtime_process._record import read_head
from orchestrion.runtime_process._state_dir import open_state_directory
from orchestrion.shared_types import ContainerConfig, InstanceKey, NodeId, Uid, new_uid

NAME = "runtime_process"
NODE = NodeId("bench")
SLEEPS = ContainerConfig(name="main", command=("sleep", "100000"))

Row = dict[str, Any]


def row(name: str, samples: list[float], unit: str, reach: str, value: float | None = None) -> Row:
    """Return a row of the table; the value is the median unless another is given."""
    ordered = sorted(samples)
    return {
        "name": name,
        "value": ordered[len(ordered) // 2] if value is None else value,
        "unit": unit,
        "reach": reach,
        "min": ordered[0],
        "max": ordered[-1],
        "runs": len(ordered),
    }


def percentile(samples: list[float], share: float) -> float:
    """Return the smallest sample that `share` of the samples do not exceed."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@asynccontextmanager
async def emptied(state_dir: Path) -> AsyncIterator[ProcessRuntime]:
    """Open a runtime whose containers are removed at the end."""
    async with open_runtime(state_dir) as runtime:
        await runtime.init_node(NODE)
        yield runtime
        async with trio.open_nursery() as nursery:
            for summary in await runtime.list_containers(NODE):
                nursery.start_soon(runtime.remove_container, summary.container_id)


def slots(workload: Uid) -> Callable[[int], CreateOptions]:
    """Return what makes the options of a slot of a workload."""
    return lambda index: CreateOptions(node_id=NODE, instance=InstanceKey(workload, index, 1))


def resident_megabytes(pid: int) -> float:
    """Return the resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def one_by_one(directory: Path, count: int) -> list[Row]:
    """Measure creation one by one, and the memory of the shims that come of it."""
    options = slots(new_uid())
    create: list[float] = []
    memory: list[float] = []
    async with emptied(directory) as runtime:
        for index in range(count):
            began = time.perf_counter()
            container_id = await runtime.create_container(SLEEPS, options(index))
            create.append((time.perf_counter() - began) * 1e3)
            shim = read_head(directory / "containers" / container_id).shim
            if shim is not None:
                memory.append(resident_megabytes(shim.pid))
    return [
        row("shim: resident memory", memory, "MB", "<= 12", max(memory)),
        row(f"create to running, {count} one by one, p50", create, "ms", "", percentile(create, 0.5)),
        row(f"create to running, {count} one by one, p99", create, "ms", "<= 50", percentile(create, 0.99)),
    ]


def shim_start(directory: Path, count: int) -> list[Row]:
    """Measure from starting a shim's interpreter to its first statement that could fail, and to its end."""
    state = open_state_directory(directory, lambda: "bench")
    state.close()
    samples = []
    for _ in range(count):
        began = time.perf_counter()
        # Without the descriptor that tells it what to do it ends at its first read, after all its imports.
        subprocess.run(
            [interpreter(), "-S", "-E", "-I", str(state.shim), "bench"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        samples.append((time.perf_counter() - began) * 1e3)
    return [row("shim: start and end", samples, "ms", "<= 30")]


async def at_once(directory: Path, count: int, runs: int) -> list[Row]:
    """Measure creating many at once and removing them."""
    create: list[float] = []
    remove: list[float] = []
    async with emptied(directory) as runtime:
        for _ in range(runs):
            options = slots(new_uid())
            create.append(await timed(lambda options=options: create_all(runtime, options, count)))  # type: ignore[misc] # mypy can't infer a lambda with a default
            found = await runtime.list_containers(NODE)
            assert len(found) == count
            remove.append(await timed(lambda: remove_all(runtime)))
    return [
        row(f"create to running, {count} at once", create, "s", "<= 6"),
        row(f"remove {count} at once", remove, "s", ""),
    ]


async def timed(work: Callable[[], Awaitable[None]]) -> float:
    """Return how many seconds it took."""
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def create_all(runtime: ProcessRuntime, options: Callable[[int], CreateOptions], count: int) -> None:
    """Create containers at once."""
    async with trio.open_nursery() as nursery:
        for index in range(count):
            nursery.start_soon(runtime.create_container, SLEEPS, options(index))


async def remove_all(runtime: ProcessRuntime) -> None:
    """Remove all containers at once."""
    async with trio.open_nursery() as nursery:
        for summary in await runtime.list_containers(NODE):
            nursery.start_soon(runtime.remove_container, summary.container_id)


async def taken_up(directory: Path, count: int, runs: int) -> list[Row]:
    """Measure opening a runtime on many running containers, and what it uses while nothing happens."""
    async with open_runtime(directory) as runtime:
        await runtime.init_node(NODE)
        await create_all(runtime, slots(new_uid()), count)
    samples: list[float] = []
    for _ in range(runs):
        began = time.perf_counter()
        async with open_runtime(directory) as runtime:
            await runtime.init_node(NODE)
            samples.append(time.perf_counter() - began)
            assert len(await runtime.list_containers(NODE)) == count
    async with emptied(directory):
        before = resource.getrusage(resource.RUSAGE_SELF)
        began = time.perf_counter()
        await trio.sleep(2)
        after = resource.getrusage(resource.RUSAGE_SELF)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        idle = used / (time.perf_counter() - began) * 100
    return [
        row(f"take up {count} running", samples, "s", "<= 1"),
        row(f"idle with {count} running", [idle], "% of a core", "<= 1"),
    ]


async def measure(directory: Path, quick: bool) -> list[Row]:
    """Measure everything."""
    many, runs = (50, 1) if quick else (200, 3)
    rows = shim_start(directory / "start", 10 if quick else 50)
    rows += await one_by_one(directory / "one", 20 if quick else 100)
    rows += await at_once(directory / "many", many, runs)
    rows += await taken_up(directory / "again", many, runs)
    return rows


def main(argv: list[str]) -> None:
    """Measure, print a table and write JSON where that is wanted."""
    parser = argparse.ArgumentParser(prog=NAME, description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="fewer containers and runs")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as directory:
        rows = trio.run(measure, Path(directory), arguments.quick)
    width = max(len(str(one["name"])) for one in rows)
    for one in rows:
        spread = f"{one['min']:.2f} to {one['max']:.2f} in {one['runs']}"
        print(f"{one['name']:{width}}  {one['value']:9.2f} {one['unit']:12} {one['reach']:7} {spread}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
