"""Schedulers that learn from outcomes: they conform, forget nothing that is recalled, and grow no further."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trio
from attrs import evolve
from orchestrion.scheduler_interface import (
    AssignNode,
    FullScanScheduler,
    InstanceOutcome,
    OutcomeKind,
    SchedulerCapability,
    SchedulingRequest,
    StaticClusterView,
    SupportsOutcomes,
    node_view,
)
from orchestrion.scheduler_interface.conformance import SchedulerUnderTest, conformance_checks
from orchestrion.scheduler_packing import (
    Learned,
    Mix,
    NodeHistory,
    PackingScheduler,
    Profile,
    for_gpus,
    learning,
    with_history,
)
from orchestrion.scheduler_packing._gpu_mix import FIRST_LESSON, MAX_KINDS
from orchestrion.scheduler_packing._lessons import MAX_SEEN
from orchestrion.shared_types import (
    ContainerConfig,
    Device,
    GpuRequest,
    InstanceKey,
    Metadata,
    Node,
    NodeId,
    Resources,
    Uid,
    WorkloadDefinition,
)

UID = Uid("01900000-0000-7000-8000-000000000001")
BEGIN = 1.7e9


def opening(make: Callable[[], PackingScheduler]) -> Callable[[], AbstractAsyncContextManager[SchedulerUnderTest]]:
    @asynccontextmanager
    async def open_scheduler() -> AsyncIterator[SchedulerUnderTest]:
        yield SchedulerUnderTest(make())

    return open_scheduler


def outcomes_alone(make: Callable[[], PackingScheduler]) -> list[object]:
    """Return the checks of what only schedulers that are told of outcomes promise."""
    return [each for each in conformance_checks(opening(make)) if "OUTCOME" in str(each.id)]


@pytest.mark.parametrize("check", outcomes_alone(with_history))
def test_the_history_profile_conforms(check: Callable[[], None]) -> None:
    check()


@pytest.mark.slow
@pytest.mark.parametrize("check", outcomes_alone(learning))
def test_the_learning_profile_conforms(check: Callable[[], None]) -> None:
    check()


@pytest.mark.slow
@pytest.mark.parametrize("check", outcomes_alone(for_gpus))
def test_the_gpu_profile_conforms(check: Callable[[], None]) -> None:
    check()


@pytest.mark.slow
@pytest.mark.parametrize("check", conformance_checks(opening(learning)))
def test_the_learning_profile_keeps_every_other_clause(check: Callable[[], None]) -> None:
    check()


def workload(cpu: int = 100, gpu: GpuRequest | None = None) -> WorkloadDefinition:
    container = ContainerConfig(name="main", resources=Resources(cpu_millicores=cpu), gpu=gpu)
    return WorkloadDefinition(metadata=Metadata(name="w", uid=UID), containers=(container,))


def node(name: str) -> Node:
    room = Resources(cpu_millicores=10_000, memory_bytes=1 << 30)
    gpus = tuple(Device(id=f"gpu{n}", kind="gpu", model="a") for n in range(4))
    return Node(id=NodeId(name), name=name, capacity=room, allocatable=room, devices=gpus)


CLUSTER = StaticClusterView([node_view(node(name)) for name in ("n1", "n2", "n3")])


def outcome(number: int, name: str, kind: OutcomeKind, definition: WorkloadDefinition | None = None) -> InstanceOutcome:
    return InstanceOutcome(
        slot=InstanceKey(UID, number, 1),
        kind=kind,
        node_id=NodeId(name),
        workload=definition or workload(),
        at_seconds=BEGIN + number,
        around=node_view(node(name)),
    )


def chosen(scheduler: PackingScheduler) -> NodeId | None:
    request = SchedulingRequest(workload=workload(), slots=(InstanceKey(UID, 10**6, 1),))
    (decision,) = trio.run(scheduler.schedule, request, CLUSTER)
    return decision.node_id if isinstance(decision, AssignNode) else None


def test_a_node_that_failed_a_start_is_passed_over_until_that_is_long_ago() -> None:
    scheduler = with_history()
    assert chosen(scheduler) == "n1"
    scheduler.observe([outcome(0, "n1", OutcomeKind.START_FAILED)], now_seconds=BEGIN)
    assert chosen(scheduler) == "n2"
    scheduler.observe([], now_seconds=BEGIN + 24 * 3600)
    assert chosen(scheduler) == "n1"


def test_where_all_failed_the_one_that_failed_least_is_taken() -> None:
    scheduler = with_history()
    failures = ["n1", "n1", "n2", "n3", "n3"]
    told = [outcome(number, name, OutcomeKind.START_FAILED) for number, name in enumerate(failures)]
    scheduler.observe(told, now_seconds=BEGIN + 10)
    assert chosen(scheduler) == "n2"


def test_only_who_observes_says_so() -> None:
    assert SchedulerCapability.OUTCOMES in with_history().capabilities
    plain = PackingScheduler(profile=Profile(name="p", weights={"node-history": 1}), history=NodeHistory())
    assert SchedulerCapability.OUTCOMES not in plain.capabilities
    assert isinstance(plain, SupportsOutcomes)
    plain.observe([outcome(0, "n1", OutcomeKind.START_FAILED)], now_seconds=BEGIN)
    assert chosen(plain) == "n1"


def test_who_observes_needs_something_to_learn() -> None:
    with pytest.raises(ValueError, match="give mix=, learned= or history="):
        PackingScheduler(observes=True)


def test_the_gpu_profile_learns_what_is_asked_for_from_what_is_placed() -> None:
    mix = Mix()
    scheduler = PackingScheduler(profile="gpu", mix=mix, observes=True)
    share = workload(gpu=GpuRequest(thousandths=300))
    placed = [outcome(number, "n1", OutcomeKind.PLACED, share) for number in range(FIRST_LESSON)]
    scheduler.observe(placed[:-1], now_seconds=BEGIN)
    assert mix.lesson == {}
    scheduler.observe([outcome(0, "n1", OutcomeKind.SUCCEEDED, share), *placed], now_seconds=BEGIN)
    assert [kind.shares for kind in mix.lesson] == [(300,)]
    assert mix.turnover == (1 << 16) // FIRST_LESSON


def test_a_mix_survives_as_a_value_and_goes_on_the_same() -> None:
    mix = Mix()
    for number in range(100):
        mix.observe(workload(100 + number % 7, GpuRequest(thousandths=100 * (1 + number % 3))))
        if number % 4 == 0:
            mix.observe_end()
    again = Mix.of_value(mix.to_value())
    for each in (mix, again):
        each.observe(workload(5, GpuRequest(count=1, model="a")), 200)
    assert again.to_value() == mix.to_value()
    assert again.lesson == mix.lesson
    assert again.turnover == mix.turnover


@pytest.mark.parametrize(
    "change", [{"schema": 2}, {"horizon": 1}, {"numbers": [1]}, {"counts": [[5, 1]]}, {"kinds": 3}]
)
def test_a_damaged_value_of_a_mix_is_refused(change: dict[str, object]) -> None:
    mix = Mix()
    mix.observe(workload(), 40)
    with pytest.raises(ValueError, match="no value of a mix"):
        Mix.of_value({**mix.to_value(), **change})


@pytest.mark.slow
def test_kinds_without_number_are_not_counted_for_ever() -> None:
    mix = Mix()
    for number in range(3 * 4096):
        mix.observe(workload(1 + number))
    assert len(mix.to_value()["counts"]) <= MAX_KINDS


def test_events_without_number_are_not_known_for_ever() -> None:
    scheduler = learning()
    for number in range(MAX_SEEN + 500):
        scheduler.observe([outcome(number, "n1", OutcomeKind.STARTED)], now_seconds=BEGIN)
    assert len(scheduler._lessons._seen._events) == len(scheduler._lessons._seen._ranked) == MAX_SEEN


def test_what_is_older_than_all_that_is_known_is_not_counted_again() -> None:
    scheduler = with_history()
    told = [outcome(number, "n1", OutcomeKind.START_FAILED) for number in range(MAX_SEEN + 500)]
    scheduler.observe(told, now_seconds=BEGIN + MAX_SEEN)
    before = scheduler.remembered()
    scheduler.observe(told, now_seconds=BEGIN + MAX_SEEN)
    assert scheduler.remembered() == before


def test_another_attempt_is_another_event() -> None:
    history = NodeHistory()
    profile = Profile(name="p", weights={"node-history": 1})
    scheduler = PackingScheduler(profile=profile, history=history, observes=True)
    first = outcome(0, "n1", OutcomeKind.START_FAILED)
    for told in (first, first, evolve(first, attempt=1)):
        scheduler.observe([told], now_seconds=BEGIN)
    assert history.lesson == {"n1": 333}


def test_a_learning_scheduler_learns_where_instances_fare_well() -> None:
    learned = Learned()
    profile = Profile(name="p", weights={"learned": 1})
    scheduler = PackingScheduler(profile=profile, learned=learned, observes=True)
    before = learned.weights
    told = [outcome(number, "n1", OutcomeKind.STARTED) for number in range(40)]
    scheduler.observe(told, now_seconds=BEGIN)
    assert learned.weights != before
    assert learned.weights[-1] > 0


@pytest.mark.parametrize("make", [with_history, learning, for_gpus, FullScanScheduler])
def test_where_nothing_failed_lately_time_alone_is_no_news(make: Callable[[], SupportsOutcomes]) -> None:
    scheduler = make()
    scheduler.observe([outcome(0, "n1", OutcomeKind.STARTED)], now_seconds=BEGIN)
    scheduler.observe([outcome(1, "n2", OutcomeKind.START_FAILED)], now_seconds=BEGIN + 1)
    scheduler.observe([], now_seconds=BEGIN + 24 * 3600)
    before = scheduler.lessons, scheduler.remembered()
    for minute in range(1, 5):
        scheduler.observe([], now_seconds=BEGIN + 24 * 3600 + 60 * minute)
    assert (scheduler.lessons, scheduler.remembered()) == before
