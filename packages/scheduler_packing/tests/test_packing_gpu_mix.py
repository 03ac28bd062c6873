"""What is known of the kinds of slots that are asked for."""

from __future__ import annotations

import pytest
from immutabledict import immutabledict
from orchestrion.scheduler_interface import NodeView, PlacedInstance, node_view
from orchestrion.scheduler_packing._core.efill import ONE
from orchestrion.scheduler_packing._gpu_mix import Mix
from orchestrion.scheduler_packing._gpu_placed import PlacedMix
from orchestrion.shared_types import (
    ContainerConfig,
    GpuRequest,
    InstanceKey,
    Metadata,
    Node,
    NodeId,
    Resources,
    Uid,
    WorkloadDefinition,
)


def workload(name: str, *gpus: GpuRequest) -> WorkloadDefinition:
    containers = [ContainerConfig(name=f"c{number}", gpu=gpu) for number, gpu in enumerate(gpus)]
    main = ContainerConfig(name="main", resources=Resources(cpu_millicores=1000))
    return WorkloadDefinition(metadata=Metadata(name=name, uid=Uid(name)), containers=(main, *containers))


WHOLE_ONE = workload("one", GpuRequest(count=1))
SHARED = workload("shared", GpuRequest(thousandths=300))


def shares(mix: Mix) -> dict[tuple[int, tuple[int, ...]], int]:
    return {(kind.whole, kind.shares): count for kind, count in mix.lesson.items()}


def test_nothing_is_known_before_the_first_lesson() -> None:
    mix = Mix()
    assert not mix.observe(WHOLE_ONE, 31)
    assert mix.lesson == {}
    assert mix.observe(SHARED)
    assert shares(mix) == {(1, ()): 31 * mix.once, (0, (300,)): mix.once}


def test_between_lessons_nothing_changes() -> None:
    mix = Mix()
    mix.observe(WHOLE_ONE, 32)
    lesson = mix.lesson
    assert not mix.observe(SHARED, 31)
    assert mix.lesson is lesson
    assert mix.observe(SHARED)
    assert shares(mix) == {(1, ()): 32 * mix.once, (0, (300,)): 32 * mix.once}


def test_lessons_come_whenever_arrivals_have_doubled_and_then_with_every_horizon() -> None:
    mix = Mix(horizon=100)
    lessons = [number for number in range(1, 401) if mix.observe(WHOLE_ONE)]
    assert lessons == [32, 64, 100, 200, 300, 400]


def test_many_slots_at_once_make_for_the_same_lessons_as_one_by_one() -> None:
    at_once, one_by_one = Mix(horizon=100), Mix(horizon=100)
    at_once.observe(WHOLE_ONE, 350)
    for _ in range(350):
        one_by_one.observe(WHOLE_ONE)
    assert at_once.lesson == one_by_one.lesson


def test_what_is_long_past_counts_less_and_is_forgotten() -> None:
    mix = Mix(horizon=32)
    mix.observe(SHARED, 32)
    mix.observe(WHOLE_ONE, 32)
    assert shares(mix) == {(1, ()): 32 * mix.once, (0, (300,)): 16 * mix.once}
    mix.observe(WHOLE_ONE, 32 * 20)
    assert set(shares(mix)) == {(1, ())}


def test_how_much_leaves_is_counted_between_lessons() -> None:
    mix = Mix(horizon=32)
    mix.observe_end(8)
    mix.observe(SHARED, 32)
    assert mix.turnover == ONE // 4
    mix.observe_end(64)
    mix.observe(SHARED, 32)
    assert mix.turnover == ONE
    mix.observe(SHARED, 32)
    assert mix.turnover == 0


def test_what_containers_ask_for_counts_together() -> None:
    mix = Mix()
    gpus = GpuRequest(thousandths=100), GpuRequest(count=2, model="a"), GpuRequest(thousandths=700), GpuRequest(count=1)
    mix.observe(workload("several", *gpus), 32)
    (kind,) = mix.lesson
    assert (kind.cpu, kind.whole, kind.shares) == (1000, 3, (700, 100))
    assert kind.suitability is not None
    assert {want.request.model for want in kind.suitability.devices} == {None, "a"}


def test_a_horizon_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 32"):
        Mix(horizon=31)


def placed(index: int, thousandths: int) -> PlacedInstance:
    return PlacedInstance(
        key=InstanceKey(Uid("w"), index, 1),
        namespace="default",
        workload="w",
        demand=Resources(cpu_millicores=500),
        device_thousandths=immutabledict({"gpu0": thousandths}) if thousandths else immutabledict(),
    )


def view(*instances: PlacedInstance) -> NodeView:
    room = Resources(cpu_millicores=10**6)
    return node_view(Node(id=NodeId("n"), name="n", capacity=room, allocatable=room), instances)


def weights(mix: PlacedMix) -> dict[tuple[int, tuple[int, ...]], int]:
    return {(kind.whole, kind.shares): count for kind, count in mix.lesson.items()}


def test_few_instances_are_no_sample() -> None:
    mix = PlacedMix()
    mix.take_all([view(*(placed(index, 1000) for index in range(31)))])
    assert mix.lesson == {}
    mix.take_all([view(*(placed(index, 1000) for index in range(32)))])
    assert weights(mix) == {(1, ()): 4096}


def test_what_is_placed_counts_coarsely() -> None:
    mix = PlacedMix()
    instances = [*(placed(index, 1000) for index in range(48)), *(placed(48 + index, 250) for index in range(16))]
    mix.take_all([view(*instances)])
    lesson = mix.lesson
    assert weights(mix) == {(1, ()): 2048, (0, (250,)): 1024}
    mix.take(0, view(*instances, placed(64, 1000)))
    assert mix.lesson is lesson


def test_what_is_known_depends_on_what_is_placed_now_and_on_nothing_else() -> None:
    mix, fresh = PlacedMix(), PlacedMix()
    mix.take_all([view()])
    instances = [placed(index, 1000 if index % 3 else 250) for index in range(200)]
    for end in (50, 200, 90, 120):
        mix.take(0, view(*instances[:end]))
    fresh.take_all([view(*instances[:120])])
    assert mix.lesson == fresh.lesson
    assert mix.once == fresh.once
