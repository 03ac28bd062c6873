"""The packing scheduler decides as one that looks at all nodes for each slot, with all constraints on.

Each seed is a history: several requests on a cluster that changes. `ORCHESTRION_SEEDS_OF_ORACLE` is how many there are.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
import trio
from attrs import evolve
from orchestrion.scheduler_interface import (
    AssignNode,
    FullScanScheduler,
    Predicate,
    StaticClusterView,
    ViewKeeper,
    node_view,
    with_decisions,
)
from orchestrion.scheduler_packing import PackingScheduler

from .packing_histories import History, after, follow

SEEDS = int(os.environ.get("ORCHESTRION_SEEDS_OF_ORACLE", "1000"))


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_every_decision_equals_that_of_a_look_at_all_nodes(block: int) -> None:
    async def compare() -> None:
        for seed in range(block, SEEDS, 10):
            history = History(seed)
            view = StaticClusterView(node_view(node) for node in history.nodes)
            ours, oracle = PackingScheduler(), FullScanScheduler()
            for step in history.steps():
                expected = await oracle.schedule(step.request, view)
                assert await ours.schedule(step.request, view) == expected, f"seed {seed}: {step.request}"
                view = after(with_decisions(view, step.request.workload, expected), step)

    trio.run(compare)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_decisions_on_a_view_that_is_kept_change_by_change_are_the_same(block: int) -> None:
    async def compare() -> None:
        for seed in range(block, SEEDS, 10):
            history = History(seed)
            view = StaticClusterView(node_view(node) for node in history.nodes)
            keeper, ours, oracle = ViewKeeper(), PackingScheduler(), FullScanScheduler()
            for step in history.steps():
                follow(keeper, view)
                expected = await oracle.schedule(step.request, view)
                assert await ours.schedule(step.request, keeper.view()) == expected, f"seed {seed}: {step.request}"
                view = after(with_decisions(view, step.request.workload, expected), step)

    trio.run(compare)


def test_histories_have_placements_beside_refusals_for_every_reason() -> None:
    """Else the comparison above would compare little."""
    decided: Counter[bool] = Counter()
    refused: Counter[Predicate] = Counter()

    async def count() -> None:
        for seed in range(300):
            history = History(seed)
            view = StaticClusterView(node_view(node) for node in history.nodes)
            for step in history.steps():
                decisions = await FullScanScheduler().schedule(evolve(step.request, explain=True), view)
                for decision in decisions:
                    decided[isinstance(decision, AssignNode)] += 1
                    if isinstance(decision, AssignNode) and decision.explanation is not None:
                        refused.update(group.predicate for group in decision.explanation.groups)
                view = after(with_decisions(view, step.request.workload, decisions), step)

    trio.run(count)
    assert min(decided.values()) >= decided.total() // 5, decided
    assert {predicate for predicate in Predicate if refused[predicate] < 10} == {Predicate.UNSUPPORTED}, refused
