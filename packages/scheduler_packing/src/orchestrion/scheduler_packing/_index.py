"""The latest view of a cluster, in the columns of the core."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from attrs import evolve
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
)
from orchestrion.scheduler_packing._core.fleet import PLAIN_DIMENSIONS, Fleet
from orchestrion.scheduler_packing._core.holders import Holders
from orchestrion.scheduler_packing._core.order import MAX_NODES, Order
from orchestrion.scheduler_packing._core.placing import Shape
from orchestrion.scheduler_packing._core.search import Field
from orchestrion.scheduler_packing._core.terms import APART, SPREAD, TOGETHER, Term
from orchestrion.scheduler_packing._filling import fill, is_overdrawn
from orchestrion.scheduler_packing._group_counts import GroupCounts
from orchestrion.scheduler_packing._groups import Group, group_of
from orchestrion.scheduler_packing._holdings import Holdings
from orchestrion.scheduler_packing._orders import Orders
from orchestrion.scheduler_packing._refusals import Refusals
from orchestrion.scheduler_packing._shapes import Shapes
from orchestrion.scheduler_packing._topologies import Topologies
from orchestrion.scheduler_packing._verdicts import KeptVerdicts
from orchestrion.scheduler_packing._views import Views
from orchestrion.scheduler_packing._wanted import Suitability, Wanted
from orchestrion.shared_types import (
    MAX_AMOUNT,
    WHOLE_DEVICE,
    InstanceAffinity,
    InstanceKey,
    Metadata,
    Node,
    NodeId,
    Spread,
    Uid,
)

_PLAIN: Final = PlacedInstance(key=InstanceKey(Uid(""), 0, 1), namespace="", workload="")


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
        self.continued = 0
        self._view: ClusterView | None = None
        self._shapes = Shapes()
        self._names = self._shapes.names
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
        self._counts = GroupCounts()
        self._topologies = Topologies()
        self._orders = Orders(sign)
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
        return self._shapes.of(wanted)

    def amounts_of(self, wanted: Wanted) -> tuple[list[int], list[tuple[str, int]]]:
        """Return how much a slot takes of each resource of the fleet, and the name and amount of what no node has."""
        return self._shapes.amounts_of(wanted)

    @property
    def dimension_names(self) -> Sequence[str]:
        """The names of the fleet's resources, in its order."""
        return self._names

    def domain_names(self, by: str) -> list[str]:
        """Return the names of a topology's domains, in the order of their numbers, of which 1 is the first."""
        return list(self._topologies.of(by).numbers)

    def node_at(self, position: int) -> Node:
        """Return a node."""
        return self.nodes[position]

    def order_of(self, suitability: Suitability) -> Order:
        """Return the nodes that suit, best first, up to date."""
        return self._orders.of(suitability)

    def field_of(self, wanted: Wanted, terms: Sequence[Term] | None = None) -> Field:
        """Return where a workload's slots may go.

        Args:
            wanted: What they want.
            terms: What the instances that are placed mean for them, in the order of its topologies; None
                works it out.
        """
        bound = self.terms_of(wanted) if terms is None else terms
        return self._orders.field(wanted.suitability, wanted.topologies, bound)

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
            for position, number in self._counts.of(group, self.views).items():
                term.add(position, number)
            terms.append(term)
        return terms

    def spread_term(self, spread: Spread, wanted: Wanted) -> Term:
        """Return the term of a spread, without any instance counted."""
        domains = self._topologies.of(spread.by)
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
        domains = self._topologies.of(affinity.by)
        cost = 0 if affinity.weight is None else STEP_POINTS * affinity.weight // FULL_WEIGHT
        kind = APART if affinity.anti else TOGETHER
        term = Term(kind, domains.of_position, len(domains.numbers), cost, affinity.weight is None, 0)
        term.counts_itself = group.has(metadata.namespace, metadata.labels)
        return term

    def own_of(self, uid: Uid) -> Mapping[int, int]:
        """Return how many instances of a workload nodes hold, by position; of none where there are none."""
        return self._holders.own_of(uid)

    # -- leaving instances out

    def leave_out(self, position: int, gone: Iterable[PlacedInstance], view: NodeView) -> None:
        """Show a node, whose view this is without some of its instances, as if these were gone, until `take_in`."""
        self._counts.leave_out(position, list(gone))
        self._fill(position, view)

    def take_in(self, position: int) -> None:
        """Show a node as the view has it, with all that were left out."""
        self._counts.take_in(position)
        self._fill(position, self.views[position])

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
        self._shapes.begin(self.nodes)
        self._names = self._shapes.names
        self.fleet = Fleet(len(views), len(self._names))
        self.device_free = {}
        self._holders = Holders(_PLAIN)
        self.holders = self._holders.where
        self._overdrawn = set()
        self.verdicts.forget()
        self._counts.clear()
        self._topologies.begin(self.nodes)
        self._orders.begin(self.nodes, self.fleet, self._topologies)
        self._find_scale()
        for position, each in enumerate(views):
            for instance in each.instances.values():
                self._let_in(position, instance)
            self._fill(position, each)

    def _take_told(self, view: ClusterView, told: Sequence[NodeChange]) -> None:
        """Take over changes that are told one by one; of nodes that are as they were, only what came and left."""
        positions = self.positions
        if self._counts:
            for node_id, arrived, left in told:
                position = positions.get(node_id)
                if position is not None and left is not None:
                    self._counts.count(position, (left,), -1)
                if position is not None and arrived is not None:
                    self._counts.count(position, (arrived,), 1)
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
                if not self._shapes.has_columns_for(node):
                    self._take_all(view)
                    return
                is_rescaled = True
                self.verdicts.forget_node(position)
                self._topologies.begin(self.nodes)
                self._orders.take_node(position, node)
            self.nodes[position] = node
        if is_rescaled and self._find_scale():
            for position in range(len(self.nodes)):
                self.fleet.touch(position)
        for position, after in updates:
            self._fill(position, after)

    def _let_in(self, position: int, instance: PlacedInstance) -> None:
        self._holders.let_in(position, instance)
        self._counts.count(position, (instance,), 1)

    def _let_out(self, position: int, instance: PlacedInstance) -> None:
        self._holders.let_out(position, instance)
        self._counts.count(position, (instance,), -1)

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
        fill(self.fleet, self._names, self.device_free, position, view)
        if is_overdrawn(view):
            self._overdrawn.add(position)
        else:
            self._overdrawn.discard(position)


def _lacking(here: NodeView, there: NodeView) -> list[PlacedInstance]:
    """Return the instances that one view of a node has and the other has not, or has otherwise."""
    others = there.instances
    return [instance for key, instance in here.instances.items() if others.get(key) is not instance]
