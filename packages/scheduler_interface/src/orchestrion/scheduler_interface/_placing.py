"""One call of `SimpleScheduler`: choosing nodes slot by slot."""

from __future__ import annotations

from collections import Counter, defaultdict

from attrs import evolve
from orchestrion.shared_types import InstanceKey, NodeId

from ._candidate import Candidate
from ._devices import Grant
from ._explain import explain_candidates
from ._gang import keep_minimum
from ._interface import ClusterView
from ._needs import Needs
from ._predicates import AROUND_PREDICATES, ROOM_PREDICATES, passes
from ._queue import BestFirst
from ._score import own_points, shared_points
from ._survey import candidates_of, find_holders
from ._types import AssignNode, Explanation, NoPlacement, PlacedInstance, ScheduleDecision, SchedulingRequest


class Placing:
    """Places the slots of one request. Its state is the call's."""

    def __init__(self, request: SchedulingRequest, needs: Needs, view: ClusterView) -> None:
        """Look at all nodes once."""
        self._request = request
        self._needs = needs
        self._view = view
        self._candidates = candidates_of(needs, view)
        open_candidates = [candidate for candidate in self._candidates if candidate.passes_fixed]
        self._queue = BestFirst(open_candidates, self._own_points, self._has_room)

    def decide(self) -> list[ScheduleDecision]:
        """Return a decision for each slot."""
        holders = find_holders(self._request.slots, self._view)
        decisions: list[ScheduleDecision] = []
        refusal: Explanation | None = None
        for slot in self._request.slots:
            if slot in holders:
                node_id, instance = holders[slot]
                decisions.append(self._stays(slot, node_id, instance))
                continue
            # All slots are alike, and a refusal takes nothing: after one, each other is refused for the same reasons.
            chosen = None if refusal is not None else self._queue.best()
            if chosen is None:
                refusal = refusal or explain_candidates(self._needs, self._candidates, self._view)
                decisions.append(NoPlacement(slot=slot, explanation=refusal))
            else:
                decisions.append(self._assign(slot, chosen))
        return keep_minimum(self._request, decisions, holders)

    def _stays(self, slot: InstanceKey, node_id: NodeId, instance: PlacedInstance) -> AssignNode:
        explanation = Explanation(nodes_considered=len(self._view)) if self._request.explain else None
        return AssignNode(
            slot=slot, node_id=node_id, device_thousandths=instance.device_thousandths, explanation=explanation
        )

    def _assign(self, slot: InstanceKey, chosen: Candidate) -> AssignNode:
        explanation = self._explain(chosen) if self._request.explain else None
        grants = chosen.grants(self._needs)
        if grants is None:
            msg = f"node {chosen.id!r} was chosen without room for the devices"
            raise AssertionError(msg)
        chosen.take(self._needs, grants)
        self._queue.put_back(chosen)
        return assignment(slot, chosen.id, grants, explanation)

    def _explain(self, chosen: Candidate) -> Explanation:
        explanation = explain_candidates(self._needs, self._candidates, self._view)
        others = [other for other in self._candidates if other is not chosen and self._may_take(other)]
        runner_up = min(others, key=lambda other: (-self._points(other), other.id), default=None)
        scored = [chosen] if runner_up is None else [chosen, runner_up]
        return evolve(explanation, scores={candidate.id: float(self._points(candidate)) for candidate in scored})

    def _own_points(self, candidate: Candidate) -> int:
        return own_points(self._needs, self._request.workload.placement.node_affinities, candidate)

    def _points(self, candidate: Candidate) -> int:
        return self._own_points(candidate) + shared_points(candidate)

    def _has_room(self, candidate: Candidate) -> bool:
        return passes(ROOM_PREDICATES, self._needs, candidate)

    def _may_take(self, candidate: Candidate) -> bool:
        return (
            candidate.passes_fixed and self._has_room(candidate) and passes(AROUND_PREDICATES, self._needs, candidate)
        )


def assignment(
    slot: InstanceKey, node_id: NodeId, grants: tuple[Grant, ...], explanation: Explanation | None
) -> AssignNode:
    """Return the decision that gives a slot its node and devices."""
    devices: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
    thousandths: Counter[str] = Counter()
    for grant in sorted(grants, key=lambda grant: (grant.container, grant.device_id)):
        devices[grant.container] += (grant.device_id,)
        thousandths[grant.device_id] += grant.thousandths
    return AssignNode(
        slot=slot, node_id=node_id, devices=devices, device_thousandths=thousandths, explanation=explanation
    )
