"""Merge patches do what RFC 7396 says; its appendix A is the table below."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.control_plane._objects.json_values import MAX_DEPTH, equal, place
from orchestrion.control_plane._objects.merge_patch import merge_patch
from orchestrion.shared_types import ConfigInvalid

SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "b"])
KEYS = st.sampled_from(["a", "b", "c/d", "~e", ""])
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
    ids=str,
)
def test_the_examples_of_the_rfc_hold(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


@given(VALUES, VALUES)
def test_a_patch_applied_twice_is_applied_once(target: Any, patch: Any) -> None:
    once = merge_patch(target, patch)

    assert equal(merge_patch(once, patch), once)


@given(VALUES, VALUES)
def test_target_and_patch_stay_as_they_are(target: Any, patch: Any) -> None:
    before = copy.deepcopy((target, patch))

    merge_patch(target, patch)

    assert (target, patch) == before


@given(VALUES, VALUES)
def test_what_the_patch_does_not_name_stays(target: Any, patch: Any) -> None:
    if isinstance(target, dict) and isinstance(patch, dict):
        result = merge_patch(target, patch)

        assert {key: value for key, value in result.items() if key not in patch} == {
            key: value for key, value in target.items() if key not in patch
        }


def test_a_patch_that_is_too_deep_is_refused() -> None:
    patch: Any = 1
    for _ in range(MAX_DEPTH * 100):
        patch = {"a": patch}

    with pytest.raises(ConfigInvalid, match="nested more than 64 levels"):
        merge_patch({}, patch)


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [(1, True, False), (0, False, False), (1, 1.0, True), ([True], [1], False), ({"a": 1}, {"a": True}, False)],
    ids=str,
)
def test_true_is_no_number_and_a_whole_float_is_the_integer(left: Any, right: Any, same: bool) -> None:
    assert equal(left, right) is same
    assert equal(right, left) is same


def test_a_place_reads_like_the_document() -> None:
    assert place("spec", "ports", 0, "host-port") == "spec.ports[0].host-port"
    assert place("metadata", "labels", 'a.b/"c"') == 'metadata.labels["a.b/\\"c\\""]'
