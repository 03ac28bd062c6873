"""Expected fill: where slots go, and that it depends on nothing but the state."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys

import pytest
from librt.vecs import vec
from mypy_extensions import i64
from orchestrion.scheduler_packing._core.efill import ONE, ExpectedFill
from orchestrion.scheduler_packing._core.gpu_board import Board
from orchestrion.scheduler_packing._core.gpu_fleet import EMPTY, WHOLE, Demand, GpuFleet
from orchestrion.scheduler_packing._gpu_plan import MAX_TABLES, NodeType, Wish, plan

ROOMY = NodeType(96_000, 1 << 20, 4, "roomy", 3)
TIGHT = NodeType(16_000, 1 << 20, 4, "tight", 3)


def fleet_of(types: list[NodeType]) -> GpuFleet:
    numbers = [number for number, type_ in enumerate(types) for _ in range(type_.nodes)]
    fleet = GpuFleet(
        vec[i64](numbers), vec[i64]([types[each].gpus for each in numbers]), max(type_.gpus for type_ in types)
    )
    for position, number in enumerate(numbers):
        type_ = types[number]
        fleet.fill(position, type_.cpu, type_.memory, vec[i64]([WHOLE] * type_.gpus))
    return fleet


def demand_of(wish: Wish) -> Demand:
    return Demand(wish.cpu, wish.memory, wish.whole, vec[i64](wish.shares))


def best(fleet: GpuFleet, policy: ExpectedFill, wish: Wish) -> int:
    board = Board(policy, demand_of(wish), vec[i64]([0] * fleet.count))
    board.catch_up()
    return board.best()


BOTH = frozenset({0, 1})


def test_of_a_mix_of_nothing_the_first_node_that_fits_is_taken() -> None:
    fleet = fleet_of([TIGHT, ROOMY])
    policy = plan(fleet, [TIGHT, ROOMY], {}, once=1)
    assert best(fleet, policy, Wish(1000, 0, 1, (), BOTH)) == 0
    assert best(fleet, policy, Wish(20_000, 0, 1, (), BOTH)) == 3


def test_what_takes_much_cpu_goes_where_cpu_is_over() -> None:
    types = [TIGHT, ROOMY]
    fleet = fleet_of(types)
    hungry, modest = Wish(12_000, 0, 1, (), BOTH), Wish(2000, 0, 1, (), BOTH)
    policy = plan(fleet, types, {hungry: 1, modest: 3})
    assert fleet.types[best(fleet, policy, hungry)] == 1


def test_a_share_goes_where_what_it_leaves_is_of_use() -> None:
    types = [NodeType(96_000, 1 << 20, 1, "a", 2)]
    fleet = fleet_of(types)
    only = frozenset({0})
    share, other = Wish(1000, 0, 0, (300,), only), Wish(1000, 0, 0, (500,), only)
    policy = plan(fleet, types, {share: 1, other: 1})
    fleet.fill(0, 90_000, 1 << 20, vec[i64]([500]))
    fleet.fill(1, 90_000, 1 << 20, vec[i64]([600]))
    assert best(fleet, policy, share) == 1
    assert best(fleet, policy, other) == 0


def test_the_gpu_for_a_share_is_chosen_by_what_it_leaves_too() -> None:
    types = [NodeType(96_000, 1 << 20, 3, "a", 1)]
    fleet = fleet_of(types)
    only = frozenset({0})
    policy = plan(fleet, types, {Wish(0, 0, 0, (300,), only): 1, Wish(0, 0, 0, (500,), only): 1})
    fleet.fill(0, 90_000, 1 << 20, vec[i64]([500, 600, WHOLE]))
    policy.catch_up()
    assert policy.residue(0, Demand(0, 0, 0, vec[i64]([300]))) == 600
    assert policy.residue(0, Demand(0, 0, 0, vec[i64]([500]))) == 500
    assert policy.residue(0, Demand(0, 0, 0, vec[i64]([700]))) == WHOLE


def test_what_may_go_anywhere_stays_off_the_nodes_that_others_need() -> None:
    wanted, common = NodeType(64_000, 1 << 20, 4, "wanted", 2), NodeType(64_000, 1 << 20, 4, "common", 2)
    types = [wanted, common]
    fleet = fleet_of(types)
    anywhere, choosy = Wish(4000, 0, 1, (), BOTH), Wish(4000, 0, 1, (), frozenset({0}))
    policy = plan(fleet, types, {anywhere: 1, choosy: 1})
    assert fleet.types[best(fleet, policy, anywhere)] == 1
    assert policy.pressure_of(0) > ONE > policy.pressure_of(1)


def test_a_node_that_is_the_last_for_large_demands_is_not_broken_up() -> None:
    types = [NodeType(64_000, 1 << 20, 16, "a", 2)]
    fleet = fleet_of(types)
    only = frozenset({0})
    large, small = Wish(16_000, 0, 16, (), only), Wish(1000, 0, 1, (), only)
    policy = plan(fleet, types, {large: 1, small: 4})
    fleet.take(1, demand_of(small), WHOLE)
    assert best(fleet, policy, small) == 1
    cpu_only = Wish(1000, 0, 0, (), only)
    assert best(fleet, policy, cpu_only) == 1


@pytest.mark.parametrize("turnover", [0, ONE])
def test_where_slots_leave_nodes_that_are_nearly_empty_are_let_run_empty(turnover: int) -> None:
    types = [NodeType(64_000, 1 << 20, 8, "a", 2)]
    fleet = fleet_of(types)
    only = frozenset({0})
    large, small = Wish(8000, 0, 8, (), only), Wish(4000, 0, 1, (), only)
    policy = plan(fleet, types, {large: 1, small: 8}, turnover=turnover)
    fleet.fill(0, 60_000, 1 << 20, vec[i64]([WHOLE] * 7))
    fleet.fill(1, 34_000, 1 << 20, vec[i64]([WHOLE] * 4))
    assert best(fleet, policy, small) == (1 if turnover else 0)


def test_demands_for_unknown_models_are_allowed_for() -> None:
    types = [NodeType(64_000, 1 << 20, 4, "few", 1), NodeType(64_000, 1 << 20, 4, "many", 9)]
    anywhere = Wish(4000, 0, 1, (), BOTH)
    pressures = []
    for once in (0, 1):
        fleet = fleet_of(types)
        policy = plan(fleet, types, {anywhere: 1}, once=once)
        policy.catch_up()
        pressures.append((policy.pressure_of(0), policy.pressure_of(1)))
    assert pressures[0][0] == pressures[0][1]
    assert pressures[1][0] > pressures[1][1]


def test_there_are_only_so_many_tables_whatever_is_asked_for() -> None:
    number = MAX_TABLES + 5
    types = [NodeType(4000, 1 << 20, 1, str(each), 1) for each in range(number)]
    fleet = fleet_of(types)
    wishes = {Wish(1000, 0, 1, (), frozenset({each})): 1 for each in range(number)}
    policy = plan(fleet, types, wishes, once=1)
    policy.catch_up()
    assert all(policy.expected_of(each) > 0 for each in range(number))


MIXED = [ROOMY, TIGHT, NodeType(64_000, 1 << 20, 12, "large", 6), NodeType(32_000, 1 << 20, 0, "", 4)]
ANY = frozenset(range(4))
WISHES = {
    Wish(1000, 1, 1, (), ANY): 5,
    Wish(2500, 1, 0, (333,), ANY): 4,
    Wish(500, 1, 0, (650,), frozenset({0, 2})): 4,
    Wish(500, 1, 0, (650, 100), ANY): 1,
    Wish(8000, 1, 8, (), ANY): 1,
    Wish(3000, 1, 0, (), ANY): 3,
}


def walk(seed: int, steps: int) -> tuple[GpuFleet, ExpectedFill, list[tuple[int, int]]]:
    """Place and release at random; return where each slot went, and to which GPU."""
    chance = random.Random(seed)
    fleet = fleet_of(MIXED)
    policy = plan(fleet, MIXED, WISHES, once=1, turnover=ONE)
    wishes = [wish for wish in WISHES if len(wish.shares) < 2]
    boards = {
        wish: Board(
            policy,
            demand_of(wish),
            vec[i64]([0 if fleet.types[each] in wish.types else -1 for each in range(fleet.count)]),
        )
        for wish in wishes
    }
    held: list[tuple[int, Demand, int]] = []
    places: list[tuple[int, int]] = []
    for _ in range(steps):
        if held and chance.random() < 0.3:
            position, demand, residue = held.pop()
            fleet.release(position, demand, residue)
            continue
        board = boards[chance.choice(wishes)]
        board.catch_up()
        position = board.best()
        places.append((position, board.score))
        if position != EMPTY:
            residue = policy.residue(position, board.demand)
            fleet.take(position, board.demand, residue)
            held.append((position, board.demand, residue - sum(board.demand.shares)))
    return fleet, policy, places


@pytest.mark.parametrize("seed", range(3))
def test_what_is_expected_depends_on_the_state_and_not_on_how_it_came_about(seed: int) -> None:
    fleet, policy, _ = walk(seed, 150)
    policy.catch_up()
    fresh = plan(fleet, MIXED, WISHES, once=1, turnover=ONE)
    fresh.catch_up()
    for type_ in range(len(MIXED)):
        assert policy.expected_of(type_) == fresh.expected_of(type_)
        assert policy.pressure_of(type_) == fresh.pressure_of(type_)
    assert list(policy.spare) == list(fresh.spare)


def digest(seeds: range) -> str:
    return hashlib.sha256(repr([walk(seed, 150)[2] for seed in seeds]).encode()).hexdigest()


@pytest.mark.slow
def test_the_interpreted_core_decides_the_same() -> None:
    environment = {**os.environ, "ORCHESTRION_PURE": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    interpreted = subprocess.run(
        [sys.executable, __file__], env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert interpreted.split() == ["False", digest(range(6))]


if __name__ == "__main__":
    from orchestrion.scheduler_packing import is_compiled

    print(is_compiled(), digest(range(6)))
