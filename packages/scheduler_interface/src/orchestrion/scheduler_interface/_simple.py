"""The readable reference scheduler."""

from __future__ import annotations

from typing import Final

import trio

from ._interface import ClusterView
from ._needs import needs_of
from ._placing import Placing
from ._types import ScheduleDecision, SchedulerCapability, SchedulingRequest

_CAPABILITIES: Final = frozenset({SchedulerCapability.DEVICES, SchedulerCapability.GANG, SchedulerCapability.SPREAD})


class SimpleScheduler:
    """Gives each slot the node with the most points. It keeps no state between calls.

    A node's points for a slot are the sum of

    - 0 to 999 for how full it would be afterwards, as the mean over the resources that the slot asks for; a slot that
      asks for nothing prefers nodes with few instances instead;
    - less 1000 for each instance of the workload in the same domain, for each spread, required or not;
    - less 1000 for each PreferNoSchedule taint that is not tolerated;
    - 10 times the weight of each preferred node affinity that matches.

    Of nodes with equal points the lowest id is taken. Preferred instance affinities are not honoured, and required
    affinities are UNSUPPORTED.

    A call looks at all nodes once; a slot then costs the logarithm of their number, and a look at each combination of
    domains that several nodes share. Explanations of assignments, where they are asked for, cost a look at all nodes
    each.
    """

    @property
    def capabilities(self) -> frozenset[SchedulerCapability]:
        """It grants devices, and keeps required spreads and minimums."""
        return _CAPABILITIES

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> list[ScheduleDecision]:
        """Decide for each slot of the request."""
        await trio.lowlevel.checkpoint()
        return Placing(request, needs_of(request, _CAPABILITIES), view).decide()
