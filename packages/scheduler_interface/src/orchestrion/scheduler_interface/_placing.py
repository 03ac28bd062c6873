"""One call of `SimpleScheduler`: choosing nodes slot by slot."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable

from attrs import evolve
from orchestrion.shared_types import InstanceKey, NodeId

from ._candidate import Candidate
from ._devices import Grant
from ._explain import explain_candidates
from ._interface import ClusterView
from ._needs import Needs
from ._predicates import ROOM_PREDICATES, SPREAD_PREDICATES, passes
from ._score import points
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
        self._queue = _BestFirst(self._candidates, self._points, self._has_room, self._keeps_spreads)

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
        return decisions

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

    def _points(self, candidate: Candidate) -> int:
        return points(self._needs, self._request.workload.placement.node_affinities, candidate)

    def _has_room(self, candidate: Candidate) -> bool:
        return passes(ROOM_PREDICATES, self._needs, candidate)

    def _keeps_spreads(self, candidate: Candidate) -> bool:
        return passes(SPREAD_PREDICATES, self._needs, candidate)

    def _may_take(self, candidate: Candidate) -> bool:
        return candidate.passes_fixed and self._has_room(candidate) and self._keeps_spreads(candidate)


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


class _BestFirst:
    """Gives the node with the most points that may take a slot; of several, the one with the lowest id.

    Points are looked up again only when a node comes to the top. That suffices because the points of a node on which
    nothing is placed only fall; the one on which something is placed is put back by the caller. A node without room
    never gets any; one that only a spread refuses waits until an emptiest domain has filled up. So a slot costs the
    logarithm of the number of nodes, and not all of them.
    """

    def __init__(
        self,
        candidates: list[Candidate],
        points_of: Callable[[Candidate], int],
        has_room: Callable[[Candidate], bool],
        keeps_spreads: Callable[[Candidate], bool],
    ) -> None:
        self._points_of = points_of
        self._has_room = has_room
        self._keeps_spreads = keeps_spreads
        self._waiting: list[Candidate] = []
        self._lowest: tuple[int, ...] = ()
        self._heap = [self._entry(candidate) for candidate in candidates if candidate.passes_fixed]
        heapq.heapify(self._heap)

    def _entry(self, candidate: Candidate) -> tuple[int, NodeId, Candidate]:
        return (-self._points_of(candidate), candidate.id, candidate)

    def best(self) -> Candidate | None:
        """Take the best node out, or return None where no node may take a slot."""
        while self._heap:
            queued_at, _, candidate = heapq.heappop(self._heap)
            if -self._points_of(candidate) > queued_at:
                self._push(candidate)
            elif self._has_room(candidate):
                if self._keeps_spreads(candidate):
                    return candidate
                self._waiting.append(candidate)
        return None

    def put_back(self, candidate: Candidate) -> None:
        """Put a node back on which a slot was placed, and with it those that waited for others to fill up."""
        self._push(candidate)
        lowest = tuple(tally.lowest for tally, _ in candidate.tallies)
        if lowest != self._lowest:
            self._lowest = lowest
            for waiting in self._waiting:
                self._push(waiting)
            self._waiting.clear()

    def _push(self, candidate: Candidate) -> None:
        heapq.heappush(self._heap, self._entry(candidate))
