"""How much of a cluster's GPUs gets used: replays of the openb trace, which is not in the project (`--data DIR`).

Without departures: pods arrive until they have asked for all GPUs; what does not fit is dropped. The figure is the part
of the GPUs in use, averaged while 99.5 to 100.5 % of them have been asked for. With departures: pods stay for an
exponentially distributed time, and arrive so often that they ask for a given part of all GPUs; the figure is the part
of GPU-hours that was refused. Times are of one thread's cpu; what expected fill works out between decisions is apart.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import json
import random
import statistics
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from attrs import asdict, define, field, frozen
from librt.vecs import vec
from mypy_extensions import i64
from orchestrion.scheduler_interface import SchedulingRequest
from orchestrion.scheduler_packing import Mix, PackingLedger, is_compiled
from orchestrion.scheduler_packing._core.fgd import FragmentationDescent, Typical
from orchestrion.scheduler_packing._core.gpu_board import BestFit, Board, FirstFit, Policy
from orchestrion.scheduler_packing._core.gpu_fleet import EMPTY, WHOLE, Demand, GpuFleet
from orchestrion.scheduler_packing._gpu_plan import NodeType, Wish, plan
from orchestrion.shared_types import (
    WHOLE_DEVICE,
    ContainerConfig,
    Device,
    Expression,
    GpuRequest,
    InstanceKey,
    Metadata,
    Node,
    NodeId,
    Operator,
    Placement,
    Resources,
    Uid,
    WorkloadDefinition,
)

NAME = "quality"
TAKES_DATA = True
FIRST_SEED = 42
SEEDS = 10
UNTIL = 1.005
REACH = {
    ("default", "fgd"): "95.2 +- 0.3",
    ("default", "learned"): ">= 96.0",
    ("gpuspec33", "learned"): ">= 95.3",
    ("gpushare60", "learned"): ">= 92.1",
    ("multigpu20", "learned"): ">= 96.4",
    ("cpu200", "learned"): ">= 96.0",
}
LOADS = (0.9, 1.0, 1.05)
DEPARTING = ("first-fit", "fgd", "learned")
DEPARTING_TRACE = "default"
DEPARTING_SEEDS = 3
ARRIVALS = 100_000
WARM_UP = 10_000
TENTHS = 10
MIB = 1 << 20
MODEL = "gpu-model"
TYPICAL = 0.95


@frozen(cache_hash=True)
class Pod:
    """One arrival: what it takes, and which models of GPU do, none for any. Memory is in MiB."""

    cpu: int
    memory: int
    gpus: int
    share: int
    models: tuple[str, ...]

    @property
    def gpu(self) -> int:
        """Thousandths in all."""
        return self.gpus * self.share

    @property
    def whole(self) -> int:
        """How many whole GPUs."""
        return self.gpus if self.share == WHOLE_DEVICE else 0

    @property
    def shares(self) -> tuple[int, ...]:
        """Thousandths of one GPU."""
        return (self.share,) * (self.gpus - self.whole)


@frozen(order=True)
class Machine:
    """One node. Memory is in MiB."""

    model: str
    cpu: int
    memory: int
    gpus: int


def read_machines(directory: Path) -> list[Machine]:
    """Read the nodes that have GPUs."""
    with (directory / "openb_node_list_gpu_node.csv").open(newline="") as lines:
        return [
            Machine(row["model"], int(row["cpu_milli"]), int(row["memory_mib"]), int(row["gpu"]))
            for row in csv.DictReader(lines)
        ]


def read_pods(directory: Path, trace: str) -> list[Pod]:
    """Read the pods of one variant of the trace."""
    known: dict[Pod, Pod] = {}
    pods: list[Pod] = []
    with (directory / f"openb_pod_list_{trace}.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            gpus = int(row["num_gpu"])
            share = int(row["gpu_milli"]) if gpus else 0
            models = tuple(sorted(filter(None, (row.get("gpu_spec") or "").split("|"))))
            pod = Pod(int(row["cpu_milli"]), int(row["memory_mib"]), gpus, share, models)
            pods.append(known.setdefault(pod, pod))
    return pods


def traces_in(directory: Path) -> list[str]:
    """Name the variants that a folder has."""
    prefix = "openb_pod_list_"
    return sorted(path.stem.removeprefix(prefix) for path in directory.glob(f"{prefix}*.csv"))


def capacity_of(machines: Sequence[Machine]) -> int:
    """Return the thousandths of all GPUs."""
    return WHOLE_DEVICE * sum(machine.gpus for machine in machines)


def arrivals(pods: Sequence[Pod], capacity: int, seed: int, until: float) -> Iterator[Pod]:
    """Yield the pods in random order, then draws from them, until they ask for so much of the GPUs."""
    chance = random.Random(seed)
    shuffled = list(pods)
    chance.shuffle(shuffled)
    asked = number = 0
    while asked <= until * capacity:
        pod = shuffled[number] if number < len(shuffled) else chance.choice(pods)
        number += 1
        asked += pod.gpu
        yield pod


def node_of(machine: Machine, position: int) -> Node:
    """Return a node of Orchestrion; the lower its position, the lower its id."""
    room = Resources(cpu_millicores=machine.cpu, memory_bytes=machine.memory * MIB)
    name = f"n{position:05}"
    return Node(
        id=NodeId(name),
        name=name,
        capacity=room,
        allocatable=room,
        labels={MODEL: machine.model},
        devices=tuple(Device(id=f"gpu{number}", model=machine.model) for number in range(machine.gpus)),
    )


def workload_of(pod: Pod, number: int) -> WorkloadDefinition:
    """Return a workload of Orchestrion whose slots are such pods."""
    gpu = None
    if pod.gpus:
        gpu = GpuRequest(count=pod.whole) if pod.whole else GpuRequest(thousandths=pod.share)
    return WorkloadDefinition(
        metadata=Metadata(name=f"w{number}", uid=Uid(f"w{number:05}")),
        containers=(
            ContainerConfig(
                name="main",
                command=("true",),
                resources=Resources(cpu_millicores=pod.cpu, memory_bytes=pod.memory * MIB),
                gpu=gpu,
            ),
        ),
        placement=Placement(
            expressions=(Expression(key=MODEL, operator=Operator.IN, values=pod.models),) if pod.models else ()
        ),
    )


class Packer(Protocol):
    """A cluster, and a policy that fills it.

    Attributes:
        preparing: Seconds spent between decisions.
    """

    preparing: float

    def expect(self, pods: Sequence[Pod]) -> None:
        """Make what can be made before pods are placed, in this order."""
        ...

    def place(self, pod: Pod) -> object | None:
        """Take a place and return what releases it, or None."""
        ...

    def release(self, place: object) -> None:
        """Give a place up."""
        ...


@define
class Place:
    """Where a pod is: the node, and its GPUs by number."""

    pod: Pod
    position: int
    gpus: list[int]


@define
class CorePacker:
    """A policy on the core's structures. Which pod is on which GPU is kept here."""

    fleet: GpuFleet
    policy: Policy
    points: dict[tuple[str, ...], vec[i64]]
    free: list[list[int]]
    boards: dict[Pod, Board] = field(factory=dict)
    preparing: float = 0.0

    def expect(self, pods: Sequence[Pod]) -> None:
        """Make nothing: the pods do."""

    def place(self, pod: Pod) -> Place | None:
        """Take a place."""
        board = self.boards.get(pod)
        if board is None:
            demand = Demand(pod.cpu, pod.memory, pod.whole, vec[i64](pod.shares))
            board = self.boards[pod] = Board(self.policy, demand, self.points[pod.models])
        board.catch_up()
        position = board.best()
        if position == EMPTY:
            return None
        residue = self.policy.residue(position, board.demand)
        self.fleet.take(position, board.demand, residue)
        free = self.free[position]
        gpus = [number for number, each in enumerate(free) if each == residue][: pod.gpus]
        for number in gpus:
            free[number] -= pod.share
        return Place(pod, position, gpus)

    def release(self, place: object) -> None:
        """Give a place up."""
        assert isinstance(place, Place)
        free, fleet = self.free[place.position], self.fleet
        for number in place.gpus:
            free[number] += place.pod.share
        cpu, memory = fleet.cpu[place.position] + place.pod.cpu, fleet.memory[place.position] + place.pod.memory
        fleet.fill(place.position, cpu, memory, vec[i64](free))


def wish_of(pod: Pod, types: Sequence[NodeType]) -> Wish:
    """Return what a pod is to a plan."""
    may_go = frozenset(n for n, type_ in enumerate(types) if not pod.models or type_.model in pod.models)
    return Wish(pod.cpu, pod.memory, pod.whole, pod.shares, may_go)


def typical(pods: Sequence[Pod], types: Sequence[NodeType]) -> Typical:
    """Return the most frequent pods that make up 95 % of all, as FGD has them."""
    result = Typical()
    covered = 0
    for pod, count in Counter(pods).most_common():
        may_go = wish_of(pod, types).types
        suited = vec[i64]([int(number in may_go) for number in range(len(types))])
        result.add(pod.cpu, pod.gpus, pod.share, count / len(pods), suited)
        covered += count
        if covered >= TYPICAL * len(pods):
            break
    return result


def open_core(
    machines: Sequence[Machine], pods: Sequence[Pod], policy_of: Callable[[GpuFleet, list[NodeType]], Policy]
) -> CorePacker:
    """Open an empty cluster for a policy of the core."""
    kinds = Counter(machines)
    numbers = {machine: number for number, machine in enumerate(sorted(kinds))}
    types = [NodeType(each.cpu, each.memory, each.gpus, each.model, kinds[each]) for each in numbers]
    fleet = GpuFleet(
        vec[i64]([numbers[machine] for machine in machines]),
        vec[i64]([machine.gpus for machine in machines]),
        max(machine.gpus for machine in machines),
    )
    free = [[WHOLE] * machine.gpus for machine in machines]
    for position, machine in enumerate(machines):
        fleet.fill(position, machine.cpu, machine.memory, vec[i64](free[position]))
    points = {
        models: vec[i64]([0 if not models or machine.model in models else -1 for machine in machines])
        for models in {pod.models for pod in pods}
    }
    return CorePacker(fleet, policy_of(fleet, types), points, free)


def open_first_fit(machines: Sequence[Machine], pods: Sequence[Pod]) -> Packer:
    """The first node that has room."""
    return open_core(machines, pods, lambda fleet, _types: FirstFit(fleet))


def open_best_fit(machines: Sequence[Machine], pods: Sequence[Pod]) -> Packer:
    """The node that has least left."""
    most_cpu = max(machine.cpu for machine in machines)
    return open_core(machines, pods, lambda fleet, _types: BestFit(fleet, most_cpu))


def open_descent(machines: Sequence[Machine], pods: Sequence[Pod]) -> Packer:
    """FGD, which knows the trace's pods beforehand."""
    return open_core(machines, pods, lambda fleet, types: FragmentationDescent(fleet, typical(pods, types)))


def open_known(machines: Sequence[Machine], pods: Sequence[Pod]) -> Packer:
    """Expected fill that knows the trace's pods beforehand."""

    def policy_of(fleet: GpuFleet, types: list[NodeType]) -> Policy:
        counts: Counter[Wish] = Counter()
        for pod, count in Counter(pods).items():
            counts[wish_of(pod, types)] += count
        return plan(fleet, types, counts)

    return open_core(machines, pods, policy_of)


@define
class LedgerPacker:
    """Expected fill through `PackingLedger`, which learns what is asked for as it comes."""

    ledger: PackingLedger
    mix: Mix
    preparing: float = 0.0
    workloads: dict[Pod, WorkloadDefinition] = field(factory=dict)
    number: int = 0
    requests: deque[SchedulingRequest] = field(factory=deque)

    def expect(self, pods: Sequence[Pod]) -> None:
        """Make the requests of pods that are going to be placed, in this order."""
        self.requests.extend(self.request(pod) for pod in pods)

    def request(self, pod: Pod) -> SchedulingRequest:
        """Return a request for one more such pod."""
        workload = self.workloads.get(pod)
        if workload is None:
            workload = self.workloads[pod] = workload_of(pod, len(self.workloads))
        self.number += 1
        return SchedulingRequest(workload=workload, slots=(InstanceKey(workload.metadata.uid, self.number, 1),))

    def place(self, pod: Pod) -> InstanceKey | None:
        """Take a place."""
        request = self.requests.popleft() if self.requests else self.request(pod)
        if self.mix.observe(request.workload):
            begin = time.thread_time()
            self.ledger.prepare()
            self.preparing += time.thread_time() - begin
        return request.slots[0] if self.ledger.place([request]).placed_count else None

    def release(self, place: object) -> None:
        """Give a place up."""
        assert isinstance(place, InstanceKey)
        self.mix.observe_end(self.ledger.release([place]))


def open_learned(machines: Sequence[Machine], _pods: Sequence[Pod]) -> Packer:
    """Expected fill that knows nothing beforehand, through the public interface."""
    nodes = [node_of(machine, position) for position, machine in enumerate(machines)]
    mix = Mix()
    return LedgerPacker(PackingLedger(nodes, profile="gpu", mix=mix), mix)


POLICIES: dict[str, Callable[[Sequence[Machine], Sequence[Pod]], Packer]] = {
    "first-fit": open_first_fit,
    "best-fit": open_best_fit,
    "fgd": open_descent,
    "known": open_known,
    "learned": open_learned,
}


@frozen
class Row:
    """One figure: the mean of `runs` runs where the name says so, else the median, with the least and the most."""

    name: str
    value: float
    unit: str
    reach: str
    min: float
    max: float
    runs: int


def row(name: str, values: Sequence[float], unit: str, reach: str, middle: Callable[[Sequence[float]], float]) -> Row:
    """Sum runs up."""
    return Row(name, middle(values), unit, reach, min(values), max(values), len(values))


@frozen
class Replayed:
    """One replay.

    Attributes:
        allocated: GPUs in use, in %.
        per_second: Placements a second, without what was prepared between decisions.
        preparing: How long that took in all, in seconds.
        dropped_without_gpus: How many pods that ask for no GPU were dropped.
    """

    allocated: float
    per_second: float
    preparing: float
    dropped_without_gpus: int


def replay(machines: Sequence[Machine], pods: Sequence[Pod], policy: str, seed: int) -> Replayed:
    """Fill a cluster whose nodes are in random order."""
    shuffled = list(machines)
    random.Random(-seed).shuffle(shuffled)
    capacity = capacity_of(machines)
    packer = POLICIES[policy](shuffled, pods)
    queue = list(arrivals(pods, capacity, seed, UNTIL))
    used = asked = dropped = 0
    samples = []
    packer.expect(queue)
    begin = time.thread_time()
    for pod in queue:
        asked += pod.gpu
        if packer.place(pod) is not None:
            used += pod.gpu
        elif not pod.gpus:
            dropped += 1
        if round(100 * asked / capacity) == 100:
            samples.append(100 * used / capacity)
    spent = time.thread_time() - begin - packer.preparing
    return Replayed(statistics.fmean(samples), len(queue) / spent, packer.preparing, dropped)


@frozen
class Departed:
    """One run with departures: GPU-hours refused in %, and the p99 of a decision in us in each tenth of the run."""

    refused: float
    p99s: list[float]


def depart(
    machines: Sequence[Machine], pods: Sequence[Pod], policy: str, load: float, count: int, seed: int
) -> Departed:
    """Let pods come and go."""
    chance = random.Random(seed)
    shuffled = list(machines)
    chance.shuffle(shuffled)
    packer = POLICIES[policy](shuffled, pods)
    gap = statistics.fmean(pod.gpu for pod in pods) / (load * capacity_of(machines))
    leaving: list[tuple[float, int, object]] = []
    now = asked = refused = 0.0
    spent: list[int] = []
    for number in range(count):
        pod = chance.choice(pods)
        now += chance.expovariate(1 / gap)
        lifetime = chance.expovariate(1)
        while leaving and leaving[0][0] <= now:
            packer.release(heapq.heappop(leaving)[2])
        prepared = packer.preparing
        begin = time.thread_time_ns()
        place = packer.place(pod)
        spent.append(time.thread_time_ns() - begin - int(1e9 * (packer.preparing - prepared)))
        if place is not None:
            heapq.heappush(leaving, (now + lifetime, number, place))
        if number >= WARM_UP:
            asked += pod.gpu * lifetime
            refused += pod.gpu * lifetime * (place is None)
    size = len(spent) // TENTHS
    tenths = [sorted(spent[start : start + size]) for start in range(0, size * TENTHS, size)]
    return Departed(100 * refused / asked, [tenth[len(tenth) * 99 // 100] / 1000 for tenth in tenths])


def replays(
    machines: Sequence[Machine], data: Path, traces: Sequence[str], policies: Sequence[str], seeds: int
) -> list[Row]:
    """Fill clusters, for each trace and policy with several seeds."""
    rows = []
    for trace in traces:
        pods = read_pods(data, trace)
        for policy in policies:
            runs = [replay(machines, pods, policy, FIRST_SEED + number) for number in range(seeds)]
            values = [run.allocated for run in runs]
            reach = REACH.get((trace, policy), "-")
            rows.append(row(f"{trace}, {policy}: GPUs in use (mean)", values, "%", reach, statistics.fmean))
            spread = statistics.stdev(values) if seeds > 1 else 0.0
            dropped = statistics.fmean(run.dropped_without_gpus for run in runs)
            rates = [run.per_second for run in runs]
            preparing = statistics.median(run.preparing for run in runs)
            print(
                f"{trace:12} {policy:10} {rows[-1].value:.2f} +- {spread:.2f}"
                f"  {statistics.median(rates):,.0f}/s and {preparing:.2f} s between"
                f"  {dropped:.1f} pods without GPUs dropped",
                flush=True,
            )
            if policy == "learned":
                rows.append(
                    row(f"{trace}, learned, through the ledger", rates, "placements/s", ">= 40,000", statistics.median)
                )
    return rows


def departures(machines: Sequence[Machine], data: Path, count: int) -> list[Row]:
    """Let pods come and go, for several loads and policies."""
    pods = read_pods(data, DEPARTING_TRACE)
    rows = []
    for load in LOADS:
        for policy in DEPARTING:
            seeds = range(FIRST_SEED, FIRST_SEED + DEPARTING_SEEDS)
            runs = [depart(machines, pods, policy, load, count, seed) for seed in seeds]
            refused = [run.refused for run in runs]
            p99s = [statistics.median(tenth) for tenth in zip(*(run.p99s for run in runs), strict=True)]
            reach = "least" if policy == "learned" else "-"
            name = f"departures, {100 * load:g} % asked, {policy}"
            rows.append(row(f"{name}: GPU-hours refused (mean)", refused, "%", reach, statistics.fmean))
            rows.append(row(f"{name}: p99 of a decision, by tenths", p99s, "us", "unchanged", statistics.median))
            print(
                f"{name}: {rows[-2].value:.2f} % refused ({rows[-2].min:.2f} to {rows[-2].max:.2f}),"
                f" p99 in us by tenths {' '.join(f'{each:.0f}' for each in p99s)}",
                flush=True,
            )
    return rows


def trace_options(description: str | None, seeds: int) -> argparse.ArgumentParser:
    """Return a parser of what all benchmarks on the trace are told."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the rows")
    parser.add_argument("--data", type=Path, help="the folder of the trace; without it nothing is measured")
    parser.add_argument("--seeds", type=int, default=seeds)
    return parser


def report(chosen: argparse.Namespace, measure: Callable[[], list[Row]]) -> None:
    """Measure, where the trace is at hand, and write the rows."""
    rows: list[Row] = []
    if chosen.data is None:
        print("left out: this needs the openb trace; tell where it is with --data DIR")
    else:
        print("compiled" if is_compiled() else "interpreted")
        rows = measure()
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(each) for each in rows]))


def main(argv: list[str] | None = None) -> None:
    """Measure, and write the rows."""
    parser = trace_options(__doc__, SEEDS)
    parser.add_argument("--traces", nargs="*", help="which variants; all that there are, if none are named")
    parser.add_argument("--policies", nargs="*", default=list(POLICIES), choices=POLICIES)
    parser.add_argument("--arrivals", type=int, default=ARRIVALS, help="how many of them with departures; 0 for none")
    chosen = parser.parse_args(argv)

    def measure() -> list[Row]:
        machines = read_machines(chosen.data)
        traces = traces_in(chosen.data) if chosen.traces is None else chosen.traces
        rows = replays(machines, chosen.data, traces, chosen.policies, chosen.seeds)
        if chosen.arrivals:
            rows += departures(machines, chosen.data, chosen.arrivals)
        return rows

    report(chosen, measure)


if __name__ == "__main__":
    main()
