"""What is done with workloads, instances and nodes beside writing them."""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime, timedelta
from typing import Any

import pytest
import trio
from orchestrion.control_plane._objects.document import Document
from orchestrion.control_plane._service.intent import Review
from orchestrion.control_plane._service.turns import Turns
from orchestrion.orchestrator_core import Orchestrator
from orchestrion.shared_types import Denied, ExitStatus

from .api_stage import Api

WORKLOADS = "/api/v1/namespaces/default/workloads"


def workload(name: str = "web", **spec: Any) -> dict[str, Any]:
    spec.setdefault("containers", [{"name": "main", "command": ["run"]}])
    return {"metadata": {"name": name}, "spec": spec}


async def settled(api: Api, **spec: Any) -> None:
    assert (await api.client.ask("POST", WORKLOADS, workload(**spec))).status == 201
    await trio.sleep(10)


async def test_a_scaled_service_keeps_its_number(api: Api) -> None:
    await settled(api)
    scaled = await api.client.ask("PUT", f"{WORKLOADS}/web/scale", {"replicas": 3})
    assert scaled.status == 200
    await trio.sleep(30)
    read = (await api.client.ask("GET", f"{WORKLOADS}/web/scale")).json
    assert read == {"replicas": 3, "scaled": True, "running": 3, "available": 3}
    await api.client.ask("PUT", f"{WORKLOADS}/web/scale", {"replicas": None})
    assert (await api.client.ask("GET", f"{WORKLOADS}/web/scale")).json["replicas"] == 1


@pytest.mark.parametrize("body", [{"replicas": -1}, {"replicas": "2"}, {}, {"replicas": 1, "more": 1}])
async def test_a_number_that_is_none_is_refused(api: Api, body: Any) -> None:
    await settled(api)
    assert (await api.client.ask("PUT", f"{WORKLOADS}/web/scale", body)).status == 400


async def test_a_stopped_workload_can_be_started(api: Api) -> None:
    await settled(api)
    stopping = await api.client.ask("POST", f"{WORKLOADS}/web/stop")
    assert stopping.json["status"]["phase"] == "Stopping"
    await trio.sleep(60)
    assert (await api.client.ask("GET", f"{WORKLOADS}/web")).json["status"]["phase"] == "Stopped"
    assert (await api.client.ask("POST", f"{WORKLOADS}/web/start")).status == 200
    await trio.sleep(10)
    assert (await api.client.ask("GET", f"{WORKLOADS}/web")).json["status"]["phase"] == "Healthy"


async def test_what_waits_after_a_failure_is_tried_again_at_once(api: Api) -> None:
    waits = {"initial_delay": "1h", "max_delay": "2h", "jitter": 0}
    await settled(api, containers=[{"name": "main", "command": ["exit", "1"]}], restart=waits)
    path = f"{WORKLOADS}/web/retry"

    async def attempt() -> int:
        instance = (await api.client.ask("GET", "/api/v1/namespaces/default/instances/web.0.1")).json
        return int(instance["status"]["containers"][0].get("attempt", 0))

    for expected, body in enumerate(({}, {"instance": "web.0"}), 1):
        for answered in (["web.0.1"], ["web.0.1"]):  # the second time it is only answered again
            answer = await api.client.ask("POST", path, body, idempotency_key=f"k{expected}")
            assert (answer.status, answer.json) == (200, {"instances": answered})
            await trio.sleep(60)
            assert await attempt() == expected
    assert (await api.client.ask("POST", path, {"instance": "other.0"})).status == 400
    assert (await api.client.ask("POST", path, {"instance": "web.9"})).status == 404
    assert (await api.client.ask("POST", f"{WORKLOADS}/none/retry", {})).status == 404


async def test_why_an_instance_is_where_it_is(api: Api) -> None:
    await settled(api)
    explained = (await api.client.ask("GET", f"{WORKLOADS}/web/explain")).json["items"]
    assert [each["instance"] for each in explained] == ["web.0.1"]


async def test_an_update_is_undone(api: Api) -> None:
    await settled(api)
    for command in ("second", "third"):
        await api.client.ask(
            "PATCH", f"{WORKLOADS}/web", {"spec": {"containers": [{"name": "main", "command": [command]}]}}
        )
        await trio.sleep(60)
    history = (await api.client.ask("GET", f"{WORKLOADS}/web/rollout")).json
    assert history["done"]
    generations = [each["generation"] for each in history["history"]]
    assert generations[-1] == 3
    undone = await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"undo": {}})
    assert undone.status == 200
    assert undone.json["spec"]["containers"][0]["command"] == ["second"]
    unknown = await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"undo": {"generation": 99}})
    assert unknown.status == 404


async def test_nothing_can_be_undone_that_was_never_changed(api: Api) -> None:
    await settled(api)
    assert (await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"undo": {}})).status == 409
    assert (await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"redo": {}})).status == 400


async def written(api: Api, text: bytes) -> None:
    await settled(api)
    world = api.containers
    for container_id in list(world.containers):
        world.write(container_id, text)


async def test_output_is_read_in_three_forms(api: Api) -> None:
    await written(api, b"hello\n")
    path = f"{WORKLOADS}/web/logs"
    lines = [json.loads(line) for line in (await api.client.ask("GET", path)).body.splitlines()]
    assert base64.b64decode(lines[0]["item"]["data"]) == b"hello\n"
    assert lines[-1] == {"end": True}
    assert (await api.client.ask("GET", path, accept="text/plain")).body == b"hello\n"
    messages = (await api.client.ask("GET", path, accept="text/event-stream")).body
    assert messages.startswith(b"event: log\nid: ")
    by_instance = "/api/v1/namespaces/default/instances/web.0.1/logs"
    assert (await api.client.ask("GET", by_instance, accept="text/plain")).body == b"hello\n"


async def test_the_output_of_a_container_that_there_is_not_is_not_empty_but_refused(api: Api) -> None:
    await settled(api)
    refused = await api.client.ask("GET", f"{WORKLOADS}/web/logs?container=nope")
    assert (refused.status, refused.json["code"]) == (404, "container-not-found")
    assert refused.json["remedy"] == "It has: main."


async def test_what_is_being_removed_says_since_when_and_is_not_scaled(api: Api) -> None:
    await settled(api)
    claim = {"metadata": {"finalizers": [{"name": "backup", "owner": "me"}]}}
    assert (await api.client.ask("PATCH", f"{WORKLOADS}/web", claim)).status == 200
    tried = await api.client.ask("DELETE", f"{WORKLOADS}/web?dry_run=true")
    assert not tried.json["metadata"].get("deleting_since")
    removed = await api.client.ask("DELETE", f"{WORKLOADS}/web")
    assert (removed.status, bool(removed.json["metadata"].get("deleting_since"))) == (200, True), removed.json
    refused = await api.client.ask("PUT", f"{WORKLOADS}/web/scale", {"replicas": 2})
    assert (refused.status, "is being removed" in refused.json["detail"]) == (409, True), refused.json


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", "", None),
        ("PUT", "/scale", {"replicas": 2}),
        ("POST", "/stop", None),
        ("POST", "/rollout", {"pause": {}}),
    ],
)
async def test_what_is_wanted_otherwise_has_another_revision_which_a_condition_asks_for(
    api: Api, method: str, path: str, body: Any
) -> None:
    await settled(api)
    claim = {"metadata": {"finalizers": [{"name": "backup", "owner": "me"}]}}
    claimed = await api.client.ask("PATCH", f"{WORKLOADS}/web", claim)
    before = claimed.headers["etag"]
    assert (await api.client.ask(method, f"{WORKLOADS}/web{path}", body)).status == 200
    now = await api.client.ask("GET", f"{WORKLOADS}/web")
    etag, revision = now.headers["etag"], now.json["metadata"]["revision"]
    assert revision > claimed.json["metadata"]["revision"]
    listed = (await api.client.ask("GET", WORKLOADS)).json["items"][0]["metadata"]["revision"]
    followed = f"{WORKLOADS}?watch=true&since={revision - 1}&timeout_seconds=1"
    told = [json.loads(line) for line in (await api.client.ask("GET", followed)).body.splitlines()]
    assert {listed, *(each["object"]["metadata"]["revision"] for each in told if each["type"] == "MODIFIED")} == {
        revision
    }
    label = {"metadata": {"labels": {"a": "b"}}}
    released: dict[str, Any] = {"metadata": {"finalizers": []}}
    for verb, data in (("PATCH", label), ("PATCH", released), ("DELETE", None), ("PUT", {**now.json, **label})):
        refused = await api.client.ask(verb, f"{WORKLOADS}/web", data, if_match=before)
        assert (refused.status, refused.json["code"]) == (412, "precondition-failed"), verb
    assert (await api.client.ask("PATCH", f"{WORKLOADS}/web", released, if_match=etag)).status == 200


async def test_of_output_the_last_lines_are_read_and_what_was_written_in_a_span_of_time(api: Api) -> None:
    path = f"{WORKLOADS}/web/logs"

    async def text(query: str) -> bytes:
        answer = await api.client.ask("GET", f"{path}?{query}", accept="text/plain")
        assert answer.status == 200, answer.body
        return answer.body

    await written(api, b"one\ntwo\n")
    then = api.orchestrator.now()
    await trio.sleep(600)
    for container_id in list(api.containers.containers):
        api.containers.write(container_id, b"three\nfou")
    await trio.sleep(600)
    assert await text("tail=2") == b"three\nfou"
    assert await text("tail=0") == b""
    assert await text("since=15m") == b"three\nfou"
    assert await text("since=1h&until=15m") == b"one\ntwo\n"
    plain = then.isoformat()
    assert await text(f"until={plain}") == await text(f"until={plain.replace('+', '%2B')}") == b"one\ntwo\n"
    early, late = (
        at.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()
        for at in (then, then + timedelta(seconds=600))
    )
    assert await text("tail=3&timestamps=true") == early + b" two\n" + late + b" three\n" + late + b" fou"
    for bad in ("tail=-1", "tail=100001", "until=soon", "since=1y", "since=9999999d", "until=1m&follow=true"):
        refused = await api.client.ask("GET", f"{path}?{bad}")
        assert refused.status == 400
        assert bad.partition("=")[0] in refused.json["detail"]


async def test_a_line_that_goes_on_is_told_its_time_once(api: Api) -> None:
    await written(api, b"hal")
    path, texts = f"{WORKLOADS}/web/logs?follow=true&timestamps=true&timeout_seconds=5", list[bytes]()

    async def follow() -> None:
        texts.append((await api.client.ask("GET", path, accept="text/plain")).body)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await trio.sleep(1)
        for container_id in list(api.containers.containers):
            api.containers.write(container_id, b"f\nnew\n")
    assert re.fullmatch(rb"\S{23}Z half\n\S{23}Z new\n", texts[0])


async def test_output_goes_on_where_a_reader_was(api: Api) -> None:
    await written(api, b"one\n")
    path, sse = f"{WORKLOADS}/web/logs", "text/event-stream"
    first = (await api.client.ask("GET", path, accept=sse)).body
    seen = first.split(b"id: ")[1].partition(b"\n")[0].decode()
    nothing = (await api.client.ask("GET", path, accept=sse, last_event_id=seen)).body
    assert b"event: log" not in nothing
    for container_id in list(api.containers.containers):
        api.containers.write(container_id, b"two\n")
    more = (await api.client.ask("GET", path, accept=sse, last_event_id=seen)).body
    data = json.loads(more.split(b"data: ")[1].partition(b"\n")[0])
    assert (base64.b64decode(data["data"]), data["offset"]) == (b"two\n", 4)
    assert (await api.client.ask("GET", path, accept=sse, last_event_id="nonsense")).status == 400


def pieces_of(events: bytes) -> list[tuple[str, int, bytes]]:
    """Return of each piece of output whose it is, which attempt it is of, and what it says."""
    plain = [json.loads(line[6:]) for line in events.splitlines() if line.startswith(b'data: {"instance"')]
    return [(one["instance"], one["attempt"], base64.b64decode(one["data"])) for one in plain]


def places_of(events: bytes) -> list[str]:
    """Return the ids of events."""
    return [line[4:].decode() for line in events.splitlines() if line.startswith(b"id: ")]


async def test_output_of_what_was_replaced_comes_to_who_wants_it_or_has_seen_it(api: Api) -> None:
    await written(api, b"old\n")
    path, text, sse = f"{WORKLOADS}/web/logs", "text/plain", "text/event-stream"
    seen = places_of((await api.client.ask("GET", path, accept=sse)).body)[-1]
    for container_id in list(api.containers.containers):
        api.containers.write(container_id, b"last words\n")
    assert (await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"restart": {}})).status == 200
    await trio.sleep(60)
    assert (await api.client.ask("GET", path, accept=text)).body == b""
    assert (await api.client.ask("GET", f"{path}?replaced=true", accept=text)).body == b"old\nlast words\n"
    named = "/api/v1/namespaces/default/instances/web.0.1/logs"
    assert (await api.client.ask("GET", named, accept=text)).body == b"old\nlast words\n"
    more = pieces_of((await api.client.ask("GET", path, accept=sse, last_event_id=seen)).body)
    assert more == [("web.0.1", 0, b"last words\n")]


@pytest.mark.parametrize("asked", ["tail=2", "tail_bytes=4", "since=1s"])
async def test_what_was_cut_off_at_first_does_not_come_to_a_reader_that_goes_on(api: Api, asked: str) -> None:
    await settled(api, replicas=2)
    for number in range(9):
        await trio.sleep(0.6)
        for container_id in list(api.containers.containers):
            api.containers.write(container_id, b"%d\n" % number)
    path, sse = f"{WORKLOADS}/web/logs?{asked}", "text/event-stream"
    first = (await api.client.ask("GET", path, accept=sse)).body
    told = pieces_of(first)
    assert {instance: b"".join(data for of, _, data in told if of == instance) for instance, _, _ in told} == {
        "web.0.1": b"7\n8\n",
        "web.1.1": b"7\n8\n",
    }
    await trio.sleep(60)
    for number, place in enumerate(places_of(first), 1):
        more = (await api.client.ask("GET", path, accept=sse, last_event_id=place)).body
        assert pieces_of(more) == told[number:]


async def test_what_an_attempt_before_said_does_not_come_to_a_reader_that_goes_on(api: Api) -> None:
    await written(api, b"one\ntwo\n")
    path, sse = f"{WORKLOADS}/web/logs?tail=1", "text/event-stream"
    for container_id in list(api.containers.containers):
        api.containers.exit(container_id, ExitStatus(code=1))
    await trio.sleep(60)
    (container_id,) = (each for each, one in api.containers.containers.items() if one.options.attempt == 1)
    api.containers.write(container_id, b"three\n")
    first = (await api.client.ask("GET", path, accept=sse)).body
    assert pieces_of(first) == [("web.0.1", 1, b"three\n")]
    api.containers.write(container_id, b"four\n")
    more = (await api.client.ask("GET", path, accept=sse, last_event_id=places_of(first)[-1])).body
    assert pieces_of(more) == [("web.0.1", 1, b"four\n")]


async def test_what_runs_is_not_of_every_kind(api: Api) -> None:
    for target in ("configmaps/a/logs", "configmaps/a/scale", "instances/a/scale", "configmaps/a/explain"):
        assert (await api.client.ask("GET", f"/api/v1/namespaces/default/{target}")).status == 404
    assert (await api.client.ask("POST", "/api/v1/namespaces/default/cordon")).status in (404, 405)


async def test_a_node_is_kept_free_of_new_work_and_drained(api: Api) -> None:
    await settled(api, replicas=2)
    name = (await api.client.ask("GET", "/api/v1/nodes")).json["items"][0]["metadata"]["name"]
    cordoned = await api.client.ask("POST", f"/api/v1/nodes/{name}/cordon")
    assert cordoned.json["spec"]["cordoned"] is True
    drained = await api.client.ask("POST", f"/api/v1/nodes/{name}/drain", {"reason": "repair"})
    assert drained.json["spec"]["drain"]["reason"] == "repair"
    await trio.sleep(120)
    placed = (await api.client.ask("GET", "/api/v1/namespaces/default/instances")).json["items"]
    running = [each for each in placed if each["status"]["state"] == "Running"]
    assert {each["spec"]["node_id"] for each in running}.isdisjoint({name})
    free = await api.client.ask("POST", f"/api/v1/nodes/{name}/uncordon")
    assert not free.json["spec"].get("cordoned")
    assert free.json["spec"].get("drain") is None
    assert (await api.client.ask("POST", "/api/v1/nodes/nobody/cordon")).status == 404


async def test_a_drain_has_a_deadline_of_the_servers_clock_or_of_ones_own(api: Api) -> None:
    await settled(api)
    path = f"/api/v1/nodes/{(await api.client.ask('GET', '/api/v1/nodes')).json['items'][0]['metadata']['name']}/drain"
    drained = await api.client.ask("POST", path, {"reason": "repair", "deadline_seconds": 600})
    told = datetime.fromisoformat(drained.json["spec"]["drain"]["deadline"])
    assert told == api.orchestrator.now() + timedelta(seconds=600)
    for order in (
        {"deadline_seconds": 1, "deadline": told.isoformat()},
        {"deadline_seconds": -1},
        {"deadline_seconds": 1e300},
        {"deadline_seconds": "soon"},
    ):
        assert (await api.client.ask("POST", path, {"reason": "repair", **order})).status == 400


async def test_what_there_is_is_told(api: Api) -> None:
    await settled(api)
    assert (await api.as_("").ask("GET", "/api")).json["versions"] == ["v1"]
    assert (await api.as_("").ask("GET", "/apis")).json["groups"][0]["name"] == "orchestrion"
    kinds = {each["name"] for each in (await api.client.ask("GET", "/api/v1")).json["resources"]}
    assert {"workloads", "nodes", "secrets"} <= kinds
    status = (await api.client.ask("GET", "/api/v1/cluster/status")).json
    assert status["nodes"] == {"total": 2, "ready": 2, "not_ready": 0}
    assert status["instances"]["running"] == 1
    assert status["allocatable"]["cpu_millicores"] > 0


async def test_kinds_that_nobody_writes_are_only_read(api: Api) -> None:
    for method, target, allowed in (
        ("POST", "/api/v1/nodes", "GET, HEAD, OPTIONS"),
        ("DELETE", "/api/v1/namespaces/default/events/any", "GET, HEAD, OPTIONS"),
        ("PUT", "/api/v1/namespaces/default/instances/web.0.1", "DELETE, GET, HEAD, OPTIONS"),
    ):
        refused = await api.client.ask(method, target, {})
        assert (refused.status, refused.headers["allow"]) == (405, allowed)


async def test_objects_of_a_custom_kind_fit_its_schema(api: Api) -> None:
    schema = {
        "type": "object",
        "properties": {
            "at": {"type": "string", "pattern": "^[0-9]{2}:[0-9]{2}$"},
            "keep": {"type": "integer", "default": 3},
        },
        "required": ["at"],
    }
    kind = {"metadata": {"name": "backups"}, "spec": {"kind": "Backup", "plural": "backups", "schema": schema}}
    assert (await api.client.ask("POST", "/api/v1/customkinds", kind)).status == 201
    path = "/api/v1/namespaces/default/backups"
    made = await api.client.ask("POST", path, {"metadata": {"name": "a"}, "spec": {"at": "02:00"}})
    assert made.json["spec"] == {"at": "02:00", "keep": 3}
    refused = await api.client.ask("POST", path, {"metadata": {"name": "b"}, "spec": {"at": "two"}})
    assert refused.status == 400
    assert "spec.at" in refused.json["detail"]


@pytest.mark.parametrize(
    "change",
    [{"schema": {"type": "nonsense"}}, {"plural": "copies"}, {"kind": "Copy"}, {"namespaced": False}],
)
async def test_a_kind_keeps_its_names_and_a_schema_that_can_be_checked(api: Api, change: Any) -> None:
    kind = {"metadata": {"name": "backups"}, "spec": {"kind": "Backup", "plural": "backups"}}
    await api.client.ask("POST", "/api/v1/customkinds", kind)
    assert (await api.client.ask("PATCH", "/api/v1/customkinds/backups", {"spec": change})).status == 400


async def test_no_kind_stands_in_the_way_of_a_path(api: Api) -> None:
    kind = {"metadata": {"name": "watch"}, "spec": {"kind": "Watch", "plural": "watch"}}
    assert (await api.client.ask("POST", "/api/v1/customkinds", kind)).status == 400


async def test_updates_are_paused_and_resumed(api: Api) -> None:
    await settled(api)
    paused = await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"pause": {}})
    assert (paused.status, paused.json["status"]["paused"]) == (200, True)
    changed = workload(containers=[{"name": "main", "command": ["run", "token", "new"]}])
    await api.client.ask("PUT", f"{WORKLOADS}/web", changed)
    await trio.sleep(60)
    told = (await api.client.ask("GET", f"{WORKLOADS}/web/rollout")).json
    assert (told["phase"], told["reason"], told["paused"], told["done"]) == ("Progressing", "paused", True, False)
    explained = (await api.client.ask("GET", f"{WORKLOADS}/web/explain")).json["items"]
    assert "the update to generation 2 is paused" in explained[0]["text"]
    await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"resume": {}})
    await trio.sleep(60)
    told = (await api.client.ask("GET", f"{WORKLOADS}/web/rollout")).json
    assert (told["phase"], told["paused"], told["updated"], told["done"]) == ("Healthy", False, 1, True)


async def test_a_dry_run_pauses_nothing(api: Api) -> None:
    await settled(api)
    answer = await api.client.ask("POST", f"{WORKLOADS}/web/rollout?dry_run=true", {"pause": {}})
    assert answer.status == 200
    assert not (await api.client.ask("GET", f"{WORKLOADS}/web/rollout")).json["paused"]
    assert (await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"pause": {}}, if_match='"99"')).status == 412


def versioned(word: str) -> Any:
    """Return a workload of two instances whose update begins with one."""
    main = {"name": "main", "command": ["run", "token", word]}
    return workload(containers=[main], replicas=2, update={"canary": 1})


async def waiting(api: Api) -> None:
    """Bring an update to where it waits for being promoted."""
    await settled(api)
    await api.client.ask("PUT", f"{WORKLOADS}/web", versioned("old"))
    await trio.sleep(60)
    await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"promote": {}})
    await trio.sleep(60)
    await api.client.ask("PUT", f"{WORKLOADS}/web", versioned("new"))
    await trio.sleep(60)
    told = (await api.client.ask("GET", f"{WORKLOADS}/web/rollout")).json
    assert (told["phase"], told["reason"], told["canary"], told["done"]) == ("Progressing", "canary", 1, False)


async def test_an_update_with_a_canary_goes_on_once_it_is_promoted(api: Api) -> None:
    await waiting(api)
    asked: tuple[str, str, Any] = ("POST", f"{WORKLOADS}/web/rollout", {"promote": {}})
    tried = await api.client.ask("POST", f"{WORKLOADS}/web/rollout?dry_run=true", {"promote": {}})
    assert (tried.status, tried.json["status"]["canary"]) == (200, 1)
    assert (await api.client.ask(*asked, if_match='"99"')).status == 412
    assert (await api.client.ask(*asked)).status == 200
    await trio.sleep(60)
    told = (await api.client.ask("GET", f"{WORKLOADS}/web/rollout")).json
    assert (told["phase"], told["canary"], told["updated"], told["done"]) == ("Healthy", 0, 2, True)


async def test_an_undo_of_a_canary_and_of_what_was_promoted_goes_back_at_once(api: Api) -> None:
    await waiting(api)
    await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"undo": {}})
    await trio.sleep(60)
    told = (await api.client.ask("GET", f"{WORKLOADS}/web/rollout")).json
    assert (told["phase"], told["canary"], told["updated"]) == ("Healthy", 0, 2)
    await waiting_for_another(api)
    await api.client.ask("PUT", f"{WORKLOADS}/web/scale", {"replicas": 0})
    undone = await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"undo": {}})
    assert "canary" not in undone.json["status"]
    await api.client.ask("PUT", f"{WORKLOADS}/web/scale", {"replicas": None})
    await trio.sleep(60)
    told = (await api.client.ask("GET", f"{WORKLOADS}/web/rollout")).json
    assert (told["phase"], told["updated"], told["done"]) == ("Healthy", 2, True)


async def current(api: Api) -> set[str]:
    """Return the instances that are to run."""
    items = (await api.client.ask("GET", "/api/v1/namespaces/default/instances")).json["items"]
    return {item["metadata"]["name"] for item in items if item["status"]["state"] == "Running"}


async def history(api: Api) -> list[tuple[int, int, bool]]:
    """Return the generations that are known, since when each is wanted, and which one is wanted now."""
    told = (await api.client.ask("GET", f"{WORKLOADS}/web/rollout")).json["history"]
    return [(each["generation"], each["since"], each["current"]) for each in told]


async def test_an_undo_leaves_what_runs_already_what_it_goes_back_to(api: Api) -> None:
    await waiting(api)
    old, new = [item for item in await history(api) if item[0] > 1]
    before = await current(api)
    undone = await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"undo": {}})
    generation = undone.json["metadata"]["generation"]
    assert (generation, undone.json["status"]["generation"]) == (new[0] + 1, old[0])
    await trio.sleep(60)
    assert len(await current(api) & before) == 1
    assert [item for item in await history(api) if item[0] > 1] == [
        (new[0], new[0], False),
        (old[0], generation, True),
    ]


async def test_an_undo_goes_back_to_what_was_wanted_last_whatever_its_generation(api: Api) -> None:
    await waiting(api)
    await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"undo": {}})
    again = await api.client.ask("POST", f"{WORKLOADS}/web/rollout?dry_run=true", {"undo": {}})
    assert again.json["spec"]["containers"][0]["command"] == ["run", "token", "new"], "an undo can be undone"
    await api.client.ask("PUT", f"{WORKLOADS}/web", versioned("newest"))
    undone = await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"undo": {}})
    assert undone.json["spec"]["containers"][0]["command"] == ["run", "token", "old"]


async def test_to_go_back_to_what_is_tried_out_promotes_nothing(api: Api) -> None:
    await waiting(api)
    before = (await api.client.ask("GET", f"{WORKLOADS}/web/rollout")).json
    asked = {"undo": {"generation": before["generation"]}}
    assert (await api.client.ask("POST", f"{WORKLOADS}/web/rollout", asked)).status == 200
    await trio.sleep(60)
    assert (await api.client.ask("GET", f"{WORKLOADS}/web/rollout")).json == before


@pytest.mark.parametrize("matched", [True, False])
async def test_a_promotion_is_of_what_was_there_when_it_was_asked_for(
    api: Api, monkeypatch: pytest.MonkeyPatch, matched: bool
) -> None:
    await waiting(api)
    revision = (await api.client.ask("GET", f"{WORKLOADS}/web")).json["metadata"]["revision"]
    how = {"if_match": f'"{revision}"'} if matched else {}
    promote = Orchestrator.promote

    async def late(*args: Any, **options: Any) -> Any:
        assert (await api.client.ask("PUT", f"{WORKLOADS}/web", versioned("newest"))).status == 200
        return await promote(*args, **options)

    monkeypatch.setattr(Orchestrator, "promote", late)
    answer = await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"promote": {}}, **how)
    assert (answer.status, "changed meanwhile" in answer.json["detail"]) == (409, True)
    await trio.sleep(60)
    told = (await api.client.ask("GET", f"{WORKLOADS}/web/rollout")).json
    assert (told["phase"], told["canary"], told["updated"]) == ("Progressing", 1, 1), "it is tried out like any other"


async def test_what_is_applied_right_after_an_undo_is_tried_out_like_any_other(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await waiting(api)
    apply, written = Orchestrator.apply, list[int]()

    async def followed(*args: Any, **options: Any) -> Any:
        result = await apply(*args, **options)
        written.append(result.revision)
        if len(written) == 1:
            # By another server on the same store, which waits for nobody here.
            api.objects.workloads.turns = Turns()
            assert (await api.client.ask("PUT", f"{WORKLOADS}/web", versioned("newest"))).status == 200
        return result

    monkeypatch.setattr(Orchestrator, "apply", followed)
    assert (await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"undo": {}})).status == 200
    assert len(written) == 2
    await trio.sleep(60)
    told = (await api.client.ask("GET", f"{WORKLOADS}/web/rollout")).json
    assert (told["phase"], told["reason"], told["canary"], told["updated"]) == ("Progressing", "canary", 1, 1)


async def waiting_for_another(api: Api) -> None:
    """Roll out another version to its end."""
    await api.client.ask("PUT", f"{WORKLOADS}/web", versioned("newest"))
    await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"promote": {}})
    await trio.sleep(60)
    assert (await api.client.ask("GET", f"{WORKLOADS}/web/rollout")).json["done"]


async def test_what_has_no_canary_is_not_promoted(api: Api) -> None:
    await settled(api)
    refused = await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"promote": {}})
    assert (refused.status, "waits for a promotion" in refused.json["detail"]) == (409, True)


@pytest.mark.parametrize(
    "body", [{}, {"promote": {"x": 1}}, {"pause": True}, {"pause": {"x": 1}}, {"pause": {}, "resume": {}}, [], "pause"]
)
async def test_a_rollout_is_told_one_thing_in_its_form(api: Api, body: Any) -> None:
    await settled(api)
    assert (await api.client.ask("POST", f"{WORKLOADS}/web/rollout", body)).status == 400


async def test_batch_work_has_no_updates_to_pause(api: Api) -> None:
    await settled(api, kind="batch")
    refused = await api.client.ask("POST", f"{WORKLOADS}/web/rollout", {"pause": {}})
    assert (refused.status, "has no updates" in refused.json["detail"]) == (400, True)


INSTANCES = "/api/v1/namespaces/default/instances"


async def running(api: Api) -> list[str]:
    listed = (await api.client.ask("GET", f"{INSTANCES}?field_selector=status.state=Running")).json
    return [item["metadata"]["name"] for item in listed["items"]]


async def test_an_instance_that_is_deleted_stops_and_is_replaced(api: Api) -> None:
    await settled(api, containers=[{"name": "main", "command": ["run", "ignore-term"]}])
    gone = await api.client.ask("DELETE", f"{INSTANCES}/web.0.1")
    assert gone.status == 200
    assert (gone.json["spec"]["desired"], gone.json["spec"]["stop_reason"]) == ("stop", "it was deleted")
    await trio.sleep(1)
    revision = (await api.objects.store.get("/")).revision
    assert (await api.client.ask("DELETE", f"{INSTANCES}/web.0.1")).status == 200
    assert (await api.objects.store.get("/")).revision == revision
    await trio.sleep(60)
    assert await running(api) == ["web.1.1"]


async def test_a_dry_run_of_deleting_an_instance_stops_nothing(api: Api) -> None:
    await settled(api)
    revision = (await api.objects.store.get("/")).revision
    assert (await api.client.ask("DELETE", f"{INSTANCES}/web.0.1?dry_run=true")).status == 200
    assert (await api.objects.store.get("/")).revision == revision


async def test_an_instance_is_deleted_only_as_it_was_read(api: Api) -> None:
    await settled(api)
    read = await api.client.ask("GET", f"{INSTANCES}/web.0.1")
    assert (await api.client.ask("DELETE", f"{INSTANCES}/web.0.1", if_match='"1"')).status == 412
    assert await running(api) == ["web.0.1"]
    assert (await api.client.ask("DELETE", f"{INSTANCES}/web.0.1", if_match=read.headers["etag"])).status == 200


async def test_instances_that_are_not_there_are_not_deleted(api: Api) -> None:
    await settled(api)
    for name in ("web.0.2", "web.5.1", "web.0", "nobody.0.1"):
        assert (await api.client.ask("DELETE", f"{INSTANCES}/{name}")).status == 404
    assert await running(api) == ["web.0.1"]


async def test_a_webhook_may_refuse_that_an_instance_is_deleted(api: Api) -> None:
    await settled(api)

    async def refuse(review: Review) -> Document:
        raise Denied(f"{review.change.value} {review.kind.name}")

    api.objects.workloads.admit = refuse
    refused = await api.client.ask("DELETE", f"{INSTANCES}/web.0.1")
    assert (refused.status, refused.json["message"]) == (403, "delete Instance")
    assert await running(api) == ["web.0.1"]


@pytest.mark.parametrize(
    ("method", "path", "body", "again"),
    [
        ("PUT", f"{WORKLOADS}/web/scale", {"replicas": 3}, True),
        ("POST", f"{WORKLOADS}/web/stop", None, True),
        ("POST", f"{WORKLOADS}/web/start", None, True),
        ("POST", "/api/v1/nodes/node-00000/cordon", None, True),
        ("POST", "/api/v1/nodes/node-00000/uncordon", None, True),
        ("POST", "/api/v1/nodes/node-00000/drain", {"reason": "why"}, True),
        ("POST", "/v1/workload/scale?name=web", {"replicas": 3}, False),
        ("POST", "/v1/workload/stop?name=web", None, False),
        ("DELETE", "/v1/workload?name=web", None, False),
    ],
)
async def test_what_is_only_tried_changes_nothing(api: Api, method: str, path: str, body: Any, again: bool) -> None:
    await settled(api)
    query = "&dry_run=true" if "?" in path else "?dry_run=true"
    before = (await api.orchestrator.store.get("/")).revision
    tried = await api.client.ask(method, f"{path}{query}", body)
    assert (tried.status, (await api.orchestrator.store.get("/")).revision) == (200, before)
    if again:  # as it is
        shown = path.removesuffix("/scale").removesuffix("/stop").removesuffix("/start")
        shown = shown.removesuffix("/uncordon").removesuffix("/cordon").removesuffix("/drain")
        assert tried.json == (await api.client.ask("GET", shown)).json
    missing = path.replace("web", "nope").replace("node-00000", "nope")
    assert (await api.client.ask(method, f"{missing}{query}", body)).status == 404


async def test_a_number_that_a_quota_does_not_grant_is_refused_when_it_is_tried(api: Api) -> None:
    quota = {"metadata": {"name": "few"}, "spec": {"hard": {"instances": 2}}}
    path = "/api/v1/namespaces/default/resourcequotas"
    assert (await api.client.ask("POST", path, quota)).status == 201
    await settled(api)
    tried = await api.client.ask("PUT", f"{WORKLOADS}/web/scale?dry_run=true", {"replicas": 3})
    assert (tried.status, tried.json["code"]) == (403, "quota-exceeded")


async def test_one_node_can_be_asked_about(api: Api) -> None:
    await settled(api)
    for path in (f"{WORKLOADS}/web/explain?", "/v1/workload/explain?name=web&"):
        told = await api.client.ask("GET", f"{path}node=node-00001")
        found = told.json["items"] if isinstance(told.json, dict) else told.json
        assert (told.status, [one["node_id"] for one in found]) == (200, ["node-00001"])
        assert (await api.client.ask("GET", f"{path}node=nowhere")).status == 404
