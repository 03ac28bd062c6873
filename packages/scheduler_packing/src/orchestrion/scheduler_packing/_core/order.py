"""Some nodes of a fleet in order of preference, searchable for the first that has room."""

from __future__ import annotations

from typing import Final, final

from librt.vecs import append, vec
from mypy_extensions import i64
from orchestrion.scheduler_packing._core.fleet import CPU, LEVELS, MEMORY, Fleet, zeros

POSITION_BITS: Final = 20
"""A rank has the position below its points: of equals the lowest position is first."""
POSITIONS: Final = 1 << POSITION_BITS
MAX_NODES: Final = POSITIONS - 1

MAX_LEFT: Final = 8 * LEVELS
"""More than any node has left, over all resources and for being idle."""

_BLOCK: Final = 32
_ABSENT: Final = -1


@final
class Order:
    """Nodes by rank, lowest first, in blocks; a tree over the blocks knows the most that any node in them has free.

    The nodes' amounts change outside; `catch_up` brings the order up to date, and touches only what was logged since.

    Attributes:
        members: For each position 1 if the node is in the order, else 0.
        base: For each position, points that count before what is left; lower is better.
        sign: 1 for the fullest first, -1 for the emptiest first, 0 for lower positions first.
        keeps_first: Whether a node that is the first with room for some slots stays that while it has room: what is
            placed on it does not move it back.
    """

    def __init__(self, fleet: Fleet, members: vec[i64], base: vec[i64], sign: i64) -> None:
        """Put nodes in order.

        Args:
            fleet: All nodes.
            members: For each position 1 if the node is in the order, else 0.
            base: For each position, points that count before what is left; lower is better.
            sign: See the attributes.
        """
        self._fleet: Fleet = fleet
        self.members: vec[i64] = members
        self.base: vec[i64] = base
        self.keeps_first: bool = sign >= 0
        self.sign: i64 = sign
        self._offset: i64 = 0
        if sign < 0:
            self._offset = MAX_LEFT
        self._cursor: i64 = 0
        self._ranks: vec[i64] = zeros(0)
        # Blocks have slots of their own, so that a new one moves no entries: `_sequence` has the slots in order.
        self._entries: vec[i64] = zeros(0)
        self._sizes: vec[i64] = zeros(0)
        self._sequence: vec[i64] = zeros(0)
        self._firsts: vec[i64] = zeros(0)
        self._blocks: i64 = 0
        self._leaves: i64 = 1
        self._most_cpu: vec[i64] = zeros(0)
        self._most_memory: vec[i64] = zeros(0)
        self._build()

    # -- searching

    def first(self, cpu: i64, memory: i64, after: i64) -> i64:
        """Return the lowest rank above `after` whose node has that much free, or -1.

        Start with `after` = -1; to go on from a node that did not do, give its rank.
        """
        block: i64 = 0
        if after >= 0:
            block = self._block_of(after)
        free_cpu = self._fleet.free[CPU]
        free_memory = self._fleet.free[MEMORY]
        most_cpu = self._most_cpu
        most_memory = self._most_memory
        entries = self._entries
        while block < self._blocks:
            node: i64 = self._leaves + block
            found: i64 = _ABSENT
            while node > 0:
                if most_cpu[node] >= cpu and most_memory[node] >= memory:
                    if node >= self._leaves:
                        found = node - self._leaves
                        break
                    node = 2 * node
                else:
                    while node & 1:
                        node = node >> 1
                    if node == 0:
                        break
                    node += 1
            if found < 0:
                return _ABSENT
            slot: i64 = self._sequence[found]
            at: i64 = slot * _BLOCK
            end: i64 = at + self._sizes[slot]
            while at < end:
                rank: i64 = entries[at]
                if rank > after:
                    position: i64 = rank & MAX_NODES
                    if free_cpu[position] >= cpu and free_memory[position] >= memory:
                        return rank
                at += 1
            block = found + 1
        return _ABSENT

    # -- keeping up

    def catch_up(self) -> None:
        """Take over all changes that the fleet has logged since the last time."""
        fleet = self._fleet
        changes: i64 = fleet.changes
        if self._cursor == changes:
            return
        if self._cursor < fleet.logged:
            self._build()
            return
        at: i64 = self._cursor - fleet.logged
        end: i64 = changes - fleet.logged
        self._cursor = changes
        log = fleet.log
        latest = fleet.latest
        while at < end:
            position: i64 = log[at]
            # What changed again later is moved then.
            if latest[position] == fleet.logged + at:
                self._move(position)
            at += 1

    def set_member(self, position: i64, member: i64, base: i64) -> None:
        """Let a node in or out, or change its points."""
        self.members[position] = member
        self.base[position] = base
        self._move(position)

    def rank_of(self, position: i64) -> i64:
        """Return a node's rank, or -1 if it is not in the order. It is right after `catch_up`."""
        return self._ranks[position]

    def _rank_of(self, position: i64) -> i64:
        points: i64 = self.base[position] + self._offset + self.sign * self._fleet.ranks[position]
        return points * POSITIONS + position

    def _move(self, position: i64) -> None:
        before: i64 = self._ranks[position]
        after: i64 = _ABSENT
        if self.members[position] != 0:
            after = self._rank_of(position)
        if before < 0 and after < 0:
            return
        self._ranks[position] = after
        if before >= 0 and after >= 0:
            block: i64 = self._block_of(before)
            if block == self._block_of(after) and (after >= self._firsts[block] or block == 0):
                self._shift(block, before, after)
                return
        if before >= 0:
            self._take_out(before)
        if after >= 0:
            self._put_in(after)

    def _block_of(self, rank: i64) -> i64:
        """Return the last block that begins at or below the rank, or the first one."""
        low: i64 = 0
        high: i64 = self._blocks
        firsts = self._firsts
        while high - low > 1:
            middle: i64 = (low + high) >> 1
            if firsts[middle] <= rank:
                low = middle
            else:
                high = middle
        return low

    def _shift(self, block: i64, before: i64, after: i64) -> None:
        """Move an entry within its block."""
        slot: i64 = self._sequence[block]
        start: i64 = slot * _BLOCK
        end: i64 = start + self._sizes[slot]
        entries = self._entries
        at: i64 = start
        while entries[at] != before:
            at += 1
        while at + 1 < end and entries[at + 1] < after:
            entries[at] = entries[at + 1]
            at += 1
        while at > start and entries[at - 1] > after:
            entries[at] = entries[at - 1]
            at -= 1
        entries[at] = after
        self._firsts[block] = entries[start]
        self._sum_up(block)

    def _take_out(self, rank: i64) -> None:
        block: i64 = self._block_of(rank)
        slot: i64 = self._sequence[block]
        start: i64 = slot * _BLOCK
        size: i64 = self._sizes[slot] - 1
        end: i64 = start + size
        entries = self._entries
        at: i64 = start
        while entries[at] != rank:
            at += 1
        while at < end:
            entries[at] = entries[at + 1]
            at += 1
        self._sizes[slot] = size
        # An empty block stays where it is: its first rank still divides what is below from what is above.
        if size > 0:
            self._firsts[block] = entries[start]
        self._sum_up(block)

    def _put_in(self, rank: i64) -> None:
        if self._blocks == 0:
            self._build()
            return
        block: i64 = self._block_of(rank)
        slot: i64 = self._sequence[block]
        size: i64 = self._sizes[slot]
        if size == _BLOCK:
            self._build_or_split(block, rank)
            return
        start: i64 = slot * _BLOCK
        entries = self._entries
        at: i64 = start + size
        while at > start and entries[at - 1] > rank:
            entries[at] = entries[at - 1]
            at -= 1
        entries[at] = rank
        self._sizes[slot] = size + 1
        self._firsts[block] = entries[start]
        self._sum_up(block)

    def _build_or_split(self, block: i64, rank: i64) -> None:
        """Make room in a full block."""
        # Blocks that have run empty are cleared away by building anew, before there are too many.
        if self._blocks * _BLOCK > 8 * self._fleet.count + 8 * _BLOCK:
            self._build()
            return
        self._split(block)
        self._put_in(rank)

    def _split(self, block: i64) -> None:
        old: i64 = self._sequence[block]
        new: i64 = self._blocks
        half: i64 = _BLOCK // 2
        entries = self._entries
        done: i64 = 0
        while done < _BLOCK:
            kept: i64 = 0
            if done < half:
                kept = entries[old * _BLOCK + half + done]
            entries = append(entries, kept)
            done += 1
        self._entries = entries
        self._sizes[old] = half
        self._sizes = append(self._sizes, half)
        self._sequence = append(self._sequence, new)
        self._firsts = append(self._firsts, 0)
        at: i64 = self._blocks
        while at > block + 1:
            self._sequence[at] = self._sequence[at - 1]
            self._firsts[at] = self._firsts[at - 1]
            at -= 1
        self._sequence[block + 1] = new
        self._firsts[block + 1] = entries[new * _BLOCK]
        self._blocks += 1
        self._let_in(block + 1)
        self._sum_up(block)
        self._sum_up(block + 1)

    # -- the tree

    def _sum_up(self, block: i64) -> None:
        """Take the most of a block again, and of all above it."""
        slot: i64 = self._sequence[block]
        at: i64 = slot * _BLOCK
        end: i64 = at + self._sizes[slot]
        free_cpu = self._fleet.free[CPU]
        free_memory = self._fleet.free[MEMORY]
        entries = self._entries
        cpu: i64 = _ABSENT
        memory: i64 = _ABSENT
        while at < end:
            position: i64 = entries[at] & MAX_NODES
            one: i64 = free_cpu[position]
            if one > cpu:
                cpu = one
            one = free_memory[position]
            if one > memory:
                memory = one
            at += 1
        most_cpu = self._most_cpu
        most_memory = self._most_memory
        node: i64 = self._leaves + block
        most_cpu[node] = cpu
        most_memory[node] = memory
        node = node >> 1
        while node > 0:
            left: i64 = 2 * node
            cpu = most_cpu[left]
            if most_cpu[left + 1] > cpu:
                cpu = most_cpu[left + 1]
            memory = most_memory[left]
            if most_memory[left + 1] > memory:
                memory = most_memory[left + 1]
            if most_cpu[node] == cpu and most_memory[node] == memory:
                return
            most_cpu[node] = cpu
            most_memory[node] = memory
            node = node >> 1

    def _let_in(self, block: i64) -> None:
        """Make room in the tree for a new block, whose most is not known yet."""
        if self._blocks > self._leaves:
            self._make_tree()
            return
        most_cpu = self._most_cpu
        most_memory = self._most_memory
        start: i64 = self._leaves + block
        node: i64 = self._leaves + self._blocks - 1
        end: i64 = node
        while node > start:
            most_cpu[node] = most_cpu[node - 1]
            most_memory[node] = most_memory[node - 1]
            node -= 1
        while start > 1:
            start = start >> 1
            end = end >> 1
            node = start
            while node <= end:
                left: i64 = 2 * node
                most: i64 = most_cpu[left]
                if most_cpu[left + 1] > most:
                    most = most_cpu[left + 1]
                most_cpu[node] = most
                most = most_memory[left]
                if most_memory[left + 1] > most:
                    most = most_memory[left + 1]
                most_memory[node] = most
                node += 1

    def _make_tree(self) -> None:
        """Make the tree anew for the blocks as they are now, with room for as many again."""
        leaves: i64 = 2
        while leaves < 2 * self._blocks:
            leaves = 2 * leaves
        self._leaves = leaves
        self._most_cpu = zeros(2 * leaves)
        self._most_memory = zeros(2 * leaves)
        node: i64 = 0
        while node < 2 * leaves:
            self._most_cpu[node] = _ABSENT
            self._most_memory[node] = _ABSENT
            node += 1
        block: i64 = 0
        while block < self._blocks:
            self._sum_up(block)
            block += 1

    def _build(self) -> None:
        """Put all members in order anew, into blocks that are half full."""
        fleet = self._fleet
        ordered: list[int] = []
        self._ranks = zeros(fleet.count)
        position: i64 = 0
        while position < fleet.count:
            self._ranks[position] = _ABSENT
            if self.members[position] != 0:
                rank: i64 = self._rank_of(position)
                self._ranks[position] = rank
                ordered.append(rank)
            position += 1
        ordered.sort()
        half: i64 = _BLOCK // 2
        entries = vec[i64]()
        sizes = vec[i64]()
        sequence = vec[i64]()
        firsts = vec[i64]()
        blocks: i64 = 0
        size: i64 = half
        for rank in ordered:
            if size == half:
                size = 0
                done: i64 = 0
                while done < _BLOCK:
                    entries = append(entries, 0)
                    done += 1
                sizes = append(sizes, 0)
                sequence = append(sequence, blocks)
                firsts = append(firsts, rank)
                blocks += 1
            entries[(blocks - 1) * _BLOCK + size] = rank
            size += 1
            sizes[blocks - 1] = size
        self._entries = entries
        self._sizes = sizes
        self._sequence = sequence
        self._firsts = firsts
        self._blocks = blocks
        self._cursor = fleet.changes
        self._make_tree()
