"""A node as one call of a scheduler sees it: what the view says, less what the slots before it took."""

from __future__ import annotations

from attrs import define, field
from orchestrion.shared_types import WHOLE_DEVICE, NodeId

from ._devices import Grant, find_grants
from ._needs import Needs
from ._neighbours import Neighbours
from ._spread import Tally
from ._types import HostPort, NodeView


@define(eq=False)
class Candidate:
    """A node that a slot may go to. It lives as long as the call.

    Attributes:
        view: What the view says.
        free: How much is free of each resource that the needs are about, in their order; never below 0.
        allocatable: How much may be promised of each.
        host_ports: Static host ports that are taken.
        device_free: Free thousandths by device id.
        instance_count: How many instances the node holds.
        own_domains: For each spread whose domains have one node each: its tally, and this node's domain, or None.
        shared_domains: The same for the other spreads.
        neighbours: For each affinity to instances: its neighbours, and this node's domain, or None.
        passes_fixed: Whether the node passes all predicates that no placement can change.
    """

    view: NodeView
    free: tuple[int, ...]
    allocatable: tuple[int, ...]
    host_ports: frozenset[HostPort]
    device_free: dict[str, int]
    instance_count: int
    own_domains: tuple[tuple[Tally, str | None], ...] = ()
    shared_domains: tuple[tuple[Tally, str | None], ...] = ()
    neighbours: tuple[tuple[Neighbours, str | None], ...] = ()
    passes_fixed: bool = field(default=False)

    @property
    def around(self) -> tuple[tuple[Tally | Neighbours, str | None], ...]:
        """All rules that depend on what is placed elsewhere, each with this node's domain, or None."""
        return (*self.own_domains, *self.shared_domains, *self.neighbours)

    @property
    def id(self) -> NodeId:
        """The node's id."""
        return self.view.node.id

    def grants(self, needs: Needs) -> tuple[Grant, ...] | None:
        """Return devices for one more slot, or None where they do not suffice."""
        return find_grants(needs.devices, self.view.node.devices, self.device_free) if needs.devices else ()

    def take(self, needs: Needs, grants: tuple[Grant, ...]) -> None:
        """Give one slot its place here."""
        self.free = tuple(free - needed for free, needed in zip(self.free, needs.demand, strict=True))
        self.host_ports = self.host_ports.union(needs.host_ports)
        self.instance_count += 1
        for grant in grants:
            self.device_free[grant.device_id] -= grant.thousandths
        for rule, domain in self.around:
            rule.add(domain)


def candidate_of(view: NodeView, needs: Needs) -> Candidate:
    """Return a node before the first slot."""
    allocatable = needs.amounts(view.node.allocatable)
    reserved = needs.amounts(view.reserved)
    return Candidate(
        view=view,
        free=tuple(max(0, total - taken) for total, taken in zip(allocatable, reserved, strict=True)),
        allocatable=allocatable,
        host_ports=view.host_ports,
        device_free=free_devices(view) if needs.devices else {},
        instance_count=len(view.instances),
    )


def free_devices(view: NodeView) -> dict[str, int]:
    """Return how many thousandths of each device of a node are free, by id."""
    taken = view.device_thousandths
    return {device.id: max(0, WHOLE_DEVICE - taken.get(device.id, 0)) for device in view.node.devices}
