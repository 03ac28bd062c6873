"""What is said in other words: parts of specs whose values are numbers, each in many words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from orchestrion.control_plane._objects.field_owners import apply
from orchestrion.control_plane._objects.other_words import MOST, amounts_meant, in_words_of_others
from orchestrion.shared_types import ConfigInvalid, Conflict, Problem

WORDS = ("0", "1", "1000m", "1.0", "2", "2000m", 1, 2, [1], {"x": "1"})


def meaning(spec: Any) -> Any:
    """Return a spec with its words as numbers, but for what is called a text."""
    if isinstance(spec, dict):
        return {key: value if key == "text" else meaning(value) for key, value in spec.items()}
    if isinstance(spec, list):
        return [meaning(each) for each in spec]
    if isinstance(spec, str) and spec.endswith("m"):
        return float(spec[:-1]) / 1000
    return float(spec) if isinstance(spec, str) and spec[:1].isdecimal() else spec


keys = st.sampled_from(["a", "b", "text"])


def by_name(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Draw a list that is merged by names."""
    named = st.dictionaries(st.sampled_from(["x", "y"]), inner, max_size=2)
    return named.map(lambda items: [{"name": name, "a": value} for name, value in items.items()])


values = st.recursive(
    st.sampled_from(WORDS),
    lambda inner: st.dictionaries(keys, inner, max_size=3) | by_name(inner),
    max_leaves=6,
)
parts = st.dictionaries(keys, values, max_size=3)


def said(steps: list[tuple[str, dict[str, Any]]]) -> Mapping[str, dict[str, Any]]:
    applied: Mapping[str, dict[str, Any]] = {}
    for manager, part in steps:
        applied = apply(applied, manager, part, force=True).applied
    return applied


steps = st.lists(st.tuples(st.sampled_from(["ann", "bob"]), parts), max_size=3).map(said)


@given(steps, parts)
def test_whatever_is_said_it_means_the_same_and_contradicts_less(applied: Any, part: dict[str, Any]) -> None:
    told = in_words_of_others(applied, "eve", part, meaning)
    whole, again = (apply(applied, "eve", each, force=True).spec for each in (part, told))
    assert meaning(again) == meaning(whole)
    assert in_words_of_others(applied, "eve", told, meaning) == told
    if not conflicts(applied, part):
        assert told == part
    if conflicts(applied, told):
        assert conflicts(applied, part)


def conflicts(applied: Any, part: dict[str, Any]) -> bool:
    try:
        apply(applied, "eve", part)
    except Conflict:
        return True
    return False


def test_values_in_lists_by_names_are_found() -> None:
    applied = {"ann": {"c": [{"name": "x", "cpu": "1000m"}, {"name": "y", "cpu": "2"}]}}
    told = in_words_of_others(applied, "eve", {"c": [{"name": "y", "cpu": "1"}, {"name": "x", "cpu": "1"}]}, meaning)
    assert told == {"c": [{"name": "y", "cpu": "1"}, {"name": "x", "cpu": "1000m"}]}


def test_what_means_nothing_is_what_it_is() -> None:
    def fail(_spec: Any) -> Any:
        raise ConfigInvalid((Problem("nothing"),))

    assert in_words_of_others({"ann": {"a": "1"}}, "eve", {"a": "1.0"}, fail) == {"a": "1.0"}


def test_not_more_is_found_out_than_takes_a_while() -> None:
    asked = list[Any]()

    def counted(spec: Any) -> Any:
        asked.append(spec)
        return meaning(spec)

    theirs = {f"k{number}": "1" for number in range(MOST + 50)}
    in_words_of_others({"ann": theirs}, "eve", dict.fromkeys(theirs, "1.0"), counted)
    assert len(asked) == MOST + 1


def test_what_is_no_amount_stays_what_it_is() -> None:
    assert amounts_meant({"hard": {"cpu": "0.5", "pods": "many"}, "note": "1"}) == {
        "hard": {"cpu": 500, "pods": "many"},
        "note": "1",
    }
