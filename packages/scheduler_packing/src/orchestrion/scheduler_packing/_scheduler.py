"""The scheduler."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import trio
from orchestrion.scheduler_interface import (
    ClusterView,
    ScheduleDecision,
    SchedulerCapability,
    SchedulingRequest,
    check_request,
)
from orchestrion.scheduler_packing._deciding import Deciding
from orchestrion.scheduler_packing._index import Index
from orchestrion.scheduler_packing._wanted import Wanted, wanted_of
from orchestrion.shared_types import WorkloadDefinition

CAPABILITIES: Final = frozenset(
    {
        SchedulerCapability.AFFINITY,
        SchedulerCapability.DEVICES,
        SchedulerCapability.GANG,
        SchedulerCapability.SPREAD,
    }
)
MAX_HISTORIES: Final = 2
"""A view as it might be, which has no history, leaves the index of the real ones as it is."""
MAX_REMEMBERED: Final = 8192
"""What so many workloads want is remembered; the one that was met first goes first."""


class PackingScheduler:
    """Puts each slot on the node that has least left of what it has, so that other nodes stay free for larger ones.

    Nodes that dislike a slot less come first, then those that are not idle, then the fullest over cpu, memory and
    devices, each as a share of the largest node's; of equals the lowest id.
    """

    def __init__(self) -> None:
        """Make a scheduler for one cluster."""
        self._indexes: list[Index] = []
        self._wanted: OrderedDict[int, Wanted] = OrderedDict()

    @property
    def capabilities(self) -> frozenset[SchedulerCapability]:
        """The optional abilities that this scheduler has."""
        return CAPABILITIES

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> list[ScheduleDecision]:
        """Decide for each slot of the request; see `Scheduler.schedule`."""
        await trio.lowlevel.checkpoint()
        check_request(request)
        wanted = self._wanted_of(request.workload)
        return Deciding(request, wanted, view, self._index_of(view), CAPABILITIES).decide()

    def _index_of(self, view: ClusterView) -> Index:
        """Return an index that shows a view, of a cluster's history the same one again."""
        index = next((index for index in self._indexes if index.can_go_on_to(view)), None)
        if index is None:
            if len(self._indexes) == MAX_HISTORIES:
                # The one that was gone on with least is of a view as it might be, or of a cluster that is left.
                self._indexes.remove(min(self._indexes, key=lambda each: each.continued))
                for other in self._indexes:
                    other.continued //= 2
            index = Index(1)
            self._indexes.insert(0, index)
        index.show(view)
        return index

    def _wanted_of(self, workload: WorkloadDefinition) -> Wanted:
        """Return what a workload wants; the object is remembered with it, so that its identity stays its own."""
        known = self._wanted.get(id(workload))
        if known is not None:
            return known
        wanted = self._wanted[id(workload)] = wanted_of(workload)
        if len(self._wanted) > MAX_REMEMBERED:
            self._wanted.popitem(last=False)
        return wanted
