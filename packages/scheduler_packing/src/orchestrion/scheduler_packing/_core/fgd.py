"""Fragmentation gradient descent: a slot goes where it makes the least of what is free unusable.

After "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent" (USENIX ATC 2023):
what is free on a node's GPUs and typical demands can't use, weighted by how often each comes, is its fragmentation.
"""

from __future__ import annotations

import math
from typing import Final, final

from librt.vecs import append, vec
from mypy_extensions import i64
from orchestrion.scheduler_packing._core.fleet import zeros
from orchestrion.scheduler_packing._core.gpu_board import UNFIT, Policy, tightest
from orchestrion.scheduler_packing._core.gpu_fleet import WHOLE, Demand, GpuFleet

MOST_POINTS: Final = 100
"""Scores are whole numbers from 0 to 100. That they are coarse matters: of equal nodes the lowest is taken, which keeps
the others whole."""


@final
class Typical:
    """Typical demands, in columns.

    Attributes:
        cpu: Millicores.
        gpus: How many whole GPUs, or 1 for a share; 0 for a demand without GPUs.
        share: Thousandths of each GPU.
        chance: How often it comes, as a share of all.
        types: For each demand and then each type of node 1 if it may go there, else 0.
    """

    def __init__(self) -> None:
        """Make none."""
        self.cpu: vec[i64] = zeros(0)
        self.gpus: vec[i64] = zeros(0)
        self.share: vec[i64] = zeros(0)
        self.chance: vec[float] = vec[float]()
        self.types: vec[i64] = zeros(0)

    def add(self, cpu: i64, gpus: i64, share: i64, chance: float, types: vec[i64]) -> None:
        """Add a demand."""
        self.cpu = append(self.cpu, cpu)
        self.gpus = append(self.gpus, gpus)
        self.share = append(self.share, share)
        self.chance = append(self.chance, chance)
        at: i64 = 0
        end: i64 = len(types)
        while at < end:
            self.types = append(self.types, types[at])
            at += 1


@final
class FragmentationDescent(Policy):
    """The policy."""

    def __init__(self, fleet: GpuFleet, typical: Typical) -> None:
        """Value nodes by what typical demands can't use of them."""
        super().__init__(fleet)
        self._typical: Typical = typical
        self._now: vec[float] = vec[float]()
        self._scratch: vec[i64] = zeros(fleet.stride + 1)
        at: i64 = 0
        while at < fleet.count:
            self._now = append(self._now, 0.0)
            at += 1

    def value(self, position: i64) -> None:
        """Work out anew what a node that has changed is worth."""
        fleet = self.fleet
        start: i64 = position * fleet.stride
        self._now[position] = self._fragmentation(
            fleet.types[position],
            fleet.whole[position],
            fleet.cpu[position],
            fleet.residues,
            start,
            start + fleet.partial[position],
        )

    def gain(self, position: i64, demand: Demand) -> i64:
        """Return the points of a node."""
        if len(demand.shares) == 1:
            return self._best_share(position, demand, False)
        fleet = self.fleet
        start: i64 = position * fleet.stride
        after = self._fragmentation(
            fleet.types[position],
            fleet.whole[position] - demand.whole,
            fleet.cpu[position] - demand.cpu,
            fleet.residues,
            start,
            start + fleet.partial[position],
        )
        return _points(self._now[position] - after)

    def residue(self, position: i64, demand: Demand) -> i64:
        """Return the free thousandths of the GPU for a share that makes the least unusable."""
        if len(demand.shares) == 0:
            return WHOLE
        if len(demand.shares) > 1:
            return tightest(self.fleet, position, demand.shares[0])
        return self._best_share(position, demand, True)

    def _best_share(self, position: i64, demand: Demand, which: bool) -> i64:
        """Return the points of a node for a share, or which residue they are for, the smallest of equals."""
        fleet = self.fleet
        residues = fleet.residues
        scratch = self._scratch
        share: i64 = demand.shares[0]
        start: i64 = position * fleet.stride
        partial: i64 = fleet.partial[position]
        cpu: i64 = fleet.cpu[position] - demand.cpu
        whole: i64 = fleet.whole[position] - demand.whole
        best: i64 = UNFIT
        best_residue: i64 = WHOLE
        at: i64 = 0
        while at < partial:
            scratch[at] = residues[start + at]
            at += 1
        before: i64 = 0
        at = partial - 1
        while at >= 0:
            residue: i64 = scratch[at]
            if residue >= share and residue != before:
                before = residue
                scratch[at] = residue - share
                after = self._fragmentation(fleet.types[position], whole, cpu, scratch, 0, partial)
                scratch[at] = residue
                points: i64 = _points(self._now[position] - after)
                if points > best:
                    best = points
                    best_residue = residue
            at -= 1
        if whole > 0:
            scratch[partial] = WHOLE - share
            after = self._fragmentation(fleet.types[position], whole - 1, cpu, scratch, 0, partial + 1)
            points = _points(self._now[position] - after)
            if points > best:
                best = points
                best_residue = WHOLE
        return best_residue if which else best

    def _fragmentation(self, type_: i64, whole: i64, cpu: i64, residues: vec[i64], start: i64, end: i64) -> float:
        """Return how many free thousandths a demand can't use, over typical ones."""
        typical = self._typical
        types: i64 = self.fleet.type_count
        total: i64 = whole * WHOLE
        most: i64 = 0
        at: i64 = start
        while at < end:
            total += residues[at]
            if residues[at] > most:
                most = residues[at]
            at += 1
        unusable = 0.0
        demands: i64 = len(typical.cpu)
        demand: i64 = 0
        while demand < demands:
            gpus: i64 = typical.gpus[demand]
            share: i64 = typical.share[demand]
            lost: i64 = total
            may_go = gpus > 0 and typical.cpu[demand] <= cpu and typical.types[demand * types + type_] != 0
            if may_go and (gpus <= whole or (gpus == 1 and share <= most)):
                lost = 0
                at = start
                while at < end:
                    if residues[at] < share:
                        lost += residues[at]
                    at += 1
            unusable += typical.chance[demand] * float(lost)
            demand += 1
        return unusable


def _points(better: float) -> i64:
    points: i64 = int(MOST_POINTS / (1.0 + math.exp(-better / WHOLE)))
    return points
