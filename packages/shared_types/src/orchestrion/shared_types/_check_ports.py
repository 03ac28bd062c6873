"""What is wrong with ports: names and numbers that clash."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from ._container import PortMapping, Protocol
from ._expand import (
    port_variable,
)
from ._finding import Finding, Path, bad_name
from ._ids import is_name
from ._workload import (
    WorkloadDefinition,
    WorkloadKind,
)


def port_findings(workload: WorkloadDefinition, at: Path) -> Iterator[Finding]:
    """Yield what is wrong with the ports of a workload."""
    names: set[str] = set()
    taken: dict[tuple[int, Protocol], str] = {}
    for index, container in enumerate(workload.containers):
        for port in container.ports:
            here = (*at, "containers", index, "ports", port.name)
            if not is_name(port.name):
                yield Finding(here, bad_name("port", port.name))
            if port.name in names:
                yield Finding(
                    here, f"port {port.name!r} is named twice in the workload; {port_variable(port.name)} is one"
                )
            names.add(port.name)
            if port.host_port is None:
                continue
            owner = taken.setdefault((port.host_port, port.protocol), port.name)
            if owner != port.name:
                yield Finding(here, f"port {port.host_port}/{port.protocol} is asked for by {owner!r} already")
            reason = _crowded(workload)
            if reason:
                yield Finding(
                    here,
                    f"port {port.host_port} is there once per node, but {reason}; leave the number to the node: {{}}",
                    True,
                )


def _crowded(workload: WorkloadDefinition) -> str:
    """Return why two instances of a workload may want the same node, or nothing."""
    match workload.kind:
        case WorkloadKind.SERVICE if workload.replicas > 1:
            return f"there are {workload.replicas} replicas"
        case WorkloadKind.SERVICE if workload.replicas == 1 and workload.update.max_surge > 0:
            return "an update starts a second instance first (update: {max_surge: 0, max_unavailable: 1} does not)"
        case WorkloadKind.BATCH if min(workload.completions, workload.parallelism or workload.completions) > 1:
            return "several completions run at once"
        case _:
            return ""


def shared_ports(workloads: Collection[WorkloadDefinition]) -> Iterator[Finding]:
    """Yield warnings of ports that several workloads ask for."""
    owners: dict[tuple[int, Protocol], str] = {}
    for workload, index, port in _static_ports(workloads):
        name = workload.metadata.name
        owner = owners.setdefault((port.host_port or 0, port.protocol), name)
        if owner != name:
            yield Finding(
                ("workloads", name, "containers", index, "ports", port.name),
                f"port {port.host_port} is asked for by workload {owner!r} too; they can't share a node",
                True,
            )


def _static_ports(
    workloads: Iterable[WorkloadDefinition],
) -> Iterator[tuple[WorkloadDefinition, int, PortMapping]]:
    for workload in workloads:
        for index, container in enumerate(workload.containers):
            for port in container.ports:
                if port.host_port is not None:
                    yield workload, index, port
