"""The view that the scheduler decides on, kept up to date change by change."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Final

from attrs import define, evolve, field, frozen
from immutabledict import immutabledict
from orchestrion.scheduler_interface import HostPort, NodeView, PlacedInstance, demand_of, host_ports_of
from orchestrion.shared_types import (
    WHOLE_DEVICE,
    Binding,
    InstanceKey,
    Node,
    NodeId,
    NodeStatus,
    Resources,
    WorkloadDefinition,
)

MAX_CHANGES: Final = 20_000
"""Changes that are remembered for `changes_since`."""


@frozen(eq=False)
class View:
    """A `ClusterView`.

    Attributes:
        revision: Higher is later.
        views: By node id, ascending.
        changes: (revision, node id) of the latest changes, ascending.
        oldest: Changes after this revision are all in `changes`.
    """

    revision: int
    views: Mapping[NodeId, NodeView]
    changes: tuple[tuple[int, NodeId], ...]
    oldest: int

    def __len__(self) -> int:
        return len(self.views)

    def __iter__(self) -> Iterator[NodeView]:
        return iter(self.views.values())

    def get(self, node_id: NodeId, /) -> NodeView | None:
        """Return one node, or None where there is none of that id."""
        return self.views.get(node_id)

    def changes_since(self, revision: int, /) -> frozenset[NodeId] | None:
        """Return the ids of the nodes that have changed after `revision`, or None where that is no longer known."""
        if not self.oldest <= revision <= self.revision:
            return None
        changed = set[NodeId]()
        for at, node_id in reversed(self.changes):
            if at <= revision:
                break
            changed.add(node_id)
        return frozenset(changed)


_HYPOTHESES: Final = count(1)


def _next_hypothesis() -> int:
    return -next(_HYPOTHESES)


@frozen(eq=False)
class HypotheticalView(View):
    """A view of nodes as they might be: nobody may think of it as a later or earlier state of the real ones.

    Attributes:
        revision: Below 0, and another one for each.
    """

    revision: int = field(init=False, factory=_next_hypothesis)
    changes: tuple[tuple[int, NodeId], ...] = field(init=False, default=())
    oldest: int = field(init=False, default=0)

    def changes_since(self, revision: int, /) -> frozenset[NodeId] | None:
        """Return None: it has no history."""
        return None


@frozen(eq=False)
class Placeable:
    """What placing any instance of a template reserves.

    Attributes:
        demand: Resources.
        host_ports: Static host ports.
    """

    demand: Resources
    host_ports: frozenset[HostPort]

    @classmethod
    def of(cls, template: WorkloadDefinition) -> Placeable:
        """Return what an instance of a template reserves."""
        return cls(demand_of(template), host_ports_of(template.containers))


def placed_instance(
    key: InstanceKey, template: WorkloadDefinition, placeable: Placeable, binding: Binding
) -> PlacedInstance:
    """Return what an instance holds."""
    devices = {
        device: binding.device_thousandths.get(device, WHOLE_DEVICE)
        for granted in binding.devices.values()
        for device in granted
    }
    return PlacedInstance(
        key=key,
        namespace=template.metadata.namespace,
        workload=template.metadata.name,
        labels=template.metadata.labels,
        priority=template.priority,
        demand=placeable.demand,
        host_ports=placeable.host_ports,
        device_thousandths=devices,
    )


@define(eq=False)
class _Place:
    """A node in the making: what is placed there, in a form that is cheap to change."""

    node: Node | None = None
    leased: bool = False
    instances: dict[InstanceKey, PlacedInstance] = field(factory=dict)
    reserved: Resources = Resources()
    ports: set[HostPort] = field(factory=set)
    devices: dict[str, int] = field(factory=dict)

    def add(self, placed: PlacedInstance) -> None:
        self.instances[placed.key] = placed
        self._count(placed)

    def discard(self, key: InstanceKey) -> None:
        if self.instances.pop(key, None) is None:
            return
        self.reserved, self.ports, self.devices = Resources(), set(), {}
        for placed in self.instances.values():
            self._count(placed)

    def _count(self, placed: PlacedInstance) -> None:
        self.reserved = self.reserved + placed.demand
        self.ports |= placed.host_ports
        for device, thousandths in placed.device_thousandths.items():
            self.devices[device] = self.devices.get(device, 0) + thousandths

    def build(self) -> NodeView | None:
        node = self.node
        if node is None:
            return None
        if not self.leased and node.status is NodeStatus.READY:
            node = evolve(node, status=NodeStatus.UNKNOWN)
        return NodeView(
            node=node,
            reserved=self.reserved,
            host_ports=frozenset(self.ports),
            device_thousandths=self.devices,
            instances=immutabledict(self.instances),
        )


@define(eq=False)
class ViewKeeper:
    """Keeps what is placed where, and makes views of it.

    A node without a lease has no loop at work; it is shown as Unknown, so that nothing is placed there.
    """

    _places: dict[NodeId, _Place] = field(factory=dict)
    _where: dict[InstanceKey, NodeId] = field(factory=dict)
    _revision: int = 0
    _changes: deque[tuple[int, NodeId]] = field(factory=lambda: deque(maxlen=MAX_CHANGES))
    _dirty: set[NodeId] = field(factory=set)
    _views: dict[NodeId, NodeView] = field(factory=dict)
    _sorted: bool = True
    _current: View | None = None

    def set_node(self, node: Node) -> None:
        """Note a node as it is now."""
        place = self._place(node.id)
        if place.node != node:
            place.node = node
            self._touch(node.id)

    def remove_node(self, node_id: NodeId) -> None:
        """Note that a node is gone; what is placed there is remembered."""
        place = self._places.get(node_id)
        if place is not None and place.node is not None:
            place.node = None
            self._touch(node_id)

    def set_leased(self, node_id: NodeId, leased: bool) -> None:
        """Note whether a node's loop is at work."""
        place = self._place(node_id)
        if place.leased != leased:
            place.leased = leased
            self._touch(node_id)

    def put(self, node_id: NodeId, placed: PlacedInstance) -> None:
        """Note that an instance holds a place on a node."""
        before = self._where.get(placed.key)
        if before is not None and before != node_id:
            self.remove(placed.key)
        self._where[placed.key] = node_id
        place = self._place(node_id)
        if before == node_id:
            if place.instances[placed.key] == placed:
                return
            place.discard(placed.key)
        place.add(placed)
        self._touch(node_id)

    def remove(self, key: InstanceKey) -> None:
        """Note that an instance holds no place any more."""
        node_id = self._where.pop(key, None)
        if node_id is not None:
            self._places[node_id].discard(key)
            self._touch(node_id)

    def holds(self, key: InstanceKey) -> bool:
        """Whether an instance holds a place."""
        return key in self._where

    def view(self) -> View:
        """Return the view as of now. It costs what has changed since the last one, and a copy of the table of nodes."""
        if self._dirty or self._current is None:
            for node_id in self._dirty:
                built = self._places[node_id].build()
                if built is None:
                    self._views.pop(node_id, None)
                elif node_id in self._views:
                    self._views[node_id] = built
                else:
                    self._views[node_id] = built
                    self._sorted = False
                self._revision += 1
                self._changes.append((self._revision, node_id))
            self._dirty.clear()
            if not self._sorted:
                self._views = dict(sorted(self._views.items()))
                self._sorted = True
            oldest = self._changes[0][0] - 1 if self._changes else self._revision
            self._current = View(self._revision, dict(self._views), tuple(self._changes), oldest)
        return self._current

    def _place(self, node_id: NodeId) -> _Place:
        place = self._places.get(node_id)
        if place is None:
            place = self._places[node_id] = _Place()
        return place

    def _touch(self, node_id: NodeId) -> None:
        self._dirty.add(node_id)
