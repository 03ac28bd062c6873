"""Priorities have names, and each name stands for one of them."""

from __future__ import annotations

import pytest
from orchestrion import shared_types as o


def test_the_standard_classes_have_the_published_values() -> None:
    assert {each.name: (each.value, each.preempts) for each in o.PRIORITY_CLASSES} == {
        "system-critical": (2_000_000_000, True),
        "system-high": (1_000_000_000, True),
        "production-high": (100_000, True),
        "production-medium": (50_000, True),
        "batch": (10_000, False),
        "best-effort": (0, False),
    }


def test_a_workload_is_of_the_default_class_unless_it_says_otherwise() -> None:
    workload = o.WorkloadDefinition(metadata=o.Metadata(name="web"))

    assert o.priority_class_of(workload.priority, preempts=workload.preempts) == o.DEFAULT_PRIORITY_CLASS


def test_a_class_is_found_by_name_and_by_what_it_stands_for() -> None:
    for each in o.PRIORITY_CLASSES:
        assert o.find_priority_class(each.name) == each
        assert o.priority_class_of(each.value, preempts=each.preempts) == each
        assert o.priority_class_of(each.value, preempts=not each.preempts) is None


def test_an_unknown_class_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'production-high'"):
        o.find_priority_class("production-hihg")


@pytest.mark.parametrize(
    "attributes", [{"name": "Gold"}, {"name": ""}, {"value": 2**31}, {"value": -(2**31) - 1}], ids=repr
)
def test_a_class_that_no_workload_could_have_is_refused(attributes: dict[str, object]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 # by whichever validator
        o.PriorityClass(**{"name": "gold", "value": 1, **attributes})  # type: ignore[arg-type] # wrong on purpose
