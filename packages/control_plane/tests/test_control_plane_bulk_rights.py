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
