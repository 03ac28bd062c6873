"""What a bounded number of moves adds on the openb trace, which is not in the project (`--data DIR`).

Pods arrive, as in the benchmark "quality", through the ledger until they have asked for all GPUs; what does not fit is
refused. That is done with the profile `gpu`, which leaves little to gain, and with `binpack`, which knows nothing of
GPUs. Then each pod with GPUs that was refused is asked for again, in order, and may move so many others. What is placed
stays, and so do moves. The figure is the part of all GPUs in use.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Final, Literal

from attrs import define, field, frozen
from orchestrion.scheduler_interface import (
    AssignNode,
    PlacedInstance,
    SchedulingRequest,
    StaticClusterView,
    node_view,
    placed_instance,
    with_instances,
)
from orchestrion.scheduler_packing import Mix, Move, PackingLedger, Rearrangement
from orchestrion.shared_types import InstanceKey, NodeId, WorkloadDefinition
from quality import (
    FIRST_SEED,
    Machine,
    Pod,
    Row,
    arrivals,
    capacity_of,
    node_of,
    read_machines,
    read_pods,
    report,
    row,
    trace_options,
    workload_of,
)

NAME = "moves"
TAKES_DATA = True
TRACES = ("default", "gpushare60")
MOVES = (1, 2, 4)
PROFILES: Final[tuple[Literal["gpu", "binpack"], ...]] = ("gpu", "binpack")
SEEDS = 2


@define
class Filled:
    """A cluster that is as full as it gets without moves.

    Attributes:
        view: The cluster.
        workloads: What is placed there.
        refused: The pods with GPUs that were refused, in order.
        used: Thousandths of GPUs in use.
    """

    view: StaticClusterView
    workloads: list[WorkloadDefinition]
    refused: list[tuple[Pod, SchedulingRequest]] = field(factory=list)
    used: int = 0


def fill(machines: Sequence[Machine], pods: Sequence[Pod], seed: int, profile: Literal["gpu", "binpack"]) -> Filled:
    """Let pods arrive until they have asked for all GPUs."""
    nodes = [node_of(machine, position) for position, machine in enumerate(machines)]
    mix = Mix() if profile == "gpu" else None
    ledger = PackingLedger(nodes, profile=profile, mix=mix)
    workloads: dict[Pod, WorkloadDefinition] = {}
    placed: dict[NodeId, list[PlacedInstance]] = {}
    filled = Filled(StaticClusterView(), [])
    for number, pod in enumerate(arrivals(pods, capacity_of(machines), seed, 1.0)):
        workload = workloads.setdefault(pod, workload_of(pod, len(workloads)))
        request = SchedulingRequest(workload=workload, slots=(InstanceKey(workload.metadata.uid, number, 1),))
        if mix is not None:
            mix.observe(workload)
        (decision,) = ledger.place([request])
        if decision is not None:
            placed.setdefault(decision.node_id, []).append(placed_instance(workload, decision))
            filled.used += pod.gpu
        elif pod.gpu:
            filled.refused.append((pod, request))
    filled.view = StaticClusterView(node_view(node, placed.get(node.id, ())) for node in nodes)
    filled.workloads = list(workloads.values())
    return filled


def carried_out(
    view: StaticClusterView, steps: Iterable[Move | AssignNode], workload: WorkloadDefinition
) -> StaticClusterView:
    """Return the view after some steps, and check that no node holds more than it has."""
    for step in steps:
        if isinstance(step, Move):
            to = step.to
            source = view.get(step.from_node)
            assert source is not None
            instance = source.instances[to.slot]
            left = (each for key, each in source.instances.items() if key != to.slot)
            view = view.changed(node_view(source.node, left))
            arriving = PlacedInstance(
                key=instance.key,
                namespace=instance.namespace,
                workload=instance.workload,
                demand=instance.demand,
                device_thousandths=to.device_thousandths,
            )
        else:
            to, arriving = step, placed_instance(workload, step)
        target = view.get(to.node_id)
        assert target is not None
        after = with_instances(target, [arriving])
        assert after.reserved.fits_in(after.node.allocatable)
        assert max(after.device_thousandths.values(), default=0) <= 1000
        view = view.changed(after)
    return view


@frozen
class Gained:
    """What moves came to: GPUs in use in %, how much of what was refused got a place, moves, and ms for each pod."""

    in_use: float
    placed: float
    moves: int
    spent: float


def gain(filled: Filled, capacity: int, max_moves: int) -> Gained:
    """Ask again for everything that was refused."""
    view, gained, moves = filled.view, 0, 0
    hopeless: set[Pod] = set()
    rearrangement = Rearrangement(filled.view, filled.workloads)
    spent = 0.0
    for pod, request in filled.refused:
        if pod in hopeless:
            continue
        began = time.thread_time()
        room = rearrangement.make_room(request, max_moves=max_moves)
        spent += time.thread_time() - began
        if not room.steps:
            # Nothing has changed since: the next such pod would be answered the same.
            hopeless.add(pod)
            continue
        hopeless.clear()
        view = carried_out(view, room.steps, request.workload)
        gained += pod.gpu
        moves += len(room.moves)
    refused = sum(pod.gpu for pod, _ in filled.refused)
    return Gained(
        100 * (filled.used + gained) / capacity,
        100 * gained / max(1, refused),
        moves,
        1000 * spent / max(1, len(filled.refused)),
    )


def mean(name: str, unit: str, values: Sequence[float]) -> Row:
    """Sum runs up of what nothing has to reach."""
    return row(f"{name} (mean)", values, unit, "report", statistics.fmean)


def rows(data: Path, traces: Sequence[str], seeds: int, most: Sequence[int]) -> list[Row]:
    """Measure all of them."""
    found: list[Row] = []
    machines = read_machines(data)
    capacity = capacity_of(machines)
    for trace, profile in product(traces, PROFILES):
        pods = read_pods(data, trace)
        states = [fill(machines, pods, FIRST_SEED + number, profile) for number in range(seeds)]
        case = f"{trace}, {profile}"
        found.append(mean(f"{case}, no moves: GPUs in use", "%", [100 * each.used / capacity for each in states]))
        print(f"{case}, no moves: {found[-1].value:.2f} %", flush=True)
        for max_moves in most:
            gains = [gain(each, capacity, max_moves) for each in states]
            name = f"{case}, {max_moves} moves for each refusal"
            found.append(mean(f"{name}: GPUs in use", "%", [each.in_use for each in gains]))
            found.append(mean(f"{name}: refused GPUs placed", "%", [each.placed for each in gains]))
            found.append(mean(f"{name}: moves in all", "moves", [each.moves for each in gains]))
            found.append(mean(f"{name}: time for each pod", "ms", [each.spent for each in gains]))
            print(
                f"{name}: {found[-4].value:.2f} % in use, {found[-3].value:.1f} % of the refused GPUs placed,"
                f" {found[-2].value:.0f} moves, {found[-1].value:.1f} ms each",
                flush=True,
            )
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and write the rows."""
    parser = trace_options(__doc__, SEEDS)
    parser.add_argument("--traces", nargs="*", default=list(TRACES), help="which variants")
    parser.add_argument("--moves", nargs="*", type=int, default=list(MOVES), help="how many for each refusal")
    chosen = parser.parse_args(argv)
    report(chosen, lambda: rows(chosen.data, chosen.traces, chosen.seeds, chosen.moves))


if __name__ == "__main__":
    main()
