"""The scheduling queue: order, sleep, back-off, deadlines; and that it does what a naive one does."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, evolve
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.scheduler_interface import (
    ClusterChange,
    ClusterChangeKind,
    Explanation,
    NodeView,
    Predicate,
    QueuePart,
    RefusalGroup,
    SchedulingQueue,
    SchedulingRequest,
    cluster_changes,
    node_view,
)
from orchestrion.scheduler_interface.conformance._build import asking, container, neighbour, node, resources, workload
from orchestrion.shared_types import InstanceAffinity, MissPolicy, NodeId

N1 = NodeId("n1")
HOLDER = neighbour(demand=resources(cpu=800))
FULL, FREE = node_view(node("n1"), [HOLDER]), node_view(node("n1"))
(ROOM,) = cluster_changes(FULL, FREE)
(CORDON,) = cluster_changes(FREE, node_view(evolve(node("n1"), cordoned=True)))
HUNGRY = asking(workload(container(wants=resources(cpu=600))))


def refused_for(predicate: Predicate) -> Explanation:
    """Return that the only node there is fails one predicate."""
    return Explanation(groups=(RefusalGroup(predicate=predicate, node_count=1, samples=(N1,)),), nodes_considered=1)


DB_HERE = InstanceAffinity(match_labels={"app": "db"}, by="node")
NO_ROOM = refused_for(Predicate.RESOURCE)


def queue_of(**options: Any) -> SchedulingQueue[str]:
    return SchedulingQueue[str](**options)


def popped(queue: SchedulingQueue[str], now: float = 0.0) -> list[str]:
    """Take everything that may be tried."""
    keys = []
    while (entry := queue.pop(now)) is not None:
        keys.append(entry.key)
    return keys


def put_to_sleep(queue: SchedulingQueue[str], key: str, now: float, request: SchedulingRequest | None = None) -> None:
    """Try an entry in vain."""
    assert queue.take(key, now)
    queue.failed(key, NO_ROOM, now, request=request)


def part_of(queue: SchedulingQueue[str], key: str) -> QueuePart:
    entry = queue.get(key)
    assert entry is not None
    return entry.part


def test_the_highest_priority_goes_first_then_the_earliest_deadline_then_who_came_first() -> None:
    queue = queue_of()
    queue.add("low", now=0.0, priority=1)
    queue.add("whenever", now=0.0, priority=5)
    queue.add("later", now=0.0, priority=5)
    queue.add("by ten", now=0.0, priority=5, deadline=10.0)
    queue.add("by five", now=0.0, priority=5, deadline=5.0)
    queue.add("high", now=0.0, priority=9)
    assert popped(queue) == ["high", "by five", "by ten", "whenever", "later", "low"]


def test_waiting_past_marks_of_the_clock_makes_up_for_priority() -> None:
    queue = queue_of(ageing_seconds=10.0, ageing_points=5)
    queue.add("old", now=9.0, priority=0)
    queue.add("equal", now=29.0, priority=10)
    queue.add("above", now=29.0, priority=11)
    assert popped(queue, 29.0) == ["above", "old", "equal"]


@given(st.integers(0, 2**32), st.floats(1, 1000), st.integers(1, 100), st.floats(0, 1e6), st.floats(0, 1e6))
def test_nothing_that_comes_after_the_stated_time_goes_first(
    gap: int, ageing_seconds: float, ageing_points: int, came: float, more: float
) -> None:
    queue = queue_of(ageing_seconds=ageing_seconds, ageing_points=ageing_points)
    queue.add("patient", now=came, priority=0)
    later = came + ageing_seconds * (gap / ageing_points + 1) * 1.000001 + more
    queue.add("urgent", now=later, priority=gap, deadline=0.0)
    assert popped(queue, later) == ["patient", "urgent"]


def test_a_stream_of_higher_priority_starves_nobody() -> None:
    """One place is free a second, and two that go before come meanwhile."""
    queue = queue_of(ageing_seconds=10.0, ageing_points=5)
    queue.add("patient", now=0.0, priority=0)
    for second in range(1000):
        queue.add(f"a{second}", now=float(second), priority=100)
        queue.add(f"b{second}", now=float(second), priority=100)
        entry = queue.pop(float(second))
        assert entry is not None
        queue.discard(entry.key)
        if entry.key == "patient":
            break
    # What came in the first 210 seconds goes before it: two a second, of which one is placed.
    assert 200 <= second <= 420


def test_equals_take_turns() -> None:
    queue = queue_of()
    queue.add("a", now=0.0)
    queue.add("b", now=0.0)
    turns = []
    for second in range(6):
        entry = queue.pop(float(second))
        assert entry is not None
        turns.append(entry.key)
        queue.failed(entry.key, NO_ROOM, float(second), fruitful=True)
        queue.wake(ROOM, float(second))
    assert turns == ["a", "b", "a", "b", "a", "b"]


def test_what_has_no_place_sleeps_until_a_change_can_help() -> None:
    queue = queue_of()
    queue.add("web", now=0.0)
    put_to_sleep(queue, "web", 0.0)
    assert popped(queue, 50.0) == []
    assert queue.wake(CORDON, 50.0) == ()
    assert part_of(queue, "web") is QueuePart.UNSCHEDULABLE
    assert queue.wake(ROOM, 50.0) == ("web",)
    assert popped(queue, 50.0) == ["web"]


def test_room_that_is_too_small_wakes_nobody() -> None:
    queue = queue_of()
    queue.add("web", now=0.0)
    put_to_sleep(queue, "web", 0.0, HUNGRY)
    tight = node_view(node("n1"), [neighbour(1, demand=resources(cpu=500))])
    (change,) = (c for c in cluster_changes(FULL, tight) if c.kind is ClusterChangeKind.INSTANCE_REMOVED)
    assert queue.wake(change, 10.0) == ()
    assert queue.wake(ROOM, 10.0) == ("web",)


def test_whoever_finds_the_room_gone_sleeps_on_and_has_not_tried_in_vain() -> None:
    queue = queue_of()
    for key in ("first", "second"):
        queue.add(key, now=0.0)
        put_to_sleep(queue, key, 0.0, HUNGRY)
    assert queue.wake(ROOM, 10.0) == ("first", "second")
    nodes: dict[NodeId, NodeView] = {N1: FREE}
    taken = queue.pop(10.0, look=nodes.get)
    assert taken is not None
    assert taken.key == "first"
    queue.discard("first")
    nodes[N1] = FULL
    assert queue.pop(10.0, look=nodes.get) is None
    second = queue.get("second")
    assert second is not None
    assert (second.part, second.fruitless) == (QueuePart.UNSCHEDULABLE, 1)
    assert queue.wake(ROOM, 11.0) == ("second",)


def test_a_node_that_came_on_the_way_is_not_forgotten_when_the_first_is_gone() -> None:
    queue = queue_of()
    queue.add("web", now=0.0)
    put_to_sleep(queue, "web", 0.0, HUNGRY)
    other = node_view(node("n2"))
    queue.wake(ROOM, 10.0)
    queue.wake(cluster_changes(None, other)[0], 10.0)
    assert queue.take("web", 10.0, look={N1: FULL, NodeId("n2"): other}.get)


def test_a_change_while_an_entry_is_being_tried_counts() -> None:
    queue = queue_of(first_backoff_seconds=0.0)
    queue.add("web", now=0.0)
    assert queue.take("web", 0.0)
    queue.wake(ROOM, 0.0)
    queue.failed("web", NO_ROOM, 0.0, request=HUNGRY)
    assert part_of(queue, "web") is QueuePart.ACTIVE


@pytest.mark.parametrize("told", [True, False], ids=["told one by one", "not told"])
def test_more_changes_than_are_remembered_may_be_any(*, told: bool) -> None:
    queue = queue_of(first_backoff_seconds=0.0)
    queue.add("web", now=0.0)
    assert queue.take("web", 0.0)
    for _ in range(300 if told else 0):
        queue.wake(CORDON, 0.0)
    if not told:
        queue.wake_all(0.0)
    queue.failed("web", NO_ROOM, 0.0)
    assert part_of(queue, "web") is QueuePart.ACTIVE


def test_another_request_while_the_former_is_being_tried_is_tried_at_once() -> None:
    queue = queue_of()
    queue.add("web", now=0.0)
    assert queue.take("web", 0.0)
    queue.add("web", now=0.0, priority=3)
    queue.failed("web", NO_ROOM, 0.0)
    entry = queue.get("web")
    assert entry is not None
    assert (entry.part, entry.priority, entry.fruitless, entry.explanation) == (QueuePart.ACTIVE, 3, 0, None)


def test_tries_in_vain_are_ever_further_apart_up_to_the_cap() -> None:
    queue = queue_of(first_backoff_seconds=1.0, max_backoff_seconds=60.0)
    queue.add("web", now=0.0)
    now, waits = 0.0, []
    for _ in range(9):
        put_to_sleep(queue, "web", now)
        queue.wake(ROOM, now)
        entry = queue.get("web")
        assert entry is not None
        assert entry.part is QueuePart.BACKOFF
        assert popped(queue, entry.not_before - 0.001) == []
        assert queue.next_time(now) == entry.not_before
        waits.append(entry.not_before - now)
        now = entry.not_before
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_node_that_passes_everything_ends_the_back_off_but_not_if_that_was_so_before() -> None:
    queue = queue_of()
    queue.add("web", now=0.0)
    put_to_sleep(queue, "web", 0.0, HUNGRY)
    queue.wake(ROOM, 0.1)
    assert part_of(queue, "web") is QueuePart.ACTIVE
    put_to_sleep(queue, "web", 0.1, HUNGRY)
    queue.wake(ROOM, 0.2)
    assert part_of(queue, "web") is QueuePart.BACKOFF


def test_room_on_a_node_ends_no_back_off_of_what_asks_for_neighbours() -> None:
    queue = queue_of()
    queue.add("web", now=0.0)
    put_to_sleep(queue, "web", 0.0, asking(workload(instance_affinities=(DB_HERE,))))
    queue.wake(ROOM, 0.1)
    assert part_of(queue, "web") is QueuePart.BACKOFF


def test_a_try_that_says_nothing_about_places_changes_nothing() -> None:
    queue = queue_of()
    queue.add("web", now=0.0)
    assert queue.take("web", 0.0)
    queue.release("web", 0.0)
    entry = queue.get("web")
    assert entry is not None
    assert (entry.part, entry.fruitless) == (QueuePart.ACTIVE, 0)


def test_some_success_ends_the_back_off() -> None:
    queue = queue_of()
    queue.add("web", now=0.0)
    put_to_sleep(queue, "web", 0.0)
    queue.wake(ROOM, 5.0)
    assert queue.take("web", 5.0)
    queue.failed("web", NO_ROOM, 5.0, fruitful=True)
    queue.wake(ROOM, 5.0)
    assert popped(queue, 5.0) == ["web"]


def test_chance_makes_a_back_off_shorter_by_a_fifth_at_most() -> None:
    queue = queue_of(first_backoff_seconds=10.0, random=lambda: 0.5)
    queue.add("web", now=0.0)
    put_to_sleep(queue, "web", 0.0)
    entry = queue.get("web")
    assert entry is not None
    assert entry.not_before == pytest.approx(9.0)


def test_a_sleep_ends_by_itself_after_a_long_time() -> None:
    queue = queue_of(flush_seconds=300.0)
    queue.add("web", now=0.0)
    put_to_sleep(queue, "web", 0.0)
    assert popped(queue, 299.0) == []
    assert queue.next_time(299.0) == 300.0
    entry = queue.pop(300.0)
    assert entry is not None
    assert (entry.key, entry.flushed) == ("web", True)


def test_another_request_ends_sleep_and_back_off() -> None:
    queue = queue_of()
    queue.add("web", now=0.0)
    put_to_sleep(queue, "web", 0.0)
    queue.add("web", now=0.1)
    entry = queue.get("web")
    assert entry is not None
    assert (entry.part, entry.since, entry.fruitless) == (QueuePart.ACTIVE, 0.0, 0)


def test_a_missed_deadline_is_told_once_and_the_entry_goes_on() -> None:
    queue = queue_of()
    queue.add("web", now=0.0, deadline=10.0)
    assert queue.missed(9.9) == []
    assert [(entry.key, entry.late) for entry in queue.missed(10.0)] == [("web", True)]
    assert queue.missed(11.0) == []
    assert popped(queue, 11.0) == ["web"]


def test_what_is_dropped_at_its_deadline_is_not_tried_any_more() -> None:
    queue = queue_of()
    queue.add("web", now=0.0, deadline=10.0, policy=MissPolicy.DROP)
    assert queue.next_time(0.0) == 10.0
    assert popped(queue, 10.0) == []
    assert [entry.key for entry in queue.missed(10.0)] == ["web"]
    assert "web" not in queue


def test_what_is_in_hand_at_its_deadline_is_told_of_when_it_has_failed() -> None:
    queue = queue_of()
    queue.add("web", now=0.0, deadline=10.0, policy=MissPolicy.DROP)
    assert queue.take("web", 9.0)
    assert queue.missed(10.0) == []
    queue.failed("web", NO_ROOM, 10.0)
    assert [entry.key for entry in queue.missed(10.0)] == ["web"]


def test_a_deadline_that_is_put_off_is_not_missed() -> None:
    queue = queue_of()
    queue.add("web", now=0.0, deadline=10.0, policy=MissPolicy.DROP)
    queue.add("web", now=5.0, deadline=20.0, policy=MissPolicy.DROP)
    assert queue.missed(10.0) == []
    assert popped(queue, 10.0) == ["web"]


def test_nothing_listens_in_a_queue_where_nothing_sleeps() -> None:
    queue = queue_of()
    queue.add("web", now=0.0)
    listened = [queue.listens]
    put_to_sleep(queue, "web", 0.0)
    listened.append(queue.listens)
    queue.discard("web")
    listened.append(queue.listens)
    assert listened == [False, True, False]


def test_a_deadline_that_is_said_again_is_remembered_once_and_missed_once() -> None:
    queue = queue_of()
    for now in range(100):
        queue.add("a", now=float(now), deadline=100.0)
    assert len(queue._deadlines) == 1  # what it remembers shows nowhere else
    assert [entry.key for entry in queue.missed(100.0)] == ["a"]
    queue.add("a", now=101.0, deadline=100.0)
    assert [entry.key for entry in queue.missed(102.0)] == ["a"]
    assert queue.missed(103.0) == []


def test_what_is_over_leaves_nothing_behind() -> None:
    queue = queue_of(first_backoff_seconds=0.0)
    for number in range(2000):
        queue.add("web", now=float(number), deadline=1e9 + number)
        assert queue.take("web", float(number))
        queue.failed("web", NO_ROOM, float(number))
        queue.wake(ROOM, float(number))
    held = [len(value) for value in vars(queue).values() if isinstance(value, list)]
    assert len(held) == 3
    assert max(held) <= 20


@pytest.mark.parametrize(
    "options",
    [
        {"ageing_seconds": 0.0},
        {"ageing_points": 0},
        {"flush_seconds": 0.0},
        {"first_backoff_seconds": -1.0},
        {"first_backoff_seconds": 2.0, "max_backoff_seconds": 1.0},
    ],
    ids=str,
)
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="seconds"):
        queue_of(**options)


AGEING, POINTS, FIRST, CAP, FLUSH = 10.0, 5, 1.0, 8.0, 30.0
REASONS = (Predicate.RESOURCE, Predicate.CORDONED)
UNCORDON = ClusterChange(kind=ClusterChangeKind.NODE_CORDON, node_id=N1, node=FREE)
HELPS = {Predicate.RESOURCE: ROOM, Predicate.CORDONED: UNCORDON}


@define
class _Naive:
    """What is to be known about an entry, and nothing to find it by."""

    came: int
    since: float
    priority: int
    deadline: float | None
    drops: bool
    part: str = "active"
    late: bool = False
    fruitless: int = 0
    not_before: float = 0.0
    flush_at: float = 0.0
    reason: Predicate = Predicate.RESOURCE
    woken: bool = False


class _NaiveQueue:
    """The rules of `SchedulingQueue`, by a look at all entries each time."""

    def __init__(self) -> None:
        self.entries: dict[str, _Naive] = {}
        self.came = 0

    def add(self, key: str, now: float, priority: int, deadline: float | None, *, drops: bool) -> None:
        known = self.entries.get(key)
        self.came += known is None
        came, since = (known.came, known.since) if known else (self.came, now)
        self.entries[key] = _Naive(came, since, priority, deadline, drops)

    def part(self, key: str, now: float) -> str:
        entry = self.entries[key]
        if entry.part != "asleep":
            return entry.part
        if (entry.woken and now >= entry.not_before) or (not entry.woken and now >= entry.flush_at):
            return "active"
        return "back-off" if entry.woken else "unschedulable"

    def pop(self, now: float) -> str | None:
        def effective(key: str) -> int:
            entry = self.entries[key]
            return entry.priority + POINTS * int(now // AGEING - entry.since // AGEING)

        able = [
            key
            for key, entry in self.entries.items()
            if self.part(key, now) == "active"
            and not (entry.drops and entry.deadline is not None and entry.deadline <= now)
        ]
        never = float("inf")
        able.sort(
            key=lambda key: (
                -effective(key),
                never if (deadline := self.entries[key].deadline) is None else deadline,
                self.entries[key].came,
            )
        )
        if not able:
            return None
        self.entries[able[0]].part = "in hand"
        return able[0]

    def failed(self, key: str, now: float, reason: Predicate, *, fruitful: bool) -> None:
        entry = self.entries[key]
        entry.part, entry.reason, entry.woken = "asleep", reason, False
        entry.fruitless = 0 if fruitful else entry.fruitless + 1
        if fruitful:
            self.came += 1
            entry.came, entry.since = self.came, now
        entry.not_before = now + (min(CAP, FIRST * 2 ** (entry.fruitless - 1)) if entry.fruitless else 0.0)
        entry.flush_at = now + FLUSH

    def wake(self, reason: Predicate, now: float) -> set[str]:
        moved = {
            key
            for key, entry in self.entries.items()
            if entry.part == "asleep" and self.part(key, now) == "unschedulable" and entry.reason is reason
        }
        for key in moved:
            self.entries[key].woken = True
        return moved

    def missed(self, now: float) -> list[str]:
        found = [
            key
            for key, entry in self.entries.items()
            if entry.deadline is not None and entry.deadline <= now and not entry.late and entry.part != "in hand"
        ]
        for key in found:
            self.entries[key].late = True
            if self.entries[key].drops:
                del self.entries[key]
        return found


KEYS = st.sampled_from("abcde")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), KEYS, st.integers(-20, 20), st.one_of(st.none(), st.integers(0, 60)), st.booleans()),
        st.tuples(st.just("try"), st.sampled_from(REASONS), st.sampled_from(("placed", "some", "none", "none"))),
        st.tuples(st.just("wake"), st.sampled_from(REASONS)),
        st.tuples(st.just("discard"), KEYS),
        st.tuples(st.just("missed")),
        st.tuples(st.just("pass"), st.sampled_from((0.5, 1.0, 4.0, 10.0, 30.0))),
    ),
    max_size=40,
)


@given(STEPS)
def test_it_does_what_a_naive_queue_does(steps: list[tuple[Any, ...]]) -> None:
    queue = queue_of(
        ageing_seconds=AGEING,
        ageing_points=POINTS,
        first_backoff_seconds=FIRST,
        max_backoff_seconds=CAP,
        flush_seconds=FLUSH,
    )
    naive = _NaiveQueue()
    now = 0.0
    for step in steps:
        match step:
            case ("add", key, priority, deadline, drops):
                at = None if deadline is None else float(deadline)
                policy = MissPolicy.DROP if drops else MissPolicy.LATE
                queue.add(key, now=now, priority=priority, deadline=at, policy=policy)
                naive.add(key, now, priority, at, drops=drops)
            case ("try", reason, success):
                entry, expected = queue.pop(now), naive.pop(now)
                assert (None if entry is None else entry.key) == expected
                if expected is not None and success == "placed":
                    queue.discard(expected)
                    del naive.entries[expected]
                elif expected is not None:
                    queue.failed(expected, refused_for(reason), now, fruitful=success == "some")
                    naive.failed(expected, now, reason, fruitful=success == "some")
            case ("wake", reason):
                assert set(queue.wake(HELPS[reason], now)) == naive.wake(reason, now)
            case ("discard", key):
                queue.discard(key)
                naive.entries.pop(key, None)
            case ("missed",):
                assert sorted(entry.key for entry in queue.missed(now)) == sorted(naive.missed(now))
            case ("pass", seconds):
                now += seconds
        queue.next_time(now)
        assert {key: str(part_of(queue, key)) for key in queue} == {key: naive.part(key, now) for key in naive.entries}
