"""Lanes: nobody takes more seats than there are, nobody is passed over, and one lane delays no other."""

from __future__ import annotations

import pytest
import trio
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.control_plane._identity.principals import ANONYMOUS, Principal, PrincipalKind
from orchestrion.control_plane._limits import DEFAULT_LANES, Lane, LaneSize, Limits, Rate, Seats, source_of, who_asks
from orchestrion.control_plane._limits.limits import LaneLimits
from orchestrion.shared_types import TooManyRequests
from trio.testing import MockClock, wait_all_tasks_blocked

ANN, BOB = Principal("ann"), Principal("bob")
NODE = Principal("n1", PrincipalKind.NODE)
NARROW = LaneLimits(Rate(1, 100), LaneSize(each=1, all=1, queue=1, queue_seconds=10))


@define
class World:
    """Requests that keep their seats for a time, and what can be seen of them."""

    seats: Seats
    active: dict[str, int] = field(factory=dict)
    order: list[tuple[str, int]] = field(factory=list)
    refused: list[tuple[str, int]] = field(factory=list)

    async def request(self, number: int, who: str, start: int, length: int, patience: int) -> None:
        await trio.sleep(start)
        with trio.move_on_after(patience):
            try:
                async with self.seats.taken(who):
                    self.order.append((who, number))
                    self.active[who] = self.active.get(who, 0) + 1
                    assert self.active[who] <= self.seats.size.each
                    assert sum(self.active.values()) <= self.seats.active <= self.seats.size.all
                    try:
                        await trio.sleep(length)
                    finally:
                        self.active[who] -= 1
            except TooManyRequests:
                self.refused.append((who, number))

    async def watch(self) -> None:
        for _ in range(60):
            await trio.sleep(0.5)
            await wait_all_tasks_blocked()
            for who, place in self.seats._places.items():
                assert len(place.waiting) <= self.seats.size.queue
                busy = self.seats.active == self.seats.size.all or place.active == self.seats.size.each
                assert busy or not place.waiting, f"{who} waits beside a free seat"


REQUESTS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.integers(0, 5), st.sampled_from([1, 3, 1000])), max_size=25
)


@pytest.mark.slow
@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 4), st.sampled_from([2, 1000]), REQUESTS)
def test_seats_are_never_overbooked_nor_left_empty_and_none_is_lost(
    each: int, everybody: int, queue: int, queue_seconds: int, requests: list[tuple[str, int, int, int]]
) -> None:
    world = World(Seats(LaneSize(each, everybody, queue, queue_seconds)))

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.watch)
            for number, request in enumerate(requests):
                nursery.start_soon(world.request, number, *request)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert (world.seats.active, world.seats.waiting, len(world.seats)) == (0, 0, 0)
    if all(patience == 1000 for *_, patience in requests):
        assert len(world.order) + len(world.refused) == len(requests)


async def test_those_who_wait_get_seats_in_turn(autojump_clock: MockClock) -> None:
    world = World(Seats(LaneSize(each=1, all=1, queue=10, queue_seconds=100)))
    async with trio.open_nursery() as nursery:
        for number, who in enumerate("aaaabbcc"):
            nursery.start_soon(world.request, number, who, 0, 1, 1000)
            await wait_all_tasks_blocked()
    assert [who for who, _ in world.order] == list("abcabcaa")
    assert sorted(number for _, number in world.order) == list(range(8))
    for who in "abc":
        assert [n for w, n in world.order if w == who] == sorted(n for w, n in world.order if w == who)


async def test_who_gives_up_waiting_keeps_nobody_waiting(autojump_clock: MockClock) -> None:
    world = World(Seats(LaneSize(each=1, all=1, queue=10, queue_seconds=100)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.request, 0, "a", 0, 5, 1000)
        nursery.start_soon(world.request, 1, "b", 1, 5, 2)
        nursery.start_soon(world.request, 2, "b", 2, 5, 1000)
    assert [number for _, number in world.order] == [0, 2]
    assert trio.current_time() == pytest.approx(10)


async def test_a_lane_that_is_full_turns_away_and_says_when_to_come_again(autojump_clock: MockClock) -> None:
    limits = Limits({**DEFAULT_LANES, Lane.WRITE: NARROW})
    async with trio.open_nursery() as nursery:

        async def work() -> None:
            async with limits.admitted(ANN, "", Lane.WRITE):
                await trio.sleep(3)

        nursery.start_soon(work)
        nursery.start_soon(work)
        await wait_all_tasks_blocked()
        assert (limits.active(Lane.WRITE), limits.waiting(Lane.WRITE)) == (1, 1)
        with pytest.raises(TooManyRequests, match="as many requests wait") as caught:
            async with limits.admitted(ANN, "", Lane.WRITE):
                pass
        assert caught.value.retry_after_seconds == 1.0
    assert trio.current_time() == pytest.approx(6)


async def test_who_waited_too_long_is_turned_away(autojump_clock: MockClock) -> None:
    limits = Limits({**DEFAULT_LANES, Lane.WRITE: NARROW})
    async with limits.admitted(ANN, "", Lane.WRITE):
        with pytest.raises(TooManyRequests, match="no room for 10 s"):
            async with limits.admitted(BOB, "", Lane.WRITE):
                pass
    assert trio.current_time() == pytest.approx(10)


async def test_who_asks_too_often_is_told_exactly_how_long_to_wait(autojump_clock: MockClock) -> None:
    size = LaneSize(each=9, all=9, queue=0)
    limits = Limits({**DEFAULT_LANES, Lane.READ: LaneLimits(Rate(0.5, 2), size)})
    for _ in range(2):
        async with limits.admitted(ANN, "", Lane.READ):
            pass
    with pytest.raises(TooManyRequests, match="user:ann asks too often") as caught:
        async with limits.admitted(ANN, "", Lane.READ):
            pass
    assert caught.value.retry_after_seconds == 2.0
    async with limits.admitted(BOB, "", Lane.READ):
        pass
    await trio.sleep(caught.value.retry_after_seconds)
    async with limits.admitted(ANN, "", Lane.READ):
        pass


async def test_who_is_turned_away_for_lack_of_room_loses_no_token(autojump_clock: MockClock) -> None:
    limits = Limits({**DEFAULT_LANES, Lane.READ: LaneLimits(Rate(0.001, 2), LaneSize(each=1, all=1, queue=0))})
    async with limits.admitted(ANN, "", Lane.READ):
        for _ in range(5):
            with pytest.raises(TooManyRequests, match="at once"):
                async with limits.admitted(ANN, "", Lane.READ):
                    pass
    async with limits.admitted(ANN, "", Lane.READ):
        pass


async def test_heartbeats_are_let_in_at_once_whatever_else_is_going_on(autojump_clock: MockClock) -> None:
    limits = Limits({**dict.fromkeys(Lane, NARROW), Lane.NODE: DEFAULT_LANES[Lane.NODE]}, unknown=NARROW)

    async def hold(principal: Principal, lane: Lane) -> None:
        async with limits.admitted(principal, "10.0.0.1", lane):
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for principal in (ANN, NODE, ANONYMOUS):
            for lane in (Lane.READ, Lane.WRITE, Lane.STREAM):
                if principal is not ANONYMOUS or lane is Lane.READ:
                    nursery.start_soon(hold, principal, lane)
        await trio.sleep(1)
        for number in range(200):
            async with limits.admitted(Principal(f"n{number}", PrincipalKind.NODE), "10.0.0.1", Lane.NODE):
                assert trio.current_time() == pytest.approx(1)
        nursery.cancel_scope.cancel()


async def test_who_is_no_node_does_not_get_the_lane_of_nodes(autojump_clock: MockClock) -> None:
    limits = Limits()
    async with limits.admitted(ANN, "", Lane.NODE):
        assert (limits.active(Lane.NODE), limits.active(Lane.READ)) == (0, 1)


async def test_those_who_are_not_known_are_counted_by_address(autojump_clock: MockClock) -> None:
    limits = Limits(unknown=LaneLimits(Rate(1, 2), LaneSize(each=5, all=5, queue=0)))
    for lane in (Lane.READ, Lane.WRITE):
        async with limits.admitted(ANONYMOUS, "10.0.0.1", lane):
            pass
    with pytest.raises(TooManyRequests, match=r"address:10\.0\.0\.1"):
        async with limits.admitted(ANONYMOUS, "10.0.0.1", Lane.STREAM):
            pass
    async with limits.admitted(ANONYMOUS, "10.0.0.2", Lane.READ), limits.admitted(ANN, "10.0.0.1", Lane.READ):
        pass


async def test_wrong_proofs_are_counted_by_address_and_by_whom_they_name(autojump_clock: MockClock) -> None:
    limits = Limits(unknown=LaneLimits(Rate(1, 2), LaneSize(each=5, all=5, queue=0)))
    for _ in range(2):
        limits.check_proofs("10.0.0.1")
        limits.count_wrong_proof("10.0.0.1")
    for refused in (limits.check_proofs, limits.count_wrong_proof):
        with pytest.raises(TooManyRequests, match=r"address:10\.0\.0\.1 asks") as caught:
            refused("10.0.0.1")
        assert caught.value.retry_after_seconds == pytest.approx(1)
    limits.check_proofs("10.0.0.2")
    limits.check_proofs("10.0.0.1", "token:a")
    for _ in range(2):
        limits.count_wrong_proof("10.0.0.1", "token:a")
    with pytest.raises(TooManyRequests):
        limits.check_proofs("10.0.0.1", "token:a")
    limits.check_proofs("10.0.0.1", "token:b")
    await trio.sleep(1)
    limits.check_proofs("10.0.0.1")


async def test_looking_whether_there_are_too_many_counts_nothing(autojump_clock: MockClock) -> None:
    limits = Limits(unknown=LaneLimits(Rate(1, 1), LaneSize(each=5, all=5, queue=0)))
    for _ in range(5):
        limits.check_proofs("10.0.0.1")
    limits.count_wrong_proof("10.0.0.1")


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("10.0.0.1", "address:10.0.0.1"),
        ("::ffff:10.0.0.1", "address:10.0.0.1"),
        ("2001:db8::1", "address:2001:db8::/64"),
        ("2001:db8::ffff:1", "address:2001:db8::/64"),
        ("fe80::1%eth0", "address:fe80::/64"),
        ("", "local"),
        ("some/socket", "local"),
    ],
)
def test_an_address_is_counted_with_those_of_the_same_owner(address: str, source: str) -> None:
    assert source_of(address) == source == who_asks(ANONYMOUS, address)
    assert who_asks(ANN, address) == "user:ann"
