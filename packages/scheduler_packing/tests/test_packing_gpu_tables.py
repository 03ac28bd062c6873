"""What GPUs are expected to take yet."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from librt.vecs import vec
from mypy_extensions import i64
from orchestrion.scheduler_packing._core.gpu_fleet import WHOLE
from orchestrion.scheduler_packing._core.gpu_tables import (
    HORIZON,
    MAX_POINTS,
    MICRO,
    Mix,
    Tables,
    build_tables,
    shift_for,
)

POINT = 1 << 10
TAKEN = HORIZON / (HORIZON + 1)
"""How likely it is that one more demand of a mix comes before the stream ends."""


def mix_of(*demands: tuple[int, int, int, int]) -> Mix:
    mix = Mix()
    for demand in demands:
        mix.add(*demand)
    return mix


def expected(tables: Tables, cpu: int, *free: int) -> float:
    residues = sorted((each for each in free if each < WHOLE), reverse=True)
    return tables.expected(free.count(WHOLE), cpu, vec[i64](residues), 0, len(residues)) / MICRO


def test_of_nothing_nothing_is_expected() -> None:
    tables = build_tables(Mix(), 8, 64 * POINT)
    assert expected(tables, 64 * POINT, *[WHOLE] * 8, 990) == 0
    assert tables.spare_worth(64 * POINT) == 0


def test_whole_gpus_fill_with_the_chance_that_a_demand_still_comes() -> None:
    tables = build_tables(mix_of((POINT, 1, WHOLE, 5)), 4, 64 * POINT)
    assert expected(tables, 64 * POINT, WHOLE) == pytest.approx(TAKEN, abs=1e-6)
    assert expected(tables, 64 * POINT, *[WHOLE] * 3) == pytest.approx(TAKEN + TAKEN**2 + TAKEN**3, abs=1e-6)


def test_no_more_is_expected_than_the_cpu_allows() -> None:
    tables = build_tables(mix_of((4 * POINT, 1, WHOLE, 1)), 8, 64 * POINT)
    assert expected(tables, 4 * POINT - 1, WHOLE, WHOLE) < expected(tables, 4 * POINT, WHOLE, WHOLE)
    assert expected(tables, 3 * POINT, WHOLE, WHOLE) == 0
    assert expected(tables, 4 * POINT, *[WHOLE] * 8) == pytest.approx(TAKEN, abs=1e-6)
    assert expected(tables, 9 * POINT, *[WHOLE] * 8) == pytest.approx(TAKEN + TAKEN**2, abs=1e-6)


def test_a_demand_for_more_gpus_than_are_free_is_not_expected() -> None:
    tables = build_tables(mix_of((0, 8, WHOLE, 1)), 16, 64 * POINT)
    assert expected(tables, 0, *[WHOLE] * 7) == 0
    assert expected(tables, 0, *[WHOLE] * 16) == pytest.approx(8 * TAKEN + 8 * TAKEN**2, abs=1e-6)


def test_shares_fill_a_gpu_and_leave_what_none_of_them_fits_into() -> None:
    tables = build_tables(mix_of((0, 1, 300, 1)), 1, 64 * POINT)
    assert expected(tables, 0, 290) == 0
    assert expected(tables, 0, 300) == pytest.approx(0.3 * TAKEN, abs=1e-6)
    assert expected(tables, 0, 990) == pytest.approx(0.3 * (TAKEN + TAKEN**2 + TAKEN**3), abs=1e-6)
    assert expected(tables, 0, WHOLE) == expected(tables, 0, 990)


def test_what_one_gpu_takes_of_the_cpu_the_next_one_lacks() -> None:
    tables = build_tables(mix_of((2 * POINT, 1, 500, 1)), 1, 64 * POINT)
    alone = expected(tables, 2 * POINT, 500)
    assert expected(tables, 2 * POINT, 500, 500) < 1.1 * alone
    assert expected(tables, 8 * POINT, 500, 500) == pytest.approx(2 * alone, abs=1e-3)


def test_cpu_beside_the_gpus_is_worth_what_others_make_of_it() -> None:
    tables = build_tables(mix_of((0, 1, WHOLE, 1), (2000, 0, 0, 1)), 1, 64 * POINT)
    assert tables.spare_worth(0) == 0
    assert 0 < tables.spare_worth(4000) < tables.spare_worth(60_000) < 60 * 3 * MICRO // 1000
    assert tables.spare_worth(1 << 40) == tables.spare_worth(65 * POINT)


def test_small_demands_without_gpus_are_worth_as_much_in_all() -> None:
    small = build_tables(mix_of((0, 1, WHOLE, 1), (10, 0, 0, 100_000)), 1, 64 * POINT)
    assert small.spare_worth(32 * POINT) == pytest.approx(0.003 * 32.768 * MICRO, rel=0.05)


@pytest.mark.parametrize("most_cpu", [0, 1, 1000, 128_000, 10**9, (1 << 53) - 1])
def test_cpu_is_told_apart_in_a_bounded_number_of_steps(most_cpu: int) -> None:
    assert (most_cpu >> shift_for(most_cpu)) + 2 <= MAX_POINTS


DEMANDS = st.one_of(
    st.tuples(st.integers(0, 9000), st.just(1), st.integers(1, WHOLE - 1), st.integers(1, 50)),
    st.tuples(st.integers(0, 9000), st.integers(1, 4), st.just(WHOLE), st.integers(1, 50)),
    st.tuples(st.integers(0, 9000), st.just(0), st.just(0), st.integers(1, 50)),
)


@settings(max_examples=25)
@given(st.lists(DEMANDS, max_size=6), st.integers(0, 9000), st.lists(st.integers(1, WHOLE), max_size=4))
def test_never_more_is_expected_than_is_free(
    demands: list[tuple[int, int, int, int]], cpu: int, free: list[int]
) -> None:
    tables = build_tables(mix_of(*demands), 4, 8 * POINT)
    assert 0 <= expected(tables, cpu, *free) <= sum(free) / WHOLE + 1e-5
