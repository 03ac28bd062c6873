"""Small nodes, workloads and requests for the kit's own examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve
from immutabledict import immutabledict
from orchestrion.scheduler_interface import (
    HostPort,
    NodeView,
    PlacedInstance,
    SchedulingRequest,
    StaticClusterView,
    node_view,
)
from orchestrion.shared_types import (
    MAX_AMOUNT,
    ContainerConfig,
    GpuRequest,
    InstanceKey,
    Metadata,
    Node,
    NodeId,
    Placement,
    PortMapping,
    Protocol,
    Resources,
    Uid,
    WorkloadDefinition,
)

WORKLOAD = Uid("01900000-0000-7000-8000-000000000001")
NEIGHBOUR = Uid("01900000-0000-7000-8000-000000000002")
NO_LABELS: Mapping[str, str] = immutabledict()


def resources(cpu: int = 0, memory: int = 0, disk: int = 0, **extended: int) -> Resources:
    """Return amounts."""
    return Resources(cpu_millicores=cpu, memory_bytes=memory, disk_bytes=disk, extended=extended)


def node(node_id: str = "n1", room: Resources | None = None, **attributes: Any) -> Node:
    """Return a Ready node with room for all that is asked for, unless said otherwise."""
    amounts = resources(cpu=1000, memory=1000, disk=1000) if room is None else room
    plenty = evolve(amounts, cpu_millicores=MAX_AMOUNT, memory_bytes=MAX_AMOUNT, disk_bytes=MAX_AMOUNT)
    return Node(**{"id": NodeId(node_id), "name": node_id, "capacity": plenty, "allocatable": amounts, **attributes})


def with_amount(amounts: Resources, dimension: str, amount: int) -> Resources:
    """Return amounts with one of them replaced."""
    match dimension:
        case "cpu_millicores":
            return evolve(amounts, cpu_millicores=amount)
        case "memory_bytes":
            return evolve(amounts, memory_bytes=amount)
        case "disk_bytes":
            return evolve(amounts, disk_bytes=amount)
        case _:
            return evolve(amounts, extended={**amounts.extended, dimension: amount})


def one(node: Node, *instances: PlacedInstance) -> StaticClusterView:
    """Return a cluster of one node."""
    return StaticClusterView([node_view(node, instances)])


def cluster(*nodes: Node | NodeView) -> StaticClusterView:
    """Return a cluster of nodes."""
    return StaticClusterView(each if isinstance(each, NodeView) else node_view(each) for each in nodes)


def container(
    name: str = "main",
    wants: Resources | None = None,
    ports: tuple[HostPort, ...] = (),
    gpu: GpuRequest | None = None,
    driver: str | None = None,
) -> ContainerConfig:
    """Return a container."""
    return ContainerConfig(
        name=name,
        driver=driver,
        command=("serve",),
        resources=resources() if wants is None else wants,
        ports=tuple(
            PortMapping(name=f"p{position}", protocol=protocol, host_port=number)
            for position, (protocol, number) in enumerate(ports)
        ),
        gpu=gpu,
    )


def workload(
    *containers: ContainerConfig, labels: Mapping[str, str] = NO_LABELS, **placement: Any
) -> WorkloadDefinition:
    """Return a workload of these containers, or of one that asks for nothing."""
    return WorkloadDefinition(
        metadata=Metadata(name="web", uid=WORKLOAD, generation=1, labels=labels),
        containers=containers or (container(),),
        placement=Placement(**placement),
    )


def slot(index: int = 0, epoch: int = 1) -> InstanceKey:
    """Return a slot of the workload."""
    return InstanceKey(WORKLOAD, index, epoch)


def asking(definition: WorkloadDefinition, slots: int = 1, **options: Any) -> SchedulingRequest:
    """Return a request for so many slots."""
    return SchedulingRequest(workload=definition, slots=tuple(slot(index) for index in range(slots)), **options)


def neighbour(index: int = 0, **attributes: Any) -> PlacedInstance:
    """Return an instance of another workload."""
    key = InstanceKey(NEIGHBOUR, index, 1)
    return PlacedInstance(**{"key": key, "namespace": "default", "workload": "neighbour", **attributes})


def sibling(index: int = 0, epoch: int = 1, **attributes: Any) -> PlacedInstance:
    """Return an instance of the workload itself."""
    return PlacedInstance(key=slot(index, epoch), namespace="default", workload="web", **attributes)


def tcp(number: int) -> HostPort:
    """Return a port."""
    return (Protocol.TCP, number)


def udp(number: int) -> HostPort:
    """Return a port."""
    return (Protocol.UDP, number)
