"""How much more a GPU is expected to take: tables by what is free, worked out from a mix of demands.

A node is thought of as being offered a stream of demands, each drawn from the mix, and to take all that fit; before
each offer the stream ends with odds of theta to 1. What the node takes until then, for each state of one GPU or several
that are wholly free, and of the cpu beside them, follows from smaller states: a recursion over the free amount.
"""

from __future__ import annotations

from typing import Final, final

from librt.vecs import append, vec
from mypy_extensions import i64
from orchestrion.scheduler_packing._core.fleet import zeros
from orchestrion.scheduler_packing._core.gpu_fleet import WHOLE

MICRO: Final = 1_000_000
"""A table counts in millionths of a GPU."""

STEP: Final = 10
"""Free thousandths of a GPU are told apart in steps of so many, rounded down."""

HORIZON: Final = 40.0
"""How many demands a node is offered on average until the stream ends. From 20 to 80 makes no difference."""

CORE_WORTH: Final = 0.003
"""What a core that demands without GPUs take is worth, in GPUs, so that such demands are not squeezed out."""

MIN_SHIFT: Final = 10
"""Cpu is told apart in steps of at least 2^10 millicores."""
MAX_POINTS: Final = 256

MAX_CPU: Final = 1 << 31
"""More millicores than these on one node are worth no more."""

_ROWS: Final = WHOLE // STEP


@final
class Mix:
    """The demands that tables are worked out from, in columns.

    Attributes:
        cpu: Millicores.
        gpus: How many whole GPUs, or 1 for a share; 0 for a demand without GPUs.
        share: Thousandths of each GPU; 1000 for whole ones.
        weight: How often a demand comes, as against others; > 0.
    """

    def __init__(self) -> None:
        """Make a mix of nothing."""
        self.cpu: vec[i64] = zeros(0)
        self.gpus: vec[i64] = zeros(0)
        self.share: vec[i64] = zeros(0)
        self.weight: vec[i64] = zeros(0)

    def add(self, cpu: i64, gpus: i64, share: i64, weight: i64) -> None:
        """Add a demand."""
        self.cpu = append(self.cpu, cpu)
        self.gpus = append(self.gpus, gpus)
        self.share = append(self.share, share)
        self.weight = append(self.weight, weight)


@final
class Tables:
    """What GPUs that share a node are expected to take yet, and how much cpu that takes.

    Attributes:
        shift: Cpu is told apart in steps of 2^shift millicores.
        points: How many such steps.
        whole: By the number of wholly free GPUs and the cpu: millionths of a GPU, then millicores.
        shared: The same by the free thousandths of one GPU, in steps.
        spare: By cpu: what demands without GPUs make of it, in millionths of a GPU.
    """

    def __init__(self, shift: i64, points: i64, most_gpus: i64) -> None:
        """Make tables by which nothing is expected."""
        self.shift: i64 = shift
        self.points: i64 = points
        self.whole: vec[i64] = zeros(2 * points * (most_gpus + 1))
        self.shared: vec[i64] = zeros(2 * points * _ROWS)
        self.spare: vec[i64] = zeros(points)

    def expected(self, whole: i64, cpu: i64, residues: vec[i64], start: i64, end: i64) -> i64:
        """Return what the GPUs of a node are expected to take, in millionths of a GPU.

        Wholly free GPUs take first, then the others, the largest residue first; each leaves less cpu to the next.

        Args:
            whole: How many GPUs are wholly free.
            cpu: Free millicores.
            residues: The free thousandths of those that are not, the largest first, from `start` to before `end`.
            start: See `residues`.
            end: See `residues`.
        """
        value: i64 = 0
        shift: i64 = self.shift
        points: i64 = self.points
        mask: i64 = (1 << shift) - 1
        point: i64 = 0
        beyond: i64 = 0
        cell: i64 = 0
        here: i64 = 0
        if whole > 0:
            table = self.whole
            point = cpu >> shift
            beyond = cpu & mask
            if point >= points - 1:
                point = points - 1
                beyond = 0
            cell = 2 * (whole * points + point)
            if beyond == 0:
                value = table[cell]
                cpu -= table[cell + 1]
            else:
                here = table[cell]
                value = here + ((table[cell + 2] - here) * beyond >> shift)
                here = table[cell + 1]
                cpu -= here + ((table[cell + 3] - here) * beyond >> shift)
            if cpu < 0:
                cpu = 0
        table = self.shared
        at: i64 = start
        while at < end:
            point = cpu >> shift
            beyond = cpu & mask
            if point >= points - 1:
                point = points - 1
                beyond = 0
            cell = 2 * (residues[at] // STEP * points + point)
            if beyond == 0:
                value += table[cell]
                cpu -= table[cell + 1]
            else:
                here = table[cell]
                value += here + ((table[cell + 2] - here) * beyond >> shift)
                here = table[cell + 1]
                cpu -= here + ((table[cell + 3] - here) * beyond >> shift)
            if cpu < 0:
                cpu = 0
            at += 1
        return value

    def spare_worth(self, cpu: i64) -> i64:
        """Return what demands without GPUs make of free cpu, in millionths of a GPU."""
        table = self.spare
        point: i64 = cpu >> self.shift
        if point >= self.points - 1:
            return table[self.points - 1]
        here: i64 = table[point]
        return here + ((table[point + 1] - here) * (cpu & ((1 << self.shift) - 1)) >> self.shift)


def shift_for(most_cpu: i64) -> i64:
    """Return in how large steps cpu is to be told apart where no node has more than `most_cpu` millicores."""
    shift: i64 = MIN_SHIFT
    while (most_cpu >> shift) + 2 > MAX_POINTS:
        shift += 1
    return shift


def build_tables(mix: Mix, most_gpus: i64, most_cpu: i64) -> Tables:
    """Work out the tables of one kind of node.

    It is a function of its arguments, and gives the same compiled and interpreted: sums are taken in the mix's order.

    Args:
        mix: The demands that such a node may take.
        most_gpus: The most GPUs that a node has.
        most_cpu: The most millicores that a node has.
    """
    if most_cpu > MAX_CPU:
        most_cpu = MAX_CPU
    shift: i64 = shift_for(most_cpu)
    points: i64 = (most_cpu >> shift) + 2
    tables = Tables(shift, points, most_gpus)
    working = _Recursion(mix, shift, points, most_gpus)
    working.run(tables)
    return tables


@final
class _Recursion:
    """The columns while they are worked out, in GPUs and millicores as floating-point numbers."""

    def __init__(self, mix: Mix, shift: i64, points: i64, most_gpus: i64) -> None:
        self._mix: Mix = mix
        self._shift: i64 = shift
        self._points: i64 = points
        self._most_gpus: i64 = most_gpus
        step: i64 = 1 << shift
        self._step: float = float(step)
        self._shared: vec[float] = _blank(points * _ROWS)
        self._shared_cpu: vec[float] = _blank(points * _ROWS)
        self._whole: vec[float] = _blank(points * (most_gpus + 1))
        self._whole_cpu: vec[float] = _blank(points * (most_gpus + 1))
        self._chance: vec[float] = _blank(0)
        self._cpu: vec[float] = _blank(0)
        # A demand's cpu as whole steps, rounded up, and by how much of a step that is too much.
        self._steps: vec[i64] = zeros(0)
        self._excess: vec[float] = _blank(0)
        self._find_chances()

    def _find_chances(self) -> None:
        mix = self._mix
        total: i64 = 0
        at: i64 = 0
        size: i64 = len(mix.cpu)
        while at < size:
            if mix.gpus[at] > 0:
                total += mix.weight[at]
            at += 1
        if total == 0:
            total = 1
        step: i64 = 1 << self._shift
        at = 0
        while at < size:
            self._chance = append(self._chance, float(mix.weight[at]) / float(total))
            self._cpu = append(self._cpu, float(mix.cpu[at]))
            steps: i64 = (mix.cpu[at] + step - 1) >> self._shift
            self._steps = append(self._steps, steps)
            self._excess = append(self._excess, float(steps * step - mix.cpu[at]) / self._step)
            at += 1

    def run(self, tables: Tables) -> None:
        row: i64 = 1
        while row < _ROWS:
            self._find_shared(row)
            row += 1
        row = 1
        while row <= self._most_gpus:
            self._find_whole(row)
            row += 1
        at: i64 = 0
        end: i64 = len(self._shared)
        while at < end:
            tables.shared[2 * at] = _rounded(self._shared[at] * MICRO)
            tables.shared[2 * at + 1] = _rounded(self._shared_cpu[at])
            at += 1
        at = 0
        end = len(self._whole)
        while at < end:
            tables.whole[2 * at] = _rounded(self._whole[at] * MICRO)
            tables.whole[2 * at + 1] = _rounded(self._whole_cpu[at])
            at += 1
        self._find_spare(tables)

    def _find_shared(self, row: i64) -> None:
        """Find what one GPU takes that has `row` steps free, for any cpu."""
        mix = self._mix
        shared = self._shared
        shared_cpu = self._shared_cpu
        points: i64 = self._points
        # What fits into the GPU, and how far below this row and point the state after it lies.
        below = zeros(0)
        steps = zeros(0)
        excess = _blank(0)
        chances = _blank(0)
        takes = _blank(0)
        takes_cpu = _blank(0)
        number: i64 = 0
        at: i64 = 0
        size: i64 = len(mix.cpu)
        while at < size:
            share: i64 = mix.share[at]
            if share < WHOLE and mix.gpus[at] == 1 and share <= STEP * row:
                below = append(below, (STEP * row - share) // STEP * points - self._steps[at])
                steps = append(steps, self._steps[at])
                excess = append(excess, self._excess[at])
                chances = append(chances, self._chance[at])
                takes = append(takes, float(share) / WHOLE)
                takes_cpu = append(takes_cpu, self._cpu[at])
                number += 1
            at += 1
        point: i64 = 0
        while point < points:
            chance = 1.0 / HORIZON
            gpu = 0.0
            cpu = 0.0
            at = 0
            while at < number:
                if steps[at] <= point:
                    p = chances[at]
                    f = excess[at]
                    cell: i64 = below[at] + point
                    then = shared[cell]
                    then_cpu = shared_cpu[cell]
                    if f > 0.0:
                        then += f * (shared[cell + 1] - then)
                        then_cpu += f * (shared_cpu[cell + 1] - then_cpu)
                    chance += p
                    gpu += p * (takes[at] + then)
                    cpu += p * (takes_cpu[at] + then_cpu)
                at += 1
            shared[row * points + point] = gpu / chance
            shared_cpu[row * points + point] = cpu / chance
            point += 1

    def _find_whole(self, row: i64) -> None:
        """Find what `row` wholly free GPUs take, for any cpu."""
        mix = self._mix
        points: i64 = self._points
        size: i64 = len(mix.cpu)
        point: i64 = 0
        while point < points:
            chance = 1.0 / HORIZON
            gpu = 0.0
            cpu = 0.0
            at: i64 = 0
            while at < size:
                gpus: i64 = mix.gpus[at]
                if 0 < gpus <= row and self._steps[at] <= point:
                    p = self._chance[at]
                    left = float(point) * self._step - self._cpu[at]
                    beside = self._look_up(self._whole_cpu, row - gpus, left)
                    then = float(gpus * mix.share[at]) / WHOLE + self._look_up(self._whole, row - gpus, left)
                    then_cpu = self._cpu[at] + beside
                    if mix.share[at] < WHOLE:
                        rest: i64 = (WHOLE - mix.share[at]) // STEP
                        then += self._look_up(self._shared, rest, left - beside)
                        then_cpu += self._look_up(self._shared_cpu, rest, left - beside)
                    chance += p
                    gpu += p * then
                    cpu += p * then_cpu
                at += 1
            self._whole[row * points + point] = gpu / chance
            self._whole_cpu[row * points + point] = cpu / chance
            point += 1

    def _find_spare(self, tables: Tables) -> None:
        """Find what demands without GPUs make of cpu."""
        mix = self._mix
        points: i64 = self._points
        spare = _blank(points)
        size: i64 = len(mix.cpu)
        point: i64 = 0
        while point < points:
            chance = 1.0 / HORIZON
            worth = 0.0
            at: i64 = 0
            while at < size:
                steps: i64 = self._steps[at]
                if mix.gpus[at] == 0 and 0 < steps <= point:
                    p = self._chance[at]
                    f = self._excess[at]
                    chance += p
                    worth += p * CORE_WORTH * self._cpu[at] / 1000.0
                    if steps == 1:
                        # The state after it lies between the state before it and the one below: solved for the former.
                        chance -= p * f
                        worth += p * (1.0 - f) * spare[point - 1]
                    else:
                        worth += p * (spare[point - steps] + f * (spare[point - steps + 1] - spare[point - steps]))
                at += 1
            spare[point] = worth / chance
            tables.spare[point] = _rounded(spare[point] * MICRO)
            point += 1

    def _look_up(self, column: vec[float], row: i64, cpu: float) -> float:
        """Return a column's value between its points; beyond either end it is that of the end."""
        points: i64 = self._points
        if cpu <= 0.0:
            return column[row * points]
        scaled = cpu / self._step
        point: i64 = int(scaled)
        if point >= points - 1:
            return column[row * points + points - 1]
        here = column[row * points + point]
        return here + (scaled - float(point)) * (column[row * points + point + 1] - here)


def _rounded(value: float) -> i64:
    nearest: i64 = int(value + 0.5)
    return nearest


def _blank(count: i64) -> vec[float]:
    column = vec[float]()
    done: i64 = 0
    while done < count:
        column = append(column, 0.0)
        done += 1
    return column
