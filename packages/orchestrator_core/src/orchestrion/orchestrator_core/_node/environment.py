"""What an instance's containers are told, and the config that reaches the runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import evolve
from orchestrion.orchestrator_core._state.facts import wanted_replicas
from orchestrion.orchestrator_core._state.records import InstanceName, WorkloadName
from orchestrion.orchestrator_core._state.world import WorkloadRecord
from orchestrion.runtime_interface import VolumeSource
from orchestrion.shared_types import (
    ContainerConfig,
    ContainerHealth,
    ContainerState,
    InstanceState,
    NodeId,
    PortMapping,
    WorkloadDefinition,
    WorkloadKind,
    endpoints_variable,
    expand_container,
    port_variable,
    volume_variable,
)


def endpoints_of(record: WorkloadRecord) -> dict[str, list[str]]:
    """Return `address:port` of each port of a workload's serving instances, by port name, in a stable order."""
    found = dict[str, list[str]]()
    for name in sorted(record.instances):
        instance = record.instances[name]
        if instance.state is not InstanceState.RUNNING or instance.status.healthy_since is None:
            continue
        for container in instance.status.containers:
            if container.state is ContainerState.RUNNING and container.health is not ContainerHealth.UNHEALTHY:
                for port, number in container.ports.items():
                    found.setdefault(port, []).append(f"{container.address or '127.0.0.1'}:{number}")
    return found


def instance_variables(
    name: InstanceName,
    node_id: NodeId,
    template: WorkloadDefinition,
    workload: WorkloadRecord,
    volumes: tuple[VolumeSource, ...],
    dependencies: Mapping[str, WorkloadRecord],
) -> dict[str, str]:
    """Return what every container of an instance is told, but for its own ports and attempt.

    Args:
        name: The instance.
        node_id: Where it runs.
        template: What it runs.
        workload: Its workload as it is now.
        volumes: The directories behind its volumes.
        dependencies: The workloads that it comes after, by name.
    """
    count = template.completions if template.kind is WorkloadKind.BATCH else wanted_replicas(workload)
    variables = {
        "ORCHESTRION_NAMESPACE": name.namespace,
        "ORCHESTRION_WORKLOAD": name.workload,
        "ORCHESTRION_INSTANCE": name.short,
        "ORCHESTRION_INDEX": str(name.slot),
        "ORCHESTRION_EPOCH": str(name.epoch),
        "ORCHESTRION_COUNT": str(count),
        "ORCHESTRION_NODE": node_id,
    }
    for source in volumes:
        variables[volume_variable(source.volume)] = source.host_path
    for other, record in dependencies.items():
        if record.spec is not None:
            for container in record.spec.definition.containers:
                for port in container.ports:
                    variables.setdefault(endpoints_variable(other, port.name), "")
        for port_name, endpoints in endpoints_of(record).items():
            variables[endpoints_variable(other, port_name)] = ",".join(endpoints)
    return variables


def dependencies_of_template(
    workload: WorkloadRecord, workloads: Mapping[WorkloadName, WorkloadRecord]
) -> dict[str, WorkloadRecord]:
    """Return the workloads that a workload comes after, as far as they are there."""
    if workload.spec is None:
        return {}
    found = {}
    for dependency in workload.spec.definition.after:
        record = workloads.get(WorkloadName(workload.name.namespace, dependency.workload))
        if record is not None:
            found[dependency.workload] = record
    return found


def complete_config(
    config: ContainerConfig,
    variables: Mapping[str, str],
    attempt: int,
    lease_port: Callable[[PortMapping], int],
    inherited: Mapping[str, str],
) -> ContainerConfig:
    """Return the config that reaches the runtime: ports with numbers, texts expanded, the environment complete.

    Args:
        config: As the author wrote it.
        variables: What the instance is told.
        attempt: Which attempt it is.
        lease_port: Gives a port that has no number one.
        inherited: The environment that `inherit_env` names variables of.

    Raises:
        ReferenceInvalid: A text refers to what does not exist.
        NoPortFree: A port can't be had.
    """
    if config.ports:
        ports = (
            port if port.host_port is not None else evolve(port, host_port=lease_port(port)) for port in config.ports
        )
        config = evolve(config, ports=tuple(ports))
    told = {**variables, "ORCHESTRION_ATTEMPT": str(attempt)}
    told.update((port_variable(port.name), str(port.host_port)) for port in config.ports)
    known = {name: inherited[name] for name in config.inherit_env if name in inherited}
    return expand_container(config, {**known, **told}, told=told)
