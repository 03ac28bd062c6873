"""Histories of requests on a cluster that changes, with all constraints on, for schedulers to be compared by."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TypeVar

from attrs import frozen
from orchestrion.scheduler_interface import SchedulingRequest, StaticClusterView, ViewKeeper, node_view
from orchestrion.shared_types import (
    MAX_AMOUNT,
    ContainerConfig,
    Device,
    Expression,
    GpuRequest,
    InstanceAffinity,
    InstanceKey,
    Metadata,
    Node,
    NodeAffinity,
    NodeCondition,
    NodeId,
    NodeStatus,
    Operator,
    Placement,
    PortMapping,
    Resources,
    Spread,
    Taint,
    TaintEffect,
    Toleration,
    Topology,
    Uid,
    WorkloadDefinition,
    WorkloadKind,
)

T = TypeVar("T")
HUGE = (MAX_AMOUNT, MAX_AMOUNT - 1, MAX_AMOUNT // 2)
WEIGHTS = (None, None, None, 1, 99, 100)
PRIORITIES = (50_000, 10, 30, 20, 10)
GRACES = (10.0, 10.0, 5.0, 20.0, 0.5)
TOPOLOGIES = ("node", "zone", "disk")
APPS: tuple[dict[str, str], ...] = ({"app": "web"}, {"app": "db"}, {"app": "web", "tier": "front"}, {})
LINKS: tuple[dict[str, str], ...] = ({"nvlink/gpu0": "a", "nvlink/gpu1": "a"}, {})
EXPRESSIONS = (
    Expression(key="disk", operator=Operator.IN, values=("ssd",)),
    Expression(key="disk", operator=Operator.NOT_IN, values=("hdd",)),
    Expression(key="disk", operator=Operator.EXISTS),
    Expression(key="gen", operator=Operator.GREATER, values=("2",)),
    Expression(key="gen", operator=Operator.DOES_NOT_EXIST),
)


@frozen
class Step:
    """A request, then a node that joins or changes, and how many instances leave the first one."""

    request: SchedulingRequest
    node: Node | None
    leaving: int


class History:
    """A cluster, and what happens to it; all by one seed."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self.nodes = [self._node(number) for number in range(self._chance.randint(1, 8))]
        self._workloads = [self._workload(number) for number in range(self._chance.randint(1, 5))]

    def steps(self) -> Iterator[Step]:
        for _ in range(self._chance.randint(1, 6)):
            workload = self._chance.choice(self._workloads)
            indexes = self._chance.sample(range(9), self._chance.randint(1, 4))
            request = SchedulingRequest(
                workload=workload,
                slots=tuple(InstanceKey(workload.metadata.uid, each, self._chance.randint(1, 2)) for each in indexes),
                only_node=self._rarely(NodeId(f"n{self._chance.randint(0, 4)}"), None),
                explain=self._rarely(True, False),
            )
            number = self._chance.randint(0, 20)
            yield Step(request, self._node(number) if number < 10 else None, self._rarely(2, 0))

    def _rarely(self, one: T, other: T) -> T:
        """Few constraints at a time bind, or nothing would have a place."""
        return one if self._chance.random() < 0.08 else other

    def _node(self, number: int) -> Node:
        chance = self._chance
        is_huge = self._rarely(True, False)
        room = Resources(
            cpu_millicores=chance.choice(HUGE) if is_huge else chance.randint(5, 40),
            memory_bytes=chance.choice(HUGE) if is_huge else chance.randint(5, 40),
            disk_bytes=self._rarely(chance.randint(0, 5), 100),
            extended=self._rarely({}, {"licence": 4}),
        )
        return Node(
            id=NodeId(f"n{number}"),
            name=f"n{number}",
            status=self._rarely(NodeStatus.UNKNOWN, NodeStatus.READY),
            labels=chance.choice([{}, {"disk": "ssd"}, {"disk": "hdd", "gen": "3"}]) | LINKS[number % 2],
            taints=chance.choice([(), (), (Taint("gpu"),), (Taint("old", effect=TaintEffect.PREFER_NO_SCHEDULE),)]),
            capacity=room,
            allocatable=room,
            devices=tuple(
                Device(
                    id=f"gpu{each}",
                    model=chance.choice(["T4", "A100"]),
                    memory_bytes=chance.randint(0, 2),
                    numa_node=each % 2,
                )
                for each in range(chance.choice([0, 1, 3]))
            ),
            topology=Topology(zone=chance.choice(["", "a", "b", "c"])),
            drivers=self._rarely(frozenset({"docker"}), frozenset({"process"})),
            conditions=self._rarely((NodeCondition(type="DiskPressure", active=True),), ()),
            cordoned=self._rarely(True, False),
        )

    def _workload(self, number: int) -> WorkloadDefinition:
        chance = self._chance
        most = self._rarely(MAX_AMOUNT // 5, 4)
        containers = tuple(
            ContainerConfig(
                name=f"c{each}",
                command=("true",),
                resources=Resources(
                    cpu_millicores=chance.randint(0, most),
                    memory_bytes=chance.randint(0, most),
                    disk_bytes=self._rarely(chance.randint(1, 60), 0),
                    extended=self._rarely({chance.choice(["licence", "unknown"]): 1}, {}),
                ),
                ports=self._rarely((PortMapping(name="http", host_port=80 + each),), ()),
                gpu=self._rarely(
                    chance.choice([GpuRequest(count=1), GpuRequest(count=2), GpuRequest(thousandths=400, model="a1")]),
                    None,
                ),
                stop_grace_seconds=GRACES[number],
            )
            for each in range(chance.randint(1, 2))
        )
        return WorkloadDefinition(
            metadata=Metadata(
                name=f"w{number}",
                namespace=self._rarely("other", "default"),
                uid=Uid(f"01900000-0000-7000-8000-{number:012}"),
                labels=chance.choice(APPS),
            ),
            kind=WorkloadKind.SERVICE,
            containers=containers,
            priority=PRIORITIES[number],
            placement=self._placement(),
        )

    def _placement(self) -> Placement:
        chance = self._chance
        return Placement(
            select=self._rarely({"zone": "a"}, {}),
            expressions=self._rarely((chance.choice(EXPRESSIONS),), ()),
            node_affinities=tuple(
                NodeAffinity(expressions=(chance.choice(EXPRESSIONS),), weight=chance.choice(WEIGHTS))
                for _ in range(chance.choice([0, 0, 0, 1, 2]))
            ),
            instance_affinities=tuple(
                InstanceAffinity(
                    match_labels=chance.choice(APPS),
                    by=chance.choice(TOPOLOGIES),
                    anti=chance.random() < 0.5,
                    weight=chance.choice(WEIGHTS),
                )
                for _ in range(chance.choice([0, 0, 0, 1, 2]))
            ),
            spreads=tuple(
                Spread(by=chance.choice(TOPOLOGIES), max_skew=chance.randint(1, 2), required=chance.random() < 0.5)
                for _ in range(chance.choice([0, 0, 1, 2]))
            ),
            tolerations=chance.choice([(), (Toleration(),), (Toleration(key="gpu"),)]),
        )


def after(view: StaticClusterView, step: Step) -> StaticClusterView:
    """Replace or add a node, and let go of some of the instances of the first."""
    changes = []
    if step.node is not None:
        before = view.get(step.node.id)
        changes.append(node_view(step.node, () if before is None else before.instances.values()))
    first = next(iter(view))
    if step.leaving and (step.node is None or step.node.id != first.node.id):
        staying = sorted(first.instances.values(), key=lambda each: str(each.key))[step.leaving :]
        changes.append(node_view(first.node, staying))
    return view.changed(*changes) if changes else view


def follow(keeper: ViewKeeper, view: StaticClusterView) -> None:
    """Tell a keeper, change by change, of what it does not have as a view says; all nodes have leases."""
    known = {each.node.id: each for each in keeper.view()}
    for after in view:
        before = known.get(after.node.id)
        keeper.set_node(after.node)
        keeper.set_leased(after.node.id, True)
        for key in () if before is None else before.instances.keys() - after.instances.keys():
            keeper.remove(key)
        for instance in after.instances.values():
            keeper.put(after.node.id, instance)
