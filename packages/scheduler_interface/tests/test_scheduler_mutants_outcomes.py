"""Schedulers that learn in wrong ways: each fails the clause that it breaks."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import ClassVar

import pytest
from attrs import evolve
from orchestrion.scheduler_interface import (
    ClusterView,
    FullScanScheduler,
    InstanceOutcome,
    NodeView,
    SchedulingRequest,
    SupportsOutcomes,
)
from orchestrion.shared_types import Node

from .scheduler_mutants import AbleMutant, Decisions, MutantKind, Mutants, failed_checks

MUTANTS = Mutants()


class Told(AbleMutant):
    """The scheduler with all abilities, told of outcomes."""

    def __init__(self) -> None:
        self.plain = FullScanScheduler()

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        asked, seen = self.before(request, view)
        return self.after(request, view, await self.plain.schedule(asked, seen))

    def observe(self, outcomes: Iterable[InstanceOutcome], /, *, now_seconds: float) -> None:
        self.plain.observe(outcomes, now_seconds=now_seconds)

    def prepare(self) -> None:
        self.plain.prepare()

    @property
    def lessons(self) -> int:
        return self.plain.lessons

    def remembered(self) -> bytes:
        return self.plain.remembered()

    def recall(self, data: bytes, /) -> None:
        self.plain.recall(data)


@MUTANTS.breaks("OUTCOME-1")
class EveryThirdOneIsDeaf(Told):
    _made: ClassVar[count[int]] = count()

    def __init__(self) -> None:
        super().__init__()
        self._deaf = next(self._made) % 3 == 1

    def observe(self, outcomes: Iterable[InstanceOutcome], /, *, now_seconds: float) -> None:
        if not self._deaf:
            super().observe(outcomes, now_seconds=now_seconds)


@MUTANTS.breaks("OUTCOME-1")
class ForgivesWhenAsked(Told):
    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> Decisions:
        decisions = await super().schedule(request, view)
        self.plain = FullScanScheduler()
        return decisions


@MUTANTS.breaks("OUTCOME-2")
class CountsEachTelling(Told):
    """A node is forgiven that is told of twice."""

    def __init__(self) -> None:
        super().__init__()
        self._tellings = 0

    def observe(self, outcomes: Iterable[InstanceOutcome], /, *, now_seconds: float) -> None:
        self._tellings += 1
        if self._tellings == 2:
            self.plain = FullScanScheduler()
            return
        super().observe(outcomes, now_seconds=now_seconds)


@MUTANTS.breaks("OUTCOME-3")
class ShunsFailingNodes(Told):
    def views(self, request: SchedulingRequest, view: ClusterView) -> Iterable[NodeView]:
        return [each for each in view if each.node.id not in self.plain._starts.failing]


@MUTANTS.breaks("OUTCOME-3")
class TakesCordonedNodesForWantOfBetter(Told):
    """Where a node fails, it takes others that are not open for work."""

    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, cordoned=False, drain=None) if self.plain._starts.failing else node


@MUTANTS.breaks("OUTCOME-4")
class KeepsAll(Told):
    def __init__(self) -> None:
        super().__init__()
        self._all: list[str] = []

    def observe(self, outcomes: Iterable[InstanceOutcome], /, *, now_seconds: float) -> None:
        told = list(outcomes)
        self._all += [str(each.slot) for each in told]
        super().observe(told, now_seconds=now_seconds)

    def remembered(self) -> bytes:
        return super().remembered() + " ".join(self._all).encode()


@MUTANTS.breaks("OUTCOME-5")
class WantsToKnowWhatWasAround(Told):
    def observe(self, outcomes: Iterable[InstanceOutcome], /, *, now_seconds: float) -> None:
        told = list(outcomes)
        if any(each.around is None for each in told):
            msg = "what was around?"
            raise LookupError(msg)
        super().observe(told, now_seconds=now_seconds)


@MUTANTS.breaks("OUTCOME-5")
class LacksWhatItPromises(AbleMutant):
    """It says that it learns, and can't be told."""


@MUTANTS.breaks("OUTCOME-6")
class PreparesByForgetting(Told):
    def prepare(self) -> None:
        self.plain = FullScanScheduler()


@MUTANTS.breaks("OUTCOME-7")
class NeverHasNews(Told):
    @property
    def lessons(self) -> int:
        return 7


@MUTANTS.breaks("OUTCOME-8")
class RecallsNothing(Told):
    def recall(self, data: bytes, /) -> None:
        FullScanScheduler().recall(data)


@MUTANTS.breaks("OUTCOME-8")
class RecallsOnlyTheFirstTime(Told):
    def recall(self, data: bytes, /) -> None:
        if not self.lessons:
            super().recall(data)
        else:
            FullScanScheduler().recall(data)


@MUTANTS.breaks("OUTCOME-9")
class TakesWhatItGets(Told):
    def recall(self, data: bytes, /) -> None:
        try:
            super().recall(data)
        except ValueError:
            self.plain = FullScanScheduler()


@MUTANTS.breaks("OUTCOME-9")
class ForgetsBeforeItLooks(Told):
    def recall(self, data: bytes, /) -> None:
        self.plain = FullScanScheduler()
        super().recall(data)


def test_the_scheduler_with_all_abilities_can_be_told() -> None:
    assert isinstance(FullScanScheduler(), SupportsOutcomes)


@pytest.mark.parametrize(("clause", "kind"), MUTANTS.parameters())
def test_the_kit_kills(clause: str, kind: MutantKind) -> None:
    assert failed_checks(clause, kind)
