"""The parts that think: sorted keys, the ledger that decides, and how much history it keeps."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from orchestrion.shared_types import OrchestrationError
from orchestrion.store_interface import (
    MIN_HISTORY,
    Compare,
    Delete,
    LeaseId,
    Operation,
    Put,
    Revision,
    RevisionCompacted,
)
from orchestrion.store_sqlite import SqliteStore, open_store
from orchestrion.store_sqlite._history import History
from orchestrion.store_sqlite._keys import SortedKeys
from orchestrion.store_sqlite._ledger import Batch, Ledger, Limits, Record
from orchestrion.store_sqlite._requests import Compact, Grant, Request, Revoke, Write

quick = settings(deadline=None, max_examples=60)


@pytest.mark.slow  # a property
@quick
@given(st.lists(st.text(max_size=3), unique=True), st.lists(st.tuples(st.booleans(), st.text(max_size=3))), st.text())
def test_sorted_keys_are_those_of_a_sorted_set(begin: list[str], steps: list[tuple[bool, str]], first: str) -> None:
    keys, model = SortedKeys(begin), set(begin)
    for add, key in steps:
        if add and key not in model:
            keys.add(key)
            model.add(key)
        elif not add and key in model:
            keys.remove(key)
            model.remove(key)
    assert list(keys.starting_at(first)) == sorted(key for key in model if key >= first)
    assert len(keys) == len(model)


def test_sorted_keys_stay_sorted_when_their_chunks_are_split_and_emptied() -> None:
    names = [f"{n * 7919 % 5000:05}" for n in range(5000)]
    keys = SortedKeys()
    for name in names:
        keys.add(name)
    assert list(keys.starting_at("")) == sorted(names)
    for name in names[:4990]:
        keys.remove(name)
    assert list(keys.starting_at("")) == sorted(names[4990:])


def ledger_of(limits: Limits) -> Ledger:
    return Ledger(limits, oldest=Revision(0), last_lease=0, leases={})


keys = st.sampled_from("abcd")
leases = st.integers(1, 4).map(LeaseId)
revisions = st.integers(0, 12).map(Revision)
operations: st.SearchStrategy[Operation] = st.one_of(
    st.builds(Put, keys, st.binary(max_size=9), st.none() | leases), st.builds(Delete, keys)
)
requests: st.SearchStrategy[Request] = st.one_of(
    st.builds(
        Write,
        st.lists(st.builds(Compare, keys, revisions), max_size=1).map(tuple),
        st.lists(operations, max_size=4, unique_by=lambda operation: operation.key).map(tuple),
    ),
    st.builds(Grant, st.just(5.0)),
    st.builds(Revoke, st.lists(leases, max_size=3, unique=True).map(tuple)),
    st.builds(Compact, revisions),
)
batches = st.lists(st.tuples(st.booleans(), st.lists(requests, max_size=6)), max_size=12)


def decide(ledger: Ledger, batch: list[Request]) -> Batch:
    for request in batch:
        try:
            ledger.decide(request)
        except OrchestrationError:
            continue
    return ledger.take()


def everything(ledger: Ledger) -> dict[str, object]:
    found = {name: getattr(ledger, name) for name in vars(ledger) if name not in ("_undo", "_batch", "_keys_of")}
    # A lease without keys and one that never had any are the same.
    found["_keys_of"] = {lease: set(keys) for lease, keys in ledger._keys_of.items() if keys}
    return copy.deepcopy(found)


@pytest.mark.slow  # a property
@quick
@given(batches)
def test_undoing_a_batch_restores_all_that_was_before_it(drawn: list[tuple[bool, list[Request]]]) -> None:
    ledger = ledger_of(Limits(3, 20))
    for keep, batch in drawn:
        before = everything(ledger)
        decide(ledger, batch)
        if keep:
            ledger.keep()
        else:
            ledger.undo()
            assert everything(ledger) == before


@pytest.mark.slow  # a property
@quick
@given(batches)
def test_what_is_written_and_not_freed_makes_the_same_ledger_anew(drawn: list[tuple[bool, list[Request]]]) -> None:
    ledger = ledger_of(Limits(3, 20))
    rows: dict[int, Record] = {}
    for _, batch in drawn:
        written = decide(ledger, batch)
        rows |= {record.row: record for record in written.records}
        for row in written.freed:
            del rows[row]
        ledger.keep()
    anew = Ledger(Limits(3, 20), oldest=ledger.oldest, last_lease=ledger._last_lease, leases=dict(ledger.leases))
    for row in sorted(rows):
        anew.replay(rows[row])
    expected, found = everything(ledger), everything(anew)
    # Row numbers that were freed at the end may be given again.
    assert found.pop("_last_row") <= expected.pop("_last_row")  # type: ignore[operator]  # both are numbers
    assert found == expected


@pytest.mark.slow  # a property
@quick
@given(batches, st.sampled_from("abcd"))
def test_history_is_what_the_ledger_has_kept(drawn: list[tuple[bool, list[Request]]], key: str) -> None:
    ledger, history = ledger_of(Limits(3, 20)), History(Revision(0), ())
    states: dict[int, object] = {0: ()}
    for _, batch in drawn:
        written = decide(ledger, batch)
        for changes in written.revisions:
            history.append(changes)
            states[history.revision] = history.entries("", limit=None, start_after=None, at_revision=None).entries
        if written.oldest is not None:
            history.compact(written.oldest)
        ledger.keep()
    assert (history.revision, history.oldest) == (ledger.revision, ledger.oldest)
    for at in range(history.oldest, history.revision + 1):
        listed = history.entries("", limit=None, start_after=None, at_revision=Revision(at))
        assert listed.entries == states[at]
        assert history.get(key, Revision(at)).entry in (*listed.entries, None)


async def put_many(store: SqliteStore, count: int, size: int, *, keys: int) -> None:
    async def writer(n: int) -> None:
        for m in range(n, count, 50):
            await store.put(f"/{m % keys}", b"%d" % m * (size // len(b"%d" % m)))

    async with trio.open_nursery() as nursery:
        for n in range(50):
            nursery.start_soon(writer, n)


@pytest.mark.slow  # writes 5,000 times
async def test_history_is_bounded_by_revisions(tmp_path: Path) -> None:
    async with open_store(tmp_path, history_revisions=2000) as store:
        await put_many(store, 5000, 20, keys=7)
        found = store.statistics()
        assert found.revision == 5000
        assert 2750 <= found.oldest_revision <= 3000
        with pytest.raises(RevisionCompacted) as caught:
            await store.get("/1", at_revision=Revision(found.oldest_revision - 1))
        assert caught.value.oldest == found.oldest_revision
        assert (await store.list("", at_revision=found.oldest_revision)).revision == found.oldest_revision
        assert len(store._history._log) == 5000 - found.oldest_revision


async def test_a_reader_is_cut_off_only_from_what_it_had_to_read(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        for key in ("/a", "/b", "/c"):
            await store.put(key, b"1")
        start = Revision(0)
        async with store.watch("/b", since=start) as cut_off, store.watch("/d", since=start) as unconcerned:
            await store.compact(Revision(3))
            await store.put("/d", b"1")
            assert [change.revision for change in (await anext(unconcerned)).changes] == [4]
            for _ in range(2):
                with pytest.raises(RevisionCompacted):
                    await anext(cut_off)


@pytest.mark.slow  # writes 3,000 times
async def test_history_is_bounded_by_bytes_but_never_below_the_least(tmp_path: Path) -> None:
    async with open_store(tmp_path, history_bytes=1_500_000) as store:
        await put_many(store, 3000, 1000, keys=7)
        assert 1300 < 3000 - store.statistics().oldest_revision <= 1510
    async with open_store(tmp_path, history_bytes=0) as store:
        await put_many(store, 1500, 1000, keys=7)
        assert 4500 - store.statistics().oldest_revision == MIN_HISTORY


@pytest.mark.slow  # writes 60 MB
async def test_the_file_is_bounded_too_and_gives_room_back(tmp_path: Path) -> None:
    async with open_store(tmp_path, history_revisions=1000) as store:
        await put_many(store, 1000, 60_000, keys=1000)
        await put_many(store, 3000, 60, keys=1000)
        size = sum(path.stat().st_size for path in tmp_path.iterdir())
    closed = (tmp_path / "state.db").stat().st_size
    assert size < 110_000_000
    assert closed < 30_000_000
