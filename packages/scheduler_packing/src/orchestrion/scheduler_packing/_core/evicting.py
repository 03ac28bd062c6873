"""Finding the node on which the least has to be pushed out for one slot, as far as cpu, memory and disk go."""

from __future__ import annotations

from typing import Final, final

from librt.vecs import append, vec
from mypy_extensions import i64
from orchestrion.scheduler_packing._core.fleet import CPU, DISK, MEMORY, Fleet, zeros
from orchestrion.scheduler_packing._core.order import Order
from orchestrion.scheduler_packing._core.placing import Shape
from orchestrion.scheduler_packing._core.search import all_allow, sum_points
from orchestrion.scheduler_packing._core.terms import Term

ROOM: Final = 3
"""So many resources are looked at: cpu, memory and disk."""
WIDTH: Final = 6
"""A record has the priority, what is held of those resources, the grace in seconds and the number of the workload."""
_GRACE: Final = 4
_OWNER: Final = 5
UNLIMITED: Final = -1
"""The budget of a workload that has none."""
NO_RECORDS: Final = vec[i64]()


@final
class Records:
    """What the instances of each node hold, by position.

    Attributes:
        of_node: For each position, first how much more of each resource is held there than is allocatable, then the
            records of its instances in the order in which they are put back. Empty for a node without any.
    """

    def __init__(self, count: i64) -> None:
        """Start with nodes that hold nothing."""
        self.of_node: list[vec[i64]] = []
        done: i64 = 0
        while done < count:
            self.of_node.append(NO_RECORDS)
            done += 1


@final
class Asked:
    """For whom room is made.

    Attributes:
        shape: What a slot takes.
        priority: Only instances below it may be pushed out.
        owner: The number of the slot's own workload, whose instances stay; -1 where it has none.
        budgets: How many instances of each workload may be pushed out, by its number.
        has_budgets: Whether any of them is limited.
    """

    def __init__(self, shape: Shape, priority: i64, owner: i64, budgets: vec[i64], has_budgets: bool) -> None:
        self.shape: Shape = shape
        self.priority: i64 = priority
        self.owner: i64 = owner
        self.budgets: vec[i64] = budgets
        self.has_budgets: bool = has_budgets


@final
class Search:
    """One search; lower is better in all of what is found, in this order.

    Attributes:
        found: The position of the best node so far, or -1.
        highest: The highest priority of its victims.
        number: How many there are.
        grace: Their longest grace.
        dislikes: Its points for taints, spreads and affinities.
    """

    def __init__(self, fleet: Fleet, order: Order, terms: list[Term], records: Records, asked: Asked) -> None:
        self.found: i64 = -1
        self.highest: i64 = 0
        self.number: i64 = 0
        self.grace: i64 = 0
        self.dislikes: i64 = 0
        self._fleet: Fleet = fleet
        self._order: Order = order
        self._terms: list[Term] = terms
        self._records: Records = records
        self._asked: Asked = asked
        self._used: vec[i64] = zeros(len(asked.budgets))
        # Where records begin that may be pushed out: of the node that is looked at, the last one first.
        self._allowed: vec[i64] = vec[i64]()

    def look(self, first: i64, end: i64, passed_over: vec[i64]) -> None:
        """Look at the nodes from one position to before another that suit and are not passed over."""
        position: i64 = first
        while position < end:
            if self._order.members[position] != 0 and passed_over[position] == 0:
                self._look_at(position)
            position += 1

    def offer(self, position: i64, highest: i64, number: i64, grace: i64) -> None:
        """Consider a node whose victims are known."""
        if self.found >= 0:
            if highest != self.highest:
                if highest > self.highest:
                    return
            elif number != self.number:
                if number > self.number:
                    return
            elif grace > self.grace:
                return
        dislikes: i64 = self._order.base[position] + sum_points(self._terms, position)
        is_equal = self.found >= 0 and highest == self.highest and number == self.number and grace == self.grace
        if is_equal and (dislikes > self.dislikes or (dislikes == self.dislikes and position > self.found)):
            return
        self.found = position
        self.highest = highest
        self.number = number
        self.grace = grace
        self.dislikes = dislikes

    def _look_at(self, position: i64) -> None:
        records = self._records.of_node[position]
        if len(records) == 0:
            return
        asked = self._asked
        amounts = asked.shape.amounts
        cpu: i64 = self._fleet.free[CPU][position] - records[CPU] - amounts[CPU]
        memory: i64 = self._fleet.free[MEMORY][position] - records[MEMORY] - amounts[MEMORY]
        disk: i64 = self._fleet.free[DISK][position] - records[DISK] - amounts[DISK]
        # What is not asked for need not be free.
        asks_cpu = amounts[CPU] > 0
        asks_memory = amounts[MEMORY] > 0
        asks_disk = amounts[DISK] > 0
        highest: i64 = 0
        is_enough = False
        self._allow(records)
        allowed = self._allowed
        count: i64 = len(allowed)
        # Those of the lowest priorities leave until there is room; all others would be put back at once.
        taken: i64 = 0
        while taken < count:
            at: i64 = allowed[taken]
            priority: i64 = records[at]
            if is_enough and priority != highest:
                break
            if self.found >= 0 and priority > self.highest:
                break
            highest = priority
            cpu += records[at + 1 + CPU]
            memory += records[at + 1 + MEMORY]
            disk += records[at + 1 + DISK]
            taken += 1
            is_enough = (cpu >= 0 or not asks_cpu) and (memory >= 0 or not asks_memory) and (disk >= 0 or not asks_disk)
        if not is_enough or not all_allow(self._terms, position):
            return
        highest = 0
        number: i64 = 0
        grace: i64 = 0
        while taken > 0:
            taken -= 1
            at = allowed[taken]
            less_cpu: i64 = cpu - records[at + 1 + CPU]
            less_memory: i64 = memory - records[at + 1 + MEMORY]
            less_disk: i64 = disk - records[at + 1 + DISK]
            if (
                (less_cpu >= 0 or not asks_cpu)
                and (less_memory >= 0 or not asks_memory)
                and (less_disk >= 0 or not asks_disk)
            ):
                cpu = less_cpu
                memory = less_memory
                disk = less_disk
                continue
            if number == 0 or records[at] > highest:
                highest = records[at]
            if records[at + _GRACE] > grace:
                grace = records[at + _GRACE]
            number += 1
        if number > 0:
            self.offer(position, highest, number, grace)

    def _allow(self, records: vec[i64]) -> None:
        """Note which records may be pushed out, those that are put back last first."""
        asked = self._asked
        allowed = vec[i64]()
        at: i64 = len(records) - WIDTH
        while at >= ROOM:
            if records[at] >= asked.priority:
                break
            owner: i64 = records[at + _OWNER]
            if owner != asked.owner:
                if not asked.has_budgets:
                    allowed = append(allowed, at)
                else:
                    self._used[owner] += 1
                    budget: i64 = asked.budgets[owner]
                    if budget < 0 or self._used[owner] <= budget:
                        allowed = append(allowed, at)
            at -= WIDTH
        self._allowed = allowed
        if asked.has_budgets:
            at = len(records) - WIDTH
            while at >= ROOM:
                self._used[records[at + _OWNER]] = 0
                at -= WIDTH
