"""Weighted sums of what plug-ins say of each node, for the slots of one workload."""

from __future__ import annotations

from typing import Final, final

from librt.vecs import append, vec
from mypy_extensions import i64
from orchestrion.scheduler_packing._core.fleet import CPU, MEMORY, Fleet, zeros
from orchestrion.scheduler_packing._core.placing import NOWHERE, Shape, fits
from orchestrion.scheduler_packing._core.terms import Term

BINPACK: Final = 0
SPREAD: Final = 1
BALANCE: Final = 2
LEARNED: Final = 3
NODE_AFFINITY: Final = 4
PREFER_NO_SCHEDULE: Final = 5
GPU_LOCALITY: Final = 6
FRAGMENTATION: Final = 7
NODE_HISTORY: Final = 8
INSTANCE_AFFINITY: Final = 9
TOPOLOGY_SPREAD: Final = 10
PLUG_INS: Final = 11
"""How many there are. Those before `NODE_AFFINITY` follow from what is free, those from `INSTANCE_AFFINITY` on from
what is placed around, and those between are given as columns."""

MOST: Final = 1000
"""The most that a plug-in gives."""

LOWEST_ID: Final = 0
HIGHEST_ID: Final = 1
LEAST_LOADED: Final = 2
MOST_LOADED: Final = 3
ROUND_ROBIN: Final = 4

FEATURES: Final = 8
"""How many numbers a learned score looks at; see `Scoring.feature`."""
LOGIT: Final = 1 << 16
"""A weight of 1 for a feature, which itself is in thousandths."""
SIGMOID_STEPS: Final = 64
"""In so many steps for each 1 of a logit the sigmoid is tabulated."""
SIGMOID_REACH: Final = 8
"""Logits beyond this, above or below 0, count as that much."""

UNFIT: Final = -1
"""The score of a node that can't take the slot."""
ABOVE_ALL: Final = 1 << 62

_EXACT: Final = 1 << 53
"""A thousand times as much as this still is a native number."""
_POSITION_BITS: Final = 20


def thousandths(part: i64, whole: i64) -> i64:
    """Return how many thousandths of a whole, > 0, a part of it is, rounded down."""
    if whole < _EXACT:
        return part * MOST // whole
    # Mixed with a native number, these would be made native, too.
    large: int = part
    divisor: int = whole
    quotient: int = large * 1000 // divisor
    return quotient


@final
class Preferences:
    """What weighs how much.

    Attributes:
        weights: By the number of each plug-in.
        ties: `LOWEST_ID` and so on.
        learned: The weight of each feature, in 2^16ths; none where nothing is learned.
        sigmoid: The sigmoid of each logit in thousandths, from the least to the greatest.
    """

    def __init__(self, weights: vec[i64], ties: i64, learned: vec[i64], sigmoid: vec[i64]) -> None:
        self.weights: vec[i64] = weights
        self.ties: i64 = ties
        self.learned: vec[i64] = learned
        self.sigmoid: vec[i64] = sigmoid
        free: i64 = weights[BINPACK] + weights[SPREAD] + weights[BALANCE]
        self.looks_at_room: bool = free > 0
        self.looks_at_learned: bool = weights[LEARNED] > 0


@final
class Allocatable:
    """What each node may promise in all."""

    def __init__(self, cpu: vec[i64], memory: vec[i64], gpu: vec[i64]) -> None:
        self.cpu: vec[i64] = cpu
        self.memory: vec[i64] = memory
        self.gpu: vec[i64] = gpu


@final
class Around:
    """What the instances that are placed mean for one more slot.

    Attributes:
        terms: All of it; what is required among them is kept.
        spreads: The spreads, required or not.
        preferred: The preferred affinities.
        weights: Their weights.
    """

    def __init__(self, terms: list[Term], spreads: list[Term], preferred: list[Term], weights: vec[i64]) -> None:
        self.terms: list[Term] = terms
        self.spreads: list[Term] = spreads
        self.preferred: list[Term] = preferred
        self.weights: vec[i64] = weights
        total: i64 = 0
        at: i64 = 0
        end: i64 = len(weights)
        while at < end:
            total += weights[at]
            at += 1
        self._full: i64 = total if total > 100 else 100

    def allows(self, position: i64) -> bool:
        """Whether all that is required holds for one more slot on a node."""
        for term in self.terms:  # noqa: SIM110 - a generator would cost more than the question
            if not term.allows(position):
                return False
        return True

    def affinity(self, position: i64) -> i64:
        """Return what the preferred affinities weigh that hold, in thousandths of all, or of 100 if that is more."""
        held: i64 = 0
        at: i64 = 0
        end: i64 = len(self.weights)
        while at < end:
            if self.preferred[at].points(position) == 0:
                held += self.weights[at]
            at += 1
        return held * MOST // self._full

    def evenness(self, position: i64) -> i64:
        """Return 1000, 500, 333 and so on for a domain with none, one, two more than the emptiest; the mean of all."""
        count: i64 = len(self.spreads)
        if count == 0:
            return 0
        total: i64 = 0
        for term in self.spreads:
            total += MOST // (1 + term.excess(position))
        return total // count


@final
class Scoring:
    """The scores of all nodes for the slots of one workload, kept up by looking only at nodes that changed.

    Of a node's score it keeps what no instance elsewhere changes.
    """

    def __init__(
        self,
        fleet: Fleet,
        shape: Shape,
        preferences: Preferences,
        allocatable: Allocatable,
        members: vec[i64],
        priority: i64,
    ) -> None:
        """Look at nothing yet.

        Args:
            fleet: What is free.
            shape: What a slot takes; of devices the sum.
            preferences: What weighs how much.
            allocatable: What nodes may promise.
            members: For each position 1 if the node suits, else 0. Whoever changes it, or a column, has to see that the
                position is in the fleet's log.
            priority: The workload's, 0 to 1000.
        """
        self.fleet: Fleet = fleet
        self._shape: Shape = shape
        self._preferences: Preferences = preferences
        self._allocatable: Allocatable = allocatable
        self._members: vec[i64] = members
        self._priority: i64 = priority
        self._columns: list[vec[i64]] = []
        self._column_weights: vec[i64] = vec[i64]()
        self._column_numbers: vec[i64] = vec[i64]()
        self._scores: vec[i64] = zeros(fleet.count)
        self._cursor: i64 = NOWHERE

    def add_column(self, number: i64, points: vec[i64]) -> None:
        """Let a plug-in speak that gives each position 0 to 1000 points, or -1 where the slot can't go."""
        self._columns.append(points)
        self._column_numbers = append(self._column_numbers, number)
        self._column_weights = append(self._column_weights, self._preferences.weights[number])

    def catch_up(self) -> None:
        """Take over all changes that the fleet has logged since the last time."""
        fleet = self.fleet
        changes: i64 = fleet.changes
        cursor: i64 = self._cursor
        if cursor == changes:
            return
        self._cursor = changes
        scores = self._scores
        if cursor < fleet.logged or changes - cursor > fleet.count:
            position: i64 = 0
            while position < fleet.count:
                scores[position] = self._score(position)
                position += 1
            return
        at: i64 = cursor - fleet.logged
        end: i64 = changes - fleet.logged
        log = fleet.log
        while at < end:
            scores[log[at]] = self._score(log[at])
            at += 1

    def best(self, around: Around, turn: i64, below: i64, below_key: i64) -> i64:
        """Return the position with the highest score that can take one more slot, or -1.

        Args:
            around: What is placed elsewhere.
            turn: For the rule `ROUND_ROBIN`, the position whose turn it is.
            below: Only nodes with lower scores than this, or the same and a higher key.
            below_key: See `below`.
        """
        self.catch_up()
        scores = self._scores
        weights = self._preferences.weights
        affinity: i64 = weights[INSTANCE_AFFINITY] if len(around.preferred) > 0 else 0
        evenness: i64 = weights[TOPOLOGY_SPREAD] if len(around.spreads) > 0 else 0
        most_around: i64 = (affinity + evenness) * MOST
        is_bound = len(around.terms) > 0
        found: i64 = NOWHERE
        best: i64 = UNFIT
        best_key: i64 = 0
        position: i64 = 0
        count: i64 = self.fleet.count
        while position < count:
            score: i64 = scores[position]
            if score >= 0 and score + most_around >= best:
                if affinity > 0:
                    score += affinity * around.affinity(position)
                if evenness > 0:
                    score += evenness * around.evenness(position)
                if best <= score <= below and (not is_bound or around.allows(position)):
                    key: i64 = self.key_of(position, turn)
                    if (score < below or key > below_key) and (score > best or key < best_key):
                        found = position
                        best = score
                        best_key = key
            position += 1
        return found

    def can_take(self, around: Around, position: i64) -> bool:
        """Whether a node can take one more slot."""
        self.catch_up()
        return self._scores[position] >= 0 and around.allows(position)

    def score_of(self, around: Around, position: i64) -> i64:
        """Return the score of a node that can take one more slot."""
        self.catch_up()
        weights = self._preferences.weights
        score: i64 = self._scores[position]
        score += weights[INSTANCE_AFFINITY] * around.affinity(position)
        return score + weights[TOPOLOGY_SPREAD] * around.evenness(position)

    def key_of(self, position: i64, turn: i64) -> i64:
        """Return what decides between nodes with the same score; less is better, and no two have the same."""
        ties: i64 = self._preferences.ties
        if ties == HIGHEST_ID:
            return -position
        if ties == LEAST_LOADED:
            return (self.fleet.loads[position] << _POSITION_BITS) + position
        if ties == MOST_LOADED:
            return position - (self.fleet.loads[position] << _POSITION_BITS)
        if ties == ROUND_ROBIN:
            return position - turn if position >= turn else position - turn + self.fleet.count
        return position

    def raw(self, number: i64, around: Around, position: i64) -> i64:
        """Return the points that a plug-in gives a node that can take one more slot, unweighted."""
        if number == INSTANCE_AFFINITY:
            return around.affinity(position)
        if number == TOPOLOGY_SPREAD:
            return around.evenness(position)
        if number == LEARNED:
            return self._learned(position)
        if number <= BALANCE:
            return self._room(position, 1 if number == BINPACK else 0, 1 if number == SPREAD else 0, number // BALANCE)
        at: i64 = 0
        end: i64 = len(self._column_numbers)
        while at < end:
            if self._column_numbers[at] == number:
                return self._columns[at][position]
            at += 1
        return 0

    def feature(self, number: i64, position: i64) -> i64:
        """Return a feature of a node for the slot, 0 to 1000.

        They are how much of cpu, memory and devices is taken, how much of cpu and memory is left with the slot there,
        the priority, whether the slot wants devices, and one that is always 1000.
        """
        fleet = self.fleet
        shape = self._shape
        all_of = self._allocatable
        if number == 0:
            return taken(fleet.free[CPU][position], 0, all_of.cpu[position])
        if number == 1:
            return taken(fleet.free[MEMORY][position], 0, all_of.memory[position])
        if number == 2:
            return taken(fleet.gpu[position], 0, all_of.gpu[position])
        if number == 3:
            return MOST - taken(fleet.free[CPU][position], shape.amounts[CPU], all_of.cpu[position])
        if number == 4:
            return MOST - taken(fleet.free[MEMORY][position], shape.amounts[MEMORY], all_of.memory[position])
        if number == 5:
            return self._priority
        if number == 6:
            return MOST if shape.gpu > 0 else 0
        return MOST

    def _score(self, position: i64) -> i64:
        if self._members[position] == 0 or not fits(self.fleet, self._shape, position):
            return UNFIT
        preferences = self._preferences
        weights = preferences.weights
        score: i64 = 0
        at: i64 = 0
        end: i64 = len(self._column_weights)
        while at < end:
            points: i64 = self._columns[at][position]
            if points < 0:
                return UNFIT
            score += self._column_weights[at] * points
            at += 1
        if preferences.looks_at_room:
            score += self._room(position, weights[BINPACK], weights[SPREAD], weights[BALANCE])
        if preferences.looks_at_learned:
            score += weights[LEARNED] * self._learned(position)
        return score

    def _room(self, position: i64, binpack: i64, spread: i64, balance: i64) -> i64:
        """Return the weighted sum of what binpack, spread and balance give: all of them follow from the same shares."""
        fleet = self.fleet
        shape = self._shape
        all_of = self._allocatable
        used: i64 = 0
        count: i64 = 0
        least: i64 = MOST
        most: i64 = 0
        whole: i64 = all_of.cpu[position]
        if whole > 0:
            used = thousandths(whole - fleet.free[CPU][position] + shape.amounts[CPU], whole)
            least = used
            most = used
            count = 1
        whole = all_of.memory[position]
        if whole > 0:
            share: i64 = thousandths(whole - fleet.free[MEMORY][position] + shape.amounts[MEMORY], whole)
            used += share
            count += 1
            if share < least:
                least = share
            if share > most:
                most = share
        whole = all_of.gpu[position]
        if shape.gpu > 0 and whole > 0:
            share = thousandths(whole - fleet.gpu[position] + shape.gpu, whole)
            used += share
            count += 1
            if share < least:
                least = share
            if share > most:
                most = share
        if count == 0:
            return balance * MOST
        mean: i64 = used // count
        return binpack * mean + spread * (MOST - mean) + balance * (MOST - most + least)

    def _learned(self, position: i64) -> i64:
        learned = self._preferences.learned
        logit: i64 = 0
        at: i64 = 0
        end: i64 = len(learned)
        while at < end:
            logit += learned[at] * self.feature(at, position)
            at += 1
        return sigmoid_of(logit, self._preferences.sigmoid)


def taken(free: i64, asked: i64, whole: i64) -> i64:
    """Return how much of a whole is taken with what is asked for, in thousandths; 0 where there is nothing."""
    return thousandths(whole - free + asked, whole) if whole > 0 else 0


def sigmoid_of(logit: i64, table: vec[i64]) -> i64:
    """Return the sigmoid of a logit, which is in 2^16ths of thousandths, in thousandths."""
    if len(table) == 0:
        return 0
    step: i64 = logit * SIGMOID_STEPS // (LOGIT * MOST) + SIGMOID_STEPS * SIGMOID_REACH
    last: i64 = len(table) - 1
    if step < 0:
        return table[0]
    return table[step] if step < last else table[last]
