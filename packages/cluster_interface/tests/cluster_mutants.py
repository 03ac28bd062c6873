"""Managers that are wrong on purpose: what they derive from, and what the kit says of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import trio
from orchestrion import conformance_kit
from orchestrion.cluster_interface import (
    ClusterEvent,
    ClusterManager,
)
from orchestrion.cluster_interface.conformance import ClusterUnderTest, checks
from orchestrion.conformance_kit import Factory, FailedChecks
from orchestrion.mocks import ClusterWorld, MockClusterManager
from orchestrion.shared_types import Node, NodeId, OrchestrationError

__all__ = ["MutantKind", "Mutants", "Spoiled", "Stream", "StreamMutant", "Turn", "failed_checks"]

Stream = AsyncIterator[ClusterEvent]
MutantKind = Callable[[ClusterWorld], ClusterManager]
Turn = Callable[[ClusterEvent], Iterable[ClusterEvent]]


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


Mutants = conformance_kit.Mutants[MutantKind]

failed_checks = FailedChecks[MutantKind](
    lambda kind: checks(opens(kind), examples=15, shrink=False), errors=(AssertionError, OrchestrationError)
)
