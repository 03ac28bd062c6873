"""The latest view of a cluster, in the columns of the core."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from attrs import define, evolve
from librt.vecs import vec
from mypy_extensions import i64
from orchestrion.scheduler_interface import (
    FULL_WEIGHT,
    STEP_POINTS,
    ClusterView,
    InvalidSchedulingRequest,
    KeptView,
    NodeChange,
    NodeView,
    PlacedInstance,
    SupportsNodeChanges,
    topology_domain,
)
from orchestrion.scheduler_packing._core.fleet import CPU, DISK, MEMORY, PLAIN_DIMENSIONS, Fleet
from orchestrion.scheduler_packing._core.holders import Holders
from orchestrion.scheduler_packing._core.order import MAX_NODES, Order
from orchestrion.scheduler_packing._core.placing import Shape
from orchestrion.scheduler_packing._core.search import MAX_CELLS, Cells, Field, make_cells, one_cell
from orchestrion.scheduler_packing._core.terms import APART, SPREAD, TOGETHER, Term
from orchestrion.scheduler_packing._groups import Group, group_of
from orchestrion.scheduler_packing._holdings import Holdings
from orchestrion.scheduler_packing._refusals import Refusals
from orchestrion.scheduler_packing._suitability import points_of
from orchestrion.scheduler_packing._verdicts import KeptVerdicts
from orchestrion.scheduler_packing._views import Views
from orchestrion.scheduler_packing._wanted import Suitability, Wanted, port_number
from orchestrion.shared_types import (
    MAX_AMOUNT,
    WHOLE_DEVICE,
    InstanceAffinity,
    InstanceKey,
    Metadata,
    Node,
    NodeId,
    Resources,
    Spread,
    Uid,
)

MAX_ORDERS: Final = 64
"""So many orders are kept, one for each suitability; the one unused for longest goes first."""

MAX_SHAPES: Final = 8192
"""What so many workloads take is kept."""
MAX_SHARED: Final = 8
"""Nodes are told apart by their domains of so many topologies when they are put in cells."""
MAX_TOPOLOGIES: Final = 64
"""The domains of so many topologies are kept."""
MAX_GROUPS: Final = 256
"""The instances of so many groups, for affinities, are kept counted."""

_PLAIN_NAMES: Final = {"cpu_millicores": CPU, "memory_bytes": MEMORY, "disk_bytes": DISK}
_PLAIN: Final = PlacedInstance(key=InstanceKey(Uid(""), 0, 1), namespace="", workload="")


@define(eq=False)
class Domains:
    """The topology domains of one key: number 0 is that of nodes which are in none.

    Attributes:
        numbers: The number of each domain, by its name.
        of_position: The number of each node's domain.
    """

    numbers: dict[str, int]
    of_position: vec[i64]


class Index:
    """What the latest view says, for the core.

    It changes nothing about a decision, and can always be made again from a view: it only spares looking at nodes that
    did not change.

    Attributes:
        fleet: The columns.
        views: What the nodes hold, by position.
        nodes: The nodes by position.
        ids: Their ids.
        positions: The position of each node.
        device_free: Free thousandths of each device, for nodes that have any, by position.
        holders: Where each instance that is placed holds its place.
        verdicts: For what lasting reasons nodes are refused.
        refusals: Why what was refused on this very view is refused.
        holdings: What instances hold, as far as anybody was to be pushed out yet.
        continued: How often a view was shown whose changes since the one before were known.
    """

    def __init__(self, sign: int) -> None:
        """Start with no nodes.

        Args:
            sign: 1 to prefer the fullest nodes, -1 the emptiest, 0 those with the lowest ids.
        """
        self._sign = sign
        self.continued = 0
        self._view: ClusterView | None = None
        self._dimensions = dict(_PLAIN_NAMES)
        self.fleet = Fleet(0, PLAIN_DIMENSIONS)
        self.views = Views([])
        self.nodes: list[Node] = []
        self.ids: list[NodeId] = []
        self.positions: dict[NodeId, int] = {}
        self.device_free: dict[int, dict[str, int]] = {}
        self._holders = Holders(_PLAIN)
        self.holders: dict[InstanceKey, int] = self._holders.where
        self.verdicts = KeptVerdicts()
        self.refusals = Refusals()
        self.holdings = Holdings()
        # Nodes on which more is reserved than there is, or than can be counted: what leaves them frees less.
        self._overdrawn: set[int] = set()
        self._groups: OrderedDict[Group, Counter[int]] = OrderedDict()
        self._left_out: dict[int, list[PlacedInstance]] = {}
        self._orders: OrderedDict[Suitability, Order] = OrderedDict()
        self._latest_order: Order | None = None
        self._latest_suitability: Suitability | None = None
        self._domains: OrderedDict[str, Domains] = OrderedDict()
        self._cells: dict[tuple[Suitability, tuple[str, ...]], Cells | None] = {}
        self._shapes: dict[int, tuple[Wanted, Shape]] = {}
        self._scale = (0, 0, 0)

    def go_on_to(self, view: ClusterView) -> bool:
        """Take over what a view says, if it is known to be of the history of the one that was shown last."""
        shown = self._view
        if view is shown:
            return True
        if shown is None:
            return False
        told: Sequence[NodeChange] | None = None
        changed: frozenset[NodeId] | None = None
        # The kind of view that is shown most is told by its class, which costs less.
        if type(view) is KeptView or isinstance(view, SupportsNodeChanges):
            told = view.node_changes_since(shown.revision)
        else:
            changed = view.changes_since(shown.revision)
        if told is None and changed is None:
            return False
        self.continued += 1
        # Should taking over fail, the next view is taken over as a whole.
        self._view = None
        self.refusals.clear()
        if told is not None:
            self._take_told(view, told)
        elif changed is not None:
            self._take_changed(shown, view, changed)
        self.views.source = self._view = view
        return True

    def show(self, view: ClusterView) -> None:
        """Take over what a view says.

        Raises:
            InvalidSchedulingRequest: The view has more nodes than can be told apart.
        """
        if not self.go_on_to(view):
            self._view = None
            self.refusals.clear()
            self._take_all(view)
            self.views.source = self._view = view

    # -- what the core is given

    def shape_of(self, wanted: Wanted) -> Shape | None:
        """Return what a slot takes, or None where it asks for a resource that no node has."""
        known = self._shapes.get(id(wanted))
        if known is not None:
            return known[1]
        amounts, lacking = self.amounts_of(wanted)
        if lacking:
            return None
        shape = Shape(vec[i64](amounts), wanted.device_thousandths, list(wanted.host_ports))
        if len(self._shapes) >= MAX_SHAPES:
            self._shapes.clear()
        # What is wanted is kept with its shape, so that its identity stays its own.
        self._shapes[id(wanted)] = (wanted, shape)
        return shape

    def amounts_of(self, wanted: Wanted) -> tuple[list[int], list[tuple[str, int]]]:
        """Return how much a slot takes of each resource of the fleet, and the name and amount of what no node has."""
        amounts = [0] * len(self._dimensions)
        lacking: list[tuple[str, int]] = []
        for name, amount in wanted.demand.dimensions():
            if name in self._dimensions:
                amounts[self._dimensions[name]] = amount
            elif amount > 0:
                lacking.append((name, amount))
        return amounts, lacking

    @property
    def dimension_names(self) -> list[str]:
        """The names of the fleet's resources, in its order."""
        return list(self._dimensions)

    def domain_names(self, by: str) -> list[str]:
        """Return the names of a topology's domains, in the order of their numbers, of which 1 is the first."""
        return list(self._domains_of(by).numbers)

    def node_at(self, position: int) -> Node:
        """Return a node."""
        return self.nodes[position]

    def order_of(self, suitability: Suitability) -> Order:
        """Return the nodes that suit, best first, up to date."""
        latest = self._latest_order
        if suitability is self._latest_suitability and latest is not None:
            latest.catch_up()
            return latest
        order = self._orders.get(suitability)
        if order is None:
            points = [points_of(node, suitability) for node in self.nodes]
            members = vec[i64]([0 if each is None else 1 for each in points])
            base = vec[i64]([each or 0 for each in points])
            order = Order(self.fleet, members, base, self._sign)
            self._orders[suitability] = order
            if len(self._orders) > MAX_ORDERS:
                self._orders.popitem(last=False)
        self._orders.move_to_end(suitability)
        self._latest_order, self._latest_suitability = order, suitability
        order.catch_up()
        return order

    def field_of(self, wanted: Wanted, terms: Sequence[Term] | None = None) -> Field:
        """Return where a workload's slots may go.

        Args:
            wanted: What they want.
            terms: What the instances that are placed mean for them, in the order of its topologies; None
                works it out.
        """
        bound = self.terms_of(wanted) if terms is None else terms
        order = self.order_of(wanted.suitability)
        bys = wanted.topologies
        shared: list[str] = []
        cells = one_cell(order, self.fleet)
        for by in sorted(set(bys), key=lambda by: (len(self._domains_of(by).numbers), by)):
            if len(shared) == MAX_SHARED:
                break
            finer = self._cells_of(wanted.suitability, order, (*shared, by))
            if finer is None:
                break
            cells = finer
            shared.append(by)
        parts: tuple[list[Term], list[Term]] = ([], [])
        for by, term in zip(bys, bound, strict=True):
            parts[by not in shared].append(term)
        return Field(cells, *parts)

    def _cells_of(self, suitability: Suitability, order: Order, bys: tuple[str, ...]) -> Cells | None:
        if sum(len(self._domains_of(by).numbers) > MAX_CELLS for by in bys):
            return None
        key = (suitability, bys)
        if key not in self._cells:
            if len(self._cells) >= MAX_ORDERS:
                self._cells.clear()
            topologies = [self._domains_of(by).of_position for by in bys]
            self._cells[key] = make_cells(order, topologies, self.fleet)
        return self._cells[key]

    def terms_of(self, wanted: Wanted) -> list[Term]:
        """Return what the instances that are placed now mean for the workload's slots."""
        metadata = wanted.workload.metadata
        terms = []
        for spread in wanted.spreads:
            term = self.spread_term(spread, wanted)
            for position, number in self._holders.own_of(metadata.uid).items():
                term.add(position, number)
            terms.append(term)
        for affinity in wanted.instance_affinities:
            group = group_of(metadata.namespace, affinity)
            term = self.affinity_term(affinity, group, metadata)
            for position, number in self._counts_of(group).items():
                term.add(position, number)
            terms.append(term)
        return terms

    def spread_term(self, spread: Spread, wanted: Wanted) -> Term:
        """Return the term of a spread, without any instance counted."""
        domains = self._domains_of(spread.by)
        term = Term(
            SPREAD,
            domains.of_position,
            len(domains.numbers),
            STEP_POINTS,
            spread.required,
            min(MAX_AMOUNT, spread.max_skew),
        )
        if spread.required:
            suitability = wanted.suitability
            if suitability.devices:
                suitability = evolve(suitability, devices=())
            term.let_members_count(self.order_of(suitability).members)
        return term

    def affinity_term(self, affinity: InstanceAffinity, group: Group, metadata: Metadata) -> Term:
        """Return the term of an affinity of a workload to a group, without any instance counted."""
        domains = self._domains_of(affinity.by)
        cost = 0 if affinity.weight is None else STEP_POINTS * affinity.weight // FULL_WEIGHT
        kind = APART if affinity.anti else TOGETHER
        term = Term(kind, domains.of_position, len(domains.numbers), cost, affinity.weight is None, 0)
        term.counts_itself = group.has(metadata.namespace, metadata.labels)
        return term

    def _counts_of(self, group: Group) -> Counter[int]:
        """Return how many instances of a group each node holds; kept up to date from now on."""
        counts = self._groups.get(group)
        if counts is None:
            counts = self._groups[group] = Counter()
            for position, view in enumerate(self.views):
                number = sum(group.has(each.namespace, each.labels) for each in view.instances.values())
                if number:
                    counts[position] = number
            for position, gone in self._left_out.items():
                counts[position] -= sum(group.has(each.namespace, each.labels) for each in gone)
            if len(self._groups) > MAX_GROUPS:
                self._groups.popitem(last=False)
        self._groups.move_to_end(group)
        return counts

    def _domains_of(self, by: str) -> Domains:
        domains = self._domains.get(by)
        if domains is None:
            names = [topology_domain(node, by) for node in self.nodes]
            numbers: dict[str, int] = {}
            for name in names:
                if name is not None:
                    numbers.setdefault(name, len(numbers) + 1)
            domains = Domains(numbers, vec[i64]([0 if name is None else numbers[name] for name in names]))
            self._domains[by] = domains
            if len(self._domains) > MAX_TOPOLOGIES:
                self._domains.popitem(last=False)
        self._domains.move_to_end(by)
        return domains

    def own_of(self, uid: Uid) -> Mapping[int, int]:
        """Return how many instances of a workload nodes hold, by position; of none where there are none."""
        return self._holders.own_of(uid)

    # -- leaving instances out

    def leave_out(self, position: int, gone: Iterable[PlacedInstance], view: NodeView) -> None:
        """Show a node, whose view this is without some of its instances, as if these were gone, until `take_in`."""
        gone = list(gone)
        self._count_in_groups(position, gone, -1)
        self._left_out.setdefault(position, []).extend(gone)
        self._fill(position, view)

    def take_in(self, position: int) -> None:
        """Show a node as the view has it, with all that were left out."""
        self._count_in_groups(position, self._left_out.pop(position, ()), 1)
        self._fill(position, self.views[position])

    def _count_in_groups(self, position: int, instances: Iterable[PlacedInstance], number: int) -> None:
        for instance in instances:
            for group, counts in self._groups.items():
                if group.has(instance.namespace, instance.labels):
                    counts[position] += number

    # -- looking ahead

    def look_ahead(self, view: ClusterView, told: Sequence[NodeChange]) -> None:
        """Show a view that differs so from what is shown, and that nothing is said to be a later state of.

        Until `look_back` no other view can be gone on to; so one that is never looked back from is not missed.
        """
        self._view = None
        self.refusals.clear()
        self.views.source = view
        self._take_told(view, told)

    def look_back(self, view: ClusterView, told: Sequence[NodeChange]) -> None:
        """Show the view again that was shown before `look_ahead`, from which what is shown now differs so."""
        self.look_ahead(view, told)
        self._view = view

    # -- taking over views

    def _take_all(self, view: ClusterView) -> None:
        if len(view) > MAX_NODES:
            msg = f"a cluster of {len(view)} nodes; this scheduler tells {MAX_NODES} apart"
            raise InvalidSchedulingRequest(msg, remedy="Split the cluster, or use another scheduler.")
        views = list(view)
        self.views = Views(views)
        self.nodes = [each.node for each in views]
        self.ids = [node.id for node in self.nodes]
        self.positions = {node_id: position for position, node_id in enumerate(self.ids)}
        self._dimensions = dict(_PLAIN_NAMES)
        for node in self.nodes:
            for name in node.allocatable.extended:
                self._dimensions.setdefault(name, len(self._dimensions))
        self.fleet = Fleet(len(views), len(self._dimensions))
        self.device_free = {}
        self._holders = Holders(_PLAIN)
        self.holders = self._holders.where
        self._overdrawn = set()
        self._shapes.clear()
        self.verdicts.forget()
        self._groups.clear()
        self._orders.clear()
        self._latest_order = None
        self._domains.clear()
        self._cells = {}
        self._find_scale()
        for position, each in enumerate(views):
            for instance in each.instances.values():
                self._let_in(position, instance)
            self._fill(position, each)

    def _take_told(self, view: ClusterView, told: Sequence[NodeChange]) -> None:
        """Take over changes that are told one by one; of nodes that are as they were, only what came and left."""
        positions = self.positions
        if self._groups:
            for node_id, arrived, left in told:
                position = positions.get(node_id)
                if position is not None and left is not None:
                    self._count_in_groups(position, (left,), -1)
                if position is not None and arrived is not None:
                    self._count_in_groups(position, (arrived,), 1)
        known = self.views.known
        whole = self._holders.take_over([*told], positions, self.fleet, self._overdrawn, known)
        if whole:
            updates: list[tuple[int, NodeView]] = []
            for node_id in dict.fromkeys(whole):
                after, position = view.get(node_id), positions.get(node_id)
                if after is None and position is None:
                    continue
                if after is None or position is None:
                    self._take_all(view)
                    return
                updates.append((position, after))
            self._update(view, updates)

    def _take_changed(self, shown: ClusterView, view: ClusterView, changed: frozenset[NodeId]) -> None:
        """Take over nodes that have changed in whatever way."""
        updates: list[tuple[int, NodeView]] = []
        for node_id in changed:
            after, position = view.get(node_id), self.positions.get(node_id)
            if after is None and position is None:
                continue
            if after is None or position is None:
                self._take_all(view)
                return
            before = self.views[position]
            if after is before:
                continue
            updates.append((position, after))
            if after.instances is not before.instances:
                for instance in _lacking(before, after):
                    self._let_out(position, instance)
                for instance in _lacking(after, before):
                    self._let_in(position, instance)
        self._update(view, updates)

    def _update(self, view: ClusterView, updates: Sequence[tuple[int, NodeView]]) -> None:
        """Take over what nodes are like and what is free on them."""
        is_rescaled = False
        for position, after in updates:
            self.views.set(position, after)
            node, before = after.node, self.nodes[position]
            if node is not before and node != before:
                if any(name not in self._dimensions for name in node.allocatable.extended):
                    self._take_all(view)
                    return
                self._domains.clear()
                self._cells = {}
                is_rescaled = True
                self.verdicts.forget_node(position)
                for suitability, order in self._orders.items():
                    points = points_of(node, suitability)
                    order.set_member(position, 0 if points is None else 1, points or 0)
            self.nodes[position] = node
        if is_rescaled and self._find_scale():
            for position in range(len(self.nodes)):
                self.fleet.touch(position)
        for position, after in updates:
            self._fill(position, after)

    def _let_in(self, position: int, instance: PlacedInstance) -> None:
        self._holders.let_in(position, instance)
        self._count_in_groups(position, (instance,), 1)

    def _let_out(self, position: int, instance: PlacedInstance) -> None:
        self._holders.let_out(position, instance)
        self._count_in_groups(position, (instance,), -1)

    def _find_scale(self) -> bool:
        """Note how much the largest node has; whether that has changed."""
        scale = (
            max((node.allocatable.cpu_millicores for node in self.nodes), default=0),
            max((node.allocatable.memory_bytes for node in self.nodes), default=0),
            max((len(node.devices) * WHOLE_DEVICE for node in self.nodes), default=0),
        )
        if scale == self._scale:
            self.fleet.set_scale(*scale)
            return False
        self._scale = scale
        self.fleet.set_scale(*scale)
        return True

    def _fill(self, position: int, view: NodeView) -> None:
        """Take over what is free on a node."""
        fleet = self.fleet
        allocatable, reserved = view.node.allocatable, view.reserved
        columns = fleet.free
        columns[CPU][position] = max(0, allocatable.cpu_millicores - reserved.cpu_millicores)
        columns[MEMORY][position] = max(0, allocatable.memory_bytes - reserved.memory_bytes)
        columns[DISK][position] = max(0, allocatable.disk_bytes - reserved.disk_bytes)
        for name, column in list(self._dimensions.items())[PLAIN_DIMENSIONS:]:
            columns[column][position] = _extended(allocatable, reserved, name)
        if view.node.devices:
            free = {
                device.id: max(0, WHOLE_DEVICE - view.device_thousandths.get(device.id, 0))
                for device in view.node.devices
            }
            self.device_free[position] = free
            fleet.gpu[position] = sum(free.values())
        else:
            self.device_free.pop(position, None)
            fleet.gpu[position] = 0
        if view.host_ports:
            fleet.ports[position] = {port_number(port) for port in view.host_ports}
        else:
            fleet.ports.pop(position, None)
        if any(
            here > there or here == MAX_AMOUNT
            for here, there in (
                (reserved.cpu_millicores, allocatable.cpu_millicores),
                (reserved.memory_bytes, allocatable.memory_bytes),
                (reserved.disk_bytes, allocatable.disk_bytes),
            )
        ):
            self._overdrawn.add(position)
        else:
            self._overdrawn.discard(position)
        fleet.loads[position] = len(view.instances)
        fleet.touch(position)


def _lacking(here: NodeView, there: NodeView) -> list[PlacedInstance]:
    """Return the instances that one view of a node has and the other has not, or has otherwise."""
    others = there.instances
    return [instance for key, instance in here.instances.items() if others.get(key) is not instance]


def _extended(allocatable: Resources, reserved: Resources, name: str) -> int:
    return max(0, allocatable.extended.get(name, 0) - reserved.extended.get(name, 0))
