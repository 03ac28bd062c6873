"""A scheduler that decides as it is told, and honestly where it is told nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from orchestrion.scheduler_interface import (
    AssignNode,
    ClusterView,
    PlacedInstance,
    ScheduleDecision,
    SchedulerCapability,
    SchedulerUnavailable,
    SchedulingRequest,
)
from orchestrion.shared_types import InstanceKey, NodeId

from ._faults import FaultInjector, FaultSource, NoFaults
from ._scheduler_first_fit import NO_CAPABILITIES, Holder, first_fit

DecisionScript = Callable[[SchedulingRequest, ClusterView], list[ScheduleDecision]]
"""What to decide about a request."""

UNKNOWN_NODE = NodeId("no-such-node")
"""The node that `name_unknown_node` names."""


def decide_first_fit(request: SchedulingRequest, view: ClusterView, /) -> list[ScheduleDecision]:
    """Give each slot the first node by id that has room for it. This keeps every clause of the interface."""
    return first_fit(request, view, iter(view), _holder_in(view, request.slots))


def over_commit(request: SchedulingRequest, view: ClusterView, /) -> list[ScheduleDecision]:
    """Give every slot the first node by id, whether or not there is room, or `UNKNOWN_NODE` where there is no node."""
    node_id = next((node.node.id for node in view), UNKNOWN_NODE)
    return [AssignNode(slot=slot, node_id=node_id) for slot in request.slots]


def name_unknown_node(request: SchedulingRequest, _view: ClusterView, /) -> list[ScheduleDecision]:
    """Give every slot a node that does not exist."""
    return [AssignNode(slot=slot, node_id=UNKNOWN_NODE) for slot in request.slots]


class MockScheduler:
    """Decides by a script, and by first fit where that has nothing.

    LIE answers what `lie` says. FAIL and FAIL_AFTER raise `SchedulerUnavailable`.

    Attributes:
        requests: The requests that were decided, in order.
    """

    def __init__(
        self,
        script: DecisionScript | Iterable[list[ScheduleDecision]] | None = None,
        /,
        *,
        faults: FaultSource | None = None,
        lie: DecisionScript = over_commit,
        capabilities: frozenset[SchedulerCapability] = NO_CAPABILITIES,
    ) -> None:
        """Make a scheduler.

        Args:
            script: Decides each request; or the decisions on the first requests, one after another, and first fit
                afterwards; None is first fit from the start.
            faults: What goes wrong; None is nothing.
            lie: What LIE answers: `over_commit`, `name_unknown_node` or your own.
            capabilities: What it claims to be able to do. First fit is able to do nothing beyond the interface: claim
                no more than the script does.
        """
        self._faults = FaultInjector(NoFaults() if faults is None else faults, SchedulerUnavailable)
        self._lie = lie
        self._capabilities = capabilities
        self._decide = script if callable(script) else _in_turn(script or ())
        self.requests: list[SchedulingRequest] = []

    @property
    def capabilities(self) -> frozenset[SchedulerCapability]:
        """What it was made with."""
        return self._capabilities

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> list[ScheduleDecision]:
        """Decide for each slot of the request."""

        async def honest() -> list[ScheduleDecision]:
            self.requests.append(request)
            return self._decide(request, view)

        async def lie() -> list[ScheduleDecision]:
            self.requests.append(request)
            return self._lie(request, view)

        return await self._faults.call("schedule", honest, lie=lie)


def _in_turn(script: Iterable[list[ScheduleDecision]]) -> DecisionScript:
    left: Iterator[list[ScheduleDecision]] = iter(script)

    def decide(request: SchedulingRequest, view: ClusterView, /) -> list[ScheduleDecision]:
        scripted = next(left, None)
        return decide_first_fit(request, view) if scripted is None else scripted

    return decide


def _holder_in(view: ClusterView, slots: Iterable[InstanceKey]) -> Holder:
    wanted = frozenset(slots)
    held: dict[InstanceKey, tuple[NodeId, PlacedInstance]] = {}
    for node in view:
        for key, instance in node.instances.items():
            if key in wanted:
                held[key] = (node.node.id, instance)
    return held.get
