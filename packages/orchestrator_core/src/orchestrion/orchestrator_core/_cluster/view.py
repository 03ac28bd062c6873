"""The view that the scheduler decides on, kept up to date change by change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, count
from typing import Final, TypeVar

from attrs import define, evolve, field, frozen
from immutabledict import immutabledict
from orchestrion.scheduler_interface import AssignNode, HostPort, NodeView, PlacedInstance, demand_of, host_ports_of
from orchestrion.shared_types import (
    MAX_AMOUNT,
    WHOLE_DEVICE,
    Binding,
    InstanceKey,
    Node,
    NodeId,
    NodeStatus,
    Resources,
    SchedulingFailure,
    WorkloadDefinition,
)

K = TypeVar("K")

MAX_CHANGES: Final = 20_000
"""Changes that are remembered for `changes_since` at least; at most twice as many."""

PAGE: Final = 64
"""Nodes whose views are copied together when one of them changes."""


@frozen(eq=False)
class Table(Mapping[NodeId, NodeView]):
    """Views of nodes by id. It never changes; a changed copy shares all pages on which nothing is different.

    Attributes:
        places: The place of each node, ascending by id.
        pages: Views by place, `PAGE` at a time.
    """

    places: Mapping[NodeId, int] = field(factory=dict)
    pages: list[list[NodeView]] = field(factory=list)

    @classmethod
    def of(cls, views: Mapping[NodeId, NodeView]) -> Table:
        """Return the table of these views."""
        ids = sorted(views)
        ordered = [views[node_id] for node_id in ids]
        pages = [ordered[start : start + PAGE] for start in range(0, len(ordered), PAGE)]
        return cls({node_id: place for place, node_id in enumerate(ids)}, pages)

    def __getitem__(self, node_id: NodeId) -> NodeView:
        page, place = divmod(self.places[node_id], PAGE)
        return self.pages[page][place]

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[NodeId]:
        return iter(self.places)

    def in_order(self) -> Iterator[NodeView]:
        """Yield the views, ascending by id."""
        return chain.from_iterable(self.pages)

    def changed(self, views: Mapping[NodeId, NodeView | None]) -> Table:
        """Return the table with these views instead; None takes a node away."""
        if any((view is None) == (node_id in self.places) for node_id, view in views.items()):
            after: dict[NodeId, NodeView | None] = dict(zip(self.places, self.in_order(), strict=True))
            after.update(views)
            return Table.of({node_id: view for node_id, view in after.items() if view is not None})
        pages = list(self.pages)
        own = set[int]()
        for node_id, view in views.items():
            if view is None:
                continue
            page, place = divmod(self.places[node_id], PAGE)
            if page not in own:
                own.add(page)
                pages[page] = list(pages[page])
            pages[page][place] = view
        return Table(self.places, pages)


@frozen(eq=False)
class History:
    """Which node each revision has changed. It is shared by views, and only grows.

    Attributes:
        before: The revision before the first change that is known.
        changed: The node that each later revision has changed.
    """

    before: int = 0
    changed: list[NodeId] = field(factory=list)

    def between(self, earlier: int, later: int) -> frozenset[NodeId] | None:
        """Return the nodes that have changed after one revision, up to another; None where that is not known."""
        if not self.before <= earlier <= later:
            return None
        return frozenset(self.changed[earlier - self.before : later - self.before])

    def cut(self) -> History:
        """Return what is to be gone on with: the latest `MAX_CHANGES`, once there are twice as many."""
        surplus = len(self.changed) - MAX_CHANGES
        return self if surplus < MAX_CHANGES else History(self.before + surplus, self.changed[surplus:])


@frozen(eq=False)
class View:
    """A `ClusterView`.

    Attributes:
        revision: Higher is later.
        table: By node id, ascending.
        history: What has changed up to `revision`, and perhaps more.
    """

    revision: int
    table: Table
    history: History

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[NodeView]:
        return self.table.in_order()

    def get(self, node_id: NodeId, /) -> NodeView | None:
        """Return one node, or None where there is none of that id."""
        return self.table.get(node_id)

    def changes_since(self, revision: int, /) -> frozenset[NodeId] | None:
        """Return the ids of the nodes that have changed after `revision`, or None where that is no longer known."""
        return self.history.between(revision, self.revision)


_HYPOTHESES: Final = count(1)


def _next_hypothesis() -> int:
    return -next(_HYPOTHESES)


def _table_of(views: Mapping[NodeId, NodeView]) -> Table:
    return Table.of(views)


@frozen(eq=False)
class HypotheticalView(View):
    """A view of nodes as they might be: nobody may think of it as a later or earlier state of the real ones.

    Attributes:
        revision: Below 0, and another one for each.
        table: Given as views by node id, in any order.
    """

    revision: int = field(init=False, factory=_next_hypothesis)
    table: Table = field(converter=_table_of)
    history: History = field(init=False, factory=History)

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
    cpu: int = 0
    memory: int = 0
    disk: int = 0
    extended: Counter[str] = field(factory=Counter)
    ports: Counter[HostPort] = field(factory=Counter)
    devices: Counter[str] = field(factory=Counter)

    @property
    def empty(self) -> bool:
        """Whether nobody has to remember it."""
        return self.node is None and not self.leased and not self.instances

    def add(self, placed: PlacedInstance) -> None:
        self.instances[placed.key] = placed
        self._count(placed, 1)

    def discard(self, key: InstanceKey) -> None:
        placed = self.instances.pop(key, None)
        if placed is not None:
            self._count(placed, -1)

    def _count(self, placed: PlacedInstance, sign: int) -> None:
        demand = placed.demand
        self.cpu += sign * demand.cpu_millicores
        self.memory += sign * demand.memory_bytes
        self.disk += sign * demand.disk_bytes
        _add(self.extended, demand.extended.items(), sign)
        _add(self.ports, ((port, 1) for port in placed.host_ports), sign)
        _add(self.devices, placed.device_thousandths.items(), sign)

    def build(self) -> NodeView | None:
        node = self.node
        if node is None:
            return None
        if not self.leased and node.status is NodeStatus.READY:
            node = evolve(node, status=NodeStatus.UNKNOWN)
        reserved = Resources(
            cpu_millicores=min(MAX_AMOUNT, self.cpu),
            memory_bytes=min(MAX_AMOUNT, self.memory),
            disk_bytes=min(MAX_AMOUNT, self.disk),
            extended={name: min(MAX_AMOUNT, self.extended[name]) for name in sorted(self.extended)},
        )
        return NodeView(
            node=node,
            reserved=reserved,
            host_ports=frozenset(self.ports),
            device_thousandths=self.devices,
            instances=immutabledict(self.instances),
        )


def _add(totals: Counter[K], amounts: Iterable[tuple[K, int]], sign: int) -> None:
    for name, amount in amounts:
        total = totals[name] + sign * amount
        if total:
            totals[name] = total
        else:
            del totals[name]


@define(eq=False)
class ViewKeeper:
    """Keeps what is placed where, and makes views of it.

    A node without a lease has no loop at work; it is shown as Unknown, so that nothing is placed there.
    """

    _places: dict[NodeId, _Place] = field(factory=dict)
    _where: dict[InstanceKey, NodeId] = field(factory=dict)
    _dirty: dict[NodeId, None] = field(factory=dict)
    _current: View = field(factory=lambda: View(0, Table(), History()))

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
        known = self._places.get(node_id)
        if leased != (known is not None and known.leased):
            self._place(node_id).leased = leased
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

    @property
    def remembered(self) -> int:
        """How many nodes and places are remembered."""
        return len(self._places) + len(self._where)

    def view(self) -> View:
        """Return the view as of now. It costs what has changed since the last one."""
        if self._dirty:
            before = self._current
            built = dict[NodeId, NodeView | None]()
            for node_id in self._dirty:
                place = self._places.get(node_id)
                view = place.build() if place is not None else None
                if view is not None or node_id in before.table:
                    built[node_id] = view
            self._dirty.clear()
            history = before.history.cut()
            history.changed.extend(built)
            self._current = View(before.revision + len(built), before.table.changed(built), history)
        return self._current

    def _place(self, node_id: NodeId) -> _Place:
        place = self._places.get(node_id)
        if place is None:
            place = self._places[node_id] = _Place()
        return place

    def _touch(self, node_id: NodeId) -> None:
        self._dirty[node_id] = None
        if self._places[node_id].empty:
            del self._places[node_id]


def check_room(node: NodeView | None, decisions: Sequence[AssignNode], placeable: Placeable) -> None:
    """Check that a node has all that decisions for it, about instances of one template, ask of it.

    Raises:
        SchedulingFailure: There is no such node, or they ask for more than it has.
    """
    chosen = decisions[0].node_id
    if node is None:
        msg = f"the scheduler chose node {chosen!r}, which does not exist"
        raise SchedulingFailure(msg)
    count = len(decisions)
    # What is not asked for may be overdrawn: a node that has become smaller still takes what needs nothing of it.
    fits = all(
        amount == 0 or reserved + count * amount <= allocatable
        for reserved, amount, allocatable in _dimensions(node.reserved, placeable.demand, node.node.allocatable)
    )
    ports = placeable.host_ports and (count > 1 or not node.host_ports.isdisjoint(placeable.host_ports))
    shares = Counter(node.device_thousandths)
    for decision in decisions:
        for granted in decision.devices.values():
            for device in granted:
                shares[device] += decision.device_thousandths.get(device, WHOLE_DEVICE)
    if not fits or ports or any(share > WHOLE_DEVICE for share in shares.values()):
        msg = f"the scheduler asked more of node {chosen!r} than it has; nothing was placed"
        raise SchedulingFailure(msg)


def _dimensions(reserved: Resources, demand: Resources, allocatable: Resources) -> Iterator[tuple[int, int, int]]:
    yield reserved.cpu_millicores, demand.cpu_millicores, allocatable.cpu_millicores
    yield reserved.memory_bytes, demand.memory_bytes, allocatable.memory_bytes
    yield reserved.disk_bytes, demand.disk_bytes, allocatable.disk_bytes
    for name, amount in demand.extended.items():
        yield reserved.extended.get(name, 0), amount, allocatable.extended.get(name, 0)
