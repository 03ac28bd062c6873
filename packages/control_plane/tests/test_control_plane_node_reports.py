"""What nodes report of themselves: conditions, how long they are believed, and what comes of them."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from orchestrion.control_plane._identity.principals import NODES, Principal, PrincipalKind
from orchestrion.control_plane._service.intent import Intent
from orchestrion.mocks import MemoryState, MemoryStore, MockClusterManager
from orchestrion.orchestrator_core import report_key
from orchestrion.shared_types import InstanceState, NodeCondition, NodeId, Unavailable
from trio.testing import MockClock

from .api_stage import Answer, Api, Records, api_served
from .test_control_plane_node_marks import FIRST, JSON_PATCH, KEPT, SECOND, placed, tell

STATUS = f"{FIRST}/status"
SKEWED = {"type": "ClockSkew", "status": "true", "reason": "TooFar", "message": "4 s ahead"}
FINE = {"type": "ClockSkew", "status": "false"}
FAULT = {"type": "A", "status": "true"}
HERE = {"node": "node-00000"}
BROKEN = {"key": "gpu", "value": "broken", "effect": "NoExecute"}


@pytest.fixture(name="api")
async def _(api: Api) -> Api:
    """Give a server that knows its nodes."""
    await trio.sleep(1)
    return api


async def report(api: Api, *conditions: Any, seconds: float | None = None, token: str = "admin") -> Answer:
    """Report conditions of the first node, and for how long they are to be believed."""
    said: dict[str, Any] = {"conditions": list(conditions)}
    if seconds is not None:
        said["heartbeat"] = {"seconds": seconds}
    return await api.as_(token).ask("PUT", STATUS, {"status": {"report": said}})


async def running(api: Api) -> set[str]:
    """Return the nodes where something runs."""
    instances = (await api.client.ask("GET", "/api/v1/namespaces/default/instances")).json["items"]
    return {each["spec"]["node_id"] for each in instances if each["status"]["state"] == InstanceState.RUNNING}


async def conditions_of(api: Api, path: str = FIRST) -> dict[str, Any]:
    """Return what is shown of a node's conditions, by type."""
    shown = (await api.client.ask("GET", path)).json["status"]["conditions"]
    return {each["type"]: each for each in shown}


async def test_what_a_node_reports_is_shown_beside_what_the_cluster_manager_tells(api: Api) -> None:
    await tell(api, "node-00000", conditions=(NodeCondition(type="DiskPressure", active=False),))
    answer = await report(api, SKEWED, seconds=30)
    assert answer.status == 200, answer.json
    shown = answer.json["status"]
    assert [each["type"] for each in shown["conditions"]] == ["DiskPressure", "ClockSkew"]
    found = (await conditions_of(api))["ClockSkew"]
    assert (found["active"], found["reason"]) == (True, "TooFar: 4 s ahead")
    assert found["since"] == shown["report"]["conditions"][0]["since"]
    assert shown["report"]["heartbeat"] == {"seconds": 30}
    listed = {node.id: node for node in await api.orchestrator.list_nodes()}
    assert [each.type for each in listed[NodeId("node-00000")].conditions] == ["DiskPressure", "ClockSkew"]
    assert "report" not in (await api.client.ask("GET", SECOND)).json["status"]


async def test_a_heartbeat_that_says_nothing_new_writes_nothing_and_keeps_what_was_said(api: Api) -> None:
    first = await report(api, SKEWED, seconds=30)
    await trio.sleep(1)
    revision = (await api.orchestrator.store.get("/")).revision
    for _ in range(4):
        await trio.sleep(20)
        again = await report(api, SKEWED, seconds=30)
        assert (again.status, again.json) == (200, first.json)
    patched = await api.client.ask("PATCH", STATUS, {"status": {"report": {"heartbeat": {"seconds": 30}}}})
    assert patched.json == first.json
    assert (await api.orchestrator.store.get("/")).revision == revision


async def test_what_is_not_kept_up_becomes_unknown_and_is_believed_again_with_the_next_heartbeat(api: Api) -> None:
    await report(api, SKEWED, FINE | {"type": "Smart"}, seconds=30)
    await trio.sleep(29)
    assert (await conditions_of(api))["ClockSkew"]["active"] is True
    await trio.sleep(2)
    silent = (await api.client.ask("GET", FIRST)).json["status"]
    assert [(each["active"], each["unknown"]) for each in silent["conditions"]] == [(False, True)] * 2
    moment = silent["report"]["silent_since"]
    assert {each["since"] for each in silent["conditions"]} == {moment}
    seconds = moment.partition(".")[0].removesuffix("Z").removesuffix("+00:00")
    assert silent["conditions"][0]["reason"] == f"not heard of since {seconds}Z; it was true then"
    told = [each for each in await api.orchestrator.events() if each.reason == "ReportOutOfDate"]
    assert [each.subject for each in told] == ["node/node-00000"]
    revision = (await api.orchestrator.store.get("/")).revision
    await trio.sleep(100)
    assert (await api.orchestrator.store.get("/")).revision == revision, "it is written once that it is silent"
    back = (await report(api, SKEWED, FINE | {"type": "Smart"}, seconds=30)).json["status"]
    assert [each["active"] for each in back["conditions"]] == [True, False]
    assert "silent_since" not in back["report"]


async def test_who_gives_no_heartbeat_is_believed_until_they_say_something_else(api: Api) -> None:
    await report(api, SKEWED)
    await trio.sleep(300)
    assert (await conditions_of(api))["ClockSkew"]["active"] is True
    assert (await report(api)).json["status"] == {"status": "Ready", "conditions": []}
    assert (await api.orchestrator.store.get(report_key(NodeId("node-00000")))).entry is None


async def test_a_shorter_heartbeat_is_waited_for_from_the_moment_it_is_given(api: Api) -> None:
    await report(api, SKEWED, seconds=3600)
    await trio.sleep(10)
    await report(api, SKEWED, seconds=5)
    await trio.sleep(6)
    assert (await conditions_of(api))["ClockSkew"]["unknown"] is True


async def test_who_begins_to_serve_gives_the_full_length_again(autojump_clock: MockClock) -> None:
    state = MemoryState()
    async with api_served(state) as api:
        await trio.sleep(1)
        await report(api, SKEWED, seconds=60)
        await trio.sleep(50)
    async with api_served(state) as api:
        await trio.sleep(50)
        assert (await conditions_of(api))["ClockSkew"]["active"] is True
        await trio.sleep(20)
        assert (await conditions_of(api))["ClockSkew"]["unknown"] is True
    async with api_served(state) as api:
        assert (await conditions_of(api))["ClockSkew"]["unknown"] is True


async def test_since_is_when_the_status_of_a_condition_changed_last(api: Api) -> None:
    begun = (await report(api, FINE)).json["status"]["conditions"][0]["since"]
    await trio.sleep(100)
    reworded = (await report(api, FINE | {"message": "in order"})).json["status"]["conditions"][0]
    assert (reworded["reason"], reworded["since"]) == ("in order", begun)
    assert (await report(api, SKEWED)).json["status"]["conditions"][0]["since"] > begun
    given = "2026-01-02T03:04:05Z"
    shown = (await report(api, SKEWED | {"since": given})).json["status"]["report"]["conditions"][0]
    assert shown["since"].startswith("2026-01-02T03:04:05")


async def test_a_condition_that_holds_keeps_new_work_off_until_it_does_not(api: Api) -> None:
    await report(api, SKEWED)
    assert await placed(api, "web", select=HERE) == set()
    await report(api, FINE)
    await trio.sleep(30)
    assert await running(api) == {"node-00000"}


async def test_a_taint_of_a_condition_ends_what_does_not_tolerate_it_while_the_condition_holds(api: Api) -> None:
    assert await placed(api, "web", select=HERE) == {"node-00000"}
    shown = (await report(api, SKEWED | {"taint": BROKEN}, seconds=60)).json
    assert shown["spec"]["taints"] == [BROKEN]
    await trio.sleep(40)
    assert await running(api) == set()
    labelled = await api.client.ask("PATCH", FIRST, {"metadata": {"labels": {"disk": "fast"}}})
    assert labelled.json["spec"]["taints"] == [BROKEN]
    await trio.sleep(60)
    shown = (await api.client.ask("GET", FIRST)).json
    assert "taints" not in shown["spec"], "neither is it kept as if people had said so"
    assert shown["metadata"]["labels"]["disk"] == "fast"


@pytest.mark.parametrize("then", [[FINE], []])
async def test_a_taint_that_was_reported_when_it_was_read_becomes_nobodys_own(then: list[Any], api: Api) -> None:
    read = (await report(api, SKEWED | {"taint": BROKEN}, seconds=3600)).json
    await report(api, *then)
    patch = {"metadata": {"labels": {"disk": "fast"}}, "spec": {"taints": read["spec"]["taints"]}}
    refused = await api.client.ask("PATCH", FIRST, patch)
    assert (refused.status, "metadata.revision" in refused.json["detail"]) == (400, True), refused.json
    assert (await api.client.ask("PATCH", FIRST, patch, if_match=f'"{read["metadata"]["revision"]}"')).status == 412
    stale = {"metadata": {"revision": read["metadata"]["revision"]}, "spec": patch["spec"]}
    assert (await api.client.ask("PATCH", FIRST, stale)).status == 412
    shown = (await api.client.ask("GET", FIRST)).json
    assert "taints" not in shown["spec"]
    tests = [
        {"op": "test", "path": "/metadata/revision", "value": shown["metadata"]["revision"]},
        {"op": "add", "path": "/spec/taints", "value": [KEPT]},
    ]
    assert (await api.client.ask("PATCH", FIRST, tests, content_type=JSON_PATCH)).status == 200
    fresh = {"metadata": {"revision": (await api.client.ask("GET", FIRST)).json["metadata"]["revision"]}}
    both = fresh | {"spec": {"taints": [KEPT, KEPT | {"key": "own"}]}}
    assert (await api.client.ask("PATCH", FIRST, both)).status == 200
    assert (await api.client.ask("PATCH", FIRST, {"spec": {"taints": [KEPT]}})).status == 200, "one goes"
    assert (await api.client.ask("PATCH", SECOND, {"spec": {"taints": [KEPT]}})).status == 200, "it does not report"


async def test_a_taint_of_the_servers_own_does_not_become_that_of_who_labels_the_node(api: Api) -> None:
    api.orchestrator.cluster_loop.suspects._suspect.add(NodeId("node-00000"))
    await tell(api, "node-00000", address="127.0.0.9")
    shown = (await api.client.ask("GET", FIRST)).json["spec"]["taints"]
    assert [taint["key"] for taint in shown] == ["orchestrion/failed-starts"]
    patch = {"metadata": {"labels": {"disk": "fast"}}, "spec": {"taints": [*shown, KEPT]}}
    assert (await api.client.ask("PATCH", FIRST, patch)).status == 200
    marks = api.orchestrator.world.marks[NodeId("node-00000")]
    assert [taint.key for taint in marks.taints] == ["team"]


async def test_a_dry_run_and_a_precondition_that_does_not_hold_change_nothing(api: Api) -> None:
    before = (await api.client.ask("GET", FIRST)).json
    said = {"status": {"report": {"conditions": [SKEWED]}}}
    tried = await api.client.ask("PUT", f"{STATUS}?dry_run=true", said)
    assert (tried.status, tried.json["status"]["conditions"][0]["active"]) == (200, True)
    assert (await api.client.ask("PUT", STATUS, said, if_match='"1"')).status == 412
    assert (await api.client.ask("GET", FIRST)).json == before


@pytest.mark.parametrize(
    ("said", "where"),
    [
        ({"conditions": [{"type": "Q\x1b[31mRED", "status": "true"}]}, "status.report.conditions[0].type"),
        ({"conditions": [{"type": "A", "status": "true", "reason": "a\x07"}]}, "status.report.conditions[0].reason"),
        ({"conditions": [{"type": "A", "status": "true", "message": "a\nb"}]}, "status.report.conditions[0].message"),
        ({"conditions": [{"type": "A"}]}, "status.report.conditions[0]"),
        ({"conditions": [{"type": "", "status": "true"}]}, "status.report.conditions[0]"),
        ({"conditions": [{"type": "A", "status": "perhaps"}]}, "status.report.conditions[0].status"),
        ({"conditions": [{"type": "A", "status": "true"}] * 2}, "status.report.conditions[1]"),
        ({"conditions": [{"type": f"A{n}", "status": "true"} for n in range(65)]}, "status.report"),
        ({"conditions": [{"type": "A", "status": "true", "taint": {"key": ""}}]}, "conditions[0].taint.key"),
        ({"conditions": [FAULT | {"taint": {"key": "a\x1b[31m"}}]}, "conditions[0].taint.key"),
        ({"conditions": [FAULT | {"taint": {"key": "k" * 64}}]}, "conditions[0].taint.key"),
        ({"conditions": [FAULT | {"taint": {"key": "a", "value": "\x1b]0;hi\x07"}}]}, "conditions[0].taint.value"),
        ({"conditions": [FAULT | {"taint": {"key": "a", "value": "v" * 64}}]}, "conditions[0].taint.value"),
        ({"conditions": [{"type": "DiskPressure", "status": "true"}]}, "status.report.conditions[0].type"),
        ({"heartbeat": {"seconds": 0}}, "status.report.heartbeat"),
        ({"heartbeat": {"seconds": 86_401}}, "status.report.heartbeat"),
        ({"heartbeat": {}}, "status.report.heartbeat"),
        ({"since": "ever"}, "status.report"),
        ("fine", "status.report"),
    ],
)
async def test_what_is_no_report_is_told_where_it_is_wrong_and_changes_nothing(said: Any, where: str, api: Api) -> None:
    await tell(api, "node-00000", conditions=(NodeCondition(type="DiskPressure", active=False),))
    before = (await api.client.ask("GET", FIRST)).json
    refused = await api.client.ask("PUT", STATUS, {"status": {"report": said}})
    assert (refused.status, where in refused.json["detail"]) == (400, True), refused.json
    assert (await api.client.ask("GET", FIRST)).json == before


async def test_of_a_node_nothing_but_its_report_is_written_there(api: Api) -> None:
    data = (await api.client.ask("GET", FIRST)).json
    data["status"]["status"] = "Down"
    data["spec"]["cordoned"] = True
    answer = await api.client.ask("PUT", STATUS, data)
    assert answer.json == (await api.client.ask("GET", FIRST)).json
    assert answer.json["status"]["status"] == "Ready"
    assert "cordoned" not in answer.json["spec"]


async def test_a_node_reports_of_itself_alone(api: Api) -> None:
    api.keeper.principals["n0"] = Principal("node-00000", PrincipalKind.NODE, groups=[NODES])
    api.keeper.principals["n1"] = Principal("node-00001", PrincipalKind.NODE, groups=[NODES])
    api.keeper.principals["eve"] = Principal("eve")
    statuses = [(await report(api, SKEWED, token=name)).status for name in ("n0", "n1", "eve", "")]
    assert statuses == [200, 403, 403, 401]
    assert (await api.as_("n0").ask("PATCH", FIRST, {"metadata": {"labels": {"a": "b"}}})).status == 403


async def test_what_is_forgotten_with_its_node_is_not_there_when_it_comes_back(api: Api) -> None:
    await report(api, SKEWED, seconds=60)
    cluster = api.orchestrator.cluster
    assert isinstance(cluster, MockClusterManager)
    node = await cluster.get_node(NodeId("node-00000"))
    assert node is not None
    cluster.remove_node(node.id)
    await trio.sleep(1)
    assert (await report(api, SKEWED, seconds=60)).status == 404
    assert not api.orchestrator.world.reports
    cluster.add_node(node)
    await trio.sleep(1)
    assert await conditions_of(api) == {}


async def test_a_silence_that_ends_while_it_is_written_down_is_over(api: Api) -> None:
    await report(api, SKEWED, seconds=30)
    await trio.sleep(30)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(lambda: report(api, SKEWED, seconds=30))
    await trio.sleep(1)
    assert (await conditions_of(api))["ClockSkew"]["active"] is True


class CutOff(MemoryStore):
    """A store whose caller is cancelled as soon as something was written."""

    scope: trio.CancelScope | None = None

    async def transaction(self, *args: Any, **options: Any) -> Any:
        """Write, and cancel."""
        done = await super().transaction(*args, **options)
        if self.scope is not None:
            self.scope.cancel()
            await trio.lowlevel.checkpoint()
        return done


async def test_a_report_that_is_cancelled_once_it_is_written_is_not_believed_for_ever(
    autojump_clock: MockClock,
) -> None:
    store = CutOff(MemoryState())
    async with api_served(store=store) as api:
        await trio.sleep(1)
        said = {"status": {"report": {"conditions": [SKEWED], "heartbeat": {"seconds": 30}}}}
        with trio.CancelScope() as store.scope:
            await api.objects.reports.change("node-00000", lambda _: said, Intent())
        assert store.scope.cancelled_caught
        store.scope = None
        await trio.sleep(1)
        assert (await conditions_of(api))["ClockSkew"]["active"] is True
        await trio.sleep(30)
        assert (await conditions_of(api))["ClockSkew"]["unknown"] is True


class Away(MemoryStore):
    """A store that does not answer for what is reported, while it is away."""

    away = False

    async def get(self, key: str, *args: Any, **options: Any) -> Any:
        """Read, unless it is away."""
        if self.away and key == report_key(NodeId("node-00000")):
            raise Unavailable("the store is away")
        return await super().get(key, *args, **options)


async def test_a_silence_that_the_store_does_not_take_is_written_once_it_is_back(autojump_clock: MockClock) -> None:
    store = Away(MemoryState())
    async with api_served(store=store) as api:
        await trio.sleep(1)
        await report(api, SKEWED, seconds=5)
        store.away = True
        await trio.sleep(20)
        assert (await conditions_of(api))["ClockSkew"]["active"] is True
        store.away = False
        await trio.sleep(2)
        assert (await conditions_of(api))["ClockSkew"]["unknown"] is True


async def test_what_nodes_say_is_in_a_lane_of_its_own(api: Api) -> None:
    api.keeper.principals["n0"] = Principal("node-00000", PrincipalKind.NODE, groups=[NODES])
    policies = [(await report(api, FINE, token=name)).headers["ratelimit-policy"] for name in ("n0", "admin")]
    assert [each.partition(";")[0] for each in policies] == ['"node"', '"write"']


async def test_what_a_node_says_anew_goes_on_record_and_heartbeats_and_reads_do_not(api: Api) -> None:
    records = api.server.oversight.pipeline.recorder = Records()
    api.keeper.principals["n0"] = Principal("node-00000", PrincipalKind.NODE, groups=[NODES])
    for _ in range(5):
        await report(api, SKEWED, seconds=30, token="n0")
    await report(api, FINE, seconds=30, token="n0")
    await report(api, {}, seconds=30, token="n0")
    assert [(each.verb, each.resource, each.outcome.value) for each in records.kept] == [
        ("update", "nodes/status", "done"),
        ("update", "nodes/status", "done"),
        ("update", "nodes/status", "failed"),
    ]


async def test_names_of_no_nodes_and_nodes_at_rest_take_no_memory(api: Api) -> None:
    for number in range(20):
        assert (await api.client.ask("PUT", f"/api/v1/nodes/none-{number}/status", {"status": {}})).status == 404
    assert (await api.client.ask("PUT", STATUS, {"status": {"report": {"heartbeat": {"seconds": 5}}}})).status == 200
    assert not api.objects.reports._turns
