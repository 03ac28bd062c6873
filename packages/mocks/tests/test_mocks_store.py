"""What MemoryStore does beyond the interface: a state that survives it, faults, bounds, and little work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from attrs import define
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.mocks import (
    Fault,
    FaultKind,
    MemoryState,
    MemoryStore,
    NoFaults,
    SimulatedCrash,
    _store_keys,
    script,
)
from orchestrion.mocks._store_keys import SortedKeys
from orchestrion.mocks._store_leases import LeaseDeadlines
from orchestrion.store_interface import (
    ABSENT,
    LeaseNotFound,
    Put,
    Revision,
    RevisionCompacted,
    RevisionConflict,
    StoreClosed,
    StoreUnavailable,
)
from trio.testing import wait_all_tasks_blocked

# The state


async def test_a_state_outlives_its_store() -> None:
    store = MemoryStore()
    await store.put("a", b"1")
    again = MemoryStore(store.state)
    assert (await again.get("a")).revision == 1
    assert await again.put("a", b"2", expected=Revision(1)) == 2
    async with again.watch("", since=Revision(0)) as batches:
        assert [change.revision for change in (await anext(batches)).changes] == [1, 2]


async def test_opening_a_state_anew_closes_the_store_that_had_it() -> None:
    former = MemoryStore()

    async def follow() -> None:
        with pytest.raises(StoreClosed):
            async with former.watch("") as batches:
                await anext(batches)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await wait_all_tasks_blocked()
        MemoryStore(former.state)
    with pytest.raises(StoreClosed, match="open it anew"):
        await former.put("a", b"v")


async def test_closing_keeps_the_state_for_the_next_store() -> None:
    store = MemoryStore()
    await store.put("a", b"1")
    await store.aclose()
    assert (await MemoryStore(store.state).list("")).revision == 1


def test_a_store_made_outside_a_trio_run_starts_its_leases_at_its_first_call() -> None:
    state = MemoryState()

    async def grant() -> None:
        store = MemoryStore(state)
        await store.put("a", b"v", lease=await store.grant_lease(5))

    trio.run(grant, clock=trio.testing.MockClock(autojump_threshold=0))
    store = MemoryStore(state)

    async def look() -> None:
        await trio.sleep(100)
        assert (await store.get("a")).entry is not None
        await trio.sleep(5)
        assert (await store.get("a")).entry is None

    trio.run(look, clock=trio.testing.MockClock(autojump_threshold=0))


# Faults


async def test_no_faults_is_what_none_is() -> None:
    store = MemoryStore(faults=NoFaults())
    assert await store.put("a", b"v") == 1


async def test_fail_has_no_effect() -> None:
    store = MemoryStore(faults=script(("put", 1, FaultKind.FAIL)))
    with pytest.raises(StoreUnavailable):
        await store.put("a", b"v")
    assert store.state.revision == 0
    assert await store.put("a", b"v") == 1


async def test_fail_after_has_its_effect_and_loses_the_reply() -> None:
    store = MemoryStore(faults=script(("transaction", 1, FaultKind.FAIL_AFTER)))
    with pytest.raises(StoreUnavailable):
        await store.transaction([], [Put("a", b"v"), Put("b", b"v")])
    assert [*store.state.entries] == ["a", "b"]


async def test_fail_after_loses_a_refusal_too() -> None:
    store = MemoryStore(faults=script(("put", 2, FaultKind.FAIL_AFTER)))
    await store.put("a", b"v")
    with pytest.raises(StoreUnavailable) as raised:
        await store.put("a", b"v", expected=ABSENT)
    assert isinstance(raised.value.__cause__, RevisionConflict)


@pytest.mark.parametrize(("kind", "written"), [(FaultKind.CRASH_BEFORE, []), (FaultKind.CRASH_AFTER, ["a"])])
async def test_a_crash_is_before_or_after_the_effect_and_the_state_can_be_opened_anew(
    kind: FaultKind, written: list[str]
) -> None:
    store = MemoryStore(faults=script(("put", 1, kind)))
    with pytest.raises(SimulatedCrash):
        await store.put("a", b"v")
    for call in (store.get("a"), store.put("b", b"v"), store.list("")):
        with pytest.raises(SimulatedCrash):
            await call
    again = MemoryStore(store.state)
    assert [entry.key for entry in (await again.list("")).entries] == written


async def test_a_watch_that_waited_through_a_crash_says_so() -> None:
    store = MemoryStore(faults=script(("put", 1, FaultKind.CRASH_AFTER)))

    async def follow() -> None:
        async with store.watch("") as batches:
            with pytest.raises(SimulatedCrash):
                await anext(batches)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await wait_all_tasks_blocked()
        with pytest.raises(SimulatedCrash):
            await store.put("a", b"v")


async def test_delay_waits_before_the_effect(autojump_clock: trio.testing.MockClock) -> None:
    store = MemoryStore(faults=script(("put", 1, Fault(FaultKind.DELAY, 30))))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.put, "a", b"late")
        await trio.sleep(29)
        await store.put("a", b"early")
    assert store.state.entries["a"].value == b"late"


async def test_hang_can_be_cancelled_and_has_no_effect(autojump_clock: trio.testing.MockClock) -> None:
    store = MemoryStore(faults=script(("put", 1, FaultKind.HANG)))
    with trio.move_on_after(60) as scope:
        await store.put("a", b"v")
    assert scope.cancelled_caught
    assert store.state.revision == 0


async def test_lies_are_reads_of_the_revision_before() -> None:
    store = MemoryStore(faults=script(("get", 1, FaultKind.LIE), ("list", 1, FaultKind.LIE)))
    await store.put("a", b"1")
    await store.put("a", b"2")
    old = await store.get("a")
    assert old.entry is not None
    assert (old.entry.value, old.revision) == (b"1", 1)
    assert [entry.value for entry in (await store.list("")).entries] == [b"1"]
    assert [entry.value for entry in (await store.list("")).entries] == [b"2"]


async def test_a_lie_about_the_empty_store_is_the_truth() -> None:
    store = MemoryStore(faults=script(("get", 1, FaultKind.LIE)))
    assert (await store.get("a")).revision == 0


async def test_a_lease_kept_alive_by_a_lie_ends(autojump_clock: trio.testing.MockClock) -> None:
    store = MemoryStore(faults=script(("keep_alive", 1, FaultKind.LIE)))
    lease = await store.grant_lease(10)
    await trio.sleep(8)
    await store.keep_alive(lease)
    await trio.sleep(8)
    with pytest.raises(LeaseNotFound):
        await store.keep_alive(lease)


async def test_a_write_does_not_lie() -> None:
    store = MemoryStore(faults=script(("put", 1, FaultKind.LIE)))
    assert await store.put("a", b"v") == 1
    assert [*store.state.entries] == ["a"]


async def test_events_are_lost_and_repeated() -> None:
    store = MemoryStore(faults=script(("event", 1, FaultKind.LOSE_EVENT), ("event", 2, FaultKind.REPEAT_EVENT)))
    async with store.watch("") as batches:
        for key in "abc":
            await store.put(key, b"v")
        batch = await anext(batches)
    assert ([change.key for change in batch.changes], batch.revision) == (["b", "b", "c"], 3)


async def test_a_watch_that_fails_once_goes_on_where_it_was() -> None:
    store = MemoryStore(faults=script(("next", 1, FaultKind.FAIL), ("next", 2, FaultKind.FAIL_AFTER)))
    async with store.watch("") as batches:
        await store.put("a", b"v")
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await anext(batches)
        assert [change.key for change in (await anext(batches)).changes] == ["a"]


async def test_entering_a_watch_can_fail() -> None:
    store = MemoryStore(faults=script(("watch", 1, FaultKind.FAIL)))
    with pytest.raises(StoreUnavailable):
        async with store.watch(""):
            pass
    async with store.watch("") as batches:
        await store.put("a", b"v")
        await anext(batches)


async def test_no_fault_touches_closing() -> None:
    store = MemoryStore(faults=script(("*", 1, FaultKind.CRASH_BEFORE)))
    with pytest.raises(SimulatedCrash):
        await store.get("a")
    await store.aclose()


# Bounds


async def test_history_is_forgotten_beyond_the_limit() -> None:
    store = MemoryStore(history_limit=100)
    for number in range(1000):
        await store.put(f"{number % 3}", b"v")
        assert min(number + 1, 100) <= store.state.revision - store.state.oldest <= 125
    with pytest.raises(RevisionCompacted):
        await store.get("0", at_revision=Revision(800))
    assert (await store.get("0", at_revision=Revision(900))).revision == 900


async def test_a_reader_that_falls_behind_the_limit_is_cut_off_and_holds_nothing() -> None:
    store = MemoryStore(history_limit=10)
    async with store.watch("") as slow, store.watch("unrelated") as quiet:
        for _ in range(50):
            await store.put("a", b"v")
        (watcher,) = store._hub._by_prefix[""]
        assert len(watcher.pending) <= 13
        for _ in range(2):
            with pytest.raises(RevisionCompacted) as raised:
                await anext(slow)
            assert raised.value.oldest == store.state.oldest
        await store.put("unrelated", b"v")
        assert len((await anext(quiet)).changes) == 1


async def test_leaving_a_watch_leaves_nothing_behind() -> None:
    store = MemoryStore()
    for prefix in ("", "a", "b"):
        async with store.watch(prefix), store.watch(prefix):
            pass
    assert (store._hub._by_prefix, store._hub._parked, store._hub._lengths) == ({}, {}, [])


async def test_a_lease_that_is_kept_alive_often_costs_one_place(autojump_clock: trio.testing.MockClock) -> None:
    deadlines = LeaseDeadlines({})
    store = MemoryStore()
    store._deadlines = deadlines
    lease = await store.grant_lease(10)
    for _ in range(100):
        await trio.sleep(5)
        await store.keep_alive(lease)
    assert len(deadlines._heap) == 1
    await store.revoke(lease)
    await trio.sleep(100)
    await store.get("a")
    assert deadlines._heap == []


# Little work


@define(eq=False)
class Steps(trio.abc.Instrument):
    """Counts how often a task ran."""

    task: trio.lowlevel.Task
    count: int = 0

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task is self.task


async def test_each_call_is_one_checkpoint() -> None:
    store = MemoryStore()
    lease = await store.grant_lease(60)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.put("a", b"v"),
        lambda: store.get("a"),
        lambda: store.list(""),
        lambda: store.transaction([], [Put(f"{n}", b"v") for n in range(128)]),
        lambda: store.delete("a"),
        lambda: store.keep_alive(lease),
        lambda: store.revoke(lease),
        lambda: store.grant_lease(60),
        lambda: store.compact(Revision(1)),
    ]
    async with store.watch("", since=Revision(0)) as batches:
        calls.insert(0, lambda: anext(batches))
        await store.put("first", b"v")
        for call in calls:
            steps = Steps(trio.lowlevel.current_task())
            trio.lowlevel.add_instrument(steps)
            await call()
            trio.lowlevel.remove_instrument(steps)
            assert steps.count == 1
    await store.aclose()


async def test_a_watcher_of_another_prefix_is_not_woken() -> None:
    store = MemoryStore()
    tasks: dict[str, Steps] = {}

    async def follow(prefix: str) -> None:
        async with store.watch(prefix) as batches:
            tasks[prefix] = Steps(trio.lowlevel.current_task())
            async for _ in batches:
                pass

    async with trio.open_nursery() as nursery:
        for prefix in ("", "a/", "ab/", "b/"):
            nursery.start_soon(follow, prefix)
        await wait_all_tasks_blocked()
        for steps in tasks.values():
            trio.lowlevel.add_instrument(steps)
        for key in ("a/1", "a", "ab", "a/2"):
            await store.put(key, b"v")
            await wait_all_tasks_blocked()
        for steps in tasks.values():
            trio.lowlevel.remove_instrument(steps)
        nursery.cancel_scope.cancel()
    assert {prefix: steps.count > 0 for prefix, steps in tasks.items()} == {
        "": True,
        "a/": True,
        "ab/": False,
        "b/": False,
    }


async def test_one_of_many_who_wait_wakes_when_a_lease_ends(autojump_clock: trio.testing.MockClock) -> None:
    store = MemoryStore()
    tasks: list[Steps] = []

    async def follow(number: int) -> None:
        async with store.watch(f"{number}") as batches:
            tasks.append(Steps(trio.lowlevel.current_task()))
            async for _ in batches:
                pass

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(follow, number)
        await wait_all_tasks_blocked()
        await store.grant_lease(5)
        for steps in tasks:
            trio.lowlevel.add_instrument(steps)
        await trio.sleep(60)
        for steps in tasks:
            trio.lowlevel.remove_instrument(steps)
        nursery.cancel_scope.cancel()
    assert sum(steps.count > 0 for steps in tasks) == 1


@given(st.data())
def test_sorted_keys_are_a_sorted_list(data: st.DataObject) -> None:
    texts = st.text("ab\uffff\U0001f600\U0010ffff", max_size=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_store_keys, "_BLOCK", 4)
        keys, model = SortedKeys(), set[str]()
        for key in data.draw(st.lists(texts, max_size=40)):
            if key in model:
                keys.remove(key)
                model.remove(key)
            else:
                keys.add(key)
                model.add(key)
        for _ in range(5):
            prefix, start_after = data.draw(texts), data.draw(st.none() | texts)
            most = data.draw(st.none() | st.integers(1, 6))
            expected = sorted(
                key for key in model if key.startswith(prefix) and (start_after is None or key > start_after)
            )
            found = keys.with_prefix(prefix, start_after=start_after, most=most)
            assert found == (expected if most is None else expected[:most])
