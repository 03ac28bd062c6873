"""Labels and taints that people give to nodes, and nodes that they remove."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from attrs import evolve
from orchestrion.control_plane._identity.principals import Principal
from orchestrion.mocks import MemoryState, MockClusterManager
from orchestrion.shared_types import Node, NodeId, NodeStatus, Taint
from trio.testing import MockClock

from .api_stage import Api, api_served

FIRST, SECOND = "/api/v1/nodes/node-00000", "/api/v1/nodes/node-00001"
JSON_PATCH = "application/json-patch+json"
KEPT = {"key": "team", "value": "red", "effect": "NoSchedule"}


async def tell(api: Api, name: str, **changes: Any) -> None:
    """Let the cluster manager tell something else of a node."""
    cluster = api.orchestrator.cluster
    assert isinstance(cluster, MockClusterManager)
    node = await cluster.get_node(NodeId(name))
    assert node is not None
    cluster.update_node(evolve(node, **changes))
    await trio.sleep(1)


async def placed(api: Api, name: str, replicas: int = 1, **placement: Any) -> set[str]:
    """Apply a workload, and return the nodes where it is after a while."""
    workload = {
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "containers": [{"name": "main", "command": ["run"]}], "placement": placement},
    }
    answer = await api.client.ask("POST", "/api/v1/namespaces/default/workloads", workload)
    assert answer.status == 201, answer.json
    await trio.sleep(30)
    found = (await api.client.ask("GET", "/api/v1/namespaces/default/instances")).json["items"]
    return {each["spec"]["node_id"] for each in found if each["metadata"]["name"].startswith(f"{name}.")}


async def test_a_label_is_there_at_once_is_selected_by_and_survives_what_is_told_next(api: Api) -> None:
    answer = await api.client.ask("PATCH", SECOND, {"metadata": {"labels": {"disk": "fast"}}})
    assert (answer.status, answer.json["metadata"]["labels"]["disk"]) == (200, "fast")
    assert await placed(api, "web", 3, select={"disk": "fast"}) == {"node-00001"}
    await tell(api, "node-00001", labels={"rack": "7"}, address="127.0.0.9")
    seen = (await api.client.ask("GET", SECOND)).json
    assert (seen["spec"]["address"], seen["metadata"]["labels"]) == ("127.0.0.9", {"rack": "7", "disk": "fast"})
    listed = await api.client.ask("GET", "/api/v1/nodes?label_selector=disk%3Dfast")
    assert [each["metadata"]["name"] for each in listed.json["items"]] == ["node-00001"]


async def test_a_label_goes_by_being_left_out_and_what_is_told_can_only_be_said_differently(api: Api) -> None:
    await tell(api, "node-00000", labels={"zone": "north"})
    changed = await api.client.ask("PATCH", FIRST, {"metadata": {"labels": {"zone": "south", "own": "1"}}})
    assert changed.json["metadata"]["labels"] == {"zone": "south", "own": "1"}
    gone = await api.client.ask("PATCH", FIRST, {"metadata": {"labels": {"own": None}}})
    assert gone.json["metadata"]["labels"] == {"zone": "south"}
    refused = await api.client.ask("PATCH", FIRST, {"metadata": {"labels": {"zone": None}}})
    assert (refused.status, "metadata.labels.zone" in refused.json["detail"]) == (400, True)
    back = await api.client.ask("PATCH", FIRST, {"metadata": {"labels": {"zone": "north"}}})
    assert back.json["metadata"]["labels"] == {"zone": "north"}
    assert NodeId("node-00000") not in api.orchestrator.world.marks


async def test_a_taint_keeps_work_off_what_does_not_tolerate_it(api: Api) -> None:
    steps = [{"op": "add", "path": "/spec/taints", "value": [KEPT]}]
    answer = await api.client.ask("PATCH", FIRST, steps, content_type=JSON_PATCH)
    assert answer.status == 200, answer.json
    assert [taint["key"] for taint in answer.json["spec"]["taints"]] == ["team"]
    assert await placed(api, "web", 3) == {"node-00001"}
    assert (await api.client.ask("PATCH", FIRST, {"spec": {"taints": None}})).status == 200
    assert "taints" not in (await api.client.ask("GET", FIRST)).json["spec"]


async def test_a_taint_that_is_told_may_be_of_any_form_and_hinders_nobody(api: Api) -> None:
    told = Taint(key="of the maker's", value="own kind")
    await tell(api, "node-00000", taints=(told,))
    shown = (await api.client.ask("GET", FIRST)).json["spec"]["taints"]
    domain = {"key": "example.org/gpu", "value": "A-100_b.2", "effect": "NoSchedule"}
    assert (await api.client.ask("PATCH", FIRST, {"spec": {"taints": [*shown, domain]}})).status == 200


async def test_two_who_label_a_node_at_the_same_time_both_have_their_way(api: Api) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(api.client.ask, "PATCH", FIRST, {"metadata": {"labels": {f"l{number}": str(number)}}})
    labels = (await api.client.ask("GET", FIRST)).json["metadata"]["labels"]
    assert {f"l{number}" for number in range(5)} <= set(labels)


async def test_labels_survive_a_restart(autojump_clock: MockClock) -> None:
    state = MemoryState()
    async with api_served(state) as api:
        await api.client.ask("PATCH", FIRST, {"metadata": {"labels": {"disk": "fast"}}, "spec": {"taints": [KEPT]}})
    async with api_served(state) as api:
        node = (await api.client.ask("GET", FIRST)).json
        assert (node["metadata"]["labels"]["disk"], node["spec"]["taints"][0]["key"]) == ("fast", "team")
        assert await placed(api, "web", 3) == {"node-00001"}


async def test_a_dry_run_and_a_precondition_that_does_not_hold_change_nothing(api: Api) -> None:
    patch = {"metadata": {"labels": {"disk": "fast"}}}
    tried = await api.client.ask("PATCH", f"{FIRST}?dry_run=true", patch)
    assert (tried.status, tried.json["metadata"]["labels"]["disk"]) == (200, "fast")
    assert (await api.client.ask("PATCH", FIRST, patch, if_match='"1"')).status == 412
    assert "disk" not in (await api.client.ask("GET", FIRST)).json["metadata"].get("labels", {})
    revision = (await api.client.ask("GET", FIRST)).json["metadata"]["revision"]
    assert (await api.client.ask("PATCH", FIRST, patch, if_match=f'"{revision}"')).status == 200


@pytest.mark.parametrize(
    ("patch", "where"),
    [
        ({"spec": {"cordoned": True}}, "spec"),
        ({"status": {"status": "Down"}}, "status"),
        ({"metadata": {"annotations": {"a": "b"}}}, "metadata"),
        ({"metadata": {"labels": {"a": 1}}}, "labels"),
        ({"metadata": {"labels": {"": "x"}}}, "metadata.labels"),
        ({"spec": {"taints": [{"key": "a"}, {"key": "a"}]}}, "spec.taints[1]"),
        ({"spec": {"taints": [{"key": ""}]}}, "spec.taints[0].key"),
        ({"spec": {"taints": [KEPT, {"key": "a\x1b[31m"}]}}, "spec.taints[1].key"),
        ({"spec": {"taints": [{"key": "Example.org/a"}]}}, "spec.taints[0].key"),
        ({"spec": {"taints": [{"key": "a", "value": "v" * 64}]}}, "spec.taints[0].value"),
        ({"spec": {"taints": [{"key": "a", "effect": "Never"}]}}, "spec.taints"),
        ({"spec": {"taints": "all"}}, "spec.taints"),
    ],
)
async def test_nothing_else_of_a_node_is_written(patch: Any, where: str, api: Api) -> None:
    await trio.sleep(1)
    before = (await api.client.ask("GET", FIRST)).json
    refused = await api.client.ask("PATCH", FIRST, patch)
    assert (refused.status, where in refused.json["detail"]) == (400, True), refused.json
    assert (await api.client.ask("GET", FIRST)).json == before


async def test_nodes_are_neither_made_nor_replaced_nor_applied(api: Api) -> None:
    for method, target, allowed in (
        ("POST", "/api/v1/nodes", "GET, HEAD, OPTIONS"),
        ("PUT", FIRST, "DELETE, GET, HEAD, OPTIONS, PATCH"),
    ):
        refused = await api.client.ask(method, target, {})
        assert (refused.status, refused.headers["allow"]) == (405, allowed)
    applied = await api.client.ask("PATCH", FIRST, {}, content_type="application/apply-patch+json")
    assert (applied.status, "not applied" in applied.json["detail"]) == (400, True)
    assert (await api.client.ask("PATCH", "/api/v1/nodes/nobody", {})).status == 404
    (node,) = [each for each in (await api.client.ask("GET", "/api/v1")).json["resources"] if each["name"] == "nodes"]
    assert node["verbs"] == ["get", "list", "watch", "patch", "label", "taint", "delete"]


async def test_who_may_patch_a_node_needs_the_verbs_of_labels_and_taints_as_well(api: Api) -> None:
    for name, verbs in (("ann", ["patch", "label"]), ("bob", ["patch", "taint"]), ("cyd", ["label", "taint"])):
        api.keeper.principals[name] = Principal(name)
        rules = [{"verbs": verbs, "resources": ["nodes"]}]
        await api.client.ask("POST", "/api/v1/roles", {"metadata": {"name": name}, "spec": {"rules": rules}})
        spec = {"role": name, "subjects": [{"kind": "user", "name": name}]}
        await api.client.ask("POST", "/api/v1/rolebindings", {"metadata": {"name": name}, "spec": spec})
    statuses = {
        name: [
            (await api.as_(name).ask("PATCH", FIRST, patch)).status
            for patch in ({"metadata": {"labels": {name: "b"}}}, {"spec": {"taints": [{"key": name}]}})
        ]
        for name in ("ann", "bob", "cyd")
    }
    assert statuses == {"ann": [200, 403], "bob": [403, 200], "cyd": [403, 403]}
    assert (await api.as_("ann").ask("DELETE", FIRST)).status == 403


async def test_only_a_node_that_is_drained_is_removed_and_it_is_back_when_it_may_work_again(api: Api) -> None:
    await placed(api, "web", 2)
    refused = await api.client.ask("DELETE", FIRST)
    assert (refused.status, "orchestrion node drain" in refused.json["remedy"]) == (409, True)
    await api.client.ask("PATCH", FIRST, {"metadata": {"labels": {"disk": "fast"}}})
    await api.client.ask("POST", f"{FIRST}/drain", {"reason": "sold"})
    await trio.sleep(120)
    assert (await api.client.ask("DELETE", f"{FIRST}?dry_run=true")).status == 200
    assert (await api.client.ask("GET", FIRST)).status == 200
    assert (await api.client.ask("DELETE", FIRST)).status == 200
    assert (await api.client.ask("GET", FIRST)).status == 404
    assert (await api.client.ask("DELETE", FIRST)).status == 404
    assert [node.id for node in await api.orchestrator.list_nodes()] == ["node-00001"]
    back = await api.client.ask("POST", f"{FIRST}/uncordon")
    assert (back.status, "disk" in back.json["metadata"].get("labels", {})) == (200, False)
    await trio.sleep(1)
    assert not api.orchestrator.world.marks


async def test_the_last_node_that_is_there_is_not_removed(api: Api) -> None:
    await tell(api, "node-00001", status=NodeStatus.DOWN)
    await api.client.ask("POST", f"{FIRST}/drain", {"reason": "sold"})
    await trio.sleep(120)
    refused = await api.client.ask("DELETE", FIRST)
    assert (refused.status, "orchestrion node cordon" in refused.json["remedy"]) == (409, True)
    assert (await api.client.ask("GET", FIRST)).status == 200


async def test_a_node_on_which_something_still_runs_is_not_drained(api: Api) -> None:
    await placed(api, "web", 2, select={"node": "node-00000"})
    await api.client.ask("POST", f"{FIRST}/drain", {"reason": "sold"})
    refused = await api.client.ask("DELETE", FIRST)
    assert (refused.status, "web.0.1" in refused.json["detail"]) == (409, True), refused.json


async def test_a_node_that_nobody_sees_is_removed_and_back_once_it_is_seen_however_often(api: Api) -> None:
    for _ in range(2):
        await tell(api, "node-00001", status=NodeStatus.DOWN)
        assert (await api.client.ask("GET", SECOND)).json["status"]["status"] == "Down"
        assert (await api.client.ask("DELETE", SECOND)).status == 200
        assert (await api.client.ask("GET", SECOND)).status == 404
        await tell(api, "node-00001", status=NodeStatus.READY)
        assert (await api.client.ask("GET", SECOND)).json["status"]["status"] == "Ready"
    await tell(api, "node-00001", status=NodeStatus.DOWN)
    assert (await api.client.ask("GET", SECOND)).status == 200, "who is away again is not removed again"


async def test_a_node_that_went_while_no_server_was_there_is_removed_with_what_was_said_of_it(
    autojump_clock: MockClock,
) -> None:
    state, old = MemoryState(), "/api/v1/nodes/old"
    async with api_served(state) as api:
        cluster = api.orchestrator.cluster
        assert isinstance(cluster, MockClusterManager)
        cluster.add_node(Node(id=NodeId("old"), name="old"))
        await trio.sleep(1)
        label = {"metadata": {"labels": {"disk": "fast"}}}
        assert (await api.client.ask("PATCH", old, label)).status == 200
    async with api_served(state) as api:
        assert (await api.client.ask("GET", old)).json["metadata"]["labels"] == {"disk": "fast"}
        refused = await api.client.ask("PATCH", old, {"metadata": {"labels": {"disk": "slow"}}})
        assert (refused.status, "node rm" in refused.json["remedy"]) == (409, True)
        assert (await api.client.ask("DELETE", old)).status == 200
        assert (await api.client.ask("GET", old)).status == 404
        assert not api.orchestrator.world.marks
