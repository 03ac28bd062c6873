"""The protocol over HTTP: sessions, who may do what, and what is no message."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio
from orchestrion.control_plane._identity.audit_records import AuditRecord
from orchestrion.control_plane._identity.principals import Principal
from orchestrion.control_plane._limits import DEFAULT_LANES, Lane, LaneSize, Limits, Rate
from orchestrion.control_plane._limits.limits import LaneLimits
from orchestrion.control_plane._mcp.http import MAX_SESSIONS_EACH, Sessions
from orchestrion.control_plane._mcp.session import Session
from orchestrion.control_plane._mcp.tools import TOOLS
from orchestrion.shared_types import OrchestrationError, StateFailure

from .api_stage import Api
from .mcp_stage import START, HttpClient, call, notification, refusal, request, told

SPEC = {"containers": [{"name": "main", "command": ["run"]}]}


async def with_role(api: Api, name: str, role: str, namespace: str = "") -> HttpClient:
    """Return a client of somebody who has one role, perhaps in one namespace alone."""
    api.keeper.principals[name] = Principal(name)
    spec = {"role": role, "subjects": [{"kind": "user", "name": name}], "namespace": namespace}
    made = await api.client.ask("POST", "/api/v1/rolebindings", {"metadata": {"name": name}, "spec": spec})
    assert made.status == 201
    return HttpClient(api.as_(name))


async def test_a_session_begins_works_and_ends(api: Api) -> None:
    client = HttpClient(api.client)
    await client.begin()
    assert {each["name"] for each in (await client.ask(request("tools/list")))["result"]["tools"]} == set(TOOLS)
    made = told(await client.ask(call("create_workload", name="web", spec=SPEC)))
    assert made["changes"][0]["action"] == "create"
    assert api.orchestrator.world.workloads
    assert (await api.client.ask("DELETE", "/mcp", **client.headers)).status == 204
    assert (await client.post(request("ping"))).status == 404
    assert (await api.client.ask("DELETE", "/mcp", **client.headers)).status == 404


async def test_the_server_says_nothing_without_being_asked(api: Api) -> None:
    answer = await api.client.ask("GET", "/mcp", accept="text/event-stream")
    assert answer.status == 405
    assert answer.headers["allow"] == "DELETE, OPTIONS, POST"


async def test_nobody_is_let_in_without_a_name(api: Api) -> None:
    for token in ("", "stranger"):
        answer = await HttpClient(api.as_(token)).post(request("initialize", START))
        assert answer.status == 401


async def test_a_session_is_its_principals_alone(api: Api) -> None:
    first, other = HttpClient(api.client), await with_role(api, "ann", "viewer")
    await first.begin()
    other.headers = first.headers
    assert (await other.post(request("ping"))).status == 404
    assert (await api.as_("ann").ask("DELETE", "/mcp", **first.headers)).status == 404
    assert (await first.ask(request("ping")))["result"] == {}


async def test_tools_act_as_who_asks(api: Api) -> None:
    admin, viewer = HttpClient(api.client), await with_role(api, "ann", "viewer")
    await admin.begin()
    await viewer.begin()
    told(await admin.ask(call("create_workload", name="web", spec=SPEC)))
    assert told(await viewer.ask(call("list_workloads")))["total"] == 1
    manifest = json.dumps({"workloads": {"web": SPEC}})
    for message in (
        call("delete_workload", name="web"),
        call("stop_workload", name="web"),
        call("scale_workload", name="web", replicas=0),
        call("create_workload", name="more", spec=SPEC),
        call("apply_workloads", manifest=manifest),
    ):
        assert refusal(await viewer.ask(message)).startswith("denied: ")
    assert told(await viewer.ask(call("plan_workloads", manifest=manifest)))
    metrics = await viewer.ask(request("resources/read", {"uri": "orchestrion://cluster/metrics"}))
    assert metrics["error"]["data"]["code"] == "denied"
    assert told(await admin.ask(call("get_workload", name="web")))["replicas"] == 1


async def test_a_role_in_one_namespace_reaches_no_other(api: Api) -> None:
    admin, editor = HttpClient(api.client), await with_role(api, "bob", "editor", "default")
    await admin.begin()
    await editor.begin()
    await api.client.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}})
    told(await admin.ask(call("create_workload", name="hidden", namespace="other", spec=SPEC)))
    told(await editor.ask(call("create_workload", name="own", spec=SPEC)))
    assert told(await editor.ask(call("list_workloads", namespace="default")))["total"] == 1
    for message in (
        call("list_workloads"),
        call("list_nodes"),
        call("get_cluster_status"),
        call("list_events"),
        call("get_workload", name="hidden", namespace="other"),
        call("get_logs", name="hidden", namespace="other"),
        call("apply_workloads", manifest=json.dumps({"namespace": "other", "workloads": {"x": SPEC}})),
        call(
            "apply_workloads",
            manifest=json.dumps({"kind": "Workload", "metadata": {"name": "x", "namespace": "other"}, "spec": SPEC}),
        ),
    ):
        assert refusal(await editor.ask(message)).startswith("denied: "), message


async def test_what_nobody_may_see_is_not_told_by_a_manifest_either(api: Api) -> None:
    admin, editor = HttpClient(api.client), await with_role(api, "bob", "editor", "default")
    await admin.begin()
    await editor.begin()
    await api.client.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}})
    told(await admin.ask(call("create_workload", name="hidden", namespace="other", spec=SPEC)))
    guess = {"namespace": "other", "workloads": {"x": SPEC | {"after": "hiden"}}}
    assert "'hidden'" not in refusal(await editor.ask(call("plan_workloads", manifest=json.dumps(guess))))


async def test_a_request_can_be_cancelled_by_another(api: Api) -> None:
    client = HttpClient(api.client)
    await client.begin()
    stuck = trio.Event()

    async def hang(*_args: Any, **_options: Any) -> None:
        stuck.set()
        await trio.sleep_forever()

    api.server.control = Stuck(hang)  # type: ignore[assignment] # as much of a Control as is asked
    client.client.app = api.server.app()
    client.headers = {}
    await client.begin()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.post, call("list_nodes", "slow"))
        await stuck.wait()
        await client.post(notification("notifications/cancelled", {"requestId": "slow"}))


class Stuck:
    """A Control that does not answer."""

    def __init__(self, hang: Any) -> None:
        self.list_nodes = hang


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://elsewhere.example"}, 403),
        ({"origin": "null"}, 403),
        ({"content_type": "text/plain"}, 415),
        ({"accept": "text/html"}, 406),
        ({"mcp_protocol_version": "1999-01-01"}, 400),
        ({"mcp_session_id": "guess"}, 404),
    ],
)
async def test_what_is_no_message_of_a_client_is_refused(api: Api, headers: dict[str, str], status: int) -> None:
    client = HttpClient(api.client)
    await client.begin()
    answer = await client.post(request("tools/list"), **headers)
    assert answer.status == status
    if status != 403:  # which the server says in its own way, whatever the path
        assert answer.json["error"]["code"] == -32600


async def test_a_page_of_the_server_itself_is_answered(api: Api) -> None:
    client = HttpClient(api.client)
    await client.begin()
    answer = await client.post(request("ping"), origin="http://test", mcp_protocol_version="2025-11-25")
    assert answer.status == 200


async def test_what_can_not_be_read_is_answered_by_its_number(api: Api) -> None:
    client = HttpClient(api.client)
    answer = await client.post(b"{")
    assert (answer.status, answer.json["error"]["code"], answer.json["id"]) == (400, -32700, None)
    assert (await client.post(request("tools/list"))).status == 400
    assert (await client.post(request("initialize", {}))).json["error"]["code"] == -32602
    huge = await client.post(b'"' + b"x" * (4 * 1024 * 1024) + b'"')
    assert huge.status == 413


def test_sessions_are_bounded_and_the_one_that_is_not_used_ends() -> None:
    numbers = iter(range(1000))
    sessions = Sessions(lambda: str(next(numbers)))
    made = [sessions.add("ann", Session()) for _ in range(MAX_SESSIONS_EACH)]
    assert sessions.get("ann", made[0]) is not None
    sessions.add("bob", Session())
    sessions.add("ann", Session())
    assert sessions.get("ann", made[0]) is not None
    assert sessions.get("ann", made[1]) is None


class Book:
    """Remembers what was put down."""

    failure: OrchestrationError | None = None

    def __init__(self) -> None:
        self.records: list[AuditRecord] = []

    async def write(self, record: AuditRecord, /) -> int:
        await trio.lowlevel.checkpoint()
        self.records.append(record)
        return len(self.records)


async def test_what_a_tool_changes_or_is_refused_goes_on_record(api: Api) -> None:
    book = Book()
    admin, viewer = HttpClient(api.client), await with_role(api, "ann", "viewer")
    await admin.begin()
    await viewer.begin()
    api.server.oversight.pipeline.recorder = book
    for message in (request("tools/list"), call("list_workloads"), call("get_cluster_status")):
        await admin.ask(message)
    assert book.records == []
    await admin.ask(call("create_workload", name="web", spec=SPEC, dry_run=True))
    await admin.ask(call("apply_workloads", manifest=json.dumps({"workloads": {"web": SPEC}})))
    await admin.ask(call("scale_workload", name="missing", replicas=1))
    await viewer.ask(call("delete_workload", name="web"))
    await viewer.ask(call("get_workload", name="web"))
    put = [(each.principal, each.verb, each.resource, each.name, each.outcome.value) for each in book.records]
    assert put == [
        ("user:admin", "create", "workloads", "", "done"),
        ("user:admin", "apply", "workloads", "web", "done"),
        ("user:admin", "scale", "workloads", "missing", "failed"),
        ("user:ann", "delete", "workloads", "web", "denied"),
    ]
    assert book.records[0].reason == "dry run"
    assert book.records[1].to_revision > book.records[1].from_revision == 0


async def test_what_can_not_go_on_record_is_not_done(api: Api) -> None:
    client, book = HttpClient(api.client), Book()
    await client.begin()
    book.failure = StateFailure("the disk is full")
    api.server.oversight.pipeline.recorder = book
    assert "disk is full" in refusal(await client.ask(call("create_workload", name="web", spec=SPEC)))
    assert not api.orchestrator.world.workloads


async def test_a_quota_holds_for_tools_too(api: Api) -> None:
    client = HttpClient(api.client)
    await client.begin()
    quota = {"metadata": {"name": "few"}, "spec": {"hard": {"workloads": 1}}}
    assert (await api.client.ask("POST", "/api/v1/namespaces/default/resourcequotas", quota)).status == 201
    told(await client.ask(call("create_workload", name="one", spec=SPEC)))
    assert refusal(await client.ask(call("create_workload", name="two", spec=SPEC))).startswith("quota-exceeded: ")
    assert told(await client.ask(call("list_workloads")))["total"] == 1


class OneAtATime(Limits):
    """Has one seat in a lane, and no room to wait for it."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        size = LaneSize(each=1, all=1, queue=0)
        super().__init__({**DEFAULT_LANES, lane: LaneLimits(Rate(1_000, 1_000), size)})

    def taken(self) -> AbstractAsyncContextManager[None]:
        """Take the seat."""
        return self.admitted(Principal("busy"), "", self.lane)


@pytest.mark.parametrize(
    ("message", "lane"),
    [
        (call("list_workloads"), Lane.READ),
        (call("plan_workloads", manifest=json.dumps({"workloads": {"web": SPEC}})), Lane.READ),
        (call("create_workload", name="web", spec=SPEC), Lane.WRITE),
        (call("delete_workload", name="web"), Lane.WRITE),
        (call("no_such_tool"), Lane.READ),
        (request("tools/list"), Lane.READ),
    ],
)
async def test_a_request_is_counted_in_the_lane_of_what_it_does(api: Api, message: Any, lane: Lane) -> None:
    client = HttpClient(api.client)
    await client.begin()
    limits = api.server.oversight.pipeline.limits = OneAtATime(lane)
    async with limits.taken():
        # The other lanes are free: only who is in this one waits, and is turned away.
        assert (await client.post(message)).status == 429
    assert (await client.post(message)).status == 200


async def test_of_two_who_create_the_same_workload_at_once_one_is_told_that_it_is_there(api: Api) -> None:
    client, answers = HttpClient(api.client), list[Any]()
    await client.begin()

    async def create(number: int) -> None:
        spec = {"containers": [{"name": "main", "command": ["run", str(number)]}]}
        answers.append(await client.ask(call("create_workload", number, name="web", spec=spec)))

    async with trio.open_nursery() as nursery:
        for number in (1, 2, 3):
            nursery.start_soon(create, number)
    refused = [answer for answer in answers if answer["result"]["isError"]]
    assert len(refused) == 2
    assert all("conflict: there is a workload 'web'" in refusal(answer) for answer in refused)
    (made,) = api.orchestrator.world.workloads.values()
    assert made.spec is not None
    assert made.spec.definition.metadata.generation == 1
