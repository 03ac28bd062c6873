"""Managers that are wrong about calls, their beginning and their end: each fails the clause that it breaks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
import trio
from attrs import evolve
from orchestrion.cluster_interface import (
    ClusterCapability,
    ClusterUnavailable,
    NotInitialized,
)
from orchestrion.mocks import ClusterWorld, MockClusterManager
from orchestrion.shared_types import Node, NodeId

from .cluster_mutants import MutantKind, Mutants, failed_checks

R = TypeVar("R")

MUTANTS = Mutants()


@MUTANTS.breaks("CAP-1")
class ForgetsCapabilities(MockClusterManager):
    @property
    def capabilities(self) -> frozenset[ClusterCapability]:
        return frozenset() if self._closed else super().capabilities


@MUTANTS.breaks("CAP-2")
class DeclaresWhatItLacks:
    def __init__(self, world: ClusterWorld) -> None:
        self._manager = MockClusterManager(world)
        self.capabilities = self._manager.capabilities
        self.initialize = self._manager.initialize
        self.get_node = self._manager.get_node
        self.list_nodes = self._manager.list_nodes
        self.subscribe_to_events = self._manager.subscribe_to_events
        self.aclose = self._manager.aclose


@MUTANTS.breaks("INIT-1")
class SeesOnlyNewNodes(MockClusterManager):
    def __init__(self, world: ClusterWorld) -> None:
        super().__init__(world)
        self.old: set[NodeId] = set()

    async def initialize(self) -> None:
        await super().initialize()
        self.old = {node.id for node in self.world.list_nodes()}

    async def list_nodes(self) -> list[Node]:
        return [node for node in await super().list_nodes() if node.id not in self.old]


@MUTANTS.breaks("INIT-2")
class LosesANodeOnRepeatedInitialize(MockClusterManager):
    async def initialize(self) -> None:
        if self._initialized:
            self.world.remove_node(self.world.list_nodes()[-1].id)
        await super().initialize()


@MUTANTS.breaks("GET-1")
class GetsAnotherName(MockClusterManager):
    async def get_node(self, node_id: NodeId, /) -> Node | None:
        node = await super().get_node(node_id)
        return None if node is None else evolve(node, name=f"{node.name}.")


@MUTANTS.breaks("GET-2")
class InventsNodes(MockClusterManager):
    async def get_node(self, node_id: NodeId, /) -> Node | None:
        return await super().get_node(node_id) or Node(id=node_id, name="")


@MUTANTS.breaks("GET-2")
class RemembersRemovedNodes(MockClusterManager):
    def __init__(self, world: ClusterWorld) -> None:
        super().__init__(world)
        self.seen: dict[NodeId, Node] = {}

    async def get_node(self, node_id: NodeId, /) -> Node | None:
        node = await super().get_node(node_id) or self.seen.get(node_id)
        if node is not None:
            self.seen[node_id] = node
        return node


@MUTANTS.breaks("LIST-1")
class ListsWhatWasOnce(MockClusterManager):
    async def initialize(self) -> None:
        await super().initialize()
        self.once = await super().list_nodes()

    async def list_nodes(self) -> list[Node]:
        await super().list_nodes()
        return list(self.once)


@MUTANTS.breaks("LIST-2")
class SortsWithoutCase(MockClusterManager):
    async def list_nodes(self) -> list[Node]:
        return sorted(await super().list_nodes(), key=lambda node: node.id.lower())


@MUTANTS.breaks("LIST-2")
class ListsTwice(MockClusterManager):
    async def list_nodes(self) -> list[Node]:
        nodes = await super().list_nodes()
        return nodes[:1] + nodes


@MUTANTS.breaks("LIST-3")
class ListsItsOwnList(MockClusterManager):
    def __init__(self, world: ClusterWorld) -> None:
        super().__init__(world)
        self.mine: list[Node] = []
        self.mine_of = -1

    async def list_nodes(self) -> list[Node]:
        nodes = await super().list_nodes()
        if self.mine_of != self.world.revision:
            self.mine, self.mine_of = nodes, self.world.revision
        return self.mine


@MUTANTS.breaks("ERR-1")
class NeedsNoInitialize(MockClusterManager):
    def check_usable(self) -> None:
        self._check_open()


@MUTANTS.breaks("ERR-2")
class AnswersWhenClosed(MockClusterManager):
    def check_usable(self) -> None:
        if not self._initialized:
            raise NotInitialized("not yet")


@MUTANTS.breaks("ERR-2")
class OpensAgain(MockClusterManager):
    async def initialize(self) -> None:
        self._closed = False
        await super().initialize()


@MUTANTS.breaks("CLOSE-1")
class ClosesOnce(MockClusterManager):
    async def aclose(self) -> None:
        self._check_open()
        await super().aclose()


@MUTANTS.breaks("CLOSE-2")
class CantCloseWhatIsNotInitialized(MockClusterManager):
    async def aclose(self) -> None:
        self.check_usable()
        await super().aclose()


@MUTANTS.breaks("CLOSE-3")
class TakesTheClusterAlong(MockClusterManager):
    async def aclose(self) -> None:
        for node in self.world.list_nodes():
            self.world.remove_node(node.id)
        await super().aclose()


@MUTANTS.breaks("CONC-1")
class OneAtATime(MockClusterManager):
    busy = False

    async def _call(
        self, method: str, effect: Callable[[], Awaitable[R]], lie: Callable[[], Awaitable[R]] | None = None
    ) -> R:
        if self.busy:
            raise ClusterUnavailable("busy")
        self.busy = True
        try:
            return await super()._call(method, effect, lie)
        finally:
            self.busy = False


@MUTANTS.breaks("CONC-1")
class SecondInitializeReturnsTooEarly(MockClusterManager):
    begun = False

    async def initialize(self) -> None:
        if not self.begun:
            self.begun = True
            await trio.sleep(1)
            await super().initialize()
        else:
            await trio.lowlevel.checkpoint()


@MUTANTS.breaks("CHECKPOINT-1")
class NotWhileCalled(MockClusterManager):
    async def get_node(self, node_id: NodeId, /) -> Node | None:
        self.check_usable()
        return self.world.get_node(node_id)


@MUTANTS.breaks("CHECKPOINT-1")
class OrdersWithoutCheckpoint(MockClusterManager):
    async def cordon_node(self, node_id: NodeId, /) -> None:
        self.world.update_node(evolve(self._node(node_id), cordoned=True))


@MUTANTS.breaks("CANCEL-1")
class MarksItselfInitializedTooEarly(MockClusterManager):
    begun = False

    async def initialize(self) -> None:
        if self.begun:
            await trio.lowlevel.checkpoint()
            return
        self.begun = True
        await super().initialize()


@MUTANTS.breaks("CANCEL-2")
class TakesNodesOutWhileListing(MockClusterManager):
    async def list_nodes(self) -> list[Node]:
        nodes = await super().list_nodes()
        for node in nodes:
            self.world.remove_node(node.id)
        await trio.lowlevel.checkpoint()
        for node in nodes:
            self.world.add_node(node)
        return nodes


@MUTANTS.breaks("CANCEL-4")
class ClosesAfterACheckpoint(MockClusterManager):
    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        await super().aclose()


@MUTANTS.breaks("VIEW-1")
class AnswersLateNews(MockClusterManager):
    async def get_node(self, node_id: NodeId, /) -> Node | None:
        await super().get_node(node_id)
        return self.world.get_node(node_id, stale=True)


@pytest.mark.parametrize(("clause", "kind"), MUTANTS.parameters())
def test_the_kit_finds_out(clause: str, kind: MutantKind) -> None:
    assert failed_checks(clause, kind)
