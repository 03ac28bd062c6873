"""What containers get that do not say what they ask for, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.control_plane._admission.amounts import CPU, GPUS, MEMORY, requests_of, written
from orchestrion.control_plane._admission.limit_ranges import (
    LimitRange,
    check_limits,
    limit_range_of,
    with_defaults,
)
from orchestrion.control_plane._objects.specs import LimitRangeSpec
from orchestrion.shared_types import (
    ConfigInvalid,
    ContainerConfig,
    GpuRequest,
    Metadata,
    Resources,
    WorkloadDefinition,
)


def limits(
    name: str = "small",
    *,
    default: Mapping[str, Any] | None = None,
    least: Mapping[str, Any] | None = None,
    most: Mapping[str, Any] | None = None,
) -> LimitRange:
    return limit_range_of(name, LimitRangeSpec(default=default or {}, min=least or {}, max=most or {}))


def workload(*containers: ContainerConfig) -> WorkloadDefinition:
    return WorkloadDefinition(metadata=Metadata(name="web"), containers=containers)


def container(name: str = "main", **fields: Any) -> ContainerConfig:
    return ContainerConfig(name=name, command=("run",), **fields)


def test_a_container_that_does_not_say_gets_the_default() -> None:
    given_one = container(resources=Resources(cpu_millicores=100))
    ranges = [limits(default={"cpu": "500m", "memory": "64Mi", "gpus": 2, "example.com/fpga": 1})]
    (made,) = with_defaults(workload(given_one), ranges).containers
    assert made.resources == Resources(
        cpu_millicores=100, memory_bytes=64 * 1024 * 1024, extended={"example.com/fpga": 1}
    )
    assert made.gpu == GpuRequest(count=2)


def test_a_definition_that_says_all_is_left_as_it_is() -> None:
    definition = workload(container(resources=Resources(cpu_millicores=1)))
    assert with_defaults(definition, [limits(default={"cpu": 1})]) is definition


def test_of_several_limit_ranges_the_first_that_says_something_gives_it() -> None:
    ranges = [limits("a", default={"cpu": 1}), limits("b", default={"cpu": 2, "memory": "1Gi"})]
    (made,) = with_defaults(workload(container()), ranges).containers
    assert requests_of(made) == {CPU: 1000, MEMORY: 1024**3}


def test_who_limits_itself_to_less_than_the_default_gets_no_more() -> None:
    given_one = container(limits=Resources(cpu_millicores=200))
    (made,) = with_defaults(workload(given_one), [limits(default={"cpu": "500m"})]).containers
    assert made.resources.cpu_millicores == 200


def test_all_that_is_out_of_bounds_is_named_with_its_place() -> None:
    definition = workload(
        container("a", resources=Resources(cpu_millicores=100), limits=Resources(memory_bytes=4096)),
        container("b", resources=Resources(cpu_millicores=3000), gpu=GpuRequest(thousandths=500)),
    )
    with pytest.raises(ConfigInvalid) as caught:
        check_limits(definition, [limits(least={"cpu": "200m"}, most={"cpu": 2, "memory": 1024, "gpus": 0})])
    assert [str(problem) for problem in caught.value.problems] == [
        "spec.containers[0].resources.cpu: 100m is less than 200m, the least that limit range 'small' takes",
        "spec.containers[0].limits.memory: 4Ki is more than 1Ki, the most that limit range 'small' takes",
        "spec.containers[1].resources.cpu: 3 is more than 2, the most that limit range 'small' takes",
        "spec.containers[1].resources.gpu: 0.5 is more than 0, the most that limit range 'small' takes",
    ]


@pytest.mark.parametrize(
    ("bounds", "place"),
    [
        ({"least": {"cpu": 2}, "most": {"cpu": 1}}, "spec.min.cpu"),
        ({"least": {"cpu": 2}, "default": {"cpu": 1}}, "spec.min.cpu"),
        ({"default": {"cpu": 2}, "most": {"cpu": 1}}, "spec.default.cpu"),
    ],
)
def test_bounds_that_are_crossed_are_refused(bounds: Any, place: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        limits(**bounds)
    assert [problem.path for problem in caught.value.problems] == [place]


AMOUNTS = st.fixed_dictionaries({}, optional={"cpu": st.integers(1, 5), "memory": st.integers(1, 5)})


@given(
    asked=st.lists(AMOUNTS, min_size=1, max_size=3),
    given_ranges=st.lists(st.tuples(AMOUNTS, st.integers(5, 9)), max_size=3),
)
def test_what_defaults_are_given_to_keeps_within_the_bounds_that_they_keep_within(
    asked: list[dict[str, int]], given_ranges: list[tuple[dict[str, int], int]]
) -> None:
    ranges = [limits(f"r{n}", default=default, most={"cpu": most}) for n, (default, most) in enumerate(given_ranges)]
    containers = [
        container(f"c{n}", resources=Resources(cpu_millicores=1000 * each.get("cpu", 0)))
        for n, each in enumerate(asked)
    ]
    made = with_defaults(workload(*containers), ranges)
    check_limits(made, ranges)
    assert with_defaults(made, ranges) is made


@pytest.mark.parametrize(
    ("name", "amount", "text"),
    [(CPU, 1500, "1500m"), (MEMORY, 2048, "2Ki"), (GPUS, 1500, "1.5"), (GPUS, 2000, "2"), ("instances", 3, "3")],
)
def test_amounts_are_written_as_people_write_them(name: str, amount: int, text: str) -> None:
    assert written(name, amount) == text
