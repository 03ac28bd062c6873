"""The parts that both loops are made of, each by itself."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.mocks import Fault, FaultKind, MemoryState, MemoryStore, ScriptedFaults
from orchestrion.orchestrator_core import (
    TERMINAL,
    TRANSITIONS,
    NoPortFree,
    PortTable,
    can_bind,
    dynamic_range,
    may_follow,
)
from orchestrion.orchestrator_core._clock import Deadlines
from orchestrion.orchestrator_core._cluster.leadership import Campaign, LeadershipLost
from orchestrion.orchestrator_core._node.health import Verdict
from orchestrion.orchestrator_core._queue import MAX_SUPERSEDED, KeyedQueue
from orchestrion.orchestrator_core._routing import format_ref, parse_ref
from orchestrion.orchestrator_core._state.events import MAX_EVENTS, EventRecorder
from orchestrion.orchestrator_core._state.records import (
    InstanceName,
    format_ranges,
    lease_key,
    parse_instance,
    parse_ranges,
    template_of,
)
from orchestrion.orchestrator_core._state.restart import delay_before
from orchestrion.shared_types import (
    ContainerHealth,
    ContainerId,
    ContainerNotFound,
    ContainerRef,
    HealthCheck,
    InstanceState,
    NodeId,
    Protocol,
    RestartPolicy,
    TcpProbe,
    Uid,
    UpdateStrategy,
)
from orchestrion.store_interface import Put, RevisionConflict
from trio.testing import MockClock, wait_all_tasks_blocked

from .core_stage import service

BEGIN = datetime(2030, 1, 1, tzinfo=UTC)

# -- states -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", InstanceState)
@pytest.mark.parametrize("then", InstanceState)
def test_every_pair_of_states_is_decided_by_the_table(before: InstanceState, then: InstanceState) -> None:
    assert may_follow(before, then) == (before is then or then in TRANSITIONS[before])
    if before in TERMINAL:
        assert may_follow(before, then) == (before is then)
    if before is InstanceState.TERMINATING:
        assert not may_follow(before, InstanceState.RUNNING)


def test_every_state_is_in_the_table_and_three_are_ends() -> None:
    assert set(TRANSITIONS) == set(InstanceState)
    assert {InstanceState.SUCCEEDED, InstanceState.FAILED, InstanceState.LOST} == TERMINAL


# -- records ----------------------------------------------------------------------------------------------------------


@given(st.frozensets(st.integers(0, 300)))
def test_ranges_come_back_as_they_were(indexes: frozenset[int]) -> None:
    assert parse_ranges(format_ranges(indexes)) == indexes


def test_ranges_are_short() -> None:
    assert format_ranges(frozenset([*range(42), 43])) == "0-41,43"
    assert format_ranges(frozenset()) == ""


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_a_reference_comes_back_as_it_was(node: str, driver: str, inner: str) -> None:
    ref = ContainerRef(NodeId(node), driver, ContainerId(inner))
    assert parse_ref(format_ref(ref)) == ref


@pytest.mark.parametrize("text", ["", "x", "a@b", "@/c", "a@n/"])
def test_what_is_no_reference_names_no_container(text: str) -> None:
    with pytest.raises(ContainerNotFound):
        parse_ref(ContainerId(text))


def test_an_instance_name_comes_back_as_it_was() -> None:
    name = InstanceName("default", "web-1", 3, 12)
    assert parse_instance("default", name.short) == name


def test_a_lease_key_holds_any_node_id() -> None:
    assert lease_key(NodeId("a/b c")) == "/lease/default/a%2Fb%20c"


def test_numbers_and_strategies_are_no_part_of_the_template() -> None:
    assert template_of(service()) == template_of(service(replicas=9, update=UpdateStrategy(max_surge=5)))
    assert template_of(service()) != template_of(service("web", "run", "token", "new"))


# -- the queue --------------------------------------------------------------------------------------------------------


async def test_a_key_is_at_most_once_in_the_queue() -> None:
    queue = KeyedQueue[str](random.Random(0))
    for key in "abab":
        queue.add(key)
    assert [await queue.take(), await queue.take()] == ["a", "b"]
    assert not queue.idle
    queue.done("a")
    queue.done("b")
    assert queue.idle


async def test_a_key_that_is_added_while_it_is_worked_on_comes_again_afterwards(autojump_clock: MockClock) -> None:
    queue = KeyedQueue[str](random.Random(0))
    queue.add("a")
    await queue.take()
    queue.add("a")
    with trio.move_on_after(1) as scope:
        await queue.take()
    assert scope.cancelled_caught
    queue.done("a")
    assert await queue.take() == "a"


async def test_failures_wait_longer_and_longer_until_a_success(autojump_clock: MockClock) -> None:
    queue = KeyedQueue[str](random.Random(0), first_delay_seconds=1, max_delay_seconds=10)
    queue.add("a")
    waits = list[float]()
    for _ in range(6):
        await queue.take()
        began = trio.current_time()
        queue.failed("a")
        await queue.take()
        waits.append(trio.current_time() - began)
        queue._give_back("a")
        queue.add("a")
    for wait, full in zip(waits, [1, 2, 4, 8, 10, 10], strict=True):
        assert 0.8 * full <= wait <= full + 0.001
    await queue.take()
    queue.done("a")
    queue.add("a")
    await queue.take()
    assert queue.failed("a") <= 1


async def test_the_earliest_time_asked_for_counts(autojump_clock: MockClock) -> None:
    queue = KeyedQueue[str](random.Random(0))
    queue.add_after("a", 10)
    queue.add_after("a", 5)
    queue.add_after("a", 20)
    await queue.take()
    assert trio.current_time() == pytest.approx(5)
    queue.done("a")
    with trio.move_on_after(100) as scope:
        await queue.take()
    assert scope.cancelled_caught


# -- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [timedelta(days=-400), timedelta(days=400)])
def test_a_jump_of_the_wall_clock_neither_stretches_nor_skips_a_wait(jump: timedelta) -> None:
    wall, monotonic = BEGIN, 0.0
    deadlines = Deadlines(lambda: wall, lambda: monotonic)
    assert deadlines.remaining(("wait", "k"), BEGIN, 60) == 60
    wall, monotonic = BEGIN + jump, 20.0
    assert deadlines.remaining(("wait", "k"), BEGIN, 60) == 40
    monotonic = 60.0
    assert deadlines.remaining(("wait", "k"), BEGIN, 60) == 0


def test_a_wait_that_is_taken_up_again_goes_on_and_is_never_longer_than_it_was() -> None:
    assert Deadlines(lambda: BEGIN + timedelta(seconds=45), lambda: 0.0).remaining(("wait", "k"), BEGIN, 60) == 15
    assert Deadlines(lambda: BEGIN - timedelta(days=1), lambda: 0.0).remaining(("wait", "k"), BEGIN, 60) == 60


def test_another_beginning_under_the_same_key_is_another_wait() -> None:
    deadlines = Deadlines(lambda: BEGIN, lambda: 0.0)
    deadlines.remaining(("wait", "k"), BEGIN, 60)
    assert deadlines.remaining(("wait", "k"), BEGIN, 5) == 5
    assert deadlines.remaining(("wait", "k"), BEGIN - timedelta(seconds=2), 5) == 3


def test_back_off_grows_to_its_limit_and_overflows_nothing() -> None:
    policy = RestartPolicy(initial_delay_seconds=1, factor=100, max_delay_seconds=30, jitter=0.5)
    assert delay_before(policy, 0, 0.0) == 1
    assert delay_before(policy, 10**6, 0.0) == 30
    assert delay_before(policy, 10**6, 1.0) == 15


# -- ports ------------------------------------------------------------------------------------------------------------


async def test_a_port_stays_with_its_owner_and_rests_after_it(autojump_clock: MockClock) -> None:
    table = PortTable(range(100, 102), probe=lambda _protocol, _port: True)
    assert table.lease("a", Protocol.TCP) == table.lease("a", Protocol.TCP) == 100
    assert table.lease("b", Protocol.TCP) == 101
    assert table.lease("a-udp", Protocol.UDP) in (100, 101)
    with pytest.raises(NoPortFree, match="from 100 to 101"):
        table.lease("c", Protocol.TCP)
    table.release("a")
    table.release("a")
    with pytest.raises(NoPortFree):
        table.lease("c", Protocol.TCP)
    await trio.sleep(31)
    assert table.lease("c", Protocol.TCP) == 100


async def test_a_port_that_others_use_is_passed_over() -> None:
    table = PortTable(range(100, 110), probe=lambda _protocol, port: port >= 105)
    assert table.lease("a", Protocol.TCP) == 105


async def test_an_adopted_port_is_not_leased_again() -> None:
    table = PortTable(range(100, 102), probe=lambda _protocol, _port: True)
    table.adopt("old", Protocol.TCP, 100)
    assert table.lease("new", Protocol.TCP) == 101


async def test_a_port_that_is_listened_on_can_not_be_bound() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port: int = listener.socket.getsockname()[1]
        assert not can_bind(Protocol.TCP, port)
    assert can_bind(Protocol.TCP, port)


def test_the_dynamic_range_keeps_clear_of_the_kernels(tmp_path: object) -> None:
    from pathlib import Path

    settings = Path(str(tmp_path)) / "range"
    for text, expected in (
        ("32768 60999", range(20_000, 30_000)),
        ("25000 60999", range(10_000, 25_000)),
        ("20000 65535", range(10_000, 20_000)),
        ("garbage", range(20_000, 30_000)),
    ):
        settings.write_text(text)
        assert dynamic_range(settings) == expected


# -- events -----------------------------------------------------------------------------------------------------------


async def test_events_are_written_in_groups_and_the_oldest_go_first() -> None:
    store = MemoryStore()
    ids = iter(range(10**6))
    recorder = EventRecorder(store, lambda: BEGIN, lambda: Uid(f"{next(ids):08}"))
    for number in range(MAX_EVENTS + 130):
        recorder.record("default", "workload/web", "Test", str(number))
    await recorder.flush()
    entries = (await store.list("/event/")).entries
    assert len(entries) == MAX_EVENTS
    assert entries[0].key == "/event/default/00000130"
    assert store.state.revision == -(-(MAX_EVENTS + 130) // 60)


async def test_events_wait_while_the_store_does_not_answer(autojump_clock: MockClock) -> None:
    from orchestrion.mocks import FaultKind, script

    store = MemoryStore(faults=script(("transaction", 1, FaultKind.FAIL), ("transaction", 2, FaultKind.FAIL_AFTER)))
    recorder = EventRecorder(store, lambda: BEGIN, lambda: Uid("00000001"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recorder.run)
        recorder.record("default", "workload/web", "Test", "text")
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert len((await store.list("/event/")).entries) == 1
    assert recorder.dropped == 0


# -- leadership -------------------------------------------------------------------------------------------------------


async def test_a_second_leader_waits_until_the_first_is_gone(autojump_clock: MockClock) -> None:
    store = MemoryStore(MemoryState())
    first, second = Campaign(store, "first", 10), Campaign(store, "second", 10)
    took_over = trio.Event()

    async def follow() -> None:
        async with second.lead():
            took_over.set()

    async with trio.open_nursery() as nursery:
        async with first.lead():
            nursery.start_soon(follow)
            await trio.sleep(100)
            assert not took_over.is_set()
        await took_over.wait()


async def test_the_writes_of_a_leader_that_was_taken_over_fail(autojump_clock: MockClock) -> None:
    store = MemoryStore(MemoryState())
    async with Campaign(store, "old", 10).lead() as old:
        await store.transaction((old.fence,), (Put("/a", b"1"),))
        async with Campaign(store, "new", 10, take_over=True).lead() as new:
            with pytest.raises(RevisionConflict):
                await store.transaction((old.fence,), (Put("/a", b"2"),))
            await store.transaction((new.fence,), (Put("/a", b"3"),))
    entry = (await store.get("/a")).entry
    assert entry is not None
    assert entry.value == b"3"


async def test_a_leader_that_can_not_keep_its_lease_says_so(autojump_clock: MockClock) -> None:
    hang = Fault(FaultKind.HANG)
    store = MemoryStore(faults=ScriptedFaults({("keep_alive", n): hang for n in range(1, 99)}))
    with pytest.raises(BaseExceptionGroup) as caught:
        async with Campaign(store, "one", 10).lead():
            await trio.sleep_forever()
    assert caught.group_contains(LeadershipLost)
    assert trio.current_time() <= 10


async def test_a_store_that_does_not_answer_a_campaign_in_time_is_asked_anew(autojump_clock: MockClock) -> None:
    hang = Fault(FaultKind.HANG)
    for call in ("grant_lease", "put"):
        store = MemoryStore(faults=ScriptedFaults({(call, 1): hang}))
        campaign = Campaign(store, "one", 10)
        with pytest.raises(LeadershipLost):
            async with campaign.lead():
                pass
        async with campaign.lead():
            pass


# -- health -----------------------------------------------------------------------------------------------------------

CHECK = HealthCheck(probe=TcpProbe(port="http"), healthy_threshold=2, unhealthy_threshold=3, start_period_seconds=5)


def verdict_of(*tries: str, running: float = 100.0) -> ContainerHealth:
    verdict = Verdict(CHECK)
    for failure in tries:
        verdict.add(failure, running)
    return verdict.health


@pytest.mark.parametrize(
    ("tries", "health"),
    [
        ((), ContainerHealth.UNCHECKED),
        (("",), ContainerHealth.UNCHECKED),
        (("", ""), ContainerHealth.HEALTHY),
        (("", "x", ""), ContainerHealth.UNCHECKED),
        (("x", "x"), ContainerHealth.UNCHECKED),
        (("x", "x", "x"), ContainerHealth.UNHEALTHY),
        (("x", "x", "", "x", "x"), ContainerHealth.UNCHECKED),
        (("", "", "x", "x", "", "x", "x"), ContainerHealth.HEALTHY),
        (("", "", "x", "x", "x"), ContainerHealth.UNHEALTHY),
        (("x", "x", "x", "", ""), ContainerHealth.HEALTHY),
    ],
)
def test_the_verdict_takes_so_many_tries_in_a_row(tries: tuple[str, ...], health: ContainerHealth) -> None:
    assert verdict_of(*tries) is health


def test_failures_before_the_start_period_is_over_do_not_count_until_it_was_healthy() -> None:
    assert verdict_of("x", "x", "x", "x", running=4.0) is ContainerHealth.UNCHECKED
    assert verdict_of("", "", "x", "x", "x", running=4.0) is ContainerHealth.UNHEALTHY


async def test_times_that_no_longer_count_are_dropped() -> None:
    queue = KeyedQueue[int](random.Random(0))
    for n in range(10_000):
        queue.add_after(n % 10, 10_000.0 - n)
    assert len(queue._later) <= 2 * 10 + MAX_SUPERSEDED


async def test_a_key_that_is_forgotten_does_not_come_back(autojump_clock: MockClock) -> None:
    queue = KeyedQueue[str](random.Random(0))
    queue.add_after("gone", 5)
    queue.add_after("here", 9)
    queue.forget("gone")
    assert await queue.take() == "here"
    assert trio.current_time() == 9


async def test_waiting_for_a_key_ends_when_it_is_cancelled() -> None:
    queue = KeyedQueue[str](random.Random(0))
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(queue.take)
            await wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
