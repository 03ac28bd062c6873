"""How many of a workload's instances may be missing for the sake of others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrion import shared_types as o


@pytest.mark.parametrize(
    ("budget", "wanted", "least"),
    [
        (o.Disruption(max_unavailable=0), 3, 3),
        (o.Disruption(max_unavailable=1), 3, 2),
        (o.Disruption(max_unavailable=5), 3, 0),
        (o.Disruption(max_unavailable_percent=0), 3, 3),
        (o.Disruption(max_unavailable_percent=25), 3, 3),
        (o.Disruption(max_unavailable_percent=25), 4, 3),
        (o.Disruption(max_unavailable_percent=34), 3, 2),
        (o.Disruption(max_unavailable_percent=100), 3, 0),
        (o.Disruption(max_unavailable_percent=100), 0, 0),
    ],
    ids=str,
)
def test_as_many_have_to_stay_as_the_budget_leaves_rounded_up(budget: o.Disruption, wanted: int, least: int) -> None:
    assert budget.least_available(wanted) == least


@given(st.integers(0, 100), st.integers(0, o.MAX_SLOTS))
def test_never_more_than_the_share_may_be_missing(percent: int, wanted: int) -> None:
    missing = wanted - o.Disruption(max_unavailable_percent=percent).least_available(wanted)

    assert missing * 100 <= percent * wanted < (missing + 1) * 100


@pytest.mark.parametrize("attributes", [{}, {"max_unavailable": 1, "max_unavailable_percent": 1}], ids=str)
def test_a_budget_is_either_a_number_or_a_share(attributes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="either a number of instances or a share"):
        o.Disruption(**attributes)


@pytest.mark.parametrize(
    "attributes", [{"max_unavailable": -1}, {"max_unavailable_percent": -1}, {"max_unavailable_percent": 101}], ids=str
)
def test_a_budget_out_of_range_is_refused(attributes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        o.Disruption(**attributes)
