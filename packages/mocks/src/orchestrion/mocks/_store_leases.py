"""When leases end."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import inf

from orchestrion.store_interface import LeaseId


class LeaseDeadlines:
    """The deadlines of leases, by trio's clock. Prolonging one costs nothing until its old deadline comes."""

    __slots__ = ("_deadlines", "_heap")

    def __init__(self, deadlines: dict[LeaseId, float], /) -> None:
        self._deadlines = deadlines
        self._heap = [(deadline, lease) for lease, deadline in deadlines.items()]
        heapify(self._heap)

    def add(self, lease: LeaseId, deadline: float, /) -> None:
        """Add a lease."""
        self._deadlines[lease] = deadline
        heappush(self._heap, (deadline, lease))

    def prolong(self, lease: LeaseId, deadline: float, /) -> None:
        """Set a later deadline."""
        self._deadlines[lease] = deadline

    def remove(self, lease: LeaseId, /) -> None:
        """Remove a lease; an unknown one is no error."""
        self._deadlines.pop(lease, None)

    def earliest(self) -> float:
        """Return the earliest deadline, or infinity."""
        heap = self._heap
        while heap:
            deadline, lease = heap[0]
            actual = self._deadlines.get(lease)
            if actual == deadline:
                return deadline
            heappop(heap)
            if actual is not None:
                heappush(heap, (actual, lease))
        return inf

    def pop_ended(self, now: float, /) -> LeaseId | None:
        """Remove and return the lease with the earliest deadline, if that has come."""
        if self.earliest() > now:
            return None
        _, lease = heappop(self._heap)
        del self._deadlines[lease]
        return lease
