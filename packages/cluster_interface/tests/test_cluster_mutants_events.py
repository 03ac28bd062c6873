"""Managers that are wrong about what they tell of changes: each fails the clause that it breaks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from attrs import evolve
from orchestrion.cluster_interface import (
    ClusterClosed,
    ClusterEvent,
    NodeAdded,
    NodeUpdated,
    Resync,
    Snapshot,
)
from orchestrion.mocks import ClusterWorld, MockClusterManager
from orchestrion.shared_types import Node, NodeId

from .cluster_mutants import MutantKind, Mutants, Spoiled, Stream, StreamMutant, failed_checks

MUTANTS = Mutants()


@MUTANTS.breaks("EVENTS-1")
class NoSnapshot(StreamMutant):
    def spoil(self, stream: Stream) -> Stream:
        return Spoiled(stream, lambda event: [] if isinstance(event, Snapshot) else [event])


@MUTANTS.breaks("SNAPSHOT-1")
class UnsortedSnapshot(StreamMutant):
    def spoil(self, stream: Stream) -> Stream:
        return Spoiled(
            stream,
            lambda event: [Snapshot(event.nodes[::-1], event.revision) if isinstance(event, Snapshot) else event],
        )


@MUTANTS.breaks("EVENTS-2")
class SameRevision(StreamMutant):
    def spoil(self, stream: Stream) -> Stream:
        return Spoiled(stream, lambda event: [event if isinstance(event, Resync) else evolve(event, revision=1)])


def _fine(event: ClusterEvent) -> ClusterEvent:
    """Make room for another revision before each."""
    return event if isinstance(event, Resync) else evolve(event, revision=2 * event.revision)


@MUTANTS.breaks("EVENTS-3")
class StatesThatNeverWere(StreamMutant):
    def spoil(self, stream: Stream) -> Stream:
        def turn(event: ClusterEvent) -> list[ClusterEvent]:
            if not isinstance(event, NodeUpdated):
                return [_fine(event)]
            half = evolve(event.node, name=f"{event.node.name}, changing")
            return [NodeUpdated(half, 2 * event.revision - 1), _fine(event)]

        return Spoiled(stream, turn)


@MUTANTS.breaks("EVENTS-3")
class StatesThatArePast(StreamMutant):
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


@MUTANTS.breaks("EVENTS-4")
class LosesEveryOtherChange(StreamMutant):
    def spoil(self, stream: Stream) -> Stream:
        count = 0

        def turn(event: ClusterEvent) -> list[ClusterEvent]:
            nonlocal count
            count += not isinstance(event, Snapshot | Resync)
            return [event] if isinstance(event, Snapshot | Resync) or count % 2 == 0 else []

        return Spoiled(stream, turn)


@MUTANTS.breaks("EVENTS-5")
class UpdatesAreAdditions(StreamMutant):
    def spoil(self, stream: Stream) -> Stream:
        return Spoiled(
            stream, lambda event: [NodeAdded(event.node, event.revision) if isinstance(event, NodeUpdated) else event]
        )


@MUTANTS.breaks("EVENTS-5")
class TellsNothingNew(StreamMutant):
    def spoil(self, stream: Stream) -> Stream:
        def turn(event: ClusterEvent) -> list[ClusterEvent]:
            if not isinstance(event, NodeUpdated):
                return [_fine(event)]
            return [evolve(event, revision=2 * event.revision - 1), _fine(event)]

        return Spoiled(stream, turn)


@MUTANTS.breaks("EVENTS-6")
class ResyncIsSilent(StreamMutant):
    def spoil(self, stream: Stream) -> Stream:
        return Spoiled(stream, lambda event: [] if isinstance(event, Resync) else [event])


@MUTANTS.breaks("EVENTS-6")
class ResyncGoesBack(StreamMutant):
    def spoil(self, stream: Stream) -> Stream:
        first = True

        def turn(event: ClusterEvent) -> list[ClusterEvent]:
            nonlocal first
            if isinstance(event, Snapshot) and not first:
                return [evolve(event, revision=-1)]
            first = False
            return [event]

        return Spoiled(stream, turn)


@MUTANTS.breaks("EVENTS-6")
class ResyncBringsNothing(StreamMutant):
    def spoil(self, stream: Stream) -> Stream:
        first = True

        def turn(event: ClusterEvent) -> list[ClusterEvent]:
            nonlocal first
            if isinstance(event, Snapshot) and not first:
                return [NodeAdded(node, event.revision) for node in event.nodes]
            first = False
            return [event]

        return Spoiled(stream, turn)


@MUTANTS.breaks("EVENTS-7")
class WaitsForSlowReaders(StreamMutant):
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


@MUTANTS.breaks("EVENTS-8")
class OneStreamTakesItAll(StreamMutant):
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


@MUTANTS.breaks("EVENTS-8")
class LeavingEndsAll(MockClusterManager):
    left = False

    @asynccontextmanager
    async def subscribe_to_events(self) -> AsyncIterator[Stream]:
        async with super().subscribe_to_events() as stream:
            yield Spoiled(stream, lambda event: [] if self.left else [event])
        self.left = True


@MUTANTS.breaks("EVENTS-9")
class StopsWhenClosed(StreamMutant):
    def spoil(self, stream: Stream) -> Stream:
        class Stops(Spoiled):
            async def __anext__(self) -> ClusterEvent:
                try:
                    return await super().__anext__()
                except ClusterClosed:
                    raise StopAsyncIteration from None

        return Stops(stream)


@MUTANTS.breaks("EVENTS-9")
class ClosesWithoutWaking(MockClusterManager):
    async def aclose(self) -> None:
        self._closed = True
        await trio.lowlevel.checkpoint()


@MUTANTS.breaks("CHECKPOINT-1")
class StepsWithoutCheckpoint(StreamMutant):
    def spoil(self, stream: Stream) -> Stream:
        class Quick(Spoiled):
            async def __anext__(self) -> ClusterEvent:
                with trio.CancelScope(shield=True):
                    self.ready.append(await anext(self.stream))
                return self.ready.pop()

        return Quick(stream)


@MUTANTS.breaks("CANCEL-3")
class EndsWhenCancelled(StreamMutant):
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


@MUTANTS.breaks("CANCEL-3")
class TakesBeforeItGives(StreamMutant):
    def spoil(self, stream: Stream) -> Stream:
        class Careless(Spoiled):
            async def __anext__(self) -> ClusterEvent:
                event = await anext(self.stream)
                await trio.lowlevel.checkpoint()
                return event

        return Careless(stream)


@pytest.mark.parametrize(("clause", "kind"), MUTANTS.parameters())
def test_the_kit_finds_out(clause: str, kind: MutantKind) -> None:
    assert failed_checks(clause, kind)
