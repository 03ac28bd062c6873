"""What profiles prefer, and which there are."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import trio
from orchestrion.scheduler_interface import AssignNode, StaticClusterView, node_view, with_decisions
from orchestrion.scheduler_packing import Mix, PackingLedger, PackingScheduler, Profile, ProfileName

from .packing_histories import History, after
from .packing_naive import Case, emptiest_first, follow, lowest_first

SEEDS = int(os.environ.get("ORCHESTRION_SEEDS_OF_ORACLE", "1000")) // 5
RULES: list[tuple[ProfileName, Callable[[Case], object]]] = [
    ("spread", emptiest_first),
    ("throughput", lowest_first),
]


async def compare(seeds: range, profile: ProfileName, rule: Callable[[Case], object]) -> None:
    for seed in seeds:
        history = History(seed)
        view = StaticClusterView(node_view(node) for node in history.nodes)
        scheduler = PackingScheduler(profile=profile)
        for step in history.steps():
            decisions = await scheduler.schedule(step.request, view)
            await follow(step.request, view, decisions, rule)
            view = after(with_decisions(view, step.request.workload, decisions), step)


@pytest.mark.parametrize(("profile", "rule"), RULES)
def test_a_profile_decides_by_its_rule(profile: ProfileName, rule: Callable[[Case], object]) -> None:
    trio.run(compare, range(10), profile, rule)


@pytest.mark.slow
@pytest.mark.parametrize(("profile", "rule"), RULES)
def test_a_profile_decides_by_its_rule_in_every_history(profile: ProfileName, rule: Callable[[Case], object]) -> None:
    trio.run(compare, range(10, SEEDS), profile, rule)


MINE = Profile(
    name="mine",
    weights={"balance": 2, "topology-spread": 1, "instance-affinity": 1, "gpu-locality": 1},
    ties="round-robin",
)


@pytest.mark.parametrize("profile", ["binpack", "spread", "throughput", MINE])
@pytest.mark.parametrize("seed", range(6))
def test_the_ledger_decides_as_the_scheduler_does(profile: ProfileName | Profile, seed: int) -> None:
    history = History(seed)
    view = StaticClusterView(node_view(node) for node in history.nodes)
    scheduler, ledger = PackingScheduler(profile=profile), PackingLedger(history.nodes, profile=profile)
    for step in history.steps():
        decisions = trio.run(scheduler.schedule, step.request, view)
        view = with_decisions(view, step.request.workload, decisions)
        expected = [each.node_id if isinstance(each, AssignNode) else None for each in decisions]
        assert ledger.place([step.request]).node_ids == expected
        if step.leaving:
            first = next(iter(view))
            ledger.release(list(first.instances))
            view = view.changed(node_view(first.node))


@pytest.mark.parametrize(
    ("profile", "mix", "message"),
    [
        ("cheap", None, "no such profile: 'cheap'; there are binpack, spread, gpu, throughput"),
        ("sprea", None, "no such profile: 'sprea', did you mean 'spread'"),
        ("binpack", Mix(), "'binpack' has no use for mix="),
    ],
)
def test_what_does_not_go_together_is_refused(profile: ProfileName, mix: Mix | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PackingScheduler(profile=profile, mix=mix)


@pytest.mark.parametrize(
    ("name", "weights", "ties", "message"),
    [
        ("mine", {"binpak": 1}, "lowest-id", "no such plug-in of profile 'mine': 'binpak', did you mean 'binpack'"),
        ("mine", {"binpack": -1}, "lowest-id", "the weight of 'binpack' is -1; it has to be a whole number, 0 to 1000"),
        ("mine", {"binpack": 1001}, "lowest-id", "the weight of 'binpack' is 1001"),
        ("mine", {"binpack": 0.5}, "lowest-id", "the weight of 'binpack' is 0.5"),
        ("mine", {"binpack": True}, "lowest-id", "the weight of 'binpack' is True"),
        ("mine", {}, "random", "no such rule for ties of profile 'mine': 'random'"),
        ("spread", {}, "lowest-id", "can't be called 'spread'"),
        ("", {}, "lowest-id", "can't be called ''"),
    ],
)
def test_a_profile_that_makes_no_sense_is_refused(name: str, weights: dict[str, int], ties: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Profile(name=name, weights=weights, ties=ties)  # type: ignore[arg-type] # what is wrong is the point
