"""The scheduler that others are compared with: all constraints, by a look at all nodes for each slot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from typing import Final

import trio
from attrs import evolve
from orchestrion.shared_types import WHOLE_DEVICE, InstanceKey, NodeAffinity, NodeId, TaintEffect

from ._batches import check_batch, less_victims
from ._candidate import Candidate, candidate_of, free_devices
from ._evictions import Eviction, budgets_after, eviction_on
from ._explain import explain_candidates
from ._gang import keep_minimum
from ._interface import ClusterView
from ._labels import expression_matches
from ._last_starts import LastStarts
from ._needs import Needs, needs_of
from ._outcomes import InstanceOutcome
from ._placing import assignment
from ._predicates import PREDICATES, passes
from ._survey import candidates_of, find_holders
from ._types import AssignNode, Explanation, NoPlacement, ScheduleDecision, SchedulerCapability, SchedulingRequest
from ._view import with_decisions, without_instances

LEVELS: Final = 2**18
"""How finely `FullScanScheduler` tells apart what nodes have left: amounts are shifted right by as few bits as make
less than so many levels of the most that any node of the view has allocatable."""
STEP_POINTS: Final = 8 * LEVELS
"""What one dislike costs in `FullScanScheduler`: more than a node can have left over all resources."""
FULL_WEIGHT: Final = 100
"""A preference of this weight that does not hold costs `STEP_POINTS`; one of less weight, so many hundredths."""

_CAPABILITIES: Final = frozenset(SchedulerCapability)


class FullScanScheduler:
    """Gives each slot the node with the fewest points, after a look at all of them.

    It keeps no state between calls but for what it is told of starts that failed.

    It is the rule by which schedulers that look at fewer nodes can be checked, decision by decision. A node's points
    for a slot are the sum of

    - `STEP_POINTS`, 2^21, for each PreferNoSchedule taint that is not tolerated;
    - as many for each instance of the workload in the same domain, for each spread, required or not; nodes that are in
      no domain count as one;
    - `STEP_POINTS` * weight // `FULL_WEIGHT` for each preferred affinity that does not hold as AFFINITY-1 to AFFINITY-7
      say of required ones;
    - `STEP_POINTS` if, of the starts there that it was told of, the latest failed, less than an hour ago;
    - the levels that are left of cpu, of memory, and of the thousandths of all devices together, before the slot is
      placed; each amount is shifted right by as few bits as make less than `LEVELS`, 2^18, of the most that any node of
      the view has allocatable;
    - `LEVELS` if the node holds no instance.

    Of nodes with equal points the lowest id is taken.

    Where somebody has to be pushed out, and several nodes are equal in what `SchedulerCapability.PREEMPTION` says, it
    is the one with the fewest points for taints, spreads and preferred affinities, as they are before the victims are
    gone; of equals the lowest id.
    """

    def __init__(self) -> None:
        """Know of no outcomes."""
        self._starts = LastStarts()

    @property
    def capabilities(self) -> frozenset[SchedulerCapability]:
        """It has all of them."""
        return _CAPABILITIES

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> list[ScheduleDecision]:
        """Decide for each slot of the request."""
        await trio.lowlevel.checkpoint()
        return _Scan(request, needs_of(request, _CAPABILITIES), view, self._starts.failing).decide()

    async def schedule_batch(
        self, requests: Sequence[SchedulingRequest], view: ClusterView, /
    ) -> list[list[ScheduleDecision]]:
        """Decide several requests, each in the view as the decisions before it leave it; see `SupportsBatches`."""
        await trio.lowlevel.checkpoint()
        check_batch(requests)
        made: list[list[ScheduleDecision]] = []
        for request in requests:
            asked = less_victims(request, made)
            decisions = _Scan(asked, needs_of(asked, _CAPABILITIES), view, self._starts.failing).decide()
            made.append(decisions)
            view = with_decisions(view, request.workload, decisions)
        return made

    def observe(self, outcomes: Iterable[InstanceOutcome], /, *, now_seconds: float) -> None:
        """Take in what has become of instances; see `SupportsOutcomes`."""
        self._starts.observe(outcomes, now_seconds)

    def prepare(self) -> None:
        """There is nothing to prepare."""

    @property
    def lessons(self) -> int:
        """How often what it remembers has changed."""
        return self._starts.changes

    def remembered(self) -> bytes:
        """Return when starts last succeeded and failed, as JSON."""
        return self._starts.to_json()

    def recall(self, data: bytes, /) -> None:
        """Go on from what another one remembered; see `SupportsOutcomes`."""
        starts = LastStarts.of_json(data)
        starts.changes = self._starts.changes + 1
        self._starts = starts


class _Scan:
    """One call."""

    def __init__(
        self, request: SchedulingRequest, needs: Needs, view: ClusterView, failing: Set[NodeId] = frozenset()
    ) -> None:
        self._failing = failing
        self._request = request
        self._needs = needs
        self._view = view
        self._candidates = candidates_of(needs, view)
        self._levels = _Levels(view)

    def decide(self) -> list[ScheduleDecision]:
        """Return a decision for each slot."""
        holders = find_holders(self._request.slots, self._view)
        decisions: list[ScheduleDecision] = []
        for slot in self._request.slots:
            if slot in holders:
                node_id, instance = holders[slot]
                explanation = Explanation(nodes_considered=len(self._view)) if self._request.explain else None
                shares = instance.device_thousandths
                decisions.append(
                    AssignNode(slot=slot, node_id=node_id, device_thousandths=shares, explanation=explanation)
                )
            else:
                decisions.append(self._decide_one(slot, decisions))
        return keep_minimum(self._request, decisions, holders)

    def _decide_one(self, slot: InstanceKey, made: list[ScheduleDecision]) -> ScheduleDecision:
        able = [each for each in self._candidates if passes(PREDICATES, self._needs, each)]
        best = sorted(able, key=lambda each: (self._points(each), each.id))[:2]
        if not best:
            pushing = self._push_out(slot, made) if self._request.preempt else None
            return pushing or NoPlacement(slot=slot, explanation=self._explain())
        explanation = self._explain_choice(best) if self._request.explain else None
        chosen = best[0]
        grants = chosen.grants(self._needs)
        if grants is None:
            msg = f"node {chosen.id!r} was chosen without room for the devices"
            raise AssertionError(msg)
        chosen.take(self._needs, grants)
        return assignment(slot, chosen.id, grants, explanation)

    def _push_out(self, slot: InstanceKey, made: list[ScheduleDecision]) -> AssignNode | None:
        """Return the decision by which a slot that no node can take gets one nevertheless, or None."""
        left = evolve(self._request, budgets=budgets_after(self._request.budgets, made))
        # What the slots before took is in these nodes' views, so that each can be seen without some of its instances.
        candidates = {each.id: each for each in self._candidates_after(made)}
        found = [eviction_on(left, self._needs, candidate) for candidate in candidates.values()]
        evictions = [eviction for eviction in found if eviction is not None]
        if not evictions:
            return None

        def cost(eviction: Eviction) -> tuple[tuple[int, int, int], int, NodeId]:
            return (eviction.rank, sum(self._dislikes(candidates[eviction.node_id]).values()), eviction.node_id)

        best = min(evictions, key=cost)
        explanation = None
        if self._request.explain:
            explanation = evolve(self._explain(), closest=(), smallest_change=())
        room = without_instances(candidates[best.node_id].view, best.keys)
        grants = candidate_of(room, self._needs).grants(self._needs)
        if grants is None:
            msg = f"node {best.node_id!r} was chosen without room for the devices"
            raise AssertionError(msg)
        decision = evolve(assignment(slot, best.node_id, grants, explanation), victims=best.keys)
        self._candidates = self._candidates_after([*made, decision])
        return decision

    def _candidates_after(self, made: list[ScheduleDecision]) -> list[Candidate]:
        return candidates_of(self._needs, with_decisions(self._view, self._request.workload, made))

    def _explain(self) -> Explanation:
        return explain_candidates(self._needs, self._candidates, self._view)

    def _explain_choice(self, best: list[Candidate]) -> Explanation:
        parts = {each.id: {name: -float(cost) for name, cost in self._costs(each).items() if cost} for each in best}
        scores = {node_id: sum(costs.values()) for node_id, costs in parts.items()}
        return evolve(self._explain(), scores=scores, parts=parts)

    def _points(self, candidate: Candidate) -> int:
        return sum(self._costs(candidate).values())

    def _costs(self, candidate: Candidate) -> dict[str, int]:
        return {**self._dislikes(candidate), "binpack": self._levels.left(candidate)}

    def _dislikes(self, candidate: Candidate) -> dict[str, int]:
        made = dislikes(self._needs, self._request.workload.placement.node_affinities, candidate)
        if candidate.id in self._failing:
            made["node-history"] = STEP_POINTS
        return made


def dislikes(needs: Needs, affinities: tuple[NodeAffinity, ...], candidate: Candidate) -> dict[str, int]:
    """Return what of a node's points is due to taints, preferences and spreads, by the name of each."""
    node = candidate.view.node
    taints = sum(
        taint.effect is TaintEffect.PREFER_NO_SCHEDULE and taint not in needs.tolerated for taint in node.taints
    )
    crowd = sum(tally.count(domain) for tally, domain in (*candidate.own_domains, *candidate.shared_domains))
    missed = [
        affinity.weight
        for affinity in affinities
        if affinity.weight is not None
        and not all(expression_matches(node.labels, expression) for expression in affinity.expressions)
    ]
    strangers = [
        neighbours.affinity.weight
        for neighbours, domain in candidate.neighbours
        if neighbours.affinity.weight is not None and not neighbours.suits(domain)
    ]
    return {
        "prefer-no-schedule": STEP_POINTS * taints,
        "topology-spread": STEP_POINTS * crowd,
        "node-affinity": sum(STEP_POINTS * weight // FULL_WEIGHT for weight in missed),
        "instance-affinity": sum(STEP_POINTS * weight // FULL_WEIGHT for weight in strangers),
    }


class _Levels:
    """What nodes have left, in levels."""

    def __init__(self, view: ClusterView) -> None:
        nodes = [each.node for each in view]
        self._cpu = _shift_for(max((node.allocatable.cpu_millicores for node in nodes), default=0))
        self._memory = _shift_for(max((node.allocatable.memory_bytes for node in nodes), default=0))
        self._devices = _shift_for(max((len(node.devices) * WHOLE_DEVICE for node in nodes), default=0))

    def left(self, candidate: Candidate) -> int:
        """Return the levels of a node as it is now."""
        cpu, memory = candidate.free[:2]
        devices = sum((candidate.device_free or free_devices(candidate.view)).values())
        idle = LEVELS if candidate.instance_count == 0 else 0
        return (cpu >> self._cpu) + (memory >> self._memory) + (devices >> self._devices) + idle


def _shift_for(most: int) -> int:
    """Return by how many bits amounts up to `most` are shifted to lie below `LEVELS`."""
    return max(0, most.bit_length() - LEVELS.bit_length() + 1)
