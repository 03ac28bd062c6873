"""Writes of more keys than one transaction takes: all or none, for who reads, who writes, and whoever is killed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, TypeVar

import pytest
import trio
from attrs import define
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.mocks import MemoryState, MemoryStore
from orchestrion.orchestrator_core import CommitGate, whole_revision, write_together
from orchestrion.orchestrator_core._state.commits import (
    LEASE_SECONDS,
    MAX_COMPARES,
    POINTER_KEY,
    STAGED_PREFIX,
    _encoded,
    _operations,
    look_after,
    unfinished,
    wait_free,
)
from orchestrion.shared_types import ConfigInvalid, Conflict
from orchestrion.store_interface import (
    ABSENT,
    MAX_OPERATIONS,
    MAX_VALUE_BYTES,
    Compare,
    Delete,
    LeaseId,
    ListResult,
    Operation,
    Put,
    ReadResult,
    Revision,
    RevisionConflict,
    StateStore,
    StoreUnavailable,
    WatchBatch,
)
from trio.testing import MockClock

T = TypeVar("T")

MANY = 300
KEYS = [f"/thing/default/{number:03}" for number in range(MANY)]
NEW = [Compare(key, ABSENT) for key in KEYS]
ALL = [Put(key, b"new") for key in KEYS]


@define(eq=False)
class Steps:
    """A store that tells a test of each write, before and after it; either may raise.

    Attributes:
        store: Does it.
        before: Told how many writes there were before.
        after: Told the same once it is done.
        writes: How many there were.
    """

    store: StateStore
    before: Callable[[int], Awaitable[None]] | None = None
    after: Callable[[int], Awaitable[None]] | None = None
    writes: int = 0

    async def _step(self, done: Callable[[], Awaitable[T]]) -> T:
        number = self.writes
        self.writes += 1
        if self.before is not None:
            await self.before(number)
        result = await done()
        if self.after is not None:
            await self.after(number)
        return result

    async def get(self, key: str, /, *, at_revision: Revision | None = None) -> ReadResult:
        return await self.store.get(key, at_revision=at_revision)

    async def list(self, prefix: str, /, **options: Any) -> ListResult:
        return await self.store.list(prefix, **options)

    async def put(self, key: str, value: bytes, /, **options: Any) -> Revision:
        return await self._step(lambda: self.store.put(key, value, **options))

    async def delete(self, key: str, /, **options: Any) -> Revision:
        return await self._step(lambda: self.store.delete(key, **options))

    async def transaction(self, compares: Sequence[Compare], operations: Sequence[Operation], /) -> Revision:
        return await self._step(lambda: self.store.transaction(compares, operations))

    async def grant_lease(self, ttl_seconds: float, /) -> LeaseId:
        return await self.store.grant_lease(ttl_seconds)

    async def keep_alive(self, lease: LeaseId, /) -> None:
        await self.store.keep_alive(lease)

    async def revoke(self, lease: LeaseId, /) -> None:
        await self._step(lambda: self.store.revoke(lease))

    def watch(
        self, prefix: str, /, *, since: Revision | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchBatch]]:
        return self.store.watch(prefix, since=since)

    async def compact(self, revision: Revision, /) -> None:
        await self.store.compact(revision)

    async def aclose(self) -> None:
        await self.store.aclose()


async def there(store: StateStore, revision: Revision | None = None) -> int:
    """Return how many of the keys are there."""
    return len((await store.list("/thing/", at_revision=revision)).entries)


async def assert_tidy(store: StateStore) -> None:
    """Make sure that nothing is left of any write of many keys."""
    assert (await store.get(POINTER_KEY)).entry is None
    assert (await store.list(STAGED_PREFIX)).entries == ()


@asynccontextmanager
async def looked_after(store: StateStore) -> AsyncIterator[None]:
    """Let somebody follow the store, and go on with what was left."""
    gate = CommitGate()

    async def follow() -> None:
        async with store.watch("/") as batches:
            async for batch in batches:
                gate.passed(batch)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        nursery.start_soon(look_after, store, gate)
        yield
        nursery.cancel_scope.cancel()


async def test_what_fits_one_transaction_is_one() -> None:
    store = MemoryStore()
    assert await write_together(store, NEW[:MAX_COMPARES], ALL[:MAX_OPERATIONS]) == 1
    assert await there(store) == MAX_OPERATIONS


async def test_many_keys_are_written_changed_and_removed_together() -> None:
    store = MemoryStore()
    written = await write_together(store, NEW, ALL)
    entries = (await store.list("/thing/")).entries
    assert max(entry.modified for entry in entries) == written
    half = MANY // 2
    mixed: list[Operation] = [Delete(key) for key in KEYS[:half]]
    mixed.extend(Put(key, key.encode()) for key in KEYS[half:])
    await write_together(store, [Compare(entry.key, entry.modified) for entry in entries], mixed)
    left = (await store.list("/thing/")).entries
    assert [(entry.key, entry.value) for entry in left] == [(key, key.encode()) for key in KEYS[half:]]
    await assert_tidy(store)


async def test_many_conditions_of_a_few_writes_are_all_tried() -> None:
    store = MemoryStore()
    await write_together(store, NEW, ALL[:1])
    assert await there(store) == 1
    await assert_tidy(store)


@pytest.mark.parametrize("place", [0, MANY // 2, MANY - 1])
async def test_one_condition_that_does_not_hold_lets_nothing_be_written(place: int) -> None:
    store = MemoryStore()
    await store.put(KEYS[place], b"other")
    with pytest.raises(RevisionConflict) as caught:
        await write_together(store, NEW, ALL)
    assert caught.value.key == KEYS[place]
    assert await there(store) == 1
    await assert_tidy(store)


async def test_a_value_that_is_too_long_for_it_is_refused_before_anything_is_done() -> None:
    store = MemoryStore()
    with pytest.raises(ConfigInvalid, match="too long"):
        await write_together(store, [], [*ALL, Put("/thing/default/long", bytes(MAX_VALUE_BYTES))])
    assert (await store.get("/")).revision == 0


async def test_long_values_are_staged_in_parts_that_a_store_takes() -> None:
    store = MemoryStore()
    long = [Put(key, bytes([number % 256]) * (MAX_VALUE_BYTES // 3)) for number, key in enumerate(KEYS[:9])]
    await write_together(store, NEW, long)
    entries = (await store.list("/thing/")).entries
    assert [entry.value for entry in entries] == [put.value for put in long]


@given(
    st.lists(
        st.one_of(st.builds(Put, st.text(min_size=1), st.binary()), st.builds(Delete, st.text(min_size=1))),
        max_size=20,
    )
)
def test_what_is_staged_is_read_as_it_was(operations: list[Operation]) -> None:
    assert _operations(_encoded(operations)) == operations


async def counted() -> int:
    """Return how many writes one of many keys takes."""
    steps = Steps(MemoryStore())
    await write_together(steps, NEW, ALL)
    return steps.writes


class Killed(Exception):
    """The program ends here."""


@pytest.mark.parametrize("answered", [False, True])
async def test_whenever_who_writes_is_killed_all_of_it_comes_to_be_or_none(
    answered: bool, autojump_clock: MockClock
) -> None:
    outcomes = list[int]()
    for last in range(await counted()):
        state = MemoryState()

        async def kill(number: int, last: int = last) -> None:
            if number >= last:
                raise Killed

        steps = Steps(MemoryStore(state), after=kill) if answered else Steps(MemoryStore(state), before=kill)
        with suppress(Killed):
            await write_together(steps, NEW, ALL)
        store = MemoryStore(state)
        async with looked_after(store):
            began = trio.current_time()
            await wait_free(store)
            assert trio.current_time() - began <= LEASE_SECONDS + 1
            outcomes.append(await there(store))
            # What others do goes on, and in the end nothing is left over.
            await write_together(store, [], ALL)
            await trio.sleep(LEASE_SECONDS)
        async with looked_after(store):
            await trio.sleep(1)
        await assert_tidy(store)
    decided = outcomes.index(MANY)
    assert outcomes == [0] * decided + [MANY] * (len(outcomes) - decided)
    assert 0 < decided < len(outcomes) - 1


async def test_who_is_cancelled_at_any_moment_has_written_all_or_nothing(autojump_clock: MockClock) -> None:
    outcomes = set[int]()
    for last in range(await counted()):
        store = MemoryStore()
        with trio.CancelScope() as scope:

            async def cancel(number: int, last: int = last, scope: trio.CancelScope = scope) -> None:
                if number == last:
                    scope.cancel()
                    await trio.lowlevel.checkpoint_if_cancelled()

            await write_together(Steps(store, before=cancel), NEW, ALL)
        outcomes.add(await there(store))
        await assert_tidy(store)
    assert outcomes == {0, MANY}


async def test_who_follows_sees_all_or_nothing_at_each_moment() -> None:
    store, gate, seen = MemoryStore(), CommitGate(), list[int]()
    known = set[str]()
    async with trio.open_nursery() as nursery:

        async def follow() -> None:
            async with store.watch("/") as batches:
                nursery.start_soon(write)
                async for batch in batches:
                    passed = gate.passed(batch)
                    for change in passed.changes if passed is not None else ():
                        if change.key in KEYS:
                            known.add(change.key)
                    seen.append(len(known))

        async def write() -> None:
            await write_together(store, NEW, ALL)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

        nursery.start_soon(follow)
    assert set(seen) == {0, MANY}
    assert len(seen) > 2


async def test_at_each_revision_who_lists_can_tell_all_or_nothing() -> None:
    store = MemoryStore()
    end = await write_together(store, NEW, ALL)
    found = list[int]()
    for number in range(end + 1):
        revision = Revision(number)
        whole = await whole_revision(store, revision)
        assert await there(store, whole) in (0, MANY)
        entries = {entry.key for entry in (await store.list("/thing/", at_revision=revision)).entries}
        found.append(len(entries | (await unfinished(store, revision)).keys()))
    # From the decision on it counts as written.
    decided = found.index(MANY)
    assert found == [0] * decided + [MANY] * (len(found) - decided)
    assert await there(store, Revision(decided)) == 0


async def test_another_writer_of_one_key_comes_before_or_after_but_not_between(autojump_clock: MockClock) -> None:
    outcomes = set[str]()
    for moment in range(await counted()):
        store = MemoryStore()
        results = dict[str, bool]()

        async def wanted(name: str, write: Callable[[], Awaitable[object]], results: dict[str, bool] = results) -> None:
            try:
                await write()
                results[name] = True
            except Conflict:
                results[name] = False

        async with trio.open_nursery() as nursery:

            async def other(
                number: int, moment: int = moment, nursery: trio.Nursery = nursery, store: MemoryStore = store
            ) -> None:
                if number == moment:
                    one = [Compare(KEYS[-1], ABSENT)], [Put(KEYS[-1], b"other")]
                    nursery.start_soon(wanted, "one", lambda: write_together(store, *one))
                    await trio.sleep(0.1)

            slow = Steps(store, before=other)
            await wanted("many", lambda slow=slow: write_together(slow, NEW, ALL))  # type: ignore[misc]
        assert sorted(results.values()) == [False, True]
        outcomes.add("many" if results["many"] else "one")
        assert await there(store) == (MANY if results["many"] else 1)
        await assert_tidy(store)
    assert outcomes == {"many", "one"}


async def test_of_two_that_want_the_same_keys_at_once_one_has_its_way(autojump_clock: MockClock) -> None:
    store, results = MemoryStore(), list[bytes]()

    async def write(value: bytes) -> None:
        with suppress(RevisionConflict):
            await write_together(store, NEW, [Put(key, value) for key in KEYS])
            results.append(value)

    async with trio.open_nursery() as nursery:
        for value in (b"a", b"b", b"c"):
            nursery.start_soon(write, value)
    assert len(results) == 1
    assert {entry.value for entry in (await store.list("/thing/")).entries} == set(results)
    await assert_tidy(store)


async def test_who_lost_its_lease_before_the_decision_writes_nothing(autojump_clock: MockClock) -> None:
    store = MemoryStore()

    async def dawdle(number: int) -> None:
        if number == 2:
            await trio.sleep(LEASE_SECONDS + 2)

    with pytest.raises(RevisionConflict):
        await write_together(Steps(store, before=dawdle), NEW, ALL)
    assert await there(store) == 0
    await assert_tidy(store)


async def test_what_is_decided_goes_on_though_the_store_fails_once(autojump_clock: MockClock) -> None:
    for failing in range(await counted()):
        store = MemoryStore()

        async def fail(number: int, failing: int = failing) -> None:
            if number == failing:
                raise StoreUnavailable("for a moment")

        async with looked_after(store):
            with suppress(StoreUnavailable):
                await write_together(Steps(store, after=fail), NEW, ALL)
            await wait_free(store)
            assert await there(store) in (0, MANY)
