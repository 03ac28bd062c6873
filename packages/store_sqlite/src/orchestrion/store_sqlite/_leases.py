"""How long leases still last: in memory only, as a store that is opened anew starts each at its full length."""

from __future__ import annotations

import heapq
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import trio
from orchestrion.shared_types import OrchestrationError
from orchestrion.store_interface import LeaseId, LeaseNotFound, StoreClosed

_RETRY_SECONDS: Final = 1.0
"""The wait after leases could not be ended, for example because the disk is full."""

_SPARE_LOOKS: Final = 64


class Leases:
    """The leases that have not run out, by the clock of the trio run."""

    def __init__(self, lengths: Mapping[LeaseId, float]) -> None:
        """Start each of these at its full length, in seconds."""
        self._lengths = dict(lengths)
        now = trio.current_time()
        self._deadlines = {lease: now + length for lease, length in lengths.items()}
        # When to look at which lease: never after its deadline, often before, as keeping alive changes nothing here.
        self._looks = [(deadline, lease) for lease, deadline in self._deadlines.items()]
        heapq.heapify(self._looks)
        self._sooner = trio.Event()

    def __len__(self) -> int:
        return len(self._lengths)

    def add(self, lease: LeaseId, length_seconds: float) -> None:
        """Start a new lease."""
        deadline = trio.current_time() + length_seconds
        self._lengths[lease] = length_seconds
        self._deadlines[lease] = deadline
        if not self._looks or deadline < self._looks[0][0]:
            self._sooner.set()
        heapq.heappush(self._looks, (deadline, lease))

    def keep_alive(self, lease: LeaseId) -> None:
        """Start a lease's length anew.

        Raises:
            LeaseNotFound: It does not exist or has run out.
        """
        if not self.lasts(lease):
            msg = f"lease {lease} does not exist or has run out"
            raise LeaseNotFound(msg, remedy="grant a new lease")
        self._deadlines[lease] = trio.current_time() + self._lengths[lease]

    def lasts(self, lease: LeaseId) -> bool:
        """Whether a lease exists and has not run out."""
        return self._deadlines.get(lease, -math.inf) > trio.current_time()

    def remove(self, lease: LeaseId) -> None:
        """Forget a lease that was ended."""
        self._lengths.pop(lease, None)
        self._deadlines.pop(lease, None)
        # Looks at leases that were ended early go when they are due, which may be in a day: too many go at once.
        if len(self._looks) > _SPARE_LOOKS + 2 * len(self._deadlines):
            self._looks = [(deadline, one) for one, deadline in self._deadlines.items()]
            heapq.heapify(self._looks)

    async def expire(self, end: Callable[[tuple[LeaseId, ...]], Awaitable[object]]) -> None:
        """End leases as they run out, until the store is closed.

        Args:
            end: Removes leases and their keys; raises `OrchestrationError` where that fails.
        """
        while True:
            self._sooner = trio.Event()
            due = self._take_due()
            if due:
                try:
                    await end(due)
                except StoreClosed:
                    return
                except OrchestrationError:
                    # Those who wait for these keys to go wait on; nobody is there to be told why.
                    for lease in due:
                        heapq.heappush(self._looks, (trio.current_time() + _RETRY_SECONDS, lease))
                else:
                    for lease in due:
                        self.remove(lease)
                    continue
            with trio.move_on_at(self._looks[0][0] if self._looks else math.inf):
                await self._sooner.wait()

    def _take_due(self) -> tuple[LeaseId, ...]:
        now = trio.current_time()
        due: list[LeaseId] = []
        while self._looks and self._looks[0][0] <= now:
            _, lease = heapq.heappop(self._looks)
            deadline = self._deadlines.get(lease)
            if deadline is None:
                continue
            if deadline <= now:
                due.append(lease)
            else:
                heapq.heappush(self._looks, (deadline, lease))
        return tuple(due)
