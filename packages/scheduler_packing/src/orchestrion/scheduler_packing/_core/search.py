"""Finding the best node for one slot under everything that binds it but devices."""

from __future__ import annotations

from typing import Final, final

from librt.vecs import append, vec
from mypy_extensions import i64
from orchestrion.scheduler_packing._core.fleet import Fleet, zeros
from orchestrion.scheduler_packing._core.order import MAX_LEFT, MAX_NODES, POSITIONS, Order
from orchestrion.scheduler_packing._core.placing import NOWHERE, Shape, first_fitting, fits
from orchestrion.scheduler_packing._core.terms import Term

BELOW_ALL: Final = -(1 << 62)
"""Fewer points than any node has."""
_UNKNOWN: Final = -2
MAX_CELLS: Final = 256
MAX_DOMAINS: Final = 1 << 20
MAX_POINTS: Final = 1 << 42
"""Fewer points times the number of positions than a native number holds."""
MAX_STEPS: Final = 32
"""After so many nodes of a cell that terms refuse or dislike, all nodes are looked at, each of which costs less."""


@final
class Cells:
    """Nodes in order, cell by cell: those of one cell are in the same domains of some topologies.

    Attributes:
        order: The nodes by cell, and within it by points.
        of_position: The cell of each node.
        firsts: For each cell, the position of one of its nodes.
        span: More than the points of any node; each cell's begin at a multiple of it.
    """

    def __init__(self, order: Order, of_position: vec[i64], firsts: vec[i64], span: i64) -> None:
        self.order: Order = order
        self.of_position: vec[i64] = of_position
        self.firsts: vec[i64] = firsts
        self.span: i64 = span


def one_cell(order: Order, fleet: Fleet) -> Cells:
    """Return the members of an order in one cell."""
    return Cells(order, zeros(fleet.count), zeros(1), MAX_POINTS >> 1)


def make_cells(order: Order, topologies: list[vec[i64]], fleet: Fleet) -> Cells | None:
    """Return the members of an order by cell, or None where there are too many cells.

    Args:
        order: The nodes, and the points that they have whatever is left.
        topologies: For each topology the number of each node's domain.
        fleet: All nodes.
    """
    span: i64 = MAX_LEFT + 1
    position: i64 = 0
    while position < fleet.count:
        if order.members[position] != 0 and order.base[position] + MAX_LEFT >= span:
            span = order.base[position] + MAX_LEFT + 1
        position += 1
    numbers: dict[int, int] = {}
    steps: dict[int, int] = {}
    firsts = vec[i64]()
    of_position = zeros(fleet.count)
    base = zeros(fleet.count)
    position = 0
    while position < fleet.count:
        if order.members[position] != 0:
            # However many topologies there are, a path of domains is one number, that of its last step.
            domains: i64 = 0
            for topology in topologies:
                step: i64 = domains * MAX_DOMAINS + topology[position]
                further = steps.get(step)
                if further is None:
                    further = len(steps) + 1
                    steps[step] = further
                domains = further
            cell: i64 = len(numbers)
            known = numbers.get(domains)
            if known is None:
                if cell == MAX_CELLS or (cell + 1) * span >= MAX_POINTS:
                    return None
                numbers[domains] = cell
                firsts = append(firsts, position)
            else:
                cell = known
            of_position[position] = cell
            base[position] = cell * span + order.base[position]
        position += 1
    return Cells(Order(fleet, order.members, base, order.sign), of_position, firsts, span)


@final
class Field:
    """The nodes that suit some slots, and what binds them beside room.

    Attributes:
        cells: The nodes.
        shared: Terms that are the same for all nodes of a cell.
        own: The other terms.
    """

    def __init__(self, cells: Cells, shared: list[Term], own: list[Term]) -> None:
        self.cells: Cells = cells
        self.shared: list[Term] = shared
        self.own: list[Term] = own
        # The rank of the first node of each cell with room for the shape, as of a number of changes of the fleet.
        self._ranks: vec[i64] = vec[i64]()
        self._shape: Shape | None = None
        self._cursor: i64 = 0

    @property
    def is_plain(self) -> bool:
        """Whether nothing binds beside room."""
        return not self.shared and not self.own

    def is_member(self, position: i64) -> bool:
        """Whether a node suits."""
        return self.cells.order.rank_of(position) >= 0

    def allows(self, position: i64) -> bool:
        """Whether all terms allow one more slot on a node."""
        return all_allow(self.shared, position) and all_allow(self.own, position)

    def points(self, position: i64) -> i64:
        """Return a member's points for one more slot; fewer are better."""
        cells = self.cells
        points: i64 = cells.order.rank_of(position) // POSITIONS - cells.of_position[position] * cells.span
        return points + sum_points(self.shared, position) + sum_points(self.own, position)

    def add(self, position: i64, number: i64) -> None:
        """Count slots on a node in the terms that count them."""
        for term in self.shared:
            if term.counts_itself:
                term.add(position, number)
        for term in self.own:
            if term.counts_itself:
                term.add(position, number)

    def best(self, fleet: Fleet, shape: Shape, after: i64, after_position: i64) -> i64:
        """Return the position with the fewest points that has room and that all terms allow, or -1.

        Args:
            fleet: All nodes.
            shape: What the slot takes; of devices the sum is looked at.
            after: Only nodes with more points than these, or as many and a higher position.
            after_position: See `after`.
        """
        cells = self.cells
        cells.order.catch_up()
        self._forget_changed(fleet, shape)
        search = Search(fleet, self, shape, after, after_position)
        count: i64 = len(cells.firsts)
        costs = zeros(count)
        for term in self.shared:
            term.add_costs(cells.firsts, costs)
        cheapest: i64 = NOWHERE
        cell: i64 = 0
        while cell < count:
            if costs[cell] >= 0 and (cheapest < 0 or costs[cell] < costs[cheapest]):
                cheapest = cell
            cell += 1
        if cheapest < 0:
            return NOWHERE
        # From the cheapest cell comes most likely what spares a look at the others.
        search.look_in(cheapest, costs[cheapest])
        cell = 0
        while cell < count and not search.is_too_long:
            if cell != cheapest and costs[cell] >= 0:
                search.look_in(cell, costs[cell])
            cell += 1
        if search.is_too_long:
            search.look_at_all()
        return search.found

    def _forget_changed(self, fleet: Fleet, shape: Shape) -> None:
        """Forget which nodes were the first of their cells with room, where that may have changed."""
        changes: i64 = fleet.changes
        count: i64 = len(self.cells.firsts)
        if shape is not self._shape or self._cursor < fleet.logged or count <= 1:
            self._shape = shape
            self._ranks = vec[i64]()
            cell: i64 = 0
            while cell < count:
                self._ranks = append(self._ranks, _UNKNOWN)
                cell += 1
        else:
            at: i64 = self._cursor - fleet.logged
            end: i64 = changes - fleet.logged
            log = fleet.log
            ranks = self._ranks
            of_position = self.cells.of_position
            while at < end:
                ranks[of_position[log[at]]] = _UNKNOWN
                at += 1
        self._cursor = changes

    def first_in(self, cell: i64, fleet: Fleet, shape: Shape) -> i64:
        """Return the rank of the first node of a cell that has room for the shape of the search, or -1."""
        rank: i64 = self._ranks[cell]
        if rank == _UNKNOWN:
            cells = self.cells
            start: i64 = cell * cells.span
            rank = first_fitting(fleet, cells.order, shape, start * POSITIONS - 1)
            if rank >= (start + cells.span) * POSITIONS:
                rank = NOWHERE
            self._ranks[cell] = rank
        return rank


@final
class Search:
    """One search.

    Attributes:
        found: The best position so far, or -1.
        is_too_long: Whether a look at all nodes would have been quicker.
    """

    def __init__(self, fleet: Fleet, field: Field, shape: Shape, after: i64, after_position: i64) -> None:
        self.found: i64 = NOWHERE
        self.is_too_long: bool = False
        self._points: i64 = 0
        self._fleet: Fleet = fleet
        self._field: Field = field
        self._shape: Shape = shape
        self._after: i64 = after
        self._after_position: i64 = after_position
        least: i64 = 0
        for term in field.own:
            least += term.least_points()
        self._least: i64 = least

    def look_in(self, cell: i64, cost: i64) -> None:
        """Look in one cell, whose shared terms cost that much."""
        cells = self._field.cells
        order = cells.order
        start: i64 = cell * cells.span
        end: i64 = (start + cells.span) * POSITIONS
        surely: i64 = cost + self._least
        steps: i64 = 0
        if self.found >= 0 and surely > self._points:
            return
        rank: i64 = self._field.first_in(cell, self._fleet, self._shape)
        while 0 <= rank < end:
            points: i64 = rank // POSITIONS - start + surely
            position: i64 = rank & MAX_NODES
            # What comes later in the cell has more points of its own, or as many and a higher position; the terms cost
            # no less than the least.
            if self.found >= 0 and (points > self._points or (points == self._points and position > self.found)):
                return
            if steps == MAX_STEPS:
                self.is_too_long = True
                return
            steps += 1
            self._consider(position, points - self._least + sum_points(self._field.own, position))
            rank = first_fitting(self._fleet, order, self._shape, rank)

    def look_at_all(self) -> None:
        """Look at all nodes."""
        field = self._field
        self.found = NOWHERE
        position: i64 = 0
        while position < self._fleet.count:
            fitting = field.is_member(position) and fits(self._fleet, self._shape, position)
            if fitting and all_allow(field.shared, position):
                self._consider(position, field.points(position))
            position += 1

    def _consider(self, position: i64, points: i64) -> None:
        if points < self._after or (points == self._after and position <= self._after_position):
            return
        if self.found >= 0 and (points > self._points or (points == self._points and position > self.found)):
            return
        if all_allow(self._field.own, position):
            self.found = position
            self._points = points


def all_allow(terms: list[Term], position: i64) -> bool:
    """Whether all terms allow one more slot on a node."""
    for term in terms:  # noqa: SIM110 - a generator would cost more than the question
        if not term.allows(position):
            return False
    return True


def sum_points(terms: list[Term], position: i64) -> i64:
    """Return the points of all terms for one more slot on a node."""
    points: i64 = 0
    for term in terms:
        points += term.points(position)
    return points
