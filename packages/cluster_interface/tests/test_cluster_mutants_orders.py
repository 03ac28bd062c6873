"""Managers that are wrong about cordons and drains: each fails the clause that it breaks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import trio
from attrs import evolve
from orchestrion.cluster_interface import (
    NodeUpdated,
)
from orchestrion.mocks import ClusterWorld, MockClusterManager
from orchestrion.shared_types import Drain, Node, NodeId, NodeStatus

from .cluster_mutants import MutantKind, Mutants, Spoiled, Stream, StreamMutant, failed_checks

MUTANTS = Mutants()


class OrderMutant(MockClusterManager):
    """Lets a subclass do an order its own way."""

    async def order(self, node_id: NodeId, change: Callable[[Node], Node]) -> None:
        await trio.lowlevel.checkpoint()
        self.world.update_node(change(self._node(node_id)))


@MUTANTS.breaks("CORDON-1")
class IgnoresCordon(OrderMutant):
    async def cordon_node(self, node_id: NodeId, /) -> None:
        await self.order(node_id, lambda node: node)


@MUTANTS.breaks("CORDON-2")
class CordonToggles(OrderMutant):
    async def cordon_node(self, node_id: NodeId, /) -> None:
        await self.order(node_id, lambda node: evolve(node, cordoned=not node.cordoned, drain=None))


@MUTANTS.breaks("CORDON-2")
class CordonEndsDrain(OrderMutant):
    async def cordon_node(self, node_id: NodeId, /) -> None:
        await self.order(node_id, lambda node: evolve(node, cordoned=True, drain=None))


@MUTANTS.breaks("CORDON-3")
class CordonsWhatIsNotThere(OrderMutant):
    async def cordon_node(self, node_id: NodeId, /) -> None:
        if await self.get_node(node_id) is not None:
            await super().cordon_node(node_id)


@MUTANTS.breaks("CORDON-4")
class ForgetsOrders(MockClusterManager):
    def __init__(self, world: ClusterWorld) -> None:
        super().__init__(world)
        for node in world.list_nodes():
            world.update_node(evolve(node, cordoned=False, drain=None))


@MUTANTS.breaks("CORDON-4")
class NeverForgetsOrders(MockClusterManager):
    orders: dict[ClusterWorld, set[NodeId]] = {}  # noqa: RUF012 # it has to outlive the manager

    def __init__(self, world: ClusterWorld) -> None:
        super().__init__(world)
        for node_id in self.orders.get(world, ()):
            world.update_node(evolve(self._existing(node_id), cordoned=True))

    def _existing(self, node_id: NodeId) -> Node:
        node = self.world.get_node(node_id)
        assert node is not None
        return node

    async def drain_node(self, node_id: NodeId, /, *, reason: str, deadline: datetime | None = None) -> None:
        await super().drain_node(node_id, reason=reason, deadline=deadline)
        self.orders.setdefault(self.world, set()).add(node_id)


@MUTANTS.breaks("CORDON-5")
class CordonChangesStatus(OrderMutant):
    async def cordon_node(self, node_id: NodeId, /) -> None:
        await self.order(node_id, lambda node: evolve(node, cordoned=True, status=NodeStatus.NOT_READY))


@MUTANTS.breaks("CORDON-5")
class OrdersAreSecret(StreamMutant):
    def spoil(self, stream: Stream) -> Stream:
        return Spoiled(stream, lambda event: [] if isinstance(event, NodeUpdated) and event.node.cordoned else [event])


@MUTANTS.breaks("CORDON-6")
class DrainsByHalves(OrderMutant):
    async def drain_node(self, node_id: NodeId, /, *, reason: str, deadline: datetime | None = None) -> None:
        await self.cordon_node(node_id)
        await super().drain_node(node_id, reason=reason, deadline=deadline)


@MUTANTS.breaks("CORDON-6")
class UncordonsByHalves(OrderMutant):
    async def uncordon_node(self, node_id: NodeId, /) -> None:
        await self.order(node_id, lambda node: evolve(node, drain=None))
        await super().uncordon_node(node_id)


@MUTANTS.breaks("DRAIN-1")
class OnlyCordons(OrderMutant):
    async def drain_node(self, node_id: NodeId, /, *, reason: str, deadline: datetime | None = None) -> None:
        await self.cordon_node(node_id)


@MUTANTS.breaks("DRAIN-1")
class InventsADeadline(OrderMutant):
    async def drain_node(self, node_id: NodeId, /, *, reason: str, deadline: datetime | None = None) -> None:
        await super().drain_node(node_id, reason=reason, deadline=deadline or datetime(2100, 1, 1, tzinfo=UTC))


@MUTANTS.breaks("DRAIN-2")
class KeepsTheFirstDrain(OrderMutant):
    async def drain_node(self, node_id: NodeId, /, *, reason: str, deadline: datetime | None = None) -> None:
        if self._node(node_id).drain is None:
            await super().drain_node(node_id, reason=reason, deadline=deadline)


@MUTANTS.breaks("DRAIN-3")
class DrainsWhatIsNotThere(OrderMutant):
    async def drain_node(self, node_id: NodeId, /, *, reason: str, deadline: datetime | None = None) -> None:
        if await self.get_node(node_id) is not None:
            await super().drain_node(node_id, reason=reason, deadline=deadline)


@MUTANTS.breaks("DRAIN-4")
class AcceptsAnyDrain(OrderMutant):
    async def drain_node(self, node_id: NodeId, /, *, reason: str, deadline: datetime | None = None) -> None:
        await self.order(
            node_id, lambda node: evolve(node, cordoned=True, drain=Drain(reason=reason, deadline=deadline))
        )


@MUTANTS.breaks("UNCORDON-1")
class LeavesDrainedNodes(OrderMutant):
    async def uncordon_node(self, node_id: NodeId, /) -> None:
        if self._node(node_id).drain is None:
            await super().uncordon_node(node_id)


@MUTANTS.breaks("UNCORDON-2")
class UncordonLeavesATrace(OrderMutant):
    async def uncordon_node(self, node_id: NodeId, /) -> None:
        await self.order(node_id, lambda node: evolve(node, cordoned=False, drain=None, labels={"uncordoned": "yes"}))


@MUTANTS.breaks("UNCORDON-3")
class UncordonsWhatIsNotThere(OrderMutant):
    async def uncordon_node(self, node_id: NodeId, /) -> None:
        if await self.get_node(node_id) is not None:
            await super().uncordon_node(node_id)


@pytest.mark.parametrize(("clause", "kind"), MUTANTS.parameters())
def test_the_kit_finds_out(clause: str, kind: MutantKind) -> None:
    assert failed_checks(clause, kind)
