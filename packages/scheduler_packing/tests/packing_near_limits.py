"""Decisions on amounts near those that a machine's integers end at, and their digest.

As a program it prints whether the core runs compiled, and the digest of the first seeds, as many as its argument says.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from hashlib import sha256

import trio
from orchestrion.scheduler_interface import (
    ScheduleDecision,
    SchedulingRequest,
    StaticClusterView,
    node_view,
    with_decisions,
)
from orchestrion.scheduler_packing import PackingLedger, PackingScheduler, is_compiled
from orchestrion.scheduler_packing._profile import ProfileName
from orchestrion.shared_types import (
    MAX_AMOUNT,
    ContainerConfig,
    Device,
    GpuRequest,
    InstanceAffinity,
    InstanceKey,
    Metadata,
    Node,
    NodeId,
    Placement,
    Resources,
    Spread,
    Topology,
    Uid,
    WorkloadDefinition,
    WorkloadKind,
)

EDGES = (MAX_AMOUNT, MAX_AMOUNT // 2 + 1, MAX_AMOUNT // 3, 2**61, 2**53, 2**32, 2**31, 2**20, 1000, 1)


def cases(
    seed: int, profile: ProfileName
) -> Iterator[tuple[SchedulingRequest, StaticClusterView, list[ScheduleDecision]]]:
    """Yield some requests of one seed, the cluster as each finds it, and the decisions."""
    chance = random.Random(seed)

    def amount() -> int:
        return max(0, min(MAX_AMOUNT, chance.choice(EDGES) + chance.randint(-2, 2)))

    def room() -> Resources:
        extended = {"licence": amount()} if chance.random() < 0.3 else {}
        return Resources(cpu_millicores=amount(), memory_bytes=amount(), disk_bytes=amount(), extended=extended)

    nodes = []
    for number in range(chance.randint(1, 6)):
        has = room()
        gpus = tuple(Device(id=f"g{each}", memory_bytes=amount()) for each in range(chance.choice((0, 0, 2))))
        node = Node(
            id=NodeId(f"n{number}"),
            name=f"n{number}",
            capacity=has,
            allocatable=has,
            devices=gpus,
            topology=Topology(zone=chance.choice("abc")),
        )
        nodes.append(node_view(node))
    view = StaticClusterView(nodes)
    scheduler = PackingScheduler(profile=profile)
    for number in range(chance.randint(1, 3)):
        gpu = chance.choice((None, None, GpuRequest(count=1), GpuRequest(count=amount() or 1, memory_bytes=amount())))
        workload = WorkloadDefinition(
            metadata=Metadata(name=f"w{number}", uid=Uid(f"01900000-0000-7000-8000-{number:012}"), labels={"a": "b"}),
            kind=WorkloadKind.SERVICE,
            containers=(ContainerConfig(name="c", command=("true",), resources=room(), gpu=gpu),),
            placement=Placement(
                spreads=(Spread(by="zone", max_skew=max(1, amount())),) if chance.random() < 0.3 else (),
                instance_affinities=(InstanceAffinity(match_labels={"a": "b"}, by="node", anti=True, weight=100),)
                if chance.random() < 0.3
                else (),
            ),
        )
        slots = tuple(InstanceKey(workload.metadata.uid, amount(), max(1, amount())) for _ in range(3))
        request = SchedulingRequest(workload=workload, slots=tuple(dict.fromkeys(slots)), explain=chance.random() < 0.5)
        decisions = trio.run(scheduler.schedule, request, view)
        yield request, view, decisions
        view = with_decisions(view, workload, decisions)


def digest(seeds: int) -> str:
    """Return a digest of all decisions of the first seeds, by a scheduler and by a ledger."""
    whole = sha256()
    for seed in range(seeds):
        ledger = None
        for request, view, decisions in cases(seed, "gpu" if seed % 2 else "binpack"):
            whole.update(repr(decisions).encode())
            ledger = ledger or PackingLedger(each.node for each in view)
            keys = tuple(InstanceKey(key.workload_id, number, 1) for number, key in enumerate(request.slots))
            placed = ledger.place([SchedulingRequest(workload=request.workload, slots=keys)])
            whole.update(repr(placed.node_ids).encode())
    return whole.hexdigest()


if __name__ == "__main__":
    print(is_compiled(), digest(int(sys.argv[1])))
