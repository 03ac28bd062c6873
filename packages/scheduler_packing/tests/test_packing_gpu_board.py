"""The best node for a demand, kept up by looking only at what changed."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from librt.vecs import vec
from mypy_extensions import i64
from orchestrion.scheduler_packing._core.fgd import FragmentationDescent, Typical
from orchestrion.scheduler_packing._core.gpu_board import UNFIT, BestFit, Board, FirstFit, Policy, place
from orchestrion.scheduler_packing._core.gpu_fleet import EMPTY, WHOLE, Demand, GpuFleet, has_room
from orchestrion.scheduler_packing._gpu_plan import NodeType, Wish, plan

TYPES = [
    NodeType(16_000, 1 << 20, 4, "a", 40),
    NodeType(8000, 1 << 20, 2, "b", 20),
    NodeType(32_000, 1 << 20, 0, "", 9),
]
ANY = frozenset(range(3))
WISHES = {
    Wish(1000, 1, 1, (), ANY): 5,
    Wish(2000, 1, 0, (300,), ANY): 4,
    Wish(500, 1, 0, (650,), frozenset({0})): 4,
    Wish(8000, 1, 4, (), ANY): 1,
    Wish(3000, 1, 0, (), ANY): 3,
}


def open_fleet() -> GpuFleet:
    order = [number for number, type_ in enumerate(TYPES) for _ in range(type_.nodes)]
    random.Random(1).shuffle(order)
    fleet = GpuFleet(vec[i64](order), vec[i64]([TYPES[each].gpus for each in order]), 4)
    for position, number in enumerate(order):
        type_ = TYPES[number]
        fleet.fill(position, type_.cpu, type_.memory, vec[i64]([WHOLE] * type_.gpus))
    return fleet


def expected_fill(fleet: GpuFleet) -> Policy:
    return plan(fleet, TYPES, WISHES, once=1)


def fragmentation_descent(fleet: GpuFleet) -> Policy:
    typical = Typical()
    for wish, count in WISHES.items():
        share = wish.shares[0] if wish.shares else WHOLE
        typical.add(wish.cpu, wish.gpus, share, count / 17, vec[i64]([int(each in wish.types) for each in range(3)]))
    return FragmentationDescent(fleet, typical)


POLICIES: list[Callable[[GpuFleet], Policy]] = [
    FirstFit,
    lambda fleet: BestFit(fleet, 32_000),
    fragmentation_descent,
    expected_fill,
]


def demand_of(wish: Wish) -> Demand:
    return Demand(wish.cpu, wish.memory, wish.whole, vec[i64](wish.shares))


def scanned(fleet: GpuFleet, policy: Policy, demand: Demand, points: vec[i64]) -> int:
    """The best node by a look at all."""
    policy.catch_up()
    policy.weigh(demand)
    scores = {
        position: policy.gain(position, demand)
        - (points[position] << 21)
        - policy.penalties[2 * fleet.types[position] + policy.spare[position]]
        for position in range(fleet.count)
        if points[position] >= 0 and has_room(fleet, demand, position)
    }
    return max(scores, key=lambda position: (scores[position], -position), default=EMPTY)


@pytest.mark.parametrize("policy_of", POLICIES)
@pytest.mark.parametrize("seed", range(3))
def test_the_board_names_the_node_that_a_look_at_all_finds(policy_of: Callable[[GpuFleet], Policy], seed: int) -> None:
    chance = random.Random(seed)
    fleet = open_fleet()
    policy = policy_of(fleet)
    points = {wish: vec[i64](chance.choices([0, 0, 0, 0, 70, -1], k=fleet.count)) for wish in WISHES}
    boards = {wish: Board(policy, demand_of(wish), points[wish]) for wish in WISHES}
    placed: list[tuple[int, Demand, int]] = []
    for _ in range(200):
        if placed and chance.random() < 0.4:
            position, demand, residue = placed.pop(chance.randrange(len(placed)))
            left = [free for free in residues_of(fleet, position) if free == residue]
            if demand.whole or left or residue == 0:
                fleet.release(position, demand, residue)
            continue
        wish = chance.choice(list(WISHES))
        board = boards[wish]
        best = scanned(fleet, policy, board.demand, points[wish])
        board.catch_up()
        assert board.best() == best
        if best != EMPTY:
            assert board.score_of(best) == board.score
            residue = policy.residue(best, board.demand)
            fleet.take(best, board.demand, residue)
            placed.append((best, board.demand, residue - sum(board.demand.shares)))


def residues_of(fleet: GpuFleet, position: int) -> list[int]:
    start = position * fleet.stride
    return [fleet.residues[at] for at in range(start, start + fleet.partial[position])]


def test_of_equals_the_lowest_position_is_taken_whatever_the_type() -> None:
    fleet = open_fleet()
    board = Board(FirstFit(fleet), Demand(1, 1, 0, vec[i64]()), vec[i64]([0] * fleet.count))
    for expected in range(3):
        board.catch_up()
        assert board.best() == expected
        fleet.fill(expected, 0, 0, vec[i64]())


def test_fewer_points_count_before_any_gain() -> None:
    fleet = open_fleet()
    policy = BestFit(fleet, 32_000)
    points = vec[i64]([1 << 20] * fleet.count)
    points[37] = 0
    board = Board(policy, Demand(1, 1, 0, vec[i64]()), points)
    board.catch_up()
    assert board.best() == 37


def test_where_no_node_has_room_none_is_named() -> None:
    fleet = open_fleet()
    policy = expected_fill(fleet)
    board = Board(policy, Demand(1, 1, 5, vec[i64]()), vec[i64]([0] * fleet.count))
    assert place(fleet, board, policy) == EMPTY
    assert board.score_of(0) == UNFIT


def test_a_board_that_was_not_looked_at_for_long_catches_up() -> None:
    fleet = open_fleet()
    policy = expected_fill(fleet)
    board = Board(policy, Demand(1000, 1, 1, vec[i64]()), vec[i64]([0] * fleet.count))
    board.catch_up()
    for _ in range(3000):
        fleet.touch(3)
    for position in range(fleet.count - 1):
        fleet.fill(position, 0, 0, vec[i64]())
    board.catch_up()
    last = fleet.count - 1
    assert board.best() == (last if has_room(fleet, board.demand, last) else EMPTY)
