"""What can be asked of a path is told truly, and what is read can be asked for its head."""

from __future__ import annotations

import re
from typing import Any

import pytest
import trio
from orchestrion.control_plane._app import make_app
from orchestrion.control_plane._web.methods import Methods
from orchestrion.control_plane._web.openapi import operations

from .api_stage import Api

HERE = "/api/v1/namespaces/default"


async def nothing(_scope: Any, _receive: Any, _send: Any) -> None:
    """Answer nothing."""


async def told(api: Api, path: str) -> list[str]:
    answer = await api.client.ask("OPTIONS", path)
    assert answer.status == 204
    return answer.headers["allow"].split(", ")


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        (f"{HERE}/workloads/web", "DELETE GET HEAD OPTIONS PATCH PUT"),
        (f"{HERE}/workloads", "GET HEAD OPTIONS POST"),
        (f"{HERE}/instances/web.0.1", "DELETE GET HEAD OPTIONS"),
        (f"{HERE}/events/some", "GET HEAD OPTIONS"),
        (f"{HERE}/events", "GET HEAD OPTIONS"),
        (f"{HERE}/configmaps/some/status", "GET HEAD OPTIONS"),
        (f"{HERE}/resourcequotas/some/status", "GET HEAD OPTIONS PATCH PUT"),
        ("/api/v1/nodes", "GET HEAD OPTIONS"),
        ("/api/v1/nodes/node-1", "DELETE GET HEAD OPTIONS PATCH"),
        ("/api/v1/workloads", "GET HEAD OPTIONS"),
        ("/api/v1/namespaces", "GET HEAD OPTIONS POST"),
        ("/api/v1/namespaces/default", "DELETE GET HEAD OPTIONS PATCH PUT"),
        ("/api/v1/watch/nodes", "GET HEAD OPTIONS"),
        ("/v1/apply", "OPTIONS POST"),
        ("/v1/logs", "OPTIONS POST"),
        ("/livez", "GET HEAD OPTIONS"),
        ("/openapi.json", "GET HEAD OPTIONS"),
    ],
)
async def test_options_tells_what_can_be_asked_of_a_path(api: Api, path: str, methods: str) -> None:
    assert await told(api, path) == methods.split()


async def test_what_is_told_of_a_path_is_what_is_described(api: Api) -> None:
    routes = make_app(api.server.handlers()).routes
    methods = Methods(nothing, api.objects.kinds, routes)
    described: dict[str, set[str]] = {}
    for path, method, *_ in operations(routes, api.objects.kinds):
        described.setdefault(re.sub(r"\{\w+\}", "some", path), set()).add(method)
    wrong = {
        path: methods.allowed(path)
        for path, there in described.items()
        if set(methods.allowed(path)) - {"HEAD", "OPTIONS"} != there
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("method", "path", "methods"),
    [
        ("POST", f"{HERE}/workloads/web", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
        ("PUT", "/api/v1/nodes/node-1", "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("POST", "/api/v1/workloads", "GET, HEAD, OPTIONS"),
        ("PATCH", f"{HERE}/configmaps/a/status", "GET, HEAD, OPTIONS"),
        ("HEAD", "/v1/apply", "OPTIONS, POST"),
    ],
)
async def test_who_asks_for_another_method_is_told_the_same(api: Api, method: str, path: str, methods: str) -> None:
    refused = await api.client.ask(method, path, {})
    assert (refused.status, refused.headers["allow"]) == (405, methods)
    if method != "HEAD":
        assert methods in str(refused.json)


@pytest.mark.parametrize(
    "path", [f"{HERE}/configmaps/a", f"{HERE}/configmaps", f"{HERE}/configmaps/none", "/livez", "/v1/nodes", "/api/v1"]
)
async def test_a_head_is_what_get_gives_without_a_body(api: Api, path: str) -> None:
    await api.client.ask("POST", f"{HERE}/configmaps", {"metadata": {"name": "a"}, "spec": {"data": {}}})
    head, whole = await api.client.ask("HEAD", path), await api.client.ask("GET", path)
    assert head.status == whole.status
    assert head.body == b""
    for name in ("content-type", "content-length", "etag"):
        assert head.headers.get(name) == whole.headers.get(name)


async def test_a_head_needs_the_same_right(api: Api) -> None:
    assert (await api.as_("").ask("HEAD", f"{HERE}/configmaps")).status == 401


@pytest.mark.parametrize("path", [f"{HERE}/configmaps?watch=true", "/v1/watch"])
async def test_the_head_of_a_stream_comes_and_the_stream_is_over(api: Api, path: str) -> None:
    async with api.client.stream("HEAD", path) as (status, _, chunks):
        assert (status, [chunk async for chunk in chunks]) == (200, [b""])
        await trio.testing.wait_all_tasks_blocked()
        assert api.server.streams.over


async def test_an_invitation_is_not_used_up_by_who_only_looks(api: Api) -> None:
    assert (await api.as_("").ask("HEAD", "/ui/login")).status == 405
