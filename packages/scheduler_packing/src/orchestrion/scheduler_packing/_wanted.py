"""What the slots of a workload want, as the core needs it: worked out once per workload."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Final

from attrs import field, frozen
from orchestrion.scheduler_interface import (
    DeviceWant,
    HostPort,
    Tolerated,
    demand_of,
    device_wants,
    drivers_of,
    host_ports_of,
)
from orchestrion.shared_types import (
    MAX_AMOUNT,
    Expression,
    InstanceAffinity,
    NodeAffinity,
    Protocol,
    Resources,
    Spread,
    Toleration,
    WorkloadDefinition,
)

_PORT_NUMBERS: Final = {Protocol.TCP: 0, Protocol.UDP: 1 << 16}
_PORTS: Final = (1 << 16) - 1


@frozen(cache_hash=True)
class Suitability:
    """What a node must and should be, whatever is free on it. Requests that agree in it share an order of nodes."""

    drivers: frozenset[str]
    select: tuple[tuple[str, str], ...]
    expressions: tuple[Expression, ...]
    node_affinities: tuple[NodeAffinity, ...]
    tolerations: tuple[Toleration, ...]
    devices: tuple[DeviceWant, ...]

    @cached_property
    def tolerated(self) -> Tolerated:
        """The taints that are tolerated."""
        return Tolerated(self.tolerations)


@frozen(eq=False)
class Wanted:
    """What each slot of a workload wants.

    Attributes:
        workload: Which workload.
        demand: What a slot reserves.
        host_ports: Static host ports, as one number each.
        suitability: What a node must and should be.
        spreads: How the workload's instances are spread.
        instance_affinities: Which neighbours it needs and prefers.
        is_bound_by_room_alone: Whether any node that suits and has room will do, as well as its place in the order
            says.
    """

    workload: WorkloadDefinition
    demand: Resources
    host_ports: tuple[int, ...]
    suitability: Suitability
    spreads: tuple[Spread, ...]
    instance_affinities: tuple[InstanceAffinity, ...]
    is_bound_by_room_alone: bool = field(init=False)

    @is_bound_by_room_alone.default
    def _is_bound_by_room_alone(self) -> bool:
        return not (self.spreads or self.instance_affinities or self.suitability.devices)

    @property
    def topologies(self) -> tuple[str, ...]:
        """By which topology each spread is, then each affinity."""
        return (*(spread.by for spread in self.spreads), *(affinity.by for affinity in self.instance_affinities))

    @property
    def device_thousandths(self) -> int:
        """How much of devices a slot wants in all."""
        return min(MAX_AMOUNT, sum(want.count * want.thousandths for want in self.suitability.devices))


@lru_cache(maxsize=1024)
def _shared(suitability: Suitability) -> Suitability:
    """Return the same object for equal ones, which are then told to be equal by a look at nothing else."""
    return suitability


def wanted_of(workload: WorkloadDefinition) -> Wanted:
    """Return what the slots of a workload want.

    Raises:
        ValueError: The demand exceeds `MAX_AMOUNT`.
    """
    placement = workload.placement
    return Wanted(
        workload=workload,
        demand=demand_of(workload),
        host_ports=tuple(port_number(port) for port in host_ports_of(workload.containers)),
        suitability=_shared(
            Suitability(
                drivers=drivers_of(workload),
                select=tuple(sorted(placement.select.items())),
                expressions=placement.expressions,
                node_affinities=placement.node_affinities,
                tolerations=placement.tolerations,
                devices=device_wants(workload.containers),
            )
        ),
        spreads=placement.spreads,
        instance_affinities=placement.instance_affinities,
    )


def port_number(port: HostPort) -> int:
    """Return a protocol and port as one number."""
    protocol, number = port
    return _PORT_NUMBERS[protocol] + number


def port_text(number: int) -> str:
    """Return the number of a protocol and port as people write it."""
    protocol = next(each for each, start in _PORT_NUMBERS.items() if start == number & ~_PORTS)
    return f"{protocol.value}/{number & _PORTS}"
