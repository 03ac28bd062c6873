"""Values become plain data and come back; what stands for no value is refused in words."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from cattrs.gen import make_dict_unstructure_fn
from hypothesis import given, settings
from hypothesis import strategies as st
from orchestrion import shared_types as o
from orchestrion.shared_types.strategies import values

KINDS = [
    kind
    for kind in (getattr(o, name) for name in o.__all__)
    if isinstance(kind, type) and attrs.has(kind) and not issubclass(kind, BaseException)
]


def problems(data: Any, kind: type) -> list[str]:
    with pytest.raises(o.ConfigInvalid) as caught:
        o.structure(data, kind)
    return [str(problem) for problem in caught.value.problems]


def test_every_exported_attrs_class_is_found() -> None:
    assert {o.WorkloadDefinition, o.Node, o.Event, o.InstanceKey, o.Problem} <= set(KINDS)
    assert len(KINDS) >= 35


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_every_value_comes_back_from_json_as_it_was(kind: type, data: st.DataObject) -> None:
    value = data.draw(values(kind))

    text = o.to_json(value)

    assert o.from_json(text, kind) == value
    assert o.structure(o.unstructure(value), kind) == value
    assert o.to_json(o.from_json(text, kind)) == text


@pytest.mark.parametrize("kind", [o.ContainerStatus, o.InstanceStatus], ids=lambda kind: kind.__name__)
@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_a_status_is_written_as_the_rules_for_all_values_would_have_it(kind: type, data: st.DataObject) -> None:
    by_rule = o.make_converter()
    for status in (o.ContainerStatus, o.InstanceStatus):
        hook = make_dict_unstructure_fn(status, by_rule, _cattrs_omit_if_default=True)
        by_rule.register_unstructure_hook(status, hook)
    value = data.draw(values(kind))

    assert json.dumps(o.unstructure(value)) == json.dumps(by_rule.unstructure(value))


def test_a_set_is_written_in_order() -> None:
    names = [f"driver-{n:02}" for n in range(30)]
    node = o.Node(id=o.NodeId("n"), name="n", drivers=frozenset(reversed(names)))
    assert o.unstructure(node)["drivers"] == names


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(deadline=None, max_examples=10)
@given(data=st.data())
def test_plain_data_has_nothing_but_what_json_has(kind: type, data: st.DataObject) -> None:
    def check(plain: Any) -> None:
        assert type(plain) in (dict, list, str, int, float, bool, type(None)), plain
        for inner in plain.values() if type(plain) is dict else plain if type(plain) is list else ():
            check(inner)

    check(o.unstructure(data.draw(values(kind))))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["metadata", "name", "containers", "kind", "health", "probe", "type"]), inner
            )
        ),
        max_leaves=12,
    )
)
def test_nothing_but_config_invalid_comes_out_of_any_plain_data(data: Any) -> None:
    for kind in (o.WorkloadDefinition, o.Node, o.HealthCheck):
        with contextlib.suppress(o.ConfigInvalid):
            o.structure(data, kind)


@given(st.binary(max_size=60))
def test_nothing_but_config_invalid_comes_out_of_any_bytes(data: bytes) -> None:
    with pytest.raises(o.ConfigInvalid):
        o.from_json(data, o.Node)


@pytest.mark.parametrize(
    "data",
    [b"[" * 100_000, b"\xff", b'{"id": NaN}', b"1" * 5000, b'{"id": "\\ud800", "name": "x"}', b""],
    ids=["deep", "not utf-8", "nan", "5000 digits", "half a surrogate pair", "empty"],
)
def test_json_that_json_does_not_have_is_refused(data: bytes) -> None:
    with pytest.raises(o.ConfigInvalid, match="not JSON"):
        o.from_json(data, o.Node)


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (5, o.Node, "a mapping is wanted, not a whole number (5)"),
        ([], o.Node, "a mapping is wanted, not a list ([])"),
        ({"name": "a", "labels": None}, o.Metadata, "labels: a mapping is wanted, not nothing (None)"),
        ({"name": "a", "annotations": 3}, o.Metadata, "annotations: a mapping is wanted, not a whole number (3)"),
        ({"id": "a"}, o.Node, "'name' is missing"),
        ({"id": "a", "name": "x", "stauts": "Ready"}, o.Node, "unknown key 'stauts'; did you mean 'status'?"),
        (
            {"id": "a", "name": "x", "status": "ready"},
            o.Node,
            "status: one of Ready, NotReady, Unknown, Down is wanted, not 'ready'; did you mean 'Ready'?",
        ),
        ({"id": "a", "name": "x", "cordoned": 1}, o.Node, "cordoned: true or false is wanted, not a whole number (1)"),
        ({"id": "a", "name": "x", "taints": "no"}, o.Node, "taints: a list is wanted, not a text ('no')"),
        (
            {"id": "a", "name": "x", "drain": {"reason": "r", "deadline": "2030-01-01"}},
            o.Node,
            "drain.deadline: a time with its time zone is wanted; '2030-01-01' has none (append Z for UTC)",
        ),
        (
            {"id": "a", "name": "x", "drain": {"reason": "r", "deadline": "soon"}},
            o.Node,
            "drain.deadline: a time such as 2030-01-31T12:00:00+00:00 is wanted, not 'soon'",
        ),
        ({"cpu_millicores": "1"}, o.Resources, "cpu_millicores: a whole number is wanted, not a text ('1')"),
        ({"cpu_millicores": True}, o.Resources, "cpu_millicores: a whole number is wanted, not true or false (True)"),
        ({"cpu_millicores": -1}, o.Resources, "cpu_millicores: at least 0 is wanted, not -1"),
        ({"extended": {"x": 1.5}}, o.Resources, "extended[x]: a whole number is wanted, not a number (1.5)"),
        (
            {"extended": {"memory_bytes": 1}},
            o.Resources,
            "extended.memory_bytes: that is no extended resource, it has a field of its own",
        ),
        (
            {"name": "a", "health": {"probe": {"type": "htp"}}},
            o.ContainerConfig,
            "health.probe: one of http, tcp, exec is wanted, not 'htp'; did you mean 'http'?",
        ),
        (
            {"name": "a", "health": {"probe": {"port": "x"}}},
            o.ContainerConfig,
            "health.probe: 'type' is missing; one of http, tcp, exec is wanted",
        ),
        (
            {"name": "a", "health": {"probe": {"type": "http", "prot": "x", "port": "p"}}},
            o.ContainerConfig,
            "health.probe: unknown key 'prot'; did you mean 'port'?",
        ),
        (
            {"metadata": {"name": "w"}, "containers": [{"name": "a"}, {"name": "b", "ports": [{"name": 1}]}]},
            o.WorkloadDefinition,
            "containers[1].ports[0].name: a text is wanted, not a whole number (1)",
        ),
        ({"condition": 5}, o.RestartPolicy, "condition: one of always, on-failure, never is wanted, not 5"),
        ({"max_restarts": "a"}, o.RestartPolicy, "max_restarts: a whole number is wanted, not a text ('a')"),
    ],
)
def test_a_problem_says_what_where_and_what_would_be_right(data: Any, kind: type, message: str) -> None:
    assert problems(data, kind) == [message]


def test_all_problems_are_told_at_once() -> None:
    found = problems({"metadata": {"nam": "x"}, "kind": "job", "replicas": "3"}, o.WorkloadDefinition)

    assert {text.split(":")[0] for text in found} == {"metadata", "kind", "replicas"}


def test_fields_with_their_default_are_left_out() -> None:
    assert o.to_json(o.Metadata(name="x")) == b'{"name":"x"}'


def test_a_whole_number_passes_for_a_number() -> None:
    assert o.structure({"factor": 3}, o.RestartPolicy) == o.RestartPolicy(factor=3.0)


def test_a_time_without_zone_is_never_written() -> None:
    naive = datetime(2030, 1, 1)  # noqa: DTZ001 # that is the point

    with pytest.raises(ValueError, match="no time zone"):
        o.to_json(o.Drain(reason="r", deadline=naive))


def test_a_time_keeps_its_instant() -> None:
    text = json.dumps({"reason": "r", "deadline": "2030-01-01T13:00:00+01:00"}).encode()

    assert o.from_json(text, o.Drain).deadline == datetime(2030, 1, 1, 12, tzinfo=UTC)


@attrs.frozen(kw_only=True)
class Bounded:
    """Has one field of each sort that a validator looks at."""

    word: str = attrs.field(default="Aa", validator=attrs.validators.matches_re("[A-Z][a-z]+"))
    choice: str = attrs.field(default="a", validator=attrs.validators.in_(("a", "b")))
    low: float | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.gt(0.0)))
    high: int = attrs.field(default=0, validator=attrs.validators.lt(5))
    seconds: float = attrs.field(default=0.0, validator=attrs.validators.le(30.0))
    short: str = attrs.field(default="", validator=attrs.validators.max_len(2))
    long: tuple[str, ...] = attrs.field(default=("a",), validator=attrs.validators.min_len(1))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"word": "aa"}, "word: 'aa' is not of the form [A-Z][a-z]+"),
        ({"choice": "c"}, "choice: one of a, b is wanted, not 'c'"),
        ({"low": 0}, "low: more than 0 is wanted, not 0"),
        ({"high": 5}, "high: less than 5 is wanted, not 5"),
        ({"seconds": 31}, "seconds: at most 30 is wanted, not 31"),
        ({"short": "abc"}, "short: a length of at most 2 is wanted, not 3"),
        ({"long": []}, "long: a length of at least 1 is wanted, not 0"),
    ],
)
def test_what_a_validator_refuses_is_told_at_its_place_in_plain_words(data: Any, told: str) -> None:
    for whole, kind, path in ((data, Bounded, ""), ([data], tuple[Bounded, ...], "[0].")):
        with pytest.raises(o.ConfigInvalid) as caught:
            o.structure(whole, kind)
        assert [f"{each.path}: {each.message}" for each in caught.value.problems] == [f"{path}{told}"]
