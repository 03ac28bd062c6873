"""Packing that knows all requests beforehand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from typing import Final, Literal, get_args

from attrs import define, evolve, field, frozen
from librt.vecs import vec
from mypy_extensions import i64
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    Explanation,
    GangShortage,
    Grant,
    NoPlacement,
    ScheduleDecision,
    SchedulingRequest,
    check_request,
    explain,
    find_grants,
    with_decisions,
)
from orchestrion.scheduler_packing._choice import Choice
from orchestrion.scheduler_packing._core.fitting import ALIGNED, EMPTIEST, FIRST, Rule, best_by
from orchestrion.scheduler_packing._core.fleet import Fleet
from orchestrion.scheduler_packing._core.placing import NOWHERE, Shape, take
from orchestrion.scheduler_packing._deciding import assignment
from orchestrion.scheduler_packing._draft import Draft
from orchestrion.scheduler_packing._scheduler import CAPABILITIES
from orchestrion.scheduler_packing._wanted import Wanted, wanted_of
from orchestrion.shared_types import WHOLE_DEVICE, InstanceKey, NodeStatus

PackingOrder = Literal["bfd", "ffd", "wfd", "dot-product"]

NO_SHAPE: Final = Shape(vec[i64]([0, 0, 0]), 0, [])

_DEVICES: Final = "devices"
_KINDS: Final = {"ffd": FIRST, "wfd": EMPTIEST, "dot-product": ALIGNED}


def pack(
    requests: Iterable[SchedulingRequest], view: ClusterView, /, *, order: PackingOrder = "bfd"
) -> list[list[ScheduleDecision]]:
    """Decide many requests together, the largest first, on top of what a view holds already.

    Requests of higher priority come first, then those whose slots are larger, then those that come first. A slot's size
    is the sum, over all resources and devices, of what it takes as a part of all that the view's ready nodes have free;
    a slot that takes the larger part of one resource is the larger one of two with the same sum.

    All that binds a slot binds it here, and a slot is refused only if it fits nowhere in the end: one that needs
    neighbours, or is spread, is tried again once others have their places. Each request's minimum is kept.

    Nodes that dislike a slot less come first, whatever the order. Then come

    - `bfd`, best fit: those that hold something, then those that have least left, in cpu, memory and devices, as
      `PackingScheduler` has it;
    - `ffd`, first fit: the lowest id;
    - `wfd`, worst fit: those that hold something, then those that have most left, over all resources;
    - `dot-product`: those that hold something, then those whose free amounts are most like what is asked for, which is
      the sum over all resources of what is asked for times what is free;

    and of equals the lowest id. The latter two take amounts as parts of the most that any node has free at the start.

    It is a function of its arguments, has no effect, and takes time for each slot: about
    the logarithm of the number of nodes with `bfd`, and the number of nodes else.

    Args:
        requests: What is to be placed. A slot that the view holds, or that another request has got a place for, stays
            where it is.
        view: The cluster; it is looked at only during the call.
        order: How to choose a node.

    Returns:
        For each request its decisions, in the order of its slots. Explanations of refusals are about the cluster with
        everything else in its place.

    Raises:
        ValueError: There is no such order.
        InvalidSchedulingRequest: A request is outside what the interface allows, or the view has more nodes than can be
            told apart.
    """
    if order not in get_args(PackingOrder):
        msg = f"no such order: {order!r}; there are {', '.join(get_args(PackingOrder))}"
        raise ValueError(msg)
    asked = list(requests)
    for request in asked:
        check_request(request)
    return _Packing(asked, Draft(view), order).decide()


@frozen(eq=False)
class _Item:
    """One request, and what its slots want."""

    number: int
    request: SchedulingRequest
    wanted: Wanted
    shape: Shape | None

    @property
    def is_bound_by_others(self) -> bool:
        """Whether it depends on where instances are if there is a place."""
        return bool(self.wanted.spreads or self.wanted.instance_affinities)


@define(eq=False)
class _Attempt:
    """Places for slots of one request, taken one after the other on an index, and given back in the end."""

    item: _Item
    shape: Shape
    draft: Draft
    rule: Rule | None
    made: list[AssignNode] = field(factory=list)
    _taken: list[int] = field(factory=list)
    _granted: list[tuple[int, Grant]] = field(factory=list)

    def place(self, slots: list[InstanceKey]) -> None:
        """Find places for as many slots as there are places for."""
        try:
            self._place(slots)
        finally:
            index = self.draft.index
            for position in self._taken:
                take(index.fleet, self.shape, position, -1)
            for position, grant in self._granted:
                index.device_free[position][grant.device_id] += grant.thousandths

    def explain(self) -> Explanation:
        """Say which nodes can't take one more slot, and why."""
        request, view = self.item.request, self.draft.view
        after = with_decisions(view, request.workload, self.made) if self.made else view
        return explain(request, after, capabilities=CAPABILITIES)

    def _place(self, slots: list[InstanceKey]) -> None:
        index, item = self.draft.index, self.item
        request = item.request
        only = None if request.only_node is None else index.positions.get(request.only_node, NOWHERE)
        choice = Choice(index, item.wanted, self.shape, index.field_of(item.wanted), only)
        for slot in slots:
            found = choice.best() if self.rule is None or only is not None else best_of(choice, self.rule)
            if found is None:
                return
            position, grants = found
            explanation = self.explain() if request.explain else None
            self.made.append(assignment(slot, index.ids[position], grants, explanation))
            self._taken.append(position)
            take(index.fleet, self.shape, position, 1)
            for grant in grants:
                index.device_free[position][grant.device_id] -= grant.thousandths
                self._granted.append((position, grant))
            choice.field.add(position, 1)


class _Packing:
    """One call."""

    def __init__(self, requests: list[SchedulingRequest], draft: Draft, order: PackingOrder) -> None:
        index = draft.index
        self._draft = draft
        wanted = {id(request.workload): wanted_of(request.workload) for request in requests}
        self._items = [
            _Item(number, request, wanted[id(request.workload)], index.shape_of(wanted[id(request.workload)]))
            for number, request in enumerate(requests)
        ]
        self._made: list[dict[InstanceKey, AssignNode]] = [{} for _ in requests]
        self._rule = None if order == "bfd" else rule_of(_KINDS[order], index.fleet)

    def decide(self) -> list[list[ScheduleDecision]]:
        """Return the decisions of each request."""
        sizes = sizes_of([item.wanted for item in self._items], self._draft.view)
        waiting = sorted(
            self._items, key=lambda item: (-item.request.workload.priority, *(-size for size in sizes[item.number]))
        )
        while waiting:
            placed = [self._place(item) for item in waiting]
            # What only room binds finds no more of it later; neighbours may come, and the emptiest domain fill up.
            waiting = [item for item in waiting if item.is_bound_by_others and self._fresh(item)] if any(placed) else []
        return [self._answers(item) for item in self._items]

    def _fresh(self, item: _Item) -> list[InstanceKey]:
        holders = self._draft.index.holders
        return [slot for slot in item.request.slots if slot not in holders]

    def _attempt(self, item: _Item, shape: Shape, slots: list[InstanceKey]) -> _Attempt:
        attempt = _Attempt(item, shape, self._draft, self._rule)
        attempt.place(slots)
        return attempt

    def _place(self, item: _Item) -> bool:
        """Place what can be, and return whether that is anything."""
        request, fresh = item.request, self._fresh(item)
        if item.shape is None or not fresh:
            return False
        made = self._attempt(item, item.shape, fresh).made
        if not made or len(request.slots) - len(fresh) + len(made) < request.minimum:
            return False
        self._draft.place(request.workload, made)
        self._made[item.number].update((decision.slot, decision) for decision in made)
        return True

    def _answers(self, item: _Item) -> list[ScheduleDecision]:
        made, fresh = self._made[item.number], set(self._fresh(item))
        refusal = self._refusal(item) if fresh else None
        return [
            NoPlacement(slot=slot, explanation=refusal)
            if refusal is not None and slot in fresh
            else made.get(slot) or self._stays(item.request, slot)
            for slot in item.request.slots
        ]

    def _refusal(self, item: _Item) -> Explanation:
        """Say why there is no place for one more slot; of a gang, with those in their places that there is room for."""
        request, fresh = item.request, self._fresh(item)
        if item.shape is None:
            attempt = _Attempt(item, NO_SHAPE, self._draft, self._rule)
        else:
            attempt = self._attempt(item, item.shape, fresh)
        explanation = attempt.explain()
        places = len(request.slots) - len(fresh) + len(attempt.made)
        if request.minimum <= 1 or places >= request.minimum:
            return explanation
        return evolve(explanation, gang=GangShortage(slots=len(request.slots), minimum=request.minimum, places=places))

    def _stays(self, request: SchedulingRequest, slot: InstanceKey) -> AssignNode:
        view = self._draft.index.views[self._draft.index.holders[slot]]
        return AssignNode(
            slot=slot,
            node_id=view.node.id,
            device_thousandths=view.instances[slot].device_thousandths,
            explanation=Explanation(nodes_considered=len(self._draft.view)) if request.explain else None,
        )


def best_of(choice: Choice, rule: Rule) -> tuple[int, tuple[Grant, ...]] | None:
    """Return the best position by a rule, and the devices there; None where none will do."""
    index, wants = choice.index, choice.wanted.suitability.devices
    choice.field.cells.order.catch_up()
    found = vec[i64]()
    while found := best_by(rule, index.fleet, choice.field, choice.shape, found):
        position = found[-1]
        if not wants:
            return position, ()
        grants = find_grants(wants, index.nodes[position].devices, index.device_free.get(position, {}))
        if grants is not None:
            return position, grants
    return None


def sizes_of(wanted: Iterable[Wanted], view: ClusterView) -> list[tuple[Fraction, Fraction]]:
    """Return the size of each slot: the sum of its parts of what ready nodes have free, and the largest of them."""
    free: Counter[str] = Counter()
    for each in view:
        if each.node.status is NodeStatus.READY:
            free.update(dict(each.free.dimensions()))
            held = each.device_thousandths
            free[_DEVICES] += sum(max(0, WHOLE_DEVICE - held.get(device.id, 0)) for device in each.node.devices)
    sizes = []
    for each_wanted in wanted:
        demand = {**dict(each_wanted.demand.dimensions()), _DEVICES: each_wanted.device_thousandths}
        parts = [Fraction(amount, max(1, free[name])) for name, amount in demand.items()]
        sizes.append((sum(parts, Fraction()), max(parts)))
    return sizes


def rule_of(kind: int, fleet: Fleet) -> Rule:
    """Return a rule for a fleet as it is now."""
    return Rule(kind, vec[i64]([max(column, default=0) for column in (*fleet.free, fleet.gpu)]))
