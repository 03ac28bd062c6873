"""The four columns of Forge's scheduler benchmark, each in a form in which its figure means something.

Forge's table (forge-orchestration 0.4) has no two columns that count the same: one never commits, one commits to a copy
that is thrown away, one counts 98.8 % refusals as decisions. Here each is measured as what it is, on the same nodes and
workloads, with what was placed beside it.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import trio
from attrs import frozen
from orchestrion.scheduler_interface import (
    AssignNode,
    SchedulingRequest,
    StaticClusterView,
    demand_of,
    node_view,
)
from orchestrion.scheduler_packing import PackingLedger, PackingScheduler
from orchestrion.shared_types import InstanceKey, Node, NodeId, Resources, WorkloadDefinition

SIZES = (100, 500, 1_000, 5_000)
USED = 100
"""So many of its workloads Forge's benchmark ever uses."""
ITERATIONS = 1_000
BATCHES = 300
BATCH_CLAIMS = {100: 1_007_271, 500: 236_674, 1_000: 122_331, 5_000: 24_889}
READ_CLAIMS = {100: 27_642}
STANDARD_CLAIMS = {100: 40_013}
"""Decisions a second by the README of 0.4, whose machine it does not state; 98.8 % of the last one are refusals."""

CONDITIONS = """\
Forge's columns: nodes of 8 cores and 32 GiB, 0 to 2.9 cores and 0 to 14.6 GiB of which are taken; 100 workloads of 40
shapes; one thread, one process, attrs values in and out.
 (a) read-only: the best node for a workload on a view that does not change, through `await schedule`; nothing is kept
 (b) bind cycle: the best node, and its place taken, one workload at a time through the ledger; all is released when
     full, which is part of the time and not counted
 (c) batch: 100 workloads in one call from the same state each time; taken, and released, which is part of the time
 (d) until full: 100,000 workloads one at a time, never released; placements and refusals apart
Forge's own figures are what its README of 0.4 says, on a machine that it does not state: in (a) all 100 workloads go to
one node, ten times what it has, and (d) counts refusals as decisions (98.8 % of them at 100 nodes)."""

Row = dict[str, Any]


@frozen
class Outcome:
    """What one run came to: figures by their names, with the unit of each."""

    rates: dict[str, tuple[float, str]]


@frozen
class Setting:
    """A cluster and what is placed on it."""

    nodes: list[Node]
    workloads: list[WorkloadDefinition]

    def requests(self, iteration: int) -> list[SchedulingRequest]:
        return [
            SchedulingRequest(workload=each, slots=(InstanceKey(each.metadata.uid, iteration, 1),))
            for each in self.workloads
        ]


def over_commits(nodes: Sequence[Node], held: Sequence[tuple[NodeId, Resources]]) -> int:
    """Return how many nodes hold more than they have."""
    cpu: Counter[NodeId] = Counter()
    memory: Counter[NodeId] = Counter()
    for node_id, demand in held:
        cpu[node_id] += demand.cpu_millicores
        memory[node_id] += demand.memory_bytes
    return sum(
        cpu[node.id] > node.allocatable.cpu_millicores or memory[node.id] > node.allocatable.memory_bytes
        for node in nodes
    )


async def _ask(requests: Sequence[SchedulingRequest], view: StaticClusterView) -> tuple[float, int]:
    scheduler = PackingScheduler()
    await scheduler.schedule(requests[0], view)
    placed = 0
    began = time.perf_counter()
    for request in requests:
        (decision,) = await scheduler.schedule(request, view)
        placed += isinstance(decision, AssignNode)
    return time.perf_counter() - began, placed


def read_only(setting: Setting) -> Outcome:
    """(a)"""
    view = StaticClusterView(node_view(node) for node in setting.nodes)
    requests = [request for iteration in range(100) for request in setting.requests(iteration)]
    took, placed = trio.run(_ask, requests, view)
    assert placed == len(requests)
    return Outcome({"(a) read-only best node": (placed / took, "decisions/s")})


def bind_cycle(setting: Setting) -> Outcome:
    """(b)"""
    ledger = PackingLedger(setting.nodes)
    asked = [[request] for iteration in range(200) for request in setting.requests(iteration)]
    placed = held = resets = 0
    began = time.perf_counter()
    for number, request in enumerate(asked):
        while not ledger.place(request).placed_count:
            assert held, "an empty cluster refuses a workload"
            ledger.release(each[0].slots[0] for each in asked[number - held : number])
            held, resets = 0, resets + 1
        placed += 1
        held += 1
    took = time.perf_counter() - began
    slots = [(request[0], ledger.node_of(request[0].slots[0])) for request in asked]
    present = [(node_id, demand_of(request.workload)) for request, node_id in slots if node_id is not None]
    assert len(present) == held
    assert over_commits(setting.nodes, present) == 0
    return Outcome({"(b) bind cycle": (placed / took, "placements/s"), "(b) resets": (resets, "resets")})


def batches(setting: Setting) -> Outcome:
    """(c)"""
    ledger = PackingLedger(setting.nodes)
    requests = setting.requests(0)
    keys = [request.slots[0] for request in requests]
    ledger.place(requests)
    ledger.release(keys)
    began = time.perf_counter()
    for _ in range(BATCHES):
        placements = ledger.place(requests)
        ledger.release(keys)
    took = time.perf_counter() - began
    present = [
        (node_id, demand_of(request.workload))
        for request, node_id in zip(requests, placements.node_ids, strict=True)
        if node_id is not None
    ]
    return Outcome(
        {
            "(c) batch of 100 from fresh state": (BATCHES * len(requests) / took, "placements/s"),
            "(c) placed": (100 * len(present) / len(requests), "%"),
            "(c) nodes used": (len({node_id for node_id, _ in present}), "nodes"),
            "(c) over-committed nodes": (over_commits(setting.nodes, present), "nodes"),
        }
    )


def until_full(setting: Setting) -> Outcome:
    """(d)"""
    ledger = PackingLedger(setting.nodes)
    spent, count = [0, 0], [0, 0]
    present = []
    for iteration in range(ITERATIONS):
        for request in setting.requests(iteration):
            began = time.perf_counter_ns()
            placements = ledger.place([request])
            took = time.perf_counter_ns() - began
            (node_id,) = placements.node_ids
            spent[node_id is None] += took
            count[node_id is None] += 1
            if node_id is not None:
                present.append((node_id, demand_of(request.workload)))
    used: Counter[NodeId] = Counter()
    for node_id, demand in present:
        used[node_id] += demand.cpu_millicores
    cpu = sum(node.allocatable.cpu_millicores for node in setting.nodes)
    memory = sum(node.allocatable.memory_bytes for node in setting.nodes)
    rates = {
        "(d) until full, placements": (1e9 * count[0] / spent[0], "placements/s"),
        "(d) placed": (100 * count[0] / sum(count), "%"),
        "(d) nodes used": (len(used), "nodes"),
        "(d) over-committed nodes": (over_commits(setting.nodes, present), "nodes"),
        "(d) cpu in use": (100 * used.total() / cpu, "%"),
        "(d) memory in use": (100 * sum(demand.memory_bytes for _, demand in present) / memory, "%"),
        "(d) cpu left on nodes in use": (
            100 * sum(node.allocatable.cpu_millicores - used[node.id] for node in setting.nodes if used[node.id]) / cpu,
            "%",
        ),
    }
    if count[1]:
        rates["(d) until full, refusals"] = (1e9 * count[1] / spent[1], "refusals/s")
    return Outcome(rates)


COLUMNS = (read_only, bind_cycle, batches, until_full)


def claim(name: str, size: int) -> str:
    """Return what Forge says of the same, or what is to be reached."""
    if "over-committed" in name:
        return "0"
    claims = {
        "(a) read-only best node": READ_CLAIMS,
        "(c) batch of 100 from fresh state": BATCH_CLAIMS,
        "(d) until full, placements": STANDARD_CLAIMS,
    }.get(name, {})
    return f"Forge 0.4: {claims[size]:,}" if size in claims else "report"


def forge_rows(
    sizes: Sequence[int],
    runs: int,
    nodes_of: Callable[[int], list[Node]],
    workloads_of: Callable[[int], list[WorkloadDefinition]],
) -> Iterator[Row]:
    """Yield the rows of all four columns for Forge's numbers of nodes, from the least to the most that are wanted."""
    wanted = [size for size in SIZES if min(sizes) <= size <= max(sizes)]
    if wanted:
        print(CONDITIONS, flush=True)
    for size in wanted:
        setting = Setting(nodes_of(size), workloads_of(USED))
        for column in COLUMNS:
            outcomes = [column(setting) for _ in range(runs)]
            for name, (_, unit) in outcomes[0].rates.items():
                values = [outcome.rates[name][0] for outcome in outcomes]
                yield {
                    "name": f"Forge's columns, {name}, {size:,} nodes",
                    "value": statistics.median(values),
                    "unit": unit,
                    "reach": claim(name, size),
                    "min": min(values),
                    "max": max(values),
                    "runs": len(values),
                }
