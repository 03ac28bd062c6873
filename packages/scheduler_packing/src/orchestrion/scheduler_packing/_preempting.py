"""Pushing out instances of lower priority for the slots of one request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from attrs import define, field
from librt.vecs import vec
from mypy_extensions import i64
from orchestrion.scheduler_interface import (
    NodeView,
    PlacedInstance,
    SchedulingRequest,
    find_grants,
    host_ports_of,
    within_budgets,
    without_instances,
)
from orchestrion.scheduler_packing._core.evicting import UNLIMITED, Asked, Search
from orchestrion.scheduler_packing._core.fleet import PLAIN_DIMENSIONS, zeros
from orchestrion.scheduler_packing._core.placing import Shape
from orchestrion.scheduler_packing._core.terms import APART, TOGETHER, Term
from orchestrion.scheduler_packing._core.verdicts import PASSES
from orchestrion.scheduler_packing._groups import Group, group_of
from orchestrion.scheduler_packing._index import Index
from orchestrion.scheduler_packing._wanted import Wanted
from orchestrion.shared_types import WHOLE_DEVICE, InstanceKey, Uid


@define(eq=False)
class Preempting:
    """Who is pushed out for the slots of one request, as `SchedulerCapability.PREEMPTION` says.

    The core finds the best node as far as cpu, memory and disk go; nodes on which more is in the way are looked at one
    by one.

    Attributes:
        request: The request.
        wanted: What a slot wants.
        shape: The same, for the core.
        index: The nodes.
        victims: Who was pushed out so far, by position.
    """

    request: SchedulingRequest
    wanted: Wanted
    shape: Shape
    index: Index
    victims: dict[int, list[PlacedInstance]] = field(factory=dict)
    _reduced: dict[int, NodeView] = field(factory=dict)
    _spent: Counter[Uid] = field(factory=Counter)
    _company: list[Group] = field(factory=list)
    _unwanted: list[tuple[Term, Group]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        """Look at what has changed on the nodes."""
        self.index.holdings.catch_up(self.index.views)

    def find(self, terms: list[Term], taken: Mapping[int, int]) -> tuple[int, list[PlacedInstance]] | None:
        """Return the position on which the least has to be pushed out for one slot, and whom, or None.

        Args:
            terms: What the instances that are placed mean, in the order of the wanted topologies.
            taken: How many slots of the request have a place anew, by position.
        """
        index, holdings = self.index, self.index.holdings
        first, end = 0, len(index.views)
        if self.request.only_node is not None:
            first = index.positions.get(self.request.only_node, end)
            end = min(end, first + 1)
        order = index.order_of(self.wanted.suitability)
        affinities = list(self._affinities(terms))
        self._company = [group for term, group in affinities if term.kind == TOGETHER]
        self._unwanted = [(term, group) for term, group in affinities if term.kind == APART]
        budgets = self._budgets()
        asked = Asked(
            self.shape,
            self.request.workload.priority,
            holdings.owners.get(self._uid, -1),
            vec[i64]([max(0, budgets[uid]) if uid in budgets else UNLIMITED for uid in holdings.owners]),
            bool(budgets),
        )
        apart = [each for each in self._hindered(terms, first, end) if order.members[each]]
        passed_over = zeros(len(index.views))
        for position in apart:
            passed_over[position] = 1
        search = Search(index.fleet, order, terms, holdings.records, asked)
        search.look(first, end, passed_over)
        for position in apart:
            victims = self._victims_on(position, terms, taken.get(position, 0), budgets)
            if victims:
                highest = max(each.priority for each in victims)
                search.offer(position, highest, len(victims), max(each.grace_seconds for each in victims))
        if search.found < 0:
            return None
        victims = self._victims_on(search.found, terms, taken.get(search.found, 0), budgets)
        if not victims:
            msg = f"node {index.views[search.found].node.id!r} was chosen, and nobody there can make room"
            raise AssertionError(msg)
        return search.found, victims

    def push_out(self, position: int, victims: list[PlacedInstance]) -> None:
        """Show a node without its victims; what slots of the request took there has to be taken again."""
        self.victims.setdefault(position, []).extend(victims)
        self._spent.update(each.key.workload_id for each in victims)
        view = without_instances(self._view_of(position), {each.key for each in victims})
        self._reduced[position] = view
        self.index.leave_out(position, victims, view)
        self.index.holdings.show(position, view)

    def put_back(self) -> None:
        """Show all nodes as the view has them, without what slots of the request took."""
        for position in self.victims:
            self.index.take_in(position)

    @property
    def _uid(self) -> Uid:
        return self.request.workload.metadata.uid

    def _view_of(self, position: int) -> NodeView:
        return self._reduced.get(position, self.index.views[position])

    def _budgets(self) -> dict[Uid, int]:
        return {uid: budget - self._spent[uid] for uid, budget in self.request.budgets.items()}

    def _affinities(self, terms: list[Term]) -> Iterable[tuple[Term, Group]]:
        """Yield the term of each required affinity to instances, and whom it is about."""
        namespace = self.request.workload.metadata.namespace
        for affinity, term in zip(self.wanted.instance_affinities, terms[len(self.wanted.spreads) :], strict=True):
            if affinity.weight is None:
                yield term, group_of(namespace, affinity)

    # -- nodes that are looked at one by one

    def _hindered(self, terms: list[Term], first: int, end: int) -> set[int]:
        """Return where more may be in the way than a lack of cpu, memory or disk, or where not all may leave."""
        index = self.index
        fleet, nodes = index.fleet, range(first, end)
        found = index.holdings.large & set(nodes) if index.holdings.large else set()
        if self.shape.ports:
            ports = set(self.shape.ports)
            found.update(each for each, taken in fleet.ports.items() if each in nodes and not ports.isdisjoint(taken))
        for at in range(PLAIN_DIMENSIONS, len(self.shape.amounts)):
            amount, column = self.shape.amounts[at], fleet.free[at]
            if amount > 0:
                found.update(each for each in nodes if column[each] < amount)
        if self.wanted.suitability.devices:
            verdicts = index.verdicts.devices(self.wanted.suitability.devices, index).column.of
            found.update(each for each in nodes if verdicts[each] != PASSES)
        for term, _ in self._affinities(terms):
            found.update(each for each in nodes if term.count_at(each) > 0)
        return found

    def _victims_on(
        self, position: int, terms: list[Term], taken: int, budgets: Mapping[Uid, int]
    ) -> list[PlacedInstance] | None:
        """Return who has to leave a node, by key, or None where it will not do whoever leaves."""
        if self._unwanted and position in self.index.own_of(self._uid) and self._keeps_off_its_own(position):
            return None
        uid, priority, company = self._uid, self.request.workload.priority, self._company
        lower = [
            instance
            for instance in self.index.holdings.in_order[position]
            if instance.priority < priority
            and instance.key.workload_id != uid
            and not (company and any(group.has(instance.namespace, instance.labels) for group in company))
        ]
        allowed = within_budgets(lower, budgets)
        if not allowed or not all(term.allows(position) for term in terms if term.kind != APART):
            return None
        leaving: set[InstanceKey] = set()
        for term, group in self._unwanted:
            if term.count_at(position) > 0:
                unwanted = [each.key for each in allowed if group.has(each.namespace, each.labels)]
                if len(unwanted) < term.count_at(position):
                    return None
                leaving.update(unwanted)
        ports = host_ports_of(self.request.workload.containers)
        if ports:
            holders = {key for key, each in self._view_of(position).instances.items() if each.host_ports & ports}
            if taken or not holders <= {each.key for each in allowed}:
                return None
            leaving |= holders
        room = _Room(self, position, taken, allowed)
        if not room.suffices():
            return None
        gone = [each for each in allowed if each.key in leaving or not room.can_put_back(each)]
        return sorted(gone, key=lambda each: each.key)

    def _keeps_off_its_own(self, position: int) -> bool:
        """Whether a slot has to keep away from one of its own workload on the node, which stays."""
        uid = self._uid
        own = [each for key, each in self._view_of(position).instances.items() if key.workload_id == uid]
        return any(
            group.has(each.namespace, each.labels)
            for term, group in self._unwanted
            if term.count_at(position) > 0
            for each in own
        )


class _Room:
    """What is free on one node when all are gone that may leave it, less what is put back."""

    def __init__(self, call: Preempting, position: int, taken: int, allowed: list[PlacedInstance]) -> None:
        view = call._view_of(position)  # noqa: SLF001 # of the same module
        gone = {each.key for each in allowed}
        staying = [each for key, each in view.instances.items() if key not in gone]
        self._asked = {name: amount for name, amount in call.wanted.demand.dimensions() if amount > 0}
        self._free = {name: amount for name, amount in view.node.allocatable.dimensions() if name in self._asked}
        for instance in staying:
            for name, amount in instance.demand.dimensions():
                if name in self._free:
                    self._free[name] -= amount
        for name in self._free:
            self._free[name] -= taken * self._asked[name]
        self._wants = call.wanted.suitability.devices
        self._devices = view.node.devices
        self._held: Counter[str] = Counter()
        self._granted: dict[str, int] = {}
        if self._wants:
            for instance in staying:
                self._held.update(instance.device_thousandths)
            left = call.index.device_free.get(position, {})
            self._granted = {
                each: max(0, WHOLE_DEVICE - view.device_thousandths.get(each, 0)) - left[each] for each in left
            }

    def suffices(self) -> bool:
        """Whether a slot has room."""
        return all(self._free.get(name, 0) >= amount for name, amount in self._asked.items()) and self._can_grant()

    def can_put_back(self, instance: PlacedInstance) -> bool:
        """Put an instance back if a slot still has room then; return whether it did."""
        for name, amount in instance.demand.dimensions():
            if name in self._free:
                self._free[name] -= amount
        self._held.update(instance.device_thousandths)
        enough = all(self._free.get(name, 0) >= amount for name, amount in self._asked.items())
        if enough and (not instance.device_thousandths or self._can_grant()):
            return True
        for name, amount in instance.demand.dimensions():
            if name in self._free:
                self._free[name] += amount
        self._held.subtract(instance.device_thousandths)
        return False

    def _can_grant(self) -> bool:
        if not self._wants:
            return True
        free = {
            each.id: max(0, WHOLE_DEVICE - self._held[each.id]) - self._granted.get(each.id, 0)
            for each in self._devices
        }
        return find_grants(self._wants, self._devices, free) is not None
