"""The protocol itself, whatever carries it: life cycle, errors, tools, resources, prompts, bounds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.control_plane._mcp.desk import Desk
from orchestrion.control_plane._mcp.messages import RpcError, decode, read_call
from orchestrion.control_plane._mcp.session import MAX_AT_ONCE, VERSIONS, Session
from orchestrion.control_plane._mcp.tool import MAX_TEXT_CHARS
from orchestrion.control_plane._mcp.tools import TOOLS
from orchestrion.control_plane._objects.schema_check import read_schema
from orchestrion.orchestrator_core import LogQuery, LogRecord
from orchestrion.runtime_interface import LogStream
from orchestrion.shared_types import Unavailable

from .api_stage import Api
from .mcp_stage import START, call, notification, refusal, request, told


async def begun(api: Api, version: str = "2025-11-25") -> tuple[Session, Desk]:
    session, desk = Session(), Desk(api.orchestrator)
    await session.answer(request("initialize", START | {"protocolVersion": version}), desk)
    return session, desk


class Hanging:
    """A Control that does not answer about nodes, and fails about events."""

    def __init__(self) -> None:
        self.asked = trio.Event()

    async def list_nodes(self) -> Any:
        self.asked.set()
        await trio.sleep_forever()

    async def events(self, **_given: Any) -> Any:
        raise ZeroDivisionError

    async def list_workloads(self, **_given: Any) -> Any:
        raise Unavailable("not now", remedy="later")


async def hanging() -> tuple[Session, Any, Hanging]:
    session, control = Session(), Hanging()
    desk: Any = Desk(control)  # type: ignore[arg-type] # as much of a Control as is asked
    await session.answer(request("initialize", START), desk)
    return session, desk, control


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_version_that_is_spoken_is_agreed_upon(api: Api, version: str) -> None:
    session = Session()
    answer = await session.answer(request("initialize", START | {"protocolVersion": version}), Desk(api.orchestrator))
    assert answer["result"]["protocolVersion"] == version
    assert answer["result"]["capabilities"] == {"tools": {}, "resources": {}, "prompts": {}}
    assert answer["result"]["serverInfo"]["name"] == "orchestrion"


async def test_the_newest_version_is_offered_instead_of_an_unknown_one(api: Api) -> None:
    session = Session()
    answer = await session.answer(request("initialize", START | {"protocolVersion": "1999"}), Desk(api.orchestrator))
    assert answer["result"]["protocolVersion"] == VERSIONS[0]


async def test_nothing_but_a_ping_is_answered_before_initialize(api: Api) -> None:
    session, desk = Session(), Desk(api.orchestrator)
    assert (await session.answer(request("ping"), desk))["result"] == {}
    assert (await session.answer(request("tools/list"), desk))["error"]["code"] == -32600
    await session.answer(request("initialize", START), desk)
    assert (await session.answer(request("initialize", START), desk))["error"]["code"] == -32600
    assert "tools" in (await session.answer(request("tools/list"), desk))["result"]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (5, -32600),
        ({}, -32600),
        ({"jsonrpc": "1.0", "id": 1, "method": "ping"}, -32600),
        ({"jsonrpc": "2.0", "id": 1}, -32600),
        ({"jsonrpc": "2.0", "id": 1, "method": 7}, -32600),
        ({"jsonrpc": "2.0", "id": None, "method": "ping"}, -32600),
        ({"jsonrpc": "2.0", "id": True, "method": "ping"}, -32600),
        ({"jsonrpc": "2.0", "id": [1], "method": "ping"}, -32600),
        ({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": [1]}, -32602),
        (request("workloads/list"), -32601),
        (request("tools/call"), -32602),
        (request("tools/call", {"name": "rm"}), -32602),
        (request("tools/call", {"name": "list_nodes", "arguments": [1]}), -32602),
        (request("resources/read", {}), -32602),
        (request("resources/read", {"uri": "orchestrion://secrets"}), -32002),
        (request("resources/read", {"uri": "orchestrion://workloads/default/nothing"}), -32002),
        (request("prompts/get", {"name": "nothing"}), -32602),
        (request("prompts/get", {"name": "diagnose_workload"}), -32602),
        (request("prompts/get", {"name": "diagnose_workload", "arguments": {"name": 1}}), -32602),
        (request("prompts/get", {"name": "review_cluster", "arguments": {"x": "1"}}), -32602),
        ([], -32600),
        ([request("ping")], -32600),
    ],
)
async def test_what_is_wrong_is_told_by_its_number(api: Api, message: Any, code: int) -> None:
    session, desk = await begun(api)
    answer = await session.answer(message, desk)
    assert answer["error"]["code"] == code
    assert answer["error"]["message"]
    assert answer["jsonrpc"] == "2.0"


@pytest.mark.parametrize("data", [b"", b"{", b"nul", b'{"a": NaN}', b'"\\ud800"', b"\xff", b"[" * 100_000, b"1" * 5000])
def test_what_is_no_json_is_a_parse_error(data: bytes) -> None:
    with pytest.raises(RpcError) as caught:
        decode(data)
    assert caught.value.code == -32700


scalars: st.SearchStrategy[Any] = st.sampled_from([None, True, 1, 1.5, "", "ping", [], {}])
anything = scalars | st.fixed_dictionaries(
    {}, optional={"jsonrpc": st.just("2.0") | scalars, **dict.fromkeys(("id", "method", "params", "result"), scalars)}
)


@pytest.mark.slow
@given(anything)
def test_any_value_is_read_or_refused_by_its_number(value: Any) -> None:
    code = 0
    try:
        read_call(value)
    except RpcError as err:
        code = err.code
    assert code in (0, -32600, -32602)


async def test_answers_and_unknown_notifications_get_no_answer(api: Api) -> None:
    session, desk = await begun(api)
    for message in ({"jsonrpc": "2.0", "id": 1, "result": {}}, notification("notifications/something")):
        assert await session.answer(message, desk) is None


async def test_one_version_has_several_messages_in_one(api: Api) -> None:
    session, desk = await begun(api, "2025-03-26")
    answers = await session.answer([request("ping", None, "a"), notification("x"), request("ping", None, "b")], desk)
    assert [answer["id"] for answer in answers] == ["a", "b"]
    assert await session.answer([notification("x")], desk) is None


async def test_a_request_that_is_cancelled_has_no_answer() -> None:
    session, desk, control = await hanging()
    async with trio.open_nursery() as nursery:
        answers = list[Any]()

        async def ask() -> None:
            answers.append(await session.answer(call("list_nodes", 7), desk))

        nursery.start_soon(ask)
        await control.asked.wait()
        for stranger in (8, "7", True, None, [7]):
            await session.answer(notification("notifications/cancelled", {"requestId": stranger}), desk)
        assert not session.idle
        await session.answer(notification("notifications/cancelled", {"requestId": 7}), desk)
    assert answers == [None]
    assert session.idle


async def test_an_id_that_is_in_use_is_refused_and_so_is_too_much_at_once() -> None:
    session, desk, _ = await hanging()
    async with trio.open_nursery() as nursery:
        for number in range(MAX_AT_ONCE):
            nursery.start_soon(session.answer, call("list_nodes", number), desk)
        await trio.testing.wait_all_tasks_blocked()
        assert (await session.answer(call("list_nodes", 3), desk))["error"]["code"] == -32600
        assert (await session.answer(request("ping", None, "x"), desk))["error"]["code"] == -32000
        session.cancel_all()
    assert (await session.answer(request("ping"), desk))["result"] == {}


async def test_a_tool_that_is_not_answered_is_given_up(autojump_clock: Any) -> None:
    session, desk, _ = await hanging()
    assert "has not been answered" in refusal(await session.answer(call("list_nodes"), desk))
    assert trio.current_time() == 60


async def test_failures_of_a_tool_are_told_to_the_model(caplog: Any) -> None:
    session, desk, _ = await hanging()
    assert refusal(await session.answer(call("list_workloads"), desk)) == "unavailable: not now\nlater"
    assert refusal(await session.answer(call("list_events"), desk)).startswith("internal: the tool list_events")
    assert "ZeroDivisionError" in caplog.text


async def test_failures_of_a_resource_are_errors_of_the_protocol() -> None:
    session, desk, _ = await hanging()
    answer = await session.answer(request("resources/read", {"uri": "orchestrion://workloads"}), desk)
    assert answer["error"]["code"] == -32000
    assert answer["error"]["data"] == {"code": "unavailable", "remedy": "later"}


@pytest.mark.parametrize("tool", TOOLS.values(), ids=list(TOOLS))
def test_a_tool_says_what_it_takes_and_what_it_does(tool: Any) -> None:
    declared = tool.declared()
    read_schema(declared["inputSchema"])
    assert all("description" in each for each in declared["inputSchema"]["properties"].values())
    hints = declared["annotations"]
    assert hints["readOnlyHint"] is not tool.changes
    assert not (hints["readOnlyHint"] and hints["destructiveHint"])
    assert hints["destructiveHint"] == (tool.name in DESTRUCTIVE)


DESTRUCTIVE = {"apply_workloads", "scale_workload", "stop_workload", "delete_workload"}


async def test_arguments_that_do_not_fit_are_told_to_the_model_or_to_its_client(api: Api) -> None:
    session, desk = await begun(api)
    text = refusal(await session.answer(call("get_workload", namespace=1, nam="x"), desk))
    assert "arguments.namespace" in text
    assert "name" in text
    session, desk = await begun(api, "2025-06-18")
    assert (await session.answer(call("get_workload"), desk))["error"]["code"] == -32602


SPEC = {"kind": "service", "replicas": 2, "containers": [{"name": "main", "command": ["run"]}]}


async def test_a_workload_lives_by_tools_alone(api: Api) -> None:
    session, desk = await begun(api)

    async def do(tool: str, **arguments: Any) -> Any:
        return told(await session.answer(call(tool, **arguments), desk))

    assert (await do("create_workload", name="web", spec=SPEC, dry_run=True))["revision"] == 0
    assert (await do("list_workloads"))["workloads"] == []
    made = await do("create_workload", name="web", spec=SPEC)
    assert made["changes"][0]["action"] == "create"
    again = await session.answer(call("create_workload", name="web", spec=SPEC), desk)
    assert refusal(again).startswith("conflict: ")
    await trio.sleep(5)
    (row,) = (await do("list_workloads", phase="Healthy"))["workloads"]
    assert (row["name"], row["running"]) == ("web", 2)
    assert (await do("list_workloads", phase="Failed"))["total"] == 0
    seen = await do("get_workload", name="web")
    assert seen["spec"] == {"replicas": 2, "containers": [{"name": "main", "command": ["run"]}]}
    assert [each["state"] for each in seen["instances"]] == ["Running", "Running"]
    assert (await do("scale_workload", name="web", replicas=1))["replicas"] == 1
    assert (await do("scale_workload", name="web", replicas=None))["replicas"] == 2
    placed = await do("explain_workload", name="web")
    assert placed["phase"]
    assert all(slot["why"] for slot in placed["slots"])
    manifest = "workloads: {web: {replicas: 3, containers: [{name: main, command: [run]}]}}"
    planned = await do("plan_workloads", manifest=manifest)
    assert planned["changes"][0]["differences"][0]["path"] == "replicas"
    assert (await do("apply_workloads", manifest=manifest))["revision"] > 0
    await trio.sleep(5)
    assert (await do("list_instances", workload="web", state="Running"))["total"] == 3
    events = await do("list_events", subject="workload/web", limit=2)
    assert len(events["events"]) == 2
    assert events["events"][0]["at"] <= events["events"][1]["at"]
    assert (await do("list_events", warnings=True))["total"] == 0
    assert (await do("stop_workload", name="web"))["name"] == "web"
    await do("delete_workload", name="web")
    await trio.sleep(60)
    assert (await do("list_workloads"))["total"] == 0
    missing = refusal(await session.answer(call("get_workload", name="web"), desk))
    assert missing.startswith("workload-not-found: ")


async def test_nodes_are_found_by_what_they_are_like(api: Api) -> None:
    session, desk = await begun(api)

    async def do(tool: str, **arguments: Any) -> Any:
        return told(await session.answer(call(tool, **arguments), desk))

    everything = await do("list_nodes")
    assert everything["total"] == 2
    assert (await do("list_nodes", limit=1))["truncated"] is True
    assert (await do("list_nodes", status="Down"))["total"] == 0
    assert (await do("list_nodes", labels={"no": "such"}))["total"] == 0
    assert (await do("list_nodes", cordoned=False))["total"] == 2
    first = everything["nodes"][0]
    assert (await do("get_node", node=first["name"]))["id"] == first["id"]
    status = await do("get_cluster_status")
    assert status["nodes"]["by_status"] == {"Ready": 2}
    assert refusal(await session.answer(call("get_node", node="none"), desk)).startswith("node-not-found")


async def test_a_manifest_that_can_not_be_is_refused_with_its_places(api: Api) -> None:
    session, desk = await begun(api)
    text = refusal(await session.answer(call("apply_workloads", manifest="workloads: {web: {replicas: -1}}"), desk))
    assert "workloads.web.replicas" in text
    assert refusal(await session.answer(call("apply_workloads", manifest="workloads: {}"), desk))


MIXED = """
kind: Workload
api_version: orchestrion/v1
metadata: {name: load, labels: {team: shop}}
spec: {kind: batch, containers: [{name: main, command: [run]}]}
---
workloads:
  web: {after: {load: succeeded}, containers: [{name: main, command: [run]}]}
---
items:
  - kind: Workload
    metadata: {name: last, annotations: {note: a}}
    spec: {after: [web], containers: [{name: main, command: [run]}]}
  - workloads: {side: {containers: [{name: main, command: [run]}]}}
"""


async def test_workloads_come_as_objects_too_and_after_each_other(api: Api) -> None:
    session, desk = await begun(api)
    names = ["load", "web", "last", "side"]
    planned = told(await session.answer(call("plan_workloads", manifest=MIXED), desk))
    assert [(each["name"], each["action"]) for each in planned["changes"]] == [(name, "create") for name in names]
    assert told(await session.answer(call("list_workloads"), desk))["total"] == 0
    told(await session.answer(call("apply_workloads", manifest=MIXED), desk))
    views = {view.definition.metadata.name: view.definition for view in await api.management.control.list_workloads()}
    assert sorted(views) == sorted(names)
    assert views["load"].metadata.labels == {"team": "shop"}
    assert views["last"].metadata.annotations == {"note": "a"}
    assert [each.workload for each in views["web"].after] == ["load"]
    again = told(await session.answer(call("apply_workloads", manifest=MIXED), desk))
    assert {each["action"] for each in again["changes"]} == {"unchanged"}


MAIN = "containers: [{name: main, command: [run]}]"


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ("kind: ConfigMap\nmetadata: {name: a}\n", "kind: 'ConfigMap' is no Workload"),
        (f"kind: Workload\nmetadata: {{name: a, revision: 7}}\nspec: {{{MAIN}}}\n", "metadata.revision: it would not"),
        ("kind: Workload\nmetadata: {name: a}\nspec: {replicas: -1}\n", "spec.replicas"),
        (
            f"workloads: {{a: {{{MAIN}}}}}\n---\nkind: Workload\nmetadata: {{name: a}}\nspec: {{{MAIN}}}\n",
            "[1]: workload",
        ),
        (f"kind: Workload\nmetadata: {{name: a}}\nspec: {{after: [b], {MAIN}}}\n", "'b'"),
        ("items: [7]\n", "items[0]: a manifest or a Workload is wanted"),
        ("kind: Workload\nspec: {}\n", "name"),
    ],
)
async def test_an_object_that_can_not_be_is_refused_with_its_place(api: Api, manifest: str, said: str) -> None:
    session, desk = await begun(api)
    for tool in ("plan_workloads", "apply_workloads"):
        text = refusal(await session.answer(call(tool, manifest=manifest), desk))
        assert text.startswith("config-invalid: ")
        assert said in text
    assert await api.management.control.list_workloads() == []


async def test_resources_are_read_by_their_addresses(api: Api) -> None:
    session, desk = await begun(api)
    await session.answer(call("create_workload", name="web", spec=SPEC), desk)
    listed = (await session.answer(request("resources/list"), desk))["result"]["resources"]
    uris = [each["uri"] for each in listed]
    assert uris == [f"orchestrion://{each}" for each in ("nodes", "workloads", "cluster/status", "cluster/metrics")]
    templates = (await session.answer(request("resources/templates/list"), desk))["result"]["resourceTemplates"]
    assert [each["uriTemplate"] for each in templates] == [
        "orchestrion://nodes/{node}",
        "orchestrion://workloads/{namespace}/{name}",
    ]
    for uri in (*uris, "orchestrion://workloads/default/web"):
        (content,) = (await session.answer(request("resources/read", {"uri": uri}), desk))["result"]["contents"]
        assert content["uri"] == uri
        assert isinstance(decode(content["text"].encode()), dict)
    numbers = decode(content_of(await session.answer(request("resources/read", {"uri": uris[3]}), desk)))
    assert numbers["nodes_ready"] == 2
    assert numbers["workload_replicas_desired"] == 2


def content_of(answer: Any) -> bytes:
    return str(answer["result"]["contents"][0]["text"]).encode()


async def test_prompts_are_filled_in(api: Api) -> None:
    session, desk = await begun(api)
    prompts = (await session.answer(request("prompts/list"), desk))["result"]["prompts"]
    assert [each["name"] for each in prompts] == ["diagnose_workload", "deploy_workload", "review_cluster"]
    asked = request("prompts/get", {"name": "diagnose_workload", "arguments": {"name": "we{b}"}})
    (message,) = (await session.answer(asked, desk))["result"]["messages"]
    assert "'we{b}' in namespace 'default'" in message["content"]["text"]


class Talkative:
    """A Control with many nodes' worth of output."""

    def __init__(self, records: list[LogRecord]) -> None:
        self.records = records
        self.queries: list[LogQuery] = []

    @asynccontextmanager
    async def logs(self, query: LogQuery) -> AsyncIterator[AsyncIterator[LogRecord]]:
        self.queries.append(query)

        async def each() -> AsyncIterator[LogRecord]:
            for record in self.records:
                yield record

        yield each()


def record(data: bytes, offset: int = 0, stream: LogStream = LogStream.STDOUT, **more: Any) -> LogRecord:
    return LogRecord(instance="web.0.1", container="main", attempt=0, stream=stream, offset=offset, data=data, **more)


async def read_logs(records: list[LogRecord], **arguments: Any) -> str:
    session, desk = Session(), Desk(Talkative(records))  # type: ignore[arg-type] # as much of a Control as is asked
    await session.answer(request("initialize", START), desk)
    result = (await session.answer(call("get_logs", name="web", **arguments), desk))["result"]
    assert not result["isError"]
    return str(result["content"][0]["text"])


async def test_what_was_replaced_or_restarted_is_read_where_that_is_asked_for() -> None:
    control = Talkative([])
    session, desk = Session(), Desk(control)  # type: ignore[arg-type] # as much of a Control as is asked
    await session.answer(request("initialize", START), desk)
    for more in ({}, {"replaced": True}, {"previous": True}):
        assert not (await session.answer(call("get_logs", name="web", **more), desk))["result"]["isError"]
    wanted = [(False, False), (True, False), (False, True)]
    assert [(query.replaced, query.previous) for query in control.queries] == wanted


async def test_the_last_lines_of_output_are_put_together() -> None:
    records = [
        record(b"one\ntw", gap_bytes=5),
        record(b"oops\n", stream=LogStream.STDERR),
        record(b"o\nthree", 6),
    ]
    assert (await read_logs(records)).split("\n") == [
        "web.0.1/main | (5 bytes are no longer kept)",
        "web.0.1/main | one",
        "web.0.1/main stderr | oops",
        "web.0.1/main | two",
        "web.0.1/main | three",
    ]
    assert await read_logs(records, lines=1) == "web.0.1/main | three"
    assert await read_logs([]) == "(nothing was written)"


async def test_output_is_bounded_however_much_was_written() -> None:
    text = await read_logs([record(b"x" * 100_000 + b"\n") for _ in range(100)], lines=100)
    assert len(text) < MAX_TEXT_CHARS + 200
    assert "do not fit" in text
