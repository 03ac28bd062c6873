"""Schemas of custom kinds are checked when they are defined, and objects against them, in bounded time."""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from orchestrion.control_plane._objects.json_values import equal
from orchestrion.control_plane._objects.schema_check import MAX_PROBLEMS, read_schema
from orchestrion.shared_types import ConfigInvalid

BACKUP: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["source", "schedule"],
    "additionalProperties": False,
    "properties": {
        "source": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "x-shown": True},
        "schedule": {"$ref": "#/$defs/schedule"},
        "keep": {"type": "integer", "minimum": 1, "default": 7},
        "targets": {"type": "array", "items": {"$ref": "#/$defs/target"}, "maxItems": 3, "default": [{"name": "main"}]},
    },
    "$defs": {
        "schedule": {
            "type": "object",
            "properties": {"every": {"enum": ["hour", "day"]}, "at": {"type": "string", "default": "02:00"}},
        },
        "target": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string"}, "zone": {"type": "string", "default": "any"}},
        },
    },
}
TREE: dict[str, Any] = {
    "type": "object",
    "properties": {"below": {"type": "array", "items": {"$ref": "#"}}, "size": {"type": "integer", "default": 0}},
    "additionalProperties": False,
}


def problems_of(schema: Any, value: Any) -> list[str]:
    with pytest.raises(ConfigInvalid) as refused:
        read_schema(schema).check(value)
    return [str(problem) for problem in refused.value.problems]


def test_what_is_left_out_is_filled_in() -> None:
    value = {"source": "db", "schedule": {"every": "day"}}

    assert read_schema(BACKUP).check(value) == {
        "source": "db",
        "schedule": {"every": "day", "at": "02:00"},
        "keep": 7,
        "targets": [{"name": "main", "zone": "any"}],
    }
    assert value == {"source": "db", "schedule": {"every": "day"}}


@pytest.mark.parametrize(
    ("schema", "value", "filled"),
    [
        ({"allOf": [{"properties": {"a": {"default": 1}}}]}, {}, {"a": 1}),
        ({"prefixItems": [{"properties": {"a": {"default": 1}}}]}, [{}, {}], [{"a": 1}, {}]),
        ({"items": {"properties": {"a": {"default": 1}}}}, [{}, {"a": 2}], [{"a": 1}, {"a": 2}]),
        ({"additionalProperties": {"properties": {"a": {"default": 1}}}}, {"x": {}}, {"x": {"a": 1}}),
        ({"properties": {"a": {"default": {}, "properties": {"b": {"default": 1}}}}}, {}, {"a": {"b": 1}}),
        ({"properties": {"a": {"properties": {"b": {"default": 1}}}}}, {}, {}),
        ({"anyOf": [{"properties": {"a": {"default": 1}}}]}, {}, {}),
        ({"properties": {"a": {"default": 1}}}, {"a": None}, {"a": None}),
        ({"properties": {"a": {"default": 1}}}, "text", "text"),
        (TREE, {"below": [{"below": [{}]}]}, {"below": [{"below": [{"size": 0}], "size": 0}], "size": 0}),
    ],
    ids=str,
)
def test_defaults_are_filled_in_where_the_schema_leads_without_a_condition(
    schema: Any, value: Any, filled: Any
) -> None:
    assert read_schema(schema).check(value) == filled


def test_all_that_is_wrong_is_told_with_its_place() -> None:
    value = {
        "source": "DB!",
        "schedule": {"every": "year", "at": 2},
        "keep": 0,
        "targets": [{"name": "a"}, {"zone": "b"}],
        "kepe": 3,
    }

    assert sorted(problems_of(BACKUP, value)) == [
        "spec.keep: 0 is less than the minimum of 1",
        "spec.schedule.at: a text is wanted, not a number",
        'spec.schedule.every: one of "hour", "day" is wanted',
        "spec.source: a text that matches the pattern '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$' is wanted",
        "spec.targets[1]: 'name' is missing",
        "spec: unknown key 'kepe'; known: keep, schedule, source, targets",
    ]


def test_no_more_problems_are_told_than_are_read() -> None:
    assert len(problems_of({"items": {"type": "string"}}, list(range(100)))) == MAX_PROBLEMS


def test_a_problem_shows_no_whole_large_value() -> None:
    (problem,) = problems_of({"maxLength": 3}, "x" * 10_000)

    assert len(problem) < 400


def test_of_options_the_one_that_was_most_likely_meant_is_told() -> None:
    schema = {
        "anyOf": [
            {"type": "string"},
            {"type": "object", "properties": {"port": {"type": "integer"}}, "required": ["port"]},
        ]
    }

    assert problems_of(schema, {"port": "http"}) == ["spec.port: a whole number is wanted, not a text"]


@pytest.mark.parametrize(
    ("schema", "value", "right"),
    [
        ({"format": "date-time"}, "2026-11-22T16:00:00.5Z", True),
        ({"format": "date-time"}, "2026-11-22t16:00:00+01:00", True),
        ({"format": "date-time"}, "2026-11-22T16:00:00", False),
        ({"format": "date-time"}, "2026-13-22T16:00:00Z", False),
        ({"format": "date-time"}, "2026-W47-7T16:00:00Z", False),
        ({"format": "date"}, "2026-02-29", False),
        ({"format": "date"}, "20261122", False),
        ({"format": "ipv4"}, "10.0.0.1", True),
        ({"format": "ipv4"}, "10.0.0.256", False),
        ({"format": "ipv6"}, "::1", True),
        ({"format": "ipv6"}, "::1::", False),
        ({"format": "uuid"}, "0197c3a0-0000-7000-8000-000000000000", True),
        ({"format": "uuid"}, "0197c3a0", False),
        ({"format": "date"}, 7, True),
        ({"multipleOf": 0.1}, 0.3, True),
        ({"multipleOf": 0.1}, 0.35, False),
        ({"multipleOf": 0.5}, 10**400, True),
        ({"multipleOf": 3}, 10**400, False),
        ({"multipleOf": 2}, True, True),
        ({"uniqueItems": True}, [1, True, "1", None, [1], {"a": 1}], True),
        ({"uniqueItems": True}, [{"a": 1, "b": [2]}, {"b": [2.0], "a": 1}], False),
        ({"uniqueItems": False}, [1, 1], True),
        ({"patternProperties": {"^x-": {"type": "string"}}, "additionalProperties": False}, {"x-a": "b"}, True),
        ({"patternProperties": {"^x-": {"type": "string"}}, "additionalProperties": False}, {"x-a": 1}, False),
        ({"patternProperties": {"^x-": {}}, "additionalProperties": {"type": "integer"}}, {"x-a": "", "b": ""}, False),
        ({"propertyNames": {"pattern": "^[a-z]+$"}}, {"A": 1}, False),
        ({"properties": {"a": False}}, {"a": 1}, False),
        ({"enum": [1, "a"]}, True, False),
        ({"const": 1}, 1.0, True),
    ],
    ids=str,
)
def test_a_value_is_right_or_wrong(schema: Any, value: Any, right: bool) -> None:
    checked = read_schema(schema)

    if right:
        assert checked.check(value) == value
    else:
        with pytest.raises(ConfigInvalid):
            checked.check(value)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (True, "schema: a schema is an object, not true or false"),
        (
            {"type": "strin"},
            'schema.type: no option fits: one of "array", "boolean", "integer", "null", "number", "obj',
        ),
        ({"minimum": "1"}, "schema.minimum: a number is wanted, not a text"),
        ({"required": "a"}, "schema.required: a list is wanted, not a text"),
        ({"properties": {"a": {"items": 3}}}, "schema.properties.a.items: an object or true or false is wanted"),
        ({"properties": {"a": {"minimun": 1}}}, "schema.properties.a.minimun: this word of a schema is not known"),
        ({"unevaluatedProperties": False}, "schema.unevaluatedProperties: this word"),
        ({"$id": "urn:x"}, "schema.$id: this word"),
        ({"$dynamicRef": "#a"}, "this word of a schema"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "only 'https://json-schema.org/draft/2020-12/schema'"),
        ({"$ref": "https://example.org/schema"}, "'#' or '#/$defs/NAME' of this schema is wanted"),
        ({"$ref": "#/$defs/none"}, "'#' or '#/$defs/NAME' of this schema is wanted"),
        ({"$ref": "#/properties/a", "properties": {"a": {}}}, "'#' or '#/$defs/NAME' of this schema is wanted"),
        ({"items": {"$defs": {"a": {}}}}, "definitions are wanted at the top"),
        ({"format": "email"}, "unknown format; known: date, date-time, ipv4, ipv6, uuid"),
        ({"pattern": r"(a)\1"}, "schema.pattern: '\\1' is not known here"),
        ({"patternProperties": {"(": {}}}, "a ')' is missing"),
        ({"$ref": "#"}, "a schema refers to itself without going into the value"),
        ({"allOf": [{"anyOf": [{"not": {"$ref": "#"}}]}]}, "a schema refers to itself"),
        (
            {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"if": {"$ref": "#/$defs/a"}}}},
            "a schema refers to itself",
        ),
        ({"properties": {"a": {"type": "integer", "default": "x"}}}, "schema.properties.a.default: a whole number"),
        ({"default": {}, "required": ["a"]}, "schema.default: 'a' is missing"),
        ({"patternProperties": {f"a{number}": {} for number in range(101)}}, "a schema has at most 100 patterns"),
        ({"enum": list(range(6_000))}, "a schema has at most 5,000 values"),
    ],
    ids=str,
)
def test_a_schema_that_can_not_be_used_is_refused_with_the_place(schema: Any, said: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        read_schema(schema)

    assert said in str(refused.value)
    assert len(refused.value.problems) == 1


def test_a_schema_that_is_too_deep_is_refused_and_one_that_is_not_is_read() -> None:
    def nested(levels: int) -> Any:
        schema: Any = {"type": "integer"}
        for _ in range(levels):
            schema = {"properties": {"a": schema}}
        return schema

    value: Any = "x"
    for _ in range(15):
        value = {"a": value}

    assert problems_of(nested(15), value) == [f"spec{'.a' * 15}: a whole number is wanted, not a text"]
    for levels in (16, 5_000):
        with pytest.raises(ConfigInvalid, match="nested at most 32 levels"):
            read_schema(nested(levels))


def test_a_default_that_grows_without_end_is_refused_when_the_kind_is_defined() -> None:
    node = {"type": "object", "default": {}, "properties": {"a": {"default": {}, "$ref": "#/$defs/node"}}}
    twice = {"properties": {side: {"default": {}, "$ref": "#/$defs/node"} for side in ("a", "b")}}

    for schema in (node, twice):
        with pytest.raises(ConfigInvalid, match=r"default: (the schema leads too deep|checking this against)"):
            read_schema({"$defs": {"node": schema}, "$ref": "#/$defs/node"})


@pytest.mark.slow
def test_the_defaults_of_a_schema_are_no_more_work_together_than_one_object() -> None:
    many = {f"q{number}": {"default": 1} for number in range(700)}
    schema = {
        "properties": {f"p{number}": {"default": {}, "$ref": "#/$defs/many"} for number in range(1_000)},
        "$defs": {"many": {"properties": many}},
    }

    with pytest.raises(ConfigInvalid, match="checking this against its schema is too much work") as refused:
        read_schema(schema)
    assert len(refused.value.problems) == 1


def test_what_is_no_schema_is_told_in_the_order_of_its_places() -> None:
    with pytest.raises(ConfigInvalid) as refused:
        read_schema({"properties": {f"p{number:03}": {"type": "strin"} for number in range(300)}})

    paths = [problem.path for problem in refused.value.problems]
    assert paths == [f"schema.properties.p{number:03}.type" for number in range(MAX_PROBLEMS)]


def test_objects_as_deep_as_may_be_are_checked() -> None:
    value: Any = {}
    for _ in range(31):
        value = {"below": [value]}

    filled = read_schema(TREE).check(value)

    assert filled["size"] == 0
    with pytest.raises(ConfigInvalid, match="nested more than 64 levels"):
        read_schema(TREE).check({"below": [{"below": [value]}]})


def test_references_in_a_long_row_end_in_a_refusal_and_not_in_a_crash() -> None:
    definitions: dict[str, Any] = {f"d{number}": {"$ref": f"#/$defs/d{number + 1}"} for number in range(300)}
    schema = {"$ref": "#/$defs/d0", "$defs": {**definitions, "d300": {"type": "object"}}}

    with pytest.raises(ConfigInvalid, match="spec: the schema leads too deep into this"):
        read_schema(schema).check({})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"properties": {"a": {"anyOf": [{"$ref": "#"}] * 3}}, "required": ["z"]}, "deep"),
        ({"items": {"allOf": [{"minimum": 0}] * 1_000}}, [1] * 20_000),
        ({"items": {"enum": [[number] for number in range(1_500)]}}, [[-1]] * 50_000),
        ({"anyOf": [{"type": "string"}] * 1_500}, ["x" * 1_000] * 1_000),
        (
            {"patternProperties": {f"^(a|aa)*{number}$": {} for number in range(100)}},
            {"a" * 500 + str(n): n for n in range(500)},
        ),
        ({"items": {"pattern": "(x+x+)+y"}}, ["x" * 1_000] * 1_000),
    ],
    ids=["references", "options", "values", "large values", "pattern properties", "patterns"],
)
def test_what_would_take_for_ever_is_given_up_soon(schema: Any, value: Any) -> None:
    if value == "deep":
        value = {}
        for _ in range(40):
            value = {"a": value}
    checked = read_schema(schema)
    before = time.process_time()

    with pytest.raises(ConfigInvalid, match=r"spec: (checking this .* too much work|the schema leads too deep)"):
        checked.check(value)

    assert time.process_time() - before < 20, "many times what it takes, and nothing against for ever"


SCALARS = st.sampled_from([None, True, 0, 1, 1.5, "", "a", "ab"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner), max_leaves=6
)
KINDS = st.sampled_from(["string", "integer", "number", "boolean", "null", "array", "object"])
SCHEMAS = st.recursive(
    st.booleans()
    | st.fixed_dictionaries(
        {},
        optional={
            "type": KINDS | st.lists(KINDS, min_size=1, unique=True),
            "minimum": st.integers(0, 1),
            "maxLength": st.integers(0, 1),
            "minItems": st.integers(0, 2),
            "uniqueItems": st.booleans(),
            "multipleOf": st.sampled_from([1, 0.5]),
            "required": st.lists(st.sampled_from("ab"), unique=True),
            "enum": st.lists(SCALARS, min_size=1, max_size=3),
            "pattern": st.sampled_from(["^a", "b$"]),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "properties": st.dictionaries(st.sampled_from("ab"), inner),
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b$"]), inner, max_size=1),
            "additionalProperties": inner,
            "items": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "contains": inner,
            "propertyNames": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
        },
    ),
    max_leaves=5,
)


@pytest.mark.slow
@given(SCHEMAS.filter(lambda schema: isinstance(schema, dict)), VALUES)
def test_a_value_is_right_where_the_draft_says_so(schema: Any, value: Any) -> None:
    kept = copy.deepcopy((schema, value))
    checked = read_schema(schema)
    right = Draft202012Validator(schema).is_valid(value)

    try:
        assert equal(checked.check(value), value)
    except ConfigInvalid:
        assert not right
    else:
        assert right
    assert (schema, value) == kept
