"""Finding the best node for slot after slot without looking at all of them."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable

from attrs import define, field
from orchestrion.shared_types import NodeId

from ._candidate import Candidate
from ._score import shared_points
from ._spread import Tally

_Entry = tuple[int, NodeId, Candidate]
_Domains = tuple[tuple[Tally, str | None], ...]


@define
class _Cell:
    """The nodes that share all their shared domains, best first by the points of their own."""

    domains: _Domains
    queued: list[_Entry] = field(factory=list)
    waiting: list[Candidate] = field(factory=list)

    def allowed(self) -> bool:
        """Whether a required spread lets one more slot in."""
        return all(tally.allows(domain) for tally, domain in self.domains)

    def rank(self) -> tuple[int, NodeId]:
        """Return how the best node compares with those of other cells; lower is better."""
        negative_points, node_id, candidate = self.queued[0]
        return negative_points - shared_points(candidate), node_id


class BestFirst:
    """Gives the node with the most points that may take a slot; of several, the one with the lowest id.

    Placing a slot changes the points of the node itself, and of those that share a domain of a spread with it. So the
    nodes are kept in cells, in which all are in the same shared domains and what they share makes no difference: a slot
    costs the logarithm of the number of nodes, and a look at each cell. A node without room never gets any; one that a
    spread over unshared domains refuses, such as one by node, waits until the emptiest of them has filled up.
    """

    def __init__(
        self,
        candidates: Iterable[Candidate],
        own_points_of: Callable[[Candidate], int],
        has_room: Callable[[Candidate], bool],
    ) -> None:
        """Queue these nodes."""
        self._own_points_of = own_points_of
        self._has_room = has_room
        self._lowest: tuple[int, ...] = ()
        self._cells: dict[tuple[str | None, ...], _Cell] = {}
        for candidate in candidates:
            self._cell_of(candidate).queued.append(self._entry(candidate))
        for cell in self._cells.values():
            heapq.heapify(cell.queued)

    def best(self) -> Candidate | None:
        """Take the best node out, or return None where no node may take a slot."""
        while cells := [cell for cell in self._cells.values() if cell.queued and cell.allowed()]:
            cell = min(cells, key=_Cell.rank)
            _, _, candidate = heapq.heappop(cell.queued)
            if self._has_room(candidate):
                if all(tally.allows(domain) for tally, domain in candidate.own_domains):
                    return candidate
                cell.waiting.append(candidate)
        return None

    def put_back(self, candidate: Candidate) -> None:
        """Put a node back on which a slot was placed, and with it those that waited for others to fill up."""
        self._push(candidate)
        lowest = tuple(tally.lowest for tally, _ in candidate.own_domains)
        if lowest != self._lowest:
            self._lowest = lowest
            for cell in self._cells.values():
                waiting, cell.waiting = cell.waiting, []
                for each in waiting:
                    self._push(each)

    def _push(self, candidate: Candidate) -> None:
        heapq.heappush(self._cell_of(candidate).queued, self._entry(candidate))

    def _entry(self, candidate: Candidate) -> _Entry:
        return (-self._own_points_of(candidate), candidate.id, candidate)

    def _cell_of(self, candidate: Candidate) -> _Cell:
        domains = candidate.shared_domains
        return self._cells.setdefault(tuple(domain for _, domain in domains), _Cell(domains))
