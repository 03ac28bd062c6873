"""JSON patches do what RFC 6902 says, and a patch that is made from a difference makes that difference."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.control_plane._objects.json_patch import (
    MAX_OPERATIONS,
    apply_patch,
    make_patch,
    parse_pointer,
    pointer_text,
)
from orchestrion.control_plane._objects.json_values import MAX_DEPTH, equal
from orchestrion.shared_types import ConfigInvalid, PreconditionFailed

SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "b"])
KEYS = st.sampled_from(["a", "b", "c/d", "~e", "", "0", "-"])
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=3))
POINTERS = st.lists(st.sampled_from(["a", "b", "0", "1", "-", "c~1d", "~0e", ""]), max_size=3).map(
    lambda parts: "".join("/" + part for part in parts)
)
OPERATIONS = st.fixed_dictionaries(
    {
        "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
        "path": POINTERS,
        "from": POINTERS,
        "value": VALUES,
    }
)

# The examples of RFC 6902, appendix A, by their numbers.
EXAMPLES: dict[str, tuple[Any, list[dict[str, Any]], Any]] = {
    "A.1": ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
    "A.2": (
        {"foo": ["bar", "baz"]},
        [{"op": "add", "path": "/foo/1", "value": "qux"}],
        {"foo": ["bar", "qux", "baz"]},
    ),
    "A.3": ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
    "A.4": ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
    "A.5": (
        {"baz": "qux", "foo": "bar"},
        [{"op": "replace", "path": "/baz", "value": "boo"}],
        {"baz": "boo", "foo": "bar"},
    ),
    "A.6": (
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    "A.7": (
        {"foo": ["all", "grass", "cows", "eat"]},
        [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
        {"foo": ["all", "cows", "eat", "grass"]},
    ),
    "A.8": (
        {"baz": "qux", "foo": ["a", 2, "c"]},
        [{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}],
        {"baz": "qux", "foo": ["a", 2, "c"]},
    ),
    "A.10": (
        {"foo": "bar"},
        [{"op": "add", "path": "/child", "value": {"grandchild": {}}}],
        {"foo": "bar", "child": {"grandchild": {}}},
    ),
    "A.11": (
        {"foo": "bar"},
        [{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}],
        {"foo": "bar", "baz": "qux"},
    ),
    "A.14": ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
    "A.16": (
        {"foo": ["bar"]},
        [{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}],
        {"foo": ["bar", ["abc", "def"]]},
    ),
}


@pytest.mark.parametrize("number", EXAMPLES)
def test_the_examples_of_the_rfc_hold(number: str) -> None:
    document, patch, result = EXAMPLES[number]

    assert apply_patch(document, patch) == result


@pytest.mark.parametrize(
    ("document", "patch", "said"),
    [
        ({"foo": "bar"}, {"op": "add", "path": "/baz/bat", "value": "qux"}, "there is no member 'baz' at the top"),
        ({"foo": 1}, {"op": "add", "path": "/foo/bat", "value": "qux"}, "a number has nothing inside at '/foo'"),
        ({"foo": [1]}, {"op": "add", "path": "/foo/2", "value": 2}, "the list has 1 items, so that there is no 2"),
        ({"foo": [1]}, {"op": "add", "path": "/foo/01", "value": 2}, "'01' is no index of a list"),
        ({"foo": [1]}, {"op": "remove", "path": "/foo/-"}, "'-' is no index of a list"),
        ({"foo": [1]}, {"op": "remove", "path": "/foo/1"}, "there is no 1 at '/foo'"),
        ({"foo": [1]}, {"op": "remove", "path": "/foo/-1"}, "'-1' is no index"),
        ({"foo": [1]}, {"op": "replace", "path": "/bar", "value": 1}, "there is no member 'bar'"),
        ({"foo": [1]}, {"op": "remove", "path": ""}, "the whole document can't be removed"),
        ({"foo": {"a": 1}}, {"op": "move", "from": "/foo", "path": "/foo/b"}, "'/foo' can't be moved into itself"),
        ({"foo": {"a": 1}}, {"op": "move", "from": "/b", "path": "/b"}, "there is no member 'b'"),
        ({}, {"op": "test", "path": "/a", "value": None}, "there is no member 'a'"),
        ({}, {"op": "add", "path": "/a"}, "`value` is missing"),
        ({}, {"op": "copy", "path": "/a"}, "`from` is missing"),
        ({}, {"op": "add", "value": 1}, "`path` is missing"),
        ({}, {"op": "add", "path": 3, "value": 1}, "`path` is a JSON pointer, a text, not a number"),
        ({}, {"op": "add", "path": "a", "value": 1}, "starts with '/'"),
        ({}, {"op": "add", "path": "/a~2", "value": 1}, "'~' is written '~0'"),
        ({}, {"op": "spam", "path": "/a"}, "unknown operation 'spam'; known: add"),
        ({}, {"path": "/a"}, "`op` is missing"),
        ({}, 7, "an operation is an object, not a number"),
    ],
    ids=str,
)
def test_what_can_not_be_done_is_refused_with_the_operations_number(document: Any, patch: Any, said: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        apply_patch(document, [{"op": "add", "path": "/first", "value": 1}, patch])

    (problem,) = refused.value.problems
    assert problem.path == "[1]"
    assert said in problem.message


def test_a_refusal_names_the_operation_and_its_pointer() -> None:
    with pytest.raises(ConfigInvalid, match=r"^\[0\]: replace /spec/replicas: there is no member 'spec' at the top$"):
        apply_patch({}, [{"op": "replace", "path": "/spec/replicas", "value": 1}])


@pytest.mark.parametrize(
    ("document", "value"), [({"a": "x"}, "y"), ({"a": 1}, True), ({"a": 10}, "10"), ({"a": [1]}, [1, 2])], ids=str
)
def test_a_test_that_finds_another_value_fails_the_patch(document: Any, value: Any) -> None:
    with pytest.raises(PreconditionFailed, match="test /a: the value there is another one"):
        apply_patch(document, [{"op": "test", "path": "/a", "value": value}])


def test_nothing_is_changed_where_a_later_operation_fails() -> None:
    document: dict[str, Any] = {"a": {"b": [1]}}

    with pytest.raises(PreconditionFailed):
        apply_patch(
            document,
            [
                {"op": "add", "path": "/a/b/0", "value": 0},
                {"op": "remove", "path": "/a/b/1"},
                {"op": "test", "path": "/a/b", "value": []},
            ],
        )

    assert document == {"a": {"b": [1]}}


def test_the_whole_document_can_be_replaced() -> None:
    assert apply_patch({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}]) == {"b": 2}
    assert apply_patch({"a": 1}, [{"op": "copy", "from": "/a", "path": ""}]) == 1


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", None),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/e^f", 3),
        ("/g|h", 4),
        ("/i\\j", 5),
        ('/k"l', 6),
        ("/ ", 7),
        ("/m~0n", 8),
    ],
)
def test_pointers_lead_where_rfc_6901_says(pointer: str, value: Any) -> None:
    document = {
        "foo": ["bar", "baz"],
        "": 0,
        "a/b": 1,
        "c%d": 2,
        "e^f": 3,
        "g|h": 4,
        "i\\j": 5,
        'k"l': 6,
        " ": 7,
        "m~n": 8,
    }

    assert apply_patch(document, [{"op": "test", "path": pointer, "value": value if pointer else document}]) == document


@given(st.lists(st.text("~/01ä.-", max_size=5), max_size=5))
def test_a_pointer_is_read_as_it_was_written(parts: list[str]) -> None:
    assert parse_pointer(pointer_text(parts)) == tuple(parts)


@given(VALUES, VALUES)
def test_the_patch_between_two_documents_makes_one_of_the_other(before: Any, after: Any) -> None:
    kept = copy.deepcopy((before, after))

    assert equal(apply_patch(before, make_patch(before, after)), after)
    assert (before, after) == kept


@pytest.mark.slow
@given(VALUES, st.lists(OPERATIONS, max_size=5))
def test_a_patch_is_refused_or_applied_and_changes_no_argument(document: Any, patch: list[dict[str, Any]]) -> None:
    kept = copy.deepcopy((document, patch))

    try:
        result = apply_patch(document, patch)
    except (ConfigInvalid, PreconditionFailed):
        pass
    else:
        assert equal(apply_patch(document, make_patch(document, result)), result)

    assert (document, patch) == kept


@given(VALUES)
def test_equal_documents_differ_by_nothing(document: Any) -> None:
    assert make_patch(document, copy.deepcopy(document)) == []


def test_an_item_put_into_a_list_is_one_operation() -> None:
    before = [{"name": name} for name in "abcdef"]
    after = [*before[:2], {"name": "new"}, *before[2:]]

    assert make_patch(before, after) == [{"op": "add", "path": "/2", "value": {"name": "new"}}]
    assert make_patch(after, before) == [{"op": "remove", "path": "/2"}]


def test_a_patch_has_no_more_operations_than_anybody_needs() -> None:
    patch = [{"op": "test", "path": "", "value": {}}] * (MAX_OPERATIONS + 1)

    assert apply_patch({}, patch[:-1]) == {}
    with pytest.raises(ConfigInvalid, match="at most 1,000 operations"):
        apply_patch({}, patch)


def test_a_patch_is_a_list() -> None:
    with pytest.raises(ConfigInvalid, match="is a list of operations, not an object"):
        apply_patch({}, {"op": "add"})


def test_a_document_can_not_be_doubled_without_end() -> None:
    doubling = [{"op": "copy", "from": "/a", "path": "/b"}, {"op": "add", "path": "/c", "value": 0}]
    doubling += [{"op": "copy", "from": "", "path": "/a/-"}] * 900

    with pytest.raises(ConfigInvalid, match=r"would (have more than|be nested)"):
        apply_patch({"a": []}, doubling)


def test_a_long_text_can_not_be_copied_without_end() -> None:
    long = "y" * 100_000
    copies = [{"op": "copy", "from": "/a", "path": f"/a{number}"} for number in range(60)]
    assert len(apply_patch({"a": long}, copies[:30])) == 31

    with pytest.raises(ConfigInvalid, match="more than 4,194,304 characters"):
        apply_patch({"a": long}, copies)
    with pytest.raises(ConfigInvalid, match="more than 4,194,304 characters"):
        apply_patch({"a": {long: 1}}, copies)


def test_a_document_can_not_grow_deeper_than_what_recursion_bears() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert apply_patch({"a": 1}, [{"op": "replace", "path": "", "value": deep}]) == deep

    for path, value in (("", [deep]), ("/a", deep), ("/a", {"b": deep})):
        with pytest.raises(ConfigInvalid, match="nested more than 64 levels"):
            apply_patch({"a": 1}, [{"op": "replace", "path": path, "value": value}])
    with pytest.raises(ConfigInvalid, match="at most 65 parts"):
        apply_patch({}, [{"op": "remove", "path": "/a" * 100_000}])
