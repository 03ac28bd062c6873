"""What terms say of many nodes at once is what they say of each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from librt.vecs import vec
from mypy_extensions import i64
from orchestrion.scheduler_packing._core.search import all_allow, sum_points
from orchestrion.scheduler_packing._core.terms import APART, SPREAD, TOGETHER, Term

DOMAINS = vec[i64]([0, 1, 2, 3, 1, 2, 0])
POSITIONS = st.integers(0, len(DOMAINS) - 1)


@st.composite
def terms(draw: st.DrawFn) -> Term:
    kind, required = draw(st.sampled_from([SPREAD, TOGETHER, APART])), draw(st.booleans())
    # What an affinity requires costs nothing beside.
    cost = 0 if required and kind != SPREAD else draw(st.integers(1, 9))
    term = Term(kind, DOMAINS, 3, cost, required, draw(st.integers(1, 2)))
    term.counts_itself = draw(st.booleans())
    term.let_members_count(vec[i64](draw(st.lists(st.integers(0, 1), min_size=7, max_size=7))))
    for position in draw(st.lists(POSITIONS, max_size=8)):
        term.add(position, 1)
    return term


@given(st.lists(terms(), max_size=3), st.lists(POSITIONS, max_size=9))
def test_the_costs_of_nodes_are_their_points_where_all_terms_allow_them(
    found: list[Term], positions: list[int]
) -> None:
    costs = vec[i64]([0] * len(positions))
    for term in found:
        term.add_costs(vec[i64](positions), costs)
    assert list(costs) == [sum_points(found, each) if all_allow(found, each) else -1 for each in positions]


@given(st.lists(st.integers(0, 1), min_size=7, max_size=7))
def test_members_count_as_each_of_them_would(members: list[int]) -> None:
    at_once, one_by_one = (Term(SPREAD, DOMAINS, 3, 1, True, 1) for _ in range(2))
    at_once.let_members_count(vec[i64](members))
    for position, member in enumerate(members):
        if member:
            one_by_one.let_count(position)
    for term in (at_once, one_by_one):
        term.add(1, 1)
    assert [at_once.allows(each) for each in range(7)] == [one_by_one.allows(each) for each in range(7)]
