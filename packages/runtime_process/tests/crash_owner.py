"""A program that owns a process runtime and is made to be killed: run by the crash tests, not by pytest.

It forks a worker for each line that it reads and prints its pid; the worker runs containers until it is killed.
Forking spares the start of an interpreter for each of a hundred kills.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import trio
from orchestrion.runtime_interface import CreateOptions, RuntimeUnavailable
from orchestrion.runtime_process import ProcessRuntime, open_runtime
from orchestrion.shared_types import ContainerConfig, InstanceKey, NodeId, Uid

NODE = NodeId("node-1")
WORKLOAD = Uid("01890000-0000-7000-8000-000000000001")


def options(index: int) -> CreateOptions:
    """Return the options of a slot."""
    return CreateOptions(node_id=NODE, instance=InstanceKey(WORKLOAD, index, 1))


def exit_code(index: int) -> int | None:
    """Return how a slot's container ends by itself, or None if it does not."""
    return None if index % 4 == 0 else index % 100


def config(index: int, starts: Path) -> ContainerConfig:
    """Return the config of a slot: it notes its start, and half of those that end take their time."""
    code = exit_code(index)
    wait = "sleep 0.2; " if index % 4 == 1 else ""
    end = "exec sleep 100000" if code is None else f"{wait}exit {code}"
    return ContainerConfig(name="main", command=("sh", "-c", f"echo >> {starts}/{index}; {end}"))


async def work(state_dir: Path, starts: Path, first: int, seed: int) -> None:
    """Create containers, some again, a few at a time, for ever."""
    chance = random.Random(seed)
    async with open_runtime(state_dir) as runtime:
        await runtime.init_node(NODE)
        indexes = list(range(first, first + 40))
        chance.shuffle(indexes)
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(create_each, runtime, starts, indexes)
        await trio.sleep_forever()


async def create_each(runtime: ProcessRuntime, starts: Path, indexes: list[int]) -> None:
    """Create what is left to create."""
    while indexes:
        index = indexes.pop()
        try:
            await runtime.create_container(config(index, starts), options(index))
        except RuntimeUnavailable:
            indexes.insert(0, index)


def main(state_dir: Path, starts: Path) -> None:
    """Fork a worker for each "FIRST SEED" on standard input."""
    for line in sys.stdin:
        first, seed = map(int, line.split())
        pid = os.fork()
        if pid == 0:
            trio.run(work, state_dir, starts, first, seed)
        print(pid, flush=True)
        os.waitpid(pid, 0)
        print("ended", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
