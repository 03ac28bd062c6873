"""What happens, as CloudEvents and over a WebSocket."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
import trio
from orchestrion.control_plane._cloud_events import CLOUD_EVENT, CLOUD_EVENTS, SUBPROTOCOL
from orchestrion.control_plane._identity.principals import Principal
from orchestrion.control_plane._web.watching import BOOKMARK_SECONDS
from orchestrion.shared_types import Compacted

from .api_stage import Api
from .sockets_stage import Socket

SPACE = "/api/v1/namespaces/default"
ADMIN = {"authorization": "Bearer admin"}
SPEC = {"containers": [{"name": "m", "command": ["run"]}]}


async def run(api: Api, name: str = "web") -> None:
    made = await api.client.ask("POST", f"{SPACE}/workloads", {"metadata": {"name": name}, "spec": SPEC})
    assert made.status == 201
    await trio.sleep(5)


def is_one(event: dict[str, Any]) -> None:
    """Make sure of what CloudEvents 1.0 wants of each attribute."""
    assert event["specversion"] == "1.0"
    assert all(isinstance(event[name], str) and event[name] for name in ("id", "source", "type"))
    assert all(name.isalnum() and name.islower() for name in event)
    if "time" in event:
        assert datetime.fromisoformat(event["time"]).tzinfo is not None


async def followed(api: Api, path: str = "/v1/events", seconds: float = 5, **headers: str) -> Socket:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    socket = Socket(api.client.app, path, {**ADMIN, **named}, {}, stays=seconds)
    await socket.run()
    return socket


def close_of(socket: Socket) -> tuple[int, str]:
    (closed,) = [message for message in socket.sent if message["type"] == "websocket.close"]
    return closed["code"], closed["reason"]


async def test_a_list_of_events_is_a_batch_of_cloud_events(api: Api) -> None:
    await run(api)
    plain = (await api.client.ask("GET", "/v1/events")).json
    answer = await api.client.ask("GET", "/v1/events", accept=CLOUD_EVENTS)
    assert answer.headers["content-type"] == CLOUD_EVENTS
    for event in answer.json:
        is_one(event)
    first, told = plain[0], answer.json[0]
    assert [event["id"] for event in answer.json] == [event["uid"] for event in plain]
    assert told["source"] == "urn:orchestrion:namespace:default"
    assert told["type"] == f"dev.orchestrion.{first['subject'].partition('/')[0]}.{first['reason']}"
    assert (told["subject"], told["time"], told["data"]["message"]) == (first["subject"], first["at"], first["message"])


async def test_events_are_followed_as_cloud_events(api: Api) -> None:
    await run(api)
    answer = await api.client.ask("GET", f"{SPACE}/events?watch=true&timeout_seconds=0", accept=CLOUD_EVENT)
    assert answer.headers["content-type"] == CLOUD_EVENT
    events = [json.loads(line) for line in answer.body.splitlines()]
    for event in events:
        is_one(event)
    there = {event["uid"] for event in (await api.client.ask("GET", "/v1/events")).json}
    assert {event["id"] for event in events if "data" in event} == there


async def test_of_what_control_tells_events_alone_are_cloud_events(api: Api) -> None:
    async with api.client.stream("GET", "/v1/watch", accept=CLOUD_EVENT) as (_, headers, chunks):
        assert headers["content-type"] == CLOUD_EVENT
        await run(api)
        there = {event["uid"] for event in (await api.client.ask("GET", "/v1/events")).json}
        seen = set[str]()
        while seen != there:
            for line in (await anext(chunks)).splitlines():
                is_one(json.loads(line))
                seen.add(json.loads(line)["id"])


async def test_who_follows_over_a_socket_goes_on_where_it_was(api: Api) -> None:
    revision = (await api.client.ask("GET", f"{SPACE}/events")).json["metadata"]["revision"]
    await run(api)
    path = f"/v1/events?namespace=default&since={revision}"
    seen = await followed(api, path, sec_websocket_protocol=SUBPROTOCOL)
    assert seen.sent[0] == {"type": "websocket.accept", "subprotocol": SUBPROTOCOL, "headers": []}
    for event in seen.said:
        is_one(event)
    there = [event["uid"] for event in (await api.client.ask("GET", "/v1/events")).json]
    assert sorted(event["id"] for event in seen.said) == sorted(there)
    middle = seen.said[len(there) // 2]
    rest = await followed(
        api, f"/v1/events?namespace=default&since={middle['position']}", sec_websocket_protocol=SUBPROTOCOL
    )
    assert rest.said == seen.said[len(there) // 2 + 1 :]


async def test_without_a_subprotocol_a_socket_has_the_lines_of_a_watch(api: Api) -> None:
    revision = (await api.client.ask("GET", f"{SPACE}/events")).json["metadata"]["revision"]
    await run(api)
    watched = await api.client.ask("GET", f"{SPACE}/events?watch=true&timeout_seconds=0&since={revision}")
    socket = await followed(api, f"/v1/events?namespace=default&since={revision}")
    assert socket.said == [json.loads(line) for line in watched.body.splitlines()]
    assert socket.sent[0]["subprotocol"] is None


async def test_a_socket_is_about_what_its_query_says(api: Api) -> None:
    await run(api, "web")
    await run(api, "db")
    told = await followed(api, "/v1/events?subject=workload/db", sec_websocket_protocol=SUBPROTOCOL)
    subjects = {event["subject"] for event in told.said if "subject" in event}
    assert subjects
    assert all(subject.startswith(("workload/db", "instance/db.")) for subject in subjects)


async def test_a_silent_socket_is_told_up_to_where_all_is_known(api: Api) -> None:
    revision = (await api.client.ask("GET", f"{SPACE}/events")).json["metadata"]["revision"]
    told = await followed(
        api, f"/v1/events?since={revision}", BOOKMARK_SECONDS * 1.5, sec_websocket_protocol=SUBPROTOCOL
    )
    (mark,) = told.said
    is_one(mark)
    assert (mark["type"], int(mark["position"]) >= revision) == ("dev.orchestrion.stream.bookmark", True)


async def test_who_may_not_watch_events_gets_no_socket(api: Api) -> None:
    api.keeper.principals["eve"] = Principal("eve")
    for token in ("eve", "nobody"):
        socket = Socket(api.client.app, "/v1/events", {"authorization": f"Bearer {token}"}, {})
        await socket.run()
        assert not socket.accepted


async def test_who_may_no_longer_watch_is_told_so_and_cut_off(api: Api) -> None:
    api.keeper.principals["eve"] = api.keeper.principals["admin"]
    socket = Socket(api.client.app, "/v1/events", {"authorization": "Bearer eve"}, {}, stays=60)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(socket.run, 120)
        await trio.sleep(1)
        api.keeper.principals.clear()
    assert (socket.said[-1]["type"], socket.said[-1]["object"]["code"]) == ("ERROR", "unauthenticated")
    assert close_of(socket) == (1008, "nobody that is known any longer")


async def test_who_is_too_far_behind_is_told_so_and_where_it_was(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    revision = (await api.client.ask("GET", f"{SPACE}/events")).json["metadata"]["revision"]
    slices, history = api.objects.history.slice_from, type(api.objects.history)
    seen = list[int]()

    def kept(_self: object, place: int) -> Any:
        seen.append(place)
        if len(seen) > 1:
            raise Compacted("no longer kept", oldest=99)
        return slices(place)

    monkeypatch.setattr(history, "slice_from", kept)
    socket = await followed(api, f"/v1/events?since={revision}", 60, sec_websocket_protocol=SUBPROTOCOL)
    (cut,) = [event for event in socket.said if event["type"] == "dev.orchestrion.stream.error"]
    is_one(cut)
    assert (cut["data"]["code"], int(cut["position"]) >= revision) == ("compacted", True)
    assert close_of(socket) == (1013, "no longer kept")


@pytest.mark.parametrize("query", ["since=yesterday", "sinc=12", "timeout_seconds=soon", "label_selector=((("])
async def test_what_a_socket_cant_be_asked_is_said_on_it(api: Api, query: str) -> None:
    socket = await followed(api, f"/v1/events?{query}")
    (error,) = socket.said
    assert (error["type"], error["object"]["code"]) == ("ERROR", "config-invalid")
    assert close_of(socket) == (1008, error["object"]["detail"].partition("\n")[0])


async def test_a_server_that_ends_says_so_to_sockets(api: Api) -> None:
    socket = Socket(api.client.app, "/v1/events", ADMIN, {}, stays=60)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(socket.run, 120)
        await trio.sleep(1)
        api.server.streams.ending.set()
    assert close_of(socket) == (1001, "")


async def test_a_socket_lasts_as_long_as_it_was_asked_to(api: Api) -> None:
    socket = await followed(api, "/v1/events?timeout_seconds=0", 60)
    assert close_of(socket) == (1000, "")
    assert socket.said[-1]["type"] == "BOOKMARK"
