"""What applying many objects at once needs: no less than what is done by it needs where it is done alone."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from orchestrion.control_plane._identity.principals import Principal

from .api_stage import Answer, Api, Client

SPACE = "/api/v1/namespaces/default"
WORKLOADS = f"{SPACE}/workloads"
WEB: dict[str, Any] = {
    "kind": "Workload",
    "metadata": {"name": "web"},
    "spec": {"containers": [{"name": "main", "command": ["run"]}]},
}
CHANGED = {**WEB, "spec": {"containers": [{"name": "main", "command": ["other"]}]}}


async def somebody(api: Api, *verbs: str, resources: tuple[str, ...] = ("workloads",)) -> Client:
    """Return a client of a user who may do just that."""
    api.keeper.principals["ann"] = Principal("ann")
    rules = [{"verbs": list(verbs), "resources": list(resources)}]
    spec = {"role": "some", "subjects": [{"kind": "user", "name": "ann"}]}
    for path, document in (
        ("/api/v1/roles", {"metadata": {"name": "some"}, "spec": {"rules": rules}}),
        ("/api/v1/rolebindings", {"metadata": {"name": "ann"}, "spec": spec}),
    ):
        assert (await api.client.ask("POST", path, document)).status == 201
    return api.as_("ann")


async def stopped(api: Api) -> None:
    """Have a workload that was stopped."""
    assert (await api.client.ask("POST", "/api/v1/apply?manager=control", {"items": [WEB]})).status == 200
    await trio.sleep(60)
    assert (await api.client.ask("POST", f"{WORKLOADS}/web/stop")).status == 200
    await trio.sleep(60)


async def phase(api: Api) -> str:
    await trio.sleep(60)
    found: str = (await api.client.ask("GET", f"{WORKLOADS}/web")).json["status"]["phase"]
    return found


async def applied(client: Client, path: str, document: Any, query: str = "") -> Answer:
    """Apply a workload in one of the ways that take many."""
    body: dict[str, Any] = {"items": [document]}
    if path == "/v1/apply":
        containers = document["spec"]["containers"]
        body = {"workloads": [{"metadata": document["metadata"], "kind": "service", "containers": containers}]}
    return await client.ask("POST", f"{path}?manager=control&force=true{query}", body)


def notes(answer: Answer) -> list[str]:
    return [each.get("note", "") for each in answer.json.get("items", answer.json.get("changes"))]


WAYS = ("/api/v1/apply", "/v1/apply")


@pytest.mark.parametrize("path", WAYS)
@pytest.mark.parametrize("document", [WEB, CHANGED])
async def test_who_may_not_start_what_was_stopped_does_not_by_applying_it(api: Api, path: str, document: Any) -> None:
    await stopped(api)
    ann = await somebody(api, "apply", "get")
    assert (await ann.ask("POST", f"{WORKLOADS}/web/start")).status == 403
    answer = await applied(ann, path, document)
    assert answer.status == 200, answer.json
    assert notes(answer) == ["it is stopped, and stays so; who starts it needs `stop`"]
    assert await phase(api) == "Stopped"
    found = (await api.client.ask("GET", f"{WORKLOADS}/web")).json
    assert found["spec"]["containers"][0]["command"] == document["spec"]["containers"][0]["command"]


@pytest.mark.parametrize("path", WAYS)
async def test_who_may_start_what_was_stopped_does_so_by_applying_it(api: Api, path: str) -> None:
    await stopped(api)
    ann = await somebody(api, "apply", "get", "stop")
    answer = await applied(ann, path, WEB)
    assert (answer.status, notes(answer)) == (200, [""])
    assert await phase(api) == "Healthy"


@pytest.mark.parametrize("verbs", [("plan", "apply"), ("plan", "apply", "stop")])
async def test_a_plan_says_whether_what_was_stopped_starts_for_who_asks(api: Api, verbs: tuple[str, ...]) -> None:
    await stopped(api)
    ann = await somebody(api, *verbs)
    containers = [{"name": "main", "command": ["run"]}]
    workload = {"metadata": {"name": "web"}, "kind": "service", "containers": containers}
    for answer in (
        await ann.ask("POST", "/api/v1/plan?manager=control", {"items": [WEB]}),
        await ann.ask("POST", "/v1/plan", {"workloads": [workload]}),
    ):
        assert answer.status == 200, answer.json
        (change,) = answer.json["changes"]
        starts = [each["note"] for each in change.get("differences", ())] == ["it was stopped, and starts again"]
        assert starts is ("stop" in verbs)
        assert change.get("note", "").startswith("it is stopped, and stays so") is not starts
        assert bool(answer.json["placements"]) is starts


async def test_who_may_not_start_work_that_has_ended_does_not_run_it_once_more(api: Api) -> None:
    containers = [{"name": "main", "command": ["exit", "0"]}]
    job = {"metadata": {"name": "job"}, "kind": "batch", "containers": containers}
    assert (await api.client.ask("POST", "/v1/apply", {"workloads": [job]})).status == 200
    await trio.sleep(60)
    ann = await somebody(api, "apply")
    refused = await ann.ask("POST", "/v1/apply?rerun=true", {"workloads": [job]})
    assert (refused.status, refused.json["code"]) == (403, "denied")
    assert "stop workloads 'job'" in refused.json["detail"]
    again = await api.client.ask("POST", "/v1/apply?rerun=true", {"workloads": [job]})
    assert (again.status, again.json["changes"][0]["generation"]) == (200, 2)


NEW: list[dict[str, Any]] = [
    {**WEB, "metadata": {"name": "new"}},
    {"kind": "ConfigMap", "metadata": {"name": "new"}, "spec": {"data": {"a": "1"}}},
    {"kind": "Secret", "metadata": {"name": "new"}, "spec": {"data": {"a": "1"}}},
]
KINDS = ("workloads", "configmaps", "secrets")


@pytest.mark.parametrize(("document", "plural"), list(zip(NEW, KINDS, strict=True)))
async def test_who_may_not_create_makes_nothing_by_applying_it(api: Api, document: Any, plural: str) -> None:
    ann = await somebody(api, "apply", "patch", "update", "stop", resources=KINDS)
    for path in WAYS if plural == "workloads" else WAYS[:1]:
        for query in ("", "&dry_run=true"):
            refused = await applied(ann, path, document, query)
            assert (refused.status, refused.json["code"]) == (403, "denied")
            assert f"create {plural} 'new' in namespace 'default'" in refused.json["detail"]
    assert (await api.client.ask("GET", f"{SPACE}/{plural}/new")).status == 404


async def test_one_object_that_may_not_be_made_keeps_all_from_being_applied(api: Api) -> None:
    map_ = {"kind": "ConfigMap", "metadata": {"name": "old"}, "spec": {"data": {"a": "1"}}}
    assert (await api.client.ask("POST", "/api/v1/apply", {"items": [map_]})).status == 200
    ann = await somebody(api, "apply", resources=KINDS)
    changed = {**map_, "spec": {"data": {"a": "2"}}}
    assert (await ann.ask("POST", "/api/v1/apply", {"items": [changed, NEW[1]]})).status == 403
    assert (await api.client.ask("GET", f"{SPACE}/configmaps/old")).json["spec"]["data"] == {"a": "1"}
    assert (await ann.ask("POST", "/api/v1/apply", {"items": [changed]})).status == 200


@pytest.mark.parametrize("path", WAYS)
async def test_who_may_create_and_apply_makes_by_applying(api: Api, path: str) -> None:
    ann = await somebody(api, "apply", "create")
    assert (await applied(ann, path, NEW[0])).status == 200
    assert (await api.client.ask("GET", f"{WORKLOADS}/new")).status == 200


@pytest.mark.parametrize("form", ["application/apply-patch+json", "application/apply-patch+yaml"])
async def test_applying_one_object_needs_what_applying_many_does(api: Api, form: str) -> None:
    map_ = {"kind": "ConfigMap", "metadata": {"name": "old"}, "spec": {"data": {"a": "1"}}}
    assert (await api.client.ask("POST", "/api/v1/apply", {"items": [map_]})).status == 200
    ann = await somebody(api, "apply", resources=KINDS)
    one = f"{SPACE}/configmaps/old"
    assert (await ann.ask("PATCH", one, map_, content_type=form)).status == 200
    merged = await ann.ask("PATCH", one, map_, content_type="application/merge-patch+json")
    assert (merged.status, "may not patch configmaps" in merged.json["detail"]) == (403, True)


async def test_who_may_only_patch_does_not_apply(api: Api) -> None:
    map_ = {"kind": "ConfigMap", "metadata": {"name": "old"}, "spec": {"data": {"a": "1"}}}
    assert (await api.client.ask("POST", "/api/v1/apply", {"items": [map_]})).status == 200
    ann = await somebody(api, "patch", resources=KINDS)
    refused = await ann.ask("PATCH", f"{SPACE}/configmaps/old", map_, content_type="application/apply-patch+json")
    assert (refused.status, "may not apply configmaps" in refused.json["detail"]) == (403, True)
    assert (await ann.ask("PATCH", f"{SPACE}/configmaps/old", {"spec": {"data": {"a": "2"}}})).status == 200
