"""Properties of manifests: what is written is read back, schema and loader agree, and nothing breaks the loader."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import json
from functools import cache
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from orchestrion import shared_types as o
from orchestrion.shared_types.manifest import (
    Manifest,
    check_manifest,
    manifest_schema,
    parse_manifest,
    to_manifest,
    to_yaml,
)
from orchestrion.shared_types.manifest._nodes import plain
from orchestrion.shared_types.manifest._yaml import compose
from orchestrion.shared_types.strategies import accepted_workloads, texts

needs_jsonschema = pytest.mark.skipif(
    importlib.util.find_spec("jsonschema") is None, reason="jsonschema, which only these tests need, is not installed"
)


@cache
def validator() -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(manifest_schema())


EXAMPLE = """
namespace: default
volumes: {counts: {}, scratch: {scope: instance}}
workloads:
  count:
    kind: batch
    completions: 4
    parallelism: 2
    retries: 1
    deadline: 1h
    labels: {app: count}
    containers:
      - name: mapper
        command: [python3, word_count.py, "${ORCHESTRION_INDEX}", 5, true]
        resources: {cpu: 500m, memory: 64Mi, gpu: {model: A100}, extended: {licences: 1}, example.com/fpga: 2}
        limits: {cpu: 1}
        env: {A: 1, B: no, C: "${A}"}
        inherit_env: [PATH]
        volumes: [counts, {volume: scratch, read_only: true}]
  web:
    replicas: 3
    containers:
      - name: server
        image: web:1
        command: [serve, "${PORT_HTTP}"]
        ports: {http: {}, admin: 8080, dns: {port: 53, protocol: udp}}
        health: {http: {port: http, path: /}, interval: 1s}
        volumes: {counts: /data}
        cpu_set: [0, 1]
        stop_grace: 5s
    update: {max_surge: 1, min_healthy: 2s}
    restart: {condition: on-failure, max_restarts: 3}
    placement:
      spread: [zone, {by: node, max_skew: 2}]
      select: {zone: a}
      affinity: {nodes: [{expressions: [{key: disk, operator: In, values: [ssd]}], weight: 5}]}
      tolerations: [{key: dedicated, for: 5m}]
    after: {count: succeeded}
  agent:
    kind: daemon
    containers: [{name: main, command: [agent]}]
    after: [web]
    retention: {attempts: 3}
"""
EXAMPLE_PLAIN: Any = plain(compose(EXAMPLE)[0])
SCRAPS: list[Any] = [None, True, -1, 0, 1, 0.5, 1e300, "", "x", "-1", "1s", "A B", [], {}, [None], {"x": None}, [[]]]
JUNK = st.sampled_from(SCRAPS).map(copy.deepcopy)
PIECES = ["\t", "\n  ", "- ", ": ", "{", "]", "&a ", "*a ", "!!int ", "'", '"', "${", "? ", "---\n", "\0", "<<: "]
KEYS = st.sampled_from(["replicas", "name", "x", "http", "port", "", "a b", "kind", "$schema"])


def accepted(text: str) -> bool:
    try:
        parse_manifest(text)
    except o.ConfigInvalid as err:
        for problem in err.problems:
            assert problem.message
        return False
    return True


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in inner for place in places(child, (*path, key)))]


@st.composite
def mutants(draw: st.DrawFn) -> Any:
    """Draw the example's plain data with a few parts replaced, removed or added."""
    mutant = copy.deepcopy(EXAMPLE_PLAIN)
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.sampled_from(places(mutant)[1:]))
        parent = mutant
        for part in place[:-1]:
            parent = parent[part]
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace":
                parent[place[-1]] = draw(JUNK)
            case "remove":
                del parent[place[-1]]
            case _ if isinstance(parent, dict):
                parent[draw(KEYS)] = draw(JUNK)
            case _:
                parent.append(draw(JUNK))
    return mutant


@needs_jsonschema
def test_the_example_is_accepted_and_valid() -> None:
    assert accepted(EXAMPLE)
    validator().validate(EXAMPLE_PLAIN)
    validator().check_schema(manifest_schema())


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(accepted_workloads())
def test_workloads_come_back_from_manifest_form_as_they_were(workloads: tuple[o.WorkloadDefinition, ...]) -> None:
    assert o.check_workloads(workloads) == ()
    assert check_manifest(Manifest(namespace=workloads[0].metadata.namespace, workloads=workloads)) == ()
    form = to_manifest(workloads)

    assert parse_manifest(json.dumps(form)).workloads == workloads
    assert parse_manifest(json.dumps(form, ensure_ascii=False).translate(BREAKS)).workloads == workloads
    assert parse_manifest(to_yaml(form)).workloads == workloads


# Raw, these are line breaks to one version of YAML and not to the other, and the loader refuses them.
BREAKS = {code: f"\\u{code:04x}" for code in (0x7F, *range(0x80, 0xA0), 0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF)}


@needs_jsonschema
@settings(deadline=None, max_examples=20)
@given(accepted_workloads())
def test_manifest_forms_are_valid(workloads: tuple[o.WorkloadDefinition, ...]) -> None:
    validator().validate(to_manifest(workloads))


@needs_jsonschema
@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(mutants())
def test_what_the_loader_accepts_is_valid_and_what_is_not_valid_it_refuses(mutant: Any) -> None:
    text = json.dumps(mutant)

    assert not accepted(text) or validator().is_valid(mutant), text


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(mutants())
def test_yaml_and_json_of_the_same_are_accepted_alike(mutant: Any) -> None:
    assert accepted(json.dumps(mutant)) == accepted(to_yaml(mutant))


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=80))
@example(b"\xff\xfe")
@example(b"!!binary =\n")
@example(b"!!float 0x1f")
@example(b"&a [*a]")
@example(b"? {}\n: x")
@example(b"%YAML 9.9\n---\n")
@example(b"- \t- x\n")
@example(b"<<: 5")
def test_nothing_but_config_invalid_comes_out_of_any_bytes(source: bytes) -> None:
    with contextlib.suppress(o.ConfigInvalid):
        parse_manifest(source)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_nothing_but_config_invalid_comes_out_of_a_damaged_manifest(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(EXAMPLE)))
    length = data.draw(st.integers(0, 20))
    piece = data.draw(
        texts(max_size=4)
        | st.sampled_from(
            ["\t", "\n  ", "- ", ": ", "{", "]", "&a ", "*a ", "!!int ", "'", '"', "${", "? ", "---\n", "\0", "<<: "]
        )
    )

    accepted(EXAMPLE[:at] + piece + EXAMPLE[at + length :])


KEYWORDS = st.sampled_from(["workloads", "containers", "volumes", "command", "health"])
YAMLISH = st.recursive(
    JUNK | texts(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            KEYS | st.sampled_from(["workloads", "containers", "volumes", "command", "health"]), inner, max_size=4
        )
    ),
    max_leaves=15,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=80)
@given(st.dictionaries(st.sampled_from(["workloads", "volumes", "namespace", "x"]), YAMLISH) | YAMLISH)
def test_nothing_but_config_invalid_comes_out_of_any_structure(structure: Any) -> None:
    accepted(to_yaml(structure))


@pytest.mark.slow
@settings(deadline=None, max_examples=80)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts(), st.lists))
def test_yaml_that_is_written_is_read_back(structure: Any) -> None:
    assert [plain(node) for node in compose(to_yaml([structure]))] == [[structure]]


@pytest.mark.parametrize(
    "text",
    ["no", "1e3", "0o17", "0x1f", "1:30", "~", "", "null", "true", ".inf", "- x", "a: b", "# x", "%", "\x85", "<<"],
)
def test_texts_that_look_like_something_else_are_written_in_quotes(text: str) -> None:
    assert plain(compose(to_yaml({text: [text]}))[0]) == {text: [text]}
