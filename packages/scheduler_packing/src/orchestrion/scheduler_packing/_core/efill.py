"""Expected fill: a node is worth what it is expected to take yet.

A slot goes where that is diminished least, besides what it takes itself; types of node that demands compete for, and
nodes that alone are large enough for the largest demands, cost more. See `docs/placement-quality.md`.
"""

from __future__ import annotations

from typing import Final, final

from librt.vecs import append, vec
from mypy_extensions import i64
from orchestrion.scheduler_packing._core.fleet import zeros
from orchestrion.scheduler_packing._core.gpu_board import UNFIT, Policy, tightest
from orchestrion.scheduler_packing._core.gpu_fleet import WHOLE, Demand, GpuFleet
from orchestrion.scheduler_packing._core.gpu_tables import MICRO, Tables

ONE_BITS: Final = 16
ONE: Final = 1 << ONE_BITS
"""Shares of demand, pressures and such are counted in 2^16ths."""

MOST_PRESSURE: Final = 10 * ONE

BREAKING: Final = MICRO * 7 // 100
"""What breaking up the last nodes with the most GPUs costs, for each of their GPUs: 0.07."""


@final
class Competition:
    """Which types of node demands compete for.

    Attributes:
        starts: Where in `types` each set starts, and where the last ends.
        types: The sets, one after the other: types of node that some demands can go to, when nothing is on them.
        shares: What share of all GPU demand can go just to these, in 2^16ths.
        large: What share of all GPU demand is of more than half of the largest node's GPUs at a time, in 2^16ths.
        together: By how many GPUs of a node are wholly free: what it is worth that they are on one node, in millionths
            of a GPU. More free GPUs than this has numbers for are worth as much as the last.
    """

    def __init__(self) -> None:
        """Make one without any demand."""
        self.starts: vec[i64] = zeros(1)
        self.types: vec[i64] = zeros(0)
        self.shares: vec[i64] = zeros(0)
        self.large: i64 = 0
        self.together: vec[i64] = zeros(1)

    def add(self, types: vec[i64], share: i64) -> None:
        """Add the share of demand that can go to some types of node."""
        at: i64 = 0
        end: i64 = len(types)
        while at < end:
            self.types = append(self.types, types[at])
            at += 1
        size: i64 = len(self.types)
        self.starts = append(self.starts, size)
        self.shares = append(self.shares, share)


@final
class ExpectedFill(Policy):
    """The policy. All it counts is in millionths of a GPU, so that sums don't depend on how they came about."""

    def __init__(
        self, fleet: GpuFleet, tables: list[Tables], table_of_type: vec[i64], competition: Competition
    ) -> None:
        """Value all nodes.

        Args:
            fleet: The nodes.
            tables: What GPUs are expected to take.
            table_of_type: Which of the tables is each type's.
            competition: Which types demands compete for.
        """
        super().__init__(fleet)
        self._tables: list[Tables] = tables
        self._table_of_type: vec[i64] = table_of_type
        self._competition: Competition = competition
        self._expected: vec[i64] = zeros(fleet.count)
        self._worth: vec[i64] = zeros(fleet.count)
        self._of_type: vec[i64] = zeros(fleet.type_count)
        self._total: i64 = 0
        self._spares: i64 = 0
        self._pressures: vec[i64] = zeros(fleet.type_count)
        self._opening: i64 = 0
        self._is_weighed: bool = False
        self._scratch: vec[i64] = zeros(fleet.stride + 1)

    def expected_of(self, type_: i64) -> i64:
        """Return what all nodes of a type are expected to take yet."""
        return self._of_type[type_]

    def pressure_of(self, type_: i64) -> i64:
        """Return how much a type is competed for, in 2^16ths."""
        self._weigh_types()
        return self._pressures[type_]

    # -- keeping up

    def value(self, position: i64) -> None:
        """Work out anew what a node that has changed is worth."""
        self._is_weighed = False
        fleet = self.fleet
        type_: i64 = fleet.types[position]
        tables = self._tables[self._table_of_type[type_]]
        start: i64 = position * fleet.stride
        cpu: i64 = fleet.cpu[position]
        expected: i64 = tables.expected(
            fleet.whole[position], cpu, fleet.residues, start, start + fleet.partial[position]
        )
        more: i64 = expected - self._expected[position]
        self._expected[position] = expected
        self._worth[position] = expected + tables.spare_worth(cpu) + self._together(fleet.whole[position])
        self._of_type[type_] += more
        self._total += more
        spare: i64 = 0
        if fleet.stride > 1 and fleet.whole[position] == fleet.stride:
            spare = 1
        self._spares += spare - self.spare[position]
        self.spare[position] = spare

    def _together(self, whole: i64) -> i64:
        together = self._competition.together
        most: i64 = len(together) - 1
        return together[whole if whole < most else most]

    # -- what is common to the nodes of a type

    def weigh(self, demand: Demand) -> None:
        """Work out what it costs to take a type that is competed for, and to break up one of the largest nodes."""
        self._weigh_types()
        penalties = self.penalties
        opening: i64 = 0
        if 2 * demand.gpus <= self.fleet.stride:
            opening = self._opening
        gpu: i64 = demand.gpu * (MICRO // WHOLE)
        type_: i64 = 0
        types: i64 = self.fleet.type_count
        while type_ < types:
            cost: i64 = gpu * self._pressures[type_] >> ONE_BITS
            penalties[2 * type_] = cost
            penalties[2 * type_ + 1] = cost + opening
            type_ += 1

    def _weigh_types(self) -> None:
        if self._is_weighed:
            return
        self._is_weighed = True
        competition = self._competition
        pressures = self._pressures
        of_type = self._of_type
        starts = competition.starts
        types = competition.types
        shares = competition.shares
        total: i64 = self._total
        count: i64 = self.fleet.type_count
        at: i64 = 0
        while at < count:
            pressures[at] = 0
            at += 1
        sets: i64 = len(shares)
        number: i64 = 0
        while number < sets:
            start: i64 = starts[number]
            end: i64 = starts[number + 1]
            room: i64 = 1
            at = start
            while at < end:
                room += of_type[types[at]]
                at += 1
            pressure: i64 = MOST_PRESSURE
            # Where there is next to no room the quotient is beyond the limit anyway.
            if room > total >> ONE_BITS:
                pressure = shares[number] * total // room
            at = start
            while at < end:
                pressures[types[at]] += pressure
                at += 1
            number += 1
        at = 0
        while at < count:
            if pressures[at] > MOST_PRESSURE:
                pressures[at] = MOST_PRESSURE
            at += 1
        self._opening = 0
        if self._spares > 0 and competition.large > 0:
            largest: i64 = self.fleet.stride
            scarcity: i64 = total * competition.large // (largest * MICRO * self._spares)
            if scarcity > ONE:
                scarcity = ONE
            self._opening = BREAKING * largest * scarcity >> ONE_BITS

    # -- what a node gains

    def gain(self, position: i64, demand: Demand) -> i64:
        """Return what a node is worth more after taking a slot; usually that is less than 0."""
        shares: i64 = len(demand.shares)
        if shares == 1:
            return self._best_share(position, demand, False) - self._worth[position]
        fleet = self.fleet
        tables = self._tables[self._table_of_type[fleet.types[position]]]
        cpu: i64 = fleet.cpu[position] - demand.cpu
        start: i64 = position * fleet.stride
        end: i64 = start + fleet.partial[position]
        worth: i64 = tables.spare_worth(cpu) - self._worth[position]
        whole: i64 = fleet.whole[position] - demand.whole
        if shares > 1 and whole >= shares:
            # Which GPUs several shares go to is settled where they are granted; here each takes a whole one.
            whole -= shares
        return worth + self._together(whole) + tables.expected(whole, cpu, fleet.residues, start, end)

    def residue(self, position: i64, demand: Demand) -> i64:
        """Return the free thousandths of the GPU for a share that leaves the node worth the most."""
        if len(demand.shares) == 0:
            return WHOLE
        if len(demand.shares) > 1:
            return tightest(self.fleet, position, demand.shares[0])
        return self._best_share(position, demand, True)

    def _best_share(self, position: i64, demand: Demand, which: bool) -> i64:
        """Return what a node is worth after taking a share, or which residue that is for, the smallest of equals."""
        fleet = self.fleet
        tables = self._tables[self._table_of_type[fleet.types[position]]]
        residues = fleet.residues
        share: i64 = demand.shares[0]
        cpu: i64 = fleet.cpu[position] - demand.cpu
        whole: i64 = fleet.whole[position] - demand.whole
        start: i64 = position * fleet.stride
        partial: i64 = fleet.partial[position]
        best: i64 = UNFIT
        best_residue: i64 = WHOLE
        before: i64 = 0
        at: i64 = partial - 1
        while at >= 0:
            residue: i64 = residues[start + at]
            if residue >= share and residue != before:
                before = residue
                size = self._arrange(position, at, residue - share)
                worth: i64 = tables.expected(whole, cpu, self._scratch, 0, size) + self._together(whole)
                if worth > best:
                    best = worth
                    best_residue = residue
            at -= 1
        if whole > 0:
            size = self._arrange(position, partial, WHOLE - share)
            worth = tables.expected(whole - 1, cpu, self._scratch, 0, size) + self._together(whole - 1)
            if worth > best:
                best = worth
                best_residue = WHOLE
        if which:
            return best_residue
        return best + tables.spare_worth(cpu)

    def _arrange(self, position: i64, without: i64, residue: i64) -> i64:
        """Put a node's residues but one, and another, into the scratch column; return how many there are."""
        scratch = self._scratch
        residues = self.fleet.residues
        start: i64 = position * self.fleet.stride
        partial: i64 = self.fleet.partial[position]
        size: i64 = 0
        at: i64 = 0
        while at < partial:
            one: i64 = residues[start + at]
            if at != without:
                if residue > one:
                    scratch[size] = residue
                    size += 1
                    residue = 0
                scratch[size] = one
                size += 1
            at += 1
        if residue > 0:
            scratch[size] = residue
            size += 1
        return size
