"""Faults come when they are ordered, and the same seed gives the same."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import trio
from orchestrion.mocks import (
    Fault,
    FaultInjector,
    FaultKind,
    FaultSource,
    NoFaults,
    ScriptedFaults,
    SeededFaults,
    SimulatedCrash,
    script,
)
from orchestrion.shared_types import Conflict, Unavailable
from trio.testing import MockClock, assert_checkpoints


class World:
    """Counts effects."""

    def __init__(self, source: FaultSource) -> None:
        self.effects = 0
        self.injector = FaultInjector(source, Unavailable)

    async def effect(self) -> str:
        self.effects += 1
        return "done"

    async def lie(self) -> str:
        return "a lie"

    async def refuse(self) -> str:
        msg = "no"
        raise Conflict(msg)

    async def call(self) -> str:
        return await self.injector.call("act", self.effect, lie=self.lie)


async def test_without_faults_a_call_has_its_effect() -> None:
    world = World(NoFaults())
    with assert_checkpoints():
        assert await world.call() == "done"
    assert (world.effects, world.injector.copies_of_event()) == (1, 1)


@pytest.mark.parametrize(
    ("kind", "error", "effects"),
    [
        (FaultKind.FAIL, Unavailable, 0),
        (FaultKind.FAIL_AFTER, Unavailable, 1),
        (FaultKind.CRASH_BEFORE, SimulatedCrash, 0),
        (FaultKind.CRASH_AFTER, SimulatedCrash, 1),
    ],
)
async def test_a_failure_is_before_or_after_the_effect(kind: FaultKind, error: type[Exception], effects: int) -> None:
    world = World(script(("act", 1, kind)))
    with pytest.raises(error):
        await world.call()
    assert world.effects == effects


@pytest.mark.parametrize("kind", [FaultKind.CRASH_BEFORE, FaultKind.CRASH_AFTER])
async def test_after_a_crash_all_calls_raise_it(kind: FaultKind) -> None:
    world = World(script(("act", 1, kind)))
    for _ in range(3):
        with pytest.raises(SimulatedCrash):
            await world.call()
    assert world.injector.crashed
    assert world.effects <= 1


@pytest.mark.parametrize(
    ("kind", "error"), [(FaultKind.FAIL_AFTER, Unavailable), (FaultKind.CRASH_AFTER, SimulatedCrash)]
)
async def test_a_lost_reply_may_be_an_error(kind: FaultKind, error: type[Exception]) -> None:
    world = World(script(("act", 1, kind)))
    with pytest.raises(error):
        await world.injector.call("act", world.refuse)
    assert (await World(NoFaults()).call()) == "done"


async def test_a_crash_overtakes_calls_that_wait(autojump_clock: MockClock) -> None:
    world = World(script(("act", 1, Fault(FaultKind.DELAY, 10)), ("act", 2, FaultKind.CRASH_BEFORE)))

    async def delayed() -> None:
        with pytest.raises(SimulatedCrash):
            await world.call()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(delayed)
        await trio.sleep(5)
        with pytest.raises(SimulatedCrash):
            await world.call()
    assert world.effects == 0


async def test_a_crash_overtakes_effects_that_wait(autojump_clock: MockClock) -> None:
    world = World(script(("act", 1, FaultKind.CRASH_BEFORE)))

    async def slow() -> None:
        await trio.sleep(10)

    async def waiting() -> None:
        with pytest.raises(SimulatedCrash):
            await world.injector.call("wait", slow)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiting)
        await trio.sleep(5)
        with pytest.raises(SimulatedCrash):
            await world.call()


async def test_delay_takes_its_time(autojump_clock: MockClock) -> None:
    world = World(script(("act", 1, Fault(FaultKind.DELAY, 7))))
    begun = trio.current_time()
    assert await world.call() == "done"
    assert trio.current_time() - begun == 7


async def test_hang_lasts_until_it_is_cancelled(autojump_clock: MockClock) -> None:
    world = World(script(("act", 1, FaultKind.HANG)))
    with trio.move_on_after(1_000) as scope:
        await world.call()
    assert (scope.cancelled_caught, world.effects) == (True, 0)


async def test_a_lie_takes_the_place_of_the_effect() -> None:
    world = World(script(("act", 1, FaultKind.LIE)))
    assert [await world.call(), await world.call()] == ["a lie", "done"]
    assert world.effects == 1


async def test_who_knows_no_lie_says_the_truth() -> None:
    world = World(script(("act", 1, FaultKind.LIE)))
    assert await world.injector.call("act", world.effect) == "done"


def test_events_are_given_not_at_all_once_or_twice() -> None:
    injector = FaultInjector(
        script(("event", 1, FaultKind.LOSE_EVENT), ("event", 3, FaultKind.REPEAT_EVENT)), Unavailable
    )
    assert [injector.copies_of_event() for _ in range(4)] == [0, 1, 2, 1]


def test_a_script_counts_each_method_and_all_calls_but_not_events_among_them() -> None:
    fail, hang = Fault(FaultKind.FAIL), Fault(FaultKind.HANG)
    faults = script(("a", 2, fail), ("*", 4, hang))
    calls = ["a", "event", "b", "a", "event", "b", "b"]
    assert [faults.next_fault(method) for method in calls] == [None, None, None, fail, None, hang, None]
    assert faults.calls == Counter({"a": 2, "b": 3, "event": 2, "*": 5})


def test_a_script_has_one_fault_for_a_call() -> None:
    with pytest.raises(ValueError, match="two faults for the same call"):
        script(("a", 1, FaultKind.FAIL), ("a", 1, FaultKind.HANG))
    assert ScriptedFaults({}).next_fault("a") is None


def test_the_same_seed_gives_the_same_faults() -> None:
    def draw(seed: int) -> list[Fault | None]:
        faults = SeededFaults(random.Random(seed), 0.3, (FaultKind.FAIL, FaultKind.DELAY, FaultKind.LOSE_EVENT))
        return [faults.next_fault("event" if number % 5 == 0 else "act") for number in range(200)]

    assert draw(1) == draw(1) != draw(2)


def test_a_seed_gives_calls_the_faults_of_calls_and_events_those_of_events() -> None:
    faults = SeededFaults(random.Random(7), 0.5, tuple(FaultKind), max_delay_seconds=2)
    kinds = {method: {f.kind for _ in range(500) if (f := faults.next_fault(method))} for method in ("act", "event")}
    assert kinds["event"] == {FaultKind.LOSE_EVENT, FaultKind.REPEAT_EVENT}
    assert kinds["act"] == set(FaultKind) - kinds["event"]
    drawn = [faults.next_fault("act") for _ in range(500)]
    assert all(0 <= fault.delay_seconds <= 2 for fault in drawn if fault is not None)


def test_about_as_many_calls_go_wrong_as_the_rate_says() -> None:
    faults = SeededFaults(random.Random(3), 0.1, (FaultKind.FAIL,))
    assert 70 <= sum(faults.next_fault("act") is not None for _ in range(1_000)) <= 130


def test_faults_can_be_ended_to_let_a_world_heal() -> None:
    faults = SeededFaults(random.Random(3), 1.0, (FaultKind.FAIL,))
    assert faults.next_fault("act") is not None
    faults.enabled = False
    assert [faults.next_fault("act") for _ in range(10)] == [None] * 10
