"""Selectors select by labels and by fields what they say, and what can't be read is refused where it goes wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.control_plane._objects.selectors import (
    MAX_SELECTOR_LENGTH,
    parse_field_selector,
    parse_label_selector,
)
from orchestrion.shared_types import ConfigInvalid

KEYS = st.sampled_from(["a", "app", "in", "notin", "acme.org/tier"])
VALUES = st.sampled_from(["", "x", "y.z", "in", "1-2"])
LABELS = st.dictionaries(KEYS, VALUES)


@pytest.mark.parametrize(
    ("text", "labels", "selected"),
    [
        ("", {}, True),
        ("  ", {"a": "b"}, True),
        ("a=b", {"a": "b"}, True),
        ("a==b", {"a": "b"}, True),
        (" a = b ", {"a": "b"}, True),
        ("a=b", {"a": "c"}, False),
        ("a=b", {}, False),
        ("a=", {"a": ""}, True),
        ("a=", {}, False),
        ("a!=b", {"a": "b"}, False),
        ("a!=b", {"a": "c"}, True),
        ("a != b", {}, True),
        ("a", {"a": ""}, True),
        ("a", {"b": "a"}, False),
        ("!a", {}, True),
        ("! a", {"a": ""}, False),
        ("a in (b,c)", {"a": "c"}, True),
        ("a in ( b , c )", {"a": "d"}, False),
        ("a in (b)", {}, False),
        ("a in()", {"a": ""}, True),
        ("a notin (b, c)", {"a": "c"}, False),
        ("a notin (b)", {}, True),
        ("a notin (b)", {"a": "d"}, True),
        ("in in (in)", {"in": "in"}, True),
        ("notin,in=1", {"notin": "", "in": "1"}, True),
        ("acme.org/tier=1.2-x_y", {"acme.org/tier": "1.2-x_y"}, True),
        ("a=b,c!=d,e,!f,g in (x,y),h notin (z)", {"a": "b", "c": "", "e": "", "g": "y"}, True),
        ("a=b,c!=d,e,!f,g in (x,y),h notin (z)", {"a": "b", "c": "", "e": "", "g": "y", "f": ""}, False),
    ],
)
def test_labels_are_selected_by_what_is_asked(text: str, labels: dict[str, str], selected: bool) -> None:
    assert parse_label_selector(text).matches(labels) is selected


DOCUMENT: dict[str, Any] = {
    "metadata": {"name": "web-1", "labels": {"acme.org/tier": "front"}, "generation": 3},
    "spec": {"kind": "batch", "containers": [{"name": "c"}], "paused": False, "share": 0.5, "note": "a,b=c!\\d e"},
    "status": {"phase": "Running", "reason": None, "empty": ""},
}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", True),
        ("metadata.name=web-1", True),
        ("metadata.name==web-2", False),
        ("metadata.name = web-1 , status.phase = Running", True),
        ("metadata.name=web-1,status.phase!=Running", False),
        ("spec.kind!=service", True),
        ("metadata.generation=3", True),
        ("metadata.generation=3.0", False),
        ("spec.paused=false", True),
        ("spec.paused=False", False),
        ("spec.share=0.5", True),
        ("metadata.labels.acme.org/tier=front", True),
        ("metadata.labels.acme=front", False),
        (r"spec.note=a\,b\=c\!\\d e", True),
        ("status.empty=", True),
        ("status.reason=", False),
        ("status.reason!=x", True),
        ("spec.nothing=", False),
        ("spec.nothing!=x", True),
        ("spec.containers!=x", True),
        ("spec.containers.name=c", False),
        ("spec.kind.more=batch", False),
        ("spec.kind.more!=batch", True),
        ("metadata=x", False),
    ],
)
def test_objects_are_selected_by_their_fields(text: str, selected: bool) -> None:
    assert parse_field_selector(text).matches(DOCUMENT) is selected


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        (",", 1, "the key of a label is wanted"),
        ("a=b,", 5, "the key of a label is wanted"),
        ("a=b,,c", 5, "the key of a label is wanted"),
        ("a=b c=d", 5, "',' is wanted between requirements"),
        ("a=b=c", 4, "',' is wanted between requirements"),
        ("a>b", 2, "',' is wanted"),
        ("!", 2, "the key of a label is wanted"),
        ("!a=b", 3, "',' is wanted"),
        ("a in b", 6, "'(' is wanted before the values"),
        ("a in (b", 8, "',' or ')' is wanted after a value"),
        ("a in (b c)", 9, "',' or ')' is wanted"),
        ("a notin", 8, "'(' is wanted"),
        ("ä=b", 1, "the key of a label is wanted"),
        ("a=ä", 3, "',' is wanted"),
        ("-a", 1, "the key of a label is wanted"),
    ],
)
def test_a_selector_of_labels_is_refused_where_it_goes_wrong(text: str, column: int, said: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        parse_label_selector(text)

    (problem,) = refused.value.problems
    assert problem.column == column
    assert said in problem.message
    assert problem.message.endswith(f"\n  {text}\n  {' ' * (column - 1)}^")


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("metadata.name", 14, "'=' or '!=' is wanted"),
        ("=x", 1, "a field such as metadata.name is wanted"),
        ("a..b=c", 2, "'=' or '!=' is wanted"),
        ("a=b=c", 4, "',' is wanted"),
        ("a in (b)", 3, "'=' or '!=' is wanted"),
        ("a=b,", 5, "a field such as metadata.name is wanted"),
        ("a=b\\c", 4, "',' is wanted"),
    ],
)
def test_a_selector_of_fields_is_refused_where_it_goes_wrong(text: str, column: int, said: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        parse_field_selector(text)

    (problem,) = refused.value.problems
    assert problem.column == column
    assert said in problem.message


def test_a_refusal_shows_the_place_and_not_a_whole_long_selector() -> None:
    text = "a=b," * 100 + "%" + ",c" * 100

    with pytest.raises(ConfigInvalid) as refused:
        parse_label_selector(text)

    first, shown, caret = str(refused.value).splitlines()
    assert first == "label selector:401: the key of a label is wanted"
    assert shown == f"  {text[360:440]}"
    assert shown[len(caret) - 1] == "%"


@pytest.mark.parametrize("parse", [parse_label_selector, parse_field_selector])
def test_a_selector_that_is_too_long_is_refused(parse: Any) -> None:
    text = "a=" + "b" * (MAX_SELECTOR_LENGTH - 2)
    parse(text)

    with pytest.raises(ConfigInvalid, match="at most 4,096 characters"):
        parse(text + "b")


@st.composite
def requirements(draw: st.DrawFn) -> tuple[str, Any]:
    """Draw a requirement and what it means, said in another way."""
    key, value = draw(KEYS), draw(VALUES)
    values = draw(st.lists(VALUES, min_size=1, max_size=3))
    space = draw(st.sampled_from(["", " "]))
    listed = f" ({space}{f'{space},'.join(values)})"
    forms: list[tuple[str, Any]] = [
        (f"{key}{space}={value}", lambda labels: key in labels and labels[key] == value),
        (f"{key}=={space}{value}", lambda labels: key in labels and labels[key] == value),
        (f"{key}!={value}", lambda labels: key not in labels or labels[key] != value),
        (f"{key} in{listed}", lambda labels: key in labels and labels[key] in values),
        (f"{key} notin{listed}", lambda labels: key not in labels or labels[key] not in values),
        (key, lambda labels: key in labels),
        (f"!{space}{key}", lambda labels: key not in labels),
    ]
    drawn: tuple[str, Any] = draw(st.sampled_from(forms))
    return drawn


@given(st.lists(requirements(), max_size=4), LABELS)
def test_labels_are_selected_where_every_requirement_holds(asked: list[tuple[str, Any]], labels: Any) -> None:
    selector = parse_label_selector(",".join(text for text, _ in asked))

    assert selector.matches(labels) is all(holds(labels) for _, holds in asked)


@given(st.text("ab=!,() in\\.\t/é", max_size=20), LABELS)
def test_any_text_is_read_or_refused(text: str, labels: dict[str, str]) -> None:
    for parse, subject in ((parse_label_selector, labels), (parse_field_selector, {"a": labels})):
        try:
            selector: Any = parse(text)
        except ConfigInvalid as refused:
            (problem,) = refused.problems
            assert 1 <= problem.column <= len(text) + 1
        else:
            assert selector.matches(subject) in (True, False)


@given(st.text(max_size=8), st.booleans())
def test_a_value_of_any_letters_can_be_asked_for(value: str, equals: bool) -> None:
    value = value.strip(" \t")
    escaped = "".join(f"\\{letter}" if letter in "\\,=!" else letter for letter in value)
    selector = parse_field_selector(f"a.b{'=' if equals else '!='}{escaped}")

    assert selector.matches({"a": {"b": value}}) is equals
    assert selector.matches({"a": {"b": value + "x"}}) is not equals
