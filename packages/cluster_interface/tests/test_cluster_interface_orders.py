"""What an order to drain must look like."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from orchestrion.cluster_interface import drain_order
from orchestrion.shared_types import ConfigInvalid, Drain


def test_a_good_order_is_taken_as_it_is() -> None:
    deadline = datetime(2030, 1, 1, tzinfo=UTC)
    assert drain_order("new disk", deadline) == Drain(reason="new disk", deadline=deadline)
    assert drain_order("new disk", None) == Drain(reason="new disk")


@pytest.mark.parametrize(
    ("reason", "deadline", "problems"),
    [
        ("", None, ["reason"]),
        (" \t ", None, ["reason"]),
        ("one\ntwo", None, ["reason"]),
        ("one\u2028two", None, ["reason"]),
        ("\ud800", None, ["reason"]),
        ("new disk", datetime(2030, 1, 1), ["deadline"]),  # noqa: DTZ001 # that it has no zone is what must be refused
        ("", datetime(2030, 1, 1), ["reason", "deadline"]),  # noqa: DTZ001 # the same
    ],
)
def test_a_bad_order_says_what_is_wrong(reason: str, deadline: datetime | None, problems: list[str]) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        drain_order(reason, deadline)
    assert [problem.path for problem in caught.value.problems] == problems
