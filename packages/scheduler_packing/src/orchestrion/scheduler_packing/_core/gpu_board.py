"""How good each node is for one kind of demand, kept up by looking only at nodes that changed."""

from __future__ import annotations

from typing import Final, final

from librt.vecs import vec
from mypy_extensions import i64
from orchestrion.scheduler_packing._core.fleet import shift_for, zeros
from orchestrion.scheduler_packing._core.gpu_fleet import BLOCK, EMPTY, WHOLE, Demand, GpuFleet, has_room

UNFIT: Final = -(1 << 62)
"""The gain of a node that has no room or may not be taken."""

BASE_BITS: Final = 21
"""Points that count before the gain stand so many bits above it; see `Board`."""

MAX_POINTS: Final = 1 << 39
"""More points than these count as so many."""


class Policy:
    """What a node's state is worth, and so where a demand goes; to this one all nodes are alike.

    Attributes:
        fleet: All nodes.
        penalties: What is taken off a gain, by type and then by whether the node is spare; see `spare`.
        spare: For each node 1 if all nodes like it are to be kept whole, else 0.
    """

    def __init__(self, fleet: GpuFleet) -> None:
        """Value the nodes of a fleet."""
        self.fleet: GpuFleet = fleet
        self.penalties: vec[i64] = zeros(2 * fleet.type_count)
        self.spare: vec[i64] = zeros(fleet.count)
        self._cursor: i64 = -1

    def catch_up(self) -> None:
        """Take over all changes that the fleet has logged since the last time."""
        fleet = self.fleet
        changes: i64 = fleet.changes
        cursor: i64 = self._cursor
        if cursor == changes:
            return
        self._cursor = changes
        if cursor < fleet.logged or changes - cursor > fleet.count:
            position: i64 = 0
            while position < fleet.count:
                self.value(position)
                position += 1
            return
        log = fleet.log
        at: i64 = cursor - fleet.logged
        end: i64 = changes - fleet.logged
        while at < end:
            self.value(log[at])
            at += 1

    def value(self, position: i64) -> None:
        """Work out anew what a node that has changed is worth."""

    def gain(self, position: i64, demand: Demand) -> i64:
        """Return what a node that has room gains by taking a slot, apart from what is alike for nodes of a type."""
        return 0

    def residue(self, position: i64, demand: Demand) -> i64:
        """Return how many thousandths of the GPU that a node's share goes to are free; 1000 if there is no share."""
        return tightest(self.fleet, position, demand.shares[0]) if len(demand.shares) > 0 else WHOLE

    def weigh(self, demand: Demand) -> None:
        """Work out the penalties for a demand."""


def above(points: i64) -> i64:
    """Return what points take off a score."""
    return (points if points < MAX_POINTS else MAX_POINTS) << BASE_BITS


def tightest(fleet: GpuFleet, position: i64, share: i64) -> i64:
    """Return the smallest residue that a share fits into; 1000 where that is a GPU that is wholly free."""
    residues = fleet.residues
    start: i64 = position * fleet.stride
    at: i64 = start + fleet.partial[position] - 1
    while at >= start:
        if residues[at] >= share:
            return residues[at]
        at -= 1
    return WHOLE


@final
class Board:
    """The gains of all nodes for one demand, and the best in each block of slots.

    The score of a node is its gain less what the policy's `penalties` say of its type, of spare and other nodes apart.
    Points count before gains: a node that has fewer is better, whatever the gains.
    """

    def __init__(self, policy: Policy, demand: Demand, points: vec[i64]) -> None:
        """Look at all nodes.

        Args:
            policy: What gains are.
            demand: What a slot takes.
            points: For each position the points that count before its gain, or -1 if it may not be taken. Whoever
                changes them has to `touch` the position in the fleet.
        """
        self._fleet: GpuFleet = policy.fleet
        self._policy: Policy = policy
        self.demand: Demand = demand
        self._points: vec[i64] = points
        slots: i64 = len(policy.fleet.position_of)
        self._gains: vec[i64] = zeros(slots)
        self._best: vec[i64] = zeros(2 * (slots // BLOCK))
        self._cursor: i64 = -1
        self.score: i64 = 0

    def catch_up(self) -> None:
        """Take over all changes that the fleet has logged since the last time."""
        self._policy.catch_up()
        fleet = self._fleet
        changes: i64 = fleet.changes
        cursor: i64 = self._cursor
        if cursor == changes:
            return
        self._cursor = changes
        if cursor < fleet.logged or changes - cursor > fleet.count:
            self._look_at_all()
            return
        log = fleet.log
        slot_of = fleet.slot_of
        slot_visits = fleet.slot_visits
        block_visits = fleet.block_visits
        visit: i64 = fleet.begin_visit()
        end: i64 = cursor - fleet.logged
        at: i64 = changes - fleet.logged - 1
        while at >= end:
            slot: i64 = slot_of[log[at]]
            if slot_visits[slot] != visit:
                slot_visits[slot] = visit
                self._look_at(slot)
            at -= 1
        at = changes - fleet.logged - 1
        while at >= end:
            block: i64 = slot_of[log[at]] // BLOCK
            if block_visits[block] != visit:
                block_visits[block] = visit
                self._find_best(block)
            at -= 1

    def best(self) -> i64:
        """Return the position with the highest score, the lowest of equals, or `EMPTY`; `score` is its score then."""
        fleet = self._fleet
        self._policy.weigh(self.demand)
        gains = self._gains
        penalties = self._policy.penalties
        type_of_block = fleet.type_of_block
        position_of = fleet.position_of
        all_best = self._best
        best: i64 = EMPTY
        best_score: i64 = UNFIT
        at: i64 = 0
        end: i64 = len(all_best)
        while at < end:
            slot: i64 = all_best[at]
            if slot != EMPTY:
                score: i64 = gains[slot] - penalties[2 * type_of_block[at >> 1] + (at & 1)]
                if score > best_score:
                    best_score = score
                    best = position_of[slot]
                elif score == best_score and position_of[slot] < best:
                    best = position_of[slot]
            at += 1
        self.score = best_score
        return best

    def score_of(self, position: i64) -> i64:
        """Return a node's score, or `UNFIT`; right after `catch_up` and the policy's `weigh`."""
        gain: i64 = self._gains[self._fleet.slot_of[position]]
        if gain == UNFIT:
            return UNFIT
        policy = self._policy
        return gain - policy.penalties[2 * self._fleet.types[position] + policy.spare[position]]

    def gain_of(self, position: i64) -> i64:
        """Return what a node gains by taking a slot, whatever else counts, or `UNFIT`; right after `catch_up`."""
        gain: i64 = self._gains[self._fleet.slot_of[position]]
        return gain if gain == UNFIT else gain + above(self._points[position])

    def _look_at_all(self) -> None:
        slots: i64 = len(self._gains)
        slot: i64 = 0
        while slot < slots:
            self._look_at(slot)
            slot += 1
        block: i64 = 0
        while block < slots // BLOCK:
            self._find_best(block)
            block += 1

    def _look_at(self, slot: i64) -> None:
        position: i64 = self._fleet.position_of[slot]
        gain: i64 = UNFIT
        if position != EMPTY and self._points[position] >= 0 and has_room(self._fleet, self.demand, position):
            gain = self._policy.gain(position, self.demand) - above(self._points[position])
        self._gains[slot] = gain

    def _find_best(self, block: i64) -> None:
        gains = self._gains
        spare = self._policy.spare
        position_of = self._fleet.position_of
        slot: i64 = block * BLOCK
        end: i64 = slot + BLOCK
        common: i64 = EMPTY
        common_gain: i64 = UNFIT
        kept: i64 = EMPTY
        kept_gain: i64 = UNFIT
        while slot < end:
            gain: i64 = gains[slot]
            if gain > common_gain or gain > kept_gain:
                if spare[position_of[slot]] != 0:
                    if gain > kept_gain:
                        kept = slot
                        kept_gain = gain
                elif gain > common_gain:
                    common = slot
                    common_gain = gain
            slot += 1
        self._best[2 * block] = common
        self._best[2 * block + 1] = kept


@final
class FirstFit(Policy):
    """Takes the node of the lowest position that has room."""


@final
class BestFit(Policy):
    """Takes the node that has least left, cpu and GPUs each as a share of the largest node's."""

    def __init__(self, fleet: GpuFleet, most_cpu: i64) -> None:
        """Measure cpu against the `most_cpu` millicores of the largest node."""
        super().__init__(fleet)
        self._shift: i64 = shift_for(most_cpu)
        self._most_cpu: i64 = most_cpu >> self._shift
        self._most_gpu: i64 = WHOLE * fleet.stride

    def gain(self, position: i64, demand: Demand) -> i64:
        """Return what is left, negative, in units that make cpu and GPUs comparable."""
        fleet = self.fleet
        gpu: i64 = fleet.whole[position] * WHOLE
        at: i64 = position * fleet.stride
        end: i64 = at + fleet.partial[position]
        while at < end:
            gpu += fleet.residues[at]
            at += 1
        cpu: i64 = (fleet.cpu[position] - demand.cpu) >> self._shift
        return -(cpu * self._most_gpu + (gpu - demand.gpu) * self._most_cpu)


def place(fleet: GpuFleet, board: Board, policy: Policy) -> i64:
    """Take the best node for one slot with whole GPUs or one share; return its position, or `EMPTY`."""
    board.catch_up()
    position: i64 = board.best()
    if position != EMPTY:
        fleet.take(position, board.demand, policy.residue(position, board.demand))
    return position
