"""What is free on each node, in columns, and the log of what changed."""

from __future__ import annotations

from typing import Final, final

from librt.vecs import append, vec
from mypy_extensions import i64

CPU: Final = 0
MEMORY: Final = 1
DISK: Final = 2
PLAIN_DIMENSIONS: Final = 3
"""Further columns are of extended resources."""

LEVELS: Final = 2**18
"""In so many steps, at least half as many, is told apart how much a node has left of one resource."""


@final
class Fleet:
    """The nodes by position. A position is a node's place among all of them by id, so that lower is a lower id.

    Attributes:
        count: How many nodes there are.
        free: For each resource, how much each node has free, >= 0.
        loads: How many instances each node holds.
        gpu: How many thousandths of devices each node has free.
        ports: Static host ports that are taken, by position and as one number each; nodes without any are absent.
        ranks: How much each node has left, in levels; lower is fuller.
        log: Positions whose free amounts changed, latest last.
        latest: For each node, the number of its latest change, counted from the first that was ever logged.
        logged: How many positions were logged before those that `log` still has.
    """

    def __init__(self, count: i64, dimensions: i64) -> None:
        """Make a fleet of nodes that have nothing."""
        self.count: i64 = count
        self.free: list[vec[i64]] = []
        self.loads: vec[i64] = zeros(count)
        self.gpu: vec[i64] = zeros(count)
        self.ports: dict[int, set[int]] = {}
        self.ranks: vec[i64] = zeros(count)
        self.log: vec[i64] = vec[i64]()
        self.logged: i64 = 0
        self.latest: vec[i64] = zeros(count)
        self._cpu_shift: i64 = 0
        self._memory_shift: i64 = 0
        self._gpu_shift: i64 = 0
        done: i64 = 0
        while done < dimensions:
            self.free.append(zeros(count))
            done += 1

    def set_scale(self, cpu: i64, memory: i64, gpu: i64) -> None:
        """Tell how much the largest node has of each; all ranks are to be taken again."""
        self._cpu_shift = shift_for(cpu)
        self._memory_shift = shift_for(memory)
        self._gpu_shift = shift_for(gpu)

    def touch(self, position: i64) -> None:
        """Take a node's rank again, after its amounts changed."""
        left: i64 = level(self.free[CPU][position] >> self._cpu_shift)
        left += level(self.free[MEMORY][position] >> self._memory_shift)
        left += level(self.gpu[position] >> self._gpu_shift)
        if self.loads[position] == 0:
            left += LEVELS
        self.ranks[position] = left
        limit: i64 = 8 * self.count + 1024
        size: i64 = len(self.log)
        if size >= limit:
            self.logged += size
            self.log = vec[i64]()
            size = 0
        self.log = append(self.log, position)
        self.latest[position] = self.logged + size

    def shift(self, position: i64, cpu: i64, memory: i64, disk: i64, number: i64) -> bool:
        """Take so much of a node, for so many instances; negative numbers give it back.

        Returns:
            Whether it was there; else nothing is taken.
        """
        if cpu > self.free[CPU][position] or memory > self.free[MEMORY][position] or disk > self.free[DISK][position]:
            return False
        self.free[CPU][position] -= cpu
        self.free[MEMORY][position] -= memory
        self.free[DISK][position] -= disk
        self.loads[position] += number
        self.touch(position)
        return True

    @property
    def changes(self) -> i64:
        """How many changes were logged in all."""
        size: i64 = len(self.log)
        return self.logged + size


def level(shifted: i64) -> i64:
    """Return an amount in levels; more than the largest node has counts as much as that."""
    return shifted if shifted < LEVELS else LEVELS


def shift_for(most: i64) -> i64:
    """Return by how many bits amounts up to `most` are shifted to lie below `LEVELS`."""
    shift: i64 = 0
    while most >> shift >= LEVELS:
        shift += 1
    return shift


def zeros(count: i64) -> vec[i64]:
    """Return a column of zeros."""
    column = vec[i64]()
    done: i64 = 0
    while done < count:
        column = append(column, 0)
        done += 1
    return column
