"""How fast the compiled scheduler decides: every decision committed, no node ever over-committed."""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from orchestrion.scheduler_interface import SchedulingRequest, demand_of
from orchestrion.scheduler_packing import PackingLedger, is_compiled
from orchestrion.shared_types import (
    ContainerConfig,
    InstanceKey,
    Metadata,
    Node,
    NodeId,
    Resources,
    Uid,
    WorkloadDefinition,
    WorkloadKind,
)

NAME = "scheduler"
RUNS = 5
MIB = 2**20
SIZES = (100, 1_000, 5_000, 100_000)

Row = dict[str, Any]


def forge_nodes(count: int) -> list[Node]:
    """The nodes of the Forge benchmark, with what is already taken of them left out of what is allocatable."""
    nodes = []
    for i in range(count):
        room = Resources(cpu_millicores=8000 - (i * 300) % 3000, memory_bytes=(32768 - (i * 1500) % 15000) * MIB)
        nodes.append(Node(id=NodeId(f"node-{i:06}"), name=f"node-{i:06}", capacity=room, allocatable=room))
    return nodes


def workload(number: int, cpu: int, memory: int) -> WorkloadDefinition:
    uid = Uid(f"01900000-0000-7000-8000-{number:012}")
    container = ContainerConfig(
        name="main", command=("true",), resources=Resources(cpu_millicores=cpu, memory_bytes=memory * MIB)
    )
    return WorkloadDefinition(
        metadata=Metadata(name=f"w{number}", uid=uid), kind=WorkloadKind.SERVICE, containers=(container,)
    )


def forge_workloads(count: int) -> list[WorkloadDefinition]:
    """The workloads of the Forge benchmark: 40 shapes."""
    return [workload(i, 100 + (i % 10) * 100, 256 + (i % 8) * 256) for i in range(count)]


def distinct_workloads(count: int, seed: int) -> list[WorkloadDefinition]:
    chance = random.Random(seed)
    return [workload(i, chance.randint(50, 1000), chance.randint(100, 2048)) for i in range(count)]


def assert_within(nodes: list[Node], held: Iterator[tuple[NodeId, Resources]]) -> None:
    cpu: Counter[NodeId] = Counter()
    memory: Counter[NodeId] = Counter()
    for node_id, demand in held:
        cpu[node_id] += demand.cpu_millicores
        memory[node_id] += demand.memory_bytes
    for node in nodes:
        assert cpu[node.id] <= node.allocatable.cpu_millicores, f"{node.id} is over-committed"
        assert memory[node.id] <= node.allocatable.memory_bytes, f"{node.id} is over-committed"


def batches_from_fresh_state(size: int) -> float:
    """Batches of the first 100 workloads, each placed on the same cluster as if it were the only one."""
    nodes, workloads = forge_nodes(size), forge_workloads(100)
    ledger = PackingLedger(nodes)
    requests = [SchedulingRequest(workload=each, slots=(InstanceKey(each.metadata.uid, 0, 1),)) for each in workloads]
    keys = [request.slots[0] for request in requests]
    ledger.release(keys) if ledger.place(requests).placed_count == 100 else None
    rounds = 300
    started = time.perf_counter()
    for _ in range(rounds):
        placements = ledger.place(requests)
        ledger.release(keys)
    took = time.perf_counter() - started
    assert_within(nodes, _held(requests, placements.node_ids))
    assert None not in placements.node_ids
    return rounds * 100 / took


def _held(requests: list[SchedulingRequest], ids: list[NodeId | None]) -> Iterator[tuple[NodeId, Resources]]:
    slots = ((request, slot) for request in requests for slot in request.slots)
    for (request, _), node_id in zip(slots, ids, strict=True):
        if node_id is not None:
            yield node_id, demand_of(request.workload)


def replicas(size: int) -> float:
    """As many replicas of one workload as half of the cluster holds, in requests of 1,000 or fewer."""
    nodes = forge_nodes(size)
    each = forge_workloads(2)[1]
    total = min(4 * size, 200_000)
    slots = tuple(InstanceKey(each.metadata.uid, index, 1) for index in range(total))
    requests = [SchedulingRequest(workload=each, slots=slots[at : at + 1000]) for at in range(0, total, 1000)]
    ledger = PackingLedger(nodes)
    started = time.perf_counter()
    placements = ledger.place(requests)
    took = time.perf_counter() - started
    assert_within(nodes, _held(requests, placements.node_ids))
    assert placements.placed_count == total
    return total / took


def stream(size: int, workloads: list[WorkloadDefinition]) -> float:
    """An endless stream in batches of 100, committed; what has been there longest leaves when the cluster is 90 % full.

    Releases are part of the time, and not counted as decisions.
    """
    nodes = forge_nodes(size)
    ledger = PackingLedger(nodes)
    capacity = sum(node.allocatable.cpu_millicores for node in nodes) * 9 // 10
    total = max(20_000, min(8 * size, 200_000)) * 2
    batches = []
    for at in range(0, total, 100):
        chosen = [workloads[index % len(workloads)] for index in range(at, at + 100)]
        batches.append(
            [
                SchedulingRequest(workload=each, slots=(InstanceKey(each.metadata.uid, at + offset, 1),))
                for offset, each in enumerate(chosen)
            ]
        )
    demands = [sum(demand_of(request.workload).cpu_millicores for request in batch) for batch in batches]
    keys = [[request.slots[0] for request in batch] for batch in batches]
    there: deque[int] = deque()
    used = placed = 0
    started = time.perf_counter()
    for number, batch in enumerate(batches):
        while used + demands[number] > capacity:
            oldest = there.popleft()
            ledger.release(keys[oldest])
            used -= demands[oldest]
        placed += ledger.place(batch).placed_count
        there.append(number)
        used += demands[number]
    took = time.perf_counter() - started
    assert placed >= 0.999 * total, f"{placed} of {total}"
    held = (
        (node_id, demand_of(request.workload))
        for number in there
        for request in batches[number]
        if (node_id := ledger.node_of(request.slots[0])) is not None
    )
    assert_within(nodes, held)
    return placed / took


def rows(sizes: tuple[int, ...]) -> Iterator[Row]:
    cases: list[tuple[str, Callable[[int], float], tuple[int, ...]]] = [
        (
            "Forge's workload, batches of 100 from fresh state",
            batches_from_fresh_state,
            (1_000_000, 800_000, 600_000, 0),
        ),
        ("replicas of one workload", replicas, (2_000_000, 2_000_000, 2_000_000, 1_000_000)),
        ("40 shapes, endless stream", lambda n: stream(n, forge_workloads(40)), (800_000, 600_000, 500_000, 300_000)),
        (
            "all shapes distinct, endless stream",
            lambda n: stream(n, distinct_workloads(max(40_000, min(16 * n, 400_000)), 1)),
            (500_000, 400_000, 300_000, 150_000),
        ),
    ]
    for name, run, reaches in cases:
        for size, reach in zip(SIZES, reaches, strict=True):
            if size not in sizes:
                continue
            rates = [run(size) for _ in range(RUNS)]
            yield {
                "name": f"{name}, {size:,} nodes",
                "value": statistics.median(rates),
                "unit": "decisions/s",
                "reach": f">= {reach:,}" if reach else "report",
                "min": min(rates),
                "max": max(rates),
                "runs": RUNS,
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--nodes", type=int, nargs="*", default=list(SIZES))
    arguments = parser.parse_args()
    print(f"compiled: {is_compiled()}")
    found = []
    for row in rows(tuple(arguments.nodes)):
        print(f"{row['name']}: {row['value']:,.0f} {row['unit']} ({row['min']:,.0f}-{row['max']:,.0f}), {row['reach']}")
        found.append(row)
    if arguments.json:
        arguments.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
