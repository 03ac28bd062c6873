"""Lists: what is selected, and page by page as they were at one revision."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import pytest
import trio
from orchestrion.control_plane._history.event import ALL_SEEN, Position, parse_position
from orchestrion.control_plane._web.parameters import PARAMETERS

from .api_stage import Api

MAPS = "/api/v1/namespaces/default/configmaps"


def config(name: str, labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": {"data": data}}


def names(listed: dict[str, Any]) -> list[str]:
    return [each["metadata"]["name"] for each in listed["items"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("label_selector=tier=front", ["a", "b"]),
        ("label_selector=tier!=front", ["c"]),
        ("label_selector=" + quote("tier in (front,back),!old"), ["b", "c"]),
        ("field_selector=spec.data.color=blue", ["b"]),
        ("field_selector=metadata.name!=a&label_selector=tier", ["b", "c"]),
    ],
)
async def test_a_list_has_what_is_selected(api: Api, query: str, found: list[str]) -> None:
    await api.client.ask("POST", MAPS, config("a", {"tier": "front", "old": ""}))
    await api.client.ask("POST", MAPS, config("b", {"tier": "front"}, color="blue"))
    await api.client.ask("POST", MAPS, config("c", {"tier": "back"}))
    assert names((await api.client.ask("GET", f"{MAPS}?{query}")).json) == found


async def test_a_selector_that_can_not_be_read_is_refused_with_its_place(api: Api) -> None:
    refused = await api.client.ask("GET", f"{MAPS}?label_selector={quote('a in (b')}")
    assert refused.status == 400
    assert "^" in refused.json["detail"]


@pytest.mark.parametrize(
    ("method", "query", "told"),
    [("GET", "labelSelector=app", "is label_selector meant?"), ("POST", "dryrun=true", "is dry_run meant?")],
)
async def test_a_parameter_that_nobody_reads_is_refused_with_the_one_that_is_near(
    api: Api, method: str, query: str, told: str
) -> None:
    refused = await api.client.ask(method, f"{MAPS}?{query}", config("a"))
    assert refused.status == 400
    assert query.partition("=")[0] in refused.json["detail"]
    assert told in refused.json["detail"]
    assert (await api.client.ask("GET", MAPS)).json["items"] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/v1/configmaps"), ("PUT", "/api/v1/nodes/n1"), ("POST", "/api/v1/namespaces/default/events")],
)
async def test_where_a_kind_is_not_written_its_methods_say_so_whatever_the_query(
    api: Api, method: str, path: str
) -> None:
    refused = await api.client.ask(method, f"{path}?limit=3", config("a"))
    assert refused.status == 405


async def test_every_position_of_a_watch_is_as_the_description_has_it() -> None:
    pattern = re.compile(PARAMETERS["since"]["schema"]["pattern"])
    positions = [Position(120, ALL_SEEN), Position(120, 1), Position(120, ALL_SEEN, 1795)]
    assert all(pattern.search(str(each)) and parse_position(str(each)) == each for each in positions)


async def test_a_watch_shows_what_comes_into_sight_and_goes_out_of_it(api: Api) -> None:
    await api.client.ask("POST", MAPS, config("a", {"tier": "front"}))
    path = f"{MAPS}?watch=true&label_selector=tier=front"
    async with api.client.stream("GET", path) as (_, _, chunks):
        await anext(chunks)
        for tier in ("back", "front"):
            await api.client.ask("PATCH", f"{MAPS}/a", {"metadata": {"labels": {"tier": tier}}})
            event = json.loads((await anext(chunks)).splitlines()[0])
            assert event["type"] == {"back": "DELETED", "front": "ADDED"}[tier]


async def test_pages_show_one_revision_while_others_write(api: Api) -> None:
    for number in range(7):
        await api.client.ask("POST", MAPS, config(f"n{number}"))
    found, token, revisions = list[str](), "", set[int]()
    while True:
        page = (await api.client.ask("GET", f"{MAPS}?limit=3&continue={token}")).json
        found += names(page)
        revisions.add(page["metadata"]["revision"])
        token = page["metadata"].get("continue", "")
        if not token:
            break
        await api.client.ask("DELETE", f"{MAPS}/n6")
        await api.client.ask("POST", MAPS, config(f"n5{len(found)}"))
    assert found == [f"n{number}" for number in range(7)]
    assert len(revisions) == 1


@pytest.mark.parametrize("query", ["limit=2&label_selector=a", "limit=2&field_selector=metadata.name=a"])
async def test_a_token_continues_only_the_list_that_it_came_from(api: Api, query: str) -> None:
    for number in range(3):
        await api.client.ask("POST", MAPS, config(f"n{number}"))
    token = (await api.client.ask("GET", f"{MAPS}?limit=2")).json["metadata"]["continue"]
    assert (await api.client.ask("GET", f"{MAPS}?{query}&continue={token}")).status == 400
    assert (await api.client.ask("GET", f"/api/v1/configmaps?limit=2&continue={token}")).status == 400
    assert (await api.client.ask("GET", f"{MAPS}?continue=made-up")).status == 400


async def test_a_watch_ends_when_it_was_asked_to(api: Api) -> None:
    await api.client.ask("POST", MAPS, config("a"))
    began = trio.current_time()
    ended = await api.client.ask("GET", "/api/v1/watch/namespaces/default/configmaps?timeout_seconds=25")
    assert trio.current_time() - began == pytest.approx(25, abs=1)
    types = [json.loads(line)["type"] for line in ended.body.splitlines()]
    assert types[:2] == ["ADDED", "BOOKMARK"]
    at_once = await api.client.ask("GET", f"{MAPS}?watch=true&timeout_seconds=0")
    assert len(at_once.body.splitlines()) == 2


async def test_events_of_a_workload_are_also_those_of_its_instances(api: Api) -> None:
    spec = {"containers": [{"name": "main", "command": ["fail", "gone"]}]}
    for name in ("web", "web2"):
        path = "/api/v1/namespaces/default/workloads"
        await api.client.ask("POST", path, {"metadata": {"name": name}, "spec": spec})
    await trio.sleep(10)
    listed = (await api.client.ask("GET", "/api/v1/namespaces/default/events?subject=workload/web")).json
    subjects = {each["spec"]["subject"] for each in listed["items"]}
    assert "instance/web.0.1" in subjects
    assert subjects <= {"workload/web", "instance/web.0.1"}


async def test_a_list_has_one_order_whatever_its_pages(api: Api) -> None:
    spec = {"containers": [{"name": "main", "command": ["run"]}]}
    for name in ("a", "a-b", "b", "a-a"):
        await api.client.ask("POST", "/api/v1/namespaces/default/workloads", {"metadata": {"name": name}, "spec": spec})
    orders = list[list[str]]()
    for limit in (1, 2, 3, 9):
        found, token = list[str](), ""
        while not found or token:
            page = (await api.client.ask("GET", f"/api/v1/workloads?limit={limit}&continue={token}")).json
            found += names(page)
            token = page["metadata"].get("continue", "")
        orders.append(found)
    assert orders == [["a-a", "a-b", "a", "b"]] * 4
