"""Applying what was planned only if nothing of it was changed since."""

from __future__ import annotations

from typing import Any

import pytest
from orchestrion.control_plane._service.intent import act_freely, everybody
from orchestrion.control_plane._service.managed import ManagedControl
from orchestrion.shared_types import ContainerConfig, Metadata, PreconditionFailed, WorkloadDefinition, unstructure

from .api_stage import Api

MAPS = "/api/v1/namespaces/default/configmaps"
BULK = [
    {"kind": "ConfigMap", "metadata": {"name": "colours"}, "spec": {"data": {"sky": "blue"}}},
    {
        "kind": "Workload",
        "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "main", "command": ["run"]}]},
    },
]


async def planned(api: Api, *objects: Any) -> int:
    """Return the index of a plan."""
    reply = await api.client.ask("POST", "/api/v1/plan", {"items": list(objects or BULK)})
    assert reply.status == 200
    return int(reply.json["revision"])


async def applied(api: Api, index: object, *objects: Any, more: str = "", **headers: str) -> Any:
    """Apply with an index, and return the answer."""
    path = f"/api/v1/apply?if_index={index}{more}"
    return await api.client.ask("POST", path, {"items": list(objects or BULK)}, **headers)


async def test_what_was_planned_is_applied(api: Api) -> None:
    done = await applied(api, await planned(api))
    assert (done.status, [each["action"] for each in done.json["items"]]) == (200, ["create", "create"])
    await api.client.ask("POST", MAPS, {"metadata": {"name": "other"}, "spec": {}})
    changed = {**BULK[0], "spec": {"data": {"sky": "red"}}}
    done = await applied(api, await planned(api, changed), changed)
    assert (done.status, [each["action"] for each in done.json["items"]]) == (200, ["update"])


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", f"{MAPS}/colours?manager=apply", {"spec": {"data": {"sky": "grey"}}}),
        ("DELETE", f"{MAPS}/colours", None),
        ("PUT", "/api/v1/namespaces/default/workloads/web/scale", {"replicas": 3}),
        ("POST", "/api/v1/namespaces/default/workloads/web/stop", None),
    ],
)
async def test_what_was_changed_since_is_refused_as_a_whole(api: Api, method: str, path: str, body: Any) -> None:
    assert (await applied(api, 0)).status == 200
    index = await planned(api)
    merge = {"content_type": "application/merge-patch+json"} if method == "PATCH" else {}
    assert (await api.client.ask(method, path, body, **merge)).status == 200
    new = {"kind": "ConfigMap", "metadata": {"name": "new"}, "spec": {}}
    changed = [{**BULK[0], "spec": {"data": {"sky": "red"}}}, BULK[1], new]
    for more in ("", "&dry_run=true"):
        refused = await applied(api, index, *changed, more=more)
        assert (refused.status, refused.json["code"]) == (412, "precondition-failed")
        assert f"after index {index}: nothing was applied" in refused.json["detail"]
    assert (await api.client.ask("GET", f"{MAPS}/new")).status == 404
    assert (await applied(api, await planned(api, *changed), *changed)).status == 200


async def test_an_index_that_is_none_is_refused(api: Api) -> None:
    assert (await applied(api, "-1")).status == 400
    assert (await applied(api, "soon")).status == 400
    assert (await applied(api, 10**17)).status == 412


async def test_the_answer_to_a_request_that_was_done_is_not_that_it_is_stale(api: Api) -> None:
    index = await planned(api)
    first = await applied(api, index, idempotency_key="once")
    again = await applied(api, index, idempotency_key="once")
    assert (first.status, again.status, again.json) == (200, 200, first.json)


async def test_manifests_are_planned_and_applied_in_the_same_way_over_the_wire(api: Api) -> None:
    definition = WorkloadDefinition(
        metadata=Metadata(name="web"), containers=(ContainerConfig(name="main", command=("run",)),)
    )
    body = {"workloads": [unstructure(definition)]}
    index = (await api.client.ask("POST", "/v1/plan", body)).json.get("revision", 0)
    assert (await api.client.ask("POST", f"/v1/apply?if_index={index}", body)).status == 200
    refused = await api.client.ask("POST", f"/v1/apply?if_index={index}", body)
    assert (refused.status, refused.json["code"]) == (412, "precondition-failed")
    assert "workload 'web' was changed at revision" in refused.json["detail"]
    again = (await api.client.ask("POST", "/v1/plan", body)).json
    assert (await api.client.ask("POST", f"/v1/apply?if_index={again['revision']}", body)).status == 200


async def test_who_comes_while_a_plan_is_made_is_not_passed_over(api: Api) -> None:
    definition = WorkloadDefinition(
        metadata=Metadata(name="web"), containers=(ContainerConfig(name="main", command=("run",)),)
    )
    control = api.management.control
    await control.apply([definition])

    class Meddling:
        may, act = staticmethod(everybody), staticmethod(act_freely)

        async def workload(self, given: WorkloadDefinition, *_: Any, **__: Any) -> WorkloadDefinition:
            await api.orchestrator.scale("web", 3)
            return given

    meddling: Any = Meddling()
    plan = await ManagedControl(api.orchestrator, meddling, control.gate).plan([definition])
    with pytest.raises(PreconditionFailed, match="'web' was changed"):
        await control.apply([definition], if_index=plan.revision)
