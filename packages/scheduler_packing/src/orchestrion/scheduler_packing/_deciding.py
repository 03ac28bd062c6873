"""One request: places for its slots, taken one after the other, and given back in the end."""

from __future__ import annotations

from collections import Counter

from attrs import define, evolve, field
from librt.vecs import vec
from mypy_extensions import i64
from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    Explanation,
    Grant,
    NoPlacement,
    ScheduleDecision,
    SchedulerCapability,
    SchedulingRequest,
    explain,
    find_grants,
    keep_minimum,
    with_decisions,
)
from orchestrion.scheduler_packing._choice import Choice
from orchestrion.scheduler_packing._core.order import MAX_NODES, Order
from orchestrion.scheduler_packing._core.placing import NOWHERE, Shape, first_fitting, place_alike, take
from orchestrion.scheduler_packing._core.terms import Term
from orchestrion.scheduler_packing._explaining import AmbiguousWords, Explaining
from orchestrion.scheduler_packing._gpu_choice import Bounds, GpuChoice
from orchestrion.scheduler_packing._gpu_nodes import GpuNodes
from orchestrion.scheduler_packing._index import Index
from orchestrion.scheduler_packing._preempting import Preempting
from orchestrion.scheduler_packing._refusals import Refusal
from orchestrion.scheduler_packing._score_nodes import ScoreNodes
from orchestrion.scheduler_packing._scored_choice import ScoredChoice
from orchestrion.scheduler_packing._wanted import Wanted
from orchestrion.shared_types import InstanceKey, NodeId


@define(eq=False)
class Deciding:
    """Decides one request on an index that shows the request's view, and leaves the index as it was."""

    request: SchedulingRequest
    wanted: Wanted
    view: ClusterView
    index: Index
    capabilities: frozenset[SchedulerCapability]
    gpus: GpuNodes | None = None
    scores: ScoreNodes | None = None
    _taken: list[int] = field(factory=list)
    _granted: list[tuple[int, Grant]] = field(factory=list)
    _terms: list[Term] | None = None
    _refusal: Explanation | None = None
    _preempting: Preempting | None = None

    def decide(self) -> list[ScheduleDecision]:
        """Return a decision for each slot, in their order."""
        index = self.index
        fresh = [slot for slot in self.request.slots if slot not in index.holders]
        made: dict[InstanceKey, ScheduleDecision] = {}
        known = index.refusals.get(self.wanted, self.request.only_node)
        if known is not None and not known.taken and not self.request.preempt:
            self._refusal = known.explanation
        elif fresh:
            shape = index.shape_of(self.wanted)
            try:
                if shape is not None:
                    self._place(fresh, shape, made)
                    if self.request.preempt and len(made) < len(fresh):
                        self._push_out(fresh, shape, made)
                if len(made) < len(fresh):
                    self._refusal = self._refuse(made)
            finally:
                if shape is not None:
                    self._give_back(shape)
        return self._answers(made)

    def _place(self, slots: list[InstanceKey], shape: Shape, made: dict[InstanceKey, ScheduleDecision]) -> None:
        index = self.index
        if not self._is_bound_by_room_alone:
            self._place_each(slots, shape, made)
            return
        placed = place_alike(index.fleet, self._order, shape, len(slots), vec[i64]())
        self._taken += placed
        for slot, position in zip(slots, placed, strict=False):
            made[slot] = AssignNode(slot=slot, node_id=index.ids[position])

    def _push_out(self, slots: list[InstanceKey], shape: Shape, made: dict[InstanceKey, ScheduleDecision]) -> None:
        """Find places for the slots that have none yet, of which there is one or more."""
        index, terms = self.index, self._bounds
        preempting = self._preempting = Preempting(self.request, self.wanted, shape, index)
        while len(made) < len(slots):
            found = preempting.find(terms, Counter(self._taken))
            if found is None:
                return
            position, victims = found
            explanation = None
            if self.request.explain:
                explanation = evolve(self._explain(made), closest=(), smallest_change=())
            preempting.push_out(position, victims)
            take(index.fleet, shape, position, self._taken.count(position))
            for where, grant in self._granted:
                if where == position:
                    index.device_free[position][grant.device_id] -= grant.thousandths
            view = index.views[position]
            grants = find_grants(
                self.wanted.suitability.devices, view.node.devices, index.device_free.get(position, {})
            )
            if grants is None:
                msg = f"node {view.node.id!r} was chosen without room for the devices"
                raise AssertionError(msg)
            self._take(position, shape, grants)
            slot = slots[len(made)]
            decision = assignment(slot, view.node.id, grants, explanation)
            made[slot] = evolve(decision, victims=tuple(each.key for each in victims))
            # Who is gone counts no more for affinities either.
            terms = self._terms = index.terms_of(self.wanted)
            for each, number in Counter(self._taken).items():
                Bounds(terms).add(each, number)
            self._place(slots[len(made) :], shape, made)

    def _take(self, position: int, shape: Shape, grants: tuple[Grant, ...]) -> None:
        """Give a slot its place for as long as the call lasts."""
        self._taken.append(position)
        take(self.index.fleet, shape, position, 1)
        for grant in grants:
            self.index.device_free[position][grant.device_id] -= grant.thousandths
            self._granted.append((position, grant))

    @property
    def _is_bound_by_room_alone(self) -> bool:
        request = self.request
        return (
            self.gpus is None
            and self.scores is None
            and self.wanted.is_bound_by_room_alone
            and request.only_node is None
            and not request.explain
        )

    @property
    def _order(self) -> Order:
        return self.index.order_of(self.wanted.suitability)

    def _answers(self, made: dict[InstanceKey, ScheduleDecision]) -> list[ScheduleDecision]:
        answers: list[ScheduleDecision] = []
        for slot in self.request.slots:
            position = self.index.holders.get(slot)
            if position is not None:
                answers.append(self._stays(slot, position))
            elif slot in made or self._refusal is None:
                answers.append(made[slot])
            else:
                # All slots are alike, and a refusal takes nothing: each other is refused for the same reasons.
                answers.append(NoPlacement(slot=slot, explanation=self._refusal))
        return keep_minimum(self.request, answers, self.index.holders)

    def _stays(self, slot: InstanceKey, position: int) -> AssignNode:
        view = self.index.views[position]
        return AssignNode(
            slot=slot,
            node_id=view.node.id,
            device_thousandths=view.instances[slot].device_thousandths,
            explanation=Explanation(nodes_considered=len(self.view)) if self.request.explain else None,
        )

    def _refuse(self, made: dict[InstanceKey, ScheduleDecision]) -> Explanation:
        """Explain why there is no place, with the slots before in theirs."""
        request, refusals = self.request, self.index.refusals
        if self._preempting is not None and self._preempting.victims:
            return self._explain(made)
        taken = tuple(self._taken)
        known = refusals.get(self.wanted, request.only_node)
        if known is not None and known.taken == taken:
            return known.explanation
        explanation = self._explain(made)
        refusals.keep(Refusal(self.wanted, taken, explanation), request.only_node)
        return explanation

    def _explain(self, made: dict[InstanceKey, ScheduleDecision]) -> Explanation:
        """Explain what nodes refuse one more slot, with the slots before in their places."""
        try:
            return Explaining(self.index, self.wanted, self._bounds, self.request.only_node).explain()
        except AmbiguousWords:
            after = with_decisions(self.view, self.request.workload, made.values()) if made else self.view
            return explain(self.request, after, capabilities=self.capabilities)

    @property
    def _bounds(self) -> list[Term]:
        """What the instances that are placed mean, those of this request among them."""
        if self._terms is None:
            self._terms = self.index.terms_of(self.wanted)
        return self._terms

    def _place_each(self, slots: list[InstanceKey], shape: Shape, made: dict[InstanceKey, ScheduleDecision]) -> None:
        index, request = self.index, self.request
        only = None if request.only_node is None else index.positions.get(request.only_node, NOWHERE)
        choice: Choice | GpuChoice | ScoredChoice
        if self.scores is not None:
            choice = ScoredChoice(index, self.scores, self.wanted, shape, Bounds(self._bounds), only)
        elif self.gpus is not None:
            choice = GpuChoice(index, self.gpus, self.wanted, shape, Bounds(self._bounds), only)
        else:
            choice = Choice(index, self.wanted, shape, index.field_of(self.wanted, self._bounds), only)
        for slot in slots:
            if isinstance(choice, ScoredChoice):
                choice.begin(slot)
            found = choice.best()
            if found is None:
                return
            position, grants = found
            explanation = self._explain_choice(choice, position, made) if request.explain else None
            self._take(position, shape, grants)
            choice.field.add(position, 1)
            made[slot] = assignment(slot, index.ids[position], grants, explanation)

    def _explain_choice(
        self, choice: Choice | GpuChoice | ScoredChoice, position: int, made: dict[InstanceKey, ScheduleDecision]
    ) -> Explanation:
        runner_up = choice.best(besides=position)
        scored = [position] if runner_up is None else [position, runner_up[0]]
        parts = {self.index.ids[each]: choice.parts(each) for each in scored}
        scores = {node_id: sum(each.values()) for node_id, each in parts.items()}
        weights = (
            {}
            if self.scores is None
            else {name: weight for name, weight in self.scores.profile.weights.items() if weight}
        )
        return evolve(self._explain(made), scores=scores, parts=parts, weights=weights)

    def _give_back(self, shape: Shape) -> None:
        emptied = self._preempting.victims if self._preempting is not None else ()
        for position, number in Counter(self._taken).items():
            if position not in emptied:
                take(self.index.fleet, shape, position, -number)
        for position, grant in self._granted:
            if position not in emptied:
                self.index.device_free[position][grant.device_id] += grant.thousandths
        if self._preempting is not None:
            self._preempting.put_back()


def decide_alone(request: SchedulingRequest, wanted: Wanted, index: Index) -> AssignNode | None:
    """Return the decision about a single slot that nothing but room binds; None where there is more to look at.

    It is what `Deciding` would decide, without taking anything and giving it back.
    """
    slots = request.slots
    if len(slots) != 1 or not wanted.is_bound_by_room_alone or request.only_node is not None or request.explain:
        return None
    slot = slots[0]
    shape = index.shape_of(wanted)
    if shape is None or slot in index.holders:
        return None
    rank = first_fitting(index.fleet, index.order_of(wanted.suitability), shape, NOWHERE)
    return None if rank == NOWHERE else AssignNode(slot=slot, node_id=index.ids[rank & MAX_NODES])


def assignment(
    slot: InstanceKey, node_id: NodeId, grants: tuple[Grant, ...], explanation: Explanation | None
) -> AssignNode:
    """Return the decision that gives a slot its node and devices."""
    devices: dict[str, tuple[str, ...]] = {}
    thousandths: Counter[str] = Counter()
    for grant in sorted(grants, key=lambda grant: (grant.container, grant.device_id)):
        devices[grant.container] = (*devices.get(grant.container, ()), grant.device_id)
        thousandths[grant.device_id] += grant.thousandths
    return AssignNode(
        slot=slot, node_id=node_id, devices=devices, device_thousandths=thousandths, explanation=explanation
    )
