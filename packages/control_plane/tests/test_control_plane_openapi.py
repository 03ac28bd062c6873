"""The description of the API says what the API does, no more and no less."""

from __future__ import annotations

import re
from typing import Any

import pytest
import trio
from jsonschema import Draft202012Validator
from litestar.routes import HTTPRoute, WebSocketRoute
from orchestrion.control_plane._app import make_app
from orchestrion.control_plane._web.doc import DOC

from .api_stage import Api


async def described(api: Api) -> dict[str, Any]:
    document: dict[str, Any] = (await api.as_("").ask("GET", "/openapi.json")).json
    return document


async def test_it_is_complete(api: Api) -> None:
    document = await described(api)
    assert document["openapi"] == "3.1.0"
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    text = str(document)
    wanted = set(re.findall(r"#/components/schemas/([\w.]+)", text))
    assert wanted <= set(document["components"]["schemas"])


async def test_every_path_of_the_api_is_described(api: Api) -> None:
    routes = [route for route in make_app(api.server.handlers()).routes if isinstance(route, HTTPRoute)]
    silent = [
        route.path
        for route in routes
        for handler in route.route_handlers
        if route.path.startswith(("/api", "/mcp")) and DOC not in handler.opt and handler.http_methods != {"OPTIONS"}
    ]
    assert silent == []


async def test_every_websocket_below_objects_is_described_with_what_it_is_without_an_upgrade(api: Api) -> None:
    paths = (await described(api))["paths"]
    sockets = [
        route.path_format for route in make_app(api.server.handlers()).routes if isinstance(route, WebSocketRoute)
    ]
    below = [path for path in sockets if path.startswith("/api")]
    assert below
    for path in below:
        for plural in ("workloads", "instances"):
            responses = paths[path.replace("{plural}", plural)]["get"]["responses"]
            assert {"101", "401", "403", "404", "426", "429"} <= set(responses)
    for plural, status in (("workloads", 426), ("instances", 426), ("configmaps", 404)):
        plain = await api.client.ask("GET", f"/api/v1/namespaces/default/{plural}/web/exec")
        assert (plain.status, plain.headers["content-type"]) == (status, "application/problem+json")
        assert plain.headers.get("upgrade") == ("websocket" if status == 426 else None)


async def test_what_is_asked_by_the_protocol_of_models_is_answered_as_described(api: Api) -> None:
    document = await described(api)
    responses = document["paths"]["/mcp"]["post"]["responses"]
    started = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    first = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": started}
    for data, headers, status in (
        (first, {}, 200),
        ({"jsonrpc": "2.0", "id": 2, "method": "ping"}, {}, 400),
        ({"jsonrpc": "2.0", "id": 2, "method": "ping"}, {"mcp_session_id": "none"}, 404),
        (first, {"accept": "text/html"}, 406),
        (first, {"content_type": "text/plain"}, 415),
        (first, {"origin": "https://elsewhere.example"}, 403),
        (first, {"authorization": "Bearer nobody"}, 401),
    ):
        answer = await api.client.ask("POST", "/mcp", data, **headers)
        assert answer.status == status
        schema = responses[str(status)]["content"][answer.headers["content-type"]]["schema"]
        checker = Draft202012Validator({**schema, "components": document["components"]})
        assert [error.message for error in checker.iter_errors(answer.json)] == []
    assert (await api.client.ask("DELETE", "/mcp", mcp_session_id="none")).json["code"] == "not-found"


async def test_a_new_kind_is_described_at_once(api: Api) -> None:
    schema = {"type": "object", "properties": {"at": {"type": "string"}}}
    kind = {"metadata": {"name": "backups"}, "spec": {"kind": "Backup", "plural": "backups", "schema": schema}}
    await api.client.ask("POST", "/api/v1/customkinds", kind)
    document = await described(api)
    assert "/api/v1/namespaces/{namespace}/backups/{name}" in document["paths"]
    assert document["components"]["schemas"]["BackupSpec"]["properties"] == {"at": {"type": "string"}}
    await api.client.ask("DELETE", "/api/v1/customkinds/backups")
    await trio.sleep(10)  # until none is left of that kind
    assert "BackupSpec" not in (await described(api))["components"]["schemas"]


async def test_every_schema_is_one(api: Api) -> None:
    for schema in (await described(api))["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/namespaces",
        "/api/v1/nodes",
        "/api/v1/namespaces/default/workloads/web",
        "/api/v1/namespaces/default/workloads/web/scale",
        "/api/v1/namespaces/default/workloads/web/rollout",
        "/api/v1/namespaces/default/workloads/web/explain",
        "/api/v1/namespaces/default/workloads/none",
        "/api/v1/namespaces/default/instances",
        "/api/v1/namespaces/default/events",
        "/api/v1/cluster/status",
        "/api/v1/cluster/usage",
        "/api/v1",
        "/api",
        "/apis",
        "/livez",
        "/readyz",
        "/healthz",
    ],
)
async def test_what_is_answered_is_what_is_described(api: Api, target: str) -> None:
    document = await described(api)
    spec = {"containers": [{"name": "main", "command": ["run"]}], "replicas": 2}
    workload = {"metadata": {"name": "web"}, "spec": spec}
    await api.client.ask("POST", "/api/v1/namespaces/default/workloads", workload)
    answer = await api.client.ask("GET", target)
    path = next(path for path in document["paths"] if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), target))
    media_type = answer.headers["content-type"]
    response = document["paths"][path]["get"]["responses"][str(answer.status)]
    schema = {**response["content"][media_type]["schema"], "components": document["components"]}
    problems = [error.message for error in Draft202012Validator(schema).iter_errors(answer.json)]
    assert problems == []


async def test_the_page_for_people_needs_nothing_from_elsewhere(api: Api) -> None:
    page = await api.as_("").ask("GET", "/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert b"//" not in page.body.replace(b"<!doctype html>", b"")
    for asset in re.findall(rb'(?:src|href)="docs/([^"]+)"', page.body):
        found = await api.as_("").ask("GET", f"/docs/{asset.decode()}")
        assert found.status == 200
        assert found.body
    assert (await api.as_("").ask("GET", "/docs/..%2fserver.py")).status == 404


async def test_what_looks_after_a_server_finds_its_paths_described(api: Api) -> None:
    paths = (await described(api))["paths"]
    for path in ("/livez", "/readyz", "/healthz"):
        assert paths[path]["get"]["security"] == []
    metrics = await api.client.ask("GET", "/metrics")
    assert metrics.headers["content-type"] in paths["/metrics"]["get"]["responses"]["200"]["content"]
    assert paths["/metrics"]["get"]["x-access"] == {"verb": "get", "resource": "metrics"}
