"""How fast the core is by itself: both loops with mocks, the store in memory and the cursor scheduler.

The filling is measured with the default scheduler of the command as well.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
import trio.testing
from attrs import asdict, evolve, frozen
from orchestrion.mocks import (
    ClusterWorld,
    ContainerWorld,
    CursorScheduler,
    MemoryStore,
    MockClusterManager,
    MockRuntime,
    mock_nodes,
)
from orchestrion.orchestrator_core import Orchestrator, PortTable, Timings
from orchestrion.orchestrator_core._state.records import InstanceName
from orchestrion.orchestrator_core._state.world import InstanceRecord, World
from orchestrion.scheduler_interface import Scheduler
from orchestrion.scheduler_packing import PackingScheduler
from orchestrion.shared_types import (
    ContainerConfig,
    ExitStatus,
    InstanceState,
    Metadata,
    Resources,
    RestartPolicy,
    UpdateStrategy,
    WorkloadDefinition,
)

NAME = "orchestrator_core"
RUNS = 3
NODES = 5_000
INSTANCES = 150_000
PER_WORKLOAD = 500
CHANGES = 200
IDLE_INSTANCES = 200
IDLE_SECONDS = 10.0

TIMINGS = Timings(lease=600.0, skew=2.0, period=100_000.0)
"""Periods beyond the measurement: a pass is measured by itself."""

COLLECTIONS = (100_000, 50, 1_000)
"""What a program with millions of long-lived objects sets: the default walks all of them again and again."""


@frozen
class Row:
    """One figure: the median of `runs` runs, and the least and the most of them; `reach` is what it is meant to be."""

    name: str
    value: float
    unit: str
    reach: str
    min: float
    max: float
    runs: int


def workload(name: str, replicas: int) -> WorkloadDefinition:
    config = ContainerConfig(
        name="main", command=("run",), resources=Resources(cpu_millicores=100, memory_bytes=64 * 2**20)
    )
    return WorkloadDefinition(
        metadata=Metadata(name=name),
        containers=(config,),
        replicas=replicas,
        restart=RestartPolicy(initial_delay_seconds=0, jitter=0),
        update=UpdateStrategy(progress_deadline_seconds=100_000),
    )


@asynccontextmanager
async def orchestrator(
    nodes: int, timings: Timings, scheduler: Scheduler | None = None
) -> AsyncIterator[tuple[Orchestrator, ContainerWorld, MemoryStore]]:
    """Yield an orchestrator at work, and what it acts on."""
    containers, store = ContainerWorld(), MemoryStore()
    made = Orchestrator(
        MockRuntime(containers),
        MockClusterManager(ClusterWorld(mock_nodes(nodes))),
        scheduler or CursorScheduler(),
        store,
        ports=lambda: PortTable(probe=lambda _protocol, _port: True),
        timings=timings,
        now=containers.now,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        yield made, containers, store
        nursery.cancel_scope.cancel()


class Lookout:
    """Sees which instances run, and waits for them."""

    def __init__(self, world: World) -> None:
        self._running = set[InstanceName]()
        self._enough: tuple[int, trio.Event] | None = None
        self._attempt: tuple[InstanceName, int, trio.Event] | None = None
        world.on_instance(self._note)

    def _note(self, name: InstanceName, record: InstanceRecord) -> None:
        if record.state is InstanceState.RUNNING:
            self._running.add(name)
        else:
            self._running.discard(name)
        if self._enough is not None and len(self._running) >= self._enough[0]:
            self._enough[1].set()
        if self._attempt is not None and self._attempt[0] == name and record.status.healthy_since is not None:
            _, attempt, reached = self._attempt
            if record.status.containers[0].attempt >= attempt:
                reached.set()

    async def wait_for(self, count: int) -> None:
        """Wait until so many instances run."""
        if len(self._running) < count:
            self._enough = count, trio.Event()
            await self._enough[1].wait()

    async def wait_for_attempt(self, name: InstanceName, attempt: int) -> None:
        """Wait until an instance's container runs at an attempt."""
        self._attempt = name, attempt, trio.Event()
        await self._attempt[2].wait()


async def fill(
    made: Orchestrator, lookout: Lookout, definitions: list[WorkloadDefinition], suffix: str = ""
) -> dict[str, float]:
    """Fill an empty cluster, and return how fast that was."""
    began, cpu = time.perf_counter(), time.process_time()
    for start in range(0, len(definitions), 40):
        await made.apply(definitions[start : start + 40])
    instances = PER_WORKLOAD * len(definitions)
    await lookout.wait_for(instances)
    return {
        f"from empty{suffix}": instances / (time.perf_counter() - began),
        f"from empty{suffix}, CPU time": instances / (time.process_time() - cpu),
    }


async def packed_world(nodes: int, instances: int) -> dict[str, float]:
    """Fill an empty cluster with the default scheduler of the command."""
    gc.set_threshold(*COLLECTIONS)
    async with orchestrator(nodes, TIMINGS, PackingScheduler()) as (made, containers, _):
        lookout = Lookout(made.world)
        definitions = [workload(f"w{n}", PER_WORKLOAD) for n in range(instances // PER_WORKLOAD)]
        values = await fill(made, lookout, definitions, ", packed tightly")
        assert len(containers.live_incarnations()) == instances
        return values


async def large_world(nodes: int, instances: int) -> dict[str, float]:
    """Fill an empty cluster, change it many times, and pass over it when nothing changes."""
    values = dict[str, float]()
    gc.set_threshold(*COLLECTIONS)
    async with orchestrator(nodes, TIMINGS) as (made, containers, store):
        lookout = Lookout(made.world)
        count = instances // PER_WORKLOAD
        definitions = [workload(f"w{n}", PER_WORKLOAD) for n in range(count)]
        values.update(await fill(made, lookout, definitions))
        await settle(made)
        gc.collect()
        gc.freeze()

        restarts, scales = list[float](), list[float]()
        for n in range(CHANGES):
            began = time.perf_counter()
            await made.apply([evolve(definitions[n % count], replicas=PER_WORKLOAD + 1 + n // count)])
            await lookout.wait_for(instances + n + 1)
            scales.append(1000 * (time.perf_counter() - began))
            await settle(made)
        total = instances + CHANGES
        held = list(containers.containers)
        for n in range(CHANGES):
            victim = containers.container(held[n * len(held) // CHANGES])
            began = time.perf_counter()
            containers.exit(victim.container_id, ExitStatus(code=1))
            key = victim.options.instance
            name = InstanceName("default", victim.options.workload, key.index, key.epoch)
            await lookout.wait_for_attempt(name, victim.options.attempt + 1)
            restarts.append(1000 * (time.perf_counter() - began))
            await settle(made)
        values["apply of one more to Running, 99 of 100 within"] = statistics.quantiles(scales, n=100)[98]
        values["exit to Running again, 99 of 100 within"] = statistics.quantiles(restarts, n=100)[98]
        assert len(containers.live_incarnations()) == total

        before = store.state.revision
        began, cpu = time.perf_counter(), time.process_time()
        made.cluster_loop.pass_over_everything()
        for loop in made.node_loops.values():
            await loop.pass_over_everything()
        await settle(made)
        values["a full pass over the unchanged world"] = time.perf_counter() - began
        values["a full pass, CPU time"] = time.process_time() - cpu
        values["writes of a full pass"] = store.state.revision - before
    values["memory at most"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return values


async def settle(made: Orchestrator) -> None:
    """Wait until no loop has anything to do."""
    while True:
        await trio.testing.wait_all_tasks_blocked()
        if made.cluster_loop.idle and all(loop.idle for loop in made.node_loops.values()):
            return


async def idle() -> dict[str, float]:
    """Look on while nothing changes."""
    async with orchestrator(4, Timings()) as (made, _, store):
        lookout = Lookout(made.world)
        small = ContainerConfig(name="main", command=("run",))
        await made.apply([evolve(workload("web", IDLE_INSTANCES), containers=(small,))])
        await lookout.wait_for(IDLE_INSTANCES)
        await settle(made)
        await trio.sleep(0.5)
        before, cpu, began = store.state.revision, time.process_time(), time.perf_counter()
        await trio.sleep(IDLE_SECONDS)
        used = 100 * (time.process_time() - cpu) / (time.perf_counter() - began)
        return {"idle: writes": float(store.state.revision - before), "idle: share of a core": used}


WORLDS = ("large", "packed", "idle")

REACHES = {
    "from empty": ("instances/s", ">= 3750"),
    "from empty, CPU time": ("instances/s", ""),
    "from empty, packed tightly": ("instances/s", ">= 3750"),
    "from empty, packed tightly, CPU time": ("instances/s", ""),
    "apply of one more to Running, 99 of 100 within": ("ms", "<= 5"),
    "exit to Running again, 99 of 100 within": ("ms", "<= 5"),
    "a full pass over the unchanged world": ("s", "<= 1"),
    "a full pass, CPU time": ("s", ""),
    "writes of a full pass": ("writes", "0"),
    "memory at most": ("GiB", "<= 2"),
    "idle: writes": ("writes", "0"),
    "idle: share of a core": ("%", "<= 1"),
}


def once(which: str, scale: float) -> dict[str, float]:
    """Measure one world in this process."""
    if which == "idle":
        return trio.run(idle)
    instances = max(1, round(INSTANCES * scale / PER_WORKLOAD)) * PER_WORKLOAD
    return trio.run(packed_world if which == "packed" else large_world, max(1, round(NODES * scale)), instances)


def run(scale: float = 1.0, runs: int = RUNS) -> list[Row]:
    """Measure all worlds, each run in a process of its own, so that the memory is that of one."""
    found = dict[str, list[float]]()
    for which in WORLDS:
        for _ in range(runs):
            command = [sys.executable, __file__, "--once", which, "--scale", str(scale)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
            for name, value in json.loads(output).items():
                found.setdefault(name, []).append(value)
    return [
        Row(name, statistics.median(values), *REACHES[name], min(values), max(values), runs)
        for name, values in found.items()
    ]


def main(argv: list[str] | None = None) -> None:
    """Print a table; with --json, write the rows as well."""
    parser = argparse.ArgumentParser(prog=NAME, description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--runs", type=int, default=RUNS, help="how often each is measured")
    parser.add_argument("--scale", type=float, default=1.0, help="the share of the large world, for a quick look")
    parser.add_argument("--once", choices=WORLDS, help="measure in this process, and print it as JSON")
    arguments = parser.parse_args(argv)
    if arguments.once:
        print(json.dumps(once(arguments.once, arguments.scale)))
        return
    rows = run(arguments.scale, arguments.runs)
    print(f"{NAME:<48} {'median':>10} {'min':>10} {'max':>10}  {'unit':<12} reach")
    for row in rows:
        print(f"{row.name:<48} {row.value:>10,.2f} {row.min:>10,.2f} {row.max:>10,.2f}  {row.unit:<12} {row.reach}")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
