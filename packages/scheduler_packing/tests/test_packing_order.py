"""The order of nodes finds what a look at all of them finds, whatever changed before."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from librt.vecs import vec
from mypy_extensions import i64
from orchestrion.scheduler_packing._core.fleet import CPU, MEMORY, PLAIN_DIMENSIONS, Fleet
from orchestrion.scheduler_packing._core.order import MAX_NODES, Order
from orchestrion.scheduler_packing._core.placing import Shape, first_fitting, place_alike, take
from orchestrion.shared_types import MAX_AMOUNT

AMOUNTS = st.one_of(st.integers(0, 12), st.integers(0, MAX_AMOUNT))
CHANGES = st.lists(st.tuples(st.integers(0, 1000), AMOUNTS, AMOUNTS, st.integers(0, 2)), max_size=60)


def a_fleet(amounts: list[tuple[int, int]]) -> Fleet:
    fleet = Fleet(len(amounts), PLAIN_DIMENSIONS)
    fleet.set_scale(max((cpu for cpu, _ in amounts), default=0), max((memory for _, memory in amounts), default=0), 0)
    for position, (cpu, memory) in enumerate(amounts):
        set_free(fleet, position, cpu, memory, position % 2)
    return fleet


def set_free(fleet: Fleet, position: int, cpu: int, memory: int, loads: int) -> None:
    fleet.free[CPU][position] = cpu
    fleet.free[MEMORY][position] = memory
    fleet.loads[position] = loads
    fleet.touch(position)


def ones(count: int) -> vec[i64]:
    return vec[i64]([1] * count)


def by_a_look_at_all(fleet: Fleet, order: Order, cpu: int, memory: int, after: int) -> int:
    fitting = [
        order.rank_of(position)
        for position in range(fleet.count)
        if order.members[position] and fleet.free[CPU][position] >= cpu and fleet.free[MEMORY][position] >= memory
    ]
    return min((rank for rank in fitting if rank > after), default=-1)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(AMOUNTS, AMOUNTS), min_size=1, max_size=200),
    CHANGES,
    st.lists(st.tuples(AMOUNTS, AMOUNTS), min_size=1, max_size=8),
    st.sampled_from([1, -1]),
)
def test_the_first_with_room_is_found_after_any_changes(
    amounts: list[tuple[int, int]], changes: list[tuple[int, int, int, int]], asked: list[tuple[int, int]], sign: int
) -> None:
    fleet = a_fleet(amounts)
    order = Order(fleet, ones(len(amounts)), vec[i64]([position % 3 for position in range(len(amounts))]), sign)
    for number, (where, cpu, memory, loads) in enumerate(changes):
        set_free(fleet, where % len(amounts), cpu, memory, loads)
        if number % 7 == 0:
            order.catch_up()
            order.set_member(where % len(amounts), where % 2, where % 5)
    order.catch_up()
    for cpu, memory in asked:
        rank = -1
        while True:
            expected = by_a_look_at_all(fleet, order, cpu, memory, rank)
            rank = order.first(cpu, memory, rank)
            assert rank == expected
            if rank < 0:
                break


def test_an_order_that_many_were_put_into_at_one_end_is_still_right() -> None:
    fleet = a_fleet([(100, 100)] * 500)
    order = Order(fleet, ones(500), vec[i64]([0] * 500), 1)
    for round_ in range(1, 9):
        for position in range(500):
            set_free(fleet, (position * 7) % 500, 100 - 10 * round_, 100 - 5 * round_, 1)
            order.catch_up()
        assert order.first(100 - 10 * round_, 1, -1) == by_a_look_at_all(fleet, order, 100 - 10 * round_, 1, -1)
    ranks = []
    rank = order.first(0, 0, -1)
    while rank >= 0:
        ranks.append(rank)
        rank = order.first(0, 0, rank)
    assert ranks == sorted(ranks)
    assert sorted(rank & MAX_NODES for rank in ranks) == list(range(500))


def test_an_order_that_missed_more_than_the_log_keeps_is_made_anew() -> None:
    fleet = a_fleet([(10, 10)] * 3)
    order = Order(fleet, ones(3), vec[i64]([0] * 3), 1)
    for count in range(3000):
        set_free(fleet, count % 3, count % 10, 10, 1)
    order.catch_up()
    for cpu in range(11):
        assert order.first(cpu, 0, -1) == by_a_look_at_all(fleet, order, cpu, 0, -1)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=40),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
    st.integers(1, 60),
)
def test_many_slots_at_once_go_where_they_would_go_one_by_one(
    amounts: list[tuple[int, int]], demand: tuple[int, int], number: int
) -> None:
    shape = Shape(vec[i64]([*demand, 0]), 0, [])
    at_once, one_by_one = a_fleet(amounts), a_fleet(amounts)
    order = Order(at_once, ones(len(amounts)), vec[i64]([0] * len(amounts)), 1)
    placed = list(place_alike(at_once, order, shape, number, vec[i64]()))
    order = Order(one_by_one, ones(len(amounts)), vec[i64]([0] * len(amounts)), 1)
    expected = []
    for _ in range(number):
        order.catch_up()
        rank = first_fitting(one_by_one, order, shape, -1)
        if rank < 0:
            break
        expected.append(rank & MAX_NODES)
        take(one_by_one, shape, rank & MAX_NODES, 1)
    assert placed == expected
