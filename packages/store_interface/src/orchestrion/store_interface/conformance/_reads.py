"""Checks of keys, values, prefixes, `get` and `list`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from hypothesis import given
from hypothesis import strategies as st
from orchestrion.conformance_kit import Runner
from orchestrion.store_interface import (
    MAX_KEY_BYTES,
    MAX_VALUE_BYTES,
    Compare,
    Delete,
    FutureRevision,
    InvalidRequest,
    Put,
    Revision,
    RevisionCompacted,
)

from ._strategies import few_keys, keys, prefixes
from ._strategies import values as any_values
from ._subject import BAD_TEXTS, KIT, StoreUnderTest, contents, enter, next_changes, refused, revision_of, values

TWINS = (
    "A",
    "a",
    "a ",
    " a",
    "a\n",
    "\u00e9",
    "e\u0301",
    "\u212b",
    "\u00c5",
    "\uff21",
    "%",
    "_",
    "*",
    "a%",
    "//",
    "/",
    ".",
)
"""Keys that a store must tell apart."""


@KIT.clause("KEY-1", "keys-that-look-alike-are-different-keys")
async def twins(t: StoreUnderTest) -> None:
    for number, key in enumerate(TWINS):
        await t.store.put(key, str(number).encode())
    assert await values(t.store) == {key: str(number).encode() for number, key in enumerate(TWINS)}
    for number, key in enumerate(TWINS):
        entry = (await t.store.get(key)).entry
        assert entry is not None
        assert (entry.key, entry.value) == (key, str(number).encode())


@KIT.clause("KEY-1", "the-longest-key-is-counted-in-bytes-of-utf-8")
async def longest_key(t: StoreUnderTest) -> None:
    longest = ("k" * MAX_KEY_BYTES, "\U0001f600" * (MAX_KEY_BYTES // 4), "\u00e9" * (MAX_KEY_BYTES // 2))
    for key in longest:
        await t.store.put(key, b"v")
    assert set(await values(t.store)) == set(longest)


@KIT.property_clause("KEY-1", "any-key-comes-back-as-it-was-put")
def any_key(run: Runner[StoreUnderTest]) -> None:
    async def check(t: StoreUnderTest, data: dict[str, bytes]) -> None:
        for key, value in data.items():
            await t.store.put(key, value)
        assert await values(t.store) == data
        for key, value in data.items():
            entry = (await t.store.get(key)).entry
            assert entry is not None
            assert (entry.key, entry.value) == (key, value)

    @run.settings()
    @given(st.dictionaries(keys(), any_values(), max_size=8))
    def any_keys(data: dict[str, bytes]) -> None:
        run(check, data)

    any_keys()


@KIT.clause("KEY-2", "a-bad-key-is-refused-by-every-call-that-takes-one")
async def bad_keys(t: StoreUnderTest) -> None:
    for key in ("", *BAD_TEXTS):
        await refused(InvalidRequest, t.store.get(key))
        await refused(InvalidRequest, t.store.put(key, b"v"))
        await refused(InvalidRequest, t.store.delete(key))
        await refused(InvalidRequest, t.store.transaction([], [Put(key, b"v")]))
        await refused(InvalidRequest, t.store.transaction([], [Delete(key)]))
        await refused(InvalidRequest, t.store.transaction([Compare(key, Revision(0))], []))
    assert (await contents(t.store), await revision_of(t.store)) == ((), 0)


@KIT.clause("VALUE-1", "values-are-any-bytes-from-none-to-the-most")
async def all_values(t: StoreUnderTest) -> None:
    data = {
        "empty": b"",
        "nul": b"\0",
        "all": bytes(range(256)),
        "not-utf-8": b"\xff\xfe",
        "most": b"v" * MAX_VALUE_BYTES,
    }
    for key, value in data.items():
        await t.store.put(key, value)
    assert await values(t.store) == data
    empty = (await t.store.get("empty")).entry
    assert empty is not None
    assert empty.value == b""


@KIT.property_clause("VALUE-1", "any-value-comes-back-as-it-was-put")
def any_value(run: Runner[StoreUnderTest]) -> None:
    async def check(t: StoreUnderTest, value: bytes) -> None:
        await t.store.put("put", value)
        await t.store.transaction([], [Put("transaction", value)])
        assert await values(t.store) == {"put": value, "transaction": value}

    @run.settings()
    @given(st.binary(max_size=200))
    def any_bytes(value: bytes) -> None:
        run(check, value)

    any_bytes()


@KIT.clause("VALUE-2", "a-value-that-is-too-long-is-refused")
async def long_value(t: StoreUnderTest) -> None:
    long = b"v" * (MAX_VALUE_BYTES + 1)
    await refused(InvalidRequest, t.store.put("a", long))
    await refused(InvalidRequest, t.store.transaction([], [Put("b", b"v"), Put("a", long)]))
    assert await contents(t.store) == ()


@KIT.clause("PREFIX-1", "the-empty-prefix-is-that-of-all-keys")
async def empty_prefix(t: StoreUnderTest) -> None:
    data = dict.fromkeys(("/", "a", "\U0010ffff", "\x01"), b"v")
    for key in data:
        await t.store.put(key, b"v")
    assert await values(t.store, "") == data
    async with t.store.watch("", since=Revision(0)) as batches:
        seen: list[str] = []
        while len(seen) < len(data):
            seen += [change.key for change in await next_changes(batches)]
    assert seen == [*data]


@KIT.clause("PREFIX-1", "the-longest-prefix-is-the-longest-key")
async def longest_prefix(t: StoreUnderTest) -> None:
    key = "\U0001f600" * (MAX_KEY_BYTES // 4)
    await t.store.put(key, b"v")
    assert await values(t.store, key) == {key: b"v"}


@KIT.clause("PREFIX-2", "a-bad-prefix-is-refused-by-lists")
async def bad_prefixes(t: StoreUnderTest) -> None:
    for prefix in BAD_TEXTS:
        await refused(InvalidRequest, t.store.list(prefix))


@KIT.clause("GET-1", "an-entry-says-all-about-its-key")
async def get_entry(t: StoreUnderTest) -> None:
    lease = await t.store.grant_lease(3_600)
    created = await t.store.put("a", b"1")
    modified = await t.store.put("a", b"2", lease=lease)
    entry = (await t.store.get("a")).entry
    assert entry is not None
    assert (entry.key, entry.value, entry.created, entry.modified, entry.lease) == ("a", b"2", created, modified, lease)


@KIT.clause("GET-1", "what-does-not-exist-is-none")
async def get_nothing(t: StoreUnderTest) -> None:
    await t.store.put("ab", b"v")
    for key in ("a", "abc", "AB", "b"):
        assert (await t.store.get(key)).entry is None


@KIT.clause("GET-2", "a-read-says-the-revision-that-it-was-of")
async def get_revision(t: StoreUnderTest) -> None:
    assert (await t.store.get("a")).revision == 0
    await t.store.put("a", b"1")
    second = await t.store.put("b", b"2")
    assert (await t.store.get("a")).revision == second
    assert (await t.store.get("none")).revision == second
    assert (await t.store.get("a", at_revision=Revision(1))).revision == 1


@KIT.clause("GET-3", "a-key-is-read-as-it-was-at-a-revision")
async def get_at(t: StoreUnderTest) -> None:
    first = await t.store.put("a", b"1")
    await t.store.put("b", b"other")
    third = await t.store.put("a", b"2")
    fourth = await t.store.delete("a")
    fifth = await t.store.put("a", b"3")
    seen = [(await t.store.get("a", at_revision=Revision(at))).entry for at in range(6)]
    assert [entry and (entry.value, entry.created, entry.modified) for entry in seen] == [
        None,
        (b"1", first, first),
        (b"1", first, first),
        (b"2", first, third),
        None,
        (b"3", fifth, fifth),
    ]
    assert fourth == 4


@KIT.clause("GET-4", "a-revision-to-come-is-refused")
async def get_future(t: StoreUnderTest) -> None:
    await refused(FutureRevision, t.store.get("a", at_revision=Revision(1)))
    await t.store.put("a", b"v")
    await t.store.get("a", at_revision=Revision(1))
    await refused(FutureRevision, t.store.get("a", at_revision=Revision(2)))


@KIT.clause("GET-5", "a-compacted-revision-is-refused-with-the-oldest-kept")
async def get_compacted(t: StoreUnderTest) -> None:
    for _ in range(4):
        await t.store.put("a", b"v")
    await t.store.compact(Revision(3))
    for at in range(3):
        err = await refused(RevisionCompacted, t.store.get("a", at_revision=Revision(at)))
        assert err.oldest == 3
    assert (await t.store.get("a", at_revision=Revision(3))).revision == 3


@KIT.clause("GET-5", "what-is-below-zero-is-below-the-oldest")
async def get_below_zero(t: StoreUnderTest) -> None:
    await t.store.put("a", b"v")
    calls: tuple[Callable[[], Awaitable[object]], ...] = (
        lambda: t.store.get("a", at_revision=Revision(-1)),
        lambda: t.store.list("", at_revision=Revision(-1)),
        lambda: enter(t.store, "", since=Revision(-1)),
    )
    for call in calls:
        err = await refused(RevisionCompacted, call())
        assert err.oldest == 0, f"nothing was forgotten, so 0 is the oldest revision kept; the error says {err.oldest}"


@KIT.clause("LIST-1", "a-list-has-the-keys-with-the-prefix-and-no-others")
async def list_prefix(t: StoreUnderTest) -> None:
    names = ("a", "a/", "a/b", "a/b/c", "a0", "aa", "A/b", "b", "%", "a_", "ab", "a\U0010ffff", "a\U0010ffffz")
    for key in names:
        await t.store.put(key, b"v")
    await t.store.put("a/gone", b"v")
    await t.store.delete("a/gone")
    for prefix in ("", "a", "a/", "a/b", "a_", "a%", "%", "A", "z", "a/b/c/d", "a\U0010ffff"):
        assert set(await values(t.store, prefix)) == {key for key in names if key.startswith(prefix)}, prefix


@KIT.property_clause("LIST-1", "any-prefix-selects-what-begins-with-it")
def any_prefix(run: Runner[StoreUnderTest]) -> None:
    async def check(t: StoreUnderTest, put: list[str], prefix: str) -> None:
        for key in put:
            await t.store.put(key, b"v")
        assert set(await values(t.store, prefix)) == {key for key in put if key.startswith(prefix)}

    @run.settings()
    @given(st.data())
    def any_keys(data: st.DataObject) -> None:
        put = data.draw(st.lists(keys(), max_size=8, unique=True), "keys")
        cuts = st.sampled_from(put).flatmap(lambda key: st.integers(0, len(key)).map(lambda end: key[:end]))
        prefix = data.draw(st.one_of(prefixes(), cuts) if put else prefixes(), "prefix")
        run(check, put, prefix)

    any_keys()


@KIT.clause("LIST-2", "keys-ascend-by-code-point-and-not-as-utf-16-or-words-do")
async def list_order(t: StoreUnderTest) -> None:
    ascending = ["\x01", " ", "!", "/", "0", "10", "2", "A", "B", "Z", "_", "a", "a/", "a0", "b", "\u00e9", "\uff5e"]
    ascending += ["\uffff", "\U00010000", "\U0001f600", "\U0010ffff"]
    for key in ascending[::-2] + ascending[::2] + ascending[1::2]:
        await t.store.put(key, b"v")
    assert [entry.key for entry in await contents(t.store)] == ascending


@KIT.property_clause("LIST-2", "any-keys-ascend-by-code-point")
def any_order(run: Runner[StoreUnderTest]) -> None:
    async def check(t: StoreUnderTest, put: list[str]) -> None:
        for key in put:
            await t.store.put(key, b"v")
        assert [entry.key for entry in await contents(t.store)] == sorted(put, key=lambda key: [*map(ord, key)])

    @run.settings()
    @given(st.lists(keys(), max_size=8, unique=True))
    def any_keys(put: list[str]) -> None:
        run(check, put)

    any_keys()


@KIT.clause("LIST-3", "a-list-says-the-revision-that-it-was-of")
async def list_revision(t: StoreUnderTest) -> None:
    assert (await t.store.list("")).revision == 0
    for number in range(3):
        await t.store.put(f"{number}", b"v")
    assert (await t.store.list("0")).revision == 3
    assert (await t.store.list("none")).revision == 3
    assert (await t.store.list("", at_revision=Revision(2))).revision == 2


@KIT.clause("LIST-4", "a-limit-cuts-and-says-whether-there-is-more")
async def list_limit(t: StoreUnderTest) -> None:
    for key in ("a1", "a2", "a3", "b"):
        await t.store.put(key, b"v")
    for limit, prefix, expected, more in (
        (1, "a", ["a1"], True),
        (2, "a", ["a1", "a2"], True),
        (3, "a", ["a1", "a2", "a3"], False),
        (4, "a", ["a1", "a2", "a3"], False),
        (4, "", ["a1", "a2", "a3", "b"], False),
        (1, "none", [], False),
        (None, "", ["a1", "a2", "a3", "b"], False),
    ):
        result = await t.store.list(prefix, limit=limit)
        assert ([entry.key for entry in result.entries], result.more) == (expected, more), (limit, prefix)


@KIT.clause("LIST-5", "a-list-begins-after-any-text")
async def list_start(t: StoreUnderTest) -> None:
    for key in ("a/1", "a/2", "a/3", "b"):
        await t.store.put(key, b"v")
    for start_after, expected in (
        ("a/1", ["a/2", "a/3"]),
        ("a/15", ["a/2", "a/3"]),
        ("a/3", []),
        ("A", ["a/1", "a/2", "a/3"]),
        ("", ["a/1", "a/2", "a/3"]),
        ("a/1\0", ["a/2", "a/3"]),
        ("b", []),
        ("z" * (MAX_KEY_BYTES + 1), []),
    ):
        result = await t.store.list("a/", start_after=start_after)
        assert [entry.key for entry in result.entries] == expected, start_after


@KIT.property_clause("LIST-5", "pages-of-any-size-make-up-the-whole")
def any_pages(run: Runner[StoreUnderTest]) -> None:
    async def check(t: StoreUnderTest, put: list[str], prefix: str, limit: int) -> None:
        for key in put:
            await t.store.put(key, b"v")
        seen: list[str] = []
        more = True
        while more:
            page = await t.store.list(prefix, limit=limit, start_after=seen[-1] if seen else None)
            assert len(page.entries) == limit or not page.more
            assert len(seen) <= len(put), "pages repeat themselves"
            seen += [entry.key for entry in page.entries]
            more = page.more
        assert seen == sorted(key for key in put if key.startswith(prefix))

    @run.settings()
    @given(st.lists(keys(), max_size=10, unique=True), prefixes(), st.integers(1, 4))
    def any_keys(put: list[str], prefix: str, limit: int) -> None:
        run(check, put, prefix, limit)

    any_keys()


@KIT.clause("LIST-6", "keys-are-listed-as-they-were-at-a-revision")
async def list_at(t: StoreUnderTest) -> None:
    await t.store.put("a", b"1")
    await t.store.put("b", b"2")
    await t.store.delete("a")
    await t.store.put("b", b"3")
    seen = [
        {entry.key: (entry.value, entry.modified) for entry in await contents(t.store, at_revision=Revision(at))}
        for at in range(5)
    ]
    assert seen == [{}, {"a": (b"1", 1)}, {"a": (b"1", 1), "b": (b"2", 2)}, {"b": (b"2", 2)}, {"b": (b"3", 4)}]


@KIT.property_clause("LIST-7", "pages-at-one-revision-fit-together-whatever-is-written-meanwhile")
def pages_while_writing(run: Runner[StoreUnderTest]) -> None:
    async def check(t: StoreUnderTest, put: set[str], limit: int, meanwhile: list[tuple[str, bytes | None]]) -> None:
        for key in sorted(put):
            await t.store.put(key, b"before")
        page = await t.store.list("", limit=limit)
        seen, revision = [*page.entries], page.revision
        writes = iter(meanwhile)
        while page.more:
            for key, value in (next(writes, ("a", None)), next(writes, ("b", b"after"))):
                await (t.store.delete(key) if value is None else t.store.put(key, value))
            page = await t.store.list("", limit=limit, start_after=seen[-1].key, at_revision=revision)
            assert page.revision == revision
            seen += page.entries
            assert len(seen) <= len(put), "pages repeat themselves"
        assert [(entry.key, entry.value) for entry in seen] == [(key, b"before") for key in sorted(put)]

    @run.settings()
    @given(
        st.sets(few_keys()),
        st.integers(1, 3),
        st.lists(st.tuples(few_keys(), st.none() | st.just(b"after")), max_size=10),
    )
    def any_writes(put: set[str], limit: int, meanwhile: list[tuple[str, bytes | None]]) -> None:
        run(check, put, limit, meanwhile)

    any_writes()


@KIT.clause("LIST-8", "a-bad-limit-or-beginning-is-refused")
async def list_bad(t: StoreUnderTest) -> None:
    for limit in (0, -1):
        await refused(InvalidRequest, t.store.list("", limit=limit))
    await refused(InvalidRequest, t.store.list("", start_after="\ud800"))


@KIT.clause("LIST-9", "a-revision-to-come-is-refused")
async def list_future(t: StoreUnderTest) -> None:
    await refused(FutureRevision, t.store.list("", at_revision=Revision(1)))
    await t.store.put("a", b"v")
    await t.store.list("", at_revision=Revision(1))
    await refused(FutureRevision, t.store.list("", at_revision=Revision(2)))


@KIT.clause("LIST-10", "a-compacted-revision-is-refused-with-the-oldest-kept")
async def list_compacted(t: StoreUnderTest) -> None:
    for _ in range(4):
        await t.store.put("a", b"v")
    await t.store.compact(Revision(3))
    for at in range(3):
        err = await refused(RevisionCompacted, t.store.list("", at_revision=Revision(at)))
        assert err.oldest == 3
