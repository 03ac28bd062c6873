"""Nodes and workloads, as the tests of this package ask for them."""

from __future__ import annotations

from orchestrion.shared_types import (
    ContainerConfig,
    Device,
    GpuRequest,
    Metadata,
    Node,
    NodeId,
    Placement,
    PortMapping,
    Resources,
    Taint,
    Topology,
    Uid,
    WorkloadDefinition,
    WorkloadKind,
)

ANYWHERE = Placement()


def a_node(
    name: str | int,
    cpu: int = 10,
    memory: int = 100,
    *,
    gpus: int = 0,
    zone: str = "",
    taints: tuple[Taint, ...] = (),
) -> Node:
    """Return a node; a number is a name such as "n1", and its GPUs are "n1-gpu0" and so on."""
    name = name if isinstance(name, str) else f"n{name}"
    room = Resources(cpu_millicores=cpu, memory_bytes=memory, disk_bytes=100)
    return Node(
        id=NodeId(name),
        name=name,
        capacity=room,
        allocatable=room,
        devices=tuple(Device(id=f"{name}-gpu{number}") for number in range(gpus)),
        taints=taints,
        topology=Topology(zone=zone),
    )


def a_workload(
    number: int,
    cpu: int = 0,
    memory: int = 0,
    *,
    placement: Placement = ANYWHERE,
    gpu: GpuRequest | None = None,
    port: int | None = None,
    priority: int = 0,
    kind: WorkloadKind = WorkloadKind.SERVICE,
) -> WorkloadDefinition:
    """Return a workload, with a label `app` that is its number."""
    container = ContainerConfig(
        name="main",
        command=("true",),
        resources=Resources(cpu_millicores=cpu, memory_bytes=memory),
        ports=() if port is None else (PortMapping(name="http", host_port=port),),
        gpu=gpu,
    )
    metadata = Metadata(
        name=f"w{number}", uid=Uid(f"01900000-0000-7000-8000-{number:012}"), labels={"app": str(number)}
    )
    return WorkloadDefinition(
        metadata=metadata, kind=kind, containers=(container,), placement=placement, priority=priority
    )
