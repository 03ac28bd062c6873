"""What one slot of a request needs of a node, worked out once per call."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen
from orchestrion.shared_types import (
    Expression,
    InstanceAffinity,
    NodeAffinity,
    NodeId,
    Resources,
    Spread,
    Uid,
)

from ._devices import DeviceWant, device_wants
from ._labels import Tolerated
from ._requests import check_request
from ._types import HostPort, SchedulerCapability, SchedulingRequest, drivers_of, host_ports_of

_FIXED_DIMENSIONS = ("cpu_millicores", "memory_bytes", "disk_bytes")


@frozen
class Needs:
    """What one slot of a request needs of a node. All slots are alike.

    Attributes:
        dimensions: Names of the resources that `demand` is about, in its order.
        demand: How much of each.
        host_ports: Static host ports, ascending.
        drivers: Ascending.
        select: Labels by key, ascending.
        expressions: As the workload has them.
        tolerated: The taints that the workload tolerates.
        devices: Devices and shares; empty where the scheduler can't grant any.
        spreads: As the workload has them, without required ones where the scheduler can't keep them.
        node_affinities: Required ones, where the scheduler keeps them.
        instance_affinities: Required and preferred ones, where the scheduler keeps them.
        unsupported: What the workload requires and the scheduler has no ability for, in words.
        only_node: The only node that will do, or None.
        workload_id: Whose instances the spreads count.
        namespace: Among whose instances the affinities look.
        labels: The workload's own.
    """

    dimensions: tuple[str, ...]
    demand: tuple[int, ...]
    host_ports: tuple[HostPort, ...]
    drivers: tuple[str, ...]
    select: tuple[tuple[str, str], ...]
    expressions: tuple[Expression, ...]
    tolerated: Tolerated
    devices: tuple[DeviceWant, ...]
    spreads: tuple[Spread, ...]
    node_affinities: tuple[NodeAffinity, ...]
    instance_affinities: tuple[InstanceAffinity, ...]
    unsupported: tuple[str, ...]
    only_node: NodeId | None
    workload_id: Uid
    namespace: str
    labels: Mapping[str, str]

    @property
    def looks_around(self) -> bool:
        """Whether what is placed on other nodes makes a difference."""
        return bool(self.spreads or self.instance_affinities)

    @property
    def required_spread(self) -> bool:
        """Whether a spread may refuse a node."""
        return any(spread.required for spread in self.spreads)

    def amounts(self, resources: Resources) -> tuple[int, ...]:
        """Return the amounts of `dimensions`, in that order."""
        extended = self.dimensions[len(_FIXED_DIMENSIONS) :]
        fixed = (resources.cpu_millicores, resources.memory_bytes, resources.disk_bytes)
        return (*fixed, *(resources.extended.get(name, 0) for name in extended)) if extended else fixed


def needs_of(request: SchedulingRequest, capabilities: frozenset[SchedulerCapability]) -> Needs:
    """Return what each slot of a request needs.

    Raises:
        InvalidSchedulingRequest: The request is outside what the interface allows.
    """
    workload, placement = request.workload, request.workload.placement
    demand = check_request(request)
    grants_devices = SchedulerCapability.DEVICES in capabilities
    keeps_spreads = SchedulerCapability.SPREAD in capabilities
    keeps_affinities = SchedulerCapability.AFFINITY in capabilities
    wanted = device_wants(workload.containers)
    requirements = {
        "gpu": bool(wanted) and not grants_devices,
        "required spread": any(spread.required for spread in placement.spreads) and not keeps_spreads,
        "required node affinity": any(a.weight is None for a in placement.node_affinities) and not keeps_affinities,
        "required instance affinity": any(a.weight is None for a in placement.instance_affinities)
        and not keeps_affinities,
        "minimum": request.minimum > 1 and SchedulerCapability.GANG not in capabilities,
    }
    extended = sorted(demand.extended)
    return Needs(
        dimensions=(*_FIXED_DIMENSIONS, *extended),
        demand=(
            demand.cpu_millicores,
            demand.memory_bytes,
            demand.disk_bytes,
            *(demand.extended[name] for name in extended),
        ),
        host_ports=tuple(sorted(host_ports_of(workload.containers))),
        drivers=tuple(sorted(drivers_of(workload))),
        select=tuple(sorted(placement.select.items())),
        expressions=placement.expressions,
        tolerated=Tolerated(placement.tolerations),
        devices=wanted if grants_devices else (),
        spreads=tuple(spread for spread in placement.spreads if keeps_spreads or not spread.required),
        node_affinities=tuple(a for a in placement.node_affinities if a.weight is None) if keeps_affinities else (),
        instance_affinities=placement.instance_affinities if keeps_affinities else (),
        unsupported=tuple(words for words, lacking in requirements.items() if lacking),
        only_node=request.only_node,
        workload_id=workload.metadata.uid,
        namespace=workload.metadata.namespace,
        labels=workload.metadata.labels,
    )
