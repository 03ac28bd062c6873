"""What somebody with few rights, or none, can't do to a server and to others."""

from __future__ import annotations

import json
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
import trio
import trio.testing
from orchestrion.control_plane._identity.audit_records import Outcome
from orchestrion.control_plane._identity.principals import Principal
from orchestrion.control_plane._web import bodies
from orchestrion.control_plane._web.assembly import Options
from orchestrion.orchestrator_core import trio_time
from orchestrion.shared_types import StateFailure
from orchestrion.shared_types.manifest import plain_documents

from .api_stage import Api, Records
from .sockets_stage import Socket

DEFAULT = "/api/v1/namespaces/default"
YAML = "application/yaml"


@pytest.fixture
def records(api: Api) -> Records:
    records = Records()
    api.server.oversight.pipeline.recorder = records
    return records


async def enter(api: Api, name: str, *rules: dict[str, Any]) -> None:
    """Let somebody in, with a role of these rules."""
    api.keeper.principals[name] = Principal(name)
    if rules:
        role = {"metadata": {"name": name}, "spec": {"rules": list(rules)}}
        binding = {"metadata": {"name": name}, "spec": {"role": name, "subjects": [{"kind": "user", "name": name}]}}
        assert (await api.client.ask("POST", "/api/v1/roles", role)).status == 201
        assert (await api.client.ask("POST", "/api/v1/rolebindings", binding)).status == 201


def workload(name: str = "web", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "m", "command": ["run"]}], **spec}}


def exec_(api: Api, who: str, path: str) -> Socket:
    return Socket(api.client.app, path, {"host": "test", "authorization": f"Bearer {who}"}, {"command": ["echo"]})


@pytest.mark.parametrize("plural", ["configmaps", "secrets", "workloads", "instances"])
async def test_rights_to_another_kind_run_no_command_in_an_instance(api: Api, plural: str) -> None:
    await api.client.ask("POST", f"{DEFAULT}/workloads", workload())
    await trio.sleep(10)
    await enter(api, "eve", {"verbs": ["*"], "resources": ["configmaps", "secrets"]})
    refused = exec_(api, "eve", f"{DEFAULT}/{plural}/web.0.1/exec")
    await refused.run()
    assert (refused.accepted, refused.said) == (False, [])
    own = exec_(api, "admin", f"{DEFAULT}/{plural}/web.0.1/exec")
    await own.run()
    assert own.accepted == (plural in ("workloads", "instances"))


@pytest.mark.parametrize(
    ("who", "path", "status", "code"),
    [
        ("nobody", "instances/web.0.1/exec", 401, "unauthenticated"),
        ("eve", "instances/web.0.1/exec", 403, "denied"),
        ("admin", "instances/web.0.1/exec?containr=m", 400, "config-invalid"),
        ("admin", "configmaps/web/exec", 404, "not-found"),
    ],
)
async def test_a_socket_that_is_refused_is_told_why_as_any_other_request(
    api: Api, records: Records, who: str, path: str, status: int, code: str
) -> None:
    await enter(api, "eve")
    head = {"host": "test", "authorization": f"Bearer {who}"}
    socket = Socket(api.client.app, f"{DEFAULT}/{path}", head, {}, extensions={"websocket.http.response": {}})
    await socket.run()
    start, body = socket.sent
    headers = dict(start["headers"])
    assert (start["type"], start["status"]) == ("websocket.http.response.start", status)
    assert headers[b"content-type"] == b"application/problem+json"
    assert (b"www-authenticate" in headers) is (status == 401)
    assert json.loads(body["body"])["code"] == code
    assert all(record.outcome is not Outcome.DONE for record in records.kept)


@pytest.mark.parametrize(
    ("plural", "name", "replicas", "said"),
    [
        ("instances", "web.0.1", 2, "started"),
        ("workloads", "web", 1, "started"),
        ("workloads", "web", 2, "config-invalid"),
        ("workloads", "web", 0, "instance-not-found"),
        ("workloads", "web.0.1", 1, "workload-not-found"),
        ("workloads", "other", 1, "workload-not-found"),
        ("instances", "web", 1, "instance-not-found"),
    ],
)
async def test_a_command_runs_in_what_the_path_names_for_which_the_right_was_asked(
    api: Api, plural: str, name: str, replicas: int, said: str
) -> None:
    await api.client.ask("POST", f"{DEFAULT}/workloads", workload(replicas=replicas))
    await trio.sleep(10)
    await enter(api, "eve", {"verbs": ["exec"], "resources": [plural]})
    socket = exec_(api, "eve", f"{DEFAULT}/{plural}/{name}/exec")
    await socket.run()
    told = socket.said[0]
    assert said in (next(iter(told)), told.get("error", {}).get("code"))


async def test_a_command_that_is_refused_is_on_record_as_denied_with_a_reason(api: Api, records: Records) -> None:
    await enter(api, "eve")
    await exec_(api, "eve", f"{DEFAULT}/instances/web.0.1/exec").run()
    (record,) = records.kept
    assert (record.principal, record.verb, record.outcome) == ("user:eve", "exec", Outcome.DENIED)
    assert "exec" in record.reason


@pytest.mark.parametrize(
    ("path", "command", "outcome", "reason"),
    [
        ("instances/web.0.1", ["echo"], Outcome.DONE, ""),
        ("workloads/web", ["echo"], Outcome.DONE, ""),
        ("instances/web.9.1", ["echo"], Outcome.FAILED, "instance-not-found"),
        ("workloads/none", ["echo"], Outcome.FAILED, "workload-not-found"),
        ("instances/web.0.1", "echo", Outcome.FAILED, "config-invalid"),
        ("instances/web.0.1", None, Outcome.FAILED, "closed"),
    ],
)
async def test_the_record_of_a_command_says_whether_it_began(
    api: Api, records: Records, path: str, command: object, outcome: Outcome, reason: str
) -> None:
    await api.client.ask("POST", f"{DEFAULT}/workloads", workload())
    await trio.sleep(10)
    records.kept.clear()
    head = {"host": "test", "authorization": "Bearer admin"}
    socket = Socket(api.client.app, f"{DEFAULT}/{path}/exec", head, {"command": command})
    if command is None:
        socket.say_nothing()
    await socket.run()
    (record,) = records.kept
    assert (record.verb, record.name) == ("exec", path.partition("/")[2])
    assert (record.outcome, record.reason) == (outcome, reason)


async def test_a_command_that_is_cut_off_before_it_began_is_on_record_as_that(api: Api, records: Records) -> None:
    head = {"host": "test", "authorization": "Bearer admin"}
    socket = Socket(api.client.app, f"{DEFAULT}/instances/web.0.1/exec", head, {"command": ["echo"]}, stays=1000)
    socket.say_nothing()
    await socket.run(seconds=5)
    (record,) = records.kept
    assert (record.outcome, record.reason) == (Outcome.FAILED, "cut off before it began")


async def test_a_command_that_cant_go_on_record_is_killed_and_nobody_sees_what_it_writes(
    api: Api, records: Records
) -> None:
    await api.client.ask("POST", f"{DEFAULT}/workloads", workload())
    await trio.sleep(10)
    records.error = StateFailure("the disk is full")
    socket = exec_(api, "admin", f"{DEFAULT}/instances/web.0.1/exec")
    await socket.run()
    assert [said["error"]["code"] for said in socket.said] == ["state-failure"]
    assert not any(each.get("bytes") for each in socket.sent)
    refused = exec_(api, "admin", f"{DEFAULT}/instances/none.0.1/exec")
    await refused.run()
    assert [said["error"]["code"] for said in refused.said] == ["instance-not-found"]


async def test_aliases_of_a_long_text_are_refused_before_they_are_replaced(api: Api) -> None:
    await enter(api, "eve")
    body = f"a: &x {'A' * 200_000}\nb: [{','.join(['*x'] * 3000)}]\n".encode()
    answer = await api.as_("eve").ask("POST", "/api/v1/plan", body, content_type=YAML)
    assert answer.status == 400
    assert "aliases" in answer.body.decode()


@pytest.mark.parametrize("framing", [{}, {"transfer_encoding": "chunked"}])
async def test_a_long_form_is_refused_by_nobody_reading_it(api: Api, framing: dict[str, str]) -> None:
    form = b"a=1&" * 100_000
    headers = {"content_type": "application/x-www-form-urlencoded", **framing}
    answer = await api.as_("").ask("POST", "/ui/login", form, **headers)
    assert answer.status == 413


async def test_a_question_of_a_few_words_has_a_short_body(api: Api) -> None:
    assert (await api.client.ask("POST", "/v1/logs", {"subject": ["0"] * 20_000})).status == 413
    object_ = {"metadata": {"name": "c"}, "spec": {"data": {"a": "x" * 3_000_000}}}
    assert (await api.client.ask("POST", f"{DEFAULT}/configmaps", object_)).status == 413


async def test_others_are_served_while_a_manifest_is_read(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await enter(api, "eve")
    served, long = threading.Event(), b"a: 1 #" + b"." * 100_000

    def read(body: bytes) -> list[Any]:
        assert served.wait(timeout=10), "the server did nothing else meanwhile"
        return plain_documents(body)

    monkeypatch.setattr(bodies, "plain_documents", read)
    async with trio.open_nursery() as nursery:

        async def plan() -> None:
            assert (await api.as_("eve").ask("POST", "/api/v1/plan", long, content_type=YAML)).status == 400

        nursery.start_soon(plan)
        await trio.testing.wait_all_tasks_blocked()
        assert (await api.client.ask("GET", "/livez")).status == 200
        served.set()


Revoke = Callable[[Api], Awaitable[Any]]


async def revoke_proof(api: Api) -> None:
    del api.keeper.principals["eve"]


async def remove_binding(api: Api) -> None:
    assert (await api.client.ask("DELETE", "/api/v1/rolebindings/eve")).status == 200


ENDS = pytest.mark.parametrize(
    ("revoke", "code"), [(revoke_proof, "unauthenticated"), (remove_binding, "denied")], ids=["proof", "binding"]
)


async def settled(api: Api) -> None:
    """Let a workload run, and somebody in who may do everything in the cluster."""
    await api.client.ask("POST", f"{DEFAULT}/workloads", workload())
    await trio.sleep(10)
    await enter(api, "eve", {"verbs": ["*"], "resources": ["*"]})


@ENDS
@pytest.mark.parametrize("path", [f"{DEFAULT}/configmaps?watch=true", f"{DEFAULT}/workloads/web/logs?follow=true"])
async def test_a_stream_ends_with_the_right_to_it(api: Api, revoke: Revoke, code: str, path: str) -> None:
    await settled(api)
    async with api.as_("eve").stream("GET", path) as (status, _, chunks):
        assert status == 200
        await revoke(api)
        last = b"".join([chunk async for chunk in chunks]).splitlines()[-1]
    told = json.loads(last)
    assert told.get("error", told.get("object"))["code"] == code


@ENDS
async def test_a_command_ends_with_the_right_to_it(api: Api, revoke: Revoke, code: str) -> None:
    await settled(api)
    socket = Socket(
        api.client.app,
        f"{DEFAULT}/instances/web.0.1/exec",
        {"host": "test", "authorization": "Bearer eve"},
        {"command": ["run"]},
        stays=1000,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(socket.run)
        await trio.sleep(1)
        await revoke(api)
    assert [next(iter(said)) for said in socket.said] == ["started", "error"]
    error = socket.said[-1]["error"]
    assert error["code"] == code
    assert socket.sent[-1] == {"type": "websocket.close", "code": 1008, "reason": error["detail"].partition("\n")[0]}


LASTS = pytest.mark.parametrize("path", ["configmaps?watch=true", "workloads/web/logs?follow=true", "exec"])


async def last(api: Api, path: str) -> None:
    """Have what lasts, until it ends."""
    if path == "exec":
        head = {"host": "test", "authorization": "Bearer eve"}
        socket = Socket(api.client.app, f"{DEFAULT}/instances/web.0.1/exec", head, {"command": ["run"]}, stays=1000)
        await socket.run()
        assert [next(iter(said)) for said in socket.said] == ["started", "error"]
        return
    async with api.as_("eve").stream("GET", f"{DEFAULT}/{path}") as (status, _, chunks):
        assert status == 200
        assert [chunk async for chunk in chunks]


@ENDS
@LASTS
async def test_what_lasts_ends_at_once_with_a_change_that_is_told(
    api: Api, revoke: Revoke, code: str, path: str
) -> None:
    await settled(api)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(last, api, path)
        await trio.sleep(0.5)
        told_at = trio.current_time()
        await revoke(api)
        api.keeper.changes.tell()
    assert trio.current_time() - told_at < 0.1, code


@LASTS
async def test_what_lasts_ends_when_its_proof_does(api: Api, path: str) -> None:
    await settled(api)
    api.keeper.principals["eve"] = Principal("eve", expires_at=trio_time() + timedelta(seconds=1.5))
    began = trio.current_time()
    await last(api, path)
    assert 1.5 <= trio.current_time() - began < 1.6


@ENDS
async def test_a_page_follows_no_output_without_the_right_to_it(api: Api, revoke: Revoke, code: str) -> None:
    await settled(api)
    async with api.as_("eve").stream("GET", "/ui/live?output=default/web") as (status, _, chunks):
        assert status == 200
        await anext(chunks)
        await revoke(api)
        for container_id in list(api.containers.containers):
            api.containers.write(container_id, b"canary")
        told, last = b"", b"event: over" if code == "unauthenticated" else b"event: output-failed"
        while last not in told:
            told += await anext(chunks)
    assert b"event: output\n" not in told


PRIORITIES = [
    ({"priority": 2_147_483_647}, 403),
    ({"priority_class": "system-high"}, 403),
    ({"priority": 100_001}, 403),
    ({"priority": 100_000}, 201),
    ({"priority_class": "production-high"}, 201),
]


@pytest.mark.parametrize(("spec", "status"), PRIORITIES)
async def test_who_may_write_workloads_pushes_out_nobody_by_a_number(
    api: Api, spec: dict[str, Any], status: int
) -> None:
    await enter(api, "eve", {"verbs": ["*"], "resources": ["workloads"]})
    answer = await api.as_("eve").ask("POST", f"{DEFAULT}/workloads", workload("king", **spec))
    assert answer.status == status, answer.body
    both = {"items": [{"kind": "Workload", **workload("king", **spec)}]}
    assert (await api.as_("eve").ask("POST", "/api/v1/apply", both)).status == (200 if status == 201 else 403)
    made = await api.client.ask("POST", f"{DEFAULT}/workloads", workload("queen", **spec))
    assert made.status == 201
    changed = await api.as_("eve").ask("PATCH", f"{DEFAULT}/workloads/queen", {"spec": {"replicas": 2}})
    assert changed.status == 200, "what it has it keeps"


async def test_a_number_is_refused_by_the_way_of_control_too(api: Api) -> None:
    await enter(api, "eve", {"verbs": ["*"], "resources": ["workloads"]})
    definition = {
        "metadata": {"name": "king", "namespace": "default"},
        "containers": [{"name": "m", "command": ["run"]}],
        "priority": 2_147_483_647,
    }
    assert (await api.as_("eve").ask("POST", "/v1/apply", {"workloads": [definition]})).status == 403
    assert (await api.client.ask("POST", "/v1/apply", {"workloads": [definition]})).status == 200


async def test_a_class_that_was_made_is_for_all(api: Api) -> None:
    await enter(api, "eve", {"verbs": ["*"], "resources": ["workloads"]})
    made = {"metadata": {"name": "gold"}, "spec": {"value": 500_000}}
    assert (await api.client.ask("POST", "/api/v1/priorityclasses", made)).status == 201
    answer = await api.as_("eve").ask("POST", f"{DEFAULT}/workloads", workload(priority_class="gold"))
    assert answer.status == 201


async def test_all_that_a_manifest_changes_is_on_record(api: Api, records: Records) -> None:
    binding = {
        "kind": "RoleBinding",
        "metadata": {"name": "backdoor"},
        "spec": {"role": "admin", "subjects": [{"kind": "user", "name": "eve"}]},
    }
    config = {"kind": "ConfigMap", "metadata": {"name": "c"}, "spec": {"data": {"a": "b"}}}
    assert (await api.client.ask("POST", "/api/v1/apply", {"items": [binding, config]})).status == 200
    found = {(each.verb, each.resource, each.namespace, each.name): each for each in records.kept}
    made = found["apply", "rolebindings", "", "backdoor"]
    assert (made.outcome, made.from_revision) == (Outcome.DONE, 0)
    assert made.to_revision > 0
    assert ("apply", "configmaps", "default", "c") in found


async def test_a_manifest_that_is_refused_is_on_record_by_what_it_names(api: Api, records: Records) -> None:
    await enter(api, "eve")
    records.kept.clear()
    config = {"kind": "ConfigMap", "metadata": {"name": "c"}, "spec": {}}
    assert (await api.as_("eve").ask("POST", "/api/v1/apply", {"items": [config]})).status == 403
    (record,) = records.kept
    assert (record.verb, record.resource, record.name, record.outcome) == ("apply", "configmaps", "c", Outcome.DENIED)


async def test_a_plan_tells_nobody_which_workloads_there_are(api: Api) -> None:
    await api.client.ask("POST", f"{DEFAULT}/workloads", workload("king", kind="batch"))
    await enter(api, "eve")
    answers = set[tuple[int, bytes]]()
    for name in ("king", "kingx"):
        form = f"workloads: {{a: {{kind: batch, after: [{name}], containers: [{{name: m, command: [x]}}]}}}}"
        for body in (form, f"items: [{{{form}}}]"):
            answer = await api.as_("eve").ask("POST", "/api/v1/plan", body.encode(), content_type=YAML)
            assert b"king" not in answer.body
            answers.add((answer.status, answer.json["detail"].encode()))
    assert [status for status, _ in answers] == [403]


async def test_a_watch_that_reads_nothing_holds_no_more_than_a_piece(api: Api) -> None:
    for number in range(6):
        config = {"metadata": {"name": f"c{number}"}, "spec": {"data": {"a": "x" * 40_000}}}
        assert (await api.client.ask("POST", f"{DEFAULT}/configmaps", config)).status == 201
    async with api.client.stream("GET", f"{DEFAULT}/configmaps?watch=true") as (_, _, chunks):
        pieces = [await anext(chunks) for _ in range(3)]
    assert [piece.count(b'"ADDED"') for piece in pieces] == [2, 2, 2]


@pytest.mark.parametrize(
    ("host", "tls", "exposed"),
    [("0.0.0.0", False, True), ("0.0.0.0", None, False), ("127.0.0.1", False, False), ("10.0.0.1", True, False)],
)
def test_a_server_without_tls_is_exposed_beyond_its_machine(host: str, tls: bool | None, exposed: bool) -> None:
    assert Options(host=host, tls=tls).exposed == exposed
