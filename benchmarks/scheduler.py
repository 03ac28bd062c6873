"""How fast the compiled scheduler decides: every decision committed, no node ever over-committed."""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import random
import statistics
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import trio
from attrs import evolve
from forge_columns import forge_rows
from librt.vecs import vec
from mypy_extensions import i64
from orchestrion.scheduler_interface import AssignNode, SchedulingRequest, ViewKeeper, demand_of, placed_instance
from orchestrion.scheduler_packing import PackingLedger, PackingScheduler, is_compiled
from orchestrion.scheduler_packing._core.fleet import Fleet
from orchestrion.scheduler_packing._core.order import Order
from orchestrion.scheduler_packing._core.placing import Shape, place_alike
from orchestrion.shared_types import (
    ContainerConfig,
    InstanceAffinity,
    InstanceKey,
    Metadata,
    Node,
    NodeId,
    Placement,
    PortMapping,
    Resources,
    Spread,
    Taint,
    Toleration,
    Topology,
    Uid,
    WorkloadDefinition,
    WorkloadKind,
)

NAME = "scheduler"
RUNS = 5
MIB = 2**20
RESULTS = Path(__file__).parent / "results"
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


def constrained_nodes(count: int) -> list[Node]:
    """The same nodes in 3 zones and 20 racks; every tenth is tainted."""
    return [
        evolve(
            node,
            topology=Topology(zone=f"z{number % 3}", rack=f"r{number % 20}"),
            taints=(Taint("dedicated"),) if number % 10 == 0 else (),
        )
        for number, node in enumerate(forge_nodes(count))
    ]


def constrained_workloads(count: int) -> list[WorkloadDefinition]:
    """40 shapes, each with all constraints: spread over zones, apart from its own and from another on a node and in a
    rack, together with a third if that can be, a static port, half of them tolerating the taint."""
    found = []
    for number, each in enumerate(forge_workloads(count)):
        affinities = (
            InstanceAffinity(match_labels={"app": f"a{number}"}, by="node", anti=True),
            InstanceAffinity(match_labels={"app": f"a{(number + 1) % count}"}, by="rack", anti=True, weight=20),
            InstanceAffinity(match_labels={"app": f"a{(number + 2) % count}"}, by="zone", weight=50),
        )
        placement = Placement(
            spreads=(Spread(by="zone", max_skew=2, required=True),),
            instance_affinities=affinities,
            tolerations=(Toleration(key="dedicated"),) if number % 2 else (),
        )
        container = evolve(each.containers[0], ports=(PortMapping(name="http", host_port=8000 + number),))
        metadata = evolve(each.metadata, labels={"app": f"a{number}"})
        found.append(evolve(each, metadata=metadata, containers=(container,), placement=placement))
    return found


def constrained_stream(size: int) -> float:
    """Gangs of 8 with all constraints on, an endless stream; the oldest leaves when the cluster is 60 % full.

    The first gang of each workload is placed before the clock starts: it counts the nodes of each domain, which happens
    once in the life of a cluster (about 0.4 s for 40 shapes on 100,000 nodes).
    """
    nodes, workloads = constrained_nodes(size), constrained_workloads(40)
    ledger = PackingLedger(nodes)
    capacity = sum(node.allocatable.cpu_millicores for node in nodes) * 6 // 10
    total = 20_000
    gangs = []
    for number in range(total // 8):
        each = workloads[number % 40]
        slots = tuple(InstanceKey(each.metadata.uid, 8 * number + offset, 1) for offset in range(8))
        gangs.append(SchedulingRequest(workload=each, slots=slots))
    demands = [8 * demand_of(gang.workload).cpu_millicores for gang in gangs]
    placed = sum(ledger.place([gang], minimum=8).placed_count for gang in gangs[:40])
    there = deque(range(40))
    used = sum(demands[:40])
    started = time.perf_counter()
    for number, gang in enumerate(gangs[40:], 40):
        # A node holds one of each workload, so that no more than two gangs of it fit 16 nodes.
        while used + demands[number] > capacity or len(there) * 8 * 5 > size * 40 * 2:
            oldest = there.popleft()
            ledger.release(gangs[oldest].slots)
            used -= demands[oldest]
        placed += ledger.place([gang], minimum=8).placed_count
        there.append(number)
        used += demands[number]
    took = time.perf_counter() - started
    assert placed >= 0.9 * total, f"{placed} of {total}"
    # The first gangs were not timed.
    timed = placed * (len(gangs) - 40) / len(gangs)
    held = (
        (node_id, demand_of(gangs[number].workload))
        for number in there
        for slot in gangs[number].slots
        if (node_id := ledger.node_of(slot)) is not None
    )
    assert_within(nodes, held)
    return timed / took


def kept_cluster(size: int) -> tuple[list[Node], ViewKeeper, list[SchedulingRequest]]:
    """Return nodes, what keeps their view, and single requests of 40 shapes, four for each node and 20,000 at most."""
    nodes, workloads = forge_nodes(size), forge_workloads(40)
    keeper = ViewKeeper()
    for node in nodes:
        keeper.set_node(node)
        keeper.set_leased(node.id, True)
    requests = [
        SchedulingRequest(workload=each, slots=(InstanceKey(each.metadata.uid, index, 1),))
        for index in range(min(4 * size, 20_000))
        for each in (workloads[index % 40],)
    ]
    return nodes, keeper, requests


async def one_at_a_time(size: int) -> tuple[float, float]:
    """Single requests through `await schedule(...)` on a view that is kept change by change, each decision committed.

    Returns:
        Decisions a second, and the milliseconds within which 99 of 100 decisions are made, the view's part included.
    """
    nodes, keeper, requests = kept_cluster(size)
    scheduler, total = PackingScheduler(), len(requests)
    for request in requests[:40]:
        await scheduler.schedule(request, keeper.view())
    times: list[float] = []
    took = 0.0
    # A small cluster is filled again and again.
    for _ in range(20_000 // total):
        held = []
        began = time.perf_counter()
        for request in requests:
            asked = time.perf_counter()
            (decision,) = await scheduler.schedule(request, keeper.view())
            assert isinstance(decision, AssignNode)
            keeper.put(decision.node_id, placed_instance(request.workload, decision))
            times.append(time.perf_counter() - asked)
            held.append((decision.node_id, request))
        took += time.perf_counter() - began
        assert_within(nodes, ((node_id, demand_of(request.workload)) for node_id, request in held))
        for _, request in held:
            keeper.remove(request.slots[0])
    return len(times) / took, 1000 * statistics.quantiles(times, n=100)[98]


async def in_batches(size: int) -> float:
    """The same in batches of 100 through `await schedule_batch(...)`, each batch committed before the next."""
    nodes, keeper, requests = kept_cluster(size)
    scheduler, total = PackingScheduler(), len(requests)
    await scheduler.schedule_batch(requests[:40], keeper.view())
    took = 0.0
    for _ in range(20_000 // total):
        held = []
        began = time.perf_counter()
        for at in range(0, total, 100):
            batch = requests[at : at + 100]
            for request, (decision,) in zip(batch, await scheduler.schedule_batch(batch, keeper.view()), strict=True):
                assert isinstance(decision, AssignNode)
                keeper.put(decision.node_id, placed_instance(request.workload, decision))
                held.append((decision.node_id, request))
        took += time.perf_counter() - began
        assert_within(nodes, ((node_id, demand_of(request.workload)) for node_id, request in held))
        for _, request in held:
            keeper.remove(request.slots[0])
    return 20_000 // total * total / took


def memory_per_node(size: int) -> float:
    """What a ledger takes beyond the nodes themselves, in bytes a node."""
    nodes = forge_nodes(size)
    gc.collect()
    before = resident()
    ledger = PackingLedger(nodes)
    web = workload(1, 100, 256)
    ledger.place([SchedulingRequest(workload=web, slots=(InstanceKey(web.metadata.uid, 0, 1),))])
    gc.collect()
    return (resident() - before) / size


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def inner_loop() -> float:
    """Places found and taken on 1,000 nodes, for 40 kinds of slots in turn; without the values around it."""
    nodes = forge_nodes(1000)
    fleet = Fleet(len(nodes), 3)
    fleet.set_scale(8000, 32768, 0)
    for position, node in enumerate(nodes):
        fleet.free[0][position] = node.allocatable.cpu_millicores
        fleet.free[1][position] = node.allocatable.memory_bytes // MIB
        fleet.touch(position)
    order = Order(fleet, vec[i64]([1] * len(nodes)), vec[i64]([0] * len(nodes)), 1)
    shapes = [Shape(vec[i64]([100 + (i % 10) * 100, 256 + (i % 8) * 256, 0]), 0, []) for i in range(40)]
    placed = vec[i64]()
    total = 6000
    began = time.perf_counter()
    for index in range(total):
        placed = place_alike(fleet, order, shapes[index % 40], 1, placed)
    return total / (time.perf_counter() - began)


def interpreted_inner_loop() -> float:
    command = [sys.executable, __file__, "--inner-loop"]
    environment = {**os.environ, "ORCHESTRION_PURE": "1"}
    return float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def row(name: str, unit: str, reach: str, values: list[float]) -> Row:
    return {
        "name": name,
        "value": statistics.median(values),
        "unit": unit,
        "reach": reach,
        "min": min(values),
        "max": max(values),
        "runs": len(values),
    }


def rows(sizes: tuple[int, ...], only: str) -> Iterator[Row]:
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
    cases.append(("all constraints on, gangs of 8", constrained_stream, (190_000, 185_000, 175_000, 128_000)))
    for name, run, reaches in cases:
        for size, reach in zip(SIZES, reaches, strict=True):
            if size not in sizes or only not in name:
                continue
            rates = [run(size) for _ in range(RUNS)]
            yield row(f"{name}, {size:,} nodes", "decisions/s", f">= {reach:,}" if reach else "report", rates)
    single = "one at a time through await schedule"
    for size, reach, latency in zip(SIZES, (60_000, 60_000, 50_000, 0), (0.0, 0.0, 0.2, 2.0), strict=True):
        if size in sizes and only in single:
            found = [trio.run(one_at_a_time, size) for _ in range(RUNS)]
            rates, times = [rate for rate, _ in found], [each for _, each in found]
            yield row(f"{single}, {size:,} nodes", "decisions/s", f">= {reach:,}" if reach else "report", rates)
            if latency:
                yield row(f"{single}, {size:,} nodes: 99 of 100 within", "ms", f"<= {latency}", times)
    several = "batches of 100 through await schedule_batch"
    for size in SIZES:
        if size in sizes and only in several:
            yield row(
                f"{several}, {size:,} nodes", "decisions/s", "report", [trio.run(in_batches, size) for _ in range(RUNS)]
            )
    if only in "Forge's columns":
        yield from forge_rows(sizes, RUNS, forge_nodes, forge_workloads)
    if only in "memory":
        yield row("memory beyond the nodes", "bytes/node", "<= 1,024", [memory_per_node(100_000)])
    if only in "inner loops" and is_compiled():
        ratios = [inner_loop() / interpreted_inner_loop() for _ in range(RUNS)]
        yield row("inner loops, compiled against interpreted", "times", ">= 20", ratios)


COLOURS = ("#1f6feb", "#2da44e", "#bf8700", "#cf222e", "#8250df", "#57606a")


def plot(found: list[Row]) -> str:
    """Return a picture of decisions a second over nodes, both logarithmic."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for each in found:
        name, _, size = each["name"].rpartition(", ")
        if each["unit"] == "decisions/s":
            lines.setdefault(name, []).append((int(size.split()[0].replace(",", "")), each["value"]))

    def x(nodes: float) -> float:
        return 90 + 150 * (math.log10(nodes) - 2)

    def y(rate: float) -> float:
        return 420 - 80 * (math.log10(rate) - 3)

    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 470" font-family="sans-serif" font-size="13">',
        '<rect width="900" height="470" fill="white"/>',
        '<text x="10" y="20">decisions a second, all committed, over the number of nodes</text>',
    ]
    for power in range(3, 8):
        parts.append(f'<line x1="90" x2="560" y1="{y(10**power)}" y2="{y(10**power)}" stroke="#ddd"/>')
        parts.append(f'<text x="10" y="{y(10**power) + 4}">{10**power:,}</text>')
    parts += [f'<text x="{x(10**power) - 20}" y="445">{10**power:,}</text>' for power in range(2, 6)]
    for number, (name, points) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x(nodes):.1f},{y(rate):.1f}" for nodes, rate in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x(nodes):.1f}" cy="{y(rate):.1f}" r="3" fill="{colour}"/>' for nodes, rate in points]
        parts.append(f'<text x="570" y="{60 + 22 * number}" fill="{colour}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows to this file, and a plot beside it")
    parser.add_argument("--inner-loop", action="store_true", help="print how fast the inner loop is, and no more")
    parser.add_argument("--only", default="", help="only cases whose names contain this")
    parser.add_argument("--nodes", type=int, nargs="*", default=list(SIZES))
    arguments = parser.parse_args(argv)
    if arguments.inner_loop:
        print(inner_loop())
        return
    print(f"compiled: {is_compiled()}")
    found: list[Row] = []
    for each in rows(tuple(arguments.nodes), arguments.only):
        spread = f"({each['min']:,.2f}-{each['max']:,.2f})"
        print(f"{each['name']}: {each['value']:,.2f} {each['unit']} {spread}, {each['reach']}", flush=True)
        found.append(each)
    if arguments.json:
        arguments.json.write_text(json.dumps(found))
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "scheduler.svg").write_text(plot(found))


if __name__ == "__main__":
    main()
