"""A profile of one's own decides by the weighted sum that is documented, with all constraints on."""

from __future__ import annotations

import os
import random
from typing import get_args

import pytest
import trio
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from orchestrion.scheduler_interface import AssignNode, StaticClusterView, node_view, with_decisions
from orchestrion.scheduler_packing import Learned, NodeHistory, PackingScheduler, PlugIn, Profile, Ties
from orchestrion.shared_types import NodeId

from .packing_histories import History, after
from .packing_naive import Case, Weighted, follow

SEEDS = int(os.environ.get("ORCHESTRION_SEEDS_OF_ORACLE", "1000"))
PLUG_INS = [each for each in get_args(PlugIn) if each != "fragmentation"]

profiles = st.builds(
    Profile,
    name=st.just("mine"),
    weights=st.dictionaries(st.sampled_from(PLUG_INS), st.sampled_from([0, 1, 2, 3, 1000]), max_size=6),
    ties=st.sampled_from(get_args(Ties)),
)
seeds = st.integers(0, 2**32)


def a_lesson(seed: int) -> Learned:
    chance = random.Random(seed)
    weights = [chance.randint(-(2**18), 2**18) for _ in range(8)]
    return Learned.of_value({"schema": 1, "weights": weights, "history": [], "pending": 0})


def some_failures(seed: int) -> NodeHistory:
    history, chance = NodeHistory(), random.Random(seed)
    for _ in range(chance.randint(0, 5)):
        history.failed(NodeId(f"n{chance.randint(0, 9)}"), at_seconds=chance.randint(0, 2000))
    history.publish(at_seconds=2000)
    return history


async def compare(profile: Profile, seed: int) -> None:
    learned = a_lesson(seed) if profile.weights.get("learned") else None
    failures = some_failures(seed) if profile.weights.get("node-history") else None
    rule = Weighted(profile, learned.weights if learned else (), failures.lesson if failures else {})
    scheduler = PackingScheduler(profile=profile, learned=learned, history=failures)
    history = History(seed)
    view = StaticClusterView(node_view(node) for node in history.nodes)
    for step in history.steps():
        decisions = await scheduler.schedule(step.request, view)
        await follow(step.request, view, decisions, rule)
        explained = await scheduler.schedule(evolve(step.request, explain=True), view)
        before = view
        for decision, with_reasons in zip(decisions, explained, strict=True):
            if isinstance(decision, AssignNode) and isinstance(with_reasons, AssignNode):
                assert evolve(with_reasons, explanation=None) == evolve(decision, explanation=None)
                assert with_reasons.explanation is not None
                for node_id, parts in with_reasons.explanation.parts.items():
                    node = before.get(node_id)
                    assert node is not None
                    assert parts == rule.parts(Case(step.request.workload, decision.slot, node, before))
            before = with_decisions(before, step.request.workload, [decision])
        view = after(with_decisions(view, step.request.workload, decisions), step)


@pytest.mark.parametrize("seed", range(8))
def test_each_plug_in_gives_the_points_that_are_documented(seed: int) -> None:
    trio.run(compare, Profile(name="all", weights=dict.fromkeys(PLUG_INS, 1)), seed)


@settings(max_examples=5, deadline=None)
@given(profile=profiles, seed=seeds)
def test_every_decision_is_that_of_the_weighted_sum(profile: Profile, seed: int) -> None:
    trio.run(compare, profile, seed)


@pytest.mark.slow
@settings(max_examples=SEEDS // 3, deadline=None)
@given(profile=profiles, seed=seeds)
def test_every_decision_is_that_of_the_weighted_sum_in_many_histories(profile: Profile, seed: int) -> None:
    trio.run(compare, profile, seed)
