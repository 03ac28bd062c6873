"""Selectors of fields know what an object leaves out, and which fields the objects of a kind can't have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from orchestrion.control_plane._objects.field_paths import FieldPaths
from orchestrion.control_plane._objects.kinds import KINDS, NODE, WORKLOAD, Kind, KindRegistry
from orchestrion.control_plane._objects.selectors import parse_field_selector
from orchestrion.control_plane._objects.specs import CustomKindSpec
from orchestrion.shared_types import ConfigInvalid

from .api_stage import Api

HERE = "/api/v1/namespaces/default"
BY_NAME = {kind.name: kind for kind in KINDS}


def workload(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "main", "command": ["run"]}], **spec}}


@pytest.fixture
async def two(api: Api) -> Api:
    await api.client.ask("POST", f"{HERE}/workloads", workload("job", kind="batch", priority_class="batch"))
    await api.client.ask("POST", f"{HERE}/workloads", workload("web"))
    return api


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("spec.kind=service", ["web"]),
        ("spec.kind!=service", ["job"]),
        ("spec.kind=batch", ["job"]),
        ("spec.replicas=1", ["web"]),
        ("spec.completions=1", ["job"]),
        ("spec.priority=50000", ["web"]),
        ("spec.update.max_surge=1", ["web"]),
        ("spec.preempts=true", ["job", "web"]),
        ("spec.disruption.max_unavailable!=1", ["job", "web"]),
        ("status.paused=false", ["job", "web"]),
    ],
)
async def test_what_a_workload_leaves_out_is_what_it_is_taken_for(two: Api, selector: str, found: list[str]) -> None:
    listed = await two.client.ask("GET", f"{HERE}/workloads?field_selector={selector}")
    assert [each["metadata"]["name"] for each in listed.json["items"]] == found


async def test_what_an_object_of_another_kind_leaves_out_is_there_too(api: Api) -> None:
    await api.client.ask("POST", "/api/v1/priorityclasses", {"metadata": {"name": "a"}, "spec": {"value": 3}})
    classes = await api.client.ask("GET", "/api/v1/priorityclasses?field_selector=spec.preempts=true")
    assert [each["metadata"]["name"] for each in classes.json["items"]] == ["a"]
    spaces = await api.client.ask("GET", "/api/v1/namespaces?field_selector=spec.images.require_digest=false")
    assert "default" in [each["metadata"]["name"] for each in spaces.json["items"]]


async def test_a_watch_knows_what_is_left_out(two: Api) -> None:
    target = f"{HERE}/workloads?watch=true&field_selector=spec.kind=service&timeout_seconds=1"
    lines = (await two.client.ask("GET", target)).body.splitlines()
    events = [json.loads(line) for line in lines]
    assert {each["object"]["metadata"]["name"] for each in events if each["type"] == "ADDED"} == {"web"}


@pytest.mark.parametrize(
    ("kind", "selector", "told"),
    [
        ("Workload", "foo.bar=1", "a Workload has no field 'foo': there are api_version, kind, metadata, spec, status"),
        ("Workload", "spec.replica=1", "spec has no field 'replica': is spec.replicas meant?"),
        ("Workload", "name=web", "is metadata.name meant?"),
        ("Workload", "spec.labels.app=web", "is metadata.labels meant?"),
        ("Workload", "spec.kind.more=batch", "spec.kind has no field 'more'"),
        ("Workload", "spec.containers.name=main", "spec.containers has no field 'name'"),
        ("Workload", "spec.update.max_surg=1", "is spec.update.max_surge meant?"),
        ("Workload", "status.phas=Healthy", "is status.phase meant?"),
        ("Instance", "status.node=node-1", "is spec.node_id meant?"),
        ("Event", "reason=Started", "is spec.reason meant?"),
        ("ConfigMap", "status.phase=x", "status has no field 'phase': there are none"),
        ("ConfigMap", "spec.date.a=b", "spec has no field 'date': is spec.data meant?"),
        ("Node", "spec.cordon=true", "is spec.cordoned meant?"),
    ],
)
def test_a_field_that_no_object_of_the_kind_has_is_refused(kind: str, selector: str, told: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        parse_field_selector(selector).of_kind(BY_NAME[kind])
    (problem,) = refused.value.problems
    assert told in problem.message
    assert problem.path == selector.partition("=")[0]


@pytest.mark.parametrize("path", ["{}/workloads", "{}/instances", "{}/events"])
@pytest.mark.parametrize("form", ["?", "?watch=true&"])
async def test_lists_and_watches_refuse_it(api: Api, path: str, form: str) -> None:
    refused = await api.client.ask("GET", f"{path.format(HERE)}{form}field_selector=foo.bar=1")
    assert refused.status == 400
    assert "foo.bar" in refused.json["detail"]


@pytest.mark.parametrize(
    ("kind", "selector"),
    [
        ("ConfigMap", "spec.data.anything=b"),
        ("ConfigMap", "metadata.labels.acme.org/tier=b"),
        ("Node", "metadata.annotations.any.thing=b"),
        ("Workload", "spec.placement.select.zone=b"),
        ("ResourceQuota", "status.used.cpu=1"),
    ],
)
def test_maps_of_free_keys_may_be_asked_for_any(kind: str, selector: str) -> None:
    asked = parse_field_selector(selector).of_kind(BY_NAME[kind])
    assert not asked.matches({"metadata": {}, "spec": {}, "status": {}})


def custom(schema: dict[str, Any]) -> Kind:
    kinds = KindRegistry()
    kinds.define(CustomKindSpec(kind="Backup", plural="backups", schema=schema))
    return kinds.find("backups")


AT = {"type": "object", "properties": {"hour": {"type": "integer"}}, "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "path", "may"),
    [
        ({}, "spec.a.b", True),
        ({"properties": {"at": AT}}, "spec.other", True),
        ({"properties": {"at": AT}, "additionalProperties": False}, "spec.other", False),
        ({"properties": {"at": AT}}, "spec.at.hour", True),
        ({"properties": {"at": AT}}, "spec.at.minute", False),
        ({"properties": {"at": AT}}, "spec.at.hour.more", False),
        ({"properties": {"at": {"$ref": "#/$defs/at"}}, "$defs": {"at": AT}}, "spec.at.minute", False),
        ({"properties": {"at": {"anyOf": [AT, {"type": "string"}]}}}, "spec.at.hour", True),
        ({"properties": {"at": {"anyOf": [AT, {"type": "string"}]}}}, "spec.at.minute", False),
        ({"properties": {"at": {"anyOf": [AT, {"type": "object"}]}}}, "spec.at.minute", True),
        ({"properties": {"at": {"allOf": [AT, {"type": "object"}]}}}, "spec.at.minute", False),
        ({"patternProperties": {"^x": {}}, "additionalProperties": False}, "spec.x1", True),
        ({"additionalProperties": AT}, "spec.anything.hour", True),
        ({"additionalProperties": AT}, "spec.anything.minute", False),
        ({"properties": {"at": {"enum": ["noon"]}}}, "spec.at.hour", False),
        ({"properties": {"at": False}}, "spec.at", False),
        ({"additionalProperties": False}, "status.phase", True),
    ],
)
def test_a_custom_kind_has_the_fields_that_its_schema_leaves_open(schema: dict[str, Any], path: str, may: bool) -> None:
    paths, parts = FieldPaths(custom(schema)), tuple(path.split("."))
    if may:
        assert paths.filled(parts) is None
    else:
        with pytest.raises(ValueError, match="has no field"):
            paths.filled(parts)


def test_a_schema_of_very_many_options_is_soon_done_with() -> None:
    definitions: dict[str, Any] = {"d0": {"type": "object", "additionalProperties": False}}
    for index in range(1, 40):
        definitions[f"d{index}"] = {"anyOf": [{"$ref": f"#/$defs/d{index - 1}"}] * 2}
    kind = Kind(
        name="Backup",
        plural="backups",
        custom=CustomKindSpec(kind="Backup", plural="backups", schema={"$ref": "#/$defs/d39", "$defs": definitions}),
    )
    asked = parse_field_selector("spec.a=b,spec.c!=d").of_kind(kind)
    assert asked.matches({"spec": {"a": "b"}})


def paths_of(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths_of(inner, (*path, key))


async def test_every_field_that_objects_have_may_be_asked_for(two: Api) -> None:
    await trio.sleep(10)
    seen = set[str]()
    for kind in KINDS:
        listed = await two.client.ask("GET", f"/api/v1/{kind.plural}")
        paths = FieldPaths(kind)
        for document in listed.json["items"]:
            seen.add(kind.name)
            for path in paths_of(document):
                paths.filled(path)
    assert {"Workload", "Instance", "Node", "Event", "Namespace"} <= seen


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in (WORKLOAD, NODE)], ids=lambda kind: kind.name)
def test_every_kind_has_metadata_that_may_be_asked_for(kind: Kind) -> None:
    asked = parse_field_selector("metadata.name=a,kind!=b,metadata.namespace!=c").of_kind(kind)
    assert asked.matches({"metadata": {"name": "a"}})
