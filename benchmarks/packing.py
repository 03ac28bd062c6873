"""How tightly cpu and memory are packed without GPUs: nodes used, and what is in use as work comes and goes.

Nodes used: items arrive one by one in random order, and an idle node is taken only where no other has room; what is
counted is how many nodes that takes beyond a bound that nobody can be below. Filled: items arrive on a cluster of fixed
size until they have asked for all of what binds, and what does not fit is dropped. With departures: items stay for an
exponentially distributed time on a cluster of fixed size, and arrive so often that they ask for a given part of what
binds; the figures are how much of that is in use on average, and which part of what was asked for was refused.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from attrs import define, field, frozen
from orchestrion.scheduler_interface import AssignNode, SchedulingRequest, StaticClusterView, node_view
from orchestrion.scheduler_packing import PackingLedger, PackingOrder, is_compiled, pack
from orchestrion.shared_types import (
    ContainerConfig,
    InstanceKey,
    Metadata,
    Node,
    NodeId,
    Resources,
    Uid,
    WorkloadDefinition,
)

NAME = "packing"
FIRST_SEED = 42
SEEDS = 5
ITEMS = 2_000
NODES = 60
ARRIVALS = 12_000
WARM_UP = 2_000
LOADS = (0.9, 1.0, 1.05)
CORES, GIB = 64, 256
"""One node: 4 GiB a core, as most of today's hosts have."""
GIBIBYTE = 1 << 30
WEIGHTS = ((1, 0), (3, 1), (1, 1), (1, 3), (0, 1))
"""In these proportions cpu and memory are added up for lower bounds."""

Row = dict[str, Any]
Item = tuple[int, int]
"""Cores, and GiB."""


def uniform(chance: random.Random) -> Item:
    """Cores and memory independent of each other, up to half a node."""
    return chance.randint(1, CORES // 2), chance.randint(1, GIB // 2)


def bimodal(chance: random.Random) -> Item:
    """Four small ones for each that takes about half a node, each with more of one resource than of the other."""
    if chance.random() < 0.8:
        return chance.randint(1, 4), chance.randint(2, 24)
    return chance.randint(20, 40), chance.randint(64, 160)


def azure_like(chance: random.Random) -> Item:
    """Sizes as a public cloud sells them.

    Cores are powers of two and most machines have one or two (Cortez et al., Resource Central, SOSP 2017); 2, 4 or 8
    GiB a core are the compute optimised, general purpose and memory optimised series (F, D and E) of Azure.
    """
    (cores,) = chance.choices((1, 2, 4, 8, 16, 32), (40, 35, 12, 7, 4, 2))
    (ratio,) = chance.choices((2, 4, 8), (20, 50, 30))
    return cores, min(GIB, cores * ratio)


MIXES: dict[str, Callable[[random.Random], Item]] = {"uniform": uniform, "bimodal": bimodal, "azure-like": azure_like}


# -- bounds


def lower_bound(items: Sequence[Item]) -> int:
    """Return how many nodes it takes at least: the best of L2 over several sums of both resources."""
    best = 0
    for cpu_weight, memory_weight in WEIGHTS:
        sizes = [cpu_weight * GIB * cores + memory_weight * CORES * gib for cores, gib in items]
        best = max(best, bound_l2(sizes, (cpu_weight + memory_weight) * CORES * GIB))
    return best


def bound_l2(sizes: Sequence[int], capacity: int) -> int:
    """Return the bound L2 of Martello and Toth (1990): large items share no bin, small ones fill what these leave."""
    counts = Counter(sizes)
    best = -(-sum(sizes) // capacity)
    for small in [0, *(size for size in counts if 2 * size <= capacity)]:
        alone = sum(number for size, number in counts.items() if size > capacity - small)
        large = {size: number for size, number in counts.items() if capacity < 2 * size <= 2 * (capacity - small)}
        rest = sum(size * number for size, number in counts.items() if small <= size and 2 * size <= capacity)
        left = sum((capacity - size) * number for size, number in large.items())
        best = max(best, alone + sum(large.values()) + max(0, -(-(rest - left) // capacity)))
    return best


# -- policies


class Packer(Protocol):
    """A cluster, and a policy that fills it."""

    def place(self, item: Item) -> object | None:
        """Take a place and return what releases it, or None."""
        ...

    def release(self, place: object) -> None:
        """Give a place up."""
        ...


Key = Callable[[float, float, Item], float]
"""The points of a node with so much free, in cores and GiB; fewer are better."""


def keep_first(_cores: float, _gib: float, _item: Item) -> float:
    return 0.0


def least_sum(cores: float, gib: float, _item: Item) -> float:
    return cores / CORES + gib / GIB


def least_square(cores: float, gib: float, item: Item) -> float:
    return float((cores - item[0]) / CORES) ** 2 + float((gib - item[1]) / GIB) ** 2


def most_aligned(cores: float, gib: float, item: Item) -> float:
    return -(cores * item[0] / CORES**2 + gib * item[1] / GIB**2)


def least_aligned(cores: float, gib: float, item: Item) -> float:
    return -most_aligned(cores, gib, item)


def most_sum(cores: float, gib: float, _item: Item) -> float:
    return -(cores / CORES + gib / GIB)


@define
class KeyPacker:
    """The node with the fewest points among those that hold something; an idle one where none of these has room."""

    key: Key
    free: list[list[int]]
    loads: list[int]

    @classmethod
    def of(cls, key: Key, nodes: int) -> KeyPacker:
        return cls(key, [[CORES, GIB] for _ in range(nodes)], [0] * nodes)

    def place(self, item: Item) -> tuple[int, Item] | None:
        cores, gib = item
        key, loads = self.key, self.loads
        best: tuple[float, int] | None = None
        idle = None
        for position, (free_cores, free_gib) in enumerate(self.free):
            if not loads[position]:
                idle = position if idle is None else idle
            elif free_cores >= cores and free_gib >= gib:
                points = key(free_cores, free_gib, item)
                if best is None or points < best[0]:
                    best = points, position
        chosen = idle if best is None else best[1]
        if chosen is None:
            return None
        self._take(chosen, item, 1)
        return chosen, item

    def release(self, place: object) -> None:
        assert isinstance(place, tuple)
        position, item = place
        self._take(position, item, -1)

    def _take(self, position: int, item: Item, sign: int) -> None:
        free = self.free[position]
        free[0] -= sign * item[0]
        free[1] -= sign * item[1]
        self.loads[position] += sign


GRAIN = 4
"""GiB in one step of the tables of expected fill."""


def fill_table(counts: Counter[Item], horizon: float) -> list[list[float]]:
    """Return what a node with so many cores and steps of memory free is expected to take yet, by cores and steps.

    The same recursion as for GPUs: a node is offered a stream of items, takes all that fit, and before each offer the
    stream ends with odds of 1 / `horizon` to 1. An item is worth its part of a node, on average over cpu and memory.
    """
    total = sum(counts.values())
    steps = GIB // GRAIN
    kinds: Counter[Item] = Counter()
    for (cores, gib), count in counts.items():
        kinds[cores, -(-gib // GRAIN)] += count
    offers = [(c, m, n / total, (c / CORES + m / steps) / 2) for (c, m), n in kinds.items()]
    table = [[0.0] * (steps + 1) for _ in range(CORES + 1)]
    for cores in range(CORES + 1):
        able = [offer for offer in offers if offer[0] <= cores]
        row = table[cores]
        for memory in range(steps + 1):
            value, weight = 0.0, 1 / horizon
            for c, m, chance, worth in able:
                if m <= memory:
                    value += chance * (worth + table[cores - c][memory - m])
                    weight += chance
            row[memory] = value / weight
    return table


def expected_fill(counts: Counter[Item], best_fit: float) -> Key:
    """Return what a node loses of its expected fill by taking an item, and that much of what is left on it."""
    table = fill_table(counts, HORIZON)

    def points(cores: float, gib: float, item: Item) -> float:
        after = table[int(cores) - item[0]][(int(gib) - item[1]) // GRAIN]
        return table[int(cores)][int(gib) // GRAIN] - after + best_fit * least_sum(cores, gib, item)

    return points


HORIZON = 100.0
MAX_KINDS = 200


def sample_of(mix: str) -> Counter[Item]:
    """Return how often each kind of item comes; where there are many kinds, items are rounded up to make fewer."""
    chance = random.Random(FIRST_SEED - 1)
    counts = Counter(MIXES[mix](chance) for _ in range(4_000))
    if len(counts) <= MAX_KINDS:
        return counts
    rounded: Counter[Item] = Counter()
    for (cores, gib), count in counts.items():
        grain = 16 if gib > 16 else GRAIN
        rounded[cores if cores <= 4 else -(-cores // 4) * 4, -(-gib // grain) * grain] += count
    return rounded


def room_of(cores: int, gib: int) -> Resources:
    return Resources(cpu_millicores=1000 * cores, memory_bytes=GIBIBYTE * gib)


def node_of(position: int) -> Node:
    name, room = f"n{position:05}", room_of(CORES, GIB)
    return Node(id=NodeId(name), name=name, capacity=room, allocatable=room)


@define
class Requests:
    """Requests for one slot each, with a workload for each kind of item."""

    workloads: dict[Item, WorkloadDefinition] = field(factory=dict)
    number: int = 0

    def one(self, item: Item) -> SchedulingRequest:
        workload = self.workloads.get(item)
        if workload is None:
            number = len(self.workloads)
            container = ContainerConfig(name="main", command=("true",), resources=room_of(*item))
            metadata = Metadata(name=f"w{number}", uid=Uid(f"w{number:05}"))
            workload = self.workloads[item] = WorkloadDefinition(metadata=metadata, containers=(container,))
        self.number += 1
        return SchedulingRequest(workload=workload, slots=(InstanceKey(workload.metadata.uid, self.number, 1),))


@define
class LedgerPacker:
    """The profile `binpack`, through the public ledger."""

    ledger: PackingLedger
    requests: Requests = field(factory=Requests)

    def place(self, item: Item) -> InstanceKey | None:
        request = self.requests.one(item)
        return request.slots[0] if self.ledger.place([request]).placed_count else None

    def release(self, place: object) -> None:
        assert isinstance(place, InstanceKey)
        self.ledger.release([place])


def open_ledger(nodes: int) -> LedgerPacker:
    return LedgerPacker(PackingLedger(node_of(position) for position in range(nodes)))


def packers(mix: str) -> dict[str, Callable[[int], Packer]]:
    """Return how to open a cluster of so many nodes, by the name of the policy."""
    counts = sample_of(mix)
    keys: dict[str, Key] = {
        "first-fit": keep_first,
        "best-fit (sum)": least_sum,
        "best-fit (L2)": least_square,
        "dot-product (most)": most_aligned,
        "dot-product (least)": least_aligned,
        "worst-fit": most_sum,
        "expected fill": expected_fill(counts, 0.0),
        "expected fill, 0.03 best-fit": expected_fill(counts, 0.03),
        "expected fill, 0.1 best-fit": expected_fill(counts, 0.1),
    }
    opened: dict[str, Callable[[int], Packer]] = {"ours (binpack)": open_ledger}
    for name, key in keys.items():
        opened[name] = partial(KeyPacker.of, key)
    return opened


# -- what is measured


@frozen
class Used:
    """Nodes used, and a bound."""

    nodes: int
    bound: int

    @property
    def excess(self) -> float:
        """By how much the bound is exceeded, in %."""
        return 100 * (self.nodes / self.bound - 1)


def draw(mix: str, seed: int, count: int) -> list[Item]:
    chance = random.Random(seed)
    return [MIXES[mix](chance) for _ in range(count)]


def one_by_one(items: Sequence[Item], open_packer: Callable[[int], Packer]) -> int:
    """Return how many nodes items take as they come."""
    packer = open_packer(len(items))
    used = set()
    for item in items:
        place = packer.place(item)
        assert place is not None
        if isinstance(packer, LedgerPacker):
            assert isinstance(place, InstanceKey)
            used.add(packer.ledger.node_of(place))
        else:
            assert isinstance(place, tuple)
            used.add(place[0])
    return len(used)


def all_at_once(items: Sequence[Item], order: PackingOrder, nodes: int) -> int:
    """Return how many nodes items take that are known together."""
    requests = Requests()
    view = StaticClusterView(node_view(node_of(position)) for position in range(nodes))
    decided = pack([requests.one(item) for item in items], view, order=order)
    places = {each.node_id for decisions in decided for each in decisions if isinstance(each, AssignNode)}
    assert all(isinstance(each, AssignNode) for decisions in decided for each in decisions)
    return len(places)


@frozen
class Steady:
    """How much of what binds is in use, and what was refused, in % of what was asked for."""

    in_use: float
    refused: float


def binding(mix: str) -> tuple[int, float]:
    """Return which resource is asked for most, 0 for cpu, and the mean that an item takes of a node's."""
    sample = draw(mix, FIRST_SEED - 2, 20_000)
    means = [statistics.fmean(item[at] for item in sample) / (CORES, GIB)[at] for at in (0, 1)]
    return (0, means[0]) if means[0] > means[1] else (1, means[1])


def fill_up(mix: str, open_packer: Callable[[int], Packer], seed: int, nodes: int) -> float:
    """Return how much of what binds is in use once all of it has been asked for, in %."""
    at, _ = binding(mix)
    capacity = nodes * (CORES, GIB)[at]
    chance = random.Random(seed)
    packer = open_packer(nodes)
    asked = used = 0
    while asked < capacity:
        item = MIXES[mix](chance)
        asked += item[at]
        if packer.place(item) is not None:
            used += item[at]
    return 100 * used / capacity


def come_and_go(
    mix: str, open_packer: Callable[[int], Packer], load: float, seed: int, nodes: int, arrivals: int
) -> Steady:
    """Let items come and go on a cluster of fixed size."""
    at, mean = binding(mix)
    capacity = (CORES, GIB)[at]
    gap = mean / (load * nodes)
    chance = random.Random(seed)
    packer = open_packer(nodes)
    leaving: list[tuple[float, int, object, int]] = []
    now = since = held = asked = refused = used = 0.0
    for number in range(arrivals):
        item = MIXES[mix](chance)
        arrival = now + chance.expovariate(1 / gap)
        lifetime = chance.expovariate(1)
        while leaving and leaving[0][0] <= arrival:
            then, _, place, amount = heapq.heappop(leaving)
            packer.release(place)
            used += held * (then - now)
            now, held = then, held - amount
        used += held * (arrival - now)
        now = arrival
        if number == WARM_UP:
            since, used, asked, refused = now, 0.0, 0.0, 0.0
        found = packer.place(item)
        asked += item[at] * lifetime
        if found is None:
            refused += item[at] * lifetime
        else:
            held += item[at]
            heapq.heappush(leaving, (now + lifetime, number, found, item[at]))
    return Steady(100 * used / (now - since) / (nodes * capacity), 100 * refused / asked)


def row(name: str, unit: str, values: Sequence[float]) -> Row:
    return {
        "name": f"packing, {name} (mean)",
        "value": statistics.fmean(values),
        "unit": unit,
        "reach": "report",
        "min": min(values),
        "max": max(values),
        "runs": len(values),
    }


def show(found: Row) -> Row:
    spread = f"({found['min']:,.2f} to {found['max']:,.2f})"
    print(f"{found['name']}: {found['value']:,.2f} {found['unit']} {spread}", flush=True)
    return found


def nodes_used(mix: str, seeds: Sequence[int], items: int) -> Iterator[Row]:
    """Yield how many nodes each policy takes beyond the bound."""
    drawn = [draw(mix, seed, items) for seed in seeds]
    bounds = [lower_bound(each) for each in drawn]
    yield row(f"{mix}, lower bound", "nodes", bounds)
    for name, open_packer in packers(mix).items():
        values = [Used(one_by_one(each, open_packer), bound).excess for each, bound in zip(drawn, bounds, strict=True)]
        yield row(f"{mix}, nodes beyond the bound, {name}", "%", values)
    orders: tuple[PackingOrder, ...] = ("bfd", "ffd", "dot-product", "wfd")
    for order in orders:
        values = [
            Used(all_at_once(each, order, 2 * bound), bound).excess for each, bound in zip(drawn, bounds, strict=True)
        ]
        yield row(f"{mix}, nodes beyond the bound, all known, ours ({order})", "%", values)


def filled(mix: str, seeds: Sequence[int], nodes: int) -> Iterator[Row]:
    """Yield what each policy has in use when everything has been asked for."""
    for name, open_packer in packers(mix).items():
        yield row(f"{mix}, filled, {name}", "%", [fill_up(mix, open_packer, seed, nodes) for seed in seeds])


def steady(mix: str, seeds: Sequence[int], nodes: int, arrivals: int) -> Iterator[Row]:
    """Yield what each policy has in use, and refuses, at several loads."""
    for load in LOADS:
        for name, open_packer in packers(mix).items():
            runs = [come_and_go(mix, open_packer, load, seed, nodes, arrivals) for seed in seeds]
            case = f"{mix}, {100 * load:g} % asked, {name}"
            yield row(f"{case}: in use", "%", [run.in_use for run in runs])
            yield row(f"{case}: refused", "%", [run.refused for run in runs])


def packing_rows(seeds: int = SEEDS, items: int = ITEMS, nodes: int = NODES, arrivals: int = ARRIVALS) -> list[Row]:
    """Measure everything."""
    chosen = range(FIRST_SEED, FIRST_SEED + seeds)
    found: list[Row] = []
    for mix in MIXES:
        found += (show(each) for each in nodes_used(mix, chosen, items))
    for mix in MIXES:
        found += (show(each) for each in filled(mix, chosen, 2 * nodes))
    for mix in MIXES:
        found += (show(each) for each in steady(mix, chosen, nodes, arrivals))
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the rows")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--arrivals", type=int, default=ARRIVALS, help=f"with departures; the first {WARM_UP} apart")
    chosen = parser.parse_args(argv)
    print("compiled" if is_compiled() else "interpreted")
    rows = packing_rows(chosen.seeds, chosen.items, chosen.nodes, chosen.arrivals)
    if chosen.json:
        chosen.json.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
