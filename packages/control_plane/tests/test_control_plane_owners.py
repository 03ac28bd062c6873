"""What nodes and workloads reach: themselves, what is bound to them, and what they read; asked as they ask."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from orchestrion.control_plane._identity.principals import Principal, PrincipalKind

from .api_stage import Api

SPACE = "/api/v1/namespaces/default"
FIRST, SECOND = "node-00000", "node-00001"
CPU = "1.5"
"""So that only two fit on a node."""


def workload(name: str, config: str, secret: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "m", "command": ["run"], "config": [config], "secrets": [secret], "resources": {"cpu": CPU}}
    return {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}


@pytest.fixture
async def world(api: Api) -> Api:
    """Give two workloads with what they read, on two nodes, and let nodes and workloads in."""
    ask = api.client.ask
    for name in ("web-config", "db-config", "unread"):
        made = await ask("POST", f"{SPACE}/configmaps", {"metadata": {"name": name}, "spec": {"data": {"a": "b"}}})
        assert made.status == 201
    for name in ("web-key", "db-key"):
        await ask("POST", f"{SPACE}/secrets", {"metadata": {"name": name}, "spec": {"data": {"a": "b"}}})
    for body in (
        workload("web", "web-config", "web-key", replicas=4),
        workload("db", "db-config", "db-key", replicas=0),
    ):
        assert (await ask("POST", f"{SPACE}/workloads", body)).status == 201
    await trio.sleep(10)
    for name in (FIRST, SECOND):
        api.keeper.principals[name] = Principal(name, PrincipalKind.NODE)
    for name in ("default/web", "default/db", "other/web"):
        api.keeper.principals[name] = Principal(name, PrincipalKind.WORKLOAD)
    return api


async def instances(api: Api, who: str, path: str = f"{SPACE}/instances") -> dict[str, str]:
    """Return the nodes of the instances that somebody is shown, by name."""
    answer = await api.as_(who).ask("GET", path)
    assert answer.status == 200, answer.body
    return {item["metadata"]["name"]: item["spec"]["node_id"] for item in answer.json["items"]}


async def status(api: Api, who: str, method: str, path: str, data: Any = None) -> int:
    return (await api.as_(who).ask(method, path, data)).status


async def test_a_node_is_shown_the_instances_that_are_bound_to_it_and_no_other(world: Api) -> None:
    everything = await instances(world, "admin")
    assert set(everything.values()) == {FIRST, SECOND}
    for node in (FIRST, SECOND):
        own = {name: place for name, place in everything.items() if place == node}
        assert await instances(world, node) == own
        assert await instances(world, node, "/api/v1/instances") == own
        for name, place in everything.items():
            expected = 200 if place == node else 403
            assert await status(world, node, "GET", f"{SPACE}/instances/{name}") == expected
            assert await status(world, node, "GET", f"{SPACE}/instances/{name}/status") == expected
    assert await status(world, FIRST, "GET", f"{SPACE}/instances/none.0.1") == 403, "it learns not even that"


async def test_a_page_of_a_node_is_a_page_of_its_own(world: Api) -> None:
    first = (await world.as_(FIRST).ask("GET", f"{SPACE}/instances?limit=1")).json
    token = first["metadata"]["continue"]
    theirs = (await world.as_(SECOND).ask("GET", f"{SPACE}/instances?limit=500&continue={token}")).json
    assert {item["spec"]["node_id"] for item in theirs["items"]} <= {SECOND}, "another one's page shows nothing more"


async def test_a_node_follows_its_own_alone(world: Api) -> None:
    seen = list[Any]()
    path = f"{SPACE}/instances?watch=true&since=0&timeout_seconds=1"
    async with world.as_(FIRST).stream("GET", path) as (_, _, chunks):
        async for chunk in chunks:
            seen += [json.loads(line) for line in chunk.splitlines()]
    nodes = {event["object"]["spec"]["node_id"] for event in seen if event["type"] != "BOOKMARK"}
    assert nodes == {FIRST}


async def test_a_node_reaches_itself_and_no_other_node(world: Api) -> None:
    for node, other in ((FIRST, SECOND), (SECOND, FIRST)):
        assert await status(world, node, "GET", f"/api/v1/nodes/{node}") == 200
        assert await status(world, node, "GET", f"/api/v1/nodes/{other}") == 403
        assert await status(world, node, "PATCH", f"/api/v1/nodes/{node}/status", {}) == 200
        assert await status(world, node, "PATCH", f"/api/v1/nodes/{other}/status", {}) == 403
        assert await status(world, node, "DELETE", f"/api/v1/nodes/{node}") == 403
        assert await status(world, node, "POST", f"/api/v1/nodes/{node}/cordon") == 403
        assert await status(world, node, "GET", "/api/v1/nodes") == 403


async def test_a_node_reads_what_its_instances_read_for_as_long_as_they_are_there(world: Api) -> None:
    for path, expected in (
        ("configmaps/web-config", 200),
        ("secrets/web-key", 200),
        ("configmaps/db-config", 403),  # it runs nowhere
        ("secrets/db-key", 403),
        ("configmaps/unread", 403),
        ("secrets", 403),
    ):
        assert await status(world, FIRST, "GET", f"{SPACE}/{path}") == expected, path
    assert await status(world, FIRST, "PUT", f"{SPACE}/secrets/web-key", {}) == 403
    await world.client.ask("POST", f"{SPACE}/workloads/web/stop")
    await trio.sleep(60)
    assert await status(world, FIRST, "GET", f"{SPACE}/secrets/web-key") == 403
    assert await status(world, "default/web", "GET", f"{SPACE}/secrets/web-key") == 200


async def test_a_workload_reaches_itself_its_instances_and_what_it_reads(world: Api) -> None:
    mine = await instances(world, "default/web")
    assert {name.partition(".")[0] for name in mine} == {"web"}
    for path, expected in (
        ("workloads/web", 200),
        ("workloads/web/status", 200),
        ("workloads/db", 403),
        ("workloads", 403),
        (f"instances/{next(iter(mine))}", 200),
        ("configmaps/web-config", 200),
        ("secrets/web-key", 200),
        ("configmaps/db-config", 403),
        ("secrets/db-key", 403),
        ("configmaps/unread", 403),
    ):
        assert await status(world, "default/web", "GET", f"{SPACE}/{path}") == expected, path
    assert await instances(world, "default/db") == {}
    assert await instances(world, "other/web") == {}, "one of the same name in another namespace is another one"
    assert await status(world, "other/web", "GET", f"{SPACE}/workloads/web") == 403
    assert await status(world, "other/web", "GET", f"{SPACE}/secrets/web-key") == 403
    for method, path in (("PUT", "workloads/web/scale"), ("DELETE", "workloads/web"), ("POST", "workloads/web/stop")):
        assert await status(world, "default/web", method, f"{SPACE}/{path}", {}) == 403


async def test_the_paths_of_control_narrow_nothing_and_let_neither_in(world: Api) -> None:
    for who in (FIRST, "default/web"):
        for path in ("instances", "workloads", "nodes", "events", "watch"):
            assert await status(world, who, "GET", f"/v1/{path}?namespace=default") == 403
    assert await status(world, "default/web", "GET", "/v1/workload?name=web") == 200
    assert await status(world, "default/web", "GET", "/v1/workload?name=db") == 403


@pytest.mark.parametrize(("who", "role"), [(FIRST, "node"), ("default/web", "workload")])
async def test_what_is_narrowed_to_its_own_is_so_for_no_user(world: Api, who: str, role: str) -> None:
    spec = {"role": role, "subjects": [{"kind": "user", "name": who}]}
    made = await world.client.ask("POST", "/api/v1/rolebindings", {"metadata": {"name": "some"}, "spec": spec})
    assert made.status == 201
    world.keeper.principals["eve"] = Principal(who)
    assert await status(world, "eve", "GET", f"{SPACE}/instances") == 403
    assert await status(world, "eve", "GET", f"/api/v1/nodes/{FIRST}") == 403
