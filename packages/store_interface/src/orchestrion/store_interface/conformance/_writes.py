"""Checks of `put`, `delete`, `transaction` and the revisions that they write."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from orchestrion.conformance_kit import Runner
from orchestrion.store_interface import (
    ABSENT,
    MAX_OPERATIONS,
    Compare,
    Delete,
    InvalidRequest,
    LeaseId,
    LeaseNotFound,
    Operation,
    Put,
    Revision,
    RevisionConflict,
)

from ._strategies import few_keys
from ._strategies import values as any_values
from ._subject import KIT, StoreUnderTest, contents, next_changes, refused, revision_of, values

NO_LEASE = LeaseId(987_654_321)


@KIT.clause("REV-1", "the-n-th-write-has-revision-n")
async def revisions(t: StoreUnderTest) -> None:
    assert await revision_of(t.store) == 0
    assert await t.store.put("a", b"1") == 1
    assert await t.store.put("b", b"2") == 2
    assert await t.store.delete("a") == 3
    assert await t.store.transaction([], [Put("a", b"3"), Put("c", b"4"), Delete("b")]) == 4
    assert await t.store.put("a", b"5") == 5
    assert await revision_of(t.store) == 5


@KIT.clause("REV-2", "a-read-sees-what-was-acknowledged-before-it")
async def read_own_writes(t: StoreUnderTest) -> None:
    for number in range(20):
        value = str(number).encode()
        revision = await t.store.put("a", value)
        got = await t.store.get("a")
        assert got.entry is not None
        assert (got.entry.value, got.revision) == (value, revision)
        listed = await t.store.list("a")
        assert ([entry.value for entry in listed.entries], listed.revision) == ([value], revision)
    await t.store.delete("a")
    assert (await t.store.get("a")).entry is None


@KIT.clause("REV-3", "what-is-no-write-leaves-the-revision")
async def no_writes(t: StoreUnderTest) -> None:
    await t.store.put("a", b"v")
    lease = await t.store.grant_lease(60)
    await t.store.get("a")
    await t.store.list("")
    await t.store.keep_alive(lease)
    await t.store.revoke(lease)
    await t.store.revoke(lease)
    await refused(RevisionConflict, t.store.put("a", b"w", expected=ABSENT))
    await refused(RevisionConflict, t.store.transaction([Compare("a", ABSENT)], [Put("b", b"w")]))
    await refused(LeaseNotFound, t.store.put("a", b"w", lease=NO_LEASE))
    await refused(InvalidRequest, t.store.put("", b"w"))
    async with t.store.watch(""):
        pass
    await t.store.compact(Revision(1))
    assert await revision_of(t.store) == 1
    assert await t.store.put("a", b"w") == 2


@KIT.clause("PUT-1", "a-put-sets-the-key-and-says-its-revision")
async def put(t: StoreUnderTest) -> None:
    first = await t.store.put("a", b"1")
    assert await values(t.store) == {"a": b"1"}
    second = await t.store.put("a", b"2")
    assert await values(t.store) == {"a": b"2"}
    assert (first, second) == (1, 2)
    entry = (await t.store.get("a")).entry
    assert entry is not None
    assert entry.modified == second


@KIT.clause("PUT-2", "a-key-keeps-its-creation-until-it-is-deleted")
async def put_created(t: StoreUnderTest) -> None:
    await t.store.put("other", b"v")
    for _ in range(3):
        await t.store.put("a", b"v")
    entry = (await t.store.get("a")).entry
    assert entry is not None
    assert (entry.created, entry.modified) == (2, 4)
    await t.store.delete("a")
    again = await t.store.put("a", b"v")
    entry = (await t.store.get("a")).entry
    assert entry is not None
    assert (entry.created, entry.modified) == (again, again)


@KIT.clause("PUT-3", "putting-the-same-again-is-a-write")
async def put_same(t: StoreUnderTest) -> None:
    first = await t.store.put("a", b"v")
    async with t.store.watch("a") as batches:
        second = await t.store.put("a", b"v")
        assert second == first + 1
        assert [change.revision for change in await next_changes(batches)] == [second]
    entry = (await t.store.get("a")).entry
    assert entry is not None
    assert entry.modified == second


@KIT.clause("PUT-4", "a-put-with-the-keys-revision-succeeds-and-with-another-fails")
async def put_expected(t: StoreUnderTest) -> None:
    first = await t.store.put("a", b"1")
    await t.store.put("b", b"other")
    second = await t.store.put("a", b"2", expected=first)
    for wrong in (first, Revision(second - 1), Revision(second + 1), ABSENT):
        await refused(RevisionConflict, t.store.put("a", b"3", expected=wrong))
    await refused(RevisionConflict, t.store.put("none", b"3", expected=second))
    assert await values(t.store) == {"a": b"2", "b": b"other"}


@KIT.property_clause("PUT-4", "of-any-two-expectations-only-the-right-one-succeeds")
def any_expected(run: Runner[StoreUnderTest]) -> None:
    async def check(t: StoreUnderTest, history: list[tuple[str, bytes | None]], key: str, expected: int) -> None:
        modified: dict[str, int] = {}
        for at, value in history:
            revision = await (t.store.delete(at) if value is None else t.store.put(at, value))
            modified[at] = 0 if value is None else revision
        before = await values(t.store)
        if modified.get(key, 0) == expected:
            await t.store.put(key, b"new", expected=Revision(expected))
            assert await values(t.store) == before | {key: b"new"}
        else:
            await refused(RevisionConflict, t.store.put(key, b"new", expected=Revision(expected)))
            assert await values(t.store) == before

    @run.settings()
    @given(st.lists(st.tuples(few_keys(), st.none() | any_values()), max_size=8), few_keys(), st.integers(0, 9))
    def any_history(history: list[tuple[str, bytes | None]], key: str, expected: int) -> None:
        run(check, history, key, expected)

    any_history()


@KIT.clause("PUT-5", "a-put-that-expects-absence-succeeds-once")
async def put_absent(t: StoreUnderTest) -> None:
    await t.store.put("a", b"1", expected=ABSENT)
    await refused(RevisionConflict, t.store.put("a", b"2", expected=ABSENT))
    await t.store.delete("a")
    await t.store.put("a", b"3", expected=ABSENT)
    assert await values(t.store) == {"a": b"3"}


@KIT.clause("PUT-8", "a-conflict-names-the-key-and-both-revisions")
async def put_conflict(t: StoreUnderTest) -> None:
    await t.store.put("b", b"v")
    revision = await t.store.put("a", b"v")
    err = await refused(RevisionConflict, t.store.put("a", b"w", expected=Revision(7)))
    assert (err.key, err.expected, err.actual) == ("a", 7, revision)
    err = await refused(RevisionConflict, t.store.put("none", b"w", expected=Revision(1)))
    assert (err.key, err.expected, err.actual) == ("none", 1, ABSENT)


@KIT.clause("PUT-9", "a-put-under-no-lease-is-refused")
async def put_no_lease(t: StoreUnderTest) -> None:
    await refused(LeaseNotFound, t.store.put("a", b"v", lease=NO_LEASE))
    lease = await t.store.grant_lease(60)
    await t.store.revoke(lease)
    await refused(LeaseNotFound, t.store.put("a", b"v", lease=lease))
    assert (await contents(t.store), await revision_of(t.store)) == ((), 0)


@KIT.clause("DELETE-1", "a-deletion-removes-the-key-and-says-its-revision")
async def delete(t: StoreUnderTest) -> None:
    await t.store.put("a", b"v")
    await t.store.put("ab", b"v")
    assert await t.store.delete("a") == 3
    assert await values(t.store) == {"ab": b"v"}


@KIT.clause("DELETE-2", "deleting-what-does-not-exist-writes-nothing")
async def delete_nothing(t: StoreUnderTest) -> None:
    assert await t.store.delete("a") == 0
    await t.store.put("ab", b"v")
    async with t.store.watch("") as batches:
        assert await t.store.delete("a") == 1
        await t.store.put("b", b"v")
        assert [change.key for change in await next_changes(batches)] == ["b"]
    assert await revision_of(t.store) == 2


@KIT.clause("DELETE-3", "a-deletion-with-the-keys-revision-succeeds-and-with-another-fails")
async def delete_expected(t: StoreUnderTest) -> None:
    first = await t.store.put("a", b"1")
    second = await t.store.put("a", b"2")
    for wrong in (first, Revision(second + 1)):
        await refused(RevisionConflict, t.store.delete("a", expected=wrong))
    await refused(RevisionConflict, t.store.delete("none", expected=second))
    assert await values(t.store) == {"a": b"2"}
    assert await t.store.delete("a", expected=second) == 3
    assert await contents(t.store) == ()


@KIT.clause("DELETE-4", "a-deletion-that-expects-absence-succeeds-only-on-nothing")
async def delete_absent(t: StoreUnderTest) -> None:
    await t.store.put("a", b"v")
    assert await t.store.delete("none", expected=ABSENT) == 1
    await refused(RevisionConflict, t.store.delete("a", expected=ABSENT))
    assert await values(t.store) == {"a": b"v"}


@KIT.clause("DELETE-5", "a-conflict-names-the-key-and-both-revisions")
async def delete_conflict(t: StoreUnderTest) -> None:
    await t.store.put("b", b"v")
    revision = await t.store.put("a", b"v")
    err = await refused(RevisionConflict, t.store.delete("a", expected=Revision(7)))
    assert (err.key, err.expected, err.actual) == ("a", 7, revision)
    err = await refused(RevisionConflict, t.store.delete("none", expected=Revision(1)))
    assert (err.key, err.expected, err.actual) == ("none", 1, ABSENT)


@KIT.clause("TX-1", "all-operations-are-done-at-one-revision")
async def transaction(t: StoreUnderTest) -> None:
    first = await t.store.put("gone", b"v")
    old = await t.store.put("old", b"1")
    revision = await t.store.transaction(
        [Compare("gone", first), Compare("old", old), Compare("new", ABSENT)],
        [Put("old", b"2"), Delete("gone"), Put("new", b"3")],
    )
    assert revision == 3
    entries = await contents(t.store)
    assert [(entry.key, entry.value, entry.modified) for entry in entries] == [("new", b"3", 3), ("old", b"2", 3)]


@KIT.clause("TX-1", "a-transaction-may-have-the-most-operations-and-compares")
async def full_transaction(t: StoreUnderTest) -> None:
    names = [f"{number:04}" for number in range(MAX_OPERATIONS)]
    compares = [Compare(name, ABSENT) for name in names]
    assert await t.store.transaction(compares, [Put(name, name.encode()) for name in names]) == 1
    assert await values(t.store) == {name: name.encode() for name in names}


@KIT.clause("TX-2", "where-a-compare-fails-no-operation-is-done")
async def failed_transaction(t: StoreUnderTest) -> None:
    revision = await t.store.put("a", b"1")
    operations: list[Operation] = [Put("b", b"2"), Delete("a")]
    for compares in (
        [Compare("a", ABSENT)],
        [Compare("a", revision), Compare("none", revision)],
        [Compare("a", revision), Compare("a", ABSENT)],
    ):
        await refused(RevisionConflict, t.store.transaction(compares, operations))
        assert await values(t.store) == {"a": b"1"}
    assert await revision_of(t.store) == 1


@KIT.property_clause("TX-2", "any-transaction-is-done-whole-or-not-at-all")
def any_transaction(run: Runner[StoreUnderTest]) -> None:
    async def check(
        t: StoreUnderTest, put: list[str], compares: dict[str, int], touched: dict[str, bytes | None]
    ) -> None:
        modified = {key: await t.store.put(key, b"before") for key in put}
        before = await values(t.store)
        operations: list[Operation] = [Delete(k) if v is None else Put(k, v) for k, v in touched.items()]
        call = t.store.transaction([Compare(key, Revision(at)) for key, at in compares.items()], operations)
        if all(modified.get(key, 0) == at for key, at in compares.items()):
            revision = await call
            after = before | {key: value for key, value in touched.items() if value is not None}
            assert await values(t.store) == {k: v for k, v in after.items() if touched.get(k, b"") is not None}
            for entry in await contents(t.store):
                assert entry.modified == (revision if entry.key in touched else modified[entry.key])
        else:
            await refused(RevisionConflict, call)
            assert await values(t.store) == before

    @run.settings()
    @given(
        st.lists(few_keys(), max_size=4, unique=True),
        st.dictionaries(few_keys(), st.integers(0, 4), max_size=2),
        st.dictionaries(few_keys(), st.none() | any_values(), max_size=5),
    )
    def any_operations(put: list[str], compares: dict[str, int], touched: dict[str, bytes | None]) -> None:
        run(check, put, compares, touched)

    any_operations()


@KIT.clause("TX-3", "compares-see-what-was-before-the-operations-and-may-repeat")
async def compares_before(t: StoreUnderTest) -> None:
    assert await t.store.transaction([Compare("a", ABSENT), Compare("a", ABSENT)], [Put("a", b"1")]) == 1
    revision = await t.store.transaction([Compare("a", Revision(1))], [Delete("a"), Put("b", b"2")])
    assert revision == 2
    assert await t.store.transaction([Compare("a", ABSENT)], [Put("a", b"3")]) == 3


@KIT.clause("TX-4", "a-transaction-that-changes-nothing-writes-nothing")
async def empty_transaction(t: StoreUnderTest) -> None:
    await t.store.put("a", b"v")
    await t.store.transaction([], [])
    await t.store.transaction([Compare("a", Revision(1))], [])
    await t.store.transaction([], [Delete("none"), Delete("nothing")])
    assert await revision_of(t.store) == 1
    await refused(RevisionConflict, t.store.transaction([Compare("a", ABSENT)], []))


@KIT.clause("TX-5", "a-transaction-says-its-revision-or-the-current-one")
async def transaction_revision(t: StoreUnderTest) -> None:
    assert await t.store.transaction([], []) == 0
    assert await t.store.transaction([], [Put("a", b"v"), Put("b", b"v")]) == 1
    assert await t.store.transaction([], [Delete("none")]) == 1
    assert await t.store.transaction([], [Delete("none"), Delete("a")]) == 2


@KIT.clause("TX-6", "too-many-compares-or-operations-are-refused")
async def large_transaction(t: StoreUnderTest) -> None:
    names = [f"{number:04}" for number in range(MAX_OPERATIONS + 1)]
    await refused(InvalidRequest, t.store.transaction([], [Put(name, b"v") for name in names]))
    await refused(InvalidRequest, t.store.transaction([Compare(name, ABSENT) for name in names], [Put("a", b"v")]))
    assert await contents(t.store) == ()


@KIT.clause("TX-7", "two-operations-on-a-key-are-refused")
async def double_operation(t: StoreUnderTest) -> None:
    for operations in ([Put("a", b"1"), Put("a", b"2")], [Put("a", b"1"), Delete("a")], [Delete("a"), Delete("a")]):
        await refused(InvalidRequest, t.store.transaction([], [Put("b", b"v"), *operations]))
    assert await contents(t.store) == ()


@KIT.clause("TX-8", "a-bad-key-anywhere-leaves-all-undone")
async def bad_operation(t: StoreUnderTest) -> None:
    await t.store.put("a", b"v")
    for bad in (Put("", b"v"), Delete("a\0b"), Put("\ud800", b"v")):
        await refused(InvalidRequest, t.store.transaction([], [Put("b", b"v"), Delete("a"), bad]))
    await refused(InvalidRequest, t.store.transaction([Compare("", ABSENT)], [Put("b", b"v")]))
    assert (await values(t.store), await revision_of(t.store)) == ({"a": b"v"}, 1)


@KIT.clause("TX-9", "a-conflict-names-the-first-compare-that-fails")
async def first_conflict(t: StoreUnderTest) -> None:
    a = await t.store.put("a", b"v")
    b = await t.store.put("b", b"v")
    compares = [Compare("b", b), Compare("c", a), Compare("a", b), Compare("b", ABSENT)]
    err = await refused(RevisionConflict, t.store.transaction(compares, [Put("d", b"v")]))
    assert (err.key, err.expected, err.actual) == ("c", a, ABSENT)
    err = await refused(RevisionConflict, t.store.transaction([compares[0], *compares[2:]], [Put("d", b"v")]))
    assert (err.key, err.expected, err.actual) == ("a", b, a)


@KIT.clause("TX-10", "an-operation-under-no-lease-leaves-all-undone")
async def transaction_no_lease(t: StoreUnderTest) -> None:
    ended = await t.store.grant_lease(60)
    await t.store.revoke(ended)
    for lease in (NO_LEASE, ended):
        await refused(LeaseNotFound, t.store.transaction([], [Put("a", b"v"), Put("b", b"v", lease)]))
    assert (await contents(t.store), await revision_of(t.store)) == ((), 0)
