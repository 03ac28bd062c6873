"""Managers that are wrong on purpose: what they derive from, and what the kit says of them."""

from __future__ import annotations

import unittest
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest
import trio
from _pytest.mark import ParameterSet
from orchestrion.cluster_interface import (
    ClusterEvent,
    ClusterManager,
)
from orchestrion.cluster_interface.conformance import ClusterUnderTest, checks
from orchestrion.conformance_kit import Factory
from orchestrion.mocks import ClusterWorld, MockClusterManager
from orchestrion.shared_types import Node, NodeId, OrchestrationError

__all__ = ["MutantKind", "Mutants", "Spoiled", "Stream", "StreamMutant", "Turn", "failed_checks"]

Stream = AsyncIterator[ClusterEvent]
MutantKind = Callable[[ClusterWorld], ClusterManager]
Turn = Callable[[ClusterEvent], Iterable[ClusterEvent]]
M = TypeVar("M", bound=MutantKind)


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


class Mutants:
    """The mutants of a module, each with the clause that it must fail."""

    def __init__(self) -> None:
        self.pairs: list[tuple[str, str, MutantKind]] = []

    def breaks(self, clause: str) -> Callable[[M], M]:
        """Register a mutant of this clause."""

        def register(kind: M) -> M:
            self.pairs.append((clause, kind.__name__, kind))
            return kind

        return register

    def parameters(self) -> list[ParameterSet]:
        return [pytest.param(clause, kind, id=f"mutant-{clause}-{name}") for clause, name, kind in self.pairs]


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


_FAILED: dict[tuple[str, MutantKind], frozenset[str]] = {}


def failed_checks(clause: str, kind: MutantKind) -> frozenset[str]:
    """Return the ids of the clause's checks that a mutant fails; it is found out once."""
    if (clause, kind) not in _FAILED:
        _FAILED[clause, kind] = frozenset(_find_failed(clause, kind))
    return _FAILED[clause, kind]


def _find_failed(clause: str, kind: MutantKind) -> Iterator[str]:
    for check in checks(opens(kind), examples=15, shrink=False):
        if check.check.clause == clause and (error := _error_of(check)) is not None:
            assert repr(error) != "AssertionError()", f"{check.id} failed without a word"
            yield check.id


def _error_of(check: Callable[[], None]) -> Exception | None:
    try:
        check()
    except unittest.SkipTest:
        return None
    except (AssertionError, OrchestrationError) as error:
        return error
    return None
