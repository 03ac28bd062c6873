"""What the GPUs and the rest of each node have left, as far as the value of a node depends on it."""

from __future__ import annotations

from typing import Final, final

from librt.vecs import append, vec
from mypy_extensions import i64
from orchestrion.scheduler_packing._core.fleet import zeros

WHOLE: Final = 1000
"""The thousandths of a whole GPU."""

BLOCK: Final = 32
"""Nodes of one type lie together, in blocks of so many slots; a slot beyond the last node of a type is empty."""

EMPTY: Final = -1


@final
class Demand:
    """What one slot takes of a node, as far as the value of a node depends on it.

    Attributes:
        cpu: Millicores.
        memory: Bytes.
        whole: How many whole GPUs.
        shares: Thousandths of one GPU each, the largest first.
        gpus: How many GPUs, whole or shared.
        gpu: Thousandths in all.
    """

    def __init__(self, cpu: i64, memory: i64, whole: i64, shares: vec[i64]) -> None:
        """Make a demand."""
        self.cpu: i64 = cpu
        self.memory: i64 = memory
        self.whole: i64 = whole
        self.shares: vec[i64] = shares
        number: i64 = len(shares)
        self.gpus: i64 = whole + number
        self.gpu: i64 = whole * WHOLE
        at: i64 = 0
        while at < number:
            self.gpu += shares[at]
            at += 1


@final
class GpuFleet:
    """The nodes by position, and what each has left.

    Attributes:
        count: How many nodes there are.
        stride: The most GPUs that a node has.
        cpu: Free millicores, >= 0.
        memory: Free bytes, >= 0.
        whole: How many GPUs are wholly free.
        partial: How many GPUs are free in part.
        residues: Their free thousandths, the largest first, `stride` numbers for each node.
        gpus: How many GPUs a node has.
        types: A node's type; nodes of one type are alike when nothing is on them.
        type_count: How many types there are.
        slot_of: Where a node lies among all by type and position.
        position_of: Which node lies in a slot, or `EMPTY`.
        type_of_block: The type whose nodes lie in a block of slots.
        log: Positions whose amounts changed, latest last.
        logged: How many positions were logged before those that `log` still has.
        visits: For each slot and each block, when it was last looked at; see `begin_visit`.
    """

    def __init__(self, types: vec[i64], gpus: vec[i64], stride: i64) -> None:
        """Make a fleet of nodes that have nothing free.

        Args:
            types: Each node's type, from 0.
            gpus: How many GPUs each has.
            stride: The most that any has.
        """
        count: i64 = len(types)
        self.count: i64 = count
        self.stride: i64 = stride
        self.cpu: vec[i64] = zeros(count)
        self.memory: vec[i64] = zeros(count)
        self.whole: vec[i64] = zeros(count)
        self.partial: vec[i64] = zeros(count)
        self.residues: vec[i64] = zeros(count * stride)
        self.gpus: vec[i64] = gpus
        self.types: vec[i64] = types
        self.type_count: i64 = 0
        self.slot_of: vec[i64] = zeros(count)
        self.position_of: vec[i64] = zeros(0)
        self.type_of_block: vec[i64] = zeros(0)
        self.log: vec[i64] = zeros(0)
        self.logged: i64 = 0
        self._lay_out()
        slots: i64 = len(self.position_of)
        self.slot_visits: vec[i64] = zeros(slots)
        self.block_visits: vec[i64] = zeros(slots // BLOCK)
        self._visit: i64 = 0

    def _lay_out(self) -> None:
        position: i64 = 0
        while position < self.count:
            if self.types[position] >= self.type_count:
                self.type_count = self.types[position] + 1
            position += 1
        type_: i64 = 0
        slots: i64 = 0
        while type_ < self.type_count:
            position = 0
            while position < self.count:
                if self.types[position] == type_:
                    if slots % BLOCK == 0:
                        self.type_of_block = append(self.type_of_block, type_)
                    self.slot_of[position] = slots
                    self.position_of = append(self.position_of, position)
                    slots += 1
                position += 1
            while slots % BLOCK != 0:
                self.position_of = append(self.position_of, EMPTY)
                slots += 1
            type_ += 1

    @property
    def changes(self) -> i64:
        """How many changes were logged in all."""
        size: i64 = len(self.log)
        return self.logged + size

    def begin_visit(self) -> i64:
        """Return a number that no slot or block was visited under."""
        self._visit += 1
        return self._visit

    def fill(self, position: i64, cpu: i64, memory: i64, free: vec[i64]) -> None:
        """Take over what is free on a node.

        Args:
            position: Which node.
            cpu: Millicores.
            memory: Bytes.
            free: The free thousandths of each of its GPUs, in any order; at most `stride`.
        """
        self.cpu[position] = cpu
        self.memory[position] = memory
        self.whole[position] = 0
        self.partial[position] = 0
        at: i64 = 0
        end: i64 = len(free)
        while at < end:
            self._put(position, free[at])
            at += 1
        self.touch(position)

    def take(self, position: i64, demand: Demand, residue: i64) -> None:
        """Take what a slot with whole GPUs or one share takes.

        Args:
            position: Which node; it has room.
            demand: What the slot takes.
            residue: How many thousandths of the GPU that the share goes to are free; 1000 for one that is wholly free.
        """
        self.cpu[position] -= demand.cpu
        self.memory[position] -= demand.memory
        self.whole[position] -= demand.whole
        if len(demand.shares) > 0:
            self._exchange(position, residue, residue - demand.shares[0])
        self.touch(position)

    def release(self, position: i64, demand: Demand, residue: i64) -> None:
        """Give back what `take` took.

        Args:
            position: Which node.
            demand: What the slot took.
            residue: How many thousandths of the share's GPU are free before it is given back.
        """
        self.cpu[position] += demand.cpu
        self.memory[position] += demand.memory
        self.whole[position] += demand.whole
        if len(demand.shares) > 0:
            self._exchange(position, residue, residue + demand.shares[0])
        self.touch(position)

    def touch(self, position: i64) -> None:
        """Log that a node's amounts changed."""
        limit: i64 = 8 * self.count + 1024
        size: i64 = len(self.log)
        if size >= limit:
            self.logged += size
            self.log = zeros(0)
        self.log = append(self.log, position)

    def _exchange(self, position: i64, before: i64, after: i64) -> None:
        """Note that a GPU which had `before` thousandths free now has `after`."""
        if before == WHOLE:
            self.whole[position] -= 1
        elif before > 0:
            residues = self.residues
            at: i64 = position * self.stride
            end: i64 = at + self.partial[position] - 1
            while at < end and residues[at] != before:
                at += 1
            while at < end:
                residues[at] = residues[at + 1]
                at += 1
            self.partial[position] -= 1
        self._put(position, after)

    def _put(self, position: i64, free: i64) -> None:
        if free >= WHOLE:
            self.whole[position] += 1
        elif free > 0:
            residues = self.residues
            start: i64 = position * self.stride
            at: i64 = start + self.partial[position]
            while at > start and residues[at - 1] < free:
                residues[at] = residues[at - 1]
                at -= 1
            residues[at] = free
            self.partial[position] += 1


def has_room(fleet: GpuFleet, demand: Demand, position: i64) -> bool:
    """Whether a node has room for one more slot.

    Of several shares, it is only the sum and the largest that are looked at, so that a node may still turn out to have
    none.
    """
    if fleet.cpu[position] < demand.cpu or fleet.memory[position] < demand.memory:
        return False
    spare: i64 = fleet.whole[position] - demand.whole
    if spare < 0:
        return False
    shares: i64 = len(demand.shares)
    if shares == 0 or spare >= shares:
        return True
    start: i64 = position * fleet.stride
    partial: i64 = fleet.partial[position]
    if spare == 0 and (partial == 0 or fleet.residues[start] < demand.shares[0]):
        return False
    if shares == 1:
        return True
    left: i64 = WHOLE * fleet.whole[position]
    at: i64 = start
    while at < start + partial:
        left += fleet.residues[at]
        at += 1
    return left >= demand.gpu
