"""The kit is tested by mutants: managers that are wrong on purpose, each of which must fail its own clause."""

from __future__ import annotations

import unittest
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TypeVar

import pytest
import trio
from attrs import evolve
from orchestrion.cluster_interface import (
    ClusterCapability,
    ClusterClosed,
    ClusterEvent,
    ClusterManager,
    ClusterUnavailable,
    NodeAdded,
    NodeUpdated,
    NotInitialized,
    Resync,
    Snapshot,
)
from orchestrion.cluster_interface.conformance import CHECK_IDS, ClusterUnderTest, checks
from orchestrion.conformance_kit import Factory
from orchestrion.mocks import ClusterWorld, MockClusterManager
from orchestrion.shared_types import Drain, Node, NodeId, NodeStatus, OrchestrationError

R = TypeVar("R")
Stream = AsyncIterator[ClusterEvent]
MutantKind = type[MockClusterManager] | type["DeclaresWhatItLacks"]
Turn = Callable[[ClusterEvent], Iterable[ClusterEvent]]


class ForgetsCapabilities(MockClusterManager):
    """CAP-1"""

    @property
    def capabilities(self) -> frozenset[ClusterCapability]:
        return frozenset() if self._closed else super().capabilities


class DeclaresWhatItLacks:
    """CAP-2"""

    def __init__(self, world: ClusterWorld) -> None:
        self._manager = MockClusterManager(world)
        self.capabilities = self._manager.capabilities
        self.initialize = self._manager.initialize
        self.get_node = self._manager.get_node
        self.list_nodes = self._manager.list_nodes
        self.subscribe_to_events = self._manager.subscribe_to_events
        self.aclose = self._manager.aclose


class SeesOnlyNewNodes(MockClusterManager):
    """INIT-1"""

    def __init__(self, world: ClusterWorld) -> None:
        super().__init__(world)
        self.old: set[NodeId] = set()

    async def initialize(self) -> None:
        await super().initialize()
        self.old = {node.id for node in self.world.list_nodes()}

    async def list_nodes(self) -> list[Node]:
        return [node for node in await super().list_nodes() if node.id not in self.old]


class LosesANodeOnRepeatedInitialize(MockClusterManager):
    """INIT-2"""

    async def initialize(self) -> None:
        if self._initialized:
            self.world.remove_node(self.world.list_nodes()[-1].id)
        await super().initialize()


class GetsAnotherName(MockClusterManager):
    """GET-1"""

    async def get_node(self, node_id: NodeId, /) -> Node | None:
        node = await super().get_node(node_id)
        return None if node is None else evolve(node, name=f"{node.name}.")


class InventsNodes(MockClusterManager):
    """GET-2"""

    async def get_node(self, node_id: NodeId, /) -> Node | None:
        return await super().get_node(node_id) or Node(id=node_id, name="")


class RemembersRemovedNodes(MockClusterManager):
    """GET-2"""

    def __init__(self, world: ClusterWorld) -> None:
        super().__init__(world)
        self.seen: dict[NodeId, Node] = {}

    async def get_node(self, node_id: NodeId, /) -> Node | None:
        node = await super().get_node(node_id) or self.seen.get(node_id)
        if node is not None:
            self.seen[node_id] = node
        return node


class ListsWhatWasOnce(MockClusterManager):
    """LIST-1"""

    async def initialize(self) -> None:
        await super().initialize()
        self.once = await super().list_nodes()

    async def list_nodes(self) -> list[Node]:
        await super().list_nodes()
        return list(self.once)


class SortsWithoutCase(MockClusterManager):
    """LIST-2"""

    async def list_nodes(self) -> list[Node]:
        return sorted(await super().list_nodes(), key=lambda node: node.id.lower())


class ListsTwice(MockClusterManager):
    """LIST-2"""

    async def list_nodes(self) -> list[Node]:
        nodes = await super().list_nodes()
        return nodes[:1] + nodes


class ListsItsOwnList(MockClusterManager):
    """LIST-3"""

    def __init__(self, world: ClusterWorld) -> None:
        super().__init__(world)
        self.mine: list[Node] = []
        self.mine_of = -1

    async def list_nodes(self) -> list[Node]:
        nodes = await super().list_nodes()
        if self.mine_of != self.world.revision:
            self.mine, self.mine_of = nodes, self.world.revision
        return self.mine


class NeedsNoInitialize(MockClusterManager):
    """ERR-1"""

    def check_usable(self) -> None:
        self._check_open()


class AnswersWhenClosed(MockClusterManager):
    """ERR-2"""

    def check_usable(self) -> None:
        if not self._initialized:
            raise NotInitialized("not yet")


class OpensAgain(MockClusterManager):
    """ERR-2"""

    async def initialize(self) -> None:
        self._closed = False
        await super().initialize()


class ClosesOnce(MockClusterManager):
    """CLOSE-1"""

    async def aclose(self) -> None:
        self._check_open()
        await super().aclose()


class CantCloseWhatIsNotInitialized(MockClusterManager):
    """CLOSE-2"""

    async def aclose(self) -> None:
        self.check_usable()
        await super().aclose()


class TakesTheClusterAlong(MockClusterManager):
    """CLOSE-3"""

    async def aclose(self) -> None:
        for node in self.world.list_nodes():
            self.world.remove_node(node.id)
        await super().aclose()


class OneAtATime(MockClusterManager):
    """CONC-1"""

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


class SecondInitializeReturnsTooEarly(MockClusterManager):
    """CONC-1"""

    begun = False

    async def initialize(self) -> None:
        if not self.begun:
            self.begun = True
            await trio.sleep(1)
            await super().initialize()
        else:
            await trio.lowlevel.checkpoint()


class NotWhileCalled(MockClusterManager):
    """CHECKPOINT-1"""

    async def get_node(self, node_id: NodeId, /) -> Node | None:
        self.check_usable()
        return self.world.get_node(node_id)


class OrdersWithoutCheckpoint(MockClusterManager):
    """CHECKPOINT-1"""

    async def cordon_node(self, node_id: NodeId, /) -> None:
        self.world.update_node(evolve(self._node(node_id), cordoned=True))


class MarksItselfInitializedTooEarly(MockClusterManager):
    """CANCEL-1"""

    begun = False

    async def initialize(self) -> None:
        if self.begun:
            await trio.lowlevel.checkpoint()
            return
        self.begun = True
        await super().initialize()


class TakesNodesOutWhileListing(MockClusterManager):
    """CANCEL-2"""

    async def list_nodes(self) -> list[Node]:
        nodes = await super().list_nodes()
        for node in nodes:
            self.world.remove_node(node.id)
        await trio.lowlevel.checkpoint()
        for node in nodes:
            self.world.add_node(node)
        return nodes


class ClosesAfterACheckpoint(MockClusterManager):
    """CANCEL-4"""

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        await super().aclose()


class AnswersLateNews(MockClusterManager):
    """VIEW-1"""

    async def get_node(self, node_id: NodeId, /) -> Node | None:
        await super().get_node(node_id)
        return self.world.get_node(node_id, stale=True)


class StreamMutant(MockClusterManager):
    """Lets a subclass spoil each stream."""

    @asynccontextmanager
    async def subscribe_to_events(self) -> AsyncIterator[Stream]:
        async with super().subscribe_to_events() as stream:
            yield self.spoil(stream)

    def spoil(self, stream: Stream) -> Stream:
        raise AssertionError


class Spoiled:
    """A stream that turns each event of another into any number of events, and does not lose them when cancelled."""

    def __init__(self, stream: Stream, turn: Turn = lambda event: [event]) -> None:
        self.stream = stream
        self.turn = turn
        self.ready: list[ClusterEvent] = []

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> ClusterEvent:
        await trio.lowlevel.checkpoint()
        while not self.ready:
            self.ready = list(self.turn(await anext(self.stream)))
        return self.ready.pop(0)


class NoSnapshot(StreamMutant):
    """EVENTS-1"""

    def spoil(self, stream: Stream) -> Stream:
        return Spoiled(stream, lambda event: [] if isinstance(event, Snapshot) else [event])


class UnsortedSnapshot(StreamMutant):
    """SNAPSHOT-1"""

    def spoil(self, stream: Stream) -> Stream:
        return Spoiled(
            stream,
            lambda event: [Snapshot(event.nodes[::-1], event.revision) if isinstance(event, Snapshot) else event],
        )


class SameRevision(StreamMutant):
    """EVENTS-2"""

    def spoil(self, stream: Stream) -> Stream:
        return Spoiled(stream, lambda event: [event if isinstance(event, Resync) else evolve(event, revision=1)])


def _fine(event: ClusterEvent) -> ClusterEvent:
    """Make room for another revision before each."""
    return event if isinstance(event, Resync) else evolve(event, revision=2 * event.revision)


class StatesThatNeverWere(StreamMutant):
    """EVENTS-3"""

    def spoil(self, stream: Stream) -> Stream:
        def turn(event: ClusterEvent) -> list[ClusterEvent]:
            if not isinstance(event, NodeUpdated):
                return [_fine(event)]
            half = evolve(event.node, name=f"{event.node.name}, changing")
            return [NodeUpdated(half, 2 * event.revision - 1), _fine(event)]

        return Spoiled(stream, turn)


class StatesThatArePast(StreamMutant):
    """EVENTS-3"""

    def spoil(self, stream: Stream) -> Stream:
        latest: dict[NodeId, list[Node]] = {}

        def turn(event: ClusterEvent) -> list[ClusterEvent]:
            if not isinstance(event, NodeUpdated | NodeAdded):
                return [_fine(event)]
            known = latest.setdefault(event.node.id, [])
            known.append(event.node)
            if len(known) < 3 or not isinstance(event, NodeUpdated):
                return [_fine(event)]
            return [NodeUpdated(known[-3], 2 * event.revision - 1), _fine(event)]

        return Spoiled(stream, turn)


class LosesEveryOtherChange(StreamMutant):
    """EVENTS-4"""

    def spoil(self, stream: Stream) -> Stream:
        count = 0

        def turn(event: ClusterEvent) -> list[ClusterEvent]:
            nonlocal count
            count += not isinstance(event, Snapshot | Resync)
            return [event] if isinstance(event, Snapshot | Resync) or count % 2 == 0 else []

        return Spoiled(stream, turn)


class UpdatesAreAdditions(StreamMutant):
    """EVENTS-5"""

    def spoil(self, stream: Stream) -> Stream:
        return Spoiled(
            stream, lambda event: [NodeAdded(event.node, event.revision) if isinstance(event, NodeUpdated) else event]
        )


class TellsNothingNew(StreamMutant):
    """EVENTS-5"""

    def spoil(self, stream: Stream) -> Stream:
        def turn(event: ClusterEvent) -> list[ClusterEvent]:
            if not isinstance(event, NodeUpdated):
                return [_fine(event)]
            return [evolve(event, revision=2 * event.revision - 1), _fine(event)]

        return Spoiled(stream, turn)


class ResyncIsSilent(StreamMutant):
    """EVENTS-6"""

    def spoil(self, stream: Stream) -> Stream:
        return Spoiled(stream, lambda event: [] if isinstance(event, Resync) else [event])


class ResyncGoesBack(StreamMutant):
    """EVENTS-6"""

    def spoil(self, stream: Stream) -> Stream:
        first = True

        def turn(event: ClusterEvent) -> list[ClusterEvent]:
            nonlocal first
            if isinstance(event, Snapshot) and not first:
                return [evolve(event, revision=-1)]
            first = False
            return [event]

        return Spoiled(stream, turn)


class ResyncBringsNothing(StreamMutant):
    """EVENTS-6"""

    def spoil(self, stream: Stream) -> Stream:
        first = True

        def turn(event: ClusterEvent) -> list[ClusterEvent]:
            nonlocal first
            if isinstance(event, Snapshot) and not first:
                return [NodeAdded(node, event.revision) for node in event.nodes]
            first = False
            return [event]

        return Spoiled(stream, turn)


class WaitsForSlowReaders(StreamMutant):
    """EVENTS-7"""

    def __init__(self, world: ClusterWorld) -> None:
        super().__init__(world)
        self.taken: list[list[int]] = []

    def spoil(self, stream: Stream) -> Stream:
        mine = [self.world.revision]
        self.taken.append(mine)

        def turn(event: ClusterEvent) -> list[ClusterEvent]:
            mine[0] = self.world.revision
            return [event]

        return Spoiled(stream, turn)

    async def list_nodes(self) -> list[Node]:
        while any(self.world.revision - taken[0] > 10 for taken in self.taken):
            await trio.sleep(0.1)
        return await super().list_nodes()


class OneStreamTakesItAll(StreamMutant):
    """EVENTS-8"""

    def __init__(self, world: ClusterWorld) -> None:
        super().__init__(world)
        self.given = 0

    def spoil(self, stream: Stream) -> Stream:
        def turn(event: ClusterEvent) -> list[ClusterEvent]:
            if isinstance(event, Snapshot | Resync):
                return [event]
            given, self.given = self.given, max(self.given, event.revision)
            return [event] if event.revision > given else []

        return Spoiled(stream, turn)


class LeavingEndsAll(MockClusterManager):
    """EVENTS-8"""

    left = False

    @asynccontextmanager
    async def subscribe_to_events(self) -> AsyncIterator[Stream]:
        async with super().subscribe_to_events() as stream:
            yield Spoiled(stream, lambda event: [] if self.left else [event])
        self.left = True


class StopsWhenClosed(StreamMutant):
    """EVENTS-9"""

    def spoil(self, stream: Stream) -> Stream:
        class Stops(Spoiled):
            async def __anext__(self) -> ClusterEvent:
                try:
                    return await super().__anext__()
                except ClusterClosed:
                    raise StopAsyncIteration from None

        return Stops(stream)


class ClosesWithoutWaking(MockClusterManager):
    """EVENTS-9"""

    async def aclose(self) -> None:
        self._closed = True
        await trio.lowlevel.checkpoint()


class StepsWithoutCheckpoint(StreamMutant):
    """CHECKPOINT-1"""

    def spoil(self, stream: Stream) -> Stream:
        class Quick(Spoiled):
            async def __anext__(self) -> ClusterEvent:
                with trio.CancelScope(shield=True):
                    self.ready.append(await anext(self.stream))
                return self.ready.pop()

        return Quick(stream)


class EndsWhenCancelled(StreamMutant):
    """CANCEL-3"""

    def spoil(self, stream: Stream) -> Stream:
        class Brittle(Spoiled):
            ended = False

            async def __anext__(self) -> ClusterEvent:
                if self.ended:
                    raise StopAsyncIteration
                self.ended = True
                event = await super().__anext__()
                self.ended = False
                return event

        return Brittle(stream)


class TakesBeforeItGives(StreamMutant):
    """CANCEL-3"""

    def spoil(self, stream: Stream) -> Stream:
        class Careless(Spoiled):
            async def __anext__(self) -> ClusterEvent:
                event = await anext(self.stream)
                await trio.lowlevel.checkpoint()
                return event

        return Careless(stream)


class OrderMutant(MockClusterManager):
    """Lets a subclass do an order its own way."""

    async def order(self, node_id: NodeId, change: Callable[[Node], Node]) -> None:
        await trio.lowlevel.checkpoint()
        self.world.update_node(change(self._node(node_id)))


class IgnoresCordon(OrderMutant):
    """CORDON-1"""

    async def cordon_node(self, node_id: NodeId, /) -> None:
        await self.order(node_id, lambda node: node)


class CordonToggles(OrderMutant):
    """CORDON-2"""

    async def cordon_node(self, node_id: NodeId, /) -> None:
        await self.order(node_id, lambda node: evolve(node, cordoned=not node.cordoned, drain=None))


class CordonEndsDrain(OrderMutant):
    """CORDON-2"""

    async def cordon_node(self, node_id: NodeId, /) -> None:
        await self.order(node_id, lambda node: evolve(node, cordoned=True, drain=None))


class CordonsWhatIsNotThere(OrderMutant):
    """CORDON-3"""

    async def cordon_node(self, node_id: NodeId, /) -> None:
        if await self.get_node(node_id) is not None:
            await super().cordon_node(node_id)


class ForgetsOrders(MockClusterManager):
    """CORDON-4"""

    def __init__(self, world: ClusterWorld) -> None:
        super().__init__(world)
        for node in world.list_nodes():
            world.update_node(evolve(node, cordoned=False, drain=None))


class NeverForgetsOrders(MockClusterManager):
    """CORDON-4"""

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


class CordonChangesStatus(OrderMutant):
    """CORDON-5"""

    async def cordon_node(self, node_id: NodeId, /) -> None:
        await self.order(node_id, lambda node: evolve(node, cordoned=True, status=NodeStatus.NOT_READY))


class OrdersAreSecret(StreamMutant):
    """CORDON-5"""

    def spoil(self, stream: Stream) -> Stream:
        return Spoiled(stream, lambda event: [] if isinstance(event, NodeUpdated) and event.node.cordoned else [event])


class DrainsByHalves(OrderMutant):
    """CORDON-6"""

    async def drain_node(self, node_id: NodeId, /, *, reason: str, deadline: datetime | None = None) -> None:
        await self.cordon_node(node_id)
        await super().drain_node(node_id, reason=reason, deadline=deadline)


class UncordonsByHalves(OrderMutant):
    """CORDON-6"""

    async def uncordon_node(self, node_id: NodeId, /) -> None:
        await self.order(node_id, lambda node: evolve(node, drain=None))
        await super().uncordon_node(node_id)


class OnlyCordons(OrderMutant):
    """DRAIN-1"""

    async def drain_node(self, node_id: NodeId, /, *, reason: str, deadline: datetime | None = None) -> None:
        await self.cordon_node(node_id)


class InventsADeadline(OrderMutant):
    """DRAIN-1"""

    async def drain_node(self, node_id: NodeId, /, *, reason: str, deadline: datetime | None = None) -> None:
        await super().drain_node(node_id, reason=reason, deadline=deadline or datetime(2100, 1, 1, tzinfo=UTC))


class KeepsTheFirstDrain(OrderMutant):
    """DRAIN-2"""

    async def drain_node(self, node_id: NodeId, /, *, reason: str, deadline: datetime | None = None) -> None:
        if self._node(node_id).drain is None:
            await super().drain_node(node_id, reason=reason, deadline=deadline)


class DrainsWhatIsNotThere(OrderMutant):
    """DRAIN-3"""

    async def drain_node(self, node_id: NodeId, /, *, reason: str, deadline: datetime | None = None) -> None:
        if await self.get_node(node_id) is not None:
            await super().drain_node(node_id, reason=reason, deadline=deadline)


class AcceptsAnyDrain(OrderMutant):
    """DRAIN-4"""

    async def drain_node(self, node_id: NodeId, /, *, reason: str, deadline: datetime | None = None) -> None:
        await self.order(
            node_id, lambda node: evolve(node, cordoned=True, drain=Drain(reason=reason, deadline=deadline))
        )


class LeavesDrainedNodes(OrderMutant):
    """UNCORDON-1"""

    async def uncordon_node(self, node_id: NodeId, /) -> None:
        if self._node(node_id).drain is None:
            await super().uncordon_node(node_id)


class UncordonLeavesATrace(OrderMutant):
    """UNCORDON-2"""

    async def uncordon_node(self, node_id: NodeId, /) -> None:
        await self.order(node_id, lambda node: evolve(node, cordoned=False, drain=None, labels={"uncordoned": "yes"}))


class UncordonsWhatIsNotThere(OrderMutant):
    """UNCORDON-3"""

    async def uncordon_node(self, node_id: NodeId, /) -> None:
        if await self.get_node(node_id) is not None:
            await super().uncordon_node(node_id)


def clause_of(check_id: str) -> str:
    return "-".join(check_id.split("-")[:2])


CLAUSES = {clause_of(check_id) for check_id in CHECK_IDS}
MUTANTS: list[MutantKind] = [
    kind for kind in list(globals().values()) if isinstance(kind, type) and kind.__doc__ in CLAUSES
]


def opens(kind: MutantKind) -> Factory[ClusterUnderTest]:
    @asynccontextmanager
    async def factory() -> AsyncIterator[ClusterUnderTest]:
        world = ClusterWorld(backlog=3)

        async def add(node: Node) -> None:
            world.add_node(node)

        async def update(node: Node) -> None:
            world.update_node(node)

        async def remove(node_id: NodeId) -> None:
            world.remove_node(node_id)

        async def reopen() -> ClusterManager:
            return kind(world)

        yield ClusterUnderTest(
            manager=kind(world), add_node=add, update_node=update, remove_node=remove, reopen=reopen, many_changes=50
        )

    return factory


def failed_checks(kind: MutantKind) -> set[str]:
    failed = set()
    for check in checks(opens(kind), examples=15, shrink=False):
        if clause_of(check.id) != kind.__doc__:
            continue
        try:
            check()
        except unittest.SkipTest:
            continue
        except (AssertionError, OrchestrationError):
            failed.add(check.id)
    return failed


FAILED: dict[str, set[str]] = {}


@pytest.mark.parametrize("kind", MUTANTS, ids=lambda kind: f"mutant-{kind.__doc__}-{kind.__name__}")
def test_each_mutant_fails_its_own_clause(kind: MutantKind) -> None:
    FAILED[kind.__name__] = failed_checks(kind)
    assert FAILED[kind.__name__], f"{kind.__name__} passes {kind.__doc__}"


def test_every_clause_has_a_mutant() -> None:
    assert {kind.__doc__ for kind in MUTANTS} == CLAUSES


@pytest.mark.slow
def test_every_check_fails_for_some_mutant_of_its_clause() -> None:
    """A check that no wrong manager fails proves nothing."""
    failed = set().union(*(FAILED.get(kind.__name__) or failed_checks(kind) for kind in MUTANTS))
    assert sorted(set(CHECK_IDS) - failed) == []
